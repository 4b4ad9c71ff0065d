"""The plan that replaces Supabase's API keys: made, tried, kept, built, seen live, then ended.

Until the old key is ended everything can be undone: its value can be read again.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace as with_
from typing import TYPE_CHECKING, cast

from opsctl.adapters.supabase_keys import Kind, SupabaseKeys
from opsctl.areas.rotate_keys.facts import (
    Release,
    Replaced,
    choose_replaced,
    new_token,
    read_release,
    require_programs,
)
from opsctl.areas.rotate_keys.looks import own_probe
from opsctl.areas.rotate_keys.rotations import refuse_unfinished
from opsctl.areas.rotate_keys.sources import supabase_of, supabase_source
from opsctl.areas.rotate_keys.steps import (
    deploy_steps,
    drain_steps,
    end_steps,
    health_steps,
    ill_now,
    keep_steps,
    key_look,
    live_steps,
)
from opsctl.core.action import Command
from opsctl.core.errors import Exit, OpsError
from opsctl.core.plan import Loss, Plan, Step, Undo
from opsctl.core.progress import duration

if TYPE_CHECKING:
    from opsctl.core.call import Call


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
            check=key_look(call, each.kind, token, "there"),
            undo=Undo(
                title=f"End the new {each.kind} key {token}",
                action=api.delete(
                    "{{id}}", reason="rotation undone", fill=(("id", f"own:{' '.join(words)}"),)
                ),
                check=key_look(call, each.kind, token, "gone"),
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
