"""The text of a report without tables and colour, the same as Rich makes it, but without Rich.

Importing that takes longer than many a check.
"""

from __future__ import annotations

import textwrap

from opsctl.core.report import Finding, Report, Status
from opsctl.render.safe import inert, safe
from opsctl.render.words import NARROW, count_findings, sort_findings, span, word

_MARKS = {"ok": "✓", "failed": "✗", "unknown": "?", "refused": "✗", "partial": "!",
          "warning": "!", "note": "·"}  # fmt: skip


def plain(report: Report, *, width: int) -> str:
    """Return the report as `opsctl.render.text` would; raises ValueError where it has tables."""
    if report.tables:
        raise ValueError("a report with tables is for Rich")
    head = f"{_mark(str(report.status))}  {safe(report.title, multiline=True)}"
    if report.environment:
        head += f"  ·  {safe(report.environment, multiline=True)}"
    parts = ["\n".join(_wrapped(head, width))]
    rest, passed = sort_findings(report)
    if report.findings:
        parts.append("\n".join(_findings((*rest, *passed), width)))
        if len(report.findings) > 1:
            counts = _wrapped(count_findings(report), width - 2)
            parts.append("\n".join(f"  {line}" for line in counts))
    if report.notes:
        lines = [line for note in report.notes for line in _wrapped(_shown(note), width - 2)]
        parts.append("\n".join(f"  {line}" for line in lines))
    return inert("\n\n".join(parts))


def _findings(findings: tuple[Finding, ...], width: int) -> list[str]:
    marks = [_mark(word(each)) for each in findings]
    took = ["" if each.took_ms is None else span(each.took_ms) for each in findings]
    if width < NARROW:
        return _narrow_findings(findings, marks, took, width)
    mark_columns, took_columns = max(map(len, marks)), max(map(len, took))
    bodies = [_body(each) for each in findings]
    most = max(width - 2 - mark_columns - 2 - (took_columns + 2 if took_columns else 0), 10)
    columns = min(most, max(len(line) for body in bodies for line in body))
    lines = []
    for mark, body, time in zip(marks, bodies, took, strict=True):
        folded = [part for line in body for part in _folded(line, columns)]
        for index, line in enumerate(folded):
            left = mark if index == 0 else ""
            right = f"  {time:>{took_columns}}" if index == 0 else ""
            lines.append(f"  {left:<{mark_columns}}  {line:<{columns}}{right}".rstrip())
    return lines


def _narrow_findings(
    findings: tuple[Finding, ...], marks: list[str], took: list[str], width: int
) -> list[str]:
    lines = []
    for finding, mark, time in zip(findings, marks, took, strict=True):
        sign, _, name = mark.partition(" ")
        title, *more = _body(finding)
        body = [f"{name}  {title}{time and f'  {time}'}", *more]
        folded = [part for line in body for part in _folded(line, width - 4)]
        lines += [f"  {' ' if index else sign} {line}" for index, line in enumerate(folded)]
    return lines


def _body(finding: Finding) -> list[str]:
    lines = _shown(finding.title).split("\n")
    if finding.status is Status.OK:
        return lines
    place = "" if finding.location is None else str(finding.location)
    labels = (("where", place), ("saw", finding.evidence), ("next", finding.hint))
    pairs = [(label, _shown(value)) for label, value in labels if value]
    columns = max((len(label) for label, _ in pairs), default=0) + 2
    for label, value in pairs:
        first, *others = value.split("\n")
        lines.append(f"{label:<{columns}}{first}")
        lines += [" " * columns + line for line in others]
    return lines


def _folded(line: str, columns: int) -> list[str]:
    """Fold a line; what was labelled is folded under itself."""
    label = next((name for name in ("where", "saw", "next") if line.startswith(f"{name} ")), "")
    if not label or len(line) <= columns:
        return _wrapped(line, columns)
    indent = len(line) - len(line[len(label) :].lstrip())
    parts = _wrapped(line[indent:], max(columns - indent, 1))
    return [line[:indent] + parts[0], *(" " * indent + part for part in parts[1:])]


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(
        text, width, break_on_hyphens=False, drop_whitespace=True, replace_whitespace=False
    ) or [""]


def _mark(name: str) -> str:
    return f"{_MARKS[name]} {name}"


def _shown(text: str) -> str:
    return safe(text, multiline=True)
