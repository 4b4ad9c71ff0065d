"""The truth lies within the interval, whatever the durations, the looks and the past."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import pytest

from opsctl.adapters.statements import Moments
from opsctl.areas.slowquery.p95 import (
    Interval,
    Known,
    Segment,
    Torn,
    between,
    calls_over,
    exact_percentile,
    exceeds,
    least_at_least,
    most_at_least,
    percentile,
    rank_from_top,
)


@dataclass
class Entry:
    """One entry: Welford's running mean and variance, sums and extremes."""

    calls: int = 0
    total: float = 0.0
    low: float = 0.0
    high: float = 0.0
    mean: float = 0.0
    spread: float = 0.0
    since: float | None = None
    extremes_since: float | None = None

    def call(self, ms: float) -> None:
        self.calls += 1
        self.total += ms
        if self.calls == 1:
            self.low = self.high = self.mean = ms
            return
        old = self.mean
        self.mean += (ms - old) / self.calls
        self.spread += (ms - old) * (ms - self.mean)
        if self.low == 0 and self.high == 0:
            self.low = self.high = ms
        else:
            self.low, self.high = min(self.low, ms), max(self.high, ms)

    def forget_extremes(self, now: float) -> None:
        self.low = self.high = 0.0
        self.extremes_since = now

    def look(self) -> Moments:
        deviation = math.sqrt(self.spread / self.calls) if self.calls > 1 else 0.0
        return Moments(
            self.calls, self.total, self.low, self.high, self.mean, deviation,
            self.since, self.extremes_since,
        )  # fmt: skip


def duration(chance: random.Random, kind: str) -> float:
    """Return one duration in ms, as the server measures: whole nanoseconds."""
    ms = {
        "uniform": lambda: chance.uniform(1, 600),
        "two peaks": lambda: (
            chance.gauss(5, 1) if chance.random() < 0.93 else chance.gauss(700, 50)
        ),
        "long tail": lambda: 2 * chance.paretovariate(1.1),
        "constant": lambda: 250.0,
        "nearly constant": lambda: 250.0 + chance.random() * 1e-4,
        "tiny": lambda: chance.expovariate(1) * 0.02,
    }[kind]()
    return round(max(abs(ms), 1e-6) * 1e6) / 1e6


KINDS = ("uniform", "two peaks", "long tail", "constant", "nearly constant", "tiny")


def known_of(durations: list[float]) -> Known:
    known = Known()
    for each in durations:
        known.point(each, each)
    return known


@pytest.mark.parametrize(
    ("calls", "above"), [(1, 0), (19, 0), (20, 1), (21, 1), (39, 1), (40, 2), (100, 5), (180, 9)]
)
def test_the_percentile_is_the_nearest_rank(calls: int, above: int) -> None:
    assert above == rank_from_top(calls)
    durations = [float(n) for n in range(1, calls + 1)]

    assert Interval(calls - above, calls - above) == percentile(known_of(durations))
    assert calls - above == exact_percentile(durations)


def test_of_no_calls_nothing_is_known() -> None:
    assert percentile(Known()) is None
    assert (0, 0) == calls_over(Known(), 300)


def planted(seed: int) -> None:
    """Plant one to four statements, each with a past, look at random, and compare."""
    chance = random.Random(seed)
    everything, all_known = [], Known()
    for _ in range(chance.randint(1, 4)):
        kind = chance.choice(KINDS)
        entry = Entry(since=1.0, extremes_since=1.0) if chance.random() < 0.5 else Entry()
        for _ in range(chance.choice([0, 0, 1, 2, 50, 3000])):
            entry.call(duration(chance, chance.choice(KINDS)))
        if entry.since and chance.random() < 0.2:
            entry.forget_extremes(2.0)
        durations, known = [], Known()
        before = entry.look() if entry.calls else None
        for look in range(chance.choice([1, 3, 40])):
            for _ in range(chance.choice([0, 1, 1, 2, 2, 3, 4, 9, 60])):
                durations.append(duration(chance, kind))
                entry.call(durations[-1])
            if entry.since and chance.random() < 0.02:
                entry.forget_extremes(3.0 + look)
            if entry.calls:
                after = entry.look()
                known.add(between(before, after))
                before = after
        check(durations, known, seed)
        everything += durations
        all_known.add(known)
    check(everything, all_known, seed)


def check(durations: list[float], known: Known, seed: int) -> None:
    assert len(durations) == known.calls, seed
    found = percentile(known)
    if not durations:
        assert found is None
        return
    assert found is not None
    truth = exact_percentile(durations)
    slack = 1e-9 * truth
    assert found.low - slack <= truth <= found.high + slack, (seed, found, truth)
    for limit in (1.0, 300.0, truth):
        # A duration that is the limit itself may be known to a nanosecond only.
        if limit != truth:
            must, can = calls_over(known, limit)
            assert must <= sum(each > limit for each in durations) <= can, (seed, limit)
            assert exceeds(known, limit) in (truth > limit, None)


