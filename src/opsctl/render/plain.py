"""The text of a report without tables and colour, the same as Rich makes it, but without Rich.

Importing that takes longer than many a check, and so does laying out a hundred findings.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from opsctl.core.report import Finding, Report, Status
from opsctl.render.safe import inert, safe
from opsctl.render.words import NARROW, count_findings, sort_findings, span, word

_MARKS = {"ok": "✓", "failed": "✗", "unknown": "?", "refused": "✗", "partial": "!",
          "warning": "!", "note": "·"}  # fmt: skip
_GAP = 2
"""Blanks between two columns."""
_WORD = re.compile(r"\s*\S+\s*")
_OF_ANOTHER_WIDTH = re.compile("[^\x00-\u02ff–—‘’“”•…→←✓✗·]")
"""What may take no column or two of a terminal; some of it takes one, and goes to Rich, too."""
_Body = tuple[str, Sequence[tuple[str, str]]]
"""A finding's title, and what is said under it: (label, text)."""


def plain(report: Report, *, width: int) -> str | None:
    """Return the report as `opsctl.render.text` would, or None where it takes Rich.

    That is a report with tables, and one with signs that are not one column wide.
    """
    if report.tables:
        return None
    head = f"{_mark(str(report.status))}  {_shown(report.title)}"
    if report.environment:
        head += f"  ·  {_shown(report.environment)}"
    parts = [_wrapped(head, width)]
    rest, passed = sort_findings(report)
    if report.findings:
        findings = _findings if width >= NARROW else _narrow_findings
        parts.append(findings((*rest, *passed), width - 2))
        if len(report.findings) > 1:
            parts.append(_wrapped(count_findings(report), width - 2))
    if report.notes:
        parts.append([line for each in report.notes for line in _wrapped(_shown(each), width - 2)])
    text = "\n\n".join("\n".join(_indented(part, index)) for index, part in enumerate(parts))
    return None if _OF_ANOTHER_WIDTH.search(text) else inert(text.rstrip("\n") + "\n")


def _indented(lines: Iterable[str], part: int) -> list[str]:
    """Return a part's lines: all but the first are indented."""
    return [(f"  {line}" if part else line).rstrip(" ") for line in lines]


def _findings(findings: Sequence[Finding], width: int) -> list[str]:
    marks = [_mark(word(each)) for each in findings]
    took = ["" if each.took_ms is None else span(each.took_ms) for each in findings]
    timed = any(took)
    left, right = max(map(len, marks)), max(map(len, took))
    bodies = [_body(each, _shown(each.title)) for each in findings]
    wanted = _wanted(bodies, width - left - _GAP - (_GAP + right if timed else 0))
    lines = []
    for mark, body, time in zip(marks, bodies, took, strict=True):
        for index, line in enumerate(_laid_out(body, wanted)):
            first = f"{'' if index else mark:<{left}}{'':{_GAP}}{line:<{wanted}}"
            lines.append(first if index else f"{first}{'':{_GAP}}{time:>{right}}")
    return lines


def _narrow_findings(findings: Sequence[Finding], width: int) -> list[str]:
    """Return the same for few columns: everything under the word, the time behind the title."""
    bodies = []
    for each in findings:
        took = "" if each.took_ms is None else f"  {span(each.took_ms)}"
        bodies.append(_body(each, f"{word(each)}  {_shown(each.title)}{took}"))
    wanted = _wanted(bodies, width - 2)
    lines = []
    for each, body in zip(findings, bodies, strict=True):
        for index, line in enumerate(_laid_out(body, wanted)):
            lines.append(f"{' ' if index else _MARKS[word(each)]} {line}")
    return lines


def _body(finding: Finding, title: str) -> _Body:
    if finding.status is Status.OK:
        return title, ()
    place = "" if finding.location is None else str(finding.location)
    labels = (("where", place), ("saw", finding.evidence), ("next", finding.hint))
    return title, [(label, _shown(value)) for label, value in labels if value]


def _wanted(bodies: Sequence[_Body], room: int) -> int:
    """Return the columns that the longest of the bodies' lines takes, `room` at most."""
    wanted = 1
    for title, pairs in bodies:
        wanted = max(wanted, _columns(title))
        if pairs:
            wanted = max(wanted, _label_columns(pairs) + max(_columns(value) for _, value in pairs))
    return max(min(wanted, room), 1)


def _laid_out(body: _Body, wanted: int) -> list[str]:
    title, pairs = body
    lines = _wrapped(title, wanted)
    if pairs:
        left = _label_columns(pairs)
        right = max(min(max(_columns(value) for _, value in pairs), wanted - left), 1)
        for label, value in pairs:
            for index, line in enumerate(_wrapped(value, right)):
                lines.append(f"{'' if index else label:<{left}}{line}")
    return lines


def _label_columns(pairs: Sequence[tuple[str, str]]) -> int:
    return max(len(label) for label, _ in pairs) + _GAP


def _columns(text: str) -> int:
    return max(map(len, text.splitlines()), default=0)


def _wrapped(text: str, width: int) -> list[str]:
    return [part for line in text.split("\n") for part in _folded(line, width)]


def _folded(line: str, width: int) -> list[str]:
    """Fold a line where Rich does: a word that fits on no line begins on one of its own."""
    if len(line) <= width:
        return [line]
    breaks = []
    column = 0
    for found in _WORD.finditer(line):
        start, part = found.start(), found[0]
        size = len(part.rstrip())
        if size <= width - column:
            column += len(part)
        elif size > width:
            while True:
                if start:
                    breaks.append(start)
                if len(part) <= width:
                    break
                start, part = start + width, part[width:]
            column = len(part)
        elif column and start:
            breaks.append(start)
            column = len(part)
    ends = [*breaks, len(line)]
    parts = [line[start:end] for start, end in zip([0, *breaks], ends, strict=True)]
    # Blanks that go beyond the column are none; others in front of what follows stay.
    return [part if len(part) <= width else part[:width] + part[width:].rstrip() for part in parts]


def _mark(name: str) -> str:
    return f"{_MARKS[name]} {name}"


def _shown(text: str) -> str:
    return safe(text, multiline=True)
