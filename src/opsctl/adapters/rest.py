"""A vendor's JSON API as a reader sees it: patient, bounded, and never led elsewhere.

Redirects are not followed, and no page of another origin is: the token would go with it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urljoin, urlsplit

from opsctl.adapters.http import ask_one
from opsctl.adapters.http_request import Ask
from opsctl.core.errors import Exit, OpsError
from opsctl.core.secrets import resolve_secret, without_secrets

if TYPE_CHECKING:
    import httpx

_ASK_S = 20.0
"""How long one request may take in all."""
_TOTAL_S = 60.0
_MOST_BYTES = 32 << 20
_MOST_PAGES = 500
_SAID = 200
MISFITS = (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError)
"""What taking an answer of another shape apart raises; a number may be Infinity, too."""


@dataclass(frozen=True)
class Patience:
    """How often a read is tried, and how long is waited in between: doubled each time."""

    attempts: int = 4
    pause_s: float = 0.5
    longest_pause_s: float = 30.0
    """A Retry-After beyond this is not waited for, but reported."""


PATIENCE = Patience()


@dataclass(frozen=True)
class Page:
    """One answer: its JSON, and the address of the next page in its Link header, if any."""

    data: Any
    next_url: str | None
    headers: Mapping[str, str] = field(default_factory=dict)
    """Names in lower case."""


@dataclass(frozen=True)
class Rest:
    """One API and who asks it.

    Every error is an OpsError with exit 3 and the code `NAME-unreachable`, `-refused` (the
    token, or another 4xx), `-not-found`, `-busy` (429), `-failing` (5xx) or `-answer` (it was
    not understood), where NAME is `code`.
    """

    name: str
    """For a person: `Vercel`."""
    code: str
    """For machines: `vercel`."""
    api: str
    """The base address."""
    token: str | None
    """A secret reference."""
    setting: str
    """The settings that the hint points to."""
    headers: Mapping[str, str]
    patience: Patience = PATIENCE

    def get(self, path: str, query: Mapping[str, str] | None = None) -> Page:
        """GET one page. `path` is percent-encoded; 429, 5xx and lost answers are tried again."""
        address = self.api.rstrip("/") + path
        if query:
            address += f"?{urlencode(dict(query))}"
        return self.get_page(address, what=path)

    def get_page(self, address: str, *, what: str) -> Page:
        """GET an absolute address of the API's own origin, as `get` does."""
        if _origin(address) != _origin(self.api):
            raise self.failed("answer", f"{what}: the next page is at another origin")
        token = self._token()
        pause_s = self.patience.pause_s
        for attempt in range(1, self.patience.attempts + 1):
            last = attempt == self.patience.attempts
            try:
                status, headers, body = self._ask(address, token)
            except _NoAnswer as error:
                if last:
                    raise self.failed("unreachable", f"{what}: {error}") from None
                wait_s = pause_s
            else:
                if 200 <= status < 300:
                    following = self._next(headers, address, what)
                    return Page(self._parse(body, what), following, headers)
                if status != 429 and status < 500:
                    raise self._refused(status, headers, body, token, what)
                asked_s = _retry_after(headers)
                too_long = asked_s is not None and asked_s > self.patience.longest_pause_s
                if last or too_long:
                    kind = "busy" if status == 429 else "failing"
                    said = f"; it asks to wait {asked_s:g} s" if too_long else ""
                    raise self.failed(kind, f"{what}: the API answered {status}{said}")
                wait_s = pause_s if asked_s is None else asked_s
            time.sleep(wait_s)
            pause_s *= 2
        raise AssertionError("unreachable")

    def linked_pages(self, path: str, query: Mapping[str, str]) -> Iterator[Page]:
        """GET every page that the Link headers lead to, in order."""
        page = self.get(path, query)
        seen: set[str] = set()
        yield page
        while page.next_url is not None:
            if page.next_url in seen or len(seen) >= _MOST_PAGES:
                raise self.endless(path)
            seen.add(page.next_url)
            page = self.get_page(page.next_url, what=path)
            yield page

    def endless(self, path: str) -> OpsError:
        """Return the error for a list whose pages do not end."""
        return self.failed("answer", f"{path}: its pages do not end")

    def not_understood(self, path: str) -> OpsError:
        """Return the error for an answer of another shape."""
        return self.failed("answer", f"{path}: the API's answer was not understood")

    def failed(self, kind: str, why: str) -> OpsError:
        """Return the error of one kind: see the class."""
        hint = {
            "refused": f"check {self.setting}.token in the settings, and what it may read",
            "not-found": f"check {self.setting} in the settings: does it exist, may the token "
            "see it?",
            "busy": "try again in a few minutes",
            "failing": f"look at {self.name}'s status page, then try again",
            "unreachable": f"is {self.api} reached from this machine?",
            "answer": f"is {self.setting}.api in the settings the API of {self.name}?",
        }[kind]
        what = f"{self.name} could not be asked"
        return OpsError(what, why=why, hint=hint, code=f"{self.code}-{kind}", exit=Exit.UNKNOWN)

    def _next(self, headers: Mapping[str, str], address: str, what: str) -> str | None:
        try:
            return _next_link(headers, address)
        except ValueError:
            raise self.failed("answer", f"{what}: the next page has no address") from None

    def _token(self) -> str:
        if self.token is None:
            raise self.failed("refused", f"the settings have no {self.setting}.token")
        token = resolve_secret(self.token)
        if not token.isascii() or not token.isprintable():
            raise self.failed("refused", "the token holds characters that no header can carry")
        return token

    def _ask(self, address: str, token: str) -> tuple[int, Mapping[str, str], bytes]:
        # As health checks ask: httpx takes longer to import than an API to answer.
        headers = {**self.headers, "Authorization": f"Bearer {token}"}
        answer = ask_one(
            Ask(self.name, address, headers=headers, timeout_s=_ASK_S, keep=_MOST_BYTES)
        )
        failure = answer.failure
        if failure is not None and failure.reason == "too-large":
            raise self.failed("answer", f"the API's answer is larger than {_MOST_BYTES >> 20} MiB")
        if failure is not None or answer.status is None:
            said = without_secrets(failure.said, [token]) if failure is not None else "none came"
            raise _NoAnswer(f"no answer: {said}")
        try:
            body = _unpacked(answer.body, answer.headers.get("content-encoding", ""))
        except TooMuch as error:
            raise self.failed("answer", f"the API's answer is {error}") from None
        return answer.status, answer.headers, body

    def _parse(self, body: bytes, what: str) -> Any:
        import json

        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise self.not_understood(what) from None

    def _refused(
        self, status: int, headers: Mapping[str, str], body: bytes, token: str, what: str
    ) -> OpsError:
        if 300 <= status < 400:
            return self.failed("answer", f"{what}: it answered {status}; no redirect is followed")
        # GitHub's limit is a 403 that says when it ends, or that nothing is left.
        if status == 403 and headers.get("x-ratelimit-remaining") == "0":
            return self.failed("busy", f"{what}: the API's rate limit is used up (403)")
        kind = "not-found" if status == 404 else "refused"
        said = without_secrets(_message(body), [token])
        return self.failed(kind, f"{what}: the API answered {status}" + (said and f": {said}"))


