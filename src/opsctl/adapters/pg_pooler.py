"""Whether a pooler stands before a PostgreSQL, and in which mode it works."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import psycopg

from opsctl.adapters.pg_target import read_target
from opsctl.adapters.postgres import unreachable
from opsctl.core.errors import Exit, OpsError

Mode = Literal["direct", "session", "transaction"]

Resolve = Callable[[str, int], Sequence[Sequence[Any]]]
"""As socket.getaddrinfo; the first of each row is the family."""

_Connection = psycopg.Connection[tuple[Any, ...]]
_PID = b"SELECT pg_backend_pid()"
_CONNECT_S = 5


@dataclass(frozen=True)
class End:
    """What stands at the end of a connection URL."""

    where: str
    """Host and port."""
    mode: Mode
    only_ipv6: bool
    """Whether the host's name has IPv6 addresses alone."""


def look_at_end(url: str, *, resolve: Resolve = socket.getaddrinfo) -> End:
    """Connect twice, set nothing, and tell what is there.

    Raises OpsError `database-url` (exit 2), `ipv6-only` (exit 3) where it was not reached and
    has IPv6 addresses alone, `database-unreachable` (exit 3) else.
    """
    target = read_target(url)
    narrow = not target.local and only_ipv6(target.host, target.port, resolve=resolve)
    try:
        # No start-up options: a pooler may refuse them.
        with _connect(url) as one, _connect(url) as other:
            return End(target.where, pool_mode(one, other), narrow)
    except psycopg.Error as error:
        if narrow:
            raise OpsError(
                f"The database at {target.where} was not reached",
                why="its host has IPv6 addresses alone, and the connection failed",
                hint="the session pooler (port 5432 of the pooler's host) has IPv4; or buy the "
                "project's IPv4 address",
                code="ipv6-only",
                exit=Exit.UNKNOWN,
            ) from None
        parts = {"host": target.host, "port": str(target.port), "password": target.password}
        raise unreachable(parts, error) from None


def pool_mode(one: _Connection, other: _Connection) -> Mode:
    """Tell by two connections that are idle, to the same address, what stands at its end.

    A pooler makes up the process number that it tells a client; in session mode each client has
    a server process of its own while it is connected, in transaction mode two that are idle
    share what is free. What it says of a busy pooler in transaction mode may be session. Raises
    psycopg.Error.
    """
    mine, others = _pid(one), _pid(other)
    if mine == one.info.backend_pid:
        return "direct"
    if mine == others or mine != _pid(one):
        return "transaction"
    with other.transaction():
        # While it holds the process that it was given, the first is given another one.
        held = _pid(other)
        return "transaction" if _pid(one) != mine or held != others else "session"


def only_ipv6(host: str, port: int, *, resolve: Resolve = socket.getaddrinfo) -> bool:
    """Whether a host's name has IPv6 addresses alone; False where it is not known."""
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        pass
    else:
        return False
    try:
        found = {each[0] for each in resolve(host, port)}
    except OSError:
        return False
    return found == {socket.AF_INET6}


def _connect(url: str) -> _Connection:
    connection = psycopg.connect(
        url, autocommit=True, connect_timeout=_CONNECT_S, application_name="opsctl"
    )
    connection.prepare_threshold = None
    return connection


def _pid(connection: _Connection) -> int:
    row = connection.execute(_PID).fetchone()
    return int(row[0]) if row is not None else 0
