"""What `opsctl doctor` looks at in a team's state: rights, clock, leases, runs, approvals."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from opsctl.cli.doctor_findings import doubtful, of_error, unneeded, well, wrong
from opsctl.core.errors import OpsError
from opsctl.core.progress import duration

if TYPE_CHECKING:
    from opsctl.adapters.team_look import LeaseSeen, TeamLook
    from opsctl.core.call import Call
    from opsctl.core.report import Finding
    from opsctl.core.state_place import TeamState

_SKEW_S = 5.0
"""Leases do not mind; a person who reads the record does, and so do signed tokens, at minutes."""


def team(call: Call, place: TeamState) -> tuple[Finding, ...]:
    """Look at a team's state on one connection, and at the runs on it.

    Where it is not reached that is one finding, and all else is looked at.
    """
    from opsctl.adapters.team_look import look_at_team
    from opsctl.adapters.team_server import TeamServer

    server = TeamServer(place)
    try:
        began = time.monotonic()
        seen = look_at_team(server)
        took_ms = (time.monotonic() - began) * 1000
    except OpsError as error:
        return (of_error("state", "The team's state was not read", error),)
    finally:
        server.close()
    way = "through a pooler" if seen.pooled else "directly"
    evidence = f"PostgreSQL {seen.version} as {seen.user}, {way}, in {took_ms:.0f} ms"
    return (
        well("state", "The team's state answers", evidence),
        *judge_rights(seen),
        judge_clock(seen),
        *judge_leases(seen.leases),
        *judge_rules(call, seen),
    )


def judge_rights(seen: TeamLook) -> tuple[Finding, ...]:
    """Judge what the database user may do in the team's state."""
    if seen.operator and seen.keeper:
        return (
            doubtful(
                "state-rights",
                f"{seen.user} carries plans out and says who approves them",
                evidence="it may execute opsctl.set_approvals, or owns the state",
                remedy=f"work as a role of your own; REVOKE opsctl_keeper FROM {seen.user}",
            ),
        )
    if seen.operator:
        return (well("state-rights", f"{seen.user} may carry plans out"),)
    if seen.reader:
        role = "says how many approve" if seen.keeper else "reads the record"
        return (unneeded("state-rights", f"{seen.user} {role}", "it carries no plans out"),)
    return (
        wrong(
            "state-rights",
            f"{seen.user} may not read the team's state",
            evidence="it has none of its roles",
            remedy=f"as its owner: GRANT opsctl_operator TO {seen.user}, or opsctl_reader",
        ),
    )


def judge_clock(seen: TeamLook) -> Finding:
    """Compare this machine's clock with the server's."""
    size = abs(seen.ahead_s)
    side = "ahead of" if seen.ahead_s > 0 else "behind"
    text = f"{size:.2f} s {side} the server's, give or take {seen.unsure_s:.2f} s"
    if size - seen.unsure_s > _SKEW_S:
        return doubtful(
            "state-clock",
            "This machine's clock and that of the team's state differ",
            evidence=f"{text}; leases go by the server's alone",
            remedy="set both by NTP: sudo timedatectl set-ntp true",
        )
    return well("state-clock", "The clock is that of the team's state", text)


def judge_leases(leases: tuple[LeaseSeen, ...]) -> tuple[Finding, ...]:
    """Name who holds what, and what was left by a holder who is silent."""
    from opsctl.adapters.team_leases import LEASE_S

    found = []
    for each in leases:
        who = f"{each.holder}, database user {each.user}"
        if each.left_s <= 0:
            found.append(
                doubtful(
                    "locks",
                    f"The lease on {each.environment} ran out, and its holder did not end it",
                    evidence=f"{who}; silent for {duration(each.silent_s)}",
                    remedy=f"opsctl runs show {each.holder.run}; opsctl runs resume "
                    f"{each.holder.run} takes it over",
                )
            )
        elif each.silent_s > LEASE_S:
            found.append(
                doubtful(
                    "locks",
                    f"Who holds {each.environment} is silent",
                    evidence=f"{who}; no sign for {duration(each.silent_s)}, and it is his for "
                    f"{duration(each.left_s)} more",
                    remedy=f"if that machine is gone: opsctl runs unlock {each.holder.id} "
                    f"--env {each.environment}",
                )
            )
        else:
            found.append(well("locks", f"{each.environment} is held, and its holder lives", who))
    return tuple(found) or (well("locks", "No environment is held"),)


def judge_rules(call: Call, seen: TeamLook) -> tuple[Finding, ...]:
    """Name each environment whose approvals nobody but its own settings demands."""
    rules = dict(seen.rules)
    bare = [
        name
        for name, environment in call.settings.environments.items()
        if environment.approvals > rules.get(name, rules.get("*", 0))
    ]
    if not bare:
        demanded = ", ".join(
            f"{'all others' if name == '*' else name}: {others}" for name, others in seen.rules
        )
        return (well("approval-rules", "Approvals are demanded by the team, not by settings",
                     demanded or "none are"),)  # fmt: skip
    name = bare[0]
    others = call.settings.environments[name].approvals
    return (
        doubtful(
            "approval-rules",
            f"The approvals of {name} are demanded by these settings alone",
            evidence=f"approvals: {others} here, {rules.get(name, rules.get('*', 0))} in the "
            "team's state: whoever edits his own settings needs none",
            remedy=f"as opsctl_keeper: opsctl state approvals {others} --env {name}",
        ),
    )
