"""`--plain`: whole documents, and what a screen reader is spared."""

from __future__ import annotations

import json

import pytest

from opsctl.cli.root import run
from opsctl.core.errors import OpsError
from opsctl.core.plan import Plan
from opsctl.core.report import Finding, Report, Status
from opsctl.render import SPOKEN
from opsctl.render.report import render_error, render_plan, render_report


def test_a_report(report: Report) -> None:
    assert render_report(report, SPOKEN) == (
        "Failed: Health\n"
        "Environment: production\n"
        "Failed: /api/selftest answers 200, took 1.5 s\n"
        "Where: app/a,b.ts:3:7\n"
        "Saw: HTTP 503, 100% down\n"
        "Next: opsctl diagnose\n"
        "Unknown: Connections\n"
        "Next: set DATABASE_URL\n"
        "Warning: Slow\n"
        "Saw: 612 ms\n"
        "Ok: /api/health answers 200, took 43 ms\n"
        "In all: 1 failed, 1 unknown, 1 warning, 1 ok\n"
        "Table: Endpoints, 2 rows\n"
        "Row 1 of 2: name: health; took: 43 ms\n"
        "Row 2 of 2: name: self; took: 1520 ms\n"
        "Note: Run it again.\n"
    )


def test_a_plan(plan: Plan) -> None:
    said = render_plan(plan, SPOKEN)

    assert said.splitlines()[:5] == [
        "Plan: Roll back 1 migration",
        "Environment: production, protected",
        "Step 1 of 3: Prove the down SQL",
        "Step 2 of 3: Back the database up",
        "Step 3 of 3: Apply the down SQL",
    ]
    assert "Loss: table public.invoices, 12043 rows, kept in table opsctl_stash.invoices\n" in said
    assert "Loss: value enum public.state, 3 values, not kept, gone for good\n" in said
    assert "Undo: step 2 cannot be undone: a backup is kept\n" in said
    assert "create schema" not in said
    assert "Detail: create schema" in render_plan(plan, SPOKEN, verbose=True)


def test_an_error(error: OpsError) -> None:
    assert render_error(error, SPOKEN, command="rollback db") == (
        "Refused: Nothing was changed\n"
        "Why: nobody could be asked\n"
        "Next: opsctl rollback db --yes\n"
        "Code: not-confirmed\n"
    )


def test_what_comes_from_outside_stays_in_its_line() -> None:
    text = "one\n\n  Failed: two\x1b[31m\u202e\r three"
    said = render_report(Report("c", "t", findings=(Finding("r", text, Status.OK),)), SPOKEN)

    assert len(said.splitlines()) == 2
    assert "\x1b" not in said
    assert "\u202e" not in said


def test_every_line_says_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["doctor", "--offline", "--plain"])
    lines = capsys.readouterr().out.splitlines()

    assert code in (0, 1, 3)
    assert len(lines) > 20
    for line in lines:
        assert line.partition(":")[0].isalpha() or line.startswith("In all: "), line
        assert not set(line) & set("✓✗·│…")


def test_an_error_is_said_plainly_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--env", "nowhere", "--plain"]) == 2
    assert capsys.readouterr().err.startswith("Failed: The environment 'nowhere'")


def test_other_formats_stay_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    run(["doctor", "--offline", "--plain", "--format", "json"])

    assert json.loads(capsys.readouterr().out)["command"] == "doctor check"


def test_it_is_no_format_of_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--offline", "--format", SPOKEN]) == 2
