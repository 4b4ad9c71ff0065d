"""Refuse a change while the settings say that nothing is changed, unless a reason is given."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from opsctl.core.approval import needs_approval
from opsctl.core.errors import OpsError

if TYPE_CHECKING:
    from opsctl.cli.shared import Shared
    from opsctl.core.call import Call
    from opsctl.core.plan import Plan

_TOLD = "_OPSCTL_OVERRIDE_FREEZE"
"""How the commands that a runbook's plan is made of are told the reason."""


def override_of(plan: Plan, call: Call, shared: Shared, *, again: str) -> dict[str, Any]:
    """Return what is kept with the approval where a freeze is overridden; nothing without one.

    A look, a backup, a message and what takes a run back are never frozen. Raises OpsError
    `frozen` (exit 5), `no-reason` (exit 2).
    """
    reason = _reason(shared)
    if not needs_approval(plan) or "undoes" in plan.facts:
        return {}
    settings = call.settings.environments.get(plan.environment)
    if settings is None or not settings.freezes:
        return {}
    from opsctl.core.freezes import frozen, is_frozen

    held = frozen(settings.freezes, time.time())
    if held is None:
        return {}
    if reason is None:
        raise is_frozen(held, environment=plan.environment, again=again)
    return {"override_freeze": {"reason": reason, "freeze": held.to_json()}}


def say_if_frozen(call: Call, shared: Shared) -> None:
    """Say at once what a change will be refused for, before a plan is worked out.

    Whether it changes anything is known once there is a plan, and so is whether it is refused.
    """
    if call.environment_name is None or _reason(shared) is not None:
        return
    rules = call.environment.freezes
    if not rules:
        return
    from opsctl.core.freezes import frozen
    from opsctl.core.times import format_moment

    held = frozen(rules, time.time())
    if held is not None:
        call.say(
            f"{call.name} is frozen until {format_moment(held.ends_at)} ({held.name}): "
            "a change needs --override-freeze REASON"
        )


def told_to_override(shared: Shared) -> dict[str, str]:
    """Return the variables that tell the reason to commands of opsctl's own."""
    reason = _reason(shared)
    return {} if reason is None else {_TOLD: reason}


def _reason(shared: Shared) -> str | None:
    if shared.override_freeze is None:
        return os.environ.get(_TOLD)
    reason = " ".join(shared.override_freeze.split())
    if not reason:
        raise OpsError(
            "--override-freeze gives no reason",
            why="the reason is what is asked for later",
            hint="--override-freeze 'sign-in is down for everybody'",
            code="no-reason",
        )
    return reason
