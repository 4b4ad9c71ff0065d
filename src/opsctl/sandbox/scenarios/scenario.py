"""A scenario as data: how it breaks the sandbox, what is told, and what shows that it is mended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opsctl.sandbox.world import World

Strike = Callable[["World"], None]


def _nothing(world: World) -> None:
    """Prepare nothing."""


@dataclass(frozen=True)
class Look:
    """A command line of opsctl's own that tells whether it is mended."""

    line: str
    """As it would be typed."""
    about: str = ""
    """Regular expression for the titles of the findings that count; none: all do."""
    known: str = ""
    """Regular expression for the titles of what was wrong before, and does not count."""
    before: Strike = _nothing
    """What the application's people do just before the look: statistics need statements."""


@dataclass(frozen=True)
class Scenario:
    """One way to break the sandbox. Its solution is what its runbook says."""

    name: str
    title: str
    told: str
    """What the on-call engineer is told, and no more."""
    runbook: str
    """The name of the runbook that has the way out."""
    hints: tuple[str, ...]
    """From a nudge to the command itself."""
    solution: tuple[str, ...]
    """Command lines in order; opsctl's and git's."""
    looks: tuple[Look, ...]
    strike: Strike
    """Breaks it; the clock starts when this returns."""
    prepare: Strike = _nothing
    """What has to be there before."""
    well_before: bool = True
    """Whether the sandbox's own bad migration is mended first."""
    backed_up: bool = False
    """Whether a backup is taken first."""
    unchanged: bool = False
    """Whether the database's contents must be in the end what they were before the strike."""
