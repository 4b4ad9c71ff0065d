"""Two people for one plan: who asked, who approved exactly this plan, and whether that still holds.

An approval names the plan's SHA-256, is another person's than the one who asked, and expires.
People are told apart by the database users that the server knows them by: a name that a machine
gives itself proves nothing. How many it takes is the greater of what the team's state demands,
which its keepers set, and of the setting `approvals`, which whoever runs a command may edit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from opsctl.core.errors import Exit, OpsError
from opsctl.core.journal import Event
from opsctl.core.plan import Plan

APPROVAL_S = 4 * 3600.0
"""A run begins within so long of its approval; once begun it may be finished at any time."""
REQUEST_S = 24 * 3600.0
"""After so long what was planned is too old to be approved: plan it anew."""
HOW = "runs approve"


@dataclass(frozen=True)
class Standing:
    """What the events of a run say of its approvals."""

    author: Event
    approvers: tuple[Event, ...]
    """One event for each other person whose approval holds, the first of each."""
    expired: int
    """Approvals that held once."""


def needs_approval(plan: Plan) -> bool:
    """Whether a plan changes the environment; looks, backups and messages do not."""
    return any(step.action is not None and step.undo is not None for step in plan.steps)


def standing(events: Sequence[Event], plan: Plan, *, now: datetime) -> Standing:
    """Return who asked and whose approvals hold now, by the journal's clock."""
    author = events[0]
    holding: dict[str | None, Event] = {}
    expired = 0
    for event in events:
        if event.kind != "approved" or event.data.get("how") != HOW:
            continue
        if event.data.get("plan_hash") != plan.hash or is_same_person(event, author):
            continue
        if (now - datetime.fromisoformat(event.at)).total_seconds() > APPROVAL_S:
            expired += 1
        else:
            holding.setdefault(event.user, event)
    return Standing(author, tuple(holding.values()), expired)


def is_same_person(one: Event, other: Event) -> bool:
    """Whether two events may be one person's: of the same database user, or of the same name."""
    return one.user is None or one.user == other.user or one.actor == other.actor


def refuse_unapproved(
    run: str, events: Sequence[Event], plan: Plan, *, now: datetime, needed: int
) -> None:
    """Raise OpsError `not-approved` (exit 5) for a run that may not begin yet.

    A run that has begun may be finished.
    """
    if any(event.kind == "started" for event in events):
        return
    found = standing(events, plan, now=now)
    if len(found.approvers) >= needed:
        return
    why = f"{len(found.approvers)} of {needed} approvals by others than {found.author.actor}"
    if found.expired:
        why += f"; {found.expired} expired after {APPROVAL_S / 3600:g} h"
    raise not_approved(run, why)


def not_approved(run: str, why: str) -> OpsError:
    """Return the error for a run that others have not approved yet."""
    return OpsError(
        "Nothing was changed: the plan is not approved",
        why=why,
        hint=f"another person runs: opsctl runs approve {run}",
        code="not-approved",
        exit=Exit.REFUSED,
    )


def refuse_approving(
    run: str, events: Sequence[Event], plan: Plan, *, now: datetime, user: str | None, actor: str
) -> None:
    """Raise OpsError (exit 5) where this person may not approve this run, or nobody may."""
    author = events[0]
    kinds = {event.kind for event in events}
    if kinds & {"started", "finished", "aborted"}:
        why, hint, code = "it has begun already", f"opsctl runs show {run}", "run-begun"
    elif (now - datetime.fromisoformat(author.at)).total_seconds() > REQUEST_S:
        why = f"it was planned at {author.at}, and the world has moved on"
        hint, code = f"plan it anew: opsctl {plan.command} --env {plan.environment}", "plan-old"
    elif user is None:
        why = "the state is a file, which whoever asks can write himself"
        hint, code = "share the state: runbooks/team.md", "approvals-need-team"
    elif author.user == user or author.actor == actor:
        why = f"it was planned by {author.actor}, database user {author.user}: the same person"
        hint, code = "another person, with a database user of his own, approves", "own-plan"
    else:
        return
    raise OpsError(
        f"The run {run} was not approved", why=why, hint=hint, code=code, exit=Exit.REFUSED
    )


def not_requested(plan: Plan) -> OpsError:
    """Return the error for beginning at once what others must approve."""
    return OpsError(
        "Nothing was changed: the plan is not approved",
        why=f"changes of {plan.environment} are approved by others: opsctl state show",
        hint=f"ask for it by: opsctl {plan.command} --env {plan.environment}",
        code="not-approved",
        exit=Exit.REFUSED,
    )


def approvals_need_team(environment: str) -> OpsError:
    """Return the error for approvals that nobody else could give."""
    return OpsError(
        f"Nobody else can approve what is planned for {environment}",
        why="approvals are demanded there, and the state is a file of this machine",
        hint="share the state, state: env:OPSCTL_STATE_URL (runbooks/team.md), or set approvals: 0",
        code="approvals-need-team",
    )
