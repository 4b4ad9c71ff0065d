"""What a team's state says of itself: who we are there, who holds what, whose clock is off."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import psycopg

from opsctl.adapters.team_server import Connection, TeamServer
from opsctl.core.lease import Holder


@dataclass(frozen=True)
class LeaseSeen:
    """An environment that is held, or was left behind."""

    environment: str
    holder: Holder
    user: str
    """The holder's database user."""
    silent_s: float
    """Since the last sign of it."""
    left_s: float
    """Until somebody else may take it; below 0 where he may already."""


@dataclass(frozen=True)
class TeamLook:
    """One look at a team's state. Times are by the server's clock."""

    user: str
    version: str
    """The server's."""
    operator: bool
    reader: bool
    keeper: bool
    leases: tuple[LeaseSeen, ...]
    rules: tuple[tuple[str, int], ...]
    """How many approvals are demanded, by environment; `*` stands for all others."""
    ahead_s: float
    """How far this machine's clock is ahead of the server's."""
    unsure_s: float
    """Half of the way there and back."""
    pooled: bool


_WHO = (
    b"SELECT session_user::text, current_setting('server_version'), pg_backend_pid(), "
    b"has_function_privilege('opsctl.end_lease(text, text, bigint)', 'EXECUTE'), "
    b"has_table_privilege('opsctl.event', 'SELECT'), "
    b"has_function_privilege('opsctl.set_approvals(text, integer)', 'EXECUTE')"
)
_LEASES = (
    b"SELECT environment, id, actor, pid, since, run, command, db_user, "
    b"extract(epoch FROM clock_timestamp() - beat_at)::double precision, "
    b"extract(epoch FROM expires_at - clock_timestamp())::double precision "
    b"FROM opsctl.lease WHERE id IS NOT NULL ORDER BY environment"
)
_RULES = (
    b"SELECT DISTINCT ON (environment) environment, approvals FROM opsctl.approval_rule "
    b"ORDER BY environment, seq DESC"
)
_NOW = b"SELECT extract(epoch FROM clock_timestamp())::double precision"


def look_at_team(server: TeamServer) -> TeamLook:
    """Look once. Raises OpsError as TeamServer does."""
    return server.repeat(_look)


def _look(connection: Connection) -> TeamLook:
    user, version, pid, operator, reader, keeper = _one(connection, _WHO)
    leases = tuple(
        LeaseSeen(
            row[0],
            Holder(row[1], row[2], row[3], row[4].isoformat(timespec="seconds"), row[5], row[6]),
            *row[7:],
        )
        for row in connection.execute(_LEASES)
    )
    rules = tuple((str(row[0]), int(row[1])) for row in connection.execute(_RULES))
    # The quickest of three: what is on the way for long says little of a clock.
    before, now, after = min(
        ((time.time(), _one(connection, _NOW)[0], time.time()) for _ in range(3)),
        key=lambda each: each[2] - each[0],
    )
    return TeamLook(
        user=user,
        version=version,
        operator=operator,
        reader=reader,
        keeper=keeper,
        leases=leases,
        rules=rules,
        ahead_s=(before + after) / 2 - now,
        unsure_s=(after - before) / 2,
        pooled=pid != connection.info.backend_pid,
    )


def _one(connection: Connection, sql: bytes) -> tuple[Any, ...]:
    row = connection.execute(sql).fetchone()
    if row is None:
        raise psycopg.InternalError("a statement that gives one row gave none")
    return row
