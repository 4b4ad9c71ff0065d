"""What a JSON Web Token says of itself. No signature is checked here: the server does that."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

_MOST_CHARACTERS = 20_000


@dataclass(frozen=True)
class Token:
    """The claims that matter to us; what is missing or of another type is empty."""

    algorithm: str
    key_id: str
    role: str
    reference: str
    """Supabase's project reference, in its legacy keys."""
    issuer: str
    ends: datetime | None


def read_token(text: str) -> Token | None:
    """Read a token; None for anything else."""
    parts = text.split(".")
    if len(parts) != 3 or len(text) > _MOST_CHARACTERS:
        return None
    header, claims = _json(parts[0]), _json(parts[1])
    if header is None or claims is None or not isinstance(header.get("alg"), str):
        return None
    return Token(
        algorithm=header["alg"],
        key_id=_text(header.get("kid")),
        role=_text(claims.get("role")),
        reference=_text(claims.get("ref")),
        issuer=_text(claims.get("iss")),
        ends=_moment(claims.get("exp")),
    )


def _json(part: str) -> dict[str, Any] | None:
    try:
        data = base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
        found = json.loads(data)
    except (ValueError, binascii.Error, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _moment(value: Any) -> datetime | None:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    try:
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        return None
