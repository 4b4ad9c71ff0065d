"""Every fault at every request that moves production: never twice, and never a wrong word.

CI runs a sample; with OPSCTL_SOAK=1 all of it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from typing import Any

import pytest

from opsctl.areas.rollback.app import plan_app
from opsctl.areas.rollback.app_forward import plan_forward
from opsctl.core.errors import Exit
from opsctl.core.plan import Plan, plan_from_json, plan_to_json
from opsctl.core.report import Status
from opsctl.engine.lock import FileLocks
from opsctl.engine.run import Engine, Outcome
from opsctl.engine.store import SqliteJournal
from opsctl.sandbox.faults import KINDS
from opsctl.sandbox.plane import Answered, Asked

SOAK = os.environ.get("OPSCTL_SOAK") == "1"
STEPS = {
    "rollback": ("POST", "/rollback/"),
    "forward-promote": ("POST", "/promote/"),
    "forward-assignment": ("PATCH", "/projects/"),
    "undo-promote": ("POST", "/promote/"),
    "undo-assignment": ("PATCH", "/projects/"),
}
FAULTS = (*KINDS, "conflict", "queued", "job-fails", "slow-move")
AFTERWARDS = ("seen", "unreadable", "token-expired")
"""How the reads go after the request: well, with 500s, or with a token that has expired."""
MATRIX = [(step, fault, after) for step in STEPS for fault in FAULTS for after in AFTERWARDS]
SAMPLE = {
    ("rollback", "error-after", "seen"),
    ("rollback", "reset-after", "unreadable"),
    ("rollback", "queued", "seen"),
    ("forward-promote", "truncated", "seen"),
    ("undo-promote", "error-after", "token-expired"),
}


class Nobody:
    def confirm_manual(self, step: Any) -> bool:
        return False

    def step_started(self, step: Any, index: int, total: int) -> None: ...

    def step_ended(self, step: Any, status: str, took_ms: float, detail: str) -> None: ...

    def waiting(self, step: Any, message: str) -> None: ...


@dataclass
class Effects:
    """What the plane has really done, in order: the deployment moved to, or `assign`."""

    seen: list[str]


def engine(world: Any) -> Engine:
    journal = SqliteJournal(world.root / "state" / "state.db")
    nobody = Nobody()
    return Engine(
        journal,
        FileLocks(world.root / "state" / "locks"),
        actor="test",
        person=nobody,
        watcher=nobody,
    )


def quick(plan: Plan) -> Plan:
    """Return the plan with one look each, short waits, and requests that time out soon."""
    data = plan_to_json(plan)
    for step in data["steps"]:
        for holder in (step, step["undo"] or {}):
            probe, action = holder.get("check"), holder.get("action")
            if probe:
                probe["attempts"] = 1
                argv = list(probe["action"].get("argv", ()))
                if "--wait" in argv:
                    argv[argv.index("--wait") + 1] = "4"
                    probe["action"]["argv"] = argv
            if action and action["kind"] == "request":
                action["timeout_s"] = 1.0
    return plan_from_json(data)


@pytest.fixture
def world(app_world: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Two releases, no health endpoint: only what moves production is looked at here."""
    plane = app_world.vercel
    plane.variables.clear()
    app_world.old = plane.live
    app_world.new = plane.add_deployment("b" * 40, live=True)
    app_world.write_settings()
    app_world.effects = Effects([])
    request, answer = plane._request, plane._of_project

    def counted(kind: str, id: str, description: str) -> Answered:
        found: Answered = request(kind, id, description)
        if found.status < 300:
            app_world.effects.seen.append(id)
        return found

    def assigned(method: str, rest: tuple[str, ...], asked: Asked) -> Answered:
        if method == "PATCH" and not rest:
            app_world.effects.seen.append("assign")
        found: Answered = answer(method, rest, asked)
        return found

    plane._request, plane._of_project = counted, assigned
    return app_world


def plan_for(world: Any, step: str) -> Plan:
    """Bring the world to where a step is the next one, and return the plan that holds it."""
    call = world.call(health=[])
    back = quick(
        plan_app(call, to="previous", reason="", watch_s=0, accept_schema=False,
                 accept_credentials=False, accept_ill=False)
    )  # fmt: skip
    if step == "rollback":
        return back
    if step.startswith("undo"):
        run = engine(world).start(back, approval={})
        assert Status.OK == run.status, run.steps
        return quick(engine(world).undo_plan(run.run))
    world.vercel._request("rollback", world.old, "")
    world.newest = world.vercel.push("c" * 40)
    return quick(plan_forward(call, to=None, watch_s=0))


def break_it(world: Any, step: str, fault: str, after: str) -> None:
    """Let a fault wait for the step's request, and for what is read after it."""
    plane = world.vercel
    method, path = STEPS[step]
    if step == "undo-assignment":
        # Where promoting gives automatic assignment back nothing is left to do: here it does not.
        original = plane._request

        def forgetful(kind: str, id: str, description: str) -> Answered:
            found: Answered = original(kind, id, description)
            plane.auto_assign = False
            return found

        plane._request = forgetful
    if step == "forward-assignment":
        original = plane._request

        def keeps(kind: str, id: str, description: str) -> Answered:
            found: Answered = original(kind, id, description)
            plane.auto_assign = False
            return found

        plane._request = keeps
    match fault:
        case "queued":
            plane.queues_promotions = True
        case "job-fails":
            plane.fails_promotions = True
        case "slow-move":
            plane.takes_s = 1.0
        case "conflict":
            plane.inject("refused", path, method=method, status=409)
        case "latency":
            plane.inject("latency", path, method=method, delay_s=2.0)
        case _:
            plane.inject(fault, path, method=method)
    if after == "seen":
        return
    handle, world.over = plane.handle, threading.Event()

    def then(asked: Asked) -> Answered:
        found: Answered = handle(asked)
        if asked.method == method and path in asked.path and not world.over.is_set():
            world.over.set()
            kind = "error-before" if after == "unreadable" else "expired-token"
            plane.inject(kind, "", method="GET", times=999)
        return found

    plane.handle = then


