"""Supabase's API keys through the Management API: read, made, ended.

Shapes are those of the vendor's OpenAPI description (api_v1_openapi.json). A key is told by its
id and its name; its value is read by `value` alone, and stands in no Request.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from opsctl.adapters.rest import MISFITS, PATIENCE, Patience
from opsctl.adapters.supabase_management import Management
from opsctl.core.action import Pairs, Request
from opsctl.core.errors import Exit, OpsError

if TYPE_CHECKING:
    from opsctl.core.settings import Supabase

Kind = Literal["publishable", "secret"]


@dataclass(frozen=True)
class ApiKey:
    """One API key; its value is not read."""

    id: str
    """Empty for a legacy key on some projects."""
    name: str
    kind: str
    """publishable, secret or legacy."""
    prefix: str
    inserted_at: str
    """RFC 3339; empty where the API does not say."""


class SupabaseKeys:
    """The API keys of one project. What it raises is described at `opsctl.adapters.rest.Rest`."""

    def __init__(self, settings: Supabase, *, patience: Patience = PATIENCE) -> None:
        self._api = Management(settings, patience=patience)
        self._rest = self._api.rest
        self._path = f"{self._api.path}/api-keys"

    def keys(self) -> tuple[ApiKey, ...]:
        """Return every key, by name."""
        return tuple(key for key, _ in self._listed(reveal=False))

    def hashes(self) -> dict[str, ApiKey]:
        """Return every key by the SHA-256 of its value, hexadecimal."""
        return {_hash(value): key for key, value in self._listed(reveal=True) if value}

    def find(self, kind: str, name: str) -> ApiKey | None:
        """Return the key of this kind and name, or None."""
        return next((each for each in self.keys() if (each.kind, each.name) == (kind, name)), None)

    def value(self, kind: str, name: str) -> str:
        """Return a key's value: a secret.

        Raises OpsError `no-such-key` (exit 3) where it is gone or the API keeps it covered.
        """
        for key, value in self._listed(reveal=True):
            if (key.kind, key.name) == (kind, name) and value:
                return value
        raise OpsError(
            f"The {kind} key {name} could not be read",
            why="the project has none of this name, or the token may not see its value",
            hint="opsctl rotate-keys status",
            code="no-such-key",
            exit=Exit.UNKNOWN,
        )

    def legacy_enabled(self) -> bool | None:
        """Return whether the legacy anon and service_role keys work; None where there are none."""
        path = f"{self._path}/legacy"
        try:
            data = self._rest.get(path).data
        except OpsError as error:
            if error.code == "supabase-not-found":
                return None
            raise
        if not isinstance(data, dict) or not isinstance(data.get("enabled"), bool):
            raise self._rest.not_understood(path)
        return bool(data["enabled"])

    def create(self, kind: Kind, name: str, *, description: str) -> Request:
        """Make a key: POST /v1/projects/REF/api-keys. The answer shows no secret one's value."""
        body = {"type": kind, "name": name, "description": description}
        if kind == "secret":
            body["secret_jwt_template"] = {"role": "service_role"}  # type: ignore[assignment]
        return self._api.request("POST", self._path, body=body)

    def delete(
        self, id: str, *, reason: str, compromised: bool = False, fill: Pairs = ()
    ) -> Request:
        """End a key for good: DELETE /v1/projects/REF/api-keys/ID. `id` may be a name of `fill`."""
        query = {"reason": reason, "was_compromised": str(compromised).lower()}
        return self._api.request(
            "DELETE", f"{self._path}/{quote(id, safe='{}')}", query=query, fill=fill
        )

    def enable_legacy(self, *, on: bool) -> Request:
        """Let both legacy keys work, or not: PUT /v1/projects/REF/api-keys/legacy; reversible."""
        return self._api.request("PUT", f"{self._path}/legacy", query={"enabled": str(on).lower()})

    def _listed(self, *, reveal: bool) -> list[tuple[ApiKey, str | None]]:
        data = self._rest.get(self._path, {"reveal": str(reveal).lower()}).data
        try:
            found = [(_key(each), _value(each)) for each in data]
        except MISFITS:
            raise self._rest.not_understood(self._path) from None
        return sorted(found, key=lambda pair: pair[0].name)


def _key(data: Any) -> ApiKey:
    return ApiKey(
        id=data.get("id") or "",
        name=str(data["name"]),
        kind=data.get("type") or "legacy",
        prefix=data.get("prefix") or "",
        inserted_at=data.get("inserted_at") or "",
    )


def _value(data: Any) -> str | None:
    """Return the value, or None where it is covered: what is no printable ASCII is no key."""
    value = data.get("api_key")
    plain = isinstance(value, str) and value.isascii() and value.isprintable()
    return value if plain and value else None


def _hash(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()
