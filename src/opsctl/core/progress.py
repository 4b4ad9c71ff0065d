"""How far long work is, said now and then, with an estimate of what is left."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_EVERY_S = 3.0


class Progress:
    """Counts units of one piece of work; safe to tell from several threads.

    It says what the work is `at_once`, or not before there is something to say of it.
    """

    def __init__(
        self, say: Callable[[str], None], what: str, total: int, *, at_once: bool = True
    ) -> None:
        self._say = say
        self._what = what
        self._total = total
        self._done = 0
        self._began = self._said = time.monotonic()
        self._lock = threading.Lock()
        if at_once:
            say(what)

    def add(self, units: int) -> None:
        """Say that so many more units are done."""
        with self._lock:
            self._done = min(self._done + units, self._total)
            now = time.monotonic()
            if now - self._said < _EVERY_S or not self._total:
                return
            self._said = now
            share = self._done / self._total
        left = ""
        if share > 0.02:
            seconds = (now - self._began) * (1 - share) / share
            left = f", about {duration(seconds)} left"
        self._say(f"{self._what}: {share:.0%}{left}")


def duration(seconds: float) -> str:
    """Return a duration as a person says it: `0.4 s`, `75 s`, `12 min`, `3.5 h`, `9 days`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.0f} days"


def size(count: int) -> str:
    """Return a number of bytes as a person says it: `512 B`, `1.4 MB`, decimal units."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return (
                f"{amount:.0f} {unit}" if unit == "B" or amount >= 100 else f"{amount:.1f} {unit}"
            )
        amount /= 1000
    return f"{amount:.1f} TB"
