"""Supabase Auth as its clients see it: health, settings, keys, sign-in, CORS.

Paths and shapes follow the service's own openapi.yaml. A key goes into `apikey`; a legacy one,
which is a token, into `Authorization`, too. What users are called is never kept.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from opsctl.core.secrets import without_secrets

_TOTAL_S = 10.0
_MOST_BYTES = 1 << 20
_SAID = 200


@dataclass(frozen=True)
class Answer:
    """What became of one request."""

    status: int = 0
    """0 where there was no whole answer."""
    data: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Its JSON, where it is an object. It may hold tokens."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Names in lower case."""
    why: str = ""
    """Why there was no answer, or what an error's says; without our secrets."""
    code: str = ""
    """An error's own code: `invalid_credentials`."""
    took_ms: float = 0.0


class AuthApi:
    """One project's Auth. Use it within one event loop, as an asynchronous context manager."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._client: Any = None

    async def __aenter__(self) -> AuthApi:
        import httpx

        # The total time-out is `_send`'s own: one per read is none.
        self._client = httpx.AsyncClient(follow_redirects=False, timeout=None)  # noqa: S113 - see _send
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def health(self, key: str) -> Answer:
        """GET /auth/v1/health."""
        return await self._send("GET", "/auth/v1/health", key=key)

    async def settings(self, key: str) -> Answer:
        """GET /auth/v1/settings."""
        return await self._send("GET", "/auth/v1/settings", key=key)

    async def signing_keys(self, key: str) -> Answer:
        """GET /auth/v1/.well-known/jwks.json."""
        return await self._send("GET", "/auth/v1/.well-known/jwks.json", key=key)

    async def administer(self, key: str) -> Answer:
        """Ask for one user, as only an administrator may; the answer's data is dropped."""
        answer = await self._send("GET", "/auth/v1/admin/users?page=1&per_page=1", key=key)
        return Answer(answer.status, why=answer.why, code=answer.code, took_ms=answer.took_ms)

    async def sign_in(self, key: str, *, email: str, password: str) -> Answer:
        """POST /auth/v1/token?grant_type=password."""
        return await self._send(
            "POST", "/auth/v1/token?grant_type=password", key=key,
            body={"email": email, "password": password}, secrets=(email, password),
        )  # fmt: skip

    async def user(self, key: str, *, token: str) -> Answer:
        """GET /auth/v1/user: whether the server accepts a user's token; its data is dropped."""
        answer = await self._send("GET", "/auth/v1/user", key=key, token=token)
        return Answer(answer.status, why=answer.why, code=answer.code, took_ms=answer.took_ms)

    async def sign_out(self, key: str, *, token: str) -> Answer:
        """POST /auth/v1/logout?scope=local: the session of this token alone ends."""
        return await self._send("POST", "/auth/v1/logout?scope=local", key=key, token=token)

    async def preflight(self, *, origin: str) -> Answer:
        """Ask as a browser does before it signs in from a page of `origin`."""
        headers = {
            "Origin": origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "apikey,authorization,content-type,x-client-info",
        }
        return await self._send("OPTIONS", "/auth/v1/token", headers=headers)

    async def _send(
        self,
        method: str,
        path: str,
        *,
        key: str = "",
        token: str = "",
        headers: Mapping[str, str] | None = None,
        body: Mapping[str, str] | None = None,
        secrets: tuple[str, ...] = (),
    ) -> Answer:
        import httpx

        began = time.monotonic()
        sent = {**(headers or {}), **_key_headers(key, token)}
        hidden = [key, token, *secrets]

        def nothing(why: str) -> Answer:
            return Answer(why=why, took_ms=(time.monotonic() - began) * 1000)

        if not all(value.isascii() and value.isprintable() for value in sent.values()):
            return nothing("the key holds characters that no header can carry")
        try:
            async with (
                asyncio.timeout(_TOTAL_S),
                self._client.stream(method, self.url + path, headers=sent, json=body) as response,
            ):
                data = bytearray()
                async for chunk in response.aiter_bytes():
                    data += chunk
                    if len(data) > _MOST_BYTES:
                        return nothing(f"the answer is larger than {_MOST_BYTES >> 20} MiB")
        except TimeoutError:
            return nothing(f"no whole answer within {_TOTAL_S:g} s")
        except httpx.ConnectError:
            return nothing("no connection could be made: DNS, TCP or TLS")
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            return nothing(f"the answer broke off: {type(error).__name__}")
        parsed = _object(bytes(data))
        code, said = _error(parsed) if response.status_code >= 400 else ("", "")
        return Answer(
            status=response.status_code,
            data=parsed,
            headers={name.lower(): value for name, value in response.headers.items()},
            why=without_secrets(said, [each for each in hidden if each]),
            code=code,
            took_ms=(time.monotonic() - began) * 1000,
        )


def _key_headers(key: str, token: str) -> dict[str, str]:
    headers = {"apikey": key} if key else {}
    # The new keys are no tokens, and are refused there.
    bearer = token or (key if key.count(".") == 2 else "")
    return {**headers, **({"Authorization": f"Bearer {bearer}"} if bearer else {})}


def _object(data: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _error(data: Mapping[str, Any]) -> tuple[str, str]:
    """Return (code, message) of an error; the gateway, Auth's old and its new API differ."""
    code = data.get("error_code") or data.get("code") or data.get("error") or ""
    said = data.get("msg") or data.get("message") or data.get("error_description") or ""
    return (
        code[:_SAID] if isinstance(code, str) else "",
        said[:_SAID] if isinstance(said, str) else "",
    )
