"""The health history in the state store: today's samples as rows, each day before packed.

A packed day keeps every sample, so that maintenance can be marked afterwards, and beside them
what they add up to, so that a report of a month need not unpack them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable
from functools import partial
from operator import attrgetter
from typing import TypeVar

from opsctl.adapters.health_day import (
    DAY_MS,
    Day,
    Row,
    add_up,
    merged,
    pack,
    row_of,
    unpack,
    unpack_times,
)
from opsctl.adapters.state import StateConnection, open_state
from opsctl.core.errors import Exit, OpsError
from opsctl.core.sample import Sample
from opsctl.core.state_place import StatePlace

T = TypeVar("T")
_DUE = attrgetter("due_ms")
CheckDay = tuple[str, int]
"""A check's name and a day since the epoch."""

SCHEMA = (
    "CREATE TABLE IF NOT EXISTS health_sample (environment TEXT NOT NULL, name TEXT NOT NULL, "
    "due_ms BIGINT NOT NULL, began_ms BIGINT NOT NULL, took_ms DOUBLE PRECISION, "
    "own_ms DOUBLE PRECISION, status TEXT NOT NULL, reason TEXT NOT NULL, http_status INTEGER, "
    "PRIMARY KEY (environment, name, due_ms))",
    "CREATE TABLE IF NOT EXISTS health_day (environment TEXT NOT NULL, day INTEGER NOT NULL, "
    "name TEXT NOT NULL, passed INTEGER NOT NULL, warned INTEGER NOT NULL, "
    "failed INTEGER NOT NULL, unknown INTEGER NOT NULL, known_s DOUBLE PRECISION NOT NULL, "
    "down_s DOUBLE PRECISION NOT NULL, first_ms BIGINT NOT NULL, last_ms BIGINT NOT NULL, "
    "sketch BLOB NOT NULL, outages TEXT NOT NULL, samples BLOB NOT NULL, "
    "PRIMARY KEY (environment, day, name))",
)
"""PostgreSQL's word for BLOB is BYTEA; the rest is the same."""

_BATCH = 20
"""Check-days that are packed in one transaction, in about 30 ms."""
_ROW = "due_ms, began_ms, took_ms, own_ms, status, reason, http_status"
_DAY = (
    "name, day, passed, warned, failed, unknown, known_s, down_s, first_ms, last_ms, sketch, "
    "outages"
)
_INSERT = (
    f"INSERT INTO health_sample (environment, name, {_ROW}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (environment, name, due_ms) DO NOTHING"
)
_LOOSE_CHECKS = "SELECT DISTINCT name FROM health_sample WHERE environment = ?"
_DAYS = (
    f"SELECT {_DAY} FROM health_day WHERE environment = ? AND day >= ? AND day <= ? "
    "ORDER BY day, name"
)
_PACKED = "SELECT samples FROM health_day WHERE environment = ? AND day = ? AND name = ?"
_OF_CHECK = "FROM health_sample WHERE environment = ? AND name = ? AND due_ms >= ? AND due_ms < ?"
_LOOSE_OF_CHECK = f"SELECT {_ROW} {_OF_CHECK} ORDER BY due_ms"
_DAYS_OF_CHECK = f"SELECT DISTINCT due_ms / {DAY_MS} {_OF_CHECK}"
_DELETE_LOOSE = f"DELETE {_OF_CHECK}"
_DELETE_DAY = "DELETE FROM health_day WHERE environment = ? AND day = ? AND name = ?"
_INSERT_DAY = (
    f"INSERT INTO health_day (environment, {_DAY}, samples) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_LOOSE_DAYS = (
    f"SELECT DISTINCT name, due_ms / {DAY_MS} FROM health_sample WHERE environment = ? "
    "AND due_ms < ? ORDER BY 2, 1"
)
_PRUNE = (
    "DELETE FROM health_sample WHERE environment = ? AND due_ms < ?",
    "DELETE FROM health_day WHERE environment = ? AND day < ?",
)


