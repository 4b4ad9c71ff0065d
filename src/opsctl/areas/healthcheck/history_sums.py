"""What a check's days add up to over a period, cut into bars; pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from opsctl.adapters.health_day import Day, Outage, Row, Sums, add_up, count, outages_of
from opsctl.adapters.latency_sketch import LatencySketch

DAY_S = 86400
_STEPS = ((10800, 300), (129_600, 3600), (345_600, 10800), (62 * DAY_S, DAY_S))
"""(period up to, bar) in seconds; longer periods have bars of a week."""
BURN_SPANS_S = (300, 1800, 3600, 21600, 259_200)
"""The spans of the burn rates: 5 min, 30 min, 1 h, 6 h, 3 days."""
Span = tuple[float, float]


@dataclass(frozen=True)
class Bar:
    """One stretch of the period, as it is drawn."""

    begin: float
    end: float
    expected_s: float
    """Without maintenance."""
    sums: Sums
    p95_ms: float | None
    """Of the answers; None without any."""

    @property
    def coverage(self) -> float:
        """The share of the expected time that is known; 1 where all of it was maintenance."""
        return min(1.0, self.sums.known_s / self.expected_s) if self.expected_s > 0 else 1.0


@dataclass(frozen=True)
class CheckHistory:
    """One check over the whole period."""

    check: str
    expected_s: float
    """Of the period, without maintenance."""
    sums: Sums
    latencies: LatencySketch
    first_at: float | None
    last_at: float | None
    """When the first and the last sample were due; None without any."""
    bars: tuple[Bar, ...]
    outages: tuple[Outage, ...]
    burns: tuple[Sums, ...]
    """The last stretches, as long as BURN_SPANS_S says; empty where nothing failed in any."""

    @property
    def coverage(self) -> float:
        """The share of the expected time that is known."""
        return min(1.0, self.sums.known_s / self.expected_s) if self.expected_s > 0 else 0.0

    @property
    def spacing_s(self) -> float | None:
        """The mean time from one sample to the next."""
        samples = self.sums.judged + self.sums.unknown
        if self.first_at is None or self.last_at is None or samples < 2:
            return None
        return (self.last_at - self.first_at) / (samples - 1)


@dataclass
class CheckDays:
    """One check's days as they are read."""

    whole: list[Day] = field(default_factory=list)
    """Those whose sums will do."""
    opened: dict[int, list[Row]] = field(default_factory=dict)
    """Rows of the others, only those that count, by day."""
    edges: dict[int, list[Row]] = field(default_factory=dict)
    """Rows of whole days in which something failed and one of the last stretches begins."""


