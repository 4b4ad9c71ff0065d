"""Keeps samples in the history without making the watch wait for the disk."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from opsctl.adapters.alert_states import AlertKey, AlertStates
from opsctl.adapters.health_history import HealthHistory
from opsctl.areas.healthcheck import history
from opsctl.areas.healthcheck.alerts import AlertState, from_kept, kept
from opsctl.core.errors import OpsError
from opsctl.core.sample import Sample

if TYPE_CHECKING:
    from opsctl.adapters.event_loop import EventLoop
    from opsctl.core.call import Call

_TOGETHER_S = 1.0
_MOST_WAITING = 100_000
"""Samples that are held while the store cannot be written; then the oldest are lost."""
_AGAIN_S = 30.0
_DAY_S = 86400


class Keeper:
    """Collects samples and writes them together, one write at a time."""

    def __init__(self, loop: EventLoop, call: Call, *, say: Callable[[str], None]) -> None:
        self._loop = loop
        self._call = call
        self._say = say
        self._samples: list[Sample] = []
        self._alerts: dict[AlertKey, AlertState] = {}
        self._busy = False
        self._failing = False
        self.writing = False
        """Whether samples are on their way to the disk, in a thread that ends with the program."""

    def add(self, sample: Sample) -> None:
        """Keep a sample soon."""
        self._samples.append(sample)
        if len(self._samples) == 1 and not self._busy:
            self._busy = True
            self._loop.at(time.monotonic() + _TOGETHER_S, self._write)

    def alerts(self, check: str, states: Mapping[str, AlertState]) -> None:
        """Keep where alerts of a check stand, with the samples that are kept next."""
        self._alerts |= {(check, rule): state for rule, state in states.items()}

    def restored(self) -> dict[AlertKey, AlertState]:
        """Return where the alerts stood when they were last kept; what is damaged is left out."""
        try:
            found = AlertStates(self._call.state).load(self._call.name)
        except OpsError as error:
            self._say(f"Where alerts stood could not be read: {error.why}")
            return {}
        ahead_s = time.time() - time.monotonic()
        states = {}
        for key, data in found.items():
            try:
                states[key] = from_kept(data, ahead_s=ahead_s)
            except (KeyError, TypeError):
                self._say(f"Where the alert {key[1]} of {key[0]} stood could not be read")
        return states

    def finish(self) -> None:
        """Write what is left, now."""
        if self._samples or self._alerts:
            self._wrote(self._samples, self._keep(self._samples, self._alerts))

    def recent(self, span_s: float) -> list[Sample]:
        """Return what the history has of the last `span_s`, by check, in order."""
        now = time.time()
        store = HealthHistory(self._call.state)
        first, last = int((now - span_s) // _DAY_S), int(now // _DAY_S)
        try:
            found = dict(store.loose(self._call.name, first, last))
            days = [(each.check, each.day) for each in store.days(self._call.name, first, last)]
            for key, rows in store.packed(self._call.name, days).items():
                found[key] = [*rows, *found.get(key, [])]
        except OpsError as error:
            self._say(f"The history could not be read: {error.why}")
            return []
        return [
            Sample(check, row.due_ms / 1000, row.began_ms / 1000, row.took_ms, row.own_ms,
                   row.status, row.reason, row.http_status)
            for check, day in sorted(found)
            for row in found[check, day]
            if row.due_ms / 1000 > now - span_s
        ]  # fmt: skip

    def _write(self) -> None:
        samples, self._samples = self._samples, []
        alerts, self._alerts = self._alerts, {}
        self.writing = True

        def work() -> None:
            why = self._keep(samples, alerts)
            if why:
                self._loop.from_thread(lambda: self._alerts.update({**alerts, **self._alerts}))
            self._loop.from_thread(lambda: self._wrote(samples, why))

        self._loop.in_thread(work)

    def _keep(self, samples: list[Sample], alerts: Mapping[AlertKey, AlertState]) -> str:
        ahead_s = time.time() - time.monotonic()
        try:
            history.record(self._call, samples)
            if alerts:
                data = {key: kept(state, ahead_s=ahead_s) for key, state in alerts.items()}
                AlertStates(self._call.state).save(self._call.name, data)
        except OpsError as error:
            return error.why
        except Exception as error:  # noqa: BLE001 - a thread has nobody to raise to
            return type(error).__name__
        return ""

    def _wrote(self, samples: list[Sample], why: str) -> None:
        self._busy = self.writing = False
        if why:
            if not self._failing:
                self._say(f"The history could not be written: {why}")
            self._samples = [*samples, *self._samples][-_MOST_WAITING:]
        elif self._failing:
            self._say("The history is written again")
        self._failing = bool(why)
        if self._samples:
            self._busy = True
            pause_s = _AGAIN_S if why else _TOGETHER_S
            self._loop.at(time.monotonic() + pause_s, self._write)
