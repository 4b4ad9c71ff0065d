"""What the vendors say that a token may change, as far as reading tells.

GitHub names the scopes of a classic token in a header and of a fine-grained one nothing at all
(docs.github.com, "Scopes for OAuth apps"); Vercel and Supabase name the role of whose token it
is. Nothing is tried out: a write that fails is still a write.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from opsctl.adapters.rest import PATIENCE, Patience, Rest

if TYPE_CHECKING:
    from opsctl.core.settings import Github, Supabase, Vercel

_MISFITS = (KeyError, IndexError, TypeError, ValueError, AttributeError)


@dataclass(frozen=True)
class GithubRights:
    """What a token may do in one repository."""

    scopes: frozenset[str] | None
    """Of a classic token; None: another kind, which does not tell."""
    private: bool
    may_push: bool | None
    """The person, whatever the token may; None: it is not said."""


@dataclass(frozen=True)
class VercelRights:
    """Whose token it is, and for how long."""

    role: str | None
    """In the team, as Vercel writes it: OWNER, MEMBER, ...; None: it is a personal project."""
    expires_ms: int | None
    """Since 1970; None: never, or it is not said."""


@dataclass(frozen=True)
class SupabaseRights:
    """The role in the organisation that the project is of."""

    role: str | None
    """As Supabase writes it: Owner, Administrator, ...; None: whoever it is is not listed."""


def github_rights(settings: Github, *, patience: Patience = PATIENCE) -> GithubRights:
    """Ask GitHub. What it raises is described at `opsctl.adapters.rest.Rest`."""
    rest = Rest(
        name="GitHub", code="github", api=settings.api, token=settings.token, setting="github",
        headers={"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28",
                 "User-Agent": "opsctl"},
        patience=patience,
    )  # fmt: skip
    path = "/repos/" + "/".join(quote(part, safe="") for part in settings.repository.split("/"))
    page = rest.get(path)
    data = _object(rest, path, page.data)
    listed = page.headers.get("x-oauth-scopes")
    permissions = data.get("permissions")
    push = permissions.get("push") if isinstance(permissions, dict) else None
    return GithubRights(
        scopes=None
        if listed is None
        else frozenset(each.strip() for each in listed.split(",") if each.strip()),
        private=data.get("private") is not False,
        may_push=push if isinstance(push, bool) else None,
    )


def vercel_rights(settings: Vercel, *, patience: Patience = PATIENCE) -> VercelRights:
    """Ask Vercel. What it raises is described at `opsctl.adapters.rest.Rest`."""
    rest = Rest(
        name="Vercel", code="vercel", api=settings.api, token=settings.token, setting="vercel",
        headers={}, patience=patience,
    )  # fmt: skip
    path = "/v5/user/tokens/current"
    token = _object(rest, path, rest.get(path).data).get("token")
    expires = token.get("expiresAt") if isinstance(token, dict) else None
    role = None
    if settings.team is not None:
        path = f"/v2/teams/{quote(settings.team, safe='')}"
        membership = _object(rest, path, rest.get(path).data).get("membership")
        role = membership.get("role") if isinstance(membership, dict) else None
        if not isinstance(role, str):
            raise rest.not_understood(path)
    return VercelRights(role, expires if isinstance(expires, int) else None)


def supabase_rights(settings: Supabase, *, patience: Patience = PATIENCE) -> SupabaseRights:
    """Ask Supabase. What it raises is described at `opsctl.adapters.rest.Rest`."""
    rest = Rest(
        name="Supabase", code="supabase", api=settings.api, token=settings.access_token,
        setting="supabase", headers={}, patience=patience,
    )  # fmt: skip
    path = "/v1/profile"
    me = _object(rest, path, rest.get(path).data).get("gotrue_id")
    path = f"/v1/projects/{quote(settings.ref or '', safe='')}"
    project = _object(rest, path, rest.get(path).data)
    organisation = project.get("organization_slug") or project.get("organization_id")
    path = f"/v1/organizations/{quote(str(organisation), safe='')}/members"
    members = rest.get(path).data
    try:
        roles = [each["role_name"] for each in members if me and each["user_id"] == me]
    except _MISFITS:
        raise rest.not_understood(path) from None
    return SupabaseRights(str(roles[0]) if roles else None)


def _object(rest: Rest, path: str, data: Any) -> Mapping[str, Any]:
    if not isinstance(data, dict):
        raise rest.not_understood(path)
    return data
