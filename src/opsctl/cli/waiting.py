"""The plans that wait for somebody's approval, for `opsctl status` and `opsctl doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from opsctl.core.progress import duration

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opsctl.engine.run import Engine, RunSummary


@dataclass(frozen=True)
class Waiting:
    """A run that waits, and what it waits for."""

    run: RunSummary
    given: int
    needed: int
    age_s: float
    stale: bool
    """Whether it is too old to be approved."""

    @property
    def title(self) -> str:
        """What is said of it."""
        if self.given >= self.needed:
            return f"Approved, not begun: opsctl {self.run.command}, {self.run.run}"
        return f"Waits for approval: opsctl {self.run.command}, {self.run.run}"

    @property
    def evidence(self) -> str:
        """What that rests on."""
        return (
            f"{self.run.environment}: {self.given} of {self.needed} approvals; planned "
            f"{duration(self.age_s)} ago by {self.run.actor}"
        )

    @property
    def remedy(self) -> str:
        """What ends it."""
        if self.given >= self.needed:
            return f"opsctl runs resume {self.run.run}"
        if self.stale:
            return f"too old to be approved: opsctl {self.run.command} plans it anew"
        return f"somebody else than {self.run.actor}: opsctl runs approve {self.run.run}"


def waiting_runs(engine: Engine, runs: Iterable[RunSummary]) -> tuple[Waiting, ...]:
    """Return those of the runs that wait, oldest first. Raises OpsError as the engine does."""
    from opsctl.core.approval import REQUEST_S

    found = []
    for run in runs:
        if run.state == "waiting":
            given, needed, age_s = engine.approvals_of(run.run)
            found.append(Waiting(run, given, needed, age_s, age_s > REQUEST_S))
    return tuple(found)
