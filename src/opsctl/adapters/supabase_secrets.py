"""The secrets of a Supabase project's edge functions: names and digests, never values.

GET, POST and DELETE /v1/projects/REF/secrets; what is listed as the value is its SHA-256.
"""

from __future__ import annotations

from opsctl.adapters.rest import PATIENCE, Patience
from opsctl.adapters.supabase_management import Management
from opsctl.core.action import Pairs, Request
from opsctl.core.settings import Supabase


class FunctionSecrets:
    """The secrets of one project. What it raises is described at `opsctl.adapters.rest.Rest`."""

    def __init__(self, settings: Supabase, *, patience: Patience = PATIENCE) -> None:
        self._api = Management(settings, patience=patience)
        self._rest = self._api.rest
        self._path = f"{self._api.path}/secrets"

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of each secret's value, hexadecimal, by name."""
        data = self._rest.get(self._path).data
        try:
            return {str(each["name"]): str(each["value"]) for each in data}
        except (KeyError, TypeError, AttributeError):
            raise self._rest.not_understood(self._path) from None

    def put(self, name: str, value: str, *, fill: Pairs) -> Request:
        """Write one; `value` holds names of `fill` for what is secret."""
        return self._api.request(
            "POST", self._path, body=[{"name": name, "value": value}], fill=fill
        )

    def delete(self, name: str) -> Request:
        """Take one away."""
        return self._api.request("DELETE", self._path, body=[name])
