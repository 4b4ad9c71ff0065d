"""The gateway in front of a Supabase project: whether a key opens it, and which keys were used.

A key is asked for with GET /rest/v1/ (publishable, anon) or GET /auth/v1/admin/users, which
only a secret key may ask. The log is asked through the Management API; its field
`request.sb.apikey.apikey.prefix` is read as public runbooks read it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from opsctl.adapters.rest import MISFITS, PATIENCE, Patience
from opsctl.adapters.supabase_management import Management
from opsctl.core.errors import OpsError
from opsctl.core.settings import Supabase
from opsctl.core.trust import trusted

_TIMEOUT_S = 15.0
_LONGEST_SPAN = timedelta(hours=24)
"""The API looks at no more of the log at once."""
_BROWSER = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0"

_SQL = """\
select log_attributes['request.sb.apikey.apikey.prefix'] as prefix, count(*) as count,
  max(timestamp) as last
from logs where source = 'edge_logs' group by prefix"""


@dataclass(frozen=True)
class Opened:
    """Whether a key opens the gateway, as far as one request says."""

    word: Literal["accepted", "refused", "unknown"]
    said: str


@dataclass(frozen=True)
class KeyUse:
    """How often a key was used within a span, and when last."""

    count: int
    last: str
    """As the log says it; empty where it was not."""


def try_key(url: str, key: str, *, secret: bool, browser: bool = False) -> Opened:
    """Ask the project's gateway with a key; `browser`: as a browser would, which is refused.

    A secret key answers 401 to a browser: that it does not is worth knowing.
    """
    import httpx

    path = "/auth/v1/admin/users?per_page=1" if secret else "/rest/v1/"
    headers = {"apikey": key, "User-Agent": _BROWSER if browser else "opsctl"}
    if key.startswith("eyJ"):
        headers["Authorization"] = f"Bearer {key}"
    try:
        with (
            httpx.Client(follow_redirects=False, timeout=_TIMEOUT_S, verify=trusted()) as client,
            # Streamed, for what it says besides is not read.
            client.stream("GET", url.rstrip("/") + path, headers=headers) as answer,
        ):
            status = answer.status_code
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeEncodeError) as error:
        return Opened("unknown", f"{url} gave no answer: {type(error).__name__}")
    said = f"{url} answered {status}"
    if 200 <= status < 300:
        return Opened("accepted", said)
    return Opened("refused" if status in (401, 403) else "unknown", said)


def read_key_use(
    settings: Supabase, *, since: datetime, until: datetime, patience: Patience = PATIENCE
) -> dict[str, KeyUse]:
    """Return by prefix how often each key passed the gateway within a span.

    A span of more than 24 hours is asked in pieces. Raises as `opsctl.adapters.rest.Rest` does;
    an answer without a list is not taken for a log without entries.
    """
    api = Management(settings, patience=patience)
    rest, path = api.rest, f"{api.path}/analytics/endpoints/logs.all"
    found: dict[str, KeyUse] = {}
    begin = since
    while begin < until:
        end = min(begin + _LONGEST_SPAN, until)
        query = {
            "sql": _SQL,
            "iso_timestamp_start": _stamp(begin),
            "iso_timestamp_end": _stamp(end),
        }
        data = rest.get(path, query).data
        try:
            if data.get("error"):
                raise rest.failed("answer", f"{path}: the log could not be searched")
            for row in data["result"]:
                prefix, count = str(row["prefix"] or ""), int(row["count"])
                before = found.get(prefix, KeyUse(0, ""))
                last = max(before.last, str(row.get("last") or ""))
                found[prefix] = KeyUse(before.count + count, last)
        except OpsError:
            raise
        except MISFITS:
            raise rest.not_understood(path) from None
        begin = end
    return found


def _stamp(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
