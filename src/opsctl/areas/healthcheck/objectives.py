"""Hold a check's history against its objectives, and say where the samples do not carry that.

The arithmetic: an objective that allows one failure in n needs n samples before it can be said
to be met; a P95 needs 59, because of fewer even the slowest may lie below the true one with a
chance above 5 %. That an objective is missed may be clear much earlier: when as many failures
would happen in less than 5 % of the cases in which it is just met.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from opsctl.adapters.latency_sketch import RELATIVE_ERROR
from opsctl.areas.healthcheck.history_sums import BURN_SPANS_S, CheckHistory

if TYPE_CHECKING:
    from opsctl.core.settings import Objectives

State = Literal["met", "missed", "not enough data"]
_DOUBT = 0.05
_LEAST_BAD, _LEAST_TO_MISS = 2, 20
"""Failures come in runs: the first ten minutes of a history prove nothing of a month."""
_LEAST_FAILED = 2
"""One failed sample is no burn: at five minutes it alone makes 83 times the budget of an hour."""
_CLOSE = RELATIVE_ERROR * 1.1
"""So near to its limit, the sketch's error and a little to spare, a percentile is looked up."""


@dataclass(frozen=True)
class Verdict:
    """One objective of one check."""

    objective: Literal["uptime", "p95_ms", "error_rate"]
    state: State
    value: float | None
    """None where there is nothing to make it of."""
    limit: float
    samples: int
    needed: int
    """How many samples carry the claim that it is met."""


@dataclass(frozen=True)
class Budget:
    """How much may fail of the time that is known, and how much of that is left."""

    allowed_s: float
    spent_s: float

    @property
    def left(self) -> float:
        """The share left; below 0 when it is overdrawn."""
        return 1 - self.spent_s / self.allowed_s if self.allowed_s else 0.0


@dataclass(frozen=True)
class Burn:
    """How fast the budget goes: 1 spends exactly all of it within the objective's period.

    The pairs of spans and their thresholds are those of the SRE workbook, 'Alerting on SLOs':
    2 % of a month's budget in an hour, 5 % in six, 10 % in three days. The short span tells
    whether it still goes on.
    """

    long_s: float
    short_s: float
    threshold: float
    grave: bool
    """Whether somebody is to be woken for it."""
    long_rate: float | None
    short_rate: float | None
    """None where nothing is known of the span."""
    burning: bool


@dataclass(frozen=True)
class Judged:
    """A check's history beside what became of its objectives."""

    history: CheckHistory
    verdicts: tuple[Verdict, ...]
    budget: Budget
    burns: tuple[Burn, ...]
    covered: bool
    """Whether as much of the time was looked at as the settings ask for."""

    @property
    def budget_known(self) -> bool:
        """Whether the samples carry a claim on the uptime, so that its budget means something."""
        return any(
            each.objective == "uptime" and each.state != "not enough data" for each in self.verdicts
        )

    @property
    def state(self) -> State:
        """Missed if any objective is, else not enough data if any lacks them, else met."""
        states = {verdict.state for verdict in self.verdicts}
        if "missed" in states:
            return "missed"
        return "met" if states == {"met"} else "not enough data"

    def quantile_ms(self, quantile: float) -> float | None:
        """Return a percentile that the samples carry, or None; the P95 as it was judged."""
        latencies = self.history.latencies
        if latencies.count < least_samples(quantile):
            return None
        if quantile == 0.95:
            return next((each.value for each in self.verdicts if each.objective == "p95_ms"), None)
        return latencies.quantile_ms(quantile)


_BURNS = ((3600, 300, 14.4, True), (21600, 1800, 6.0, True), (259_200, 21600, 1.0, False))


def least_samples(quantile: float) -> int:
    """Return how many samples carry a quantile with 95 % confidence: 59 for the 95th."""
    return math.ceil(math.log(_DOUBT) / math.log(quantile))


