"""Which credentials were changed or revoked since a deployment was built: it has the old ones."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opsctl.adapters.journal_runs import JournalRuns
from opsctl.adapters.supabase_keys import SupabaseKeys
from opsctl.adapters.vercel import Deployment, Variable, VercelApi
from opsctl.areas.rollback.app_facts import age
from opsctl.core.errors import Exit, OpsError

if TYPE_CHECKING:
    from opsctl.core.call import Call

_NAMED = 8
_CREDENTIAL = re.compile(
    r"KEY|TOKEN|SECRET|PASS|PWD|CREDENTIAL|PRIVATE|DSN|DATABASE_URL|DIRECT_URL|POSTGRES|"
    r"CONNECTION|WEBHOOK|JWT|AUTH|CERT|SIGNING|ANON|SERVICE_ROLE"
)
_LEGACY = re.compile(r"ANON|SERVICE_ROLE")


@dataclass(frozen=True)
class CredentialFit:
    """What changed in production's variables since a deployment was built."""

    credentials: tuple[str, ...]
    """Changed variables that look like credentials, with how long ago, a line each."""
    others: tuple[str, ...]
    """Changed variables that do not."""
    notes: tuple[str, ...]
    """What makes it worse, or could not be asked."""
    unread: bool
    """Whether the variables could not be asked at all."""


def judge_credentials(
    call: Call, api: VercelApi, target: Deployment, *, now_ms: int
) -> CredentialFit:
    """Compare when production's variables were last written with when a deployment was built."""
    try:
        found = api.variables()
    except OpsError as error:
        return CredentialFit((), (), (f"{error.what}: {error.why}.",), unread=True)
    changed = [
        each
        for each in found.variables
        if "production" in each.targets
        and each.updated_ms is not None
        and each.updated_ms > target.created_ms
    ]
    notes = []
    if found.hidden:
        notes.append(
            f"Vercel hides {found.hidden} production variables from this token: whether they "
            "were changed is not known."
        )
    credentials = [each for each in changed if _is_credential(each)]
    if any(_LEGACY.search(each.name) for each in credentials):
        notes += _legacy_notes(call)
    notes += _ended_since(call, target)
    return CredentialFit(
        tuple(_line(each, now_ms=now_ms) for each in credentials),
        tuple(_line(each, now_ms=now_ms) for each in changed if each not in credentials),
        tuple(notes),
        unread=False,
    )


def refusal(fit: CredentialFit, target: Deployment, *, now_ms: int) -> OpsError | None:
    """Return the error that stops a roll-back to these credentials, or None."""
    if fit.unread:
        return OpsError(
            "It is not known whether the target still has working credentials",
            why=" ".join(fit.notes),
            hint="mend that, or go on without knowing: --accept-credentials",
            code="credentials-unknown",
            exit=Exit.UNKNOWN,
        )
    if not fit.credentials:
        return None
    count = len(fit.credentials)
    rest = f"\nand {count - _NAMED} more" if count > _NAMED else ""
    lines = "\n".join((*fit.credentials[:_NAMED],)) + rest
    worse = "\n" + "\n".join(fit.notes) if fit.notes else ""
    return OpsError(
        f"{target.id} would come back with old credentials",
        why=f"it was built {age(target.created_ms, now_ms=now_ms)} ago and has the variables of "
        f"then; since then these were changed:\n{lines}{worse}",
        hint="do the old ones still work? Then add --accept-credentials; if not, build the old "
        "commit anew with today's: opsctl rollback code --to COMMIT",
        code="credentials-changed",
        exit=Exit.REFUSED,
    )


def _ended_since(call: Call, target: Deployment) -> list[str]:
    """Return the keys that a rotation has ended since: what was built with them is dead."""
    return [
        f"{step.title.replace('End', 'Ended', 1)}: run {run.id} did that after it was built, so "
        "what it was built with may be DEAD."
        for run in JournalRuns(call.state).of(call.name)
        if run.command in ("rotate-keys supabase", "rotate-keys revoke")
        for id, step in run.steps.items()
        if id.startswith("end-")
        and step.state == "done"
        and step.ended_at is not None
        and step.ended_at * 1000 > target.created_ms
    ]


def _legacy_notes(call: Call) -> list[str]:
    supabase = call.environment.supabase
    if supabase is None or not supabase.ref or not supabase.access_token:
        return []
    try:
        enabled = SupabaseKeys(supabase).legacy_enabled()
    except OpsError as error:
        return [f"Whether Supabase's legacy keys still work is not known: {error.why}."]
    if enabled is False:
        return ["Supabase's legacy keys (anon, service_role) are DISABLED: an old build that has "
                "them cannot reach the database."]  # fmt: skip
    return []


def _is_credential(variable: Variable) -> bool:
    return variable.type in ("sensitive", "secret") or bool(
        _CREDENTIAL.search(variable.name.upper())
    )


def _line(variable: Variable, *, now_ms: int) -> str:
    return f"{variable.name}, changed {age(variable.updated_ms or 0, now_ms=now_ms)} ago"