class Period:
    """A period with its bars and its maintenance."""

    def __init__(self, begin: float, end: float, every_s: float, maintenance: list[Span]) -> None:
        self.begin, self.end, self.every_s = begin, end, every_s
        self.maintenance = maintenance
        self.step = bar_length(end - begin)
        # Weeks are counted back from the end of the last day; the shorter stand on the clock.
        unit = min(self.step, DAY_S)
        first = (end - 0.001) // unit * unit + unit - self.step
        edges = [end]
        while first > begin:
            edges.append(first)
            first -= self.step
        self.edges = [begin, *reversed(edges)]
        self.expected = [
            last - first - self._maintained(first, last) for first, last in pairwise(self.edges)
        ]
        self.whole = self._whole_days()
        """Days of which all counts, and for one bar, so that their sums will do."""

    def bar_of(self, at: float) -> int:
        """Return the index of the bar that a moment lies in."""
        return min(max(bisect_right(self.edges, at) - 1, 0), len(self.edges) - 2)

    def within(self, rows: list[Row]) -> list[Row]:
        """Return the rows, in order, that count: within the period, outside maintenance."""
        if not rows:
            return rows
        for begin_ms, end_ms in ((-1e18, self.begin * 1000), (self.end * 1000, 1e18),
                                 *((first * 1000, last * 1000)
                                   for first, last in self.maintenance)):  # fmt: skip
            if rows and rows[0].due_ms < end_ms and rows[-1].due_ms >= begin_ms:
                rows = [row for row in rows if not begin_ms <= row.due_ms < end_ms]
        return rows

    def _whole_days(self) -> set[int]:
        if self.step < DAY_S:
            return set()
        return {
            day
            for day in range(int(self.begin // DAY_S), int(self.end // DAY_S) + 1)
            if self.begin <= day * DAY_S
            and (day + 1) * DAY_S <= self.end
            and self._maintained(day * DAY_S, (day + 1) * DAY_S) == 0
        }

    def _maintained(self, first: float, last: float) -> float:
        return sum(
            max(0.0, min(last, until) - max(first, since)) for since, until in self.maintenance
        )


def bar_length(period_s: float) -> int:
    """Return how long the bars of a period are, in seconds."""
    return next((bar for most, bar in _STEPS if period_s <= most), 7 * DAY_S)


def failing_lately(
    days: Iterable[Day], loose: Mapping[tuple[str, int], list[Row]], period: Period
) -> set[str]:
    """Return the checks that may have failed in one of the last stretches."""
    recent = int((period.end - BURN_SPANS_S[-1]) // DAY_S)
    return {day.check for day in days if day.failed and day.day >= recent} | {
        check
        for (check, day), rows in loose.items()
        if day >= recent and any(row.status == "fail" for row in rows)
    }


def sum_up(name: str, days: CheckDays, period: Period, *, burning: bool) -> CheckHistory:
    """Return what a check's days add up to; raises ValueError where a packed sum is damaged."""
    parts: list[list[Day]] = [[] for _ in period.expected]
    for day in days.whole:
        parts[period.bar_of(day.day * DAY_S)].append(day)
    for number, rows in days.opened.items():
        for index, some in _by_bar(rows, period):
            parts[index].append(add_up(name, number, some, every_s=period.every_s))
    latencies = LatencySketch()
    bars = []
    for index, expected_s in enumerate(period.expected):
        sketches = [LatencySketch.from_bytes(day.sketch) for day in parts[index]]
        of_bar = sketches[0] if sketches else LatencySketch()
        for sketch in sketches[1:]:
            of_bar.merge(sketch)
        latencies.merge(of_bar)
        sums = _total(parts[index])
        first, last = period.edges[index : index + 2]
        bars.append(Bar(first, last, expected_s, sums, of_bar.quantile_ms(0.95)))
    everything = sorted((day for part in parts for day in part), key=lambda day: day.first_ms)
    return CheckHistory(
        check=name,
        expected_s=sum(period.expected),
        sums=_total(everything),
        latencies=latencies,
        first_at=everything[0].first_ms / 1000 if everything else None,
        last_at=everything[-1].last_ms / 1000 if everything else None,
        bars=tuple(bars),
        outages=tuple(outages_of(everything)),
        burns=_burns(days, period) if burning else (),
    )


def _by_bar(rows: list[Row], period: Period) -> Iterable[tuple[int, list[Row]]]:
    """Yield the rows of one day, in order, bar by bar."""
    if not rows:
        return
    first, last = period.bar_of(rows[0].due_ms / 1000), period.bar_of(rows[-1].due_ms / 1000)
    if first == last:
        yield first, rows
        return
    times = [row.due_ms for row in rows]
    cuts = [bisect_left(times, period.edges[index] * 1000) for index in range(first + 1, last + 1)]
    for index, (begin, end) in enumerate(pairwise([0, *cuts, len(rows)]), first):
        if begin < end:
            yield index, rows[begin:end]


def _burns(days: CheckDays, period: Period) -> tuple[Sums, ...]:
    """Return the sums of the last stretches; empty where nothing failed in any of them."""
    found = []
    for span_s in BURN_SPANS_S:
        since = period.end - span_s
        parts: list[Day | Sums] = [day for day in days.whole if day.day * DAY_S >= since]
        # Of a day without a failure a share will do: what speaks in it is spread evenly.
        parts += [
            Sums(known_s=day.known_s * ((day.day + 1) - since / DAY_S))
            for day in days.whole
            if day.day * DAY_S < since < (day.day + 1) * DAY_S and not day.failed
        ]
        cut = [rows for day, rows in days.edges.items() if day * DAY_S < since]
        for rows in (*cut, *days.opened.values()):
            some = [row for row in rows if row.due_ms >= since * 1000]
            if some:
                parts.append(count(some, period.every_s)[0])
        found.append(_total(parts))
    return tuple(found) if found[-1].failed else ()


def _total(parts: Sequence[Day | Sums]) -> Sums:
    columns = zip(*(part[2:8] if isinstance(part, Day) else part for part in parts), strict=True)
    return Sums(*map(sum, columns)) if parts else Sums()
