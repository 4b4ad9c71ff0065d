"""Settings from environment variables: `OPSCTL_STATE`, `OPSCTL_ENVIRONMENTS__PROD__PROTECTED`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from opsctl.core.errors import OpsError
from opsctl.core.misfits import did_you_mean, dotted, keys_at, model_in
from opsctl.core.settings import Environment, Settings
from opsctl.core.strict_yaml import has_control, scalar

_PREFIX = "OPSCTL_"
_OTHERS = frozenset(
    {"OPSCTL_CONFIG", "OPSCTL_ENV", "OPSCTL_FORMAT", "OPSCTL_NO_INPUT", "OPSCTL_SOAK"}
)
"""Read elsewhere; those that begin with OPSCTL_TEST_ belong to the tests."""
_EXAMPLE = "OPSCTL_ENVIRONMENTS__PRODUCTION__PROTECTED"


def add_variables(
    data: dict[str, Any], origins: dict[str, str], environ: Mapping[str, str]
) -> None:
    """Put what the variables say into `data`, and their names into `origins`.

    Names are matched whatever their case, and an environment's - is written _. Values mean what
    they would mean in the file, but that text need not be quoted. A variable that a reference
    names (`env:OPSCTL_DATABASE`) is left alone. Raises OpsError `unknown-variable`.
    """
    unknown = []
    environments = data.get("environments")
    given = frozenset(environments if isinstance(environments, dict) else ())
    for name in sorted(environ):
        if not name.upper().startswith(_PREFIX) or name.upper() in _OTHERS:
            continue
        if name.upper().startswith("OPSCTL_TEST_"):
            continue
        place = _place(name.upper().removeprefix(_PREFIX).split("__"), given)
        if place is None:
            unknown.append(name)
        else:
            _put(data, place, _value(name, environ[name], place), name=name)
            origins[dotted(place)] = name
    meant = _references(data)
    for name in unknown:
        if name not in meant:
            raise _unknown(name, given)


def _place(words: list[str], given: frozenset[str]) -> tuple[str, ...] | None:
    """Return the path of the value that a variable's words name, or None if there is none."""
    if words[0] != "ENVIRONMENTS":
        name = words[0].lower()
        return (name,) if len(words) == 1 and name in Settings.model_fields else None
    if len(words) < 3 or not words[1]:
        return None
    environment = next((each for each in sorted(given) if _same(each, words[1])), None)
    if environment is None:
        if given:
            return None  # a slip of the pen would protect an environment that is not there
        environment = words[1].lower()
    place: tuple[str, ...] = ("environments", environment)
    for index, word in enumerate(words[2:], start=3):
        key = word.lower()
        if key not in keys_at(place):
            return None
        place = (*place, key)
        kind = _kind(place)
        is_group = model_in(kind) is not None
        if _is_many(kind) or is_group == (index == len(words)):
            return None
    return place


def _same(environment: str, word: str) -> bool:
    return environment.upper().replace("-", "_") == word


def _kind(place: tuple[str, ...]) -> Any:
    """Return the annotation of the value at a path within an environment, or at the top."""
    model: Any = Settings
    names = place
    if place[0] == "environments":
        model, names = Environment, place[2:]
    for name in names[:-1]:
        model = model_in(model.model_fields[name].annotation)
    return model.model_fields[names[-1]].annotation


def _is_many(kind: Any) -> bool:
    return getattr(kind, "__origin__", None) in (dict, tuple)


def _value(name: str, text: str, place: tuple[str, ...]) -> Any:
    if has_control(text):
        raise OpsError(
            f"The environment variable {name} holds a control character",
            why="settings are plain text",
            hint=f"set {name} anew",
            code="settings-invalid",
        )
    kinds = (_kind(place), *getattr(_kind(place), "__args__", ()))
    value = scalar(text)
    if value is None and type(None) in kinds:
        return None
    return text if str in kinds else value  # a project's name may be a number


def _put(data: dict[str, Any], place: tuple[str, ...], value: Any, *, name: str) -> None:
    holder: Any = data
    for index, word in enumerate(place[:-1]):
        if holder.get(word) is None:
            holder[word] = {}
        holder = holder[word]
        if not isinstance(holder, dict):
            raise OpsError(
                f"The environment variable {name} does not fit the settings file",
                why=f"{'.'.join(place[: index + 1])} is no mapping of keys there",
                hint=f"mend the file, or unset {name}",
                code="settings-invalid",
            )
    holder[place[-1]] = value


def _references(value: Any) -> set[str]:
    """Return the names of the variables that `env:` references name."""
    found: set[str] = set()
    todo = [value]
    while todo:
        each = todo.pop()
        if isinstance(each, dict):
            todo += each.values()
        elif isinstance(each, list):
            todo += each
        elif isinstance(each, str) and each.startswith("env:"):
            found.add(each.removeprefix("env:"))
    return found


def _unknown(name: str, given: frozenset[str]) -> OpsError:
    upper = name.upper()
    words = upper.split("__")
    environments = sorted(given) or [words[1].lower() if len(words) > 1 else "production"]
    known = [f"{_PREFIX}{field.upper()}" for field in Settings.model_fields]
    known.remove(f"{_PREFIX}ENVIRONMENTS")
    for environment in environments:
        start = f"{_PREFIX}ENVIRONMENTS__{environment.upper().replace('-', '_')}__"
        known += [start + rest for rest in _names_in(Environment)]
    below = next((each for each in known if each.startswith(f"{upper}__")), "")
    hint = f"did you mean {below}?" if below else did_you_mean(upper, {*known, *_OTHERS})
    if not below and words[-1].lower() in ("health", "headers", "email"):
        hint = "write it in the settings file"
    return OpsError(
        f"The environment variable {name} is not a setting",
        why="no single value of the settings has that name; lists are for the file",
        hint=hint or f"nested keys are joined by two underscores: {_EXAMPLE}",
        code="unknown-variable",
    )


def _names_in(model: type[BaseModel]) -> list[str]:
    """Return the rest of the name of every variable for a value within a model."""
    names = []
    for key, field in model.model_fields.items():
        if _is_many(field.annotation):
            continue
        inner = model_in(field.annotation)
        if inner is None:
            names.append(key.upper())
        else:
            names += [f"{key.upper()}__{rest}" for rest in _names_in(inner)]
    return names
