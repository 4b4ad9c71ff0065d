"""The way to a server: its name, its addresses, one connection; failures told apart by number."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import queue
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

NameFailure = Literal["no-such-name", "no-address", "resolver"]
"""no-such-name: the answer was that there is none. resolver: there was no answer."""

ConnectFailure = Literal["refused", "timeout", "no-route", "no-socket", "other"]
"""no-route: this machine, or the network on the way, knows none. no-socket: no such local file."""

_RESOLVE_TIMEOUT_S = 10.0
_NO_ROUTE = frozenset(
    {
        errno.ENETUNREACH,
        errno.ENETDOWN,
        errno.EHOSTUNREACH,
        errno.EHOSTDOWN,
        errno.EADDRNOTAVAIL,
        errno.EAFNOSUPPORT,
    }
)


@dataclass(frozen=True)
class Addresses:
    """What a name resolves to, IPv4 before IPv6."""

    host: str
    v4: tuple[str, ...] = ()
    v6: tuple[str, ...] = ()
    failure: NameFailure | None = None
    literal: bool = False
    """Whether the name was an address, or a socket's directory, and nobody was asked."""
    took_ms: float = 0.0

    @property
    def all(self) -> tuple[str, ...]:
        """Every address in the order they are tried."""
        return self.v4 + self.v6


@dataclass(frozen=True)
class Attempt:
    """One attempt to connect to one address."""

    address: str
    failure: ConnectFailure | None
    number: int | None
    """The system's error number, where it gave one."""
    took_ms: float


@dataclass(frozen=True)
class Opened:
    """A connection, or none; and every attempt, in order. Who gets it closes it."""

    socket: socket.socket | None
    attempts: tuple[Attempt, ...]


def resolve(host: str) -> Addresses:
    """Look a host name up as every other program of this machine does, within 10 s.

    A name that begins with / is a directory of local sockets.
    """
    if host.startswith("/"):
        return Addresses(host, v4=(host,), literal=True)
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(host.partition("%")[0]).version == 4:
            return Addresses(host, v4=(host,), literal=True)
        return Addresses(host, v6=(host,), literal=True)
    began = time.monotonic()
    answers: queue.SimpleQueue[list[str] | int] = queue.SimpleQueue()

    def ask() -> None:
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            answers.put(error.errno or socket.EAI_FAIL)
        except (OSError, UnicodeError):
            answers.put(socket.EAI_FAIL)
        else:
            answers.put([str(each[4][0]) for each in found])

    # Nobody can end a look-up that hangs; a daemon does not keep the program from ending.
    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=_RESOLVE_TIMEOUT_S)
    except queue.Empty:
        answer = socket.EAI_AGAIN
    took_ms = (time.monotonic() - began) * 1000
    if isinstance(answer, int):
        return Addresses(host, failure=_name_failure(answer), took_ms=took_ms)
    unique = tuple(dict.fromkeys(answer))
    return Addresses(
        host,
        v4=tuple(each for each in unique if ":" not in each),
        v6=tuple(each for each in unique if ":" in each),
        took_ms=took_ms,
    )


def open_connection(addresses: Sequence[str], port: int, *, timeout_s: float) -> Opened:
    """Connect to the first address that accepts; `timeout_s` is for each of them.

    The socket keeps the time-out for what is read from it and written to it.
    """
    attempts = []
    for address in addresses:
        began = time.monotonic()
        opened, number = _connect(address, port, timeout_s=timeout_s)
        took_ms = (time.monotonic() - began) * 1000
        if opened is not None:
            attempts.append(Attempt(address, None, None, took_ms))
            return Opened(opened, tuple(attempts))
        failure = _connect_failure(number, local=address.startswith("/"))
        attempts.append(Attempt(address, failure, number, took_ms))
    return Opened(None, tuple(attempts))


def _connect(address: str, port: int, *, timeout_s: float) -> tuple[socket.socket | None, int]:
    local = address.startswith("/")
    family = socket.AF_UNIX if local else socket.AF_INET6 if ":" in address else socket.AF_INET
    made: socket.socket | None = None
    try:
        made = socket.socket(family, socket.SOCK_STREAM)
        made.settimeout(timeout_s)
        made.connect(f"{address}/.s.PGSQL.{port}" if local else (address, port))
    except OSError as error:
        if made is not None:
            made.close()
        return None, errno.ETIMEDOUT if isinstance(error, TimeoutError) else error.errno or 0
    return made, 0


def _connect_failure(number: int, *, local: bool) -> ConnectFailure:
    if local and number in (errno.ENOENT, errno.ENOTDIR):
        return "no-socket"
    if number == errno.ECONNREFUSED:
        return "refused"
    if number == errno.ETIMEDOUT:
        return "timeout"
    return "no-route" if number in _NO_ROUTE else "other"


def _name_failure(number: int) -> NameFailure:
    if number == socket.EAI_NONAME:
        return "no-such-name"
    # Not in every system's list, and not always told apart from the above.
    if number == getattr(socket, "EAI_NODATA", None):
        return "no-address"
    return "resolver"
