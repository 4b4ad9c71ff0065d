"""The secrets of a Supabase project's edge functions: names and digests, never values.

GET, POST and DELETE /v1/projects/REF/secrets; what is listed as the value is its SHA-256.
"""

from __future__ import annotations

import json
from urllib.parse import quote

from opsctl.adapters.rest import PATIENCE, Patience, Rest
from opsctl.core.action import Pairs, Request
from opsctl.core.settings import Supabase


class FunctionSecrets:
    """The secrets of one project. What it raises is described at `opsctl.adapters.rest.Rest`."""

    def __init__(self, settings: Supabase, *, patience: Patience = PATIENCE) -> None:
        self._settings = settings
        self._rest = Rest(
            name="Supabase",
            code="supabase",
            api=settings.api,
            token=settings.access_token,
            setting="supabase",
            headers={},
            patience=patience,
        )
        self._path = f"/v1/projects/{quote(settings.ref or '', safe='')}/secrets"

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of each secret's value, hexadecimal, by name."""
        data = self._rest.get(self._path).data
        try:
            return {str(each["name"]): str(each["value"]) for each in data}
        except (KeyError, TypeError, AttributeError):
            raise self._rest.not_understood(self._path) from None

    def put(self, name: str, value: str, *, fill: Pairs) -> Request:
        """Write one; `value` holds names of `fill` for what is secret."""
        return self._send("POST", [{"name": name, "value": value}], fill)

    def delete(self, name: str) -> Request:
        """Take one away."""
        return self._send("DELETE", [name], ())

    def _send(self, method: str, body: object, fill: Pairs) -> Request:
        if self._settings.access_token is None:
            raise self._rest.failed("refused", "the settings have no supabase.access_token")
        return Request(
            method,
            self._settings.api.rstrip("/") + self._path,
            headers=(("Content-Type", "application/json"),),
            secret_headers=(("Authorization", f"bearer:{self._settings.access_token}"),),
            body=json.dumps(body),
            fill=fill,
        )
