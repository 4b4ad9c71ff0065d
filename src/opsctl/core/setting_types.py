"""The types that the settings are made of: references to secrets, addresses, names."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
)

_REFERENCE = r"(env:[A-Za-z_][A-Za-z0-9_]*|file:.+|keyring:[^/]+/.+|cmd:.+)"


def _reference(text: str, info: ValidationInfo) -> str:
    if not re.fullmatch(_REFERENCE, text, re.DOTALL):
        # The value is not repeated: it may be the secret itself.
        raise ValueError(
            "a secret is named by reference: env:NAME, file:PATH, "
            "keyring:SERVICE/NAME or cmd:COMMAND"
        )
    root = (info.context or {}).get("root")
    if text.startswith("file:") and root is not None:
        # A secret is read from anywhere, so its path may not depend on where that is.
        return f"file:{Path(root) / os.path.expanduser(text.removeprefix('file:'))}"  # noqa: PTH111
    return text


def _web_address(text: str) -> str:
    if not re.match(r"https?://[^/?#@\s]+([/?#]|$)", text):
        # Not repeated either: a name and a password may stand before its @.
        raise ValueError("an address begins with http:// or https:// and holds no password")
    return text


def _state(text: str, info: ValidationInfo) -> str:
    if re.match(r"(env|file|keyring|cmd):", text):
        return _reference(text, info)
    if re.match(r"postgres(ql)?://", text):
        # Not repeated: it may hold a password, in one of several places.
        authority = text.partition("://")[2].partition("/")[0]
        if ":" in authority.rpartition("@")[0] or "password" in text:
            raise ValueError(
                "an address with a password is given by reference: env:NAME, file:PATH, "
                "keyring:SERVICE/NAME or cmd:COMMAND"
            )
        return text
    if not text or "://" in text:
        raise ValueError(
            "the state is kept in a file, or in PostgreSQL: a path, postgresql://USER@HOST/NAME "
            "without a password, or a secret reference to such an address"
        )
    return text


SecretRef = Annotated[
    str,
    AfterValidator(_reference),
    WithJsonSchema({"type": "string", "pattern": f"^{_REFERENCE}$"}),
]
"""A reference to a secret: `env:NAME`, `file:PATH`, `keyring:SERVICE/NAME`, `cmd:COMMAND`.

A relative `file:` path starts at the root, when the settings are validated with one.
"""

State = Annotated[str, AfterValidator(_state)]
"""A file, or a PostgreSQL without its password, or a reference to one; see `state_place`."""

WebAddress = Annotated[
    str,
    AfterValidator(_web_address),
    WithJsonSchema({"type": "string", "pattern": "^https?://[^/?#@\\s]+([/?#]|$)"}),
]
"""An absolute URL without a password: what the settings hold is shown to everybody."""

Place = Annotated[str, Field(pattern=r"^(\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):[0-9]{1,5}$")]
"""HOST:PORT; an IPv6 address stands in brackets."""

EnvironmentName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$")]
"""Letters, digits, - and _: the name is typed to agree and stands in file names."""


Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]


class Model(BaseModel):
    """Frozen, strict about types, and an error where a key is unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)
