"""Whether this machine slept, or somebody set its clock: told by comparing its three clocks."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

_NOTICED_S = 2.0
_SLEEP_GUESSED_S = 60.0
"""Without a clock that runs on in sleep, a leap this far forward is taken for one."""


def boot_time() -> float | None:
    """Return a clock that runs on while the machine sleeps; None where there is none."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return None if clock is None else time.clock_gettime(clock)


@dataclass(frozen=True)
class Leap:
    """What happened between two looks at the clocks."""

    slept_s: float = 0.0
    set_s: float = 0.0
    """How far the clock was set; negative: back."""


class Clocks:
    """Looks at the clocks again and again."""

    def __init__(
        self,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        boot: Callable[[], float | None] = boot_time,
    ) -> None:
        self._clocks = (monotonic, wall, boot)
        self._last = self._read()

    def look(self) -> Leap:
        """Return what happened since the last look."""
        before, now = self._last, self._read()
        self._last = now
        ran_s = now[0] - before[0]
        wall_ahead_s = (now[1] - before[1]) - ran_s
        if before[2] is not None and now[2] is not None:
            slept_s = (now[2] - before[2]) - ran_s
        else:
            slept_s = wall_ahead_s if wall_ahead_s > _SLEEP_GUESSED_S else 0.0
        slept_s = slept_s if slept_s > _NOTICED_S else 0.0
        set_s = wall_ahead_s - slept_s
        return Leap(slept_s, set_s if abs(set_s) > _NOTICED_S else 0.0)

    def _read(self) -> tuple[float, float, float | None]:
        monotonic, wall, boot = self._clocks
        return monotonic(), wall(), boot()
