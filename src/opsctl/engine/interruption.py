"""Ctrl-C while a plan is carried out: the first waits for the step, the second is obeyed."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager


class Interruption:
    """The signal that asked for an end, if one did."""

    signal: int | None = None


@contextmanager
def gently_interrupted() -> Iterator[Interruption]:
    """Let the first SIGINT or SIGTERM wait for the step; the second acts at once."""
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return

    def note(number: int, frame: object) -> None:
        if interruption.signal is not None:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        interruption.signal = number

    with ExitStack() as stack:
        for number in (signal.SIGINT, signal.SIGTERM):
            old = signal.signal(number, note)
            stack.callback(signal.signal, number, old)
        yield interruption
