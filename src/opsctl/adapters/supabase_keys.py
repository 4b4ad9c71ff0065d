"""Supabase's API keys through the Management API: which there are, never their values.

Shapes are those of the vendor's OpenAPI description (api_v1_openapi.json).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from opsctl.adapters.rest import PATIENCE, Patience, Rest
from opsctl.core.errors import OpsError
from opsctl.core.settings import Supabase


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
        self._rest = Rest(
            name="Supabase",
            code="supabase",
            api=settings.api,
            token=settings.access_token,
            setting="supabase",
            headers={},
            patience=patience,
        )
        self._path = f"/v1/projects/{quote(settings.ref or '', safe='')}/api-keys"

    def keys(self) -> tuple[ApiKey, ...]:
        """Return every key, by name."""
        data = self._rest.get(self._path).data
        try:
            return tuple(sorted((_key(each) for each in data), key=lambda each: each.name))
        except (KeyError, TypeError, AttributeError):
            raise self._rest.not_understood(self._path) from None

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


def _key(data: Any) -> ApiKey:
    return ApiKey(
        id=data.get("id") or "",
        name=str(data["name"]),
        kind=data.get("type") or "legacy",
        prefix=data.get("prefix") or "",
        inserted_at=data.get("inserted_at") or "",
    )
