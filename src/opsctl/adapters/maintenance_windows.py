"""Maintenance windows: single ones in the state store, monthly ones worked out of the settings.

What happens within one is neither downtime nor worth an alert. A single window may be added
afterwards, and is removed by marking it, so that the record stays.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING

from opsctl.adapters.state import StateConnection, open_state
from opsctl.core.errors import OpsError
from opsctl.core.state_place import StatePlace

if TYPE_CHECKING:
    from opsctl.core.settings import MonthlyWindow

_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_WHICH = {"first": 0, "second": 1, "third": 2, "fourth": 3, "last": -1}

SCHEMA = (
    "CREATE TABLE IF NOT EXISTS maintenance_window (environment TEXT NOT NULL, id TEXT NOT NULL, "
    "begins_at DOUBLE PRECISION NOT NULL, ends_at DOUBLE PRECISION NOT NULL, "
    "reason TEXT NOT NULL, added_at DOUBLE PRECISION NOT NULL, added_by TEXT NOT NULL, "
    "removed_at DOUBLE PRECISION, removed_by TEXT, PRIMARY KEY (environment, id))",
)
_SELECT = (
    "SELECT id, begins_at, ends_at, reason, added_at, added_by FROM maintenance_window "
    "WHERE environment = ? AND removed_at IS NULL ORDER BY begins_at, id"
)
_INSERT = (
    "INSERT INTO maintenance_window (environment, id, begins_at, ends_at, reason, added_at, "
    "added_by) VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_REMOVE = (
    "UPDATE maintenance_window SET removed_at = ?, removed_by = ? "
    "WHERE environment = ? AND id = ? AND removed_at IS NULL"
)


@dataclass(frozen=True)
class Window:
    """A span of maintenance: from `begins_at` until just before `ends_at`, epoch seconds UTC."""

    begins_at: float
    ends_at: float
    reason: str
    id: str = ""
    """Empty for one that follows from the settings."""
    added_at: float | None = None
    added_by: str = ""

    def holds(self, at: float) -> bool:
        """Whether a moment lies within."""
        return self.begins_at <= at < self.ends_at

    @property
    def afterwards(self) -> bool:
        """Whether it was added when it had begun already."""
        return self.added_at is not None and self.added_at > self.begins_at


class WindowStore:
    """The single windows of every environment, in what the settings call `state`."""

    def __init__(self, place: StatePlace) -> None:
        self._state = open_state(place, SCHEMA)

    def list(self, environment: str) -> tuple[Window, ...]:
        """Return those that were not removed, the earliest first."""

        def look(connection: StateConnection) -> tuple[Window, ...]:
            return tuple(
                Window(begins_at, ends_at, reason, id, added_at, added_by)
                for id, begins_at, ends_at, reason, added_at, added_by in connection.execute(
                    _SELECT, (environment,)
                )
            )

        return self._state.read(look, empty=())

    def add(self, environment: str, window: Window) -> None:
        """Keep a window under its id."""
        values = (window.id, window.begins_at, window.ends_at, window.reason, window.added_at,
                  window.added_by)  # fmt: skip
        with self._state.write() as connection:
            connection.execute(_INSERT, (environment, *values))

    def remove(self, environment: str, id: str, *, at: float, by: str) -> bool:
        """Mark a window as removed; return whether there was one."""
        with self._state.write() as connection:
            return connection.execute(_REMOVE, (at, by, environment, id)).rowcount == 1


def monthly(settings: Sequence[MonthlyWindow], begin: float, end: float) -> Iterator[Window]:
    """Yield the windows of the settings that touch a span, month by month.

    Raises OpsError `no-such-timezone` (exit 2).
    """
    for each in settings:
        zone = _zone(each)
        # A window may begin in the month before, and its zone be half a day away.
        day = (datetime.fromtimestamp(begin, UTC) - timedelta(days=3)).date().replace(day=1)
        until = (datetime.fromtimestamp(end, UTC) + timedelta(days=1)).date()
        while day <= until:
            window = _in_month(each, day, zone)
            if window is not None and window.begins_at < end and window.ends_at > begin:
                yield window
            day = (day + timedelta(days=31)).replace(day=1)


def joined(windows: Iterable[Window], begin: float, end: float) -> list[tuple[float, float]]:
    """Return the spans within which any window holds, clipped, in order and without overlap."""
    spans: list[tuple[float, float]] = []
    for window in sorted(windows, key=lambda each: each.begins_at):
        first, last = max(window.begins_at, begin), min(window.ends_at, end)
        if first >= last:
            continue
        if spans and first <= spans[-1][1]:
            spans[-1] = (spans[-1][0], max(last, spans[-1][1]))
        else:
            spans.append((first, last))
    return spans


def _in_month(settings: MonthlyWindow, month: date, zone: tzinfo) -> Window | None:
    """Return a month's window, or None in a month that has no such day."""
    day = _day_of(settings.on, month)
    if day is None:
        return None
    hour, minute = map(int, settings.at.split(":"))
    # Its length is counted in real hours, also where the clock is put forward within.
    begins_at = datetime(month.year, month.month, day, hour, minute, tzinfo=zone).timestamp()
    return Window(begins_at, begins_at + settings.hours * 3600, settings.name)


def _day_of(rule: str, month: date) -> int | None:
    first_weekday, length = monthrange(month.year, month.month)
    if rule.isdecimal():
        return int(rule) if int(rule) <= length else None
    which, _, weekday = rule.partition(" ")
    first = 1 + (_WEEKDAYS.index(weekday) - first_weekday) % 7
    return list(range(first, length + 1, 7))[_WHICH[which]]


def _zone(settings: MonthlyWindow) -> tzinfo:
    if settings.timezone == "UTC":
        return UTC
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(settings.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise OpsError(
            f"The time zone {settings.timezone!r} is not known here",
            why=f"the monthly window {settings.name!r} names it",
            hint="name one as the system does, such as Europe/Berlin; where the system has none: "
            "pip install tzdata",
            code="no-such-timezone",
        ) from None
