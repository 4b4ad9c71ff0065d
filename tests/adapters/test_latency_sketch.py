"""Percentiles from the sketch against exact ones; merging and packing lose nothing."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from ddsketch import DDSketch

from opsctl.adapters.latency_sketch import LEAST_MS, MOST_MS, RELATIVE_ERROR, LatencySketch

Draw = Callable[[random.Random], float]
SHAPES: dict[str, Draw] = {
    "lognormal": lambda dice: dice.lognormvariate(5, 0.6),
    "two humps": lambda dice: dice.gauss(80, 5) if dice.random() < 0.9 else dice.gauss(900, 50),
    "heavy tail": lambda dice: min(30_000.0, 20 * dice.paretovariate(1.1)),
    "nearly constant": lambda dice: 300 + dice.random() / 1000,
    "from microseconds to hours": lambda dice: 10 ** dice.uniform(-2, 7),
}
QUANTILES = (0.0, 0.01, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0)


def exact(values: list[float], quantile: float) -> float:
    """Return the value at the rank that the sketch aims at."""
    return sorted(values)[int(quantile * (len(values) - 1))]


@pytest.mark.parametrize("shape", SHAPES)
def test_every_percentile_is_within_the_stated_error(shape: str) -> None:
    for seed in range(5):
        dice = random.Random(seed)
        values = [SHAPES[shape](dice) for _ in range(dice.choice([1, 59, 288, 5000]))]
        sketch = LatencySketch(values)

        for quantile in QUANTILES:
            truth = exact(values, quantile)
            found = sketch.quantile_ms(quantile)
            assert found is not None
            assert abs(found - truth) <= RELATIVE_ERROR * truth * 1.000001, (quantile, seed)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_month_merged_of_packed_days_equals_one_sketch_of_all(shape: str) -> None:
    dice = random.Random(7)
    days = [[SHAPES[shape](dice) for _ in range(dice.randrange(300))] for _ in range(30)]
    month = LatencySketch()
    for day in days:
        month.merge(LatencySketch.from_bytes(LatencySketch(day).to_bytes()))
    at_once = LatencySketch(value for day in days for value in day)

    assert month.count == at_once.count == sum(map(len, days))
    assert month.to_bytes() == at_once.to_bytes()
    assert [month.quantile_ms(q) for q in QUANTILES] == [at_once.quantile_ms(q) for q in QUANTILES]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_bins_are_the_librarys(shape: str) -> None:
    dice = random.Random(8)
    values = [SHAPES[shape](dice) for _ in range(3000)]
    theirs = DDSketch(RELATIVE_ERROR)
    for value in values:
        theirs.add(max(value, LEAST_MS))
    ours = LatencySketch(values)

    assert [ours.quantile_ms(each) for each in QUANTILES] == [
        theirs.get_quantile_value(each) for each in QUANTILES
    ]


def test_percentiles_of_days_do_not_average_to_the_truth() -> None:
    """The seed of this design: nine calm days and a slow one."""
    days = [[100.0] * 288] * 9 + [[2000.0] * 288]
    month = LatencySketch()
    for day in days:
        month.merge(LatencySketch(day))

    assert month.quantile_ms(0.95) == pytest.approx(2000, rel=RELATIVE_ERROR)


def test_what_is_above_a_limit_is_counted() -> None:
    sketch = LatencySketch([100.0] * 90 + [500.0] * 10)

    assert [sketch.count_above(limit) for limit in (50, 99, 110, 300, 480, 510, 10**6)] == [
        100, 100, 10, 10, 10, 0, 0,
    ]  # fmt: skip
    assert sum(times for _, times in sketch.buckets()) == 100


def test_an_empty_sketch_has_no_percentile() -> None:
    sketch = LatencySketch.from_bytes(LatencySketch().to_bytes())

    assert sketch.quantile_ms(0.95) is None
    assert sketch.count == sketch.count_above(1) == 0


def test_nothing_is_too_fast_or_too_often_to_be_kept() -> None:
    sketch = LatencySketch([0.0, -1.0, 1e-9])
    most = LatencySketch([1e10, 1e15, float("inf")])
    many = LatencySketch([10.0])
    for _ in range(20):
        many.merge(many)

    assert sketch.quantile_ms(0.5) == pytest.approx(LEAST_MS, rel=RELATIVE_ERROR)
    assert most.quantile_ms(1) == pytest.approx(MOST_MS, rel=RELATIVE_ERROR)
    assert many.count == LatencySketch.from_bytes(many.to_bytes()).count == 1 << 20


@pytest.mark.parametrize("cut", [b"H", b"X\0\0\0\0\1\0", b"\xff" * 40, b"d" + b"\0" * 14])
def test_bytes_that_are_no_sketch_are_refused(cut: bytes) -> None:
    with pytest.raises(ValueError, match="not a packed sketch"):
        LatencySketch.from_bytes(cut)


def test_a_packed_sketch_that_was_cut_off_is_refused() -> None:
    packed = LatencySketch(float(each) for each in range(1, 400)).to_bytes()

    for length in range(1, len(packed)):
        with pytest.raises(ValueError, match="not a packed sketch"):
            LatencySketch.from_bytes(packed[:length])
