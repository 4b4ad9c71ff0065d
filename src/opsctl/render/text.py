"""Render as text for a person at a terminal, or in the log of a job.

Outside text enters through `_text` alone, which makes it safe; Rich never sees markup.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from io import StringIO

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from opsctl.core.errors import OpsError
from opsctl.core.plan import Irreversible, Plan, Step
from opsctl.core.report import Finding, Report, Status, Table
from opsctl.render.safe import inert, safe
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

_DETAIL_LINES = 6
"""Lines of a step's detail shown without `verbose`: a plan is meant to fit on one screen."""
_WORD_COLUMNS = 40
"""A column narrower than this and than its words makes a table unreadable."""
_NUMBER = re.compile(r"-|[<>]?\d[\d,.]*( ?(ms|s|%|B|kB|MB|GB|min|h))?")
_STYLES = {
    "ok": ("✓", "green"),
    "failed": ("✗", "bold red"),
    "unknown": ("?", "bold yellow"),
    "refused": ("✗", "bold magenta"),
    "partial": ("!", "bold red"),
    "warning": ("!", "yellow"),
    "note": ("·", "cyan"),
}
"""Mark and colour of each word; the word is always there too."""


def report(report: Report, *, width: int, color: bool) -> str:
    """Return the report: status first, then tables, findings (gravest first), notes."""
    parts: list[RenderableType] = [_headline(report.status, report.title, report.environment)]
    parts += [_table(even(table), width - 2) for table in report.tables]
    rest, passed = sort_findings(report)
    if report.findings:
        parts.append(_findings(rest, passed))
        if len(report.findings) > 1:
            parts.append(_indent(_text(count_findings(report), "dim")))
    if report.notes:
        parts.append(_indent(Group(*(_text(note) for note in report.notes))))
    return _print(parts, width=width, color=color)


def plan(plan: Plan, *, width: int, color: bool, verbose: bool) -> str:
    """Return the plan on one screen: steps, losses, notes, and how long, how back, which."""
    where = _text("on ")
    where.append_text(_text(plan.environment, "bold"))
    if plan.protected:
        where.append(" (protected)", "bold yellow")
    where.append("  ·  opsctl ", "dim").append_text(_text(plan.command, "dim"))
    parts: list[RenderableType] = [Group(_text(plan.title, "bold"), where)]
    parts.append(_section("What will be done", _steps(plan.steps, verbose=verbose)))
    if plan.losses:
        losses = Table(
            "",
            ("what", "rows", "not null", "kept"),
            tuple(
                (
                    f"{loss.kind} {loss.name}",
                    number(loss.rows),
                    number(loss.values),
                    loss.kept or "not kept: gone for good",
                )
                for loss in plan.losses
            ),
        )
        parts.append(_section("What would be lost", _rows(losses, width - 2)))
    if plan.notes:
        notes = _pairs((_text("!", "yellow"), _text(note)) for note in plan.notes)
        parts.append(_section("Before you agree", notes))
    ends = [("takes", _text(f"about {span(plan.estimate_s * 1000)}"))] if plan.estimate_s else []
    undo = Group(*(_text(line, "yellow" if "cannot" in line else "") for line in how_to_undo(plan)))
    parts.append(_labels([*ends, ("undo", undo), ("plan", _text(plan.hash[:HASH_SHOWN]))]))
    return _print(parts, width=width, color=color)


def error(
    error: OpsError, *, command: str, environment: str | None, width: int, color: bool
) -> str:
    """Return the error's four parts, a line each where they fit."""
    head = _mark(str(error_status(error)))
    head.append("  ").append_text(_text(error.what, "bold"))
    labels = [("why", error.why), ("next", error.hint), ("code", error.code)]
    body = _labels([(label, _text(part)) for label, part in labels if part])
    return _print([Group(head, body)], width=width, color=color)


def _print(parts: Sequence[RenderableType], *, width: int, color: bool) -> str:
    out = StringIO()
    console = Console(
        file=out,
        width=width,
        color_system="standard" if color else None,
        force_terminal=color,
        force_jupyter=False,
        legacy_windows=False,
        markup=False,
        highlight=False,
        emoji=False,
        # Pure: what the caller says decides, not NO_COLOR, COLUMNS or TERM.
        _environ={},
    )
    for index, part in enumerate(parts):
        if index:
            console.print()
        console.print(part)
    lines = (line.rstrip() for line in out.getvalue().split("\n"))
    return inert("\n".join(lines).rstrip("\n") + "\n")


