"""The rooms' tables in a team's PostgreSQL, read and written as those of a state file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from opsctl.adapters.state import StateConnection, StateCursor
from opsctl.adapters.team_server import Connection, TeamServer

T = TypeVar("T")

_ONE_WRITER = "SELECT pg_advisory_xact_lock(hashtext('opsctl state'))"
"""As in a file; for the transaction alone, so that it works through a transaction pooler."""


class TeamTables:
    """The tables that `opsctl state prepare` made. Raises OpsError as TeamServer does."""

    def __init__(self, server: TeamServer) -> None:
        self._server = server

    def read(self, look: Callable[[StateConnection], T], *, empty: T) -> T:
        """Return what `look` finds in one snapshot; `empty` is for files that are not there."""

        def work(connection: Connection) -> T:
            with connection.transaction():
                connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
                connection.execute("SET LOCAL search_path = opsctl, pg_catalog, pg_temp")
                return look(_Asked(connection))

        return self._server.repeat(work)

    @contextmanager
    def write(self) -> Iterator[StateConnection]:
        """Within it one transaction, with no other writer beside it."""
        with self._server.transaction() as connection:
            connection.execute(_ONE_WRITER)
            yield _Asked(connection)


class _Asked:
    """A connection that is asked with `?`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def execute(self, sql: str, values: Sequence[Any] = (), /) -> StateCursor:
        return self._connection.execute(_marked(sql).encode(), values)

    def executemany(self, sql: str, values: Iterable[Sequence[Any]], /) -> StateCursor:
        cursor = self._connection.cursor()
        cursor.executemany(_marked(sql).encode(), values)
        return cursor


def _marked(sql: str) -> str:
    return sql.replace("%", "%%").replace("?", "%s")
