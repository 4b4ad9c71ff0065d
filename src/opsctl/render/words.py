"""The words that every format for people shares: statuses, spans of time, how to undo."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsctl.core.errors import Exit, OpsError
from opsctl.core.report import Finding, Report, Severity, Status, Table

if TYPE_CHECKING:
    from opsctl.core.plan import Plan

HASH_SHOWN = 12
"""Characters of a plan's hash shown to a person."""
NARROW = 60
"""With fewer columns findings are laid out for narrow screens."""

_ORDER = {Status.FAILED: 0, Status.PARTIAL: 1, Status.REFUSED: 2, Status.UNKNOWN: 3}
_SEVERITIES = tuple(Severity)


def error_status(error: OpsError) -> Status:
    """Return the status that an error's exit code stands for."""
    return {
        Exit.REFUSED: Status.REFUSED,
        Exit.UNKNOWN: Status.UNKNOWN,
        Exit.PARTIAL: Status.PARTIAL,
    }.get(error.exit, Status.FAILED)


def sort_findings(report: Report) -> tuple[tuple[Finding, ...], tuple[Finding, ...]]:
    """Return the findings that need a look, gravest first, and those that passed, as given."""
    passed = tuple(finding for finding in report.findings if finding.status is Status.OK)
    rest = [finding for finding in report.findings if finding.status is not Status.OK]
    rest.sort(key=lambda f: (_SEVERITIES.index(f.severity), _ORDER[f.status]))
    return tuple(rest), passed


def count_findings(report: Report) -> str:
    """Return how many findings there are of each kind: `2 failed, 1 unknown, 5 ok`."""
    counts: dict[str, int] = {}
    rest, passed = sort_findings(report)
    for finding in (*rest, *passed):
        counts[word(finding)] = counts.get(word(finding), 0) + 1
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def has_warnings(report: Report) -> bool:
    """Whether something is not well, though nothing is wrong."""
    return any(
        finding.status is not Status.OK and finding.severity is Severity.WARNING
        for finding in report.findings
    )


def word(finding: Finding) -> str:
    """Return a finding's status in a word: a failed warning is a `warning`, not a failure."""
    if finding.status is Status.FAILED and finding.severity is not Severity.ERROR:
        return str(finding.severity)
    return str(finding.status)


def even(table: Table) -> Table:
    """Return the table with as many cells in each row as there are columns; no cell is lost."""
    most = max(map(len, (table.columns, *table.rows)))
    columns, *rows = (cells + ("",) * (most - len(cells)) for cells in (table.columns, *table.rows))
    return Table(table.title, columns, tuple(rows), table.folded)


def span(milliseconds: float) -> str:
    """Return a span of time as a person says it: `340 ms`, `2.1 s`, `4 min 10 s`, `2 h 5 min`."""
    if milliseconds != milliseconds or milliseconds < 0:
        return "?"
    if milliseconds < 999.5:
        return f"{milliseconds:.0f} ms"
    seconds = milliseconds / 1000
    if seconds < 59.95:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    if seconds < 3570:
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    if seconds == float("inf"):
        return "?"
    hours, rest = divmod(round(seconds / 60), 60)
    return f"{hours} h {rest} min" if rest else f"{hours} h"


def number(count: int | None) -> str:
    """Return a count with thousands apart; a dash where nothing was counted."""
    return "-" if count is None else f"{count:,}"


def how_to_undo(plan: Plan) -> tuple[str, ...]:
    """Return how the plan is taken back, a line each; a line per step that cannot be."""
    # Late, for reports know no plan and are to be quick.
    from opsctl.core.plan import Irreversible

    lines = [
        f"step {index} cannot be undone: {step.undo.because}"
        for index, step in enumerate(plan.steps, 1)
        if isinstance(step.undo, Irreversible)
    ]
    undoable = any(step.undo and not isinstance(step.undo, Irreversible) for step in plan.steps)
    if undoable:
        lines.append("opsctl runs undo RUN" + (" takes back the rest" if lines else ""))
    if lines:
        return tuple(lines)
    if any(step.action is not None for step in plan.steps):
        # A record that is kept, a message that is sent, a backup that is made.
        return ("nothing to undo: what is there stays as it is",)
    return ("nothing to undo: no step changes anything",)
