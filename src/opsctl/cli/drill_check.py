"""Whether a drill is solved, by the same looks that anybody has."""

from __future__ import annotations

import json
import re
import shlex
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

from opsctl.core.drill_notes import UNNOTED
from opsctl.core.errors import Exit, OpsError
from opsctl.core.process import Finished, run_program
from opsctl.core.report import Finding, Report, Severity, Status
from opsctl.sandbox.drills import Drills, contents_hash
from opsctl.sandbox.scenarios.catalogue import find_scenario
from opsctl.sandbox.world import World

if TYPE_CHECKING:
    from opsctl.core.call import Call
    from opsctl.sandbox.scenarios.scenario import Look, Scenario

_LONGEST_S = 600.0
# The settings of whoever calls are not the sandbox's.
_OURS = {"OPSCTL_CONFIG": "", "OPSCTL_ENV": "", "OPSCTL_NO_INPUT": "1"}
_UNNOTED = {UNNOTED: "1"}
_NAMED = 3


def check_drill(call: Call) -> Report:
    """Look whether the drill that is on is solved, and stop its clock if it is."""
    from opsctl.cli.drill_game import drill_that_is_on
    from opsctl.cli.drill_report import describe

    drills = Drills(call.root)
    drill = drill_that_is_on(drills)
    asked_at = time.time()
    findings = judge(World(call.root), find_scenario(drill.scenario), contents=drill.contents)
    if all(each.status is Status.OK for each in findings):
        drill = drills.end(drill, solved=True, asked_at=asked_at)
        return describe(call, drill, command="drill check", findings=findings)
    drills.checked(drill)
    return Report(
        command="drill check",
        title=f"{drill.scenario} is not solved yet",
        environment="sandbox",
        findings=findings,
        notes=("Stuck: opsctl drill hint",),
        data={"drill": drill.id, "scenario": drill.scenario, "solved": False},
    )


def judge(world: World, scenario: Scenario, *, contents: str) -> tuple[Finding, ...]:
    """Return a finding for each look of a scenario, and for the contents where they count."""
    found = [_looked(world, each) for each in scenario.looks]
    if scenario.unchanged:
        found.append(_unchanged(world, contents))
    return tuple(found)


def run_own(root: Path, line: str, *, must: bool = False, noted: bool = False) -> Finished:
    """Run a command line of opsctl's own where the sandbox is; `noted` as if it were typed.

    With `must` it raises OpsError `drill-failed` (exit 3) where that does not end well.
    """
    words = shlex.split(line)
    env = _OURS if noted else _OURS | _UNNOTED
    done = run_program(words, env=env, cwd=str(root), timeout_s=_LONGEST_S)
    if must and done.exit_code != Exit.OK:
        raise OpsError(
            "The drill could not begin",
            why=f"{line} ended with {done.exit_code}: {done.last_line}",
            hint="opsctl sandbox reset",
            code="drill-failed",
            exit=Exit.UNKNOWN,
        )
    return done


def _looked(world: World, look: Look) -> Finding:
    began = time.monotonic()
    status, evidence = _ask(world, look)
    return Finding(
        rule="drill-look",
        title=look.line,
        status=status,
        evidence=evidence,
        took_ms=(time.monotonic() - began) * 1000,
    )


def _ask(world: World, look: Look) -> tuple[Status, str]:
    try:
        look.before(world)
    except psycopg.Error as error:
        return Status.FAILED, f"the database said {error.sqlstate or 'nothing'}"
    done = run_own(world.root, f"{look.line} --format json --quiet")
    try:
        document = json.loads(done.stdout)
    except ValueError:
        return Status.UNKNOWN, f"it ended with {done.exit_code}: {done.last_line}"
    return judge_document(document, done.exit_code, about=look.about, known=look.known)


def judge_document(
    document: Mapping[str, Any], code: int, *, about: str, known: str
) -> tuple[Status, str]:
    """Return what a look says of a drill, and why; pure.

    Only findings count whose title fits `about`, and not `known`. That none fits is unknown:
    the look did not see what the drill is about.
    """
    if document.get("error"):
        return Status.UNKNOWN, str(document["error"].get("what", ""))
    found = [
        each
        for each in document.get("findings", ())
        if re.search(about, each["title"]) and not (known and re.search(known, each["title"]))
    ]
    wrong = [
        each
        for each in found
        if each["status"] != Status.OK and each.get("severity") == Severity.ERROR
    ]
    if wrong:
        failed = any(each["status"] == Status.FAILED for each in wrong)
        titles = [str(each["title"]) for each in wrong]
        more = f" and {len(titles) - _NAMED} more" if len(titles) > _NAMED else ""
        return Status.FAILED if failed else Status.UNKNOWN, "; ".join(titles[:_NAMED]) + more
    if about or known:
        return (Status.OK, "") if found else (Status.UNKNOWN, "it did not see what this is about")
    return (Status.OK, "") if code == Exit.OK else (Status.UNKNOWN, f"it ended with {code}")


def _unchanged(world: World, contents: str) -> Finding:
    began = time.monotonic()
    title = "Every row and object is back"
    try:
        equal = contents_hash(world.contents()) == contents
        status, evidence = (Status.OK, "") if equal else (Status.FAILED, "something is not")
    except (OpsError, psycopg.Error) as error:
        why = error.why if isinstance(error, OpsError) else error.sqlstate
        status, evidence = Status.UNKNOWN, f"the database could not be read: {why}"
    return Finding(
        rule="drill-contents",
        title=title,
        status=status,
        evidence=evidence,
        took_ms=(time.monotonic() - began) * 1000,
    )
