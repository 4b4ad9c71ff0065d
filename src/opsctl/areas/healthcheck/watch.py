"""Look again and again, on a schedule that nothing holds up, and tell who is to be told."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opsctl.adapters.event_loop import EventLoop
from opsctl.adapters.prober import Prober
from opsctl.areas.healthcheck.clocks import Clocks, Leap
from opsctl.areas.healthcheck.facts import Check, EndpointCheck, checks_of
from opsctl.areas.healthcheck.keeper import Keeper
from opsctl.areas.healthcheck.telling import Outbox, sentence
from opsctl.areas.healthcheck.verdict import Verdict, wall_time
from opsctl.areas.healthcheck.watch_show import line_of, picture, summary
from opsctl.areas.healthcheck.watched import Watched
from opsctl.core.errors import Exit, OpsError
from opsctl.core.progress import duration
from opsctl.core.sample import Sample

if TYPE_CHECKING:
    from opsctl.core.call import Call
    from opsctl.core.report import Report

_BEAT_S = 1.0
_LATE_S = 1.0
"""A look that would begin later than this is not made: it would measure this machine."""
_MUTED_FOR_S = 15.0
_LAST_WORDS_S = 5.0


@dataclass(frozen=True)
class Wanted:
    """How to watch."""

    every_s: float
    for_s: float | None = None
    """None: until it is stopped."""
    only: tuple[str, ...] = ()
    record: bool = True
    notify: bool = True


def watch(call: Call, wanted: Wanted, *, clocks: Clocks | None = None) -> Report:
    """Watch an environment and return what came of it.

    SIGTERM and Ctrl-C end it in order: what was seen is kept, who is to be told is told. The
    report then has exit code 143 or 130.
    """
    return _Watch(call, wanted, clocks or Clocks()).run()


class _Watch:
    def __init__(self, call: Call, wanted: Wanted, clocks: Clocks) -> None:
        self._call = call
        self._wanted = wanted
        self._clocks = clocks
        self._loop = EventLoop()
        self._checks = checks_of(call, Prober(self._loop), only=wanted.only)
        if not self._checks:
            raise OpsError(
                "There is nothing to watch",
                why=f"the environment {call.name} names no endpoint and no database",
                hint=f"add environments.{call.name}.health to the settings",
                code="nothing-to-check",
                exit=Exit.UNKNOWN,
            )
        rules = call.environment.alerts
        self._watched = {
            check.name: Watched(check.name, rules, endpoint=isinstance(check, EndpointCheck))
            for check in self._checks
        }
        self._keeper = Keeper(self._loop, call, say=self._note) if wanted.record else None
        self._outbox = Outbox(
            self._loop, call.environment.channels, environment=call.name, say=self._note
        )
        self._width = max(len(check.name) for check in self._checks)
        self._began = time.monotonic()
        self._next: dict[str, float] = {}
        self._under_way = 0
        self._woke = float("-inf")
        self._stopped: Exit | None = None
        self._muted: tuple[float, bool] = (float("-inf"), False)
        self._show: Callable[[Report], None] | None = None
        self._notes: list[str] = []

    def run(self) -> Report:
        """Watch until the end."""
        try:
            self._remember()
            screen = self._call.screen() if self._call.screen is not None else nullcontext()
            with self._signals(), screen as self._show:
                self._schedule(time.monotonic())
                self._loop.at(time.monotonic(), self._beat)
                self._loop.run(self._ended)
                self._finish()
                self._draw()
            return summary(
                self._watched.values(),
                environment=self._call.name,
                notes=tuple(self._notes),
                stopped=self._stopped,
                limit_ms=self._call.environment.limits.response_ms,
                watched_s=time.monotonic() - self._began,
            )
        finally:
            self._loop.close()

    # -- the schedule

    def _schedule(self, first: float) -> None:
        """Let each check be due at `first` or shortly after, and from then on every so often."""
        at = first
        for check in self._checks:
            self._next[check.name] = at
            self._arm(check, at)
            at += check.gap_s

    def _arm(self, check: Check, at: float) -> None:
        self._loop.at(at, lambda: self._due(check, at))

    def _due(self, check: Check, due: float) -> None:
        if self._next.get(check.name) != due or self._over(due):
            return  # scheduled anew meanwhile, or at the end
        now = time.monotonic()
        every_s = self._wanted.every_s
        if now - due > _LATE_S:
            # This machine stood still, and the server is not to be blamed for it.
            self._keep(_gap(check.name, wall_time(due), "late"))
            missed = int((now - due) / every_s) + 1
            following = due + missed * every_s
        else:
            following = due + every_s
            self._under_way += 1
            check.look(due, lambda verdict: self._seen(verdict, began=now))
        self._next[check.name] = following
        self._arm(check, following)

    def _seen(self, verdict: Verdict, *, began: float) -> None:
        self._under_way -= 1
        sample = verdict.sample
        if began < self._woke and sample.status != "pass":
            # It was under way while the machine slept.
            self._keep(_gap(sample.check, sample.due_at, "asleep"))
            return
        watched = self._watched[sample.check]
        watched.seen(verdict)
        if self._keeper is not None:
            self._keeper.add(sample)
        if self._show is None:
            self._call.say(line_of(verdict, width=self._width))
        for event in watched.events(verdict, at=time.monotonic(), muted=self._is_muted()):
            self._note(sentence(event))
            if self._wanted.notify:
                self._outbox.add(event)
        if self._keeper is not None:
            self._keeper.alerts(sample.check, watched.changed())

    def _keep(self, sample: Sample) -> None:
        if self._keeper is not None:
            self._keeper.add(sample)
        self._watched[sample.check].gap(sample)

    def _is_muted(self) -> bool:
        from opsctl.areas.healthcheck import windows

        asked_at, muted = self._muted
        if time.monotonic() - asked_at > _MUTED_FOR_S:
            try:
                muted = windows.active(self._call, time.time()) is not None
            except OpsError as error:
                self._note(f"Maintenance windows are not known: {error.why}")
                muted = False
            self._muted = (time.monotonic(), muted)
        return muted

    # -- the machine

    def _beat(self) -> None:
        leap = self._clocks.look()
        if leap.set_s:
            back = "back" if leap.set_s < 0 else "forward"
            self._note(f"The clock was set {back} by {duration(abs(leap.set_s))}")
        if leap.slept_s:
            self._awake(leap)
        self._draw()
        self._loop.at(time.monotonic() + _BEAT_S, self._beat)

    def _awake(self, leap: Leap) -> None:
        """Write down that nobody looked, and look at once."""
        self._note(f"This machine slept for {duration(leap.slept_s)}")
        now = self._woke = time.monotonic()
        for check in self._checks:
            fell_due = wall_time(self._next[check.name]) - leap.slept_s
            if fell_due < time.time():
                self._keep(_gap(check.name, fell_due, "asleep"))
        self._schedule(now)

    def _over(self, at: float) -> bool:
        for_s = self._wanted.for_s
        return self._stopped is not None or (for_s is not None and at >= self._began + for_s)

    def _ended(self) -> bool:
        if self._stopped is not None:
            return True
        return self._over(time.monotonic()) and self._under_way == 0

    def _finish(self) -> None:
        """Tell and keep what is left, within 5 s."""
        until = time.monotonic() + _LAST_WORDS_S
        self._outbox.flush()
        self._loop.at(until, lambda: None)

        def nothing_left() -> bool:
            writing = self._keeper is not None and self._keeper.writing
            return (self._outbox.empty and not writing) or time.monotonic() >= until

        self._loop.run(nothing_left)
        if not self._outbox.empty:
            self._note("Not everybody was told")
        if self._keeper is not None:
            self._keeper.finish()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Stop in order at the first signal, and at once at the second."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {}

        def stop(number: int, frame: object) -> None:
            if self._stopped is not None:
                raise KeyboardInterrupt
            self._stopped = Exit.INTERRUPTED if number == signal.SIGINT else Exit.TERMINATED
            self._loop.wake()

        for each in (signal.SIGINT, signal.SIGTERM):
            before[each] = signal.signal(each, stop)
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    # -- what is shown

    def _remember(self) -> None:
        """Take what the history has of each check, so that rules hold across a restart."""
        if self._keeper is not None:
            longest_s = max((rule.over_s for rule in self._call.environment.alerts), default=0.0)
            for sample in self._keeper.recent(longest_s):
                if sample.check in self._watched:
                    self._watched[sample.check].recent.add(sample)
            for (check, rule), state in self._keeper.restored().items():
                if check in self._watched:
                    self._watched[check].restore(rule, state)

    def _note(self, text: str) -> None:
        at = time.strftime("%H:%M:%S")
        self._notes = [*self._notes[-19:], f"{at} {text}"]
        if self._show is None:
            self._call.say(f"{at}  !        {text}")

    def _draw(self) -> None:
        if self._show is not None:
            report = picture(
                self._watched.values(),
                environment=self._call.name,
                notes=tuple(self._notes[-5:]),
                every_s=self._wanted.every_s,
            )
            self._show(report)


def _gap(check: str, due_at: float, reason: str) -> Sample:
    return Sample(check, due_at, due_at, None, None, "unknown", reason)
