"""Render for screen readers: whole lines, no signs, no columns, no colour, nothing folded.

Each line says what it is before it says more: `Failed: ...`, `Next: ...`, `Step 1 of 3: ...`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from opsctl.core.errors import OpsError
from opsctl.core.plan import Plan
from opsctl.core.report import Finding, Report, Status, Table
from opsctl.render.safe import inert, safe
from opsctl.render.words import (
    HASH_SHOWN,
    count_findings,
    error_status,
    how_to_undo,
    sort_findings,
    span,
    word,
)


def report(report: Report, *, width: int, color: bool) -> str:
    """Return the report: its status, the findings gravest first, tables row by row, notes."""
    lines = [_labelled(str(report.status), report.title)]
    if report.environment:
        lines.append(_labelled("environment", report.environment))
    rest, passed = sort_findings(report)
    for finding in (*rest, *passed):
        lines += _finding(finding)
    if len(report.findings) > 1:
        lines.append(_labelled("in all", count_findings(report)))
    for table in report.tables:
        lines += _table(table)
    lines += [_labelled("note", note) for note in report.notes]
    return _lines(lines)


def plan(plan: Plan, *, width: int, color: bool, verbose: bool) -> str:
    """Return the plan, step by step, with what would be lost and how it is undone."""
    total = len(plan.steps)
    lines = [
        _labelled("plan", plan.title),
        _labelled("environment", plan.environment + (", protected" if plan.protected else "")),
    ]
    for number, step in enumerate(plan.steps, 1):
        lines.append(_labelled(f"step {number} of {total}", step.title))
        if verbose:
            lines += [_labelled("detail", part) for part in step.detail]
    for loss in plan.losses:
        counts = [f"{n} {what}" for n, what in ((loss.rows, "rows"), (loss.values, "values")) if n]
        kept = f"kept in {loss.kept}" if loss.kept else "not kept, gone for good"
        lines.append(_labelled("loss", ", ".join((f"{loss.kind} {loss.name}", *counts, kept))))
    lines += [_labelled("note", note) for note in plan.notes]
    lines += [_labelled("undo", line) for line in how_to_undo(plan)]
    lines.append(_labelled("plan's hash", plan.hash[:HASH_SHOWN]))
    return _lines(lines)


def error(
    error: OpsError, *, command: str, environment: str | None, width: int, color: bool
) -> str:
    """Return the error's four parts, a line each."""
    labels = (
        (str(error_status(error)), error.what),
        ("why", error.why),
        ("next", error.hint),
        ("code", error.code),
    )
    return _lines([_labelled(label, part) for label, part in labels if part])


def _finding(finding: Finding) -> Iterator[str]:
    took = "" if finding.took_ms is None else f", took {span(finding.took_ms)}"
    yield _labelled(word(finding), finding.title + took)
    if finding.status is Status.OK:
        return
    place = "" if finding.location is None else str(finding.location)
    for label, value in (("where", place), ("saw", finding.evidence), ("next", finding.hint)):
        if value:
            yield _labelled(label, value)


def _table(table: Table) -> Iterator[str]:
    total = len(table.rows)
    yield _labelled("table", f"{table.title or 'of the result'}, {total or 'no'} rows")
    for number, row in enumerate(table.rows, 1):
        cells = (
            f"{name}: {cell}" if name else cell
            for name, cell in zip(table.columns, row, strict=True)
        )
        yield _labelled(f"row {number} of {total}", "; ".join(cells))


def _labelled(label: str, text: str) -> str:
    """Return one line: what is written in several is said in one."""
    parts = (part.strip() for part in safe(text, multiline=True).splitlines())
    said = "; ".join(part for part in parts if part)
    return f"{label[:1].upper()}{label[1:]}: {said}"


def _lines(lines: Iterable[str]) -> str:
    return inert("".join(f"{line}\n" for line in lines))
