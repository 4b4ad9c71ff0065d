"""What is live, what was, and which deployment a person means: facts for `rollback app`."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opsctl.adapters.vercel import Deployment, Production, Project, VercelApi
from opsctl.adapters.vercel_release import live_span, read_releases, was_live
from opsctl.core.errors import Exit, OpsError
from opsctl.core.progress import duration

if TYPE_CHECKING:
    from opsctl.core.call import Call
    from opsctl.core.settings import Vercel

_MOST = 60
"""Production deployments that are looked through; some weeks of a busy project."""
_LONGEST_LOOK_MS = 3 * 86_400_000
"""Of the time that a deployment was live, how much of its health is read: its first days."""
_COMMIT = re.compile(r"[0-9a-f]{7,64}")


@dataclass(frozen=True)
class Release:
    """A deployment that was live once, or is."""

    deployment: Deployment
    health: Health | None
    """None where the health history has nothing of that time."""


@dataclass(frozen=True)
class Health:
    """What the health history says of a span of time."""

    judged: int
    failed: int

    @property
    def said(self) -> str:
        """In words: `well in 99.3 % of 290 checks`."""
        share = 100.0 * (self.judged - self.failed) / self.judged
        text = "100" if not self.failed else f"{min(share, 99.9):.1f}"
        return f"well in {text} % of {self.judged} checks"


@dataclass(frozen=True)
class Scene:
    """The project on Vercel as it is now."""

    project: Project
    production: Production
    live: Deployment
    releases: tuple[Deployment, ...]
    """Ready ones that were built for production, newest first."""
    complete: bool
    """Whether these are all."""

    @property
    def targets(self) -> tuple[Deployment, ...]:
        """Those that were live once and are not now, newest first."""
        return tuple(each for each in self.releases if was_live(each) and each.id != self.live.id)


def settings_of(call: Call) -> Vercel:
    """Return the environment's Vercel settings; raises OpsError `no-vercel`."""
    settings = call.environment.vercel
    if settings is None:
        raise OpsError(
            "The application cannot be rolled back from here",
            why="the environment has no vercel in the settings",
            hint="add vercel.project and vercel.token to the settings",
            code="no-vercel",
        )
    return settings


def read_scene(api: VercelApi) -> Scene:
    """Ask Vercel what is live and what was.

    Raises OpsError `no-production-domain` or `nothing-live` (exit 3), and what the API raises.
    """
    project = api.project()
    production = api.production_by_domain(project)
    if production.deployment is None:
        raise OpsError(
            f"Nothing is live at {production.domains[0].name}",
            why="the domain points to no deployment, or to one that is gone",
            hint="bring the application back: opsctl restore app",
            code="nothing-live",
            exit=Exit.UNKNOWN,
        )
    releases, complete = read_releases(api, project, most=_MOST)
    return Scene(project, production, production.deployment, releases, complete)


def refuse_unsettled(scene: Scene) -> None:
    """Raise OpsError `move-under-way` (exit 5) while production is still being moved."""
    move = scene.project.move
    if move is not None and move.under_way:
        raise OpsError(
            "Production is being moved already",
            why=f"a {move.kind} to {move.deployment} is {move.status} on Vercel",
            hint="wait until it is over: opsctl rollback app status",
            code="move-under-way",
            exit=Exit.REFUSED,
        )


def choose_target(api: VercelApi, scene: Scene, wanted: str) -> Deployment:
    """Return the deployment that a person means: `previous`, an id, an address or a commit.

    It was really production's. Raises OpsError `no-such-deployment` (exit 2), or
    `never-live`, `no-candidate`, `nothing-before` (exit 5).
    """
    if wanted == "previous":
        before = [each for each in scene.targets if each.created_ms < scene.live.created_ms]
        if not before:
            raise _refused(
                "There is nothing to roll back to",
                f"no deployment that was live before {scene.live.id} is left"
                + ("" if scene.complete else f" among the {_MOST} newest"),
                code="nothing-before",
            )
        # One that Vercel has let go is passed over; if all are, that is what is said.
        return _allowed(next((each for each in before if each.candidate is not False), before[0]))
    matches = [each for each in scene.releases if _means(wanted, each)]
    if scene.live.id in {each.id for each in matches} or _means(wanted, scene.live):
        return scene.live
    found = next((each for each in matches if was_live(each)), None)
    if found is not None:
        return _allowed(found)
    other = matches[0] if matches else api.deployment(wanted) if "/" not in wanted else None
    if other is None:
        raise OpsError(
            f"The deployment {wanted!r} was not found",
            why=f"none of the {len(scene.releases)} newest production deployments that are ready "
            "has this id, address or commit",
            hint="opsctl rollback app status",
            code="no-such-deployment",
        )
    if was_live(other):
        return _allowed(other)
    kind = other.target or "preview"
    why = f"it was built for {kind}" if kind != "production" else "it never served production"
    if other.state != "READY":
        why = f"it is {other.state}"
    raise _refused(
        f"{other.id} cannot be rolled back to",
        f"{why}; a roll-back goes to what was really live",
        code="never-live",
    )


def read_health(
    call: Call, deployment: Deployment, releases: Sequence[Deployment]
) -> Health | None:
    """Return what the health history knows of the time that a deployment was live."""
    from opsctl.adapters.health_day import day_of
    from opsctl.adapters.health_history import HealthHistory

    begin, end = live_span(deployment, releases)
    end = min(end or round(time.time() * 1000), begin + _LONGEST_LOOK_MS)
    history = HealthHistory(call.state)
    first, last = day_of(begin), day_of(end)
    names = {(each.check, each.day) for each in history.days(call.name, first, last)}
    judged = failed = 0
    for rows in (history.packed(call.name, names), history.loose(call.name, first, last)):
        for kept in rows.values():
            for row in kept:
                if begin <= row.due_ms < end and row.status != "unknown":
                    judged += 1
                    failed += row.status == "fail"
    return Health(judged, failed) if judged else None


def describe(deployment: Deployment, *, now_ms: int) -> str:
    """Return a deployment in words: commit, message, author and age."""
    commit = f"commit {deployment.commit[:8]}" if deployment.commit else "no commit"
    message = deployment.message.splitlines()[0][:60] if deployment.message else ""
    by = f" by {deployment.author}" if deployment.author else ""
    said = f" “{message}”" if message else ""
    return f"{commit}{said}{by}, built {age(deployment.created_ms, now_ms=now_ms)} ago"


def age(moment_ms: int, *, now_ms: int) -> str:
    """Return how long ago a moment was."""
    return duration(max(now_ms - moment_ms, 0) / 1000)


def commit_of(deployment: Deployment) -> str:
    """Return a deployment's commit where it is one, for it becomes an argument; else nothing."""
    return deployment.commit if _COMMIT.fullmatch(deployment.commit) else ""


def _means(wanted: str, deployment: Deployment) -> bool:
    host = wanted.removeprefix("https://").rstrip("/")
    if deployment.id == wanted or deployment.url == host:
        return True
    return bool(_COMMIT.fullmatch(wanted)) and deployment.commit.startswith(wanted)


def _allowed(deployment: Deployment) -> Deployment:
    if deployment.candidate is False:
        raise _refused(
            f"Vercel does not let {deployment.id} be rolled back to",
            "the smallest plan goes back to the one before alone, and old ones are let go",
            code="no-candidate",
        )
    return deployment


def _refused(what: str, why: str, *, code: str) -> OpsError:
    hint = "opsctl rollback app status lists what can be rolled back to"
    return OpsError(what, why=why, hint=hint, code=code, exit=Exit.REFUSED)
