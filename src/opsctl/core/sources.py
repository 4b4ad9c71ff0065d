"""Where settings come from: flag > OPSCTL_* > file > default, and which environment is meant."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from opsctl.core.errors import Exit, OpsError
from opsctl.core.settings import Settings
from opsctl.core.strict_yaml import Lines, load_yaml, scalar

_NAMES = ("opsctl.yaml", "config/opsctl.yaml")
_NOT_SETTINGS = frozenset({"OPSCTL_CONFIG", "OPSCTL_ENV", "OPSCTL_FORMAT", "OPSCTL_SOAK"})
_SHOWN_ERRORS = 8


@dataclass(frozen=True)
class Loaded:
    """The settings, and where each given value came from."""

    settings: Settings
    root: Path
    """Absolute; relative paths of the settings start here."""
    path: Path | None
    origins: Mapping[str, str]
    """Dotted path of each value that was given -> `file:line` or the variable's name."""


def load_settings(*, config: str | None, start: Path, environ: Mapping[str, str]) -> Loaded:
    """Find, merge and check the settings; without a file there are only the defaults.

    Raises OpsError (exit 2): `settings-missing`, `settings-ambiguous`, `settings-invalid`,
    `unknown-variable`, or what YAML says.
    """
    path, root = _find(config=config, start=start.resolve(), environ=environ)
    data: dict[str, Any] = {}
    origins: dict[str, str] = {}
    lines: Lines = {}
    if path is not None:
        loaded, lines = load_yaml(_read(path), source=str(path))
        data = _mapping(loaded, path)
        origins = {_dotted(where): f"{path}:{line}" for where, line in lines.items() if where}
    _add_environments(data, origins, root)
    _add_variables(data, origins, environ)
    try:
        settings = Settings.model_validate(_tuples(data))
    except ValidationError as error:
        raise _invalid(error, path=path, lines=lines, origins=origins) from None
    settings = _absolute(settings, root)
    _check(settings, path)
    return Loaded(settings, root, path, origins)


def choose_environment(loaded: Loaded, flag: str | None, environ: Mapping[str, str]) -> str | None:
    """Return the environment meant: flag > OPSCTL_ENV > default > the only one > None.

    Raises OpsError `unknown-environment` (exit 2).
    """
    known = list(loaded.settings.environments)
    asked = flag or environ.get("OPSCTL_ENV") or loaded.settings.default_environment
    if asked is None:
        return known[0] if len(known) == 1 else None
    if asked in known:
        return asked
    raise OpsError(
        f"The environment {asked!r} is not in the settings",
        why=f"they have {', '.join(known) or 'none'}",
        hint=_did_you_mean(asked, known) or "opsctl config show",
        code="unknown-environment",
    )


def _find(
    *, config: str | None, start: Path, environ: Mapping[str, str]
) -> tuple[Path | None, Path]:
    given = config or environ.get("OPSCTL_CONFIG")
    if given:
        path = (start / given).resolve()
        if not path.is_file():
            raise OpsError(
                f"The settings file {given} was not found",
                why="there is no such file" if not path.exists() else "it is not a file",
                hint="give another --config FILE, or leave it out to have it found",
                code="settings-missing",
            )
        return path, _root_of(path)
    for folder in (start, *start.parents):
        found = [folder / name for name in _NAMES if (folder / name).is_file()]
        if len(found) > 1:
            raise OpsError(
                "Two settings files were found",
                why=f"{found[0]} and {found[1]}",
                hint=f"remove one, or say which: --config {found[0]}",
                code="settings-ambiguous",
            )
        if found:
            return found[0], _root_of(found[0])
        if any(folder.glob(".opsctl/*/environment.yaml")):
            return None, folder
    return None, start


def _root_of(path: Path) -> Path:
    return path.parent.parent if path.parent.name == "config" else path.parent


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise OpsError(
            f"The settings file {path} could not be read",
            why=error.strerror or type(error).__name__,
            hint="check its permissions",
            code="settings-unreadable",
        ) from None


def _mapping(loaded: Any, path: Path) -> dict[str, Any]:
    if loaded is None:
        return {}
    if isinstance(loaded, dict):
        return loaded
    raise OpsError(
        f"The settings file {path} holds no settings",
        why="it is a list or a single value",
        hint="start from the example: config/opsctl.example.yaml",
        code="settings-invalid",
    )


def _add_environments(data: dict[str, Any], origins: dict[str, str], root: Path) -> None:
    """Add the environments that live under .opsctl/, such as the sandbox's."""
    for path in sorted(root.glob(".opsctl/*/environment.yaml")):
        found, lines = load_yaml(_read(path), source=str(path))
        found = _mapping(found, path)
        name = found.get("name")
        environments = data.setdefault("environments", {})
        if not isinstance(name, str) or not isinstance(environments, dict) or name in environments:
            continue
        environments[name] = found.get("environment", {})
        for where, line in lines.items():
            if where and where[0] == "environment":
                origins[_dotted(("environments", name, *where[1:]))] = f"{path}:{line}"


