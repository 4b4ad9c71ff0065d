"""The steps that the plans of `rotate-keys` share: kept, built, seen live, drained, ended."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace as with_
from typing import TYPE_CHECKING

from opsctl.adapters.health_watch import what_is_wrong
from opsctl.adapters.http import endpoint_probe, fetch_all
from opsctl.adapters.supabase_keys import SupabaseKeys
from opsctl.adapters.vercel import VercelApi
from opsctl.areas.rotate_keys.facts import Release
from opsctl.areas.rotate_keys.looks import own_probe
from opsctl.areas.rotate_keys.proofs import MARK
from opsctl.areas.rotate_keys.sinks import Held, Place, vercel_of
from opsctl.areas.rotate_keys.sources import supabase_of, supabase_source
from opsctl.areas.rotate_keys.staging import after_split, stage_steps
from opsctl.core.action import Probe
from opsctl.core.plan import Irreversible, Step, Undo
from opsctl.core.progress import duration

if TYPE_CHECKING:
    from opsctl.core.call import Call

_LIVE_WAIT_S = 60.0
_LONGEST_WAIT_S = 600.0
"""A window of no use that is no longer than this is waited for; else the run stops there."""


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
            check=key_look(call, each["kind"], each["name"], "gone"),
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


def key_look(call: Call, kind: str, name: str, expect: str) -> Probe:
    """Return the look whether the project has a key: `there` or `gone`."""
    return own_probe(call, "key", "--kind", kind, "--name", name, "--expect", expect)
