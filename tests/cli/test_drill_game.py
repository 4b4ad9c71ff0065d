"""Game days: the sandbox is broken, mended by the runbooks' own lines, and timed by the record."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from opsctl.cli.drill_check import judge_document
from opsctl.cli.drill_game import refuse_unbroken
from opsctl.cli.drill_report import Times, times_of
from opsctl.cli.own_commands import understand
from opsctl.cli.root import run
from opsctl.core.drill_notes import note
from opsctl.core.errors import Exit, OpsError
from opsctl.core.journal import Event
from opsctl.core.report import Status
from opsctl.sandbox.drills import Drill, Drills, Typed
from opsctl.sandbox.scenarios.catalogue import SCENARIOS
from opsctl.sandbox.scenarios.scenario import Look
from opsctl.sandbox.world import World

RUNBOOKS = Path(__file__).parents[2] / "runbooks"
SAMPLE = ("bad-migration", "leaked-key")
"""What is solved by default; all are with OPSCTL_SOAK=1."""
SOLVED = [each.name for each in SCENARIOS] if os.environ.get("OPSCTL_SOAK") == "1" else SAMPLE


def opsctl(*argv: str) -> tuple[int, Any]:
    """Run one command line and return (exit code, JSON document)."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run([*argv, "--format", "json"])
    return code, json.loads(out.getvalue())


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A directory with a sandbox, to be in."""
    here = Path.cwd()
    os.chdir(tmp_path)
    assert 0 == opsctl("sandbox", "up")[0]
    yield tmp_path
    opsctl("sandbox", "down")
    os.chdir(here)


@pytest.mark.parametrize("name", SOLVED)
def test_the_runbooks_own_lines_solve_it(name: str, folder: Path) -> None:
    code, told = opsctl("drill", name, "--auto", "--env", "sandbox")

    assert (0, True) == (code, told["data"]["solved"]), told["findings"]
    data = told["data"]
    assert 0 < data["detect_s"] <= data["recover_s"]
    assert 0 < data["decide_s"] < data["recover_s"]
    assert data == opsctl("drill", "report")[1]["data"]


def test_a_drill_by_hand_is_timed_from_the_record(folder: Path) -> None:
    assert 0 == opsctl("drill", "start", "database-down")[0]
    assert "drill-on" == opsctl("drill", "start", "rls-hole")[1]["error"]["code"]
    assert 1 == opsctl("diagnose", "db", "--env", "sandbox")[0]
    assert 1 == opsctl("drill", "check")[0]
    assert (3, False) == (
        opsctl("drill", "report")[0],
        opsctl("drill", "report")[1]["data"]["over"],
    )
    assert 1 == len(opsctl("drill", "hint")[1]["data"]["hints"])
    assert 0 == opsctl("sandbox", "up")[0]

    code, told = opsctl("drill", "check")

    assert (0, True) == (code, told["data"]["solved"]), told["findings"]
    data = opsctl("drill", "report")[1]["data"]
    assert data == told["data"]
    assert 0 < data["detect_s"] < data["decide_s"] < data["recover_s"]
    assert (1, 2) == (data["hints"], data["checks"])
    words = [each["command"] for each in data["commands"]]
    assert ["drill start rls-hole", "diagnose db", "drill check", "drill report",
            "drill report", "drill hint",
            "sandbox up"] == words  # fmt: skip
    assert "no-drill" == opsctl("drill", "check")[1]["error"]["code"]


def test_a_drill_that_is_given_up_shows_what_would_have_solved_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Drills(tmp_path).begin("database-down", how="by hand")

    code, told = opsctl("drill", "stop")

    assert 0 == code
    assert "opsctl sandbox up --env sandbox" in told["data"]["solution"]
    code, told = opsctl("drill", "report")
    assert (1, False, True) == (code, told["data"]["solved"], told["data"]["over"])
    assert not (tmp_path / ".opsctl" / "drills" / "now").exists()


def test_hints_go_from_a_nudge_to_the_command_and_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Drills(tmp_path).begin("database-down", how="by hand")
    hints = next(each.hints for each in SCENARIOS if each.name == "database-down")

    told = [opsctl("drill", "hint")[1] for _ in range(len(hints) + 1)]

    assert [list(hints[: n + 1]) for n in range(len(hints))] + [list(hints)] == [
        each["data"]["hints"] for each in told
    ]
    newest = Drills(tmp_path).newest()
    assert newest is not None
    assert len(hints) == len(newest.hinted_at)


@pytest.mark.parametrize("command", [("hint",), ("check",), ("stop",)], ids=" ".join)
def test_without_a_drill_there_is_nothing_to_do(
    command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    code, told = opsctl("drill", *command)

    assert (2, "no-drill") == (code, told["error"]["code"])


def test_a_mistyped_scenario_is_answered_with_the_nearest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    code, told = opsctl("drill", "start", "bad-migratoin")

    assert (2, "no-such-scenario") == (code, told["error"]["code"])
    assert "bad-migration" in told["error"]["hint"]


def test_a_sandbox_of_somebody_elses_is_not_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings may call an environment sandbox; only what `sandbox up` wrote is it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "opsctl.yaml").write_text(
        "environments:\n  sandbox:\n    database:\n      url: env:SOMEBODYS_DATABASE\n"
    )

    code, told = opsctl("drill", "start", "lost-data")

    assert (5, "not-the-sandbox") == (code, told["error"]["code"])


def test_every_scenario_is_whole_and_its_lines_stand_in_the_runbook() -> None:
    text = (RUNBOOKS / "game-day.md").read_text()
    sections = dict(re.findall(r"^### (\S+)\n(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL))

    assert [each.name for each in SCENARIOS] == list(sections)
    for scenario in SCENARIOS:
        lines = re.findall(r"^\d+\. `([^`]+)`", sections[scenario.name], re.MULTILINE)
        assert list(scenario.solution) == lines
        assert scenario.told in sections[scenario.name]
        assert (RUNBOOKS / f"{scenario.runbook}.md").is_file()
        assert scenario.hints
        assert scenario.looks
        own = [line.split()[1:] for line in scenario.solution if line.startswith("opsctl ")]
        assert understand(own[0]).does in ("looks", "either")
        assert all(understand(each.line.split()[1:]) for each in scenario.looks)
    assert len(SCENARIOS) >= 8


def test_a_scenario_that_breaks_nothing_is_not_solved(tmp_path: Path) -> None:
    """Its looks would be well whatever anybody did."""
    idle = replace(SCENARIOS[0], looks=(Look("opsctl drill list"),))

    with pytest.raises(OpsError) as caught:
        refuse_unbroken(World(tmp_path), idle, contents="")

    assert ("not-broken", Exit.FAILED) == (caught.value.code, caught.value.exit)


def test_what_is_typed_is_noted_without_what_options_hold(tmp_path: Path) -> None:
    below = tmp_path / "deep" / "down"
    below.mkdir(parents=True)
    note(str(below), ["status"], began=1.0, ended=2.0, code=0)
    assert not (tmp_path / ".opsctl").exists()
    drills = Drills(tmp_path)
    drill = drills.begin("bad-migration", how="by hand")

    struck = float(int(drill.struck_at) + 1)
    for began, ended, code, line in (
        (-9.0, 0.0, 0, "drill start bad-migration"),
        (1.0, 9.0, 4, "rollback db --to x"),
        (2.0, 3.0, 1, "healthcheck run"),
        (10.0, 11.0, 1, "secrets-scan ./a --stdin"),
        (12.0, 13.0, 0, "incident log hunter2"),
    ):
        note(str(below), line.split(), began=struck + began, ended=struck + ended, code=code)
    with (tmp_path / ".opsctl" / "drills" / "now").open("a") as file:
        file.write("17641")  # cut off

    assert (
        Typed(struck + 1.0, struck + 9.0, 4, "rollback db"),
        Typed(struck + 10.0, struck + 11.0, 1, "secrets-scan"),
        Typed(struck + 12.0, struck + 13.0, 0, "incident log"),
    ) == drills.typed(drill)


DRILL = Drill("d", "bad-migration", "by hand", struck_at=1_000_000_000.0)


def at(second: float, words: str, code: int) -> Typed:
    """Return a command that began so long after the strike and took a second."""
    return Typed(DRILL.struck_at + second, DRILL.struck_at + second + 1, code, words)


def test_detected_is_the_first_look_that_found_something() -> None:
    typed = (
        at(-5, "healthcheck run", 1),
        at(3, "bundle-check", 0),
        at(5, "runs list", 1),
        at(8, "diagnose db", 3),
        at(9, "rollback db", 0),
    )
    events = [
        Event(0, run, None, "planned", "2001-09-09T01:46:40+00:00", "ada",
              {"plan": {"environment": environment}})
        for run, environment in (("ours", "sandbox"), ("theirs", "production"))
    ] + [
        Event(0, run, None, "approved", f"2001-09-09T01:46:{second}+00:00", "ada", {})
        for run, second in (("ours", 30), ("theirs", 45), ("ours", 52))
    ]  # fmt: skip

    assert Times(3.0, 9.0, 12.0, None) == times_of(DRILL, typed, events)


def test_what_mends_without_a_plan_is_a_decision_too() -> None:
    assert Times(None, None, 7.0, None) == times_of(DRILL, (at(7, "sandbox up", 0),), ())


def finding(title: str, status: str, severity: str = "error") -> dict[str, str]:
    """Return a finding as JSON has it."""
    return {"title": title, "status": status, "severity": severity}


@pytest.mark.parametrize(
    ("findings", "code", "about", "known", "status"),
    [
        ([], 0, "", "", Status.OK),
        ([], 3, "", "", Status.UNKNOWN),
        ([finding("a", "ok")], 0, "b", "", Status.UNKNOWN),
        ([finding("a", "ok"), finding("b", "failed")], 1, "a", "", Status.OK),
        ([finding("a", "ok"), finding("b", "failed")], 1, "", "b", Status.OK),
        ([finding("a", "failed"), finding("b", "failed")], 1, "", "b", Status.FAILED),
        ([finding("a", "failed", "warning")], 0, "", "", Status.OK),
        ([finding("a", "unknown")], 3, "", "", Status.UNKNOWN),
    ],
)
def test_a_look_counts_only_for_what_it_saw(
    findings: list[dict[str, str]], code: int, about: str, known: str, status: Status
) -> None:
    document = {"findings": findings, "error": None}

    assert status is judge_document(document, code, about=about, known=known)[0]


def test_a_look_that_could_not_begin_is_unknown() -> None:
    document = {"findings": [], "error": {"what": "The database does not answer"}}

    assert (Status.UNKNOWN, "The database does not answer") == judge_document(
        document, 3, about="", known=""
    )
