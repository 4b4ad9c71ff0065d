"""Begin a drill, give hints, solve it by its runbook, give it up."""

from __future__ import annotations

import shlex
import time
from typing import TYPE_CHECKING

from opsctl.cli.drill_check import judge, run_own
from opsctl.cli.drill_guards import refuse_outside_the_sandbox, refuse_without_sandbox
from opsctl.cli.drill_report import describe
from opsctl.cli.own_commands import understand
from opsctl.core.errors import Exit, OpsError
from opsctl.core.process import find_program, run_program
from opsctl.core.progress import duration
from opsctl.core.report import Finding, Report, Status, Table
from opsctl.sandbox.drills import Drill, Drills, contents_hash
from opsctl.sandbox.scenarios.catalogue import SCENARIOS, find_scenario
from opsctl.sandbox.scenarios.development import make_well
from opsctl.sandbox.world import World

if TYPE_CHECKING:
    from opsctl.core.call import Call
    from opsctl.sandbox.scenarios.scenario import Scenario

_LONGEST_S = 600.0
_FOUND = (Exit.OK, Exit.FAILED, Exit.UNKNOWN)
"""How a look of a solution may end: it is there to find something."""

_LEFT_OUT = (
    "An expired certificate is not practised: no authority issues one for loopback. "
    "At work opsctl healthcheck run and opsctl diagnose db see it."
)


def list_scenarios(call: Call) -> Report:
    """Return the scenarios, and how each went last."""
    drills = Drills(call.root)
    last = {each.scenario: each for each in drills.all()}
    on = drills.on()
    rows = tuple(
        (each.name, each.title, each.runbook, _how_it_went(last.get(each.name)))
        for each in SCENARIOS
    )
    note = "Begin one: opsctl drill start SCENARIO. Solve it: opsctl drill SCENARIO --auto"
    return Report(
        command="drill list",
        title=f"{len(SCENARIOS)} scenarios",
        tables=(Table("", ("scenario", "what happens", "runbook", "last time"), rows),),
        notes=(f"{on.scenario} is on: opsctl drill check" if on else note, _LEFT_OUT),
        data={
            "scenarios": [
                {"name": each.name, "title": each.title, "runbook": each.runbook}
                for each in SCENARIOS
            ],
            "on": on.id if on else None,
        },
    )


def _how_it_went(drill: Drill | None) -> str:
    if drill is None:
        return "-"
    if drill.solved_at is not None:
        return f"solved in {duration(drill.solved_at - drill.struck_at)}, {drill.how}"
    return "given up" if drill.ended_at is not None else "on"


def start_drill(call: Call, name: str) -> Report:
    """Break the sandbox by a scenario, and start the clock."""
    scenario = find_scenario(name)
    drill = _begin(call, scenario, how="by hand")
    return Report(
        command="drill start",
        title=f"The clock runs: {scenario.name}",
        environment="sandbox",
        notes=(
            scenario.told,
            "Find out what it is, and mend it: opsctl status --env sandbox",
            "Stuck: opsctl drill hint. Done: opsctl drill check. Enough: opsctl drill stop",
        ),
        data={"drill": drill.id, "scenario": scenario.name, "told": scenario.told},
    )


def _begin(call: Call, scenario: Scenario, *, how: str) -> Drill:
    world, drills = World(call.root), Drills(call.root)
    refuse_outside_the_sandbox(call)
    on = drills.on()
    if on is not None:
        raise OpsError(
            f"The drill {on.scenario} is on",
            why=f"it began {duration(time.time() - on.struck_at)} ago and is not solved",
            hint="opsctl drill check, or give it up: opsctl drill stop",
            code="drill-on",
            exit=Exit.REFUSED,
        )
    refuse_without_sandbox(running=world.state().running)
    played = world.folder / "played"
    if played.exists():
        call.say("There was a drill in this sandbox: it is made anew")
        world.reset(postgres=world.state().postgres.partition(" ")[0], say=call.say)
    played.touch(mode=0o600)
    if scenario.well_before:
        call.say("Mending what is wrong with the sandbox by itself")
        make_well(world)
    scenario.prepare(world)
    if scenario.backed_up:
        call.say("Taking a backup")
        run_own(call.root, "opsctl backup create --env sandbox --quiet", must=True)
    contents = contents_hash(world.contents()) if scenario.unchanged else ""
    call.say("Breaking it")
    scenario.strike(world)
    if how == "auto":
        refuse_unbroken(world, scenario, contents=contents)
    return drills.begin(scenario.name, how=how, contents=contents)


