"""Planted durations on real servers: auto_explain's log is the truth, and lies in the interval."""

from __future__ import annotations

import random
from typing import Any

from opsctl.adapters.scratch import ScratchServer
from opsctl.adapters.server_log import read_server_log
from opsctl.areas.slowquery.facts import Asked, SlowFacts, gather
from opsctl.areas.slowquery.p95 import exact_percentile, exceeds, percentile
from opsctl.areas.slowquery.statements import Statement, all_calls

LIMIT_MS = 60.0
LOGGED = (
    "set auto_explain.log_min_duration = 0; set auto_explain.log_timing = off; "
    "set auto_explain.log_level = log"
)
ROUNDING_MS = 0.00051
"""The log has three decimals."""


def plant(planting: Any, chance: random.Random) -> None:
    """Plant five statements: one shape each, so that the server tells them apart."""

    def two_peaks() -> float:
        return 0.002 if chance.random() < 0.9 else 0.09 + chance.random() * 0.02

    def tail() -> float:
        return min(0.001 * chance.paretovariate(0.9), 0.4)

    planting.plant("select /* planted 1 */ pg_sleep(%s)", lambda: chance.uniform(0.001, 0.08))
    planting.plant("select /* planted 2 */ pg_sleep(%s), 1", two_peaks)
    planting.plant("select /* planted 3 */ pg_sleep(%s), 1, 2", tail)
    planting.plant("select /* planted 4 */ pg_sleep(%s), 1, 2, 3", lambda: 0.15, pause=0.5)
    planting.plant("select /* planted 5 */ %s::float8, 1, 2, 3, 4", lambda: 0.0)


def truth_of(server: ScratchServer, facts: SlowFacts, skip: int) -> dict[int, list[float]]:
    """Return the durations that the server logged of each statement, within the window.

    Each statement is one client's, so its log lines are in the order of its counter; `skip`
    bytes of the log are from before.
    """
    logged: dict[int, list[float]] = {}
    path = server.log.with_name("part.log")
    path.write_bytes(server.log.read_bytes()[skip:])
    for each in read_server_log(path).durations:
        if each.planned and "/* planted " in each.text:
            number = int(each.text.partition("/* planted ")[2][0])
            logged.setdefault(number, []).append(each.ms)
    found = {}
    for each in facts.listed:
        if "/* planted " in each.raw:
            number = int(each.raw.partition("/* planted ")[2][0])
            first = facts.window.spent[each.key].first
            offset = first.calls if first is not None else 0
            found[number] = logged[number][offset : offset + each.calls]
    return found


def test_the_truth_lies_within_every_interval(
    server: ScratchServer, room: Any, planter: Any, soak: bool
) -> None:
    for seed in range(12 if soak else 1):
        room.execute("select pg_stat_statements_reset()")
        once(server, room, planter, random.Random(seed))


def once(server: ScratchServer, room: Any, planter: Any, chance: random.Random) -> None:
    planting = planter(room.url, preamble=LOGGED)
    plant(planting, chance)
    skip = server.log.stat().st_size

    with planting:
        call = room.call(limits={"query_p95_ms": LIMIT_MS})
        gather(call, Asked(sample_s=1.0))  # a past of its own, and a stored snapshot
        facts = gather(call, Asked(sample_s=3.0))
        coarse = gather(call, Asked(since="start"))

    for each in (facts, coarse):
        compare(truth_of(server, each, skip), each)
    by_number = {planted(each): each for each in facts.listed if planted(each)}
    assert "sampled" == by_number[4].method
    assert by_number[4].p95.exact
    assert facts.sampling is not None
    assert facts.sampling.looks >= 20


def planted(statement: Statement) -> int:
    _, found, rest = statement.raw.partition("/* planted ")
    return int(rest[0]) if found else 0


def compare(truth: dict[int, list[float]], facts: SlowFacts) -> None:
    everything: list[float] = []
    for each in facts.listed:
        number = planted(each)
        if number:
            durations = truth[number]
            assert len(durations) == each.calls
            real = exact_percentile(durations)
            assert each.p95.low - ROUNDING_MS <= real <= each.p95.high + ROUNDING_MS
            assert exceeds(each.known, LIMIT_MS) in (real > LIMIT_MS, None)
            everything += durations
    known = all_calls(each for each in facts.listed if planted(each))
    found = percentile(known)
    assert found is not None
    real = exact_percentile(everything)
    assert found.low - ROUNDING_MS <= real <= found.high + ROUNDING_MS
