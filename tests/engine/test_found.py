"""A step may find something: the run goes on, and its last look decides how it ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from opsctl.core.action import Command, Manual
from opsctl.core.errors import Exit, OpsError
from opsctl.core.plan import Plan, Step
from opsctl.core.report import Status
from opsctl.engine.lock import FileLocks
from opsctl.engine.run import Engine
from opsctl.engine.store import SqliteJournal


class Someone:
    """Says yes when it is told to."""

    there = False

    def confirm_manual(self, step: Step) -> bool:
        return self.there

    def step_started(self, step: Step, index: int, total: int) -> None: ...

    def step_ended(self, step: Step, status: str, took_ms: float, detail: str) -> None: ...

    def waiting(self, step: Step, message: str) -> None: ...


def look(id_: str, file: Path, *, terminal: bool = True) -> Step:
    """Look whether a file is there; that it is not is found, and no failure."""
    code = f"import os; raise SystemExit(not os.path.exists({str(file)!r}))"
    argv = (sys.executable, "-c", code)
    return Step(id_, id_, "idempotent", Command(argv, terminal=terminal, accepts=(0, 1)))


def make(file: Path, *, code: int = 0) -> Step:
    """Make a file, and end with a code; 5 says that nothing was changed."""
    text = f"open({str(file)!r}, 'a').close(); raise SystemExit({code})"
    command = Command((sys.executable, "-c", text), terminal=True, refuses=(5,))
    return Step("make", "make", "idempotent", command)


def engine_in(folder: Path, person: Someone) -> Engine:
    return Engine(
        SqliteJournal(folder / "state.db"), FileLocks(folder / "locks"),
        actor="me", person=person, watcher=person,
    )  # fmt: skip


@pytest.mark.parametrize("terminal", [True, False])
def test_what_a_look_found_is_forgiven_by_the_same_look_later(
    tmp_path: Path, terminal: bool
) -> None:
    file = tmp_path / "file"
    steps = (
        look("before", file, terminal=terminal),
        make(file),
        look("after", file, terminal=terminal),
    )
    engine = engine_in(tmp_path, Someone())

    outcome = engine.start(Plan("x", "production", False, "X", steps), approval={})

    assert ["found", "done", "done"] == [step.status for step in outcome.steps]
    assert (Status.OK, Exit.OK) == (outcome.status, outcome.exit)


def test_what_is_not_forgiven_is_told_after_a_resume_as_well(tmp_path: Path) -> None:
    person = Someone()
    steps = (look("look", tmp_path / "no"), Step("tick", "tick", "idempotent", Manual("Tell")))
    plan = Plan("x", "production", False, "X", steps, resumable=True)
    stopped = engine_in(tmp_path, person).start(plan, approval={})

    person.there = True
    outcome = engine_in(tmp_path, person).resume(stopped.run)

    assert ["found", "failed"] == [step.status for step in stopped.steps]
    assert ["found", "done"] == [step.status for step in outcome.steps]
    assert (Status.FAILED, Exit.FAILED) == (outcome.status, outcome.exit)
    assert ["finished"] == [run.state for run in engine_in(tmp_path, person).runs()]


def test_a_program_that_refuses_has_failed_and_is_no_unknown(tmp_path: Path) -> None:
    for code, kinds in ((5, ["started", "failed"]), (4, ["started", "unknown", "failed"])):
        folder = tmp_path / str(code)
        engine = engine_in(folder, Someone())
        plan = Plan("x", "production", False, "X", (make(tmp_path / "file", code=code),))

        outcome = engine.start(plan, approval={})

        assert ["failed"] == [step.status for step in outcome.steps]
        steps = [event.kind for event in engine.events(outcome.run) if event.step]
        assert kinds == steps


def test_a_lock_beside_the_environment_is_freed_by_its_id(tmp_path: Path) -> None:
    """Its name is in the plan alone: nobody types `runbooks of production`."""
    engine = engine_in(tmp_path, Someone())
    steps = (look("look", tmp_path),)
    engine.start(Plan("x", "production", False, "X", steps, lock="runbooks"), approval={})
    dead = subprocess.run(
        [sys.executable, "-c", _HOLD_AND_DIE, str(tmp_path / "locks")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert dead.stdout == engine.unlock("production", dead.stdout).id

    with pytest.raises(OpsError) as raised:
        engine.unlock("production", dead.stdout)
    assert "not-locked" == raised.value.code


_HOLD_AND_DIE = """
import os, sys
from pathlib import Path
from opsctl.engine.lock import hold
with hold(Path(sys.argv[1]), "runbooks", actor="a", run="r", command="c") as holder:
    print(holder.id, end="", flush=True)
    os._exit(9)
"""
