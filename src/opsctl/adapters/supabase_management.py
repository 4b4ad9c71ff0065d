"""Supabase's Management API for one project: how it is asked, and how a request to it looks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from opsctl.adapters.rest import PATIENCE, Patience, Rest
from opsctl.core.action import Pairs, Request

if TYPE_CHECKING:
    from opsctl.core.settings import Supabase


class Management:
    """The API for one project. What it raises is described at `opsctl.adapters.rest.Rest`."""

    def __init__(self, settings: Supabase, *, patience: Patience = PATIENCE) -> None:
        self._settings = settings
        self.rest = Rest(
            name="Supabase",
            code="supabase",
            api=settings.api,
            token=settings.access_token,
            setting="supabase",
            headers={},
            patience=patience,
        )
        self.path = f"/v1/projects/{quote(settings.ref or '', safe='')}"
        """Of the project."""

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        fill: Pairs = (),
    ) -> Request:
        """Return a request that changes something; `path` is percent-encoded."""
        if self._settings.access_token is None:
            raise self.rest.failed("refused", "the settings have no supabase.access_token")
        url = self._settings.api.rstrip("/") + path + (f"?{urlencode(query)}" if query else "")
        return Request(
            method,
            url,
            headers=(("Content-Type", "application/json"),) if body is not None else (),
            secret_headers=(("Authorization", f"bearer:{self._settings.access_token}"),),
            body=None if body is None else json.dumps(body, sort_keys=True),
            fill=fill,
        )
