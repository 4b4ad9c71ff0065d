"""Every fault at every request of a rotation: nothing twice, no key lost, no word wrong.

CI runs a sample; with OPSCTL_SOAK=1 all of it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from opsctl.sandbox.faults import KINDS
from opsctl.sandbox.plane import Answered, Asked, ControlPlane

from .conftest import PUBLIC, SECRET, RotationWorld, all_sinks

SOAK = os.environ.get("OPSCTL_SOAK") == "1"

Fits = Callable[[Asked], bool]


def _writes(method: str, path: str, *, target: str = "") -> Fits:
    def fits(asked: Asked) -> bool:
        body = asked.body if isinstance(asked.body, dict) else {}
        aimed = not target or body.get("target") == [target]
        return asked.method == method and path in asked.path and aimed

    return fits


STEPS: dict[str, tuple[str, Fits]] = {
    "make": ("supabase", _writes("POST", "/api-keys")),
    "split": ("vercel", _writes("PATCH", "/env/")),
    "vercel-production": ("vercel", _writes("POST", "/env", target="production")),
    "vercel-preview": ("vercel", _writes("POST", "/env", target="preview")),
    "github": ("github", _writes("PUT", "/actions/secrets/")),
    "github-environment": ("github", _writes("PUT", "/environments/")),
    "dependabot": ("github", _writes("PUT", "/dependabot/")),
    "edge-functions": ("supabase", _writes("POST", "/secrets")),
    "deploy": ("vercel", _writes("POST", "/deployments")),
    "end": ("supabase", _writes("DELETE", "/api-keys/")),
}
OF_PUBLISHABLE = ("make", "split", "vercel-production", "vercel-preview", "deploy", "end")
MATRIX = [
    (kind, step, fault)
    for kind, steps in (("secret", tuple(STEPS)), ("publishable", OF_PUBLISHABLE))
    for step in steps
    for fault in KINDS
]
SAMPLE = [
    ("secret", "make", "error-after"),
    ("secret", "vercel-preview", "reset-after"),
    ("publishable", "deploy", "truncated"),
    ("secret", "end", "error-after"),
]


def planes(world: RotationWorld) -> dict[str, ControlPlane]:
    return {"vercel": world.vercel, "supabase": world.supabase, "github": world.github}


def count_effects(world: RotationWorld) -> Counter[str]:
    """Count what the planes really did, by what it was done to."""
    effects: Counter[str] = Counter()
    for plane in planes(world).values():
        answer = plane.answer

        def counted(asked: Asked, answer: Any = answer) -> Answered:
            found: Answered = answer(asked)
            if asked.method != "GET" and found.status < 300:
                body = asked.body if isinstance(asked.body, dict) else {}
                effects[f"{asked.method} {asked.path} {body.get('target', '')}"] += 1
            return found

        plane.answer = counted  # type: ignore[method-assign]
    return effects


def strike(world: RotationWorld, step: str, act: Callable[[ControlPlane, Asked], None]) -> None:
    """Do something when the first request of a step comes in, before it is answered."""
    name, fits = STEPS[step]
    plane = planes(world)[name]
    handle, struck = plane.handle, threading.Event()

    def then(asked: Asked) -> Answered:
        if fits(asked) and not struck.is_set():
            struck.set()
            act(plane, asked)
        return handle(asked)

    plane.handle = then  # type: ignore[method-assign]


def sinks_of(kind: str) -> list[dict[str, Any]]:
    kinds = ("vercel", "github", "github-environment", "dependabot", "edge-functions")
    return [each for each in all_sinks() if each["key"] == kind and each["kind"] in kinds]


def rotate(world: RotationWorld, kind: str) -> Any:
    return world.opsctl("rotate-keys", "supabase", "--only", kind, "--revoke", "--yes", "--quiet",
                        "--format", "json")  # fmt: skip


def check_finished(world: RotationWorld, kind: str, old: str, effects: Counter[str]) -> None:
    new = world.key(kind, world.new_name)
    variable = SECRET if kind == "secret" else PUBLIC
    wanted = world.holds(new, new)
    kept = [name for name in wanted
            if name.startswith((f"vercel {variable}", "github", "edge"))]  # fmt: skip
    if kind == "publishable":
        kept = [name for name in kept if name.startswith("vercel")]
    assert {name: wanted[name] for name in kept} == {name: world.places()[name] for name in kept}
    assert old not in [each["api_key"] for each in world.supabase.keys]
    assert new == world.runs_with()[variable]
    assert {} == {what: times for what, times in effects.items() if times > 1}
    assert 0 == world.opsctl("rotate-keys", "status").exit


@pytest.mark.parametrize("case", MATRIX if SOAK else SAMPLE, ids="-".join)
def test_no_fault_loses_a_key_or_does_a_thing_twice(
    bare_world: RotationWorld, case: tuple[str, str, str]
) -> None:
    kind, step, fault = case
    world = bare_world
    world.write_settings(world.app, sinks=sinks_of(kind))  # type: ignore[attr-defined]
    places, keys, old = world.places(), list(world.supabase.keys), world.key(kind)
    effects = count_effects(world)
    how = {"delay_s": 0.5} if fault == "latency" else {}
    strike(world, step, lambda plane, asked: plane.inject(
        fault, asked.path, method=asked.method, **how  # type: ignore[arg-type]
    ))  # fmt: skip

    first = rotate(world, kind)

    # Whatever went wrong: what is live was well before or is now, and has a key that works.
    built_with = world.runs_with()[SECRET if kind == "secret" else PUBLIC]
    assert built_with in [each["api_key"] for each in world.supabase.keys], first.stdout
    if first.exit == 0:
        check_finished(world, kind, old, effects)
        return
    assert first.exit in (3, 4), first.stdout
    run = first.json["data"]["run"]
    if first.exit == 3:
        assert Counter() == effects
        assert places == world.places()
        again = rotate(world, kind)
        assert 0 == again.exit, again.stdout
        check_finished(world, kind, old, effects)
        return
    for plane in planes(world).values():
        plane.calm()
    if step != "end" and MATRIX.index(case) % 2:
        aborted = world.opsctl("rotate-keys", "abort", "--yes", "--quiet", "--format", "json")
        assert 0 == aborted.exit, aborted.stdout
        assert places == world.places()
        assert keys == world.supabase.keys
        assert world.old == world.vercel.live
        assert 0 == world.opsctl("rotate-keys", "status").exit
        return
    resumed = world.opsctl("runs", "resume", run, "--yes", "--quiet", "--format", "json")
    assert 0 == resumed.exit, resumed.stdout
    check_finished(world, kind, old, effects)


WHEN = ("before it arrives", "after its effect", "after its answer")
KILLS = [(step, when) for step in STEPS for when in WHEN]


@pytest.mark.parametrize(
    "case", KILLS if SOAK else [("make", WHEN[1]), ("vercel-preview", WHEN[1])], ids=", ".join
)
def test_a_rotation_that_is_killed_is_resumed_by_another_process(
    bare_world: RotationWorld, case: tuple[str, str]
) -> None:
    step, when = case
    world = bare_world
    world.write_settings(world.app, sinks=sinks_of("secret"))  # type: ignore[attr-defined]
    old, effects = world.key("secret"), count_effects(world)
    child: list[subprocess.Popen[str]] = []

    def kill(plane: ControlPlane, asked: Asked) -> None:
        if when == WHEN[0]:
            os.kill(child[0].pid, signal.SIGKILL)
            child[0].wait()
            plane.inject("reset-before", asked.path, method=asked.method)
        elif when == WHEN[1]:
            handle = plane.answer

            def then(again: Asked) -> Answered:
                found: Answered = handle(again)
                os.kill(child[0].pid, signal.SIGKILL)
                child[0].wait()
                plane.answer = handle  # type: ignore[method-assign]
                return found

            plane.answer = then  # type: ignore[method-assign]
        else:
            threading.Timer(0.05, os.kill, (child[0].pid, signal.SIGKILL)).start()

    strike(world, step, kill)
    argv = [sys.executable, "-m", "opsctl", "rotate-keys", "supabase", "--only", "secret",
            "--revoke", "--yes", "--quiet", "--env", "production"]  # fmt: skip
    child.append(
        subprocess.Popen(argv, cwd=world.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                         text=True)
    )  # fmt: skip
    child[0].communicate()
    assert -signal.SIGKILL == child[0].returncode
    assert world.runs_with()[SECRET] in [each["api_key"] for each in world.supabase.keys]
    nagging = world.opsctl("rotate-keys", "status", "--format", "json")
    if step == "end" and when == WHEN[2] and nagging.exit == 0:
        check_finished(world, "secret", old, effects)  # it was quicker than the kill
        return
    assert 1 == nagging.exit

    run = nagging.json["data"]["rotations"][0]["run"]
    resumed = world.opsctl("runs", "resume", run, "--yes", "--quiet", "--format", "json")

    assert 0 == resumed.exit, resumed.stdout
    check_finished(world, "secret", old, effects)


def test_the_matrix_is_as_large_as_it_is_said_to_be() -> None:
    assert 150 <= len(MATRIX)
    assert set(SAMPLE) <= set(MATRIX)
