"""Text from outside is shown and never obeyed, whatever the format and wherever it stands."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from xml.etree import ElementTree

import pytest

from opsctl.core.action import Probe, Query
from opsctl.core.errors import Exit, OpsError
from opsctl.core.plan import Irreversible, Loss, Plan, Step
from opsctl.core.report import Finding, Location, Report, Severity, Status, Table
from opsctl.render import FORMATS
from opsctl.render.report import render_error, render_plan, render_report
from opsctl.render.safe import safe

PAYLOADS = {
    "colour": "\x1b[31mred\x1b[0m",
    "link": "\x1b]8;;https://evil.example\x1b\\click\x1b]8;;\x1b\\",
    "clipboard": "\x1b]52;c;cm0gLXJmIC8=\x07",
    "c1": "\x9b31mred\x9d0;title\x9c\x85",
    "override": "user\u202egnp.exe\u202c",
    "isolate": "\u2066a\u2067b\u2068c\u2069\u061c\u200f",
    "bell": "ding\x07",
    "backspace": "safe\b\b\b\bevil",
    "return": "all well\rFAILED\x0b\x0c",
    "markup": "[bold red]x[/x][/] [link=https://evil.example]y[/link] :boom:",
    "workflow": "::error file=a::forged\n::add-mask::x\n   ::stop-commands::t\n##[error]forged",
    "encoded": "x%0A::error::forged%0D%0A::warning::forged,title=a:b",
    "xml": "]]></failure><script>alert(1)</script><!-- & \ufffe\x00 -->",
    "invisible": "a\u200bb\u200dc\ufeffd\u2060e\u00adf\U000e0041\U000e007f\u3164",
    "separators": "one\u2028two\u2029three\x1c\x1d\x1e",
    "surrogate": "bytes \udc80\ud800 here",
    "markdown": "|a|\n```\n# h\n@everyone #1 <img src=x> [a](javascript:b) ![i](http://e) `c` $m$",
}

_RAW = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufffe\uffff\ud800-\udfff\u3164\U000e0000-\U000e0fff]"
)


def _documents(bad: str, format: str) -> Iterator[str]:
    """Yield every kind of document with `bad` in every field that takes text."""
    probe = Probe(Query("env:D", (bad,)))
    finding = [
        Finding(bad, bad, status, severity, bad, place, bad, 1.0)
        for status in Status
        for severity in Severity
        for place in (Location(path=bad, line=1), Location(object=bad))
    ]
    table = Table(bad, (bad, "b"), ((bad, bad), ("1", bad)))
    data = {bad: bad, "list": [bad], "error": {"code": bad, "what": bad, "why": bad, "hint": bad}}
    yield render_report(Report(bad, bad, bad, tuple(finding), (table,), (bad,), data), format)
    yield render_report(Report(bad, bad, bad, given_status=Status.UNKNOWN, notes=(bad,)), format)
    step = Step("s", bad, "verify", probe.action, probe, Irreversible(bad), (bad, bad))
    loss = Loss(bad, bad, None, None, bad)
    yield render_plan(Plan(bad, bad, True, bad, (step,), (loss,), (bad,), {bad: bad}, 1), format)
    error = OpsError(bad, why=bad, hint=bad, code=bad, exit=Exit.PARTIAL)
    yield render_error(error, format, command=bad, environment=bad)


def _forged(document: str) -> list[str]:
    """Return the lines that GitHub would take for a command and that we did not make."""
    known = re.compile(r"::(error|warning|notice) [^:\n]*title=[^:\n]*::")
    lines = re.split(r"[\n\r]", document)
    commands = [line for line in lines if re.match(r"\s*::[\w-]+[^\n]*?::", line)]
    forged = [line for line in commands if not known.match(line)]
    return forged + [line for line in lines if re.search(r"##\w*\[", line)]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", PAYLOADS)
def test_nothing_from_outside_is_obeyed(name: str, format: str) -> None:
    for document in _documents(PAYLOADS[name], format):
        assert _RAW.findall(document) == []
        assert _forged(document) == []
        document.encode("utf-8")
        if format in ("json", "sarif"):
            json.loads(document)
        if format == "junit":
            ElementTree.fromstring(document.encode())


@pytest.mark.parametrize("format", FORMATS)
def test_random_text_is_never_obeyed(format: str) -> None:
    """Signs drawn from all of Unicode, the dangerous ones more often; the seed is fixed."""
    draw = random.Random(20260112)
    dangerous = "".join(PAYLOADS.values())
    for _ in range(40):
        bad = "".join(
            draw.choice(dangerous) if draw.random() < 0.6 else chr(draw.randrange(0x110000))
            for _ in range(draw.randrange(1, 60))
        )
        for document in _documents(bad, format):
            assert _RAW.findall(document) == [], ascii(bad)
            assert _forged(document) == [], ascii(bad)
            if format == "junit":
                ElementTree.fromstring(document.encode())


def test_annotations_number_what_the_findings_number() -> None:
    """A payload adds no command: one annotation per finding, cut at ten of a kind."""
    report = next(_documents(PAYLOADS["workflow"], "github"))
    commands = [line for line in report.splitlines() if line.startswith("::")]

    # Two places times four statuses that need a look, for each of three severities.
    assert len(commands) == 24


def test_color_adds_only_colors() -> None:
    bad = PAYLOADS["clipboard"] + PAYLOADS["link"]
    report = Report("a", bad, findings=(Finding("r", bad, Status.FAILED, evidence=bad),))
    text = render_report(report, "text", color=True)

    assert "\x1b" not in re.sub(r"\x1b\[[\d;]*m", "", text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("a\x1bb", "a\\x1bb"),
        ("a\x9bb", "a\\x9bb"),
        ("a\u202eb", "a\\u202eb"),
        ("a\U000e0041b", "a\\U000e0041b"),
        ("a\udc80b", "a\\udc80b"),
        ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
        ("Grüße 漢字 🎉", "Grüße 漢字 🎉"),
        ("::error::x", "\\x3a:error::x"),
        ("##[error]x", "#\\x23[error]x"),
        ("x::text", "x::text"),
        ("::text", "::text"),
    ],
)
def test_what_is_dangerous_is_shown_by_its_number(text: str, shown: str) -> None:
    assert safe(text) == shown


def test_multiline_keeps_lines_and_nothing_else() -> None:
    assert safe("a\r\nb\n\tc\rd", multiline=True) == "a\nb\n    c\\rd"


def test_safe_text_stays_as_it_is_when_made_safe_again() -> None:
    for payload in PAYLOADS.values():
        once = safe(payload, multiline=True)

        assert safe(once, multiline=True) == once
