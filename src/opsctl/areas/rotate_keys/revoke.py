"""End the keys that finished rotations have replaced: on proof, or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from opsctl.adapters.supabase_keys import ApiKey, SupabaseKeys
from opsctl.areas.rotate_keys.plan import leak_note
from opsctl.areas.rotate_keys.proofs import LEGACY
from opsctl.areas.rotate_keys.rotations import Rotation, read_rotations, unended
from opsctl.areas.rotate_keys.signing import end_signing_steps, unended_signing
from opsctl.areas.rotate_keys.sources import supabase_of
from opsctl.areas.rotate_keys.steps import (
    drain_steps,
    end_steps,
    health_steps,
    ill_now,
    live_steps,
)
from opsctl.core.errors import Exit, OpsError
from opsctl.core.plan import Plan, Step

if TYPE_CHECKING:
    from opsctl.core.call import Call


def plan_revoke(call: Call, *, compromised: bool, reason: str) -> Plan:
    """Return the plan that ends replaced keys: seen live again, unused, then ended.

    Raises OpsError `rotation-unfinished` while a rotation has stopped half-way, `no-successor`
    where the new key is gone, `legacy-together` (exit 5).
    """
    api = SupabaseKeys(supabase_of(call))
    keys, legacy = api.keys(), api.legacy_enabled()
    old: list[dict[str, str]] = []
    tokens: list[str] = []
    names: list[str] = []
    ended: list[Step] = []
    newest: dict[str, Rotation] = {}
    for each in read_rotations(call):
        signing = each.run.facts.get("signing")
        replaced = unended_signing(call, signing) if signing and not each.stopped else None
        if signing and replaced is not None:
            tokens.append(each.token)
            names.append(f"{replaced.algorithm} signing key")
            ended += end_signing_steps(call, replaced, known=str(signing["known"]))
        if each.run.command != "rotate-keys supabase":
            continue
        newest |= dict.fromkeys((str(one["for"]) for one in each.old), each)
        left = unended(each, keys, legacy)
        if left and each.stopped and each.stopped_run == each.run.id:
            raise OpsError(
                "A rotation has stopped half-way, so nothing is ended",
                why=f"run {each.stopped_run}: {each.run.title}",
                hint=f"opsctl runs resume {each.stopped_run}",
                code="rotation-unfinished",
                exit=Exit.REFUSED,
            )
        if left:
            tokens.append(each.token)
            old += [{name: str(value) for name, value in one.items()} for one in left]
    steps: list[Step] = []
    if old:
        _refuse_half_of_legacy(old)
        steps += [*health_steps(call, ill_now(call)), *drain_steps(call, old)]
        # Last before the end: what was rolled back meanwhile must be seen.
        for kind in dict.fromkeys(each["for"] for each in old):
            steps += _seen_live(call, kind, newest[kind], keys)
        steps += end_steps(call, old, reason=reason, compromised=compromised)
    steps += ended
    names += [f"{each['kind']} {each['name']}" for each in old]
    return Plan(
        command="rotate-keys revoke",
        environment=call.name,
        protected=call.environment.protected,
        title=f"End the replaced keys: {', '.join(names)}" if names else "End no key",
        steps=tuple(steps),
        notes=tuple(leak_note(old)) if names else ("No rotation has left an old key that works.",),
        facts={"tokens": tokens, "old": old},
        estimate_s=10.0 + 3.0 * len(steps),
    )


def _seen_live(call: Call, kind: str, newest: Rotation, keys: Sequence[ApiKey]) -> list[Step]:
    """Return the look at the newest key of a kind; raises OpsError where there is none."""
    if not any(each.kind == kind and each.name == newest.token for each in keys):
        raise OpsError(
            f"No {kind} key has taken the place of the old one, so it is not ended",
            why=f"{newest.token}, which run {newest.run.id} made, is gone",
            hint=f"opsctl rotate-keys supabase --only {kind}",
            code="no-successor",
            exit=Exit.REFUSED,
        )
    return live_steps(call, kind, newest.token, float(newest.run.facts.get("since", 0.0)))


def _refuse_half_of_legacy(old: Sequence[Mapping[str, str]]) -> None:
    replaced = {each["name"] for each in old if each["kind"] == "legacy"}
    if replaced and replaced != set(LEGACY):
        raise OpsError(
            "Legacy keys are ended together, and one of them was not replaced",
            why=f"Supabase turns both off at once; replaced was {', '.join(sorted(replaced))}",
            hint="opsctl rotate-keys supabase --legacy, for the other one: --only",
            code="legacy-together",
            exit=Exit.REFUSED,
        )
