"""Carry a plan out on a team's state, as one of several machines: what these tests kill and stop.

    python driver.py FOLDER start|resume|resolve ACTOR LEASE_S

The state's address is in TEAM_STATE. An effect that begins while another is under way leaves a
line in `overlaps`. Prints the exit code's reason as `CODE`.
"""

import sys
import time
from pathlib import Path

from opsctl.adapters.team_journal import TeamJournal
from opsctl.adapters.team_leases import TeamLeases
from opsctl.adapters.team_server import TeamServer
from opsctl.core.action import Command, Expect, Probe
from opsctl.core.errors import OpsError
from opsctl.core.plan import Irreversible, Plan, Step
from opsctl.core.state_place import TeamState
from opsctl.engine.run import Engine

folder, verb, actor, lease_s = Path(sys.argv[1]), sys.argv[2], sys.argv[3], float(sys.argv[4])
effects = folder / "effects"
WAIT_S = 40.0


class Nobody:
    """No person, and nobody who watches."""

    def confirm_manual(self, step: Step) -> bool:
        return False

    def step_started(self, step: Step, index: int, total: int) -> None: ...

    def step_ended(self, step: Step, status: str, took_ms: float, detail: str) -> None: ...

    def waiting(self, step: Step, message: str) -> None: ...


def step(name: str) -> Step:
    """One line appended to the effects, in 50 ms; `blind` has no check."""
    script = (
        f"exec 9>{folder}/inside; flock -n 9 || echo {name} >> {folder}/overlaps; "
        f"echo {name} >> {effects}; sleep 0.05"
    )
    look = Probe(Command(("/bin/grep", "-qx", name, str(effects))), Expect(exit_code=0))
    return Step(
        id=name,
        title=name,
        safety="manual" if name == "blind" else "verify",
        action=Command(("/bin/sh", "-c", script), timeout_s=1.0),
        check=None if name == "blind" else look,
        undo=Irreversible("it is a test"),
    )


names = ("one", "two", "blind", "four", "five")
plan = Plan("test", "prod", False, "Test", tuple(map(step, names)))
server = TeamServer(TeamState("env:TEAM_STATE"))
engine = Engine(
    TeamJournal(server),
    TeamLeases(server, lease_s=lease_s),
    actor=actor,
    person=Nobody(),
    watcher=Nobody(),
)


def act() -> int:
    runs = engine.runs()
    if verb == "resolve":
        done = "blind" in effects.read_text().split() if effects.exists() else False
        engine.resolve(runs[0].run, "blind", how="done" if done else "redo")
        return 0
    # A run that was killed before its plan was on disk never began.
    if runs and runs[0].state == "finished":
        return 0
    outcome = engine.resume(runs[0].run) if runs else engine.start(plan, approval={"how": "test"})
    if outcome.error is not None:
        print(outcome.error.code)
    return int(outcome.exit)


deadline = time.monotonic() + WAIT_S
while True:
    try:
        code = act()
        break
    except OpsError as error:
        if error.code != "locked" or verb == "start" or time.monotonic() > deadline:
            print(error.code)
            code = int(error.exit)
            break
    time.sleep(0.2)
server.close()
sys.exit(code)
