"""End the keys that finished rotations have replaced: on proof, or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsctl.adapters.supabase_keys import SupabaseKeys
from opsctl.areas.rotate_keys.plan import (
    drain_steps,
    end_steps,
    health_steps,
    ill_now,
    leak_note,
    live_steps,
)
from opsctl.areas.rotate_keys.rotations import read_rotations, unended
from opsctl.areas.rotate_keys.signing import end_signing_steps, unended_signing
from opsctl.areas.rotate_keys.sources import supabase_of
from opsctl.core.errors import Exit, OpsError
from opsctl.core.plan import Plan, Step

if TYPE_CHECKING:
    from opsctl.core.call import Call


def plan_revoke(call: Call, *, compromised: bool, reason: str) -> Plan:
    """Return the plan that ends replaced keys: seen live again, unused, then ended.

    Raises OpsError `rotation-unfinished` (exit 5) while a rotation has stopped half-way.
    """
    api = SupabaseKeys(supabase_of(call))
    keys, legacy = api.keys(), api.legacy_enabled()
    steps: list[Step] = []
    old: list[dict[str, str]] = []
    tokens: list[str] = []
    names: list[str] = []
    seen: set[str] = set()
    ended: list[Step] = []
    for each in read_rotations(call):
        signing = each.run.facts.get("signing")
        replaced = unended_signing(call, signing) if signing and not each.stopped else None
        if signing and replaced is not None:
            tokens.append(each.token)
            names.append(f"{replaced.algorithm} signing key")
            ended += end_signing_steps(call, replaced, known=str(signing["known"]))
        if each.run.command != "rotate-keys supabase":
            continue
        left = unended(each, keys, legacy)
        if left and each.stopped and each.stopped_run == each.run.id:
            raise OpsError(
                "A rotation has stopped half-way, so nothing is ended",
                why=f"run {each.stopped_run}: {each.run.title}",
                hint=f"opsctl runs resume {each.stopped_run}",
                code="rotation-unfinished",
                exit=Exit.REFUSED,
            )
        if not left:
            continue
        tokens.append(each.token)
        old += [{name: str(value) for name, value in one.items()} for one in left]
        for kind in (str(one["for"]) for one in left):
            if kind not in seen and any(
                key.kind == kind and key.name == each.token for key in keys
            ):
                seen.add(kind)
                since = float(each.run.facts.get("since", 0.0))
                steps += live_steps(call, kind, each.token, since)
    if old:
        steps += [*health_steps(call, ill_now(call)), *drain_steps(call, old)]
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
