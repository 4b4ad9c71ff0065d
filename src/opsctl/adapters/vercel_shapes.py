"""The shapes of Vercel's API as frozen models, and how its JSON becomes them.

They are those of the vendor's OpenAPI description. What does not fit raises KeyError, TypeError,
ValueError or AttributeError: the caller says which request it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_READABLE = ("plain", "encrypted")
"""Types whose value the API decrypts; `sensitive`, `secret` and `system` it never gives out."""


@dataclass(frozen=True)
class GitLink:
    """The repository that a project is built from."""

    kind: str
    """github, gitlab, bitbucket, ..."""
    repository: str
    """OWNER/NAME."""
    production_branch: str


@dataclass(frozen=True)
class Move:
    """The last request to point production to another deployment (`lastAliasRequest`)."""

    kind: str
    """promote or rollback."""
    deployment: str
    before: str
    """The one that was live when it was asked for; empty where none was."""
    status: str
    """succeeded, failed, skipped, pending or in-progress."""
    requested_ms: int

    @property
    def under_way(self) -> bool:
        """Whether it may still move the domains."""
        return self.status in ("pending", "in-progress")


@dataclass(frozen=True)
class Project:
    """A project as the API describes it."""

    id: str
    name: str
    link: GitLink | None
    auto_assign: bool | None
    """Whether a production build goes live by itself (`autoAssignCustomDomains`); None unsaid."""
    live: str | None
    """The deployment that the project itself names as production's."""
    move: Move | None = None
    reason: str = ""
    """Why it was rolled back, as whoever did it said (`rollbackDescription`)."""
    reason_by: str = ""


@dataclass(frozen=True)
class Deployment:
    """One deployment."""

    id: str
    name: str
    url: str
    """Its own host name, without a scheme."""
    state: str
    """READY, ERROR, BUILDING, ..."""
    target: str
    """production, or the name of another environment; empty for a preview."""
    created_ms: int
    commit: str
    """Empty for one that was not made from git."""
    ref: str
    message: str
    author: str = ""
    """Who wrote the commit; without one, who deployed."""
    ready_ms: int = 0
    """When it could first be served; 0 unsaid."""
    promoted: bool | None = None
    """Whether it has seen production's traffic (`readySubstate`); None unsaid."""
    candidate: bool | None = None
    """Whether Vercel lets it be rolled back to (`isRollbackCandidate`); None unsaid."""


@dataclass(frozen=True)
class Domain:
    """One production domain and the deployment that it points to, if any."""

    name: str
    deployment: str | None


@dataclass(frozen=True)
class Production:
    """What production serves."""

    domains: tuple[Domain, ...]
    """Verified ones that do not redirect, the project's own order. Empty where there is none."""
    deployment: Deployment | None
    """The one that the first domain points to; without domains the one the project names."""

    @property
    def split(self) -> bool:
        """Whether the domains do not all point to the same deployment."""
        return len({domain.deployment for domain in self.domains}) > 1


@dataclass(frozen=True)
class Variable:
    """One record of an environment variable, which may hold for several targets."""

    id: str
    name: str
    targets: tuple[str, ...]
    """production, preview, development; sorted."""
    custom: tuple[str, ...]
    """Ids of the custom environments that it holds for, too."""
    type: str
    branch: str
    """The branch of a preview variable; empty for all."""
    updated_ms: int | None
    readable: bool
    """Whether the API can be asked for the value."""


@dataclass(frozen=True)
class Variables:
    """A project's variables, by name, then targets."""

    variables: tuple[Variable, ...]
    hidden: int
    """How many more production variables the API keeps from this token."""


def project_of(data: Any) -> Project:
    """Return the project that JSON describes."""
    link = data.get("link")
    auto = data.get("autoAssignCustomDomains")
    live = ((data.get("targets") or {}).get("production") or {}).get("id")
    move = data.get("lastAliasRequest")
    reason = data.get("rollbackDescription") or {}
    return Project(
        id=_needed(data["id"]),
        name=_needed(data["name"]),
        link=_link(link) if link else None,
        auto_assign=auto if isinstance(auto, bool) else None,
        live=text_of(live) or None,
        move=_move(move) if move else None,
        reason=text_of(reason.get("description")),
        reason_by=text_of(reason.get("username")),
    )


