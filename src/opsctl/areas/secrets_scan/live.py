"""Ask the configured project whether a key that was found still works; nobody else is asked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from opsctl.adapters.secret_scanner.scanner import Found
from opsctl.core.errors import OpsError

if TYPE_CHECKING:
    from opsctl.core.call import Call

_RULES = ("supabase-secret-key", "supabase-jwt")
_MOST = 20
"""Keys asked about in one scan."""
_TIMEOUT_S = 10.0


def ask_live(call: Call, found: Iterable[Found]) -> dict[str, str]:
    """Return hash of a key -> what the environment's project says of it.

    A key that names another project is never sent. Raises OpsError `no-project` (exit 2).
    """
    supabase = call.environment.supabase
    url = supabase.url if supabase is not None else None
    ref = supabase.ref if supabase is not None else None
    if url is None and ref is not None:
        url = f"https://{ref}.supabase.co"
    if url is None:
        raise OpsError(
            f"The environment {call.name} has no Supabase project to ask",
            why="supabase.url and supabase.ref are not set",
            hint=f"set environments.{call.name}.supabase.url",
            code="no-project",
        )
    ref = ref or url.partition("://")[2].split(".")[0]
    keys: dict[str, Found] = {}
    for each in found:
        if each.rule in _RULES and each.project in ("", ref):
            keys.setdefault(each.digest, each)
    answers = {}
    for digest, each in list(keys.items())[:_MOST]:
        answers[digest] = _ask(url, each.secret)
    for digest in list(keys)[_MOST:]:
        answers[digest] = f"not asked: only {_MOST} keys are"
    return answers


def _ask(url: str, key: str) -> str:
    import httpx

    headers = {"apikey": key, "User-Agent": "opsctl"}
    if key.startswith("eyJ"):
        headers["Authorization"] = f"Bearer {key}"
    host = url.partition("://")[2].split("/")[0]
    try:
        # Only a secret key may list users; the answer is not kept.
        with httpx.Client(follow_redirects=False, timeout=_TIMEOUT_S, trust_env=False) as client:
            status = client.get(
                f"{url.rstrip('/')}/auth/v1/admin/users?per_page=1", headers=headers
            )
    except httpx.HTTPError as error:
        return f"{host} could not be asked: {type(error).__name__}"
    if status.status_code == 200:
        return f"it WORKS: {host} accepts it"
    if status.status_code in (401, 403):
        return f"{host} refuses it"
    return f"{host} answered {status.status_code}: not clear whether it works"
