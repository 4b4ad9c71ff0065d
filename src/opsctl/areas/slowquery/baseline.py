"""What was usual: stored on a good day, and compared with today; pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from opsctl.areas.slowquery.statements import Statement, fingerprint
from opsctl.areas.slowquery.window import Window

CALLS = 20
"""Fewer calls on either side say nothing about a mean."""
FACTOR = 2.0
GROWN_MS = 1.0
ERRORS = 4.0
"""Standard errors that the difference of two means must exceed."""
LOAD_FACTOR = 3.0
LOAD_SHARE = 0.1
"""Of all statements' time: less than that is nobody's trouble."""
LOAD_BUSY = 0.05
"""Of one processor: the same."""


@dataclass(frozen=True)
class Regression:
    """A statement that has become slower, or takes more of the server's time."""

    statement: Statement
    before_ms: float
    """Mean of a call, or milliseconds an hour for `load`."""
    after_ms: float
    calls_before: int
    load: bool
    """Whether it is the time of all calls together that grew."""

    @property
    def factor(self) -> float:
        """How many times as much."""
        return self.after_ms / self.before_ms if self.before_ms else math.inf


def describe(
    window: Window, listed: Sequence[Statement], *, server: str, database: str
) -> dict[str, Any]:
    """Return the baseline that a window makes, as it is stored; no text is in it."""
    return {
        "server": server,
        "database": database,
        "began_at": window.began_at,
        "ended_at": window.ended_at,
        "statements": [
            {
                "query_id": each.query_id,
                "fingerprint": fingerprint(each.text),
                "role": each.role,
                "nested": each.nested,
                "calls": each.calls,
                "total_ms": each.total_ms,
                "deviation_ms": each.deviation_ms,
            }
            for each in listed
        ],
    }


def regressions(
    baseline: Mapping[str, Any], window: Window, listed: Sequence[Statement], *, server: str
) -> tuple[Regression, ...]:
    """Return what has become slower than the baseline, the worst first.

    Means are compared where both sides have `CALLS` calls: twice as slow, by at least a
    millisecond, and by more than chance. The load is compared by the hour.
    """
    # Another major version numbers statements anew: there the text must do.
    by_id = baseline.get("server") == server
    hours = (baseline["ended_at"] - baseline["began_at"]) / 3600
    before: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for each in baseline["statements"]:
        number = each["query_id"] if by_id else each["fingerprint"]
        before[number, each["role"], each["nested"]] = each
    everything = sum(each.total_ms for each in listed if not each.nested) or 1.0
    found = []
    for each in listed:
        number = each.query_id if by_id else fingerprint(each.text)
        old = before.get((number, each.role, each.nested))
        if old is None or old["calls"] < CALLS or each.calls < CALLS:
            continue
        mean = old["total_ms"] / old["calls"]
        error = math.sqrt(
            old["deviation_ms"] ** 2 / old["calls"] + each.deviation_ms**2 / each.calls
        )
        grown = each.mean_ms - mean
        if each.mean_ms >= FACTOR * mean and grown >= GROWN_MS and grown > ERRORS * error:
            found.append(Regression(each, mean, each.mean_ms, old["calls"], load=False))
            continue
        was = old["total_ms"] / hours if hours > 0 else 0.0
        now = each.total_ms / (window.seconds / 3600)
        heavy = each.total_ms >= max(LOAD_SHARE * everything, LOAD_BUSY * window.seconds * 1000)
        if was and heavy and now >= LOAD_FACTOR * was:
            found.append(Regression(each, was, now, old["calls"], load=True))
    return tuple(sorted(found, key=lambda each: (each.load, -each.factor)))


def is_baseline(document: Mapping[str, Any]) -> bool:
    """Whether a document is a baseline, each number of it in its place."""
    statements = document.get("statements")
    if not isinstance(statements, list) or not isinstance(document.get("server"), str):
        return False
    if not all(_number(document.get(name)) for name in ("began_at", "ended_at")):
        return False
    return all(
        isinstance(each, dict)
        and isinstance(each.get("role"), str)
        and isinstance(each.get("fingerprint"), str)
        and isinstance(each.get("nested"), bool)
        and type(each.get("query_id")) is int
        and type(each.get("calls")) is int
        and _number(each.get("total_ms"))
        and _number(each.get("deviation_ms"))
        for each in statements
    )


def _number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(float(str(value)))
