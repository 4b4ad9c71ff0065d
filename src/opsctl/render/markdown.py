"""Render as GitHub-flavoured Markdown: job summaries, comments, the record of an incident."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from opsctl.core.errors import OpsError
from opsctl.core.plan import Irreversible, Plan, Step
from opsctl.core.report import Finding, Report, Status, Table
from opsctl.render.safe import safe
from opsctl.render.words import (
    HASH_SHOWN,
    count_findings,
    error_status,
    even,
    how_to_undo,
    number,
    sort_findings,
    span,
    word,
)

_PUNCTUATION = re.compile(r"([\\`*_{}\[\]()!|~^])")
_LIST = re.compile(r"^(\s*\d*)([.#=+-])")
"""What makes a list, a heading or a rule of a line that begins with it."""
_TICKS = re.compile("`+")
_REFERENCE = re.compile(r"([@#])(?=\w)|:(?=[A-Za-z+-][\w+-]*:)")
"""What becomes a mention, a link to an issue, or an emoji after the Markdown is done."""
_LINK = re.compile(r":(?=//)|(?<=\bwww)\.", re.IGNORECASE)


def report(report: Report, *, width: int, color: bool) -> str:
    """Return the report: status first, then tables, findings (gravest first), notes."""
    where = f" on {_inline(report.environment)}" if report.environment else ""
    parts = [f"## {_inline(report.title)}", f"**{report.status}**{where}"]
    parts += _tables(report.tables)
    if report.findings:
        rest, passed = sort_findings(report)
        rows = [_finding_row(finding) for finding in (*rest, *passed)]
        parts.append(_grid(("", "finding", "where", "evidence", "next", "took"), rows))
        parts.append(count_findings(report))
    if report.notes:
        parts.append(_list(_inline(note) for note in report.notes))
    return _document(parts)


def plan(plan: Plan, *, width: int, color: bool, verbose: bool) -> str:
    """Return the plan: steps with all their detail, losses, notes, and how to undo."""
    protected = " (protected)" if plan.protected else ""
    where = f"on **{_inline(plan.environment)}**{protected}, opsctl {_inline(plan.command)}"
    parts = [f"## {_inline(plan.title)}", where, "### What will be done"]
    parts += [_step(index, step) for index, step in enumerate(plan.steps, 1)]
    if plan.losses:
        rows = [
            (
                _inline(f"{loss.kind} {loss.name}"),
                number(loss.rows),
                number(loss.values),
                _inline(loss.kept) or "**not kept: gone for good**",
            )
            for loss in plan.losses
        ]
        parts += ["### What would be lost", _grid(("what", "rows", "not null", "kept"), rows)]
    if plan.notes:
        parts += ["### Before you agree", _list(_inline(note) for note in plan.notes)]
    ends = [f"takes about {span(plan.estimate_s * 1000)}"] if plan.estimate_s else []
    ends += [_inline(line) for line in how_to_undo(plan)]
    parts.append(_list([*ends, f"plan `{plan.hash[:HASH_SHOWN]}`"]))
    return _document(parts)


def error(
    error: OpsError, *, command: str, environment: str | None, width: int, color: bool
) -> str:
    """Return the error's four parts."""
    parts = [("why", error.why), ("next", error.hint), ("code", error.code)]
    return _document(
        [
            f"## {_inline(error.what)}",
            f"**{error_status(error)}**: opsctl {_inline(command)}".rstrip(": "),
            _list(f"**{label}**: {_inline(value)}" for label, value in parts if value),
        ]
    )


def _document(parts: Iterable[str]) -> str:
    return "\n\n".join(parts) + "\n"


def _inline(text: str) -> str:
    """Return text that means itself within one line of Markdown; its lines become breaks."""
    return "<br>".join(_escaped(line) for line in safe(text, multiline=True).split("\n"))


def _escaped(line: str) -> str:
    shown = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    shown = _PUNCTUATION.sub(r"\\\1", shown)
    shown = _LIST.sub(r"\1\\\2", shown)
    # A comment parts the two for whatever looks for them later, and is not shown.
    shown = _REFERENCE.sub(lambda found: f"{found[0]}<!-- -->", shown)
    shown = _LINK.sub(lambda found: f"{found[0]}<!-- -->", shown)
    return shown.replace("$", "<span>$</span>")


def _list(items: Iterable[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


def _grid(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of cells that are Markdown already."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _tables(tables: Iterable[Table]) -> Iterable[str]:
    for table in map(even, tables):
        if table.folded:
            yield f"<details><summary>{_inline(table.title)}</summary>"
        elif table.title:
            yield f"### {_inline(table.title)}"
        if table.rows:
            rows = [[_inline(cell) for cell in row] for row in table.rows]
            yield _grid([_inline(name) for name in table.columns], rows)
        else:
            yield "none"
        if table.folded:
            yield "</details>"


def _finding_row(finding: Finding) -> Sequence[str]:
    place = "" if finding.location is None else str(finding.location)
    name = word(finding)
    return (
        name if finding.status is Status.OK else f"**{name}**",
        _inline(finding.title),
        _inline(place),
        _inline(finding.evidence),
        _inline(finding.hint),
        "" if finding.took_ms is None else span(finding.took_ms),
    )


def _step(index: int, step: Step) -> str:
    line = f"{index}. {_inline(step.title)}"
    if isinstance(step.undo, Irreversible):
        line += " **(cannot be undone)**"
    if not step.detail:
        return line
    shown = safe("\n".join(step.detail), multiline=True).split("\n")
    longest = max((len(ticks) for row in shown for ticks in _TICKS.findall(row)), default=0)
    fence = "`" * max(3, longest + 1)
    indent = " " * (len(str(index)) + 2)
    return "\n".join([line, "", *(f"{indent}{row}" for row in (fence, *shown, fence))])
