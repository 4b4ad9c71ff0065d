"""What is said of alerts, and the box that messages wait in until they are taken."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opsctl.adapters.notify import Message, channel_names, tell
from opsctl.core.progress import duration

if TYPE_CHECKING:
    from opsctl.adapters.event_loop import EventLoop
    from opsctl.areas.healthcheck.alerts import Event
    from opsctl.core.settings import Channels

_TOGETHER_S = 2.0
"""Events that come within this are one message: an outage is not five hundred."""
_MOST_LINES = 20
_MOST_WAITING = 100
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 15.0, 600.0
_SHARES = frozenset({"error_rate", "database_connections", "memory", "disk"})


def sentence(event: Event) -> str:
    """Return what happened in a line."""
    rule, took = event.rule, duration(max(event.at - event.since, 0.0))
    what = f"{event.check}: {rule.name}"
    value = _value(event)
    if event.kind == "began":
        since = f", for {took}" if rule.for_s else ""
        return f"{what}{value}{since}"
    if event.kind == "lasts":
        return f"{what}{value}, still, after {took}"
    if event.kind == "ended":
        return f"{what} is over after {took}"
    if event.kind == "flapping":
        return f"{what} comes and goes; nothing more is told until it keeps still"
    state = "it lasts" if event.value is not None and event.value > rule.above else "it is over"
    return f"{what} keeps still again: {state}"


def message(events: Sequence[Event], *, environment: str) -> Message:
    """Return one message for some events."""
    begun = [each for each in events if each.kind in ("began", "lasts")]
    over = [each for each in events if each.kind == "ended"]
    if len(events) == 1:
        title = f"[{environment}] {sentence(events[0])}"
    else:
        counts = [(len(begun), "alert"), (len(over), "recovery"),
                  (len(events) - len(begun) - len(over), "flapping")]  # fmt: skip
        said = ", ".join(f"{count} {name}" for count, name in counts if count)
        title = f"[{environment}] {said}"
    lines = [sentence(each) for each in events[:_MOST_LINES]]
    if len(events) > _MOST_LINES:
        lines.append(f"and {len(events) - _MOST_LINES} more")
    at = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    return Message(title, "\n".join([*lines, f"seen by opsctl at {at}"]))


@dataclass
class _Waiting:
    message: Message
    channels: tuple[str, ...]
    """Those that have not taken it yet."""
    pause_s: float


class Outbox:
    """Sends events together, in a thread, and again where a channel did not take them."""

    def __init__(
        self,
        loop: EventLoop,
        channels: Channels,
        *,
        environment: str,
        say: Callable[[str], None],
        pause_s: float = _FIRST_PAUSE_S,
    ) -> None:
        self._pause_s = pause_s
        self._loop = loop
        self._channels = channels
        self._environment = environment
        self._say = say
        self._events: list[Event] = []
        self._waiting: deque[_Waiting] = deque(maxlen=_MOST_WAITING)
        self._sending = 0

    @property
    def empty(self) -> bool:
        """Whether nothing is left to be sent."""
        return not self._events and not self._waiting and not self._sending

    def add(self, event: Event) -> None:
        """Send an event soon, with those that come with it."""
        self._events.append(event)
        if len(self._events) == 1:
            self._loop.at(time.monotonic() + _TOGETHER_S, self.flush)

    def flush(self) -> None:
        """Send what has come so far."""
        if self._events:
            events, self._events = self._events, []
            named = channel_names(self._channels)
            made = message(events, environment=self._environment)
            self._send(_Waiting(made, named, self._pause_s))

    def _send(self, waiting: _Waiting) -> None:
        self._sending += 1

        def work() -> None:
            failed = tell(self._channels, waiting.message, only=waiting.channels)
            self._loop.from_thread(lambda: self._sent(waiting, failed))

        self._loop.in_thread(work)

    def _sent(self, waiting: _Waiting, failed: dict[str, str]) -> None:
        self._sending -= 1
        for name, why in failed.items():
            self._say(f"{name} was not told: {why}; again in {duration(waiting.pause_s)}")
        if failed:
            waiting.channels = tuple(failed)
            self._waiting.append(waiting)
            self._loop.at(time.monotonic() + waiting.pause_s, lambda: self._again(waiting))
            waiting.pause_s = min(waiting.pause_s * 2, _LONGEST_PAUSE_S)

    def _again(self, waiting: _Waiting) -> None:
        if waiting in self._waiting:
            self._waiting.remove(waiting)
            self._send(waiting)


def _value(event: Event) -> str:
    metric, limit = event.rule.metric, event.rule.above
    if metric == "failure" or event.value is None:
        return ""
    if metric in _SHARES:
        return f" at {event.value:.1%}, above {limit:.1%}"
    return f" at {event.value:.0f} ms, above {limit:.0f} ms"