def mend(world: Any) -> None:
    """Let everything go well again, and what was queued take effect."""
    plane = world.vercel
    getattr(world, "over", threading.Event()).set()
    plane.calm()
    plane.queues_promotions = plane.fails_promotions = False
    plane.takes_s = 0.0
    with plane.lock:
        last = plane.last_request
        if last is not None and last["jobStatus"] == "pending":
            plane.moves_at = 0.0
            plane._move()


def check(world: Any, plan: Plan, outcome: Outcome, before: str | None) -> None:
    """Hold what the run says against what the plane has done."""
    live = world.vercel.live
    targets = {before, *(world.effects.seen)}
    assert live in targets
    if outcome.status is Status.OK:
        return
    assert outcome.error is not None
    if outcome.error.what.startswith("Nothing was changed"):
        assert [] == world.effects.seen, outcome.error.why
        assert before == live
    else:
        assert Exit.PARTIAL == outcome.exit
        assert outcome.run in outcome.error.hint


@pytest.mark.parametrize("case", MATRIX if SOAK else sorted(SAMPLE), ids="-".join)
def test_no_fault_makes_it_say_or_do_a_wrong_thing(world: Any, case: tuple[str, str, str]) -> None:
    step, fault, after = case
    plan = plan_for(world, step)
    wanted = {"rollback": world.old, "forward": getattr(world, "newest", ""), "undo": world.new}[
        step.partition("-")[0]
    ]
    world.effects.seen.clear()
    break_it(world, step, fault, after)
    before = world.vercel.live

    outcome = engine(world).start(plan, approval={})

    check(world, plan, outcome, before)
    mend(world)
    if outcome.status is not Status.OK:
        # What Vercel took and then failed at is not asked for again by resuming.
        if outcome.exit is Exit.PARTIAL and fault != "job-fails":
            again = engine(world).resume(outcome.run)
        else:
            assert outcome.error is not None
            fresh = plan_for(world, step) if step == "rollback" else plan
            again = engine(world).start(fresh, approval={})
        assert Status.OK == again.status, again.steps
    assert wanted == world.vercel.live
    if fault != "job-fails":
        moves = [each for each in world.effects.seen if each != "assign"]
        assert 1 == len(moves), f"production was moved {len(moves)} times"
    assert world.effects.seen.count("assign") <= 1


KILLS = ("before the request arrives", "after its effect", "after its answer")


@pytest.mark.parametrize("when", KILLS if SOAK else KILLS[1:2])
@pytest.mark.parametrize("command", ["rollback", "forward", "undo"] if SOAK else ["rollback"])
def test_a_run_killed_at_a_request_is_resumed_and_moves_production_once(
    world: Any, command: str, when: str
) -> None:
    plane = world.vercel
    words = {
        "rollback": ("rollback", "app", "--watch", "0"),
        "forward": ("rollback", "app", "forward", "--watch", "0"),
    }

    def opsctl(*argv: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "opsctl", *argv, "--env", "production", "--yes", "--quiet"],
            cwd=world.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def done(*argv: str) -> tuple[int, str]:
        child = opsctl(*argv)
        out, error = child.communicate()
        return child.returncode, out + error

    if command != "rollback":
        code, text = done(*words["rollback"])
        assert 0 == code, text
        if command == "forward":
            plane.push("c" * 40)
        words["undo"] = ("runs", "undo", last_run(world))
    world.effects.seen.clear()
    before = plane.live
    handle = plane.handle
    child: list[subprocess.Popen[str]] = []

    def killing(asked: Asked) -> Answered:
        if asked.method not in ("POST", "PATCH") or not child or child[0].poll() is not None:
            found: Answered = handle(asked)
            return found
        if when == KILLS[0]:
            os.kill(child[0].pid, signal.SIGKILL)
            return Answered(reset=True)
        answer: Answered = handle(asked)
        delay_s = 0.0 if when == KILLS[1] else 0.02
        threading.Timer(delay_s, os.kill, (child[0].pid, signal.SIGKILL)).start()
        if when == KILLS[1]:
            child[0].wait()
        return answer

    plane.handle = killing
    child.append(opsctl(*words[command]))
    child[0].communicate()
    plane.handle = handle
    assert -signal.SIGKILL == child[0].returncode
    assert plane.live in {before, *world.effects.seen}

    code, text = done("runs", "resume", last_run(world))

    assert 0 == code, text
    moves = [each for each in world.effects.seen if each != "assign"]
    assert [plane.live] == moves
    assert world.effects.seen.count("assign") <= 1


def last_run(world: Any) -> str:
    journal = SqliteJournal(world.root / ".opsctl" / "state.db")
    return next(reversed(dict.fromkeys(event.run for event in journal.events())))


def test_the_matrix_is_as_large_as_it_is_said_to_be() -> None:
    assert 150 <= len(MATRIX)
    assert SAMPLE <= set(MATRIX)
