"""Looks at a new key and an old one: does it work, is it live, is it unused, is it gone?"""

from __future__ import annotations

import json
import re
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from opsctl.adapters.http import fetch_all
from opsctl.adapters.served_page import read_served
from opsctl.adapters.supabase_gateway import Opened, read_key_use, try_key
from opsctl.adapters.supabase_keys import ApiKey, SupabaseKeys
from opsctl.adapters.vercel import Deployment, VercelApi
from opsctl.adapters.vercel_release import judge_serving, wait_for_serving
from opsctl.areas.rotate_keys.looks import Word, looked, word_for
from opsctl.areas.rotate_keys.sinks import vercel_of
from opsctl.areas.rotate_keys.sources import digest, read_source, supabase_of
from opsctl.core.errors import Exit, OpsError
from opsctl.core.progress import duration
from opsctl.core.settings import HealthEndpoint

if TYPE_CHECKING:
    from opsctl.core.call import Call
    from opsctl.core.report import Report

MARK = "opsctlRotation"
"""What a deployment is found by that a rotation asked for."""
LEGACY = ("anon", "service_role")
_PUBLISHABLE = re.compile(r"sb_publishable_[A-Za-z0-9_-]{16,}")
_TOKEN = re.compile(r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}")
_LEAST_FINGERPRINT = 8
_POLL_S = 1.0
_ANY_USE = timedelta(hours=24)


def check_key(call: Call, *, kind: str, name: str, expect: str) -> Report:
    """Say whether the project has a key of this name; `expect` is there or gone."""
    found = SupabaseKeys(supabase_of(call)).find(kind, name)
    said = f"the project has {'no' if found is None else 'a'} {kind} key {name}"
    holds = (found is not None) == (expect == "there")
    return looked(call, "key", word_for(holds), said)


def check_legacy(call: Call, *, expect: str) -> Report:
    """Say whether the legacy keys work; `expect` is on or off."""
    enabled = SupabaseKeys(supabase_of(call)).legacy_enabled()
    said = f"the legacy keys are {'on' if enabled else 'off'}"
    holds = bool(enabled) == (expect == "on")
    return looked(call, "legacy", word_for(holds), said)


def check_old_keys(call: Call, keys: tuple[str, ...]) -> Report:
    """Say whether each of these keys, KIND:NAME, works still; without that nothing goes back."""
    api = SupabaseKeys(supabase_of(call))
    listed = api.keys()
    known = {f"{each.kind}:{each.name}" for each in listed}
    if any(each.startswith("legacy:") for each in keys) and api.legacy_enabled() is not True:
        known = {each for each in known if not each.startswith("legacy:")}
    gone = [each.partition(":")[2] for each in keys if each not in known]
    said = f"{', '.join(gone)} was ended" if gone else "the old keys are there still"
    return looked(call, "old-keys", word_for(not gone), said)


def key_id(call: Call, kind: str, name: str) -> str:
    """Return the id of a key; raises OpsError `no-such-key` (exit 3)."""
    found = SupabaseKeys(supabase_of(call)).find(kind, name)
    if found is None or not found.id:
        raise OpsError(
            f"The project has no {kind} key {name}",
            why="it was ended already, or has another name now",
            hint="opsctl rotate-keys status",
            code="no-such-key",
            exit=Exit.UNKNOWN,
        )
    return found.id


def check_works(call: Call, *, source: str, secret: bool) -> Report:
    """Say whether the project's gateway takes a key, and refuses a secret one of a browser."""
    url = supabase_of(call).url
    if url is None:
        return looked(call, "works", "unknown", f"environments.{call.name}.supabase has no url")
    value = read_source(call, source)
    found = try_key(url, value, secret=secret)
    if found.word == "accepted" and secret and value.startswith("sb_secret_"):
        browser = try_key(url, value, secret=True, browser=True)
        if browser.word == "accepted":
            return looked(call, "works", "absent", f"{browser.said} to a browser, too")
    return looked(call, "works", _word(found, "accepted"), f"with the new key {found.said}")


def check_deployed(call: Call, *, token: str, wait_s: float) -> Report:
    """Say whether the deployment that a rotation asked for is built, and production serves it.

    While it is being built it is waited for; one that was cancelled or failed is none.
    """
    api = VercelApi(vercel_of(call))
    deadline = time.monotonic() + wait_s
    said = ""
    while True:
        word, now = _deployed(api, token)
        if word != "unknown" or time.monotonic() + _POLL_S > deadline:
            return looked(call, "deployed", word, now)
        if now != said:
            said = now
            call.say(now)
        time.sleep(_POLL_S)


def _deployed(api: VercelApi, token: str) -> tuple[Word, str]:
    project = api.project()
    found = [
        each
        for each in api.deployments(project, most=20, **{f"meta-{MARK}": token})[0]
        if each.target == "production"
    ]
    if not found:
        return "absent", "no deployment was asked for by this rotation"
    newest = max(found, key=_made)
    if newest.state in ("ERROR", "CANCELED", "DELETED"):
        return "absent", f"the build of {newest.id} ended with {newest.state}"
    if newest.state != "READY":
        return "unknown", f"{newest.id} is {newest.state}"
    serving = judge_serving(project, api.production(project), newest.id)
    if serving.word == "absent":
        # Built, and not live: domains are moved a moment later, or wait for a release.
        return "unknown", f"{newest.id} is built, and {serving.said}"
    return serving.word, serving.said