def _move(data: Any) -> Move:
    return Move(
        kind=_needed(data["type"]),
        deployment=_needed(data["toDeploymentId"]),
        before=text_of(data.get("fromDeploymentId")),
        status=_needed(data["jobStatus"]),
        requested_ms=int(data["requestedAt"]),
    )


def _link(data: Any) -> GitLink:
    # GitHub has org and repo; GitLab projectNameWithNamespace; Bitbucket owner and slug.
    owner = text_of(data.get("org") or data.get("owner"))
    name = text_of(data.get("repo") or data.get("slug"))
    return GitLink(
        kind=text_of(data.get("type")),
        repository=f"{owner}/{name}" if owner else text_of(data.get("projectNameWithNamespace")),
        production_branch=text_of(data.get("productionBranch")),
    )


def deployment_of(data: Any) -> Deployment:
    """Return the deployment that JSON describes."""
    meta = data.get("meta") or {}

    def of_git(what: str) -> str:
        kinds = ("github", "gitlab", "bitbucket")
        found = [text_of(meta.get(f"{kind}Commit{what}")) for kind in kinds]
        source = data.get("gitSource") or {}
        found.append(text_of(source.get({"Sha": "sha", "Ref": "ref"}.get(what, ""))))
        return next((text for text in found if text), "")

    creator = data.get("creator") or {}
    substate, candidate = data.get("readySubstate"), data.get("isRollbackCandidate")
    return Deployment(
        # The list says uid and state, the single one id and readyState.
        id=_needed(data.get("uid") or data.get("id")),
        name=text_of(data.get("name")),
        url=text_of(data.get("url")),
        state=_needed(data.get("readyState") or data.get("state")),
        target=text_of(data.get("target")),
        created_ms=int(data.get("createdAt") or data.get("created") or 0),
        commit=of_git("Sha"),
        ref=of_git("Ref"),
        message=of_git("Message"),
        author=of_git("AuthorName") or of_git("AuthorLogin") or text_of(creator.get("username")),
        ready_ms=int(data.get("ready") or 0),
        promoted=substate == "PROMOTED" if isinstance(substate, str) else None,
        candidate=candidate if isinstance(candidate, bool) else None,
    )


def domain_of(data: Any) -> str:
    """Return the name of a domain that serves production, or nothing for another."""
    other = data.get("redirect") or data.get("gitBranch") or data.get("customEnvironmentId")
    return _needed(data["name"]) if data["verified"] is True and not other else ""


def variable_of(data: Any) -> Variable:
    """Return the variable that JSON describes, without its value."""
    target = data.get("target") or []
    targets: Sequence[Any] = [target] if isinstance(target, str) else target
    kind = _needed(data["type"])
    updated = data.get("updatedAt")
    return Variable(
        id=text_of(data.get("id")),
        name=_needed(data["key"]),
        targets=tuple(sorted(_needed(each) for each in targets)),
        custom=tuple(sorted(_needed(each) for each in data.get("customEnvironmentIds") or ())),
        type=kind,
        branch=text_of(data.get("gitBranch")),
        updated_ms=int(updated) if updated is not None else None,
        readable=kind in _READABLE and bool(data.get("id")),
    )


def value_of(data: Any) -> str | None:
    """Return the value of a variable, or None where the API did not decrypt it."""
    if data["type"] not in _READABLE or data.get("decrypted") is False:
        return None  # what is in `value` then is the cipher text
    value = data.get("value")
    return None if value is None else text_of(value)


def text_of(data: Any) -> str:
    """Return text; nothing for null. Raises TypeError or ValueError."""
    if data is None:
        return ""
    if not isinstance(data, str):
        raise TypeError("text was expected")
    data.encode()  # half a surrogate pair, which JSON can name, is a ValueError
    return data


def _needed(data: Any) -> str:
    text = text_of(data)
    if not text:
        raise ValueError("a needed text is empty")
    return text
