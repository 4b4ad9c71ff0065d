"""HTTP as a client sees it: one GET with every phase told apart, never following a redirect."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from opsctl.core.action import Expect, Probe, Request
from opsctl.core.errors import OpsError
from opsctl.core.secrets import resolve_secret, without_secrets
from opsctl.core.settings import HealthEndpoint

_MAX_BODY_BYTES = 256 * 1024
_CONCURRENCY = 16

Failure = Literal["dns", "connect", "tls", "timeout", "protocol", "secret", "network"]
"""Where it failed. network: this machine has no way out; secret: a header's value is missing."""


@dataclass(frozen=True)
class Fetched:
    """What became of one GET."""

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
    """GET all endpoints at once, each within its total time-out, and return them in order."""
    return asyncio.run(_fetch_all(endpoints))


def endpoint_probe(endpoint: HealthEndpoint) -> Probe:
    """Return a look that says applied once the endpoint answers as a healthy one does."""
    request = Request(
        "GET",
        endpoint.url,
        secret_headers=tuple(sorted(endpoint.headers.items())),
        timeout_s=min(endpoint.timeout_s, 30.0),
    )
    return Probe(request, Expect(status=endpoint.status), attempts=3, pause_s=1.0)


async def _fetch_all(endpoints: Sequence[HealthEndpoint]) -> tuple[Fetched, ...]:
    import httpx

    limit = asyncio.Semaphore(_CONCURRENCY)
    # The total time-out is `_fetch`'s own.
    async with httpx.AsyncClient(follow_redirects=False, timeout=None) as client:  # noqa: S113

        async def one(endpoint: HealthEndpoint) -> Fetched:
            async with limit:
                return await _fetch(client, endpoint)

        return tuple(await asyncio.gather(*(one(each) for each in endpoints)))


async def _fetch(client: object, endpoint: HealthEndpoint) -> Fetched:
    import httpx

    if not isinstance(client, httpx.AsyncClient):
        raise TypeError("an httpx client is needed")
    began = time.monotonic()

    def failed(failure: Failure, detail: str) -> Fetched:
        took_ms = (time.monotonic() - began) * 1000
        return Fetched(endpoint.name, endpoint.url, failure=failure, detail=detail, took_ms=took_ms)

    try:
        headers = {name: resolve_secret(value) for name, value in endpoint.headers.items()}
    except OpsError as error:
        return failed("secret", f"{error.what}: {error.why}")
    try:
        # A per-read time-out is no total: a dripping server holds it for ever.
        async with asyncio.timeout(endpoint.timeout_s):
            async with client.stream("GET", endpoint.url, headers=headers) as response:
                body = b""
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) >= _MAX_BODY_BYTES:
                        break
            return Fetched(
                endpoint.name,
                endpoint.url,
                status=response.status_code,
                took_ms=(time.monotonic() - began) * 1000,
                headers={
                    name.lower(): without_secrets(value, headers.values())
                    for name, value in response.headers.items()
                },
                body=without_secrets(
                    body[:_MAX_BODY_BYTES].decode(errors="replace"), headers.values()
                ),
            )
    except TimeoutError:
        return failed("timeout", f"no whole answer within {endpoint.timeout_s:g} s")
    except httpx.ConnectError as error:
        return failed(*_why_no_connection(error))
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
        return failed("protocol", f"the answer broke off: {type(error).__name__}")


def _why_no_connection(error: BaseException) -> tuple[Failure, str]:
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, socket.gaierror):
            return "dns", "the host name could not be resolved"
        if isinstance(seen, ssl.SSLError):
            reason = getattr(seen, "verify_message", "") or seen.reason or "no common ground"
            return "tls", f"the TLS handshake failed: {reason}"
        if isinstance(seen, ConnectionRefusedError):
            return "connect", "the connection was refused"
        if isinstance(seen, OSError) and seen.errno in _NO_WAY_OUT:
            return "network", "this machine has no route to it"
        seen = seen.__cause__ or seen.__context__
    return "connect", "no connection could be made"


_NO_WAY_OUT = (errno.ENETDOWN, errno.ENETUNREACH)
