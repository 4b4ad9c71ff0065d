"""pg_stat_monitor's histograms: views and functions of its shape, with buckets of known calls."""

from __future__ import annotations

import itertools
import math
import random
from typing import Any

import pytest

from opsctl.adapters.histogram import parse_ranges
from opsctl.areas.slowquery.p95 import exact_percentile, percentile_of_counts

# As the extension's own SQL declares them; it is in none of the servers that tests run on.
SHAPE = """
create schema monitor;
create function monitor.range() returns text[] language sql as $$ select string_to_array(
  '{0.000 - 10.000}, (10.000 - 250.000}, (250.000 - 350.000}, (350.000 - 900.000}, '
  '(900.000 - ...}', ',') $$;
create table monitor.calls (bucket_start_time timestamptz, datname text, query text, counts text,
  toplevel boolean);
create view monitor.pg_stat_monitor as select bucket_start_time, datname, query, toplevel,
  string_to_array(counts, ',') as resp_calls from monitor.calls;
"""


@pytest.fixture
def monitored(new_room: Any) -> Any:
    new_room.execute(*(each for each in SHAPE.split(";\n") if each.strip()))
    new_room.report("--since", "start")
    return new_room


def add(room: Any, counts: str, *, query: str = "select $1", when: str = "now()") -> None:
    room.execute(
        "insert into monitor.calls values "
        f"({when}, current_database(), '{query}', '{counts}', true)"
    )


def finding(room: Any) -> dict[str, Any] | None:
    found = [
        each
        for each in room.report("--since", "last")["findings"]
        if each["rule"] == "p95-histogram"
    ]
    return found[0] if found else None


@pytest.mark.parametrize(
    ("counts", "status", "title"),
    [
        ("90,10,0,0,0", "ok", "10–250 ms"),
        ("90,0,10,0,0", "unknown", "250–350 ms"),
        ("90,0,0,10,0", "failed", "350–900 ms"),
        ("0,0,0,0,100", "failed", "over 900 ms"),
        ("95,0,0,5,0", "ok", "0–10 ms"),
    ],
)
def test_its_buckets_judge(monitored: Any, counts: str, status: str, title: str) -> None:
    add(monitored, counts)
    add(monitored, "0,0,0,0,900", when="now() - interval '1 hour'")
    add(monitored, "0,0,0,0,900", query="begin")
    found = finding(monitored)

    assert found is not None
    assert status == found["status"]
    assert title in found["title"]


def test_without_calls_in_the_window_it_says_nothing(monitored: Any) -> None:
    add(monitored, "0,0,0,0,900", when="now() - interval '1 hour'")

    assert finding(monitored) is None


def test_what_does_not_fit_together_is_unknown(monitored: Any) -> None:
    add(monitored, "1,2,3")
    found = finding(monitored)

    assert found is not None
    assert ("unknown", "its ranges and its counts do not fit together") == (
        found["status"],
        found["evidence"],
    )


def test_the_range_holds_the_true_percentile() -> None:
    chance = random.Random(7)
    for _ in range(300):
        edges = [0.0, *sorted(chance.uniform(0, 1000) for _ in range(chance.randint(0, 20)))]
        ranges = [*itertools.pairwise(edges), (edges[-1], math.inf)]
        durations = [chance.expovariate(0.01) for _ in range(chance.randint(1, 300))]
        counts = [sum(low <= d < high for d in durations) for low, high in ranges]
        found = percentile_of_counts(ranges, counts)

        assert found is not None
        assert found.low <= exact_percentile(durations) <= found.high
    assert percentile_of_counts([(0.0, math.inf)], [0]) is None


@pytest.mark.parametrize(
    ("texts", "ranges"),
    [
        (["{0.000 - 1.000}", "(1.000 - 2.778}"], ((0.0, 1.0), (1.0, 2.778))),
        ([" (1 - 2}", "(2 - ...}"], ((1.0, 2.0), (2.0, math.inf))),
        (["no range"], ()),
        (["(2 - 1}"], ()),
        (["(5 - 6}", "(1 - 2}"], ()),
    ],
)
def test_ranges_are_read_or_refused(texts: list[str], ranges: tuple[Any, ...]) -> None:
    assert ranges == parse_ranges(texts)