def _made(deployment: Deployment) -> int:
    return deployment.created_ms


def check_serves(call: Call, deployment: str, *, wait_s: float) -> Report:
    """Say whether production serves a deployment."""
    api = VercelApi(vercel_of(call))
    found = wait_for_serving(api, deployment, wait_s=wait_s, say=call.say)
    return looked(call, "serves", found.word, found.said)


def check_live(call: Call, *, source: str, key: str, since: float, wait_s: float) -> Report:
    """Say whether the application runs with a key: in what browsers get, or by its fingerprint.

    Where neither is in the settings the gateway's log tells, since `since` (s since 1970).
    """
    deadline = time.monotonic() + wait_s
    while True:
        word, said = _live(call, source=source, key=key, since=since)
        if word == "applied" or time.monotonic() + _POLL_S > deadline:
            return looked(call, "live", word, said)
        time.sleep(_POLL_S)


def _live(call: Call, *, source: str, key: str, since: float) -> tuple[Word, str]:
    rotation = call.environment.rotation
    value = read_source(call, source)
    if key == "publishable" and rotation.page is not None:
        return _in_page(call, rotation.page, value)
    if key != "publishable" and rotation.fingerprint is not None:
        return _by_fingerprint(rotation.fingerprint.url, rotation.fingerprint.pointer, value)
    prefix = _prefix_of(call, source)
    if not prefix:
        return "unknown", "nothing in the settings says how this key is seen live"
    begin = datetime.fromtimestamp(since, UTC)
    uses = read_key_use(supabase_of(call), since=begin, until=datetime.now(UTC))
    use = uses.get(prefix)
    if use is None:
        return "absent", f"the gateway has seen no {prefix}... since the key was made"
    return "applied", f"the gateway has seen {prefix}... {use.count} times"


def _in_page(call: Call, url: str, value: str) -> tuple[Word, str]:
    served = read_served(url)
    text = "\n".join(served.values())
    if value not in text:
        return "absent", f"{url} and its {len(served) - 1} scripts do not hold the new key"
    known = SupabaseKeys(supabase_of(call)).hashes()
    others = {*_PUBLISHABLE.findall(text), *_TOKEN.findall(text)} - {value}
    names = sorted(known[digest(each)].name for each in others if digest(each) in known)
    if names:
        return "absent", f"{url} and its scripts hold the new key, and still {', '.join(names)}"
    return "applied", f"{url} serves the new key, and no other of the project"


def _by_fingerprint(url: str, pointer: str, value: str) -> tuple[Word, str]:
    (answer,) = fetch_all((HealthEndpoint(name="fingerprint", url=url),))
    if answer.status is None:
        return "unknown", f"{url} gave no answer: {answer.detail}"
    found = _pointed(answer.body, pointer)
    if not isinstance(found, str) or len(found) < _LEAST_FINGERPRINT:
        return "unknown", f"{url} has no fingerprint at {pointer}"
    if digest(value).startswith(found.lower()):
        return "applied", f"{url} says that the application has the new key"
    return "absent", f"{url} says that the application has another key"


def _pointed(body: str, pointer: str) -> object:
    try:
        found: object = json.loads(body)
    except (ValueError, RecursionError):
        return None
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(found, dict):
            found = found.get(name)
        elif isinstance(found, list) and name.isdecimal() and int(name) < len(found):
            found = found[int(name)]
        else:
            return None
    return found


def check_drained(call: Call, *, old: tuple[str, ...], hours: float, wait_s: float) -> Report:
    """Say whether old keys were unused for so long; `old` are prefixes, or `legacy`.

    It is waited for that, but no longer than `wait_s`. What a key without a prefix does is not
    known, so it is not taken for unused.
    """
    deadline = time.monotonic() + wait_s
    while True:
        word, said = _drained(call, old, hours)
        if word != "absent" or time.monotonic() + _POLL_S > deadline:
            return looked(call, "drained", word, said)
        time.sleep(_POLL_S)


def _drained(call: Call, old: tuple[str, ...], hours: float) -> tuple[Word, str]:
    if not old or not all(old):
        return "unknown", "the gateway's log cannot tell: a key has no prefix"
    now = datetime.now(UTC)
    settings = supabase_of(call)
    uses = read_key_use(settings, since=now - timedelta(hours=hours), until=now)
    if not uses and not read_key_use(settings, since=now - _ANY_USE, until=now):
        # A log without any entry says nothing: it may be turned off, or be late.
        return "unknown", "the gateway's log of the last day is empty, so it cannot tell"
    legacy = {prefix for prefix in uses if prefix and not prefix.startswith("sb_")}
    seen = {
        prefix: use
        for prefix, use in uses.items()
        if prefix in old or ("legacy" in old and prefix in legacy)
    }
    span = duration(hours * 3600)
    if not seen:
        return "applied", f"the old key was not used for {span}, says the gateway's log"
    count, last = sum(each.count for each in seen.values()), max(e.last for e in seen.values())
    return "absent", f"the old key was used {count} times within {span}, last at {last}"


def _prefix_of(call: Call, source: str) -> str:
    kind, _, rest = source.partition(":")
    if kind != "supabase":
        return ""
    of, _, name = rest.partition(":")
    found: ApiKey | None = SupabaseKeys(supabase_of(call)).find(of, name)
    return found.prefix if found is not None else ""


def _word(opened: Opened, wanted: str) -> Word:
    if opened.word == "unknown":
        return "unknown"
    return "applied" if opened.word == wanted else "absent"
