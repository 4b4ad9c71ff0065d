"""Text that is made without Rich is what Rich would make."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest

from opsctl.core.report import Finding, Location, Report, Severity, Status, Table
from opsctl.render import text
from opsctl.render.plain import plain
from opsctl.render.report import render_report

LONG = "a rather long sentence about what was seen, which will not fit on a line of the terminal"


@pytest.mark.parametrize("width", [40, 59, 60, 80, 100])
@pytest.mark.parametrize(
    "findings",
    [
        (),
        (Finding("r", "one", Status.OK, took_ms=12.0),),
        (Finding("r", "one", Status.OK), Finding("r", "two", Status.OK, took_ms=1234.0)),
        (Finding("r", "one", Status.FAILED, evidence="x", hint=LONG, took_ms=9.0),
         Finding("r", "two", Status.UNKNOWN, evidence=LONG, location=Location(object="http://a")),
         Finding("r", "three", Status.FAILED, Severity.WARNING, LONG, hint="y"),
         Finding("r", "four", Status.FAILED, Severity.NOTE), Finding("r", LONG, Status.OK)),
    ],
)  # fmt: skip
def test_plain_text_is_what_rich_makes_of_it(findings: tuple[Finding, ...], width: int) -> None:
    report = Report("c", "Title", environment="prod", findings=findings, notes=("a note", LONG))

    assert plain(report, width=width) == text.report(report, width=width, color=False)


def test_plain_text_keeps_every_line() -> None:
    finding = Finding("r", "a\nb", Status.FAILED, evidence="c\nd", hint="e")

    shown = plain(Report("c", "T", findings=(finding,)), width=80)

    assert shown is not None
    lines = shown.splitlines()
    assert [line.split() for line in lines[2:]] == [
        ["✗", "failed", "a"], ["b"], ["saw", "c"], ["d"], ["next", "e"],
    ]  # fmt: skip


def test_plain_text_shows_what_a_terminal_would_obey() -> None:
    finding = Finding("r", "a\x1b[31m", Status.FAILED, evidence="\u202eb\r\n::error::c")

    shown = plain(Report("c", "T\x07", findings=(finding,)), width=80)

    assert shown is not None
    assert not {"\x1b", "\x07", "\r", "\u202e"} & set(shown)
    assert not any(line.lstrip().startswith("::") for line in shown.splitlines())


_PARTS = ("a", "word", "https://x.io/a/b/c?d=" + "e" * 60, "some-hyphen-word", "x" * 90, "sha256",
          "(9,", "::error::", "##[group]", "…", '"q"', "\t", "\u202e")  # fmt: skip
_BETWEEN = (*[" "] * 9, "  ", "\n", "")


def made_up(chance: random.Random, most: int) -> str:
    return "".join(
        chance.choice(_PARTS) + chance.choice(_BETWEEN) for _ in range(chance.randint(0, most))
    )


@pytest.mark.parametrize("seed", range(40))
def test_what_is_made_up_is_laid_out_as_rich_does(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(10):
        findings = tuple(
            Finding(
                "r", made_up(chance, 9), chance.choice(list(Status)),
                chance.choice(list(Severity)), made_up(chance, 20), hint=made_up(chance, 9),
                took_ms=chance.choice([None, 3.0, 70_000.0]),
                location=chance.choice([None, Location(path=made_up(chance, 3), line=7)]),
            )
            for _ in range(chance.randint(0, 5))
        )  # fmt: skip
        notes = tuple(made_up(chance, 20) for _ in range(chance.randint(0, 2)))
        report = Report("c", made_up(chance, 9), findings=findings, notes=notes)
        width = chance.choice([24, 40, 59, 60, 80, 120])

        assert plain(report, width=width) == text.report(report, width=width, color=False)


def test_what_takes_rich_is_left_to_it() -> None:
    table = Table("", ("a",), (("1",),))

    assert plain(Report("c", "T", tables=(table,)), width=80) is None
    assert plain(Report("c", "データベース"), width=80) is None
    assert render_report(Report("c", "T", tables=(table,)), "text").count("1") == 1


def test_a_report_without_colour_imports_no_rich() -> None:
    code = (
        "import sys\nfrom opsctl.core.report import *\n"
        "from opsctl.render.report import render_report\n"
        "finding = Finding('r', 't', Status.FAILED)\n"
        "print(render_report(Report('c', 'T', findings=(finding,)), 'text'))\n"
        "print('rich' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "False" == done.stdout.splitlines()[-1]
