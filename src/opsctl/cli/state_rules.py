"""How many others approve a change, as a team's state demands it: its keepers say so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsctl.core.errors import Exit, OpsError
from opsctl.core.report import Report
from opsctl.core.state_place import TeamState

if TYPE_CHECKING:
    from opsctl.adapters.team_server import TeamServer
    from opsctl.core.state_place import StatePlace

ELSEWHERE = "*"
"""Stands for every environment that has no number of its own."""


def demand_approvals(place: StatePlace, environment: str, others: int) -> Report:
    """Demand so many approvals from now on; what was demanded before stays on record.

    Raises OpsError `not-shared` (exit 2) where the state is a file, `not-keeper` (exit 3).
    """
    if not isinstance(place, TeamState):
        raise OpsError(
            "Nobody else could approve what is planned here",
            why=f"the state is the file {place}, which whoever runs a command can write himself",
            hint="share the state: runbooks/team.md",
            code="not-shared",
        )
    from opsctl.adapters.team_server import TeamServer

    server = TeamServer(place)
    before = read_rules(server)
    try:
        server.rows("SELECT opsctl.set_approvals(%s, %s)", (environment, others))
    except OpsError as error:
        if error.code != "state-forbidden":
            raise
        raise OpsError(
            "How many approve a change is not yours to say",
            why=error.why,
            hint="GRANT opsctl_keeper TO the role of somebody who carries no plans out",
            code="not-keeper",
            exit=Exit.UNKNOWN,
        ) from None
    where = "every other environment" if environment == ELSEWHERE else environment
    return Report(
        command="state approvals",
        title=f"Changes of {where} are approved by {others} others",
        notes=(
            "It holds from now on, also for what is planned and has not begun.",
            "A setting `approvals` can ask for more, not for fewer.",
        ),
        data={"environment": environment, "approvals": others, "before": before.get(environment)},
    )


def read_rules(server: TeamServer) -> dict[str, int]:
    """Return what a team's state demands now, by environment; `*` stands for all others."""
    found = server.rows(
        "SELECT DISTINCT ON (environment) environment, approvals FROM opsctl.approval_rule "
        "ORDER BY environment, seq DESC"
    )
    return {str(environment): int(approvals) for environment, approvals in found}
