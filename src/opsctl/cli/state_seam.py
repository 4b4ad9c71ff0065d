"""The one place where the journal and the locks are chosen: files, or a team's PostgreSQL.

The engine knows what both can do (`core.journal`, `core.lease`), and neither of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsctl.core.state_place import TeamState

if TYPE_CHECKING:
    from opsctl.core.journal import Journal
    from opsctl.core.lease import Locks
    from opsctl.core.state_place import StatePlace


def open_journal(place: StatePlace) -> Journal:
    """Return the journal at a place; opening it makes nothing."""
    if isinstance(place, TeamState):
        from opsctl.adapters.team_journal import TeamJournal
        from opsctl.adapters.team_server import TeamServer

        return TeamJournal(TeamServer(place))
    from opsctl.engine.store import SqliteJournal

    return SqliteJournal(place)


def open_locks(place: StatePlace) -> Locks:
    """Return the locks at a place: leases of a team, or files beside the state file."""
    if isinstance(place, TeamState):
        from opsctl.adapters.team_leases import TeamLeases
        from opsctl.adapters.team_server import TeamServer

        return TeamLeases(TeamServer(place))
    from opsctl.engine.lock import FileLocks

    return FileLocks(place.parent / "locks")
