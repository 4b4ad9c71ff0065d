"""The keys that a Supabase project signs its tokens with.

Each is standby, in_use, previously_used or revoked. They are at
/v1/projects/REF/config/auth/signing-keys: GET, POST, and PATCH and DELETE of one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from opsctl.adapters.rest import MISFITS, PATIENCE, Patience
from opsctl.adapters.supabase_management import Management
from opsctl.core.action import Pairs, Request
from opsctl.core.settings import Supabase


@dataclass(frozen=True)
class SigningKey:
    """One signing key; its private half is never read."""

    id: str
    algorithm: str
    status: str
    created_at: datetime
    updated_at: datetime
    """When its status was last changed, among others."""


class SigningKeys:
    """The signing keys of one project. It raises what `opsctl.adapters.rest.Rest` does."""

    def __init__(self, settings: Supabase, *, patience: Patience = PATIENCE) -> None:
        self._api = Management(settings, patience=patience)
        self._rest = self._api.rest
        self._config = f"{self._api.path}/config/auth"
        self._path = f"{self._config}/signing-keys"

    def keys(self) -> tuple[SigningKey, ...]:
        """Return every signing key, the oldest first."""
        data = self._rest.get(self._path).data
        try:
            return tuple(sorted(map(_key, data["keys"]), key=lambda each: each.created_at))
        except MISFITS:
            raise self._rest.not_understood(self._path) from None

    def token_lifetime_s(self) -> float:
        """Return how long an access token is good, in seconds (`jwt_exp`)."""
        data = self._rest.get(self._config).data
        try:
            return float(data["jwt_exp"])
        except MISFITS:
            raise self._rest.not_understood(self._config) from None

    def create(self, algorithm: str) -> Request:
        """Make a key that is published and does not sign yet."""
        return self._api.request(
            "POST", self._path, body={"algorithm": algorithm, "status": "standby"}
        )

    def set_status(self, id: str, status: str, *, fill: Pairs = ()) -> Request:
        """Give a key another status; `id` may be a name of `fill`.

        in_use makes the one before previously_used. Supabase lets some five minutes pass
        between two changes.
        """
        path = f"{self._path}/{quote(id, safe='{}')}"
        return self._api.request("PATCH", path, body={"status": status}, fill=fill)

    def delete(self, id: str, *, fill: Pairs = ()) -> Request:
        """Take away a key that is not in use; `id` may be a name of `fill`."""
        return self._api.request("DELETE", f"{self._path}/{quote(id, safe='{}')}", fill=fill)


def _key(data: Any) -> SigningKey:
    created, updated = (datetime.fromisoformat(data[f"{what}_at"]) for what in
                        ("created", "updated"))  # fmt: skip
    if created.tzinfo is None or updated.tzinfo is None:
        raise ValueError("a time has no zone")
    return SigningKey(
        str(data["id"]), str(data["algorithm"]), str(data["status"]), created, updated
    )
