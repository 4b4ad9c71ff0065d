"""Look at production's releases: what is live, what is held back, what can be rolled back to."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from opsctl.adapters.health_watch import watch
from opsctl.adapters.vercel import VercelApi
from opsctl.adapters.vercel_release import Held, Serving, held_back, wait_for_serving
from opsctl.areas.rollback.app_facts import (
    Scene,
    age,
    read_health,
    read_scene,
    settings_of,
)
from opsctl.core.errors import Exit, OpsError
from opsctl.core.progress import duration
from opsctl.core.report import Finding, Location, Report, Severity, Status, Table

if TYPE_CHECKING:
    from opsctl.core.call import Call

_LISTED = 8
_PAUSE_S, _LEAST_PAUSE_S = 5.0, 0.5
"""Between two looks; a short watch looks ten times."""


def report_app_status(call: Call) -> Report:
    """Return what is live, whether releases are held back, and the targets of a roll-back."""
    now_ms = round(time.time() * 1000)
    scene = read_scene(VercelApi(settings_of(call)))
    held = held_back(scene.project, scene.live.id)
    waiting = _waiting(scene, held)
    findings = [
        Finding(
            "live-deployment",
            f"{scene.production.domains[0].name} serves {scene.live.id}",
            Status.OK,
            location=Location(object=scene.live.url),
        )
    ]
    if scene.production.split:
        findings.append(
            Finding(
                "domains-split",
                "The production domains serve different deployments",
                Status.FAILED,
                evidence=", ".join(
                    f"{each.name} -> {each.deployment or 'nothing'}"
                    for each in scene.production.domains
                ),
                hint="is a move under way? Otherwise: opsctl rollback app --to DEPLOYMENT",
            )
        )
    move = scene.project.move
    if move is not None and move.under_way:
        findings.append(
            Finding(
                "move-under-way",
                f"A {move.kind} to {move.deployment} is {move.status} on Vercel",
                Status.FAILED,
                Severity.WARNING,
                evidence=f"asked for {age(move.requested_ms, now_ms=now_ms)} ago",
                hint="a queued one waits for a rolling release: vercel rolling-release fetch",
            )
        )
    if held is not None:
        findings.append(held_finding(held, waiting=waiting, now_ms=now_ms))
    return Report(
        command="rollback app status",
        title="Releases of production",
        environment=call.name,
        findings=tuple(findings),
        tables=(_table(call, scene, now_ms=now_ms),),
        notes=() if scene.targets else ("There is nothing to roll back to.",),
        links={each.id: f"https://{each.url}" for each in (scene.live, *scene.targets)},
        data={
            "live": scene.live.id,
            "domains": {each.name: each.deployment for each in scene.production.domains},
            "auto_assign": scene.project.auto_assign,
            "held_back": None
            if held is None
            else {
                "by_rollback": held.by_rollback,
                "from": held.before,
                "since_ms": held.since_ms,
                "reason": held.reason,
                "by": held.by,
                "waiting": waiting,
            },
            "targets": [
                {
                    "deployment": each.id,
                    "url": each.url,
                    "commit": each.commit,
                    "author": each.author,
                    "message": each.message,
                    "created_ms": each.created_ms,
                    "candidate": each.candidate,
                }
                for each in scene.targets
            ],
        },
    )


def held_finding(held: Held, *, waiting: int, now_ms: int) -> Finding:
    """Return the warning that releases do not go live by themselves."""
    parts = []
    if held.since_ms:
        parts.append(f"since {age(held.since_ms, now_ms=now_ms)}")
    if held.before:
        parts.append(f"from {held.before}")
    if held.reason:
        parts.append(f"because: {held.reason}")
    if held.by:
        parts.append(f"by {held.by}")
    if waiting:
        parts.append(f"{waiting} newer production builds wait")
    return Finding(
        "releases-held-back",
        held.title,
        Status.FAILED,
        Severity.WARNING,
        evidence=", ".join(parts),
        hint="opsctl rollback app forward",
    )


def check_serves(call: Call, deployment: str, *, wait_s: float) -> Report:
    """Check that production serves a deployment: exit 0, 1, or 3 where it is not known yet."""
    api = VercelApi(settings_of(call))
    found = wait_for_serving(api, deployment, wait_s=wait_s, say=call.say)
    return Report(
        command="rollback app-serves",
        title=f"Whether production serves {deployment}",
        environment=call.name,
        findings=(Finding("serves", found.said, _status(found)),),
        text=found.said,  # a plan quotes the last line, unfolded
        data={"deployment": deployment, "answer": found.word},
    )


def check_held(call: Call, *, expect: str | None) -> Report:
    """Say whether production builds go live by themselves.

    `expect` is `free`, `held`, or `assigned`: that alone which the project's setting says.
    """
    if expect not in (None, "free", "held", "assigned"):
        raise OpsError(
            f"--expect {expect!r} is not known",
            why="it is free, held or assigned",
            hint="opsctl rollback app status",
            code="usage",
        )
    scene = read_scene(VercelApi(settings_of(call)))
    held = held_back(scene.project, scene.live.id)
    branch = scene.project.link.production_branch if scene.project.link else ""
    said = (
        f"{held.title}. End that with: opsctl rollback app forward"
        if held is not None
        else f"Production builds go live by themselves: the next push{branch and f' to {branch}'} "
        "replaces what is live now"
    )
    wrong = {
        None: False,
        "free": held is not None,
        "held": held is None,
        "assigned": scene.project.auto_assign is not True,
    }[expect]
    return Report(
        command="rollback app-held",
        title="Whether production builds go live by themselves",
        environment=call.name,
        findings=(Finding("held", said, Status.FAILED if wrong else Status.OK),),
        text=said,
        data={"held": held is not None},
    )


def watch_app(call: Call, *, seconds: float, before: str, pause_s: float | None = None) -> Report:
    """Watch the health endpoints, and hold the error rate against the one before.

    `before` is FAILED/ASKED. It fails at the second failure in a row of one endpoint.
    """
    endpoints = call.environment.health
    if not endpoints:
        raise OpsError(
            "There is nothing to watch",
            why="the environment has no health endpoint",
            hint="add one under `health` in the settings",
            code="no-health-endpoint",
            exit=Exit.UNKNOWN,
        )
    if pause_s is None:
        pause_s = min(max(seconds / 10, _LEAST_PAUSE_S), _PAUSE_S)
    watched = watch(endpoints, seconds=seconds, pause_s=pause_s, say=call.say)
    asked = watched.polls * len(endpoints)
    rate = f"{watched.failed} of {asked} answers were wrong in {duration(watched.took_s)}"
    then = _rate_before(before)
    said = f"Error rate: {then}{_percent(watched.failed, asked)} now ({rate})"
    findings = [
        Finding(
            "health-watch",
            f"{each.endpoint.name} failed twice in a row",
            Status.UNKNOWN if each.answer.failure in ("secret", "network") else Status.FAILED,
            evidence=each.wrong,
            location=Location(object=each.endpoint.url),
            hint=f"curl -i {each.endpoint.url}",
        )
        for each in watched.ill
    ]
    ill = "; ".join(f"{each.title}: {each.evidence}" for each in findings)
    return Report(
        command="rollback app-watch",
        title=f"Watched for {duration(watched.took_s)}",
        environment=call.name,
        findings=tuple(findings),
        text=f"{ill}. {said}" if ill else said,
        data={"polls": watched.polls, "failures": dict(watched.failures), "asked": asked},
    )


def _rate_before(before: str) -> str:
    failed, _, asked = before.partition("/")
    if not (failed.isdecimal() and asked.isdecimal() and int(asked)):
        return ""
    return f"{_percent(int(failed), int(asked))} before ({failed} of {asked}), "


def _percent(part: int, whole: int) -> str:
    return f"{100.0 * part / whole:.1f} %" if part else "0 %"


def _status(found: Serving) -> Status:
    return {"applied": Status.OK, "absent": Status.FAILED, "unknown": Status.UNKNOWN}[found.word]


def _waiting(scene: Scene, held: Held | None) -> int:
    if held is None:
        return 0
    since = held.since_ms or scene.live.created_ms
    return sum(each.created_ms > since and each.id != scene.live.id for each in scene.releases)


def _table(call: Call, scene: Scene, *, now_ms: int) -> Table:
    rows: list[tuple[str, ...]] = []
    for each in (scene.live, *scene.targets[:_LISTED]):
        kept = read_health(call, each, scene.releases)
        message = each.message.splitlines()[0][:40] if each.message else ""
        by = f"{message} ({each.author})".strip() if each.author else message
        state = "live" if each.id == scene.live.id else "was live"
        if each.candidate is False and state == "was live":
            state = "let go by Vercel"
        rows.append(
            (
                each.id,
                state,
                each.commit[:8] or "-",
                age(each.created_ms, now_ms=now_ms),
                by or "-",
                kept.said if kept else "-",
            )
        )
    columns: tuple[str, ...] = (
        "deployment", "state", "commit", "age", "what, and by whom", "health when live",
    )  # fmt: skip
    if all(row[-1] == "-" for row in rows):
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    return Table("", columns, tuple(rows))