def _text(text: str, style: str = "", *, multiline: bool = True) -> Text:
    return Text(safe(text, multiline=multiline), style=style, overflow="fold")


def _mark(name: str) -> Text:
    mark, style = _STYLES[name]
    # Appended, not the Text's own style: that would colour what is appended after it too.
    return Text().append(f"{mark} {name}", style)


def _headline(status: Status, title: str, environment: str | None) -> Text:
    line = _mark(str(status))
    line.append("  ").append_text(_text(title, "bold"))
    if environment:
        line.append("  ·  ", "dim").append_text(_text(environment))
    return line


def _indent(body: RenderableType, columns: int = 2) -> RenderableType:
    return Padding(body, (0, 0, 0, columns), expand=False)


def _section(title: str, body: RenderableType) -> RenderableType:
    return Group(Text(title, style="bold"), _indent(body))


def _pairs(pairs: Iterable[tuple[RenderableType, RenderableType]]) -> Grid:
    """Return a grid of a short first column and a second that folds under itself."""
    grid = Grid.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for left, right in pairs:
        grid.add_row(left, right)
    return grid


def _labels(pairs: Iterable[tuple[str, RenderableType]]) -> RenderableType:
    return _indent(_pairs((Text(label, style="dim"), body) for label, body in pairs))


def _steps(steps: Sequence[Step], *, verbose: bool) -> Grid:
    grid = Grid.grid(padding=(0, 1, 0, 0))
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(overflow="fold")
    for index, step in enumerate(steps, 1):
        title = _text(step.title)
        if isinstance(step.undo, Irreversible):
            title.append("  cannot be undone", "bold yellow")
        grid.add_row(Text(f"{index}."), title)
        lines = [line for part in step.detail for line in part.rstrip().splitlines()]
        shown = lines if verbose or len(lines) <= _DETAIL_LINES else lines[: _DETAIL_LINES - 1]
        for line in shown:
            grid.add_row("", _pairs([(Text("│", style="dim"), _text(line, "cyan"))]))
        if len(shown) < len(lines):
            more = f"… {len(lines) - len(shown)} more lines, shown with --verbose"
            grid.add_row("", Text(more, style="dim"))
    return grid


def _findings(rest: Sequence[Finding], passed: Sequence[Finding]) -> RenderableType:
    grid = Grid.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_column(justify="right", no_wrap=True)
    for finding in (*rest, *passed):
        took = "" if finding.took_ms is None else span(finding.took_ms)
        body: list[RenderableType] = [_text(finding.title)]
        place = "" if finding.location is None else str(finding.location)
        if finding.status is not Status.OK:
            labels = [("where", place), ("saw", finding.evidence), ("next", finding.hint)]
            inner = [(Text(name, style="dim"), _text(value)) for name, value in labels if value]
            if inner:
                body.append(_pairs(inner))
        grid.add_row(_mark(word(finding)), Group(*body), Text(took, style="dim"))
    return _indent(grid)


def _table(table: Table, width: int) -> RenderableType:
    rows = _rows(table, width)
    return _section(safe(table.title), rows) if table.title else _indent(rows)


def _rows(table: Table, width: int) -> RenderableType:
    if not table.rows:
        return Text("none", style="dim")
    if _too_narrow(table, width):
        return Group(*_records(table))
    grid = Grid(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for index, name in enumerate(table.columns):
        cells = [row[index] for row in table.rows]
        numeric = all(_NUMBER.fullmatch(cell) for cell in cells)
        justify = "right" if numeric else "left"
        grid.add_column(_text(name), justify=justify, overflow="fold")  # type: ignore[arg-type]
    for row in table.rows:
        grid.add_row(*(_text(cell) for cell in row))
    return grid


def _too_narrow(table: Table, width: int) -> bool:
    """Whether some column would have to break its words to fit."""
    least = 0
    for index, name in enumerate(table.columns):
        words = [piece for row in table.rows for piece in row[index].split()]
        longest = max(map(len, [*words, *name.split()]), default=0)
        least += min(longest, _WORD_COLUMNS) + 2
    return least - 2 > width


def _records(table: Table) -> Iterable[RenderableType]:
    for index, row in enumerate(table.rows):
        if index:
            yield Text("")
        yield _pairs(
            (_text(name, "dim"), _text(cell)) for name, cell in zip(table.columns, row, strict=True)
        )
