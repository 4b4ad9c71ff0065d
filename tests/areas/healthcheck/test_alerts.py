"""Who is told what, and when: values in, events out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from opsctl.areas.healthcheck.alerts import (
    AlertState,
    Recent,
    percentile,
    rules_for,
    step,
    value_of,
)
from opsctl.core.sample import Sample
from opsctl.core.settings import AlertRule, Environment


def told(
    values: Iterable[float | None],
    *,
    every_s: float = 300,
    muted: Iterable[int] = (),
    **more: Any,
) -> list[tuple[int, str]]:
    """Return what is told at which value, by a rule for what is above 0."""
    rule = AlertRule(name="r", metric="failure", above=0.0, **more)
    state, found, quiet = AlertState(), [], set(muted)
    for index, value in enumerate(values):
        state, event = step(
            state, rule, "c", value=value, at=1000 + index * every_s, muted=index in quiet
        )
        if event is not None:
            found.append((index, event.kind))
    return found


def test_it_is_told_once_when_it_begins_and_once_when_it_ends() -> None:
    assert told([0, 1, 1, 1, 0, 0]) == [(1, "began"), (4, "ended")]


def test_it_is_told_only_after_it_has_lasted() -> None:
    assert told([0, 1, 0, 1, 1, 1, 0], for_s=300) == [(4, "began"), (6, "ended")]
    assert told([0, 1, 0, 1, 0, 1, 0], for_s=300) == []


def test_while_it_lasts_it_is_told_again_now_and_then() -> None:
    assert told([1] * 10, repeat_s=1200) == [(0, "began"), (4, "lasts"), (8, "lasts")]
    assert told([1] * 10, repeat_s=0) == [(0, "began")]


def test_what_cannot_be_told_neither_begins_nor_ends_it() -> None:
    assert told([None, 1, None, None, 1, 0]) == [(1, "began"), (5, "ended")]
    assert told([1, None, 0], for_s=300) == []


def test_flapping_is_told_once_and_then_nothing_until_it_keeps_still() -> None:
    values = [0, 1] * 10 + [0] * 10

    assert told(values) == [(1, "began"), (2, "ended"), (3, "began"), (4, "flapping"),
                            (26, "still")]  # fmt: skip


def test_flapping_that_ends_in_a_failure_says_so_and_is_not_told_twice() -> None:
    events = told([0, 1] * 5 + [1] * 10, repeat_s=0)

    assert events[-2:] == [(4, "flapping"), (15, "still")]


def test_in_maintenance_nobody_is_told_and_what_still_holds_afterwards_is() -> None:
    assert told([0, 1, 1, 1, 1, 0], muted=[1, 2, 3]) == [(4, "began"), (5, "ended")]
    assert told([0, 1, 1, 0, 0], muted=[1, 2, 3]) == []
    assert told([1, 1, 0], muted=[1, 2]) == [(0, "began"), (2, "ended")]


def sample(at: float, status: str = "pass", took_ms: float | None = 10, reason: str = "") -> Sample:
    return Sample("c", at, at, took_ms, took_ms, status, reason)  # type: ignore[arg-type]


def value(metric: str, seen: list[Sample], **more: Any) -> float | None:
    rule = AlertRule(name="r", metric=metric, above=0.0, **more)  # type: ignore[arg-type]
    recent = Recent()
    for each in seen:
        recent.add(each)
    return value_of(rule, recent, shares={"disk": 0.5}, sample=seen[-1], at=seen[-1].due_at)


def test_the_error_rate_needs_enough_samples_and_leaves_unknown_ones_out() -> None:
    samples = [sample(index, "fail" if index in (3, 4) else "pass") for index in range(100)]
    gaps = [sample(100 + index, "unknown", None) for index in range(50)]

    assert value("error_rate", samples, samples=100) == 0.02
    assert value("error_rate", samples, samples=101) is None
    assert value("error_rate", [*gaps, *samples], samples=100) == 0.02
    assert value("error_rate", samples, samples=10, over_s=50) == 0.0


def test_the_p95_counts_time_outs_and_no_quick_refusal() -> None:
    fast = [sample(index, took_ms=10) for index in range(94)]
    late = [sample(200 + index, "fail", 30_000, "timeout") for index in range(6)]
    refused = [sample(300 + index, "fail", 0.1, "refused") for index in range(50)]

    assert value("p95_ms", [*fast, *late, *refused], samples=59) == 30_000
    assert value("p95_ms", fast, samples=95) is None


def test_shares_come_from_whoever_tells_them() -> None:
    assert value("disk", [sample(0)]) == 0.5
    assert value("memory", [sample(0)]) is None


@pytest.mark.parametrize(("share", "found"), [(0.5, 5), (0.95, 10), (0.9, 9), (0.0, 1), (1.0, 10)])
def test_a_percentile_is_one_of_the_values(share: float, found: float) -> None:
    assert percentile([10, 1, 2, 3, 9, 4, 5, 6, 7, 8], share) == found


def test_the_runbooks_six_rules_hold_without_settings() -> None:
    rules = Environment().alerts

    assert {rule.metric: rule.above for rule in rules} == {
        "failure": 0, "error_rate": 0.01, "p95_ms": 500, "database_connections": 0.8,
        "memory": 0.9, "disk": 0.85,
    }  # fmt: skip
    assert rules_for(rules, "anything") == rules
    named = AlertRule(name="r", metric="failure", above=0.0, checks=("a",))
    assert rules_for([named], "b") == ()


def test_the_time_of_a_vendors_api_is_told_only_where_it_is_named() -> None:
    rules = Environment().alerts
    named = AlertRule(name="r", metric="p95_ms", above=1.0, checks=("vercel",))

    assert "p95_ms" not in {rule.metric for rule in rules_for(rules, "vercel", endpoint=False)}
    assert rules_for([named], "vercel", endpoint=False) == (named,)
