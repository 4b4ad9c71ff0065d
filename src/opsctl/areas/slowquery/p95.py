"""What is known of a percentile: an interval that holds the truth, never a guess.

pg_stat_statements keeps five numbers of each statement since it was first seen: count, sum, mean,
deviation, extremes. Between two looks at them lies a *segment* of calls. Of one or two calls the
durations follow exactly; of more there are bounds that hold for every distribution with the same
mean and deviation. Counting how many calls can, and how many must, last at least `t` gives the
interval. The percentile is the nearest rank: of n calls the ceil(0.95 n)-th shortest.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from opsctl.adapters.statements import Moments

_PERCENT = 95
_EPS = 2.0**-52
_NOTHING_MS = 1e-9
"""A difference that no clock can tell; dividing by less than it says nothing."""
_STEPS = 14
"""Halvings between two neighbouring break points: the interval's ends are that sharp."""


class Segment(NamedTuple):
    """Three calls or more of which mean, variance and range are known, each as an interval."""

    calls: int
    mean_low: float
    mean_high: float
    variance_low: float
    variance_high: float
    low: float
    high: float


class Interval(NamedTuple):
    """The percentile lies in [low, high]; times in ms."""

    low: float
    high: float

    @property
    def exact(self) -> bool:
        """Whether the ends differ by less than a person can see."""
        return self.high - self.low <= max(1e-3, 1e-6 * self.high)


@dataclass
class Known:
    """Everything that is known of the durations of some calls; grows by segments."""

    lows: list[float] = field(default_factory=list)
    """Lower and upper ends of the durations known (nearly) exactly, in no order."""
    highs: list[float] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)

    @property
    def calls(self) -> int:
        """Number of calls."""
        calls = len(self.lows)
        for segment in self.segments:
            calls += segment[0]
        return calls

    @property
    def exact_calls(self) -> int:
        """Number of calls whose duration is known exactly."""
        return len(self.lows)

    def add(self, more: Known) -> None:
        """Take in what is known of other calls."""
        self.lows += more.lows
        self.highs += more.highs
        self.segments += more.segments

    def point(self, low: float, high: float) -> None:
        """Take in one call whose duration lies in [low, high]."""
        self.lows.append(max(low, 0.0))
        self.highs.append(max(high, 0.0))


class Torn(Exception):
    """Two looks do not belong to the same run of counters: it was reset or evicted between."""


