"""What production may be moved to, whether a move is done, and whether releases are held back.

A rollback on Vercel turns off that production builds go live by themselves. Which field of the
project says so is not documented: `autoAssignCustomDomains` is read, and so is the last request
to move production (`lastAliasRequest`); either is enough.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from opsctl.adapters.vercel import Deployment, Production, Project, VercelApi

_PAUSE_S = 1.0


@dataclass(frozen=True)
class Serving:
    """Whether production serves one deployment, as far as Vercel says.

    applied: every production domain does, and nothing else is on its way. absent: not every
    one does, and nothing is on its way. unknown: a request to move them is still open.
    """

    word: Literal["applied", "absent", "unknown"]
    said: str


@dataclass(frozen=True)
class Held:
    """Production builds do not go live by themselves."""

    by_rollback: bool
    """Whether a rollback did it that still holds; otherwise the project's own setting says so."""
    deployment: str
    """The one that production was rolled back to; empty where it was no rollback."""
    before: str
    """The one that was live before it."""
    since_ms: int
    """0 where that is not known."""
    reason: str
    by: str
    said_free: bool = False
    """Whether the project's setting says that builds go live although a rollback holds."""

    @property
    def title(self) -> str:
        """One sentence for a person."""
        if self.said_free:
            return (
                "Production is where a rollback put it; Vercel's setting says that pushes go live"
            )
        if not self.by_rollback:
            return "Production builds do not go live by themselves: it is turned off on Vercel"
        return "Production is rolled back: pushes build, and do NOT go live by themselves"


def held_back(project: Project, live: str | None) -> Held | None:
    """Return why production builds do not go live by themselves, or None where they do."""
    move = project.move
    rolled = (
        move is not None
        and move.kind == "rollback"
        and move.status == "succeeded"
        and live == move.deployment
    )
    if not rolled and project.auto_assign is not False:
        return None
    return Held(
        by_rollback=rolled,
        deployment=move.deployment if rolled and move else "",
        before=move.before if rolled and move else "",
        since_ms=move.requested_ms if rolled and move else 0,
        reason=project.reason if rolled else "",
        by=project.reason_by if rolled else "",
        # Which of the two holds is not documented, so it is not taken for the better one.
        said_free=rolled and project.auto_assign is True,
    )


def read_serving(api: VercelApi, deployment: str) -> Serving:
    """Ask every production domain once whether it points to a deployment."""
    project = api.project()
    production = api.production(project)
    return judge_serving(project, production, deployment)


def judge_serving(project: Project, production: Production, deployment: str) -> Serving:
    """Return whether production serves a deployment; without a domain nobody could tell."""
    if not production.domains:
        return Serving("unknown", "the project has no production domain to ask")
    behind = [each for each in production.domains if each.deployment != deployment]
    move = project.move
    if move is not None and move.under_way:
        where = "it" if move.deployment == deployment else move.deployment
        at = "" if behind else "; the domains point to it now"
        return Serving(
            "unknown",
            f"a {move.kind} to {where} is {move.status} on Vercel and may still move the "
            f"domains{at}",
        )
    if not behind:
        return Serving("applied", f"{_names(production)} serves {deployment}")
    live = ", ".join(f"{each.name} -> {each.deployment or 'nothing'}" for each in behind)
    if move is not None and move.deployment == deployment and move.status in ("failed", "skipped"):
        return Serving("absent", f"Vercel says that the {move.kind} {move.status}; {live}")
    return Serving("absent", f"production serves another one: {live}")


def wait_for_serving(
    api: VercelApi, deployment: str, *, wait_s: float, say: Callable[[str], None]
) -> Serving:
    """Ask until nothing is on its way any more, but no longer than `wait_s`."""
    deadline = time.monotonic() + wait_s
    said = ""
    while True:
        found = read_serving(api, deployment)
        if found.word != "unknown" or time.monotonic() + _PAUSE_S > deadline:
            return found
        if found.said != said:
            said = found.said
            say(said)
        time.sleep(_PAUSE_S)


def was_live(deployment: Deployment) -> bool:
    """Whether a deployment was built for production and has seen its traffic.

    Where Vercel does not say (`readySubstate` is younger than some deployments), whether it
    may be rolled back to decides: only what was live may be.
    """
    if deployment.state != "READY" or deployment.target != "production":
        return False
    if deployment.promoted is not None:
        return deployment.promoted
    return deployment.candidate is True


def read_releases(
    api: VercelApi, project: Project, *, most: int
) -> tuple[tuple[Deployment, ...], bool]:
    """Return the newest production deployments that are ready, and whether these are all."""
    return api.deployments(project, most=most, target="production", state="READY")


def live_span(deployment: Deployment, releases: Sequence[Deployment]) -> tuple[int, int | None]:
    """Return from when until when a deployment was live, in ms since 1970; None: until now.

    Of releases in order it is the time from when it was ready until the next one was: a
    rollback meanwhile is not known here.
    """
    begin = deployment.ready_ms or deployment.created_ms
    later = [
        each.ready_ms or each.created_ms
        for each in releases
        if was_live(each) and (each.ready_ms or each.created_ms) > begin
    ]
    return begin, min(later, default=None)


def _names(production: Production) -> str:
    first, *rest = (each.name for each in production.domains)
    return f"{first} and {len(rest)} more" if len(rest) > 1 else " and ".join((first, *rest))