def judge(history: CheckHistory, objectives: Objectives, *, p95_ms: float | None = None) -> Judged:
    """Return the verdicts on one check; `p95_ms` is the exact one, where that was looked up."""
    return Judged(
        history=history,
        verdicts=tuple(_verdicts(history, objectives, p95_ms)),
        budget=Budget((1 - objectives.uptime) * history.sums.known_s, history.sums.down_s),
        burns=tuple(_burns(history, objectives)),
        covered=history.coverage >= objectives.coverage,
    )


def is_too_close(history: CheckHistory, objectives: Objectives) -> bool:
    """Whether the sketch cannot tell on which side of its limit the P95 lies."""
    value = history.latencies.quantile_ms(0.95)
    return value is not None and abs(value - objectives.p95_ms) <= _CLOSE * objectives.p95_ms


def chance_of(least: int, samples: int, share: float) -> float:
    """Return the chance of at least so many among `samples`, each with a chance of `share`."""
    below = 0.0
    for found in range(least):
        ways = math.lgamma(samples + 1) - math.lgamma(found + 1) - math.lgamma(samples - found + 1)
        odds = found * math.log(share) + (samples - found) * math.log1p(-share)
        below += math.exp(ways + odds)
    return max(0.0, 1 - below)


def _verdicts(history: CheckHistory, objectives: Objectives, p95_ms: float | None) -> list[Verdict]:
    sums = history.sums
    allowed = 1 - objectives.uptime
    needed = _one_in(allowed)
    uptime = sums.uptime
    met = uptime is not None and uptime >= objectives.uptime
    found = [
        Verdict(
            "uptime",
            _state(met, sums.failed, sums.judged, allowed, needed),
            uptime,
            objectives.uptime,
            sums.judged,
            needed,
        )
    ]
    needed = _one_in(objectives.error_rate)
    rate = sums.error_rate
    met = rate is not None and rate < objectives.error_rate
    found.append(
        Verdict(
            "error_rate",
            _state(met, sums.failed, sums.judged, objectives.error_rate, needed),
            rate,
            objectives.error_rate,
            sums.judged,
            needed,
        )
    )
    answers = history.latencies.count
    if answers or not sums.judged:
        value = history.latencies.quantile_ms(0.95) if p95_ms is None else p95_ms
        slow = history.latencies.count_above(objectives.p95_ms)
        met = value is not None and value <= objectives.p95_ms
        needed = least_samples(0.95)
        found.append(
            Verdict(
                "p95_ms",
                _state(met, slow, answers, 0.05, needed),
                value,
                objectives.p95_ms,
                answers,
                needed,
            )
        )
    return found


def _state(met: bool, bad: int, samples: int, share: float, needed: int) -> State:
    if samples >= needed:
        return "met" if met else "missed"
    few = bad < _LEAST_BAD or samples < _LEAST_TO_MISS
    if not few and chance_of(bad, samples, share) < _DOUBT:
        return "missed"
    return "not enough data"


def _one_in(share: float) -> int:
    # 1 - 0.999 is a little more than 0.001, and 1 / it a little less than 1,000.
    return math.ceil(round(1 / share, 6))


def _burns(history: CheckHistory, objectives: Objectives) -> list[Burn]:
    sums = dict(zip(BURN_SPANS_S, history.burns, strict=True)) if history.burns else {}
    end = history.bars[-1].end if history.bars else 0.0
    allowed = 1 - objectives.uptime

    def rate(span_s: int) -> float | None:
        if span_s in sums:
            uptime = sums[span_s].uptime
            return None if uptime is None else (1 - uptime) / allowed
        # Nothing failed in any of the spans.
        seen = history.last_at is not None and history.last_at >= end - span_s
        return 0.0 if seen else None

    found = []
    for long_s, short_s, threshold, grave in _BURNS:
        long_rate, short_rate = rate(long_s), rate(short_s)
        failed = sums[long_s].failed if sums else 0
        burning = (
            failed >= _LEAST_FAILED
            and long_rate is not None
            and short_rate is not None
            and min(long_rate, short_rate) >= threshold
        )
        found.append(Burn(long_s, short_s, threshold, grave, long_rate, short_rate, burning))
    return found
