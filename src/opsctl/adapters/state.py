"""Where the rooms keep what they remember: a file, or the tables of a team's PostgreSQL.

Statements are written in the SQL that both know, with `?` for each value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from opsctl.core.state_place import StatePlace, TeamState

T = TypeVar("T")


class StateCursor(Protocol):
    """What a statement gave back."""

    @property
    def rowcount(self) -> int:
        """How many rows it wrote or removed; of many statements all together."""

    def fetchone(self) -> Any:
        """Return the next row, or None."""

    def fetchall(self) -> list[Any]:
        """Return all rows that are left."""

    def __iter__(self) -> Iterator[Any]: ...


class StateConnection(Protocol):
    """What is read or written with."""

    def execute(self, sql: str, values: Sequence[Any] = ..., /) -> StateCursor:
        """Run one statement."""

    def executemany(self, sql: str, values: Iterable[Sequence[Any]], /) -> StateCursor:
        """Run one statement for each of several rows."""


class State(Protocol):
    """A place for some tables."""

    def read(self, look: Callable[[StateConnection], T], *, empty: T) -> T:
        """Return what `look` finds, or `empty` where nothing was ever kept."""

    def write(self) -> AbstractContextManager[StateConnection]:
        """Within it one transaction, committed at its end, with no other writer beside it."""


def open_state(place: StatePlace, schema: tuple[str, ...]) -> State:
    """Return the place for tables; `schema` makes them where they are not and can be made."""
    if isinstance(place, TeamState):
        from opsctl.adapters.team_server import TeamServer
        from opsctl.adapters.team_tables import TeamTables

        return TeamTables(TeamServer(place))
    from opsctl.adapters.state_file import StateFile

    return StateFile(place, schema)
