"""Bring production forward again, and let its builds go live by themselves as before."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING

from opsctl.adapters.vercel import Deployment, VercelApi
from opsctl.adapters.vercel_release import Held, held_back, was_live
from opsctl.areas.rollback.app_facts import (
    Scene,
    choose_target,
    describe,
    read_scene,
    refuse_unsettled,
    settings_of,
)
from opsctl.areas.rollback.app_steps import (
    assigned,
    error_rate_now,
    health_steps,
    nothing,
    own_probe,
    serves,
    watch_steps,
)
from opsctl.core.errors import Exit, OpsError
from opsctl.core.plan import Irreversible, Plan, Step, Undo

if TYPE_CHECKING:
    from opsctl.core.call import Call


def plan_forward(call: Call, *, to: str | None, watch_s: float) -> Plan:
    """Return the plan that promotes again and lets production builds go live by themselves.

    Without `to` it is the newest ready production build, unless that is the very one that was
    rolled back from: that is done only when it is named.
    """
    settings, now_ms = settings_of(call), round(time.time() * 1000)
    api = VercelApi(settings)
    call.say("Asking what is live now")
    scene = read_scene(api)
    refuse_unsettled(scene)
    held = held_back(scene.project, scene.live.id)
    target = _forward_target(api, scene, held, to)
    moves = target.id != scene.live.id or scene.production.split
    if not moves and held is None:
        return nothing(call, scene, "rollback app forward", "Nothing is held back.")
    steps = []
    if moves:
        steps.append(
            Step(
                id="promote",
                title=f"Promote {target.id} to production",
                safety="verify",
                action=api.promote(scene.project, target),
                check=serves(call, target),
                undo=_undo_of_forward(call, api, scene, target),
                detail=(f"https://{target.url}", "nothing is built"),
            )
        )
    steps.append(
        Step(
            id="assignment",
            title="Let production builds go live by themselves again",
            safety="verify",
            action=api.auto_assign(scene.project, on=True),
            # Without a move the last request stays the rollback: only the setting can tell.
            check=assigned(call) if moves else own_probe(call, "app-held", "--expect", "assigned"),
            undo=Undo(
                title="Keep production builds from going live by themselves",
                action=api.auto_assign(scene.project, on=False),
                check=own_probe(call, "app-held", "--expect", "held", attempts=3),
            ),
        )
    )
    branch = scene.project.link.production_branch if scene.project.link else ""
    before = error_rate_now(call)
    notes = [
        f"Target: {describe(target, now_ms=now_ms)}."
        if moves
        else f"{target.id} is live and stays so; only automatic assignment is given back.",
        "" if was_live(target) else "It has never been live: nobody knows how it does there.",
        f"Afterwards the next push{f' to {branch}' if branch else ''} goes live by itself.",
        f"It was rolled back for: {held.reason}" if held and held.reason else "",
    ]
    return Plan(
        command="rollback app forward",
        environment=call.name,
        protected=call.environment.protected,
        title=f"Bring production forward to {target.commit[:12] or target.id}",
        steps=(*steps, *health_steps(call), *watch_steps(call, watch_s, before)),
        notes=tuple(note for note in notes if note),
        facts={
            "target": asdict(target),
            "live": asdict(scene.live),
            "domains": {each.name: each.deployment for each in scene.production.domains},
            "auto_assign": scene.project.auto_assign,
            "error_rate_before": before,
        },
        estimate_s=10.0 + (watch_s if call.environment.health else 0.0),
    )


def _forward_target(api: VercelApi, scene: Scene, held: Held | None, to: str | None) -> Deployment:
    if to is not None:
        found = next(
            (each for each in scene.releases if each.id == to or each.url == to
             or (len(to) >= 7 and each.commit.startswith(to))),
            None,
        )  # fmt: skip
        return found or choose_target(api, scene, to)
    newest = max(scene.releases, key=lambda each: each.created_ms, default=scene.live)
    if held is not None and newest.id == held.before and newest.id != scene.live.id:
        raise OpsError(
            "There is nothing newer to bring production forward to",
            why=f"the newest ready production build is {newest.id}, which was rolled back from"
            + (f": {held.reason}" if held.reason else ""),
            hint="push the fix and wait until it is built; or take that one all the same: "
            f"opsctl rollback app forward --to {newest.id}",
            code="nothing-newer",
            exit=Exit.REFUSED,
        )
    return newest


def _undo_of_forward(
    call: Call, api: VercelApi, scene: Scene, target: Deployment
) -> Undo | Irreversible:
    if target.id == scene.live.id:
        return Irreversible("it was live before; only other domains are moved")
    return Undo(
        title=f"Point production back to {scene.live.id}",
        action=api.rollback(scene.project, scene.live, reason="undone with opsctl"),
        check=serves(call, scene.live),
    )
