"""Say what does not fit the settings' models: where, what, and what was probably meant.

The values are left out everywhere: one may be a secret in the wrong place.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from opsctl.core.errors import OpsError
from opsctl.core.settings import Settings
from opsctl.core.strict_yaml import shown_key

Where = tuple[str | int, ...]
"""The path of a value: keys, and positions in lists."""

_SHOWN = 20
_WORDS = {
    "extra_forbidden": "unknown key",
    "missing": "is required",
    "bool_type": "is to be true or false",
    "int_type": "is to be a whole number",
    "float_type": "is to be a number",
    "string_type": "is to be text; quote what looks like a number",
    "string_unicode": "is not text",
    "tuple_type": "is to be a list",
    "dict_type": "is to be a mapping of keys",
    "model_type": "is to be a mapping of keys",
}


def invalid(error: ValidationError, *, origins: Mapping[str, str], source: str) -> OpsError:
    """Return the error that lists every misfit, one a line; `source` is where the rest is from."""
    found = error.errors(include_input=False, include_context=False, include_url=False)
    lines = []
    hints = []
    for each in found[:_SHOWN]:
        where = tuple(part for part in each["loc"] if part != "[key]")
        message = _WORDS.get(each["type"], each["msg"].removeprefix("Value error, "))
        if each["loc"][-1:] == ("[key]",):
            message = "a name is made of letters, digits, - and _"
        if each["type"] == "extra_forbidden":
            meant = did_you_mean(str(where[-1]), keys_at(where[:-1]))
            hints.append(meant)
            message += f"; {meant}" if meant else ""
        elif each["type"] == "missing":
            hints.append(f"add the key {where[-1]}")
        lines.append(f"{_origin(where, origins) or source}: {shown_path(where)}: {message}")
    if len(found) > _SHOWN:
        lines.append(f"and {len(found) - _SHOWN} more")
    return OpsError(
        "The settings are not valid",
        why="\n".join(lines),
        hint=next(filter(None, hints), "opsctl config schema describes every key"),
        code="settings-invalid",
    )


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a question that suggests the known word nearest to `word`, or an empty text."""
    close = difflib.get_close_matches(word[:120], sorted(known), n=1, cutoff=0.6)
    return f"did you mean {close[0]}?" if close else ""


def dotted(where: Where) -> str:
    """Return a path as the origins name it."""
    return ".".join(str(part) for part in where)


def shown_path(where: Where) -> str:
    """Return a path as a message may show it."""
    return ".".join(shown_key(part) for part in where) or "the settings"


def keys_at(where: Where) -> list[str]:
    """Return the keys that the settings may have at a path; none where keys are free."""
    kind: Any = Settings
    for part in where:
        kind = _below(kind, part)
    model = model_in(kind)
    return list(model.model_fields) if model is not None else []


def model_in(kind: Any) -> type[BaseModel] | None:
    """Return the model that an annotation such as `Database | None` speaks of, if any."""
    for each in (kind, *getattr(kind, "__args__", ())):
        if isinstance(each, type) and issubclass(each, BaseModel):
            return each
    return None


def _below(kind: Any, part: str | int) -> Any:
    """Return the annotation of what stands below one of type `kind`."""
    if getattr(kind, "__origin__", None) is dict:
        return kind.__args__[1]
    model = model_in(kind)
    if isinstance(part, int) or model is None:
        return model
    return model.model_fields[part].annotation if part in model.model_fields else None


def _origin(where: Where, origins: Mapping[str, str]) -> str | None:
    for length in range(len(where), 0, -1):
        if found := origins.get(dotted(where[:length])):
            return found
    return None