class TooMuch(Exception):
    """An answer is larger than is read; the text says than what."""


def read_whole(response: httpx.Response) -> bytes:
    """Return the body of an answer that is being streamed.

    Raises TooMuch, or TimeoutError where it comes by drips, beside what httpx does.
    """
    began = time.monotonic()
    body = bytearray()
    for chunk in response.iter_bytes():
        body += chunk
        if len(body) > _MOST_BYTES:
            raise TooMuch(f"larger than {_MOST_BYTES >> 20} MiB")
        if time.monotonic() - began > _TOTAL_S:
            raise TimeoutError
    return bytes(body)


def _unpacked(body: bytes, how: str) -> bytes:
    """Return a body that was compressed though nobody asked; raises _NoAnswer, or TooMuch."""
    if how.lower() in ("", "identity"):
        return body
    import zlib

    unpacking = zlib.decompressobj(zlib.MAX_WBITS | 32)  # gzip or zlib, as it says itself
    try:
        found = unpacking.decompress(body, _MOST_BYTES + 1)
    except zlib.error:
        raise _NoAnswer("no answer: it could not be unpacked") from None
    if len(found) > _MOST_BYTES:
        raise TooMuch(f"larger than {_MOST_BYTES >> 20} MiB")
    if not unpacking.eof:
        raise _NoAnswer("no answer: it could not be unpacked")
    return found


class _NoAnswer(Exception):
    """No whole answer came; the text says how far it got."""


def _message(body: bytes) -> str:
    import json

    try:
        data = json.loads(body)
        found = data.get("message") or data["error"]["message"]
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return ""
    if not isinstance(found, str):
        return ""
    return found[:_SAID].encode("utf-8", "replace").decode()


def _origin(address: str) -> tuple[str, str, int | None]:
    try:
        parts = urlsplit(address)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return "", "", None
    return parts.scheme, parts.hostname or "", port


def _next_link(headers: Mapping[str, str], address: str) -> str | None:
    """Return where the next page is, or None; raises ValueError for what is no address."""
    if "link" not in headers:
        return None
    import httpx

    # As bytes: what httpx has read as other letters than ASCII it does not take back.
    given = headers.get("link", "").encode("utf-8", "replace")
    link = httpx.Response(200, headers=[(b"link", given)]).links.get("next", {})
    return urljoin(address, link["url"]) if link.get("url") else None


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds to wait; of the form with a date, too. None where it is neither."""
    from datetime import UTC, datetime
    from email.utils import parsedate_to_datetime

    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return max((at - datetime.now(UTC)).total_seconds(), 0.0)
