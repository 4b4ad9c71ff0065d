"""What the front door hands to a room: where it was called for, and how to say what it does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from opsctl.core.errors import OpsError

if TYPE_CHECKING:
    from opsctl.core.report import Report
    from opsctl.core.settings import Environment, Settings
    from opsctl.core.state_place import StatePlace


@dataclass(frozen=True)
class RunAgain:
    """What a room returns that wants an earlier run of its own resumed or undone."""

    run: str
    how: Literal["resume", "undo"]


@dataclass(frozen=True)
class Call:
    """One call of a command. A room's command takes it first and returns a Plan or a Report."""

    settings: Settings
    root: Path
    """Absolute; the directory that relative paths of the settings start from."""
    environment_name: str | None
    say: Callable[[str], None]
    """Show one line of progress on stderr; dropped under --quiet."""
    origins: Mapping[str, str] = field(default_factory=dict)
    """Dotted path of each setting that was given -> where."""
    environment_origin: str = ""
    """What chose the environment, for a person: `--env`, a variable, `file:line`."""
    screen: Callable[[], AbstractContextManager[Callable[[Report], None]]] | None = None
    """Opens a screen on stderr that shows one report in the place of the last; None where no
    terminal is there to show it."""
    ask: Callable[[str], str] | None = None
    """Puts one question to the person; None where nobody is there to answer."""
    patient: bool = True
    """Whether a team's state that is not reached is tried for some seconds."""

    @property
    def name(self) -> str:
        """The environment's name; raises OpsError `no-environment` where none was chosen."""
        if self.environment_name is None:
            known = ", ".join(self.settings.environments) or "none"
            raise OpsError(
                "No environment was chosen",
                why=f"the settings have these environments: {known}",
                hint="add --env NAME, or start one to try things in: opsctl sandbox up",
                code="no-environment",
            )
        return self.environment_name

    @property
    def environment(self) -> Environment:
        """The environment's settings; raises OpsError `no-environment`."""
        return self.settings.environments[self.name]

    @property
    def state(self) -> StatePlace:
        """Where journal, locks and history are kept."""
        from opsctl.core.state_place import state_place

        return state_place(self.root, self.settings.state, patient=self.patient)

    @property
    def project(self) -> Path:
        """The application's directory, absolute."""
        return self.root / self.environment.project