def rank_from_top(calls: int) -> int:
    """Return how many calls may be longer than the percentile by the nearest-rank definition."""
    return calls - -(-_PERCENT * calls // 100)


def between(before: Moments | None, after: Moments) -> Known:
    """Return what is known of the calls between two looks at one statement.

    `before` is None for a statement that was new. Raises Torn where the numbers cannot be those
    of one run of counters.
    """
    known = Known()
    if before is not None and before.since != after.since:
        raise Torn
    if before is not None and before.calls == 0:
        before = None  # planned, never executed
    start = before or _NOTHING
    calls = after.calls - start.calls
    total = after.total - start.total
    if calls < 0 or (calls == 0 and total != 0.0) or total < 0:
        raise Torn
    if calls == 0:
        return known
    whole_past = _extremes_hold(before, after)
    if before is not None and whole_past and (
        after.high < before.high or after.low > before.low
    ):  # fmt: skip
        raise Torn
    rest = _Rest.of(start, after, calls, total)
    # A new extreme is the duration of one of these calls, to the bit.
    known_extremes = []
    if whole_past and calls > 1:
        if before is None or after.high > before.high:
            known_extremes.append(after.high)
        if before is None or after.low < before.low:
            known_extremes.append(after.low)
    for value in known_extremes:
        known.point(value, value)
        rest = rest.without(value)
    low, high = (after.low, after.high) if whole_past else (0.0, math.inf)
    rest.put_into(known, low, high)
    return known


def _extremes_hold(before: Moments | None, after: Moments) -> bool:
    """Whether the extremes are those of everything since the entry began."""
    if before is None:
        return after.extremes_since == after.since
    return before.extremes_since == after.extremes_since and before.high > 0


_NOTHING = Moments(0, 0.0, 0.0, 0.0, 0.0, 0.0, None, None)


class _Rest(NamedTuple):
    """Calls with their sum and their sum of squares about a pivot, each with its error.

    The pivot is the mean that the server held before: its running variance is updated about it,
    so no large squares are subtracted from each other. With N calls before and n since, the
    server's sums of squared deviations obey, to rounding,
    V_after - V_before = sum (x - pivot)^2 - (sum (x - pivot))^2 / (N + n).
    """

    calls: int
    total: float
    total_error: float
    pivot: float
    squares: float
    squares_error: float

    @classmethod
    def of(cls, before: Moments, after: Moments, calls: int, total: float) -> _Rest:
        total_error = (calls + 2) * math.ulp(after.total)
        pivot = before.mean
        drift = total - calls * pivot
        drift_error = total_error + 4 * _EPS * (abs(total) + calls * abs(pivot))
        spread_before = _spread(before)
        spread_after = _spread(after)
        squares = spread_after - spread_before + drift * drift / after.calls
        error: float = 8 * _EPS * (spread_before + spread_after) + float(calls) * math.ulp(
            spread_after
        )
        # Each step rounds its product and its mean; of the means the errors add up.
        positive = max(squares, 0.0)
        largest_mean = max(abs(before.mean), abs(after.mean))
        error += 8 * _EPS * positive
        error += 8 * _EPS * calls * largest_mean * math.sqrt(calls * positive)
        error += (4 * _EPS * calls * largest_mean) ** 2 * calls
        error += (2 * abs(drift) + drift_error) * drift_error / after.calls
        return cls(calls, total, total_error, pivot, squares, error)

    def without(self, value: float) -> _Rest:
        """Leave out one call whose duration is known."""
        off = value - self.pivot
        return self._replace(
            calls=self.calls - 1,
            total=self.total - value,
            total_error=self.total_error + math.ulp(self.total),
            squares=self.squares - off * off,
            squares_error=self.squares_error + 8 * _EPS * (off * off + abs(self.squares)),
        )

    def put_into(self, known: Known, low: float, high: float) -> None:
        """Add the calls to what is known; all of them last between `low` and `high`."""
        if self.calls == 0:
            return
        mean = self.total / self.calls
        mean_error = self.total_error / self.calls + 2 * math.ulp(mean)
        if mean + mean_error < low or mean - mean_error > high:
            raise Torn
        if self.calls == 1:
            known.point(max(mean - mean_error, low), min(mean + mean_error, high))
            return
        drift = self.total - self.calls * self.pivot
        drift_error = self.total_error + 4 * _EPS * (abs(self.total) + self.calls * self.pivot)
        variance = (self.squares - drift * drift / self.calls) / self.calls
        error = self.squares_error + (2 * abs(drift) + drift_error) * drift_error / self.calls
        error = (error + 8 * _EPS * (self.squares + drift * drift / self.calls)) / self.calls
        if variance + error < 0:
            raise Torn
        least, most = max(variance - error, 0.0), max(variance + error, 0.0)
        if self.calls == 2:
            near, far = math.sqrt(least), math.sqrt(most)
            known.point(max(mean - mean_error - far, low), min(mean + mean_error - near, high))
            known.point(max(mean - mean_error + near, low), min(mean + mean_error + far, high))
            return
        # No call is further from the mean than sqrt(n - 1) deviations, nor longer than the sum.
        reach = math.sqrt(most * (self.calls - 1)) * (1 + 1e-12)
        low = max(low, mean - mean_error - reach, 0.0)
        high = min(high, mean + mean_error + reach, self.total + self.total_error)
        known.segments.append(
            Segment(
                self.calls,
                max(mean - mean_error, low),
                min(mean + mean_error, high),
                least,
                most,
                low,
                high,
            )
        )


def _spread(moments: Moments) -> float:
    """Return the sum of squared deviations from the mean."""
    if moments.calls <= 1:
        return 0.0
    return moments.deviation * moments.deviation * moments.calls


def most_at_least(segment: Segment, t: float) -> int:
    """Return how many calls of a segment can last `t` or longer, at most.

    The least of three bounds, each true of every distribution: Markov's, Cantelli's, and that
    of the parabola through (low, 0), (t, 1) and (high, 1), which lies above the step at t. Each
    with the mean that makes it weakest.
    """
    calls, mean_low, mean, least, most, low, high = segment
    if t - low <= _NOTHING_MS:
        return calls
    if t > high:
        return 0
    share = (mean - low) / (t - low)
    gap = t - mean
    if gap > 0:
        share = min(share, most / (most + gap * gap))
    worst = min(max((t + high) / 2, mean_low), mean)
    share = min(share, 1 - ((t - worst) * (high - worst) + least) / ((t - low) * (high - low)))
    return _whole(share, calls)


def least_at_least(segment: Segment, t: float) -> int:
    """Return how many calls of a segment last `t` or longer for certain.

    The mirror image: all but those that can be shorter.
    """
    calls, mean, mean_high, least, most, low, high = segment
    if t <= low:
        return calls
    if high - t <= _NOTHING_MS:
        return 0
    share = (high - mean) / (high - t)
    gap = mean - t
    if gap > 0:
        share = min(share, most / (most + gap * gap))
    worst = min(max((t + low) / 2, mean), mean_high)
    share = min(share, 1 - ((worst - t) * (worst - low) + least) / ((high - t) * (high - low)))
    return calls - _whole(share, calls)


def _whole(share: float, calls: int) -> int:
    """Return the most whole calls that a share can be; rounding may never lose one."""
    if share >= 1:
        return calls
    return min(calls, math.floor(max(share, 0.0) * calls * (1 + 1e-9) + 1e-9))


def percentile(known: Known) -> Interval | None:
    """Return the interval of the 95th percentile, or None of no calls."""
    calls = known.calls
    if not calls:
        return None
    above = rank_from_top(calls)
    lows, highs = sorted(known.lows), sorted(known.highs)
    segments = known.segments
    marks = [mark for each in segments for mark in (each.low, each.high)]

    def can(t: float) -> int:
        return len(highs) - bisect_left(highs, t) + sum(most_at_least(s, t) for s in segments)

    def must(t: float) -> int:
        return len(lows) - bisect_left(lows, t) + sum(least_at_least(s, t) for s in segments)

    # Can so many last t or longer? The first t at which they cannot ends the interval.
    high = _last(sorted({0.0, *highs, *marks}), lambda t: can(t) > above, outward=True)
    low = _last(sorted({0.0, *lows, *marks}), lambda t: must(t) > above, outward=False)
    return Interval(low, max(high, low))


def _last(marks: Sequence[float], holds: Callable[[float], bool], *, outward: bool) -> float:
    """Return the largest t at which `holds`, a condition that holds up to some t and not beyond.

    It holds at the first mark. Between two marks the answer is bracketed: `outward` gives the
    bracket's upper end, else its lower end.
    """
    first, last = 0, len(marks)
    while last - first > 1:
        middle = (first + last) // 2
        if holds(marks[middle]):
            first = middle
        else:
            last = middle
    low = marks[first]
    if last == len(marks):
        return low
    high = marks[last]
    just_above = math.nextafter(low, math.inf)
    if not holds(just_above):
        return low
    for _ in range(_STEPS):
        halfway = (low + high) / 2
        if holds(halfway):
            low = halfway
        else:
            high = halfway
    return high if outward else low


def calls_over(known: Known, limit: float) -> tuple[int, int]:
    """Return how many calls last longer than a limit: for certain, and at most."""
    t = math.nextafter(limit, math.inf)
    must = sum(low >= t for low in known.lows) + _sum(least_at_least, known.segments, t)
    can = sum(high >= t for high in known.highs) + _sum(most_at_least, known.segments, t)
    return must, can


def exceeds(known: Known, limit: float) -> bool | None:
    """Whether the percentile is longer than a limit; None where that cannot be told."""
    if all(high <= limit for high in known.highs) and all(s[6] <= limit for s in known.segments):
        return False  # as of nearly every statement, and quickly told
    above = rank_from_top(known.calls)
    must, can = calls_over(known, limit)
    if must > above:
        return True
    return False if can <= above else None


def _sum(bound: Callable[[Segment, float], int], segments: Iterable[Segment], t: float) -> int:
    return sum(bound(segment, t) for segment in segments)


def exact_percentile(durations: Sequence[float]) -> float:
    """Return the percentile of durations that are all known; they may not be empty."""
    return sorted(durations)[len(durations) - 1 - rank_from_top(len(durations))]


def percentile_of_counts(
    ranges: Sequence[tuple[float, float]], counts: Sequence[int]
) -> Interval | None:
    """Return the range of a histogram that holds the percentile, or None of no calls."""
    above = rank_from_top(sum(counts))
    seen = 0
    for (low, high), count in zip(reversed(ranges), reversed(counts), strict=True):
        seen += count
        if seen > above:
            return Interval(low, high)
    return None
