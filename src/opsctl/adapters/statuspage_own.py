"""The team's own page at Statuspage: its incidents, found again by what their metadata says.

The metadata of an incident names opsctl's incident and every message that was put on it, and is
written in the same request as the message: either both are there or neither is. As in
`opsctl.adapters.slack`, the writes act at once.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from opsctl.adapters.rest import MISFITS, TooMuch, read_whole
from opsctl.core.errors import Exit, OpsError
from opsctl.core.secrets import resolve_secret

if TYPE_CHECKING:
    from opsctl.core.settings import Channels

_TIMEOUT_S = 10.0
_PAGES = 10
_PER_PAGE = 100
_LIMITED = (420, 429)
_ATTEMPTS = 3
_LONGEST_WAIT_S = 30.0


@dataclass(frozen=True)
class PageIncident:
    """One incident on the page that opsctl has put there."""

    id: str
    status: str
    messages: tuple[str, ...]
    """The references of the messages on it, in the order they were sent."""


class OwnStatusPage:
    """The page of the settings. Every call may raise OpsError `statuspage-...` (exit 3)."""

    def __init__(self, channels: Channels, *, sleep: Callable[[float], None] = time.sleep) -> None:
        if channels.statuspage is None or channels.statuspage_page is None:
            raise TypeError("the settings name no page at Statuspage")
        self._reference = channels.statuspage
        page = quote(channels.statuspage_page, safe="")
        self._url = f"{channels.statuspage_api.rstrip('/')}/v1/pages/{page}"
        self._sleep = sleep

    def find(self, incident: str) -> PageIncident | None:
        """Return the page's incident that stands for one of ours."""
        for page in range(1, _PAGES + 1):
            found = self._ask("GET", f"/incidents?limit={_PER_PAGE}&page={page}")
            if not isinstance(found, list):
                raise _page_error("its answer is no list of incidents")
            try:
                for each in found:
                    ours = (each.get("metadata") or {}).get("opsctl") or {}
                    if ours.get("incident") == incident:
                        return PageIncident(
                            str(each["id"]), str(each.get("status", "")),
                            tuple(map(str, ours.get("messages") or ())),
                        )  # fmt: skip
            except MISFITS:
                raise _page_error("its answer is no list of incidents") from None
            if len(found) < _PER_PAGE:
                break
        return None

    def write(
        self, incident: str, message: str, *, there: PageIncident | None, content: Mapping[str, Any]
    ) -> None:
        """Put a message on the page: a new incident, or one more update of the one `there`."""
        before = there.messages if there is not None else ()
        ours = {"incident": incident, "messages": [*before, message]}
        body = {"incident": {**content, "metadata": {"opsctl": ours}}}
        if there is None:
            self._ask("POST", "/incidents", body)
        else:
            self._ask("PATCH", f"/incidents/{quote(there.id, safe='')}", body)

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        import httpx

        key = resolve_secret(self._reference)
        for attempt in range(_ATTEMPTS):
            try:
                verify = self._url.startswith("https://")  # certificates take 30 ms to load
                with (
                    httpx.Client(
                        follow_redirects=False, timeout=_TIMEOUT_S, verify=verify
                    ) as client,
                    client.stream(
                        method, self._url + path, json=body,
                        headers={"Authorization": f"OAuth {key}"},
                    ) as response,
                ):  # fmt: skip
                    text = read_whole(response)
                if response.status_code in _LIMITED and attempt + 1 < _ATTEMPTS:
                    wait = response.headers.get("Retry-After", "1")
                    self._sleep(min(float(wait) if wait.isdecimal() else 1.0, _LONGEST_WAIT_S))
                    continue
                if response.status_code in (200, 201):
                    return json.loads(text)
            except (httpx.HTTPError, ValueError, RecursionError, TimeoutError, TooMuch) as error:
                raise _page_error(f"it gave no answer: {type(error).__name__}") from None
            break
        raise _page_error(f"it answered {response.status_code} to {method} {path.split('?')[0]}")


def _page_error(why: str) -> OpsError:
    return OpsError(
        "The status page was not used",
        why=why,
        hint="check channels.statuspage and channels.statuspage_page",
        code="statuspage-unusable",
        exit=Exit.UNKNOWN,
    )