def _add_variables(
    data: dict[str, Any], origins: dict[str, str], environ: Mapping[str, str]
) -> None:
    for name in sorted(environ):
        if (
            not name.startswith("OPSCTL_")
            or name in _NOT_SETTINGS
            or name.startswith("OPSCTL_TEST_")
        ):
            continue
        words = name.removeprefix("OPSCTL_").lower().split("__")
        place = _place(data, words)
        if place is None:
            known = [f"OPSCTL_{field.upper()}" for field in Settings.model_fields]
            raise OpsError(
                f"The environment variable {name} is not a setting",
                why="nothing in the settings has that name",
                hint=_did_you_mean(name, [*known, *_NOT_SETTINGS])
                or "nested keys are written with two underscores: "
                "OPSCTL_ENVIRONMENTS__PRODUCTION__PROTECTED",
                code="unknown-variable",
            )
        holder: Any = data
        for word in place[:-1]:
            holder = holder.setdefault(word, {})
            if not isinstance(holder, dict):
                raise OpsError(
                    f"The environment variable {name} does not fit the settings file",
                    why=f"{word} holds no keys there",
                    hint="opsctl config show --origin",
                    code="settings-invalid",
                )
        holder[place[-1]] = scalar(environ[name])
        origins[_dotted(tuple(place))] = name


def _place(data: Mapping[str, Any], words: list[str]) -> list[str] | None:
    """Return the path of keys that a variable's words name, or None if there is none."""
    model: Any = Settings
    place: list[str] = []
    for index, word in enumerate(words):
        if model is None:
            return None
        if model == "environments":
            known = data.get("environments")
            names = list(known) if isinstance(known, dict) else []
            place.append(next((each for each in names if each.lower() == word), word))
            model = Settings.model_fields["environments"].annotation.__args__[1]  # type: ignore[union-attr]
            continue
        if word not in model.model_fields:
            return None
        place.append(word)
        if model is Settings and word == "environments":
            model = "environments"
            continue
        annotation = model.model_fields[word].annotation
        options = [annotation, *getattr(annotation, "__args__", ())]
        model = next(
            (each for each in options if isinstance(each, type) and issubclass(each, BaseModel)),
            None,
        )
        if model is not None and index == len(words) - 1:
            return None  # a group of settings is no value
        if word in ("health", "email", "headers"):
            return None  # lists are for the file
    return place if model != "environments" else None


def _tuples(value: Any) -> Any:
    """Return the data with lists as tuples, which is what frozen models hold."""
    if isinstance(value, dict):
        return {key: _tuples(each) for key, each in value.items()}
    if isinstance(value, list):
        return tuple(_tuples(each) for each in value)
    return value


def _absolute(settings: Settings, root: Path) -> Settings:
    """Make the paths of `file:` references absolute: they are resolved from anywhere."""
    return Settings.model_validate(_rooted(settings.model_dump(), root))


def _rooted(value: Any, root: Path) -> Any:
    if isinstance(value, dict):
        return {key: _rooted(each, root) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return tuple(_rooted(each, root) for each in value)
    if isinstance(value, str) and value.startswith("file:"):
        return f"file:{root / value.removeprefix('file:')}"
    return value


def _check(settings: Settings, path: Path | None) -> None:
    default = settings.default_environment
    if default is not None and default not in settings.environments:
        known = list(settings.environments)
        raise OpsError(
            f"The default environment {default!r} is not in the settings",
            why=f"{path or 'they'} has {', '.join(known) or 'none'}",
            hint=_did_you_mean(default, known) or "mend default_environment",
            code="settings-invalid",
        )
    for name, environment in settings.environments.items():
        names = [endpoint.name for endpoint in environment.health]
        twice = sorted({each for each in names if names.count(each) > 1})
        if twice:
            raise OpsError(
                f"Two health endpoints of {name} have the same name",
                why=", ".join(twice),
                hint="give each endpoint a name of its own",
                code="settings-invalid",
            )


def _invalid(
    error: ValidationError, *, path: Path | None, lines: Lines, origins: Mapping[str, str]
) -> OpsError:
    # The input is left out everywhere: it may be a secret in the wrong place.
    found = error.errors(include_input=False, include_context=False, include_url=False)
    texts = []
    hint = ""
    for each in found[:_SHOWN_ERRORS]:
        where = tuple(part for part in each["loc"] if isinstance(part, str | int))
        place = origins.get(_dotted(where)) or next(
            (f"{path}:{lines[where[:n]]}" for n in range(len(where), 0, -1) if where[:n] in lines),
            str(path or "settings"),
        )
        message = each["msg"].removeprefix("Value error, ")
        if each["type"] == "extra_forbidden":
            message = "unknown key"
            hint = hint or _suggest_key(where)
        texts.append(f"{place}: {_dotted(where)}: {message}")
    if len(found) > _SHOWN_ERRORS:
        texts.append(f"and {len(found) - _SHOWN_ERRORS} more")
    return OpsError(
        "The settings are not valid",
        why="; ".join(texts),
        hint=hint or "opsctl config schema describes every key",
        code="settings-invalid",
        exit=Exit.USAGE,
    )


def _suggest_key(where: tuple[str | int, ...]) -> str:
    known: set[str] = set()
    todo: list[type[BaseModel]] = [Settings]
    seen: set[type[BaseModel]] = set()
    while todo:
        model = todo.pop()
        if model in seen:
            continue
        seen.add(model)
        known |= set(model.model_fields)
        for field in model.model_fields.values():
            stack: list[Any] = [field.annotation]
            while stack:
                each = stack.pop()
                stack += list(getattr(each, "__args__", ()))
                if isinstance(each, type) and issubclass(each, BaseModel):
                    todo.append(each)
    return _did_you_mean(str(where[-1]) if where else "", sorted(known))


def _did_you_mean(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"did you mean {close[0]}?" if close else ""


def _dotted(where: tuple[str | int, ...]) -> str:
    return ".".join(str(part) for part in where)
