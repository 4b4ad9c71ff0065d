"""One check under watch: its last verdict, what it added up to, and where its alerts stand."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from opsctl.areas.healthcheck.alerts import (
    OVER_A_SPAN,
    AlertState,
    Event,
    Recent,
    percentile,
    rules_for,
    step,
    value_of,
)

if TYPE_CHECKING:
    from opsctl.areas.healthcheck.verdict import Verdict
    from opsctl.core.sample import Sample
    from opsctl.core.settings import AlertRule

_SHOWN_TIMES = 10_000
_FINENESS = 1000
"""A rule over a span is asked again after this part of it."""


class Watched:
    """What is known of one check since the watch began."""

    def __init__(self, name: str, rules: Iterable[AlertRule], *, endpoint: bool) -> None:
        self.name = name
        self.last: Verdict | None = None
        self.counts = dict.fromkeys(("pass", "warn", "fail", "unknown"), 0)
        self.recent = Recent()
        """Also of before the watch, where the history has it."""
        self.alerted: list[Event] = []
        """What began while watching."""
        self._times: deque[float] = deque(maxlen=_SHOWN_TIMES)
        self._rules = rules_for(rules, name, endpoint=endpoint)
        self._states = {rule.name: AlertState() for rule in self._rules}
        self._asked: dict[str, float] = {}
        self._changed: set[str] = set()

    def seen(self, verdict: Verdict) -> None:
        """Take one verdict."""
        self.last = verdict
        self.counts[verdict.sample.status] += 1
        self.recent.add(verdict.sample)
        if verdict.sample.took_ms is not None:
            self._times.append(verdict.sample.took_ms)

    def gap(self, sample: Sample) -> None:
        """Take a look that was not made."""
        self.counts[sample.status] += 1

    def events(self, verdict: Verdict, *, at: float, muted: bool) -> Iterator[Event]:
        """Yield what is to be told after a verdict that was taken."""
        for rule in self._rules:
            if rule.metric in OVER_A_SPAN:
                # Adding up a day for each of many samples a second would hold them up.
                if at - self._asked.get(rule.name, float("-inf")) < rule.over_s / _FINENESS:
                    continue
                self._asked[rule.name] = at
            value = value_of(
                rule,
                self.recent,
                shares=verdict.metrics,
                sample=verdict.sample,
                at=verdict.sample.due_at,
            )
            state, event = step(
                self._states[rule.name], rule, self.name, value=value, at=at, muted=muted
            )
            if replace(state, value=None) != replace(self._states[rule.name], value=None):
                self._changed.add(rule.name)
            self._states[rule.name] = state
            if event is not None:
                if event.kind == "began":
                    self.alerted.append(event)
                yield event

    def restore(self, rule: str, state: AlertState) -> None:
        """Take up where an alert stood in an earlier watch."""
        if rule in self._states:
            self._states[rule] = state

    def changed(self) -> dict[str, AlertState]:
        """Return where alerts stand that moved since this was asked, by rule."""
        found = {rule: self._states[rule] for rule in sorted(self._changed)}
        self._changed.clear()
        return found

    @property
    def holding(self) -> tuple[str, ...]:
        """The rules that hold now."""
        return tuple(name for name, state in self._states.items() if state.holds)

    def quantile_ms(self, share: float) -> float | None:
        """Return a percentile of the answers' times since the watch began."""
        return percentile(self._times, share)
