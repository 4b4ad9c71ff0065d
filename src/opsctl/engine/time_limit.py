"""How long an action can take at most: for so long its lease must last before it begins."""

from __future__ import annotations

from opsctl.core.action import Action, Command, Query, Request

_CONNECT_S = 10.0
_GRACE_S = 2.0
"""What ending a program that overran takes, and whatever else is not counted."""


def time_limit_s(action: Action) -> float:
    """Return the most that an action can take, in s; a person's own time is not limited.

    PostgreSQL counts the wait for a lock as part of a statement's time.
    """
    if isinstance(action, (Command, Request)):
        return action.timeout_s + _GRACE_S
    if isinstance(action, Query):
        attempts = max(action.lock_attempts, 1)
        once = _CONNECT_S + len(action.statements) * action.statement_timeout_s
        pauses = sum(action.lock_pause_s * 2.0**number for number in range(attempts - 1))
        return attempts * once + pauses + _GRACE_S
    return 0.0
