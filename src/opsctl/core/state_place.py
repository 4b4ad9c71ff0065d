"""Where the state is kept: a file of this machine, or a PostgreSQL that a team shares."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

TEAM_SCHEMA = 3
"""The version of a team's tables and functions that this opsctl knows: it goes up with every
change of them. 3 brought the rule for approvals, and looking at the version at all."""

_ADDRESS = re.compile(r"postgres(ql)?://")
_PASSWORD = re.compile(r"(?<=:)(?!//)[^@]*@")
_REFERENCE = re.compile(r"(env|file|keyring|cmd):")


@dataclass(frozen=True)
class TeamState:
    """A PostgreSQL: its address without a password, or the secret reference to its address."""

    reference: str
    patient: bool = field(default=True, compare=False)
    """Whether a server that is not reached is tried for some seconds: a look does not wait."""

    def __str__(self) -> str:
        return _PASSWORD.sub("***@", self.reference)


StatePlace = Path | TeamState


def state_place(root: Path, state: str, *, patient: bool = True) -> StatePlace:
    """Return the place that the setting `state` names; a path starts at the root."""
    if is_shared(state):
        return TeamState(state, patient)
    return root / state


def is_shared(state: str) -> bool:
    """Whether a setting `state` names a PostgreSQL, and no file."""
    return bool(_ADDRESS.match(state) or _REFERENCE.match(state))
