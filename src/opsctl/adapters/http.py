"""HTTP as a client sees it: some endpoints asked at once, never following a redirect."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Literal

from opsctl.adapters.event_loop import EventLoop
from opsctl.adapters.http_request import Ask
from opsctl.adapters.probed import Answer
from opsctl.adapters.prober import Prober
from opsctl.core.action import Expect, Probe, Request
from opsctl.core.errors import OpsError
from opsctl.core.secrets import resolve_secret, without_secrets

if TYPE_CHECKING:
    from opsctl.core.settings import HealthEndpoint

Failure = Literal["dns", "connect", "tls", "timeout", "protocol", "secret", "network"]
"""Where it failed. network: this machine has no way out; secret: a header's value is missing."""

_FAILURES: dict[str, Failure] = {
    "dns": "dns",
    "resolver": "dns",
    "timeout": "timeout",
    "secret": "secret",
    "no-route": "network",
    "own-limit": "network",
    "protocol": "protocol",
    "too-large": "protocol",
    "closed": "protocol",
    "bad-url": "protocol",
}
"""Reasons of the prober; any other is of a connection or of TLS."""


@dataclass(frozen=True)
class Fetched:
    """What became of one request."""

    name: str
    url: str
    status: int | None = None
    failure: Failure | None = None
    detail: str = ""
    took_ms: float = 0.0
    """From the start to the end of the body, or to the failure."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Of the answer; names in lower case."""
    body: str = ""
    """At most 256 KiB of it."""


def fetch_all(endpoints: Sequence[HealthEndpoint]) -> tuple[Fetched, ...]:
    """Ask all endpoints at once, each within its total time-out, and return them in order."""
    loop = EventLoop()
    try:
        prober = Prober(loop)
        found: dict[int, Fetched] = {}
        for index, endpoint in enumerate(endpoints):
            try:
                headers = {name: resolve_secret(ref) for name, ref in endpoint.headers.items()}
            except OpsError as error:
                said = f"{error.what}: {error.why}"
                found[index] = Fetched(endpoint.name, endpoint.url, failure="secret", detail=said)
                continue
            ask = Ask(
                endpoint.name,
                endpoint.url,
                method=endpoint.method,
                headers=headers,
                timeout_s=endpoint.timeout_s,
            )
            prober.prepare(ask)
            prober.send(ask, due=time.monotonic(), done=partial(_keep, found, index))
        loop.run(lambda: len(found) == len(endpoints))
        return tuple(found[index] for index in range(len(endpoints)))
    finally:
        loop.close()


def ask_one(ask: Ask) -> Answer:
    """Send one request and return what became of it; many at once are the prober's."""
    loop = EventLoop()
    try:
        prober = Prober(loop)
        found: list[Answer] = []
        prober.prepare(ask)
        prober.send(ask, due=time.monotonic(), done=found.append)
        loop.run(lambda: bool(found))
        return found[0]
    finally:
        loop.close()


def endpoint_probe(endpoint: HealthEndpoint) -> Probe:
    """Return a look that says applied once the endpoint answers as a healthy one does."""
    request = Request(
        "GET",
        endpoint.url,
        secret_headers=tuple(sorted(endpoint.headers.items())),
        timeout_s=min(endpoint.timeout_s, 30.0),
    )
    return Probe(request, Expect(status=endpoint.status), attempts=3, pause_s=1.0)


def _keep(found: dict[int, Fetched], index: int, answer: Answer) -> None:
    ask, secrets = answer.ask, tuple(answer.ask.headers.values())
    if answer.failure is not None:
        found[index] = Fetched(
            ask.name,
            ask.url,
            failure=_failure(answer.failure.reason),
            detail=without_secrets(answer.failure.said, secrets),
            took_ms=answer.own_ms,
        )
        return
    found[index] = Fetched(
        ask.name,
        ask.url,
        status=answer.status,
        took_ms=answer.own_ms,
        headers={name: without_secrets(value, secrets) for name, value in answer.headers.items()},
        body=without_secrets(answer.body.decode(errors="replace"), secrets),
    )


def _failure(reason: str) -> Failure:
    return _FAILURES.get(reason, "tls" if reason.startswith("tls") else "connect")
