"""Run or resume a five-step plan whose effects are lines of a file: what the kill tests kill.

    python driver.py FOLDER start|resume|resolve

`resolve` answers for a step with an unknown outcome as a person would: by looking.
"""

import sys
from pathlib import Path

from opsctl.core.action import Command, Expect, Probe
from opsctl.core.plan import Irreversible, Plan, Step
from opsctl.engine.lock import FileLocks
from opsctl.engine.run import Engine
from opsctl.engine.store import SqliteJournal

folder = Path(sys.argv[1])
effects = folder / "effects"


class Nobody:
    """No person, and nobody who watches."""

    def confirm_manual(self, step: Step) -> bool:
        return False

    def step_started(self, step: Step, index: int, total: int) -> None: ...

    def step_ended(self, step: Step, status: str, took_ms: float, detail: str) -> None: ...

    def waiting(self, step: Step, message: str) -> None: ...


def step(name: str) -> Step:
    """One line appended to the effects; `blind` has no check, `liar` no effect."""
    argv = ("/bin/sh", "-c", f"echo {name} >> {effects}")
    if name == "liar":
        argv = ("/bin/true",)
    look = Probe(Command(("/bin/grep", "-qx", name, str(effects))), Expect(exit_code=0))
    return Step(
        id=name,
        title=name,
        safety="manual" if name == "blind" else "verify",
        action=Command(argv),
        check=None if name == "blind" else look,
        undo=Irreversible("it is a test"),
    )


names = ("one", "two", "blind", "four", "liar" if "liar" in sys.argv else "five")
plan = Plan("test", "test", False, "Test", tuple(step(name) for name in names))
journal = SqliteJournal(folder / "state" / "state.db")
engine = Engine(
    journal, FileLocks(folder / "state" / "locks"), actor="test", person=Nobody(), watcher=Nobody()
)
runs = engine.runs()
if sys.argv[2] == "resolve":
    done = "blind" in effects.read_text().split() if effects.exists() else False
    engine.resolve(runs[0].run, "blind", how="done" if done else "redo")
    sys.exit(0)
# A run that was killed before its plan was on disk never began.
if runs and runs[0].state == "finished":
    sys.exit(0)
outcome = engine.resume(runs[0].run) if runs else engine.start(plan, approval={"how": "test"})
sys.exit(int(outcome.exit))
