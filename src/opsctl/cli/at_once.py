"""Several looks at once, within one time limit: one that hangs holds up nobody."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from opsctl.core.errors import OpsError

T = TypeVar("T")


@dataclass(frozen=True)
class Answer(Generic[T]):
    """What became of one look: a value, an error, or neither in time."""

    value: T | None
    error: Exception | None
    took_ms: float

    @property
    def late(self) -> bool:
        """Whether it had not ended when the time was up."""
        return self.value is None and self.error is None


def at_once(looks: Mapping[str, Callable[[], T]], *, within_s: float) -> dict[str, Answer[T]]:
    """Return what each look came to, in order; those not back `within_s` seconds are late.

    A late one goes on in a thread that does not keep the program from ending. A look returns
    something else than None. Raises OpsError `usage` (exit 2) for a time that is no number.
    """
    if within_s != within_s:
        raise OpsError(
            "The time limit was not understood",
            why=f"{within_s} is no number of seconds",
            hint="--within 5",
            code="usage",
        )
    answers: dict[str, Answer[T]] = {}
    began = time.monotonic()

    def run(name: str, look: Callable[[], T]) -> None:
        started = time.monotonic()
        value: T | None = None
        error: Exception | None = None
        try:
            value = look()
        except Exception as raised:  # noqa: BLE001 - handed on to whoever asked
            error = raised
        answers[name] = Answer(value, error, (time.monotonic() - started) * 1000)

    threads = {
        name: threading.Thread(target=run, args=(name, look), daemon=True, name=name)
        for name, look in looks.items()
    }
    for thread in threads.values():
        thread.start()
    for thread in threads.values():
        thread.join(max(began + within_s - time.monotonic(), 0.0))
    late = Answer[T](None, None, within_s * 1000)
    return {name: answers.get(name, late) for name in looks}
