"""One look at one check: when it was due, when it began, how long it took and what it was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SampleStatus = Literal["pass", "warn", "fail", "unknown"]
"""`unknown` is for what could not look: the own machine offline or asleep, or a run cut off."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What history keeps of one look."""

    check: str
    due_at: float
    """When the schedule wanted it, epoch seconds UTC."""
    began_at: float
    """When it really began; later than `due_at` when this machine was late."""
    took_ms: float | None
    """From `due_at` to the end of the answer: what somebody who asked on time waited, so that
    a late start hides no slowness. None when there was no answer to time."""
    own_ms: float | None
    """From `began_at` to the end of the answer."""
    status: SampleStatus
    reason: str = ""
    """Stable, kebab-case, empty when all is well: `timeout`, `refused`, `wrong-status`, ..."""
    http_status: int | None = None
