"""When somebody is told: rules over samples, for how long, once, again, and of the end; pure.

A rule that holds is told once it has held for `for_s`, again every `repeat_s` while it lasts,
and when it ends. One that comes and goes is told to be flapping, once, and then nothing more
until it has kept still. What cannot be told changes nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import ceil
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from opsctl.core.sample import Sample
    from opsctl.core.settings import AlertRule

FLAPS = 4
"""So many beginnings and ends within FLAP_SPAN_S are flapping."""
FLAP_SPAN_S = 3600.0
STILL_S = 1800.0
"""After so long without one, it flaps no more."""
_MOST_SAMPLES = 20_000
"""Samples of one check that are remembered; over a longer span the newest of it count."""

OVER_A_SPAN = frozenset({"error_rate", "p95_ms"})
"""Metrics that are taken over a rule's `over_s`."""

Kind = Literal["began", "lasts", "ended", "flapping", "still"]


@dataclass(frozen=True)
class Event:
    """Something that somebody is to be told."""

    kind: Kind
    rule: AlertRule
    check: str
    at: float
    since: float
    """When it began."""
    value: float | None


@dataclass(frozen=True)
class AlertState:
    """Where one rule stands for one check."""

    above_since: float | None = None
    """Since when the metric is above the limit; None where it is not."""
    holds: bool = False
    """Whether it has been for long enough."""
    began_at: float = 0.0
    told_at: float | None = None
    """When it was last told that it holds; None where it was not."""
    changes: tuple[float, ...] = ()
    """When it began and ended of late."""
    flapping: bool = False
    value: float | None = None


def kept(state: AlertState, *, ahead_s: float) -> dict[str, Any]:
    """Return a state as JSON data; `ahead_s` is how far the other clock is ahead of its own."""
    return _moved(asdict(state), ahead_s)


def from_kept(data: Mapping[str, Any], *, ahead_s: float) -> AlertState:
    """Return the state that `kept` returned. Raises KeyError or TypeError for anything else."""
    try:
        moved = _moved(data, -ahead_s)
    except OverflowError:
        raise TypeError("a moment of it is none") from None
    return AlertState(**{**moved, "changes": tuple(moved["changes"])})


def _moved(data: Mapping[str, Any], by_s: float) -> dict[str, Any]:
    times = {name: data[name] for name in ("above_since", "began_at", "told_at")}
    moved = {name: None if at is None else at + by_s for name, at in times.items()}
    return {**data, **moved, "changes": [at + by_s for at in data["changes"]]}


def step(
    state: AlertState, rule: AlertRule, check: str, *, value: float | None, at: float, muted: bool
) -> tuple[AlertState, Event | None]:
    """Return the state after one more value, and what is to be told, if anything.

    `value` is None where it could not be told. While `muted`, in a maintenance window, nothing
    begins to be told; what still holds afterwards is told then.
    """

    def event(kind: Kind, since: float) -> Event:
        return Event(kind, rule, check, at, since, value)

    if value is None:
        return state, None
    above = value > rule.above
    since = (state.above_since if state.above_since is not None else at) if above else None
    holds = since is not None and at - since >= rule.for_s
    changed = holds != state.holds
    changes = tuple(each for each in state.changes if at - each < FLAP_SPAN_S)
    changes += (at,) if changed else ()
    began_at = (since if since is not None else at) if changed and holds else state.began_at
    new = replace(
        state, above_since=since, holds=holds, began_at=began_at, changes=changes, value=value
    )
    if state.flapping:
        if changes and at - changes[-1] < STILL_S:
            return new, None
        told_at = at if holds and not muted else None
        return replace(new, flapping=False, told_at=told_at), event("still", began_at)
    if changed and len(changes) >= FLAPS and not muted:
        return replace(new, flapping=True), event("flapping", began_at)
    if holds:
        if muted or (state.told_at is not None and not _due_again(state.told_at, rule, at)):
            return new, None
        kind: Kind = "began" if state.told_at is None else "lasts"
        return replace(new, told_at=at), event(kind, began_at)
    if changed and state.told_at is not None:
        return replace(new, told_at=None), event("ended", began_at)
    return new, None


def _due_again(told_at: float, rule: AlertRule, at: float) -> bool:
    return rule.repeat_s > 0 and at - told_at >= rule.repeat_s


@dataclass
class Recent:
    """The latest samples of one check, and what they add up to."""

    samples: deque[Sample] = field(default_factory=lambda: deque(maxlen=_MOST_SAMPLES))

    def add(self, sample: Sample) -> None:
        """Remember a sample; an unknown one says nothing."""
        if sample.status != "unknown":
            self.samples.append(sample)

    def over(self, span_s: float, *, at: float) -> list[Sample]:
        """Return those that were due in the last `span_s`."""
        return [each for each in self.samples if each.due_at > at - span_s]


def value_of(
    rule: AlertRule, recent: Recent, *, shares: Mapping[str, float], sample: Sample, at: float
) -> float | None:
    """Return a rule's metric after a sample; None where it cannot be told."""
    if rule.metric == "failure":
        return None if sample.status == "unknown" else float(sample.status == "fail")
    if rule.metric not in OVER_A_SPAN:
        return shares.get(rule.metric)
    if sample.status == "unknown":
        return None
    samples = recent.over(rule.over_s, at=at)
    if rule.metric == "error_rate":
        if len(samples) < rule.samples:
            return None
        return sum(each.status == "fail" for each in samples) / len(samples)
    times = [each.took_ms for each in samples if each.took_ms is not None and _answered(each)]
    return percentile(times, 0.95) if len(times) >= rule.samples else None


def percentile(values: Sequence[float], share: float) -> float | None:
    """Return the smallest value that `share` of the values do not exceed."""
    if not values:
        return None
    return sorted(values)[max(ceil(share * len(values)) - 1, 0)]


def rules_for(
    rules: Iterable[AlertRule], check: str, *, endpoint: bool = True
) -> tuple[AlertRule, ...]:
    """Return the rules that hold for a check.

    A vendor's API is not what people wait for: unless it is named, its P95 is nobody's news.
    """
    return tuple(
        rule
        for rule in rules
        if check in rule.checks or (not rule.checks and (endpoint or rule.metric != "p95_ms"))
    )


def _answered(sample: Sample) -> bool:
    """Whether its time is that of an answer; one that was refused at once is no quick answer."""
    return sample.status != "fail" or sample.reason in ("timeout", "unhealthy")