def refuse_unbroken(world: World, scenario: Scenario, *, contents: str) -> None:
    """Raise OpsError `not-broken` where no look sees what was done: then none proves the way out.

    One that could not look has seen nothing.
    """
    if all(each.status is not Status.FAILED for each in judge(world, scenario, contents=contents)):
        raise OpsError(
            f"The scenario {scenario.name} broke nothing",
            why="none of its looks sees anything wrong: "
            + "; ".join(each.line for each in scenario.looks),
            hint="opsctl sandbox reset",
            code="not-broken",
            exit=Exit.FAILED,
        )


def next_hint(call: Call) -> Report:
    """Return the hints so far and one more."""
    drills = Drills(call.root)
    drill = drill_that_is_on(drills)
    hints = find_scenario(drill.scenario).hints
    more = len(drill.hinted_at) < len(hints)
    if more:
        drill = drills.hinted(drill)
    shown = hints[: len(drill.hinted_at)]
    left = len(hints) - len(shown)
    return Report(
        command="drill hint",
        title=f"Hint {len(shown)} of {len(hints)}" if more else "There are no more hints",
        environment="sandbox",
        notes=(*shown, *(() if left else ("Then: opsctl drill check",))),
        data={"drill": drill.id, "hints": list(shown), "left": left},
    )


def give_up(call: Call) -> Report:
    """Stop the clock unsolved, and return what would have solved it."""
    drills = Drills(call.root)
    drill = drill_that_is_on(drills)
    scenario = find_scenario(drill.scenario)
    drills.end(drill, solved=False, asked_at=time.time())
    return Report(
        command="drill stop",
        title=f"{drill.scenario} was given up",
        environment="sandbox",
        notes=("This would have solved it:", *scenario.solution,
               f"Why: opsctl runbook show {scenario.runbook}"),
        data={"drill": drill.id, "solution": list(scenario.solution)},
    )  # fmt: skip


def drill_that_is_on(drills: Drills) -> Drill:
    """Return the drill that is on; raises OpsError `no-drill`."""
    drill = drills.on()
    if drill is None:
        raise OpsError(
            "No drill is on",
            why="none was started, or the last one is over",
            hint="opsctl drill start SCENARIO; opsctl drill list has them",
            code="no-drill",
        )
    return drill


def solve(call: Call, name: str) -> Report:
    """Break the sandbox by a scenario, and mend it by the lines of its runbook."""
    scenario = find_scenario(name)
    drills = Drills(call.root)
    drill = _begin(call, scenario, how="auto")
    findings: list[Finding] = []
    for line in scenario.solution:
        call.say(line)
        findings.append(_typed(call, line))
        if findings[-1].status is not Status.OK:
            break
    asked_at = time.time()
    if all(each.status is Status.OK for each in findings):
        findings += judge(World(call.root), scenario, contents=drill.contents)
    solved = all(each.status is Status.OK for each in findings)
    drill = drills.end(drill, solved=solved, asked_at=asked_at)
    return describe(call, drill, command="drill run", findings=tuple(findings))


def _typed(call: Call, line: str) -> Finding:
    """Carry one line of a solution out, and return how it ended."""
    words = shlex.split(line)
    began = time.monotonic()
    if words[0] == "git":
        program = find_program("git", hint="install git")
        done = run_program([program, *words[1:]], cwd=str(call.root), timeout_s=_LONGEST_S)
        well = done.exit_code == 0
    else:
        done = run_own(call.root, f"{line} --no-input", noted=True)
        changes = understand(words[1:]).does != "looks" and "--yes" in words
        well = done.exit_code == 0 or (not changes and done.exit_code in _FOUND)
    return Finding(
        rule="drill-line",
        title=line,
        status=Status.OK if well else Status.FAILED,
        evidence="" if well else f"it ended with {done.exit_code}: {done.last_line}",
        took_ms=(time.monotonic() - began) * 1000,
    )
