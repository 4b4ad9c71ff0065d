"""Whether this machine itself is offline: then a way that failed says nothing of a server."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from opsctl.adapters.dialing import Failed, Race, Resolver, has_route

if TYPE_CHECKING:
    import socket

    from opsctl.adapters.dialing import Found
    from opsctl.adapters.event_loop import EventLoop

_FRESH_S = 30.0
"""Who was reached so lately proves that this machine is online."""
_REMEMBERED_S = 5.0
_WAIT_S = 3.0


class Surroundings:
    """Answers one question: is this machine offline?

    It is where it has no route at all. Where nobody else was reached lately and the settings
    name witnesses, it is when none of them answers either.
    """

    def __init__(self, loop: EventLoop, *, witnesses: Sequence[str] = ()) -> None:
        self._loop = loop
        self._resolver = Resolver(loop)
        self._witnesses = witnesses
        self._heard_at = float("-inf")
        self._known: tuple[float, bool] = (float("-inf"), False)
        self._waiting: list[Callable[[bool], None]] = []
        self._races: list[Race] = []
        self._left = 0

    def heard(self, somebody: bool) -> None:
        """Note that somebody beyond this machine answered."""
        if somebody:
            self._heard_at = time.monotonic()

    def ask(self, then: Callable[[bool], None]) -> None:
        """Call `then` with whether this machine is offline, at once or within 3 s."""
        now = time.monotonic()
        if not has_route(v6=False) and not has_route(v6=True):
            then(True)
        elif now - self._heard_at < _FRESH_S or not self._witnesses:
            then(False)
        elif now - self._known[0] < _REMEMBERED_S:
            then(self._known[1])
        else:
            self._waiting.append(then)
            if len(self._waiting) == 1:
                self._ask_witnesses()

    def _ask_witnesses(self) -> None:
        self._left = len(self._witnesses)
        self._timer = self._loop.at(time.monotonic() + _WAIT_S, lambda: self._decide(True))
        for witness in self._witnesses:
            host, _, port = witness.rpartition(":")
            self._resolver.look_up(host.strip("[]"), int(port), then=self._found)

    def _found(self, found: Found) -> None:
        if isinstance(found, Failed):
            self._lost()
        else:
            self._races.append(Race(self._loop, found, done=self._raced))

    def _raced(self, result: socket.socket | Failed, address: str) -> None:
        # Who refuses is there.
        if not isinstance(result, Failed):
            result.close()
        elif result.reason not in ("refused", "reset"):
            self._lost()
            return
        self.heard(True)
        self._decide(False)

    def _lost(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._decide(True)

    def _decide(self, offline: bool) -> None:
        if not self._waiting:
            return
        self._timer.cancel()
        for race in self._races:
            race.cancel()
        self._races.clear()
        self._known = (time.monotonic(), offline)
        waiting, self._waiting = self._waiting, []
        for then in waiting:
            then(offline)
