"""The health report for a terminal: a line for each check, with a sparkline of its P95."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsctl.areas.healthcheck.words import milliseconds, percent, rate, span, sparkline
from opsctl.core.report import Finding, Report, Severity, Status

if TYPE_CHECKING:
    from opsctl.areas.healthcheck.objectives import Judged
    from opsctl.areas.healthcheck.report import HealthReport

_MARKS = {"met": "✓", "missed": "✗", "not enough data": "?"}
_STATUS_MARKS = {Status.OK: "✓", Status.FAILED: "✗", Status.UNKNOWN: "?"}
_LONGEST_NAME = 32
_HEAD = ("", "check", "uptime", "P50", "P95", "P99", "errors", "budget", "known")


def text(health: HealthReport, report: Report) -> str:
    """Return the whole text: status, figures, what is wrong, and how to read it.

    Made here and not by the common renderer: that takes seconds for 500 checks.
    """
    lines = [f"{_STATUS_MARKS[report.status]} {report.status}  {report.title}  ·  "
             f"{health.environment}"]  # fmt: skip
    if health.checks:
        lines += ["", *_grid(health)]
    wrong = [each for each in report.findings if each.status is not Status.OK]
    if wrong:
        lines += [""] + [line for finding in wrong for line in _finding(finding)]
    lines += ["", *(f"  {note}" for note in report.notes)]
    return "\n".join(lines) + "\n"


def figures(judged: Judged) -> tuple[str, ...]:
    """Return a check's figures in words: uptime, percentiles, errors, budget, coverage."""
    sums = judged.history.sums
    return (
        percent(sums.uptime),
        *(milliseconds(judged.quantile_ms(each)) for each in (0.5, 0.95, 0.99)),
        rate(sums.error_rate),
        percent(judged.budget.left, 0) if judged.budget_known else "-",
        percent(judged.history.coverage, 1),
    )


def _grid(health: HealthReport) -> list[str]:
    rows = [
        (_MARKS[each.state], _cut(each.history.check), *figures(each)) for each in health.checks
    ]
    widths = [max(map(len, column)) for column in zip(_HEAD, *rows, strict=True)]
    bars = health.checks[0].history.bars
    step = span(max(bar.end - bar.begin for bar in bars))
    lines = [f"  {_line(_HEAD, widths)}  P95, {step} each"]
    limit = health.objectives.p95_ms
    for row, each in zip(rows, health.checks, strict=True):
        values = [bar.p95_ms for bar in each.history.bars]
        top = max([limit, *(value for value in values if value is not None)])
        lines.append(f"  {_line(row, widths)}  {sparkline(values, top)}")
    return lines


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    mark, name, *rest = cells
    shown = [f"{cell:>{width}}" for cell, width in zip(rest, widths[2:], strict=True)]
    return "  ".join([f"{mark:<1}", f"{name:<{widths[1]}}", *shown])


def _cut(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"


def _finding(finding: Finding) -> list[str]:
    mark = "!" if finding.severity is not Severity.ERROR else _STATUS_MARKS[finding.status]
    lines = [f"  {mark} {finding.title}"]
    lines += [f"      {part}" for part in (finding.evidence,) if part]
    return lines + [f"      → {part}" for part in (finding.hint,) if part]
