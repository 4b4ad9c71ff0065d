"""Point production back to a deployment that was live, watch it, and say what that means."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING

from opsctl.adapters.vercel import VercelApi
from opsctl.adapters.vercel_release import Held, held_back
from opsctl.areas.rollback import app_credentials, app_schema, app_target
from opsctl.areas.rollback.app_facts import (
    Scene,
    choose_target,
    commit_of,
    describe,
    read_health,
    read_scene,
    refuse_unsettled,
    settings_of,
)
from opsctl.areas.rollback.app_steps import (
    as_json,
    assigned,
    error_rate_now,
    health_steps,
    nothing,
    own_probe,
    serves,
    watch_steps,
)
from opsctl.core.plan import Irreversible, Plan, Step, Undo

if TYPE_CHECKING:
    from opsctl.core.call import Call

_LONGEST_REASON = 250
"""Vercel keeps no more."""


def plan_app(
    call: Call,
    *,
    to: str,
    reason: str,
    watch_s: float,
    accept_schema: bool,
    accept_credentials: bool,
    accept_ill: bool,
) -> Plan:
    """Return the plan that points production back to a deployment that was live.

    It is refused where the old code cannot be trusted to run: on today's schema, with the
    credentials that it was built with, or because it is ill at its own address.
    """
    settings, now_ms = settings_of(call), round(time.time() * 1000)
    api = VercelApi(settings)
    call.say("Asking what is live now")
    scene = read_scene(api)
    refuse_unsettled(scene)
    target = choose_target(api, scene, to)
    if target.id == scene.live.id and not scene.production.split:
        return nothing(call, scene, "rollback app", f"{target.id} is live already.")
    call.say("Comparing the schema, the credentials and the target's own health")
    schema = app_schema.judge_schema(call, commit_of(target))
    credentials = app_credentials.judge_credentials(call, api, target, now_ms=now_ms)
    health = app_target.ask_target(call, scene.production, target)
    for error, accepted in (
        (app_schema.refusal(schema, call), accept_schema),
        (app_credentials.refusal(credentials, target, now_ms=now_ms), accept_credentials),
        (app_target.refusal(health, target), accept_ill),
    ):
        if error is not None and not accepted:
            raise error
    kept = read_health(call, target, scene.releases)
    held = held_back(scene.project, scene.live.id)
    before = error_rate_now(call)
    notes = [
        f"Target: {describe(target, now_ms=now_ms)}"
        + (f"; when it was live: {kept.said}." if kept else "."),
        f"Live now: {describe(scene.live, now_ms=now_ms)}.",
        schema.said,
        *schema.breaks,
        *_credential_notes(credentials),
        *health.notes,
        *([f"Asked at its own address, the target is well: {', '.join(health.well)}."]
          if health.well else []),
        *health.ill,
        "Afterwards pushes build and do NOT go live, until: opsctl rollback app forward.",
        "Cron jobs go back to those of the target, too.",
        *_more_notes(call, scene, held),
    ]  # fmt: skip
    move = Step(
        id="rollback",
        title=f"Point production back to {target.id}",
        safety="verify",
        action=api.rollback(scene.project, target, reason=reason[:_LONGEST_REASON]),
        check=serves(call, target),
        undo=Undo(
            title=f"Promote {scene.live.id} again",
            action=api.promote(scene.project, scene.live),
            check=serves(call, scene.live),
        )
        if scene.live.id != target.id
        else Irreversible("it was live before; only other domains are moved"),
        detail=(
            f"https://{target.url}",
            f"until {', '.join(each.name for each in scene.production.domains)} point to it; "
            "nothing is built",
        ),
    )
    return Plan(
        command="rollback app",
        environment=call.name,
        protected=call.environment.protected,
        title=f"Roll production back to {target.commit[:12] or target.id}",
        steps=(
            *_assignment_before(call, api, scene, held),
            move,
            *health_steps(call),
            *watch_steps(call, watch_s, before),
            _held_after(call),
        ),
        notes=tuple(note for note in notes if note),
        facts={
            "target": asdict(target),
            "live": asdict(scene.live),
            "domains": {each.name: each.deployment for each in scene.production.domains},
            "auto_assign": scene.project.auto_assign,
            "schema": as_json(schema),
            "credentials": as_json(credentials),
            "accepted": {
                "schema": accept_schema,
                "credentials": accept_credentials,
                "ill": accept_ill,
            },
            "error_rate_before": before,
            "reason": reason,
        },
        estimate_s=10.0 + (watch_s if call.environment.health else 0.0),
    )


def _assignment_before(call: Call, api: VercelApi, scene: Scene, held: Held | None) -> list[Step]:
    """Return a look at how it is, whose undo gives automatic assignment back."""
    if scene.project.auto_assign is not True or held is not None:
        return []
    return [
        Step(
            id="assignment",
            title="Production builds go live by themselves until now",
            safety="idempotent",
            check=assigned(call),
            undo=Undo(
                title="Let production builds go live by themselves again",
                action=api.auto_assign(scene.project, on=True),
                check=assigned(call),
            ),
        )
    ]


def _held_after(call: Call) -> Step:
    return Step(
        id="afterwards",
        title="Say whether pushes go live by themselves now",
        safety="idempotent",
        check=own_probe(call, "app-held", tells=True),
    )


def _credential_notes(fit: app_credentials.CredentialFit) -> list[str]:
    notes = []
    if fit.credentials:
        notes.append(f"It comes back with OLD credentials: {'; '.join(fit.credentials)}.")
    if fit.others:
        notes.append(f"It comes back with old variables: {'; '.join(fit.others)}.")
    return [*notes, *fit.notes]


def _more_notes(call: Call, scene: Scene, held: Held | None) -> list[str]:
    notes = []
    if held is not None:
        notes.append("Releases are held back already; undoing this does not change that.")
    if scene.production.split:
        notes.append("The production domains serve different deployments now.")
    if not call.environment.health:
        notes.append("The settings have no health endpoint, so nobody watches it afterwards.")
    return notes
