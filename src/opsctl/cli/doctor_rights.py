"""What `opsctl doctor` says of what each token may change: lacking, enough, or not to be told."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from opsctl.cli.doctor_findings import doubtful, unneeded, untold, well
from opsctl.core.errors import OpsError

if TYPE_CHECKING:
    from opsctl.adapters.rest import Patience
    from opsctl.adapters.token_rights import GithubRights, SupabaseRights, VercelRights
    from opsctl.core.call import Call
    from opsctl.core.report import Finding

_GITHUB = "https://github.com/settings/tokens"
_VERCEL = "https://vercel.com/account/settings/tokens"
_SUPABASE = "https://supabase.com/dashboard/account/tokens"
_SOON_DAYS = 14
_WRITES = (
    ("github-write-contents", "contents", "rollback code"),
    ("github-write-pulls", "pull requests", "rollback code --pull-request"),
    ("github-write-secrets", "secrets", "rotate-keys, restore app"),
)


def rights(call: Call, patience: Patience) -> tuple[Finding, ...]:
    """Judge what the environment's tokens may change."""
    from opsctl.adapters.token_rights import github_rights, supabase_rights, vercel_rights

    environment = call.environment
    found: list[Finding] = []
    if environment.github is not None and environment.github.token is not None:
        github = environment.github
        found += _asked("github-write", "GitHub", _GITHUB, lambda: judge_github(
            github_rights(github, patience=patience)))  # fmt: skip
    if environment.vercel is not None and environment.vercel.token is not None:
        vercel = environment.vercel
        found += _asked("vercel-write", "Vercel", _VERCEL, lambda: judge_vercel(
            vercel_rights(vercel, patience=patience), now_s=time.time()))  # fmt: skip
    supabase = environment.supabase
    if supabase is not None and supabase.access_token is not None and supabase.ref is not None:
        found += _asked("supabase-write", "Supabase", _SUPABASE, lambda: judge_supabase(
            supabase_rights(supabase, patience=patience)))  # fmt: skip
    return tuple(found) or (unneeded("rights", "No token's rights are looked at",
                                     "no token in the settings"),)  # fmt: skip


def judge_github(rights: GithubRights) -> tuple[Finding, ...]:
    """Judge what a GitHub token may write in its repository."""
    if rights.may_push is False:
        return tuple(
            doubtful(rule, f"GitHub: the token's owner may not write {what}",
                     evidence=f"his role in the repository is to read; needed by: {needed_by}",
                     remedy="a token of somebody who may write there, for whoever changes things")
            for rule, what, needed_by in _WRITES
        )  # fmt: skip
    if rights.scopes is None:
        return tuple(
            untold(rule, f"GitHub: whether the token may write {what} is not known",
                   evidence="GitHub tells the scopes of classic tokens alone, and this is another; "
                   f"needed by: {needed_by}",
                   remedy="look at its permissions, Read and write: "
                   "https://github.com/settings/personal-access-tokens")
            for rule, what, needed_by in _WRITES
        )  # fmt: skip
    shown = ", ".join(sorted(rights.scopes)) or "none"
    found = []
    for rule, what, needed_by in _WRITES:
        enough = "repo" in rights.scopes or (
            what != "secrets" and not rights.private and "public_repo" in rights.scopes
        )
        if enough:
            found.append(well(rule, f"GitHub: the token may write {what}", f"scopes: {shown}"))
        else:
            found.append(
                doubtful(
                    rule,
                    f"GitHub: the token may not write {what}",
                    evidence=f"its scopes: {shown}; needed by: {needed_by}",
                    remedy=f"a token with the scope repo: {_GITHUB}",
                )
            )
    return tuple(found)


def judge_vercel(rights: VercelRights, *, now_s: float) -> tuple[Finding, ...]:
    """Judge what a Vercel token may change, and for how long it works."""
    rule, needed_by = "vercel-write", "needed by: rollback app, rotate-keys, restore app"
    if rights.role is None:
        found = well(rule, "Vercel: the token is of the project's owner", "a personal project")
    elif rights.role in ("OWNER", "MEMBER"):
        found = well(rule, "Vercel: the token may change the project", f"role {rights.role}")
    elif rights.role in ("VIEWER", "VIEWER_FOR_PLUS", "BILLING", "SECURITY"):
        found = doubtful(
            rule,
            "Vercel: the token may not change the project",
            evidence=f"role {rights.role}; {needed_by}",
            remedy=f"a token of an owner or a member of the team: {_VERCEL}",
        )
    else:
        found = untold(
            rule,
            "Vercel: whether the token may change production is not known",
            evidence=f"the role {rights.role} depends on its role in the project and on extended "
            f"permissions, which reading does not tell; {needed_by}",
            remedy="look at Settings, Members of the team; an owner or a member may",
        )
    if rights.expires_ms is None:
        return (found,)
    left_days = (rights.expires_ms / 1000 - now_s) / 86400
    if left_days > _SOON_DAYS:
        end = well("vercel-expiry", "Vercel: the token works for a while",
                   f"{left_days:.0f} days")  # fmt: skip
    else:
        end = doubtful("vercel-expiry", f"Vercel: the token ends in {max(left_days, 0):.1f} days",
                       evidence="Vercel says so", remedy=f"make a new one: {_VERCEL}")  # fmt: skip
    return found, end


def judge_supabase(rights: SupabaseRights) -> tuple[Finding, ...]:
    """Judge what a Supabase token may change: it is of a person, and may what he may."""
    rule, needed_by = "supabase-write", "needed by: rotate-keys, restore platform"
    if rights.role in ("Owner", "Administrator"):
        return (well(rule, "Supabase: the token may change the project",
                     f"role {rights.role}"),)  # fmt: skip
    if rights.role in ("Developer", "Read-only", "Read-Only"):
        return (
            doubtful(
                rule,
                "Supabase: the token may not change the project's settings",
                evidence=f"role {rights.role}; {needed_by}",
                remedy=f"a token of an owner or an administrator: {_SUPABASE}",
            ),
        )
    why = (
        "whose token it is is not among the organisation's members"
        if rights.role is None
        else f"the role {rights.role} is not known"
    )
    return (
        untold(
            rule,
            "Supabase: whether the token may change the project is not known",
            evidence=f"{why}; {needed_by}",
            remedy="look at the organisation's team page; an owner or an administrator may",
        ),
    )


def _asked(
    rule: str, who: str, tokens: str, ask: Callable[[], tuple[Finding, ...]]
) -> tuple[Finding, ...]:
    """Return the judgement; a token that may not ask for its own rights is no fault."""
    try:
        return ask()
    except OpsError as error:
        if error.code == "secret-missing" or error.code.endswith("-unreachable"):
            return ()  # the looks at what it may read say so
        return (
            untold(
                rule,
                f"{who}: what the token may change is not known",
                evidence=f"{error.what}: {error.why}",
                remedy=f"look at the token: {tokens}",
            ),
        )
