"""Hyperlinks: what becomes one, what an address cannot do, and what stays as it is."""

from __future__ import annotations

import re

import pytest

from opsctl.core.action import Probe, Query
from opsctl.core.errors import OpsError
from opsctl.core.plan import Plan, Step
from opsctl.core.report import Finding, Location, Report, Status, Table
from opsctl.render import FORMATS, SPOKEN
from opsctl.render.links import find_links, with_links, without_color, without_links
from opsctl.render.report import render_error, render_plan, render_report

LINK = re.compile(r"\x1b\]8;id=(\d+);([^\x1b]+)\x1b\\(.*?)\x1b\]8;;\x1b\\", re.DOTALL)
PAGE = "https://shop-1.vercel.example"
REPORT = Report(
    "c",
    "dpl_1 is live",
    findings=(
        Finding("r", "T", Status.FAILED, evidence="see https://a.example/b?c=d&e=f.",
                location=Location(object="http://[::1]:80/x"), hint="opsctl rollback"),
    ),
    tables=(Table("", ("deployment",), (("dpl_1",), ("dpl_12",))),),
    notes=("Then dpl_1, again.",),
    links={"dpl_1": PAGE},
)  # fmt: skip


def linked(text: str) -> list[tuple[str, str]]:
    """Return (words, address) of each hyperlink, the parts of a folded one put together."""
    found: dict[str, tuple[str, str]] = {}
    for name, address, words in LINK.findall(text):
        before = found.get(name, ("", address))[0]
        found[name] = (before + without_color(words), address)
    return list(found.values())


def test_what_has_an_address_is_a_link_and_nothing_else_is() -> None:
    assert linked(render_report(REPORT, "text", links=True)) == [
        ("dpl_1", PAGE),
        ("dpl_1", PAGE),
        ("http://[::1]:80/x", "http://[::1]:80/x"),
        ("https://a.example/b?c=d&e=f", "https://a.example/b?c=d&e=f"),
        ("dpl_1", PAGE),
    ]


@pytest.mark.parametrize("width", [40, 80])
def test_what_is_read_is_the_same_with_links_and_without(width: int) -> None:
    plain = render_report(REPORT, "text", width=width)
    links = render_report(REPORT, "text", width=width, links=True)
    both = render_report(REPORT, "text", width=width, links=True, color=True)

    assert without_links(links) == plain
    assert without_color(without_links(both)) == plain
    assert "\x1b]8" not in render_report(REPORT, "text", width=width, color=True)
    assert links == render_report(REPORT, "text", width=width, links=True)


def test_a_folded_address_is_one_link_that_leads_to_all_of_it() -> None:
    address = "https://a.example/" + "x" * 90
    text = render_report(Report("c", "t", notes=(address,)), "text", width=40, links=True)

    assert len(LINK.findall(text)) > 2
    assert linked(text) == [(address, address)]


def test_a_plan_and_an_error_have_links_too(plan: Plan, error: OpsError) -> None:
    probe = Probe(Query("env:D", ("select 1",)))
    step = Step("one", "One", "verify", check=probe, detail=(PAGE,))
    shown = render_plan(Plan("c", "e", False, "t", (step,)), "text", links=True)
    hint = OpsError("w", why="y", hint=f"install it: {PAGE}", code="c")

    assert linked(shown) == [(PAGE, PAGE)]
    assert linked(render_error(hint, "text", command="x", links=True)) == [(PAGE, PAGE)]


@pytest.mark.parametrize("format", [*(each for each in FORMATS if each != "text"), SPOKEN])
def test_no_other_format_has_any(format: str) -> None:
    assert "\x1b" not in render_report(REPORT, format, links=True, color=True)


@pytest.mark.parametrize(
    "hostile",
    [
        "https://a.example/\x1b\\\x1b[31mred",
        "https://a.example/\x07x",
        "https://a.example/\x9cx\u202e",
        "javascript:alert(1)",
        "file:///etc/passwd",
        "https://",
    ],
)
def test_an_address_cannot_end_the_sequence_that_it_stands_in(hostile: str) -> None:
    report = Report("c", f"dpl_1 {hostile}", links={"dpl_1": hostile})
    text = render_report(report, "text", links=True)

    rest = without_links(text)
    assert not {"\x1b", "\x07", "\x9c", "\u202e"} & set(rest)
    assert rest == render_report(report, "text")
    for _, address in linked(text):
        assert re.fullmatch(r"https://a\.example/[ -~]*", address)


def test_a_line_of_progress_keeps_its_words() -> None:
    line = "See https://a.example/b (and http://c.example)."

    assert without_links(with_links(line)) == line
    assert with_links(line).count("\x1b]8;;http") == 2
    assert with_links("nothing here") == "nothing here"


def test_a_name_within_a_longer_one_is_no_link() -> None:
    found = find_links("dpl_1 x/dpl_1 dpl_12 adpl_1 (dpl_1)", {"dpl_1": PAGE, "": PAGE})

    assert [start for start, _, _ in found] == [0, 29]
