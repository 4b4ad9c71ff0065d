"""Names to addresses to a connection: the first address to accept wins (RFC 8305)."""

from __future__ import annotations

import errno
import os
import selectors
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from opsctl.adapters.event_loop import EventLoop, Timer

_HEAD_START_S = 0.25
"""How long one address is waited for before the next is tried beside it (RFC 8305, 5)."""
_REMEMBERED_S = 5.0

SocketAddress = tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int]]


@dataclass(frozen=True, slots=True)
class Failed:
    """Why something did not come about: `reason` for machines, `said` for a person."""

    reason: str
    said: str


Found = tuple[SocketAddress, ...] | Failed
"""A name's addresses in the order they are tried, or why there are none."""


class Resolver:
    """Looks names up as every other program of this machine does, each once at a time.

    An answer is remembered for 5 s: 500 checks of one host are one look-up.
    """

    def __init__(self, loop: EventLoop) -> None:
        self._loop = loop
        self._known: dict[tuple[str, int], tuple[float, Found]] = {}
        self._asked: dict[tuple[str, int], list[Callable[[Found], None]]] = {}

    def look_up(self, host: str, port: int, *, then: Callable[[Found], None]) -> None:
        """Call `then` with the answer; at once for an address or a name just looked up."""
        key = (host, port)
        if key not in self._known and (host[-1:].isdecimal() or ":" in host):
            literal = _ask(host, port, flags=socket.AI_NUMERICHOST)
            if not isinstance(literal, Failed):
                self._known[key] = (float("inf"), literal)
        known = self._known.get(key)
        if known is not None and known[0] > time.monotonic():
            then(known[1])
            return
        waiting = self._asked.setdefault(key, [])
        waiting.append(then)
        if len(waiting) == 1:
            loop = self._loop

            def work() -> None:
                found = _ask(host, port)
                loop.from_thread(lambda: self._answer(key, found))

            loop.in_thread(work)

    def _answer(self, key: tuple[str, int], found: Found) -> None:
        self._known[key] = (time.monotonic() + _REMEMBERED_S, found)
        for then in self._asked.pop(key, ()):
            then(found)


class Race:
    """Connects to the first of some addresses that accepts; `done` hears of it once."""

    __slots__ = ("_addresses", "_done", "_failures", "_loop", "_next", "_open", "_timer")

    def __init__(
        self,
        loop: EventLoop,
        addresses: Sequence[SocketAddress],
        *,
        done: Callable[[socket.socket | Failed, str], None],
    ) -> None:
        self._loop = loop
        self._addresses = addresses
        self._done: Callable[[socket.socket | Failed, str], None] | None = done
        self._next = 0
        self._open: dict[socket.socket, str] = {}
        self._failures: list[Failed] = []
        self._timer: Timer | None = None
        self._try_next()

    def cancel(self) -> None:
        """Give up; `done` will not hear of it."""
        self._done = None
        if self._timer is not None:
            self._timer.cancel()
        for each in self._open:
            self._loop.unwatch(each)
            each.close()
        self._open.clear()

    def _try_next(self) -> None:
        while self._done is not None and self._next < len(self._addresses):
            family, address = self._addresses[self._next]
            self._next += 1
            failure = self._connect(family, address)
            if failure is None:
                if self._next < len(self._addresses):
                    when = time.monotonic() + _HEAD_START_S
                    self._timer = self._loop.at(when, self._try_next)
                return
            self._failures.append(failure)
        if self._done is not None and not self._open and self._next >= len(self._addresses):
            self._finish(min(self._failures, key=lambda each: _TELLING.index(each.reason)), "")

    def _connect(
        self, family: socket.AddressFamily, address: tuple[str, int] | tuple[str, int, int, int]
    ) -> Failed | None:
        try:
            sock = socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:
            return _failed(error.errno or 0, address[0])
        sock.setblocking(False)
        try:
            number = sock.connect_ex(address)
        except OSError as error:  # an address that cannot be one: a scope that is not there
            number = error.errno or errno.EADDRNOTAVAIL
        if number not in (0, errno.EINPROGRESS, errno.EWOULDBLOCK):
            sock.close()
            return _failed(number, address[0])
        self._open[sock] = address[0]
        self._loop.watch(sock, selectors.EVENT_WRITE, lambda mask: self._connected(sock))
        return None

    def _connected(self, sock: socket.socket) -> None:
        number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        address = self._open.pop(sock)
        self._loop.unwatch(sock)
        if number == 0:
            self._finish(sock, address)
            return
        sock.close()
        self._failures.append(_failed(number, address))
        if self._timer is not None:
            self._timer.cancel()
        self._try_next()

    def _finish(self, result: socket.socket | Failed, address: str) -> None:
        done = self._done
        self.cancel()
        if done is not None:
            done(result, address)


def has_route(*, v6: bool) -> bool:
    """Whether this machine knows a way to the world; nothing is sent."""
    family, somewhere = (
        (socket.AF_INET6, "2001:db8::1") if v6 else (socket.AF_INET, "192.0.2.1")
    )  # addresses for documentation (RFC 3849, RFC 5737): nobody's
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect((somewhere, 9))
    except OSError:
        return False
    return True


def is_local(address: str) -> bool:
    """Whether an address is this machine's own loopback."""
    return address.startswith("127.") or address in ("::1", "::ffff:127.0.0.1")


def _ask(host: str, port: int, *, flags: int = 0) -> Found:
    try:
        # As bytes: for text it imports the tables of international names.
        name = host.encode("ascii")
        found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=flags)
    except socket.gaierror as error:
        if error.errno in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", None)):
            return Failed("dns", f"there is no host named {host}")
        return Failed("resolver", f"nobody said which address {host} has")
    except (OSError, UnicodeError):
        return Failed("dns", f"{host} is no name of a host")
    return tuple((socket.AddressFamily(each[0]), each[4]) for each in found)  # type: ignore[misc]


_TELLING = ("refused", "reset", "unreachable", "timeout", "connect", "no-route", "own-limit")
"""Of several failures the one that says most about the server comes first."""


def _failed(number: int, address: str) -> Failed:
    where = address if ":" not in address else f"[{address}]"
    if number == errno.ECONNREFUSED:
        return Failed("refused", f"{where} refused the connection")
    if number == errno.ECONNRESET:
        return Failed("reset", f"{where} broke the connection off")
    if number in (errno.EHOSTUNREACH, errno.EHOSTDOWN):
        return Failed("unreachable", f"nobody is at {where}")
    if number == errno.ETIMEDOUT:
        return Failed("timeout", f"{where} did not answer")
    if number in (errno.ENETUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
        return Failed("no-route", f"this machine has no route to {where}")
    if number in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
        return Failed("own-limit", f"this machine can open no more connections: {_text(number)}")
    return Failed("connect", f"no connection to {where}: {_text(number)}")


def _text(number: int) -> str:
    return os.strerror(number)