def test_the_truth_lies_within_the_interval(soak: bool) -> None:
    for seed in range(20_000 if soak else 600):
        planted(seed)


def test_a_long_past_does_not_blur_one_call() -> None:
    """The old way, calls * (deviation^2 + mean^2), would be off by seconds here."""
    entry = Entry()
    for n in range(200_000):
        entry.call(1000.0 + n % 7)
    before = entry.look()
    for each in (12.5, 3000.25):
        entry.call(each)

    known = between(before, entry.look())

    assert [12.5, 3000.25] == sorted(known.highs) == sorted(known.lows)
    before = entry.look()
    for each in (500.125, 700.5):
        entry.call(each)
    known = between(before, entry.look())
    assert not known.segments
    for low, high, truth in zip(
        sorted(known.lows), sorted(known.highs), (500.125, 700.5), strict=True
    ):
        assert low <= truth <= high
        assert high - low < 0.01


def test_a_new_extreme_is_exact_so_three_or_four_calls_can_be() -> None:
    entry = Entry()
    for each in (10.0, 20.0):
        entry.call(each)
    before = entry.look()
    for each in (11.0, 12.0, 5.0, 90.0):
        entry.call(each)

    known = between(before, entry.look())

    assert 4 == known.exact_calls
    assert [5.0, 11.0, 12.0, 90.0] == [round(each, 6) for each in sorted(known.highs)]


def test_mean_and_deviation_alone_would_lie() -> None:
    """A mean of 48 ms with 6 % of calls at 700 ms: a normal distribution would say 340."""
    entry = Entry()
    chance = random.Random(7)
    durations = [duration(chance, "two peaks") for _ in range(5000)]
    for each in durations:
        entry.call(each)

    found = percentile(between(None, entry.look()))

    assert found is not None
    truth = exact_percentile(durations)
    look = entry.look()
    assert truth > 500 > look.mean + 1.645 * look.deviation
    assert found.low <= truth <= found.high


@pytest.mark.parametrize(
    "after",
    [
        Moments(5, 90.0, 1.0, 50.0, 18.0, 3.0, None, None),  # fewer calls
        Moments(20, 90.0, 1.0, 50.0, 4.5, 3.0, None, None),  # less time
        Moments(20, 200.0, 1.0, 40.0, 10.0, 3.0, None, None),  # a smaller maximum
        Moments(20, 200.0, 2.0, 50.0, 10.0, 3.0, None, None),  # a larger minimum
        Moments(11, 160.0, 1.0, 50.0, 160 / 11, 20.0, None, None),  # one call over the maximum
        Moments(20, 300.0, 1.0, 50.0, 15.0, 0.1, None, None),  # less spread than before
        Moments(20, 300.0, 1.0, 50.0, 15.0, 12.0, 99.0, 99.0),  # began later
        Moments(10, 110.0, 1.0, 50.0, 11.0, 12.0, None, None),  # time without calls
    ],
)
def test_counters_of_another_run_are_recognised(after: Moments) -> None:
    before = Moments(10, 100.0, 1.0, 50.0, 10.0, 12.0, None, None)
    with pytest.raises(Torn):
        between(before, after)


def test_the_bounds_are_reached_by_some_distribution() -> None:
    """Cantelli's two-point distribution: one call of ten is at three deviations."""
    values = [0.0] * 9 + [10.0]
    mean, variance = 1.0, 9.0
    segment = Segment(10, mean, mean, variance, variance, 0.0, 20.0)

    assert 1 == most_at_least(segment, 10.0) == sum(value >= 10 for value in values)
    assert 0 == most_at_least(segment, 10.01)
    segment = Segment(10, 9.0, 9.0, variance, variance, 0.0, 10.0)
    assert 9 == least_at_least(segment, 9.99)


def test_looks_between_slow_calls_make_the_interval_narrow() -> None:
    """One slow call among fast ones is betrayed by the sum of squares, though not exact."""
    chance = random.Random(0)
    entry, known, durations, elapsed, next_look = Entry(), Known(), [], 0.0, 50.0
    for _ in range(100):
        entry.call(2.0 + chance.random())
    before = entry.look()
    for _ in range(250):
        slow = chance.random() < 0.1
        durations.append(90 + chance.random() * 20 if slow else 2 + chance.random() * 0.2)
        elapsed += durations[-1]
        if elapsed > next_look:
            known.add(between(before, entry.look()))
            before = entry.look()
            next_look = elapsed + 50
        entry.call(durations[-1])
    known.add(between(before, entry.look()))

    found = percentile(known)

    assert found is not None
    assert found.low <= exact_percentile(durations) <= found.high
    assert found.high - found.low < 2
    assert exceeds(known, 60) is True
    assert exceeds(known, 120) is False