class HealthHistory:
    """The samples of every environment, in what the settings call `state`."""

    def __init__(self, place: StatePlace) -> None:
        self._place = place
        self._state = open_state(place, SCHEMA)

    def append(self, environment: str, samples: Iterable[Sample]) -> int:
        """Keep samples, all or none; return how many were not there yet.

        A sample is known by environment, check and `due_at`: the one that came first holds.
        """
        rows = [(environment, sample.check, *row_of(sample)) for sample in samples]
        if not rows:
            return 0
        with self._state.write() as connection:
            return connection.executemany(_INSERT, rows).rowcount

    def days(self, environment: str, first: int, last: int) -> list[Day]:
        """Return the packed days from `first` to `last`, by day and check."""

        def look(connection: StateConnection) -> list[Day]:
            found = connection.execute(_DAYS, (environment, first, last))
            return list(map(Day._make, found))

        return self._state.read(look, empty=[])

    def loose(self, environment: str, first: int, last: int) -> dict[CheckDay, list[Row]]:
        """Return the rows of these days that are not packed yet, each day's in order."""

        def look(connection: StateConnection) -> dict[CheckDay, list[Row]]:
            return _loose(connection, environment, first * DAY_MS, (last + 1) * DAY_MS)

        return self._state.read(look, empty={})

    def loose_days(self, environment: str, check: str, first: int, last: int) -> set[int]:
        """Return the days of a check that have rows which are not packed yet."""
        span = (environment, check, first * DAY_MS, (last + 1) * DAY_MS)
        nothing: set[int] = set()
        return self._state.read(
            lambda connection: {day for (day,) in connection.execute(_DAYS_OF_CHECK, span)},
            empty=nothing,
        )

    def rows(self, environment: str, check: str, days: Collection[int]) -> list[Row]:
        """Return all rows of one check in these days, packed or not, in order."""
        packed = self.packed(environment, [(check, day) for day in days])

        def look(connection: StateConnection) -> list[Row]:
            found: list[Row] = []
            for day in days:
                span = (environment, check, day * DAY_MS, (day + 1) * DAY_MS)
                found += map(Row._make, connection.execute(_LOOSE_OF_CHECK, span))
            return found

        older = (row for rows in packed.values() for row in rows)
        return merged(older, self._state.read(look, empty=[]))

    def times(self, environment: str, check: str, days: Collection[int]) -> list[float]:
        """Return the latencies of a check's packed days, in any order; see `unpack_times`."""

        def look(connection: StateConnection) -> list[float]:
            found: list[float] = []
            for day in days:
                data = connection.execute(_PACKED, (environment, day, check)).fetchone()
                if data is not None:
                    found += self._unpacked(unpack_times, data[0], check, day)
            return found

        return self._state.read(look, empty=[])

    def packed(self, environment: str, wanted: Collection[CheckDay]) -> dict[CheckDay, list[Row]]:
        """Return the rows within packed days; of one that is not there, none.

        Raises OpsError `history-damaged` (exit 3), naming the check and the day.
        """

        def look(connection: StateConnection) -> dict[CheckDay, list[Row]]:
            found = {}
            for check, day in wanted:
                data = connection.execute(_PACKED, (environment, day, check)).fetchone()
                if data is not None:
                    found[check, day] = self._unpacked(
                        partial(unpack, day=day), data[0], check, day
                    )
            return found

        return self._state.read(look, empty={})

    def compact(self, environment: str, *, before: int, every_s: float) -> int:
        """Pack every day earlier than `before` that has rows; return how many check-days.

        A day that was packed is opened again for rows that came late.
        """
        nothing: list[CheckDay] = []
        todo = self._state.read(
            lambda connection: connection.execute(
                _LOOSE_DAYS, (environment, before * DAY_MS)
            ).fetchall(),
            empty=nothing,
        )
        for first in range(0, len(todo), _BATCH):
            # In small transactions: the journal writes into the same file.
            with self._state.write() as connection:
                for check, day in todo[first : first + _BATCH]:
                    self._pack(connection, environment, (check, day), every_s=every_s)
        return len(todo)

    def prune(self, environment: str, *, before: int) -> int:
        """Remove everything earlier than a day; return how many rows and check-days."""
        with self._state.write() as connection:
            removed = connection.execute(_PRUNE[0], (environment, before * DAY_MS)).rowcount
            return removed + connection.execute(_PRUNE[1], (environment, before)).rowcount

    def _pack(
        self, connection: StateConnection, environment: str, which: CheckDay, *, every_s: float
    ) -> None:
        """Move the rows of a check's day into the packed one, within a transaction."""
        check, day = which
        span = (environment, check, day * DAY_MS, (day + 1) * DAY_MS)
        rows = [Row._make(row) for row in connection.execute(_LOOSE_OF_CHECK, span)]
        if not rows:
            return  # somebody else was faster
        packed = connection.execute(_PACKED, (environment, day, check)).fetchone()
        if packed is not None:
            there = self._unpacked(partial(unpack, day=day), packed[0], check, day)
            rows = merged(there, rows)
            connection.execute(_DELETE_DAY, (environment, day, check))
        connection.execute(_DELETE_LOOSE, span)
        sums = add_up(check, day, rows, every_s=every_s)
        connection.execute(_INSERT_DAY, (environment, *sums, pack(rows, day)))

    def _unpacked(
        self, how: Callable[[bytes], list[T]], data: bytes, check: str, day: int
    ) -> list[T]:
        try:
            return how(data)
        except ValueError as error:
            raise OpsError(
                "A day of the health history could not be read",
                why=f"{self._place}: day {day} of {check}: {error}",
                hint="was it written by a newer opsctl? Restore the file from a backup of it",
                code="history-damaged",
                exit=Exit.UNKNOWN,
            ) from None


def _loose(
    connection: StateConnection, environment: str, begin_ms: int, end_ms: int
) -> dict[CheckDay, list[Row]]:
    found: dict[CheckDay, list[Row]] = {}
    for (check,) in connection.execute(_LOOSE_CHECKS, (environment,)).fetchall():
        span = (environment, check, begin_ms, end_ms)
        rows = list(map(Row._make, connection.execute(_LOOSE_OF_CHECK, span)))
        while rows:
            day = rows[0].due_ms // DAY_MS
            following = bisect_left(rows, (day + 1) * DAY_MS, key=_DUE)
            found[check, day] = rows[:following]
            rows = rows[following:]
    return found
