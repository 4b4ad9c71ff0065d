"""Steps that stand each for itself: one that fails keeps none from being tried."""

from __future__ import annotations

import sys
from pathlib import Path

from opsctl.core.action import Command, Expect, Probe
from opsctl.core.errors import Exit
from opsctl.core.plan import Plan, Step, plan_from_json, plan_to_json
from opsctl.engine.lock import FileLocks, hold
from opsctl.engine.run import Engine
from opsctl.engine.store import SqliteJournal


class Nobody:
    """Answers nothing and hears nothing."""

    def confirm_manual(self, step: Step) -> bool:
        return False

    def step_started(self, step: Step, index: int, total: int) -> None: ...

    def step_ended(self, step: Step, status: str, took_ms: float, detail: str) -> None: ...

    def waiting(self, step: Step, message: str) -> None: ...


def touch(path: Path, gate: Path) -> Step:
    """Append to a file, if a gate is there."""
    act = f"open({str(gate)!r}).close(); open({str(path)!r}, 'a').write('x')"
    look = f"import os; raise SystemExit(not os.path.exists({str(path)!r}))"
    return Step(
        path.name,
        path.name,
        "idempotent",
        Command((sys.executable, "-c", act)),
        Probe(Command((sys.executable, "-c", look)), Expect(exit_code=0)),
        independent=True,
    )


def test_the_others_are_tried_and_a_resume_tries_the_failed_one_alone(tmp_path: Path) -> None:
    gates = [tmp_path / f"gate{n}" for n in range(3)]
    files = [tmp_path / f"file{n}" for n in range(3)]
    gates[0].touch()
    gates[2].touch()
    steps = tuple(map(touch, files, gates))
    plan = Plan("tell", "production", True, "Tell", steps, lock="production (messages)")
    nobody = Nobody()
    engine = Engine(
        SqliteJournal(tmp_path / "state.db"), FileLocks(tmp_path / "locks"),
        actor="me", person=nobody, watcher=nobody,
    )  # fmt: skip

    # A run of the environment itself is under way, and does not keep anybody from telling.
    with hold(tmp_path / "locks", "production", actor="a", run="r", command="restore db"):
        first = engine.start(plan, approval={})
        gates[1].touch()
        second = engine.resume(first.run)

    assert ["done", "failed", "done"] == [step.status for step in first.steps]
    assert (Exit.PARTIAL, Exit.OK) == (first.exit, second.exit)
    assert ["x", "x", "x"] == [path.read_text() for path in files]
    assert plan == plan_from_json(plan_to_json(plan))
