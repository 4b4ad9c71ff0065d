"""The history of an environment over a period: samples kept, and read back as sums."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opsctl.adapters.health_day import Day, Row, day_of, merged
from opsctl.adapters.health_history import CheckDay, HealthHistory
from opsctl.areas.healthcheck import windows
from opsctl.areas.healthcheck.history_sums import (
    BURN_SPANS_S,
    DAY_S,
    CheckDays,
    CheckHistory,
    Period,
    Span,
    failing_lately,
    sum_up,
)
from opsctl.core.errors import Exit, OpsError

if TYPE_CHECKING:
    from opsctl.adapters.maintenance_windows import Window
    from opsctl.core.call import Call
    from opsctl.core.sample import Sample


@dataclass(frozen=True)
class History:
    """Everything that is known of an environment's checks in a period."""

    begin: float
    end: float
    every_s: float
    windows: tuple[Window, ...]
    maintenance: tuple[Span, ...]
    """What the windows cover of the period, in order and without overlap."""
    checks: tuple[CheckHistory, ...]
    """By name."""


def record(call: Call, samples: Iterable[Sample]) -> int:
    """Keep samples, pack the days that are over, and forget what retention does not keep.

    Returns how many were new. Raises OpsError `state-unusable` (exit 3).
    """
    settings = call.environment.history
    history = _store(call)
    new = history.append(call.name, samples)
    today = day_of(round(time.time() * 1000))
    if history.compact(call.name, before=today, every_s=settings.every_s):
        history.prune(call.name, before=today - settings.retention_days)
    return new


def gather(call: Call, *, begin: float, end: float, only: Sequence[str] = ()) -> History:
    """Return the history from `begin` until just before `end`; `only` names the checks wanted.

    A check that the settings name is there even if it has no sample. Raises OpsError
    `state-unusable` and `history-damaged` (exit 3).
    """
    settings = call.environment.history
    found = windows.between(call, begin, end)
    period = Period(begin, end, settings.every_s, windows.spans(found, begin, end))
    store = _store(call)
    first, last = day_of(round(begin * 1000)), day_of(round(end * 1000) - 1)
    days = [day for day in store.days(call.name, first, last) if not only or day.check in only]
    loose = {
        key: rows
        for key, rows in store.loose(call.name, first, last).items()
        if not only or key[0] in only
    }
    names = {day.check for day in days} | {check for check, _ in loose}
    names |= {each.name for each in call.environment.health if not only or each.name in only}
    checks = {name: CheckDays() for name in names}
    burning = failing_lately(days, loose, period)
    opened, edges = _open(store, call.name, days, loose, period=period)
    for day in days:
        if (day.check, day.day) not in opened:
            checks[day.check].whole.append(day)
    for (check, number), rows in opened.items():
        checks[check].opened[number] = rows
    for (check, number), rows in edges.items():
        checks[check].edges[number] = rows
    try:
        summed = tuple(
            sum_up(name, checks[name], period, burning=name in burning) for name in sorted(names)
        )
    except ValueError as error:
        raise OpsError(
            "The sums of a day in the health history could not be read",
            why=str(error),
            hint="was the state file changed by hand, or is its disk failing?",
            code="history-damaged",
            exit=Exit.UNKNOWN,
        ) from None
    return History(begin, end, settings.every_s, found, tuple(period.maintenance), summed)


def exact_quantile_ms(call: Call, check: str, quantile: float, history: History) -> float | None:
    """Return a quantile from the samples themselves, for where the sketch is too coarse."""
    first, last = day_of(round(history.begin * 1000)), day_of(round(history.end * 1000) - 1)
    period = Period(history.begin, history.end, history.every_s, list(history.maintenance))
    store = _store(call)
    whole = period.whole - store.loose_days(call.name, check, first, last)
    rows = store.rows(call.name, check, [day for day in range(first, last + 1) if day not in whole])
    times = store.times(call.name, check, sorted(whole))
    times += [
        row.took_ms
        for row in period.within(rows)
        if row.took_ms is not None and row.status != "unknown"
    ]
    times.sort()
    return times[int(quantile * (len(times) - 1))] if times else None


def _open(
    store: HealthHistory,
    environment: str,
    days: Sequence[Day],
    loose: dict[CheckDay, list[Row]],
    *,
    period: Period,
) -> tuple[dict[CheckDay, list[Row]], dict[CheckDay, list[Row]]]:
    """Return the rows of every check-day whose sums will not do, and those that burn rates want.

    The first are those that the period or maintenance cuts, and those not packed; the second are
    of days whose sums do, but in which one of the last stretches begins.
    """
    wanted = {
        (day.check, day.day)
        for day in days
        if day.day not in period.whole or (day.check, day.day) in loose
    }
    begins = {int((period.end - span_s) // DAY_S) for span_s in BURN_SPANS_S}
    edges = {
        (day.check, day.day)
        for day in days
        if day.day in begins and day.failed and (day.check, day.day) not in wanted
    }
    unpacked = store.packed(environment, wanted | edges)
    opened = {key: rows for key, rows in unpacked.items() if key in wanted}
    for key, rows in loose.items():
        opened[key] = merged(opened[key], rows) if key in opened else rows
    return (
        {key: period.within(rows) for key, rows in opened.items()},
        {key: rows for key, rows in unpacked.items() if key in edges},
    )


def _store(call: Call) -> HealthHistory:
    return HealthHistory(call.state)
