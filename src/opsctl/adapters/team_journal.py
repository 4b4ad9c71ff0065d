"""The journal in a team's PostgreSQL: the server stamps, numbers and chains each row."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from opsctl.adapters.team_server import LeaseLost, NotApproved, TeamServer
from opsctl.core.approval import not_approved
from opsctl.core.journal import KINDS, Event, Row
from opsctl.core.lease import Fence, lease_lost

_COLUMNS = "seq, run, step, kind, at, actor, data, fence, db_user, hash"


class TeamJournal:
    """A journal that several machines write. Raises OpsError as TeamServer does."""

    def __init__(self, server: TeamServer) -> None:
        self._server = server

    def close(self) -> None:
        """Close the connection."""
        self._server.close()

    def append(
        self,
        run: str,
        kind: str,
        *,
        step: str | None,
        actor: str,
        data: Mapping[str, Any],
        fence: Fence | None = None,
    ) -> None:
        """Write one event, once; it is on disk when this returns.

        Raises OpsError `lease-lost` where the fence is no longer the environment's, and
        `not-approved` for the first step of a run that others must approve.
        """
        if kind not in KINDS:
            raise ValueError(f"unknown kind of event: {kind}")
        text = json.dumps(data, sort_keys=True)
        values = (
            uuid.uuid4().hex, fence.environment if fence else None,
            fence.number if fence else None, run, step, kind, actor, text,
        )  # fmt: skip
        try:
            self._server.rows("SELECT opsctl.append_event(%s, %s, %s, %s, %s, %s, %s, %s)", values)
        except LeaseLost:
            environment = fence.environment if fence else ""
            raise lease_lost(environment, "somebody else took it over, or freed it") from None
        except NotApproved as error:
            raise not_approved(run, str(error)) from None

    def events(self, run: str | None = None) -> tuple[Event, ...]:
        """Return the events of one run, or of all, in order."""
        return tuple(row.event for row in self._rows(run))

    def runs(self) -> tuple[str, ...]:
        """Return the ids of all runs, oldest first."""
        sql = "SELECT run FROM opsctl.event GROUP BY run ORDER BY min(seq)"
        return tuple(run for (run,) in self._server.rows(sql))

    def rows(self) -> tuple[Row, ...]:
        """Return every row as it is kept, in order."""
        return self._rows(None)

    def last_seq(self) -> int:
        """Return the number that was last given to a row, also where the row is gone."""
        return int(self._server.rows("SELECT seq FROM opsctl.journal_head")[0][0])

    def now(self) -> datetime:
        """Return the time by the server's clock."""
        found: datetime = self._server.rows("SELECT clock_timestamp()")[0][0]
        return found

    def user(self) -> str | None:
        """Return the database user, as the server knows him."""
        return str(self._server.rows("SELECT session_user::text")[0][0])

    def approvals_demanded(self, environment: str) -> int:
        """Return how many others approve a change of an environment, by the team's rule."""
        sql = "SELECT opsctl.approvals_demanded(%s)"
        return int(self._server.rows(sql, (environment,))[0][0])

    def _rows(self, run: str | None) -> tuple[Row, ...]:
        where, values = ("", ()) if run is None else ("WHERE run = %s", (run,))
        found = self._server.rows(
            f"SELECT {_COLUMNS} FROM opsctl.event {where} ORDER BY seq", values
        )
        return tuple(Row(*values) for values in found)
