"""Many HTTP/1.1 requests at once, each phase of each timed, none delaying another.

Every request has a connection of its own and a total time-out, which a server that drips is cut
by. A request that is due while another hangs starts on time, so a slow server hides none of its
slowness (no coordinated omission).
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from opsctl.adapters.dialing import Failed, Found, Race, Resolver
from opsctl.adapters.event_loop import EventLoop, Timer
from opsctl.adapters.http_answer import AnswerReader, Unreadable
from opsctl.adapters.http_request import (
    Ask,
    Target,
    connect_bytes,
    parse_url,
    request_bytes,
    wrong_header,
)
from opsctl.adapters.probed import Answer, Times
from opsctl.adapters.proxies import Proxy, any_proxy, proxy_for
from opsctl.core.errors import OpsError

if TYPE_CHECKING:
    import ssl

_MOST_BODY_BYTES = 32 << 20
_PIECE_BYTES = 64 * 1024
_PIECES_A_TURN = 16
_SPARE_FILES = 64
_MOST_AT_ONCE = 1024


class Prober:
    """Sends requests from one loop; `at_most` are under way at the same time."""

    def __init__(self, loop: EventLoop, *, at_most: int | None = None) -> None:
        self.loop = loop
        self.resolver = Resolver(loop)
        self._at_most = at_most or _most_at_once()
        self._under_way = 0
        self._waiting: deque[_Flight] = deque()
        self._trust: ssl.SSLContext | None = None
        self._proxied = any_proxy()

    def prepare(self, ask: Ask) -> None:
        """Load now what a request will need, so that loading is not timed as the server's."""
        target = parse_url(ask.url)
        if target is None:
            return
        if target.scheme == "https":
            self.trust()
        with contextlib.suppress(OpsError):
            self.proxy(target)

    def proxy(self, target: Target) -> Proxy | None:
        """Return the proxy that the environment names for a target, if any."""
        if not self._proxied:
            return None
        return proxy_for(target.scheme, target.host, port=target.port)

    def send(self, ask: Ask, *, due: float, done: Callable[[Answer], None]) -> None:
        """Send a request now, or once there is room; `done` hears of it once, in the loop."""
        flight = _Flight(self, ask, due=due, done=done)
        if self._under_way >= self._at_most:
            self._waiting.append(flight)
            return
        self._under_way += 1
        flight.start()

    def trust(self) -> ssl.SSLContext:
        """Return the one TLS context: reading the certificates takes longer than a request."""
        if self._trust is None:
            from opsctl.adapters.tls import tls_context

            self._trust = tls_context()
        return self._trust

    def landed(self) -> None:
        """Make room for the next that waits."""
        if self._waiting:
            self.loop.soon(self._waiting.popleft().start)
        else:
            self._under_way -= 1


