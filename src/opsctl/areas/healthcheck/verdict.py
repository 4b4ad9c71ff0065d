"""What one look at one check came to: its sample, its findings and what it measured."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from opsctl.core.report import Finding, Severity, Status
from opsctl.core.sample import Sample, SampleStatus


@dataclass(frozen=True)
class Verdict:
    """One look, judged."""

    sample: Sample
    findings: tuple[Finding, ...]
    metrics: Mapping[str, float] = field(default_factory=dict)
    """What alert rules ask for: `database_connections`, `memory` and `disk`, shares in use."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """The same for machines."""
    reached: bool = False
    """Whether somebody beyond this machine answered, so that it is not offline."""


@dataclass(frozen=True)
class Moment:
    """When a look was due, began and ended, of `time.monotonic`."""

    due: float
    began: float
    ended: float

    @property
    def took_ms(self) -> float:
        """From when it was due."""
        return (self.ended - self.due) * 1000

    def sample(
        self,
        check: str,
        status: SampleStatus,
        reason: str = "",
        *,
        http_status: int | None = None,
        timed: bool = True,
    ) -> Sample:
        """Return the sample; one that could not look is not `timed`."""
        timed = timed and status != "unknown"
        return Sample(
            check=check,
            due_at=wall_time(self.due),
            began_at=wall_time(self.began),
            took_ms=self.took_ms if timed else None,
            own_ms=(self.ended - self.began) * 1000 if timed else None,
            status=status,
            reason=reason,
            http_status=http_status,
        )


def wall_time(monotonic: float) -> float:
    """Return a time of `time.monotonic` as seconds since 1970, by what the clock says now."""
    return time.time() - (time.monotonic() - monotonic)


def sample_status(findings: tuple[Finding, ...]) -> SampleStatus:
    """Return what findings add up to."""
    grave = [each for each in findings if each.severity is Severity.ERROR]
    if any(each.status is Status.FAILED for each in grave):
        return "fail"
    if any(each.status is Status.UNKNOWN for each in grave):
        return "unknown"
    return "warn" if any(each.status is not Status.OK for each in findings) else "pass"
