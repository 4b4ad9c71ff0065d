"""Whole documents: what each format makes of the same plan, report and error."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.cells import cell_len

from opsctl.core.errors import OpsError
from opsctl.core.plan import Plan, plan_to_json
from opsctl.core.report import Finding, Report, Status, Table
from opsctl.render import FORMATS
from opsctl.render.report import render_error, render_plan, render_report

EXPECTED = Path(__file__).parent / "expected"


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("what", ["plan", "report", "error"])
def test_document_is_exactly_this(
    what: str, format: str, plan: Plan, report: Report, error: OpsError
) -> None:
    """Written anew with OPSCTL_TEST_REWRITE=1; then read every difference."""
    document = {
        "plan": lambda: render_plan(plan, format),
        "report": lambda: render_report(report, format),
        "error": lambda: render_error(error, format, command="rollback db", environment="staging"),
    }[what]()
    file = EXPECTED / f"{what}.{format}.txt"
    if os.environ.get("OPSCTL_TEST_REWRITE"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(document, encoding="utf-8")

    assert document == file.read_text(encoding="utf-8")


def test_json_report_is_the_documented_one(report: Report) -> None:
    document = json.loads(render_report(report, "json"))

    assert list(document) == [
        "opsctl", "command", "environment", "status", "exit_code", "data", "findings", "error",
    ]  # fmt: skip
    assert (document["status"], document["exit_code"], document["error"]) == ("failed", 1, None)
    assert document["data"] == {"endpoints": 2, "share": None}


def test_json_plan_holds_the_plan_and_its_hash(plan: Plan) -> None:
    document = json.loads(render_plan(plan, "json"))

    assert document["data"] == {
        "plan_hash": plan.hash,
        "plan": json.loads(json.dumps(plan_to_json(plan))),
    }


def test_json_lifts_the_error_of_a_run_out_of_its_data() -> None:
    parts = {"code": "c", "what": "w", "why": "y", "hint": "h"}
    document = json.loads(render_report(Report("a", "A", data={"error": parts, "run": 1}), "json"))

    assert (document["error"], document["data"]) == (parts, {"run": 1})


def test_junit_counts_what_it_holds(report: Report) -> None:
    suite = ElementTree.fromstring(render_report(report, "junit").encode())[0]

    assert {key: suite.get(key) for key in ("tests", "failures", "errors", "skipped")} == {
        "tests": "4", "failures": "1", "errors": "1", "skipped": "0",
    }  # fmt: skip
    assert len(suite.findall("testcase/failure")) == len(suite.findall("testcase/error")) == 1


def test_github_says_how_many_annotations_it_left_out() -> None:
    findings = tuple(Finding("r", f"finding {n}", Status.FAILED) for n in range(13))
    lines = render_report(Report("scan", "Scan", findings=findings), "github").splitlines()

    assert sum(line.startswith("::error ") for line in lines) == 10
    assert any(line.startswith("3 more of kind error are not annotated") for line in lines)


@pytest.mark.parametrize("width", [40, 60, 80, 120])
@pytest.mark.parametrize("color", [False, True])
def test_text_keeps_to_its_width(
    width: int, color: bool, plan: Plan, report: Report, error: OpsError
) -> None:
    wide = Table("Wide", ("a", "b", "c"), (("x" * 90, "y z " * 40, "漢字" * 30),))
    texts = [
        render_plan(plan, "text", width=width, color=color),
        render_report(replace(report, tables=(wide,)), "text", width=width, color=color),
        render_error(error, "text", command="x", width=width, color=color),
    ]
    strip = re.compile(r"\x1b\[[\d;]*m")
    lines = [strip.sub("", line) for text in texts for line in text.splitlines()]

    assert max(map(cell_len, lines)) <= width
    assert all(("\x1b" in text) is color for text in texts)
    assert sum(line.count("x") for line in lines) >= 90


def test_folded_detail_is_whole_with_verbose(plan: Plan) -> None:
    brief = render_plan(plan, "text")
    whole = render_plan(plan, "text", verbose=True)

    assert "… 5 more lines, shown with --verbose" in brief
    assert "select 7;" not in brief
    assert "select 7;" in whole
    assert "more lines" not in whole


def test_row_that_lacks_cells_is_shown() -> None:
    table = Table("", ("a", "b"), (("1",), ("2", "3", "cell-4")))
    report = Report("a", "A", tables=(table,))

    assert "cell-4" in render_report(report, "text")
    assert "| 2 | 3 | cell-4 |" in render_report(report, "markdown")


def test_names_of_the_formats_cost_no_renderer() -> None:
    code = "import sys, opsctl.render, opsctl.render.report; print('rich' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "False\n"


@pytest.mark.parametrize("width", [40, 80])
def test_no_line_ends_in_blanks_in_colour_either(width: int, plan: Plan, report: Report) -> None:
    quick = Finding("r", "Quick", Status.OK, took_ms=1.0)
    report = replace(report, findings=(quick, Finding("r", "No time", Status.OK)))
    for text in (
        render_plan(plan, "text", width=width, color=True),
        render_report(report, "text", width=width, color=True, links=True),
    ):
        bare = re.sub(r"\x1b\[[\d;]*m|\x1b\]8;[^\x1b]*\x1b\\", "", text)

        assert all(line == line.rstrip() for line in bare.splitlines())


def test_short_columns_are_whole_before_long_ones_grow() -> None:
    row = ("dpl_38f60d4bc7fdd111a167", "was live", "ca7e0535", "a long message of some words")
    table = Table("", ("a", "b", "c", "d"), (row,))
    text = render_report(Report("c", "t", tables=(table,)), "text", width=66)

    assert "  dpl_38f60d4bc7fdd111a167  was live  ca7e0535  a long message of\n" in text


def test_few_columns_show_a_finding_under_its_word(report: Report) -> None:
    shown = render_report(report, "text", width=40)

    assert "  ✗ failed  /api/selftest answers 200\n    1.5 s\n    where  app/a,b.ts:3:7\n" in shown
    assert "  ✓ ok  /api/health answers 200  43 ms\n" in shown