class _Flight:
    """One request on its way: resolve, connect, shake hands, send, read."""

    __slots__ = (
        "_address",
        "_ask",
        "_began",
        "_certificate",
        "_deadline",
        "_done",
        "_due",
        "_marks",
        "_out",
        "_phase",
        "_prober",
        "_proxy",
        "_race",
        "_reader",
        "_redirected",
        "_sock",
        "_target",
        "_tunnel",
    )  # fmt: skip

    def __init__(
        self, prober: Prober, ask: Ask, *, due: float, done: Callable[[Answer], None]
    ) -> None:
        self._prober = prober
        self._ask = ask
        self._due = due
        self._done = done
        self._began = 0.0
        self._deadline: Timer | None = None
        self._marks: dict[str, float] = {}
        self._phase = "looking its name up"
        self._race: Race | None = None
        self._sock: socket.socket | None = None
        self._reader: AnswerReader | None = None
        self._tunnel: AnswerReader | None = None
        self._out = b""
        self._redirected = 0
        self._address = ""
        self._certificate = b""
        self._proxy: Proxy | None = None
        self._target = Target("http", "", 0, "")

    def start(self) -> None:
        now = time.monotonic()
        # A timer may come up to 1 ms early.
        self._began, self._due = now, min(self._due, now)
        self._deadline = self._prober.loop.at(now + self._ask.timeout_s, self._too_late)
        target = parse_url(self._ask.url)
        if target is None:
            self._fail(Failed("bad-url", "this is no URL of a host"))
        elif wrong := wrong_header(self._ask.headers):
            self._fail(Failed("secret", f"the value of the header {wrong} cannot be sent"))
        else:
            self._go(target)

    def _go(self, target: Target) -> None:
        """Begin with one URL: the first, or where a redirect leads to."""
        self._target = target
        self._reader = self._tunnel = None
        host, port = target.host, target.port
        try:
            self._proxy = self._prober.proxy(target)
        except OpsError as error:
            self._fail(Failed("proxy", f"{error.what}: {error.why}"))
            return
        if self._proxy is not None:
            host, port = self._proxy.host, self._proxy.port
        self._phase = "looking its name up"
        self._prober.resolver.look_up(host, port, then=self._found)

    def _found(self, found: Found) -> None:
        if self._deadline is None:
            return  # it was too late meanwhile
        self._mark("dns")
        if isinstance(found, Failed):
            self._fail(found)
            return
        self._phase = "connecting"
        self._race = Race(self._prober.loop, found, done=self._connected)

    def _connected(self, result: socket.socket | Failed, address: str) -> None:
        self._race = None
        if isinstance(result, Failed):
            self._fail(result)
            return
        self._mark("connect")
        self._sock, self._address = result, address
        with contextlib.suppress(OSError):
            result.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._target.scheme == "http":
            self._send(request_bytes(self._ask, self._target, proxy=self._proxy))
        elif self._proxy is None:
            self._shake_hands()
        else:
            self._phase = "waiting for the proxy"
            self._tunnel = AnswerReader(method="CONNECT", keep=0, most=_MOST_BODY_BYTES)
            self._send(connect_bytes(self._target, self._proxy))

    def _shake_hands(self) -> None:
        sock = self._sock
        if sock is None:
            raise TypeError("there is no connection")
        import ssl

        from opsctl.adapters.tls import tls_failure

        self._phase = "in the TLS handshake"
        loop = self._prober.loop
        loop.unwatch(sock)  # the proxy's answer came over it
        try:
            secured = self._prober.trust().wrap_socket(
                sock, server_hostname=self._target.host, do_handshake_on_connect=False
            )
        except (OSError, ValueError) as error:
            self._fail(Failed("tls", f"the TLS handshake could not begin: {type(error).__name__}"))
            return
        self._sock = secured

        def shake(mask: int) -> None:
            try:
                secured.do_handshake()
            except ssl.SSLWantReadError:
                loop.watch(secured, selectors.EVENT_READ, shake)
            except ssl.SSLWantWriteError:
                loop.watch(secured, selectors.EVENT_WRITE, shake)
            except (OSError, ValueError) as error:
                self._fail(tls_failure(error))
            else:
                self._mark("tls")
                self._certificate = secured.getpeercert(binary_form=True) or b""
                self._send(request_bytes(self._ask, self._target, proxy=None))

        shake(0)

    def _send(self, data: bytes) -> None:
        self._out = data
        if self._tunnel is None:
            self._phase = "waiting for the first byte"
            self._reader = AnswerReader(
                method=self._ask.method, keep=self._ask.keep, most=_MOST_BODY_BYTES
            )
        self._write(0)

    def _write(self, mask: int) -> None:
        sock = self._sock
        if sock is None:
            return
        try:
            self._out = self._out[sock.send(self._out) :]
        except OSError as error:
            if not _again(error):
                self._fail(_broken(error))
                return
        if self._out:
            self._prober.loop.watch(sock, selectors.EVENT_WRITE, self._write)
        else:
            self._prober.loop.watch(sock, selectors.EVENT_READ, self._read)

    def _read(self, mask: int) -> None:
        sock = self._sock
        for _ in range(_PIECES_A_TURN):
            if sock is None or sock is not self._sock:
                return
            try:
                data = sock.recv(_PIECE_BYTES)
            except OSError as error:
                if not _again(error):
                    self._fail(_broken(error))
                return
            self._take(data)
        if sock is self._sock and getattr(sock, "pending", int)():
            # What TLS holds already makes no socket ready.
            self._prober.loop.soon(lambda: self._read(0))

    def _take(self, data: bytes) -> None:
        if self._tunnel is not None:
            self._take_from_proxy(self._tunnel, data)
            return
        reader = self._reader
        if reader is None:
            raise TypeError("nothing was asked")
        if data and "first_byte" not in self._marks:
            self._mark("first_byte")
            self._phase = "in the middle of the answer"
        try:
            if data:
                reader.feed(data)
            elif not reader.end():
                said = "the connection ended before the answer did"
                self._fail(Failed("closed", said))
                return
        except Unreadable as error:
            self._fail(Failed(error.reason, str(error)))
            return
        if reader.done:
            self._finish(reader)

    def _take_from_proxy(self, tunnel: AnswerReader, data: bytes) -> None:
        try:
            tunnel.feed(data)
        except Unreadable as error:
            self._fail(Failed("proxy", f"the proxy's answer was not understood: {error}"))
            return
        if 200 <= tunnel.status < 300:
            self._tunnel = None
            self._shake_hands()
        elif tunnel.status or not data:
            said = f"answered {tunnel.status}" if tunnel.status else "broke the connection off"
            self._fail(Failed("proxy", f"the proxy {said}"))

    def _finish(self, reader: AnswerReader) -> None:
        location = ""
        if reader.status in (301, 302, 303, 307, 308) and "location" in reader.headers:
            from urllib.parse import urljoin

            here = f"{self._target.scheme}://{self._target.authority}{self._target.path}"
            with contextlib.suppress(ValueError):
                location = urljoin(here, reader.headers["location"])
        if location and self._ask.redirects:
            self._redirect(location)
        else:
            self._end(None, location=location)

    def _redirect(self, location: str) -> None:
        target = parse_url(location)
        if target is None or target.origin != self._target.origin:
            said = "it leads to another origin, which is not followed: headers would go along"
            self._end(Failed("redirect-elsewhere", said), location=location)
        elif self._redirected >= self._ask.redirects:
            said = f"it leads on after {self._redirected} redirects"
            self._end(Failed("redirect-loop", said), location=location)
        else:
            self._redirected += 1
            self._drop()
            self._go(target)

    def _too_late(self) -> None:
        so_far = ""
        if self._reader is not None and self._reader.received:
            so_far = f", {self._reader.received:,} bytes of its body so far"
        said = f"no whole answer within {self._ask.timeout_s:g} s: it was {self._phase}{so_far}"
        self._fail(Failed("timeout", said))

    def _fail(self, failure: Failed) -> None:
        if self._proxy is not None and failure.reason in _OF_THE_WAY and not self._reader:
            failure = Failed("proxy", f"the proxy {self._proxy.shown}: {failure.said}")
        self._end(failure)

    def _end(self, failure: Failed | None, *, location: str = "") -> None:
        if self._deadline is None:
            return
        ended = time.monotonic()
        self._deadline.cancel()
        self._deadline = None
        self._drop()
        reader = self._reader
        marks = self._marks
        answer = Answer(
            ask=self._ask,
            due=self._due,
            began=self._began,
            ended=ended,
            failure=failure,
            status=(reader.status or None) if reader is not None else None,
            headers=reader.headers if reader is not None else {},
            body=bytes(reader.body) if reader is not None else b"",
            whole=reader.whole if reader is not None else False,
            times=Times(
                marks.get("dns"), marks.get("connect"), marks.get("tls"), marks.get("first_byte")
            ),
            address=self._address,
            certificate=self._certificate,
            location=location,
            proxy=self._proxy.shown if self._proxy is not None else "",
        )
        self._prober.landed()
        self._done(answer)

    def _drop(self) -> None:
        if self._race is not None:
            self._race.cancel()
            self._race = None
        if self._sock is not None:
            self._prober.loop.unwatch(self._sock)
            self._sock.close()
            self._sock = None

    def _mark(self, what: str) -> None:
        self._marks.setdefault(what, (time.monotonic() - self._began) * 1000)


_OF_THE_WAY = frozenset(
    {"dns", "resolver", "refused", "reset", "unreachable", "no-route", "connect", "timeout"}
)


def _again(error: OSError) -> bool:
    """Whether a socket only wants to be waited for."""
    if isinstance(error, BlockingIOError):
        return True
    return type(error).__name__ in ("SSLWantReadError", "SSLWantWriteError")


def _broken(error: OSError) -> Failed:
    if isinstance(error, ConnectionError):
        return Failed("reset", "the connection was broken off")
    return Failed("closed", f"the connection failed: {type(error).__name__}")


def _most_at_once() -> int:
    try:
        import resource
    except ImportError:  # Windows has no such limit, but a selector that knows 512
        return 256
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return _MOST_AT_ONCE
    return max(min(soft - _SPARE_FILES, _MOST_AT_ONCE), 8)
