"""The plan that replaces Supabase's API keys: made, tried, kept, built, seen live, then ended.

Until the old key is ended everything can be undone: its value can be read again.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace as with_
from typing import TYPE_CHECKING, Any, cast

from opsctl.adapters.health_watch import what_is_wrong
from opsctl.adapters.http import endpoint_probe, fetch_all
from opsctl.adapters.supabase_keys import Kind, SupabaseKeys
from opsctl.adapters.vercel import VercelApi
from opsctl.areas.rotate_keys.facts import (
    Release,
    Replaced,
    choose_replaced,
    new_token,
    read_release,
    require_programs,
)
from opsctl.areas.rotate_keys.looks import own_probe
from opsctl.areas.rotate_keys.proofs import MARK
from opsctl.areas.rotate_keys.rotations import refuse_unfinished
from opsctl.areas.rotate_keys.sinks import Held, Place, after_split, stage_steps, vercel_of
from opsctl.areas.rotate_keys.sources import supabase_of, supabase_source
from opsctl.core.action import Command
from opsctl.core.errors import Exit, OpsError
from opsctl.core.plan import Irreversible, Loss, Plan, Step, Undo
from opsctl.core.progress import duration

if TYPE_CHECKING:
    from opsctl.core.call import Call

_LIVE_WAIT_S = 60.0
_LONGEST_WAIT_S = 600.0
"""A window of no use that is no longer than this is waited for; else the run stops there."""


def plan_supabase(
    call: Call,
    *,
    kinds: Sequence[str],
    replace: Sequence[str],
    legacy: bool,
    revoke: bool,
    emergency: bool,
    compromised: bool,
    reason: str,
) -> Plan:
    """Return the plan that replaces the project's keys everywhere they are kept.

    `revoke`: it also ends the old ones, once they are live and the old ones unused.
    `emergency`: it ends the old ones first. Raises OpsError where it cannot be done safely.
    """
    refuse_unfinished(call)
    call.say("Reading the project's keys and what each place holds")
    replaced = choose_replaced(call, kinds, replace=replace, legacy=legacy)
    places = [place for each in replaced for place, _ in each.places]
    require_programs(places)
    release = read_release(call, places)
    _refuse_unproven(call, replaced)
    if legacy and len(kinds) < 2 and (revoke or emergency):
        raise OpsError(
            "Legacy keys are ended together",
            why="Supabase turns anon and service_role off at once",
            hint="leave out --only",
            code="legacy-together",
        )
    token, since = new_token(), time.time()
    made = [step for each in replaced for step in _make(call, each, token, reason)]
    kept = [
        step for each in replaced for step in keep_steps(
            call, each.places, new=supabase_source(each.kind, token),
            old=each.source, token=token, way_back=not emergency,
        )
    ]  # fmt: skip
    built = deploy_steps(call, release, token, way_back=not emergency)
    seen = [step for each in replaced for step in live_steps(call, each.kind, token, since)]
    ill = ill_now(call)
    ended = end_steps(call, _ended(replaced), reason=reason, compromised=compromised)
    drained = drain_steps(call, _ended(replaced))
    if emergency:
        steps = [*made, *ended, *kept, *built, *seen, *health_steps(call, ill)]
    else:
        # Seen once more last: what was rolled back while the old ones drained must be noticed.
        again = [with_(step, id=f"{step.id}-again") for step in seen]
        rest = [*drained, *again, *ended] if revoke else []
        steps = [*made, *kept, *built, *seen, *health_steps(call, ill), _way_back(call, replaced),
                 *rest]  # fmt: skip
    names = ", ".join(f"{each.kind} key {each.old.name}" for each in replaced)
    return Plan(
        command="rotate-keys supabase",
        environment=call.name,
        protected=call.environment.protected,
        title=f"Replace the {names} in {len(places)} places",
        steps=tuple(steps),
        losses=_losses(replaced) if emergency else (),
        notes=(
            *_notes(call, replaced, release, revoke=revoke, emergency=emergency),
            *(
                f"{name} is ill already, so it proves nothing afterwards: {said}."
                for name, said in ill.items()
            ),
        ),
        facts={
            "token": token,
            "since": since,
            "old": _ended(replaced),
            "kinds": [each.kind for each in replaced],
            "places": [place.id for place in places],
            "live": release.live.id if release is not None else None,
            "ends": revoke or emergency,
            "emergency": emergency,
            "compromised": compromised,
            "reason": reason,
        },
        estimate_s=20.0 + 3.0 * len(steps) + (90.0 if release is not None else 0.0),
        needs_name=emergency,
    )


def keep_steps(
    call: Call,
    places: Sequence[tuple[Place, Held]],
    *,
    new: str,
    old: str | None,
    token: str,
    way_back: bool = True,
) -> list[Step]:
    """Return the steps that write a new key into every place.

    Without a `way_back` none of them is undone: what was there is dead.

    A record of Vercel that several targets share is parted, so what parts it is known to those
    that come later.
    """
    steps: list[Step] = []
    parted: dict[str, tuple[tuple[str, ...], list[str]]] = {}
    for place, held in places:
        touched: tuple[str, ...] = ()
        if held.record is not None and held.record.id in parted:
            gone, by = parted[held.record.id]
            for target in gone:
                held = after_split(held, target)
            touched = tuple(by)
        found = stage_steps(call, place, held, new=new, old=old, token=token, touched=touched)
        if len(found) > 1 and held.record is not None:
            gone, by = parted.get(held.record.id, ((), []))
            parted[held.record.id] = ((*gone, place.target), [*by, found[0].id])
        steps += found
    if way_back:
        return steps
    return [with_(each, undo=Irreversible("what was there is dead")) for each in steps]


def deploy_steps(
    call: Call, release: Release | None, token: str, *, way_back: bool = True
) -> list[Step]:
    """Return the step that builds what is live anew, with the variables as they are by then."""
    if release is None:
        return []
    api = VercelApi(vercel_of(call))
    build_s = call.environment.rotation.build_s
    return [
        Step(
            id="deploy",
            title=f"Build {release.live.commit[:12] or release.live.id} again for production",
            safety="verify",
            action=api.redeploy(release.live, mark={MARK: token}),
            check=own_probe(
                call, "deployed", "--token", token, "--wait", f"{build_s:g}",
                attempts=1, timeout_s=build_s + 120.0,
            ),
            undo=Undo(
                title=f"Promote {release.live.id} again, which was built with the old keys",
                action=api.promote(release.project, release.live),
                check=own_probe(call, "serves", "--deployment", release.live.id, "--wait", "120",
                                attempts=2, timeout_s=300.0),
            )
            if way_back
            else Irreversible("what was live has keys that are dead"),
            detail=(f"https://{release.live.url}", "until it is built and production serves it"),
        )
    ]  # fmt: skip


def live_steps(
    call: Call, key: str, token: str, since: float, *, source: str | None = None
) -> list[Step]:
    """Return the look whether the application runs with a new key."""
    return [
        Step(
            id=f"live-{key}",
            title=f"See the new {key} key live",
            safety="idempotent",
            check=own_probe(
                call, "live", "--source", source or supabase_source(key, token), "--key", key,
                "--since", f"{since:.3f}", "--wait", f"{_LIVE_WAIT_S:g}", attempts=1,
            ),
        )
    ]  # fmt: skip


def ill_now(call: Call) -> dict[str, str]:
    """Return what is wrong with health endpoints before anything is changed, by name."""
    endpoints = call.environment.health
    answers = fetch_all(endpoints) if endpoints else ()
    wrong = map(what_is_wrong, endpoints, answers)
    return {each.name: said for each, said in zip(endpoints, wrong, strict=True) if said}


def health_steps(call: Call, ill: Collection[str] = ()) -> list[Step]:
    """Return a look at each health endpoint but those that were ill before."""
    return [
        Step(
            id=f"health-{endpoint.name}",
            title=f"{endpoint.name} answers {endpoint.status}",
            safety="idempotent",
            check=endpoint_probe(endpoint),
            detail=(endpoint.url,),
        )
        for endpoint in call.environment.health
        if endpoint.name not in ill
    ]


def drain_steps(call: Call, old: Sequence[dict[str, str]]) -> list[Step]:
    """Return the look whether the old keys were unused for as long as the settings say."""
    hours = call.environment.rotation.drain_h
    names = ["legacy" if each["kind"] == "legacy" else each["prefix"] for each in old]
    wait_s = hours * 3600 + 30.0 if hours * 3600 <= _LONGEST_WAIT_S else 0.0
    words = [word for name in dict.fromkeys(names) for word in ("--old", name)]
    return [
        Step(
            id="drained",
            title=f"See the old keys unused for {duration(hours * 3600)}",
            safety="idempotent",
            check=own_probe(
                call, "drained", *words, "--hours", f"{hours:g}", "--wait", f"{wait_s:g}",
                attempts=1, timeout_s=wait_s + 120.0,
            ),
        )
    ]  # fmt: skip


def end_steps(
    call: Call, old: Sequence[dict[str, str]], *, reason: str, compromised: bool
) -> list[Step]:
    """Return the steps that end old keys for good, and turn legacy ones off."""
    api = SupabaseKeys(supabase_of(call))
    steps = [
        Step(
            id=f"end-{each['kind']}-{each['name']}",
            title=f"End the old {each['kind']} key {each['name']}",
            safety="verify",
            action=api.delete(
                each["id"], reason=reason or "rotated by opsctl", compromised=compromised
            ),
            check=_key_look(call, each["kind"], each["name"], "gone"),
            undo=Irreversible("an ended key cannot be made again"),
            detail=(f"{each['prefix']}...",) if each["prefix"] else (),
        )
        for each in old
        if each["kind"] != "legacy"
    ]
    if any(each["kind"] == "legacy" for each in old):
        steps.append(
            Step(
                id="end-legacy",
                title="Turn the legacy keys anon and service_role off",
                safety="verify",
                action=api.enable_legacy(on=False),
                check=own_probe(call, "legacy", "--expect", "off"),
                undo=Undo(
                    title="Turn the legacy keys on again",
                    action=api.enable_legacy(on=True),
                    check=own_probe(call, "legacy", "--expect", "on"),
                ),
            )
        )
    return steps


def _make(call: Call, each: Replaced, token: str, reason: str) -> list[Step]:
    api = SupabaseKeys(supabase_of(call))
    source = supabase_source(each.kind, token)
    words = ["rotate-keys", "key-id", "--env", call.name, "--quiet",
             "--kind", each.kind, "--name", token]  # fmt: skip
    return [
        Step(
            id=f"make-{each.kind}",
            title=f"Make a new {each.kind} key, {token}",
            safety="verify",
            action=api.create(
                cast(Kind, each.kind), token, description=reason or f"replaces {each.old.name}"
            ),
            check=_key_look(call, each.kind, token, "there"),
            undo=Undo(
                title=f"End the new {each.kind} key {token}",
                action=api.delete(
                    "{{id}}", reason="rotation undone", fill=(("id", f"own:{' '.join(words)}"),)
                ),
                check=_key_look(call, each.kind, token, "gone"),
            ),
        ),
        Step(
            id=f"try-{each.kind}",
            title=f"Try the new {each.kind} key at the project's gateway",
            safety="idempotent",
            check=own_probe(
                call, "works", "--source", source,
                *(["--secret"] if each.kind == "secret" else []), attempts=5,
            ),
        ),
    ]  # fmt: skip


def _way_back(call: Call, replaced: Sequence[Replaced]) -> Step:
    """Return the look whose undo comes first: without the old keys nothing may go back."""
    words = [word for each in replaced for word in ("--key", f"{each.old.kind}:{each.old.name}")]
    look = own_probe(call, "old-keys", *words)
    command = cast(Command, look.action)
    return Step(
        id="way-back",
        title="See that the old keys still work, so that this can be undone",
        safety="idempotent",
        check=look,
        undo=Undo("See that the old keys still work", command, look),
    )


def _key_look(call: Call, kind: str, name: str, expect: str) -> Any:
    return own_probe(call, "key", "--kind", kind, "--name", name, "--expect", expect)


def _ended(replaced: Sequence[Replaced]) -> list[dict[str, str]]:
    return [
        {"kind": each.old.kind, "name": each.old.name, "id": each.old.id,
         "prefix": each.old.prefix, "for": each.kind, "sha256": each.digest}
        for each in replaced
    ]  # fmt: skip


def _losses(replaced: Sequence[Replaced]) -> tuple[Loss, ...]:
    return tuple(
        Loss(
            "other",
            f"every request with the {each.kind} key {each.old.name}, from the moment it is ended "
            "until the new one is live",
            None,
            None,
            "",
        )
        for each in replaced
    )


def _notes(
    call: Call,
    replaced: Sequence[Replaced],
    release: Release | None,
    *,
    revoke: bool,
    emergency: bool,
) -> list[str]:
    notes = []
    if emergency:
        notes.append(
            "EMERGENCY: the old keys are ended FIRST. The application is down for whoever uses "
            "them until the build is live; mobile apps and scripts stay down until they get the "
            "new ones."
        )
    elif not revoke:
        hours = duration(call.environment.rotation.drain_h * 3600)
        notes.append(
            f"The old keys go on working. Once they are unused for {hours}: "
            f"opsctl rotate-keys revoke --env {call.name}"
        )
    if any(place.target == "preview" for each in replaced for place, _ in each.places):
        notes.append("Previews have the new keys with their next build.")
    if release is not None:
        notes.append(
            "What was built before has the old keys: once they are ended it cannot be rolled back "
            "to."
        )
    if revoke or emergency:
        notes += leak_note(_ended(replaced))
    unread = [place.title for each in replaced for place, held in each.places
              if held.there and not held.digest]  # fmt: skip
    if unread:
        notes.append(f"That these hold the old key is assumed, for nobody can read them: "
                     f"{', '.join(unread)}.")  # fmt: skip
    notes += [
        f"{place.title} holds something else than the old key; undone, it would hold the old key."
        for each in replaced
        for place, held in each.places
        if held.digest and held.digest != each.digest and place.sink.value == "{value}"
    ]
    return notes


def leak_note(old: Sequence[Mapping[str, str]]) -> list[str]:
    """Return what to look for once keys have ended: the same values elsewhere."""
    digests = [each["sha256"] for each in old if each.get("sha256")]
    if not digests:
        return []
    words = " ".join(f"--only sha256:{each}" for each in digests)
    return [
        f"Afterwards look whether the old values lie about: opsctl secrets-scan --history {words}"
    ]


def _refuse_unproven(call: Call, replaced: Sequence[Replaced]) -> None:
    """Refuse what could not be seen live: nothing may be ended on doubt."""
    settings = supabase_of(call)
    if settings.url is None:
        raise OpsError(
            "A new key could not be tried",
            why=f"environments.{call.name}.supabase has no url",
            hint=f"add it: https://{settings.ref}.supabase.co",
            code="no-supabase-url",
            exit=Exit.USAGE,
        )
