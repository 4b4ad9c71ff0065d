"""Render as text for a person at a terminal, or in the log of a job.

Outside text enters through `_text` alone, which makes it safe; Rich never sees markup. What is
written stands in the terminal's own colour, bold or dim, or in red: yellow, green and cyan are
not to be read on every light background, so they are given to signs alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from io import StringIO

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.style import Style
from rich.table import Table as Grid
from rich.text import Text

from opsctl.core.errors import OpsError
from opsctl.core.plan import Irreversible, Plan, Step
from opsctl.core.report import Finding, Report, Status, Table
from opsctl.render.links import find_links, numbered, without_color, without_links
from opsctl.render.safe import inert, safe
from opsctl.render.words import (
    HASH_SHOWN,
    NARROW,
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
_GAP = 2
"""Blanks between two columns."""
_NUMBER = re.compile(r"-|[<>]?\d[\d,.]*( ?(ms|s|%|B|kB|MB|GB|min|h))?")
_TRAILING = re.compile(r"(?: |\x1b\[[0-9;]*m|\x1b\]8;;\x1b\\)+$")
"""Blanks at a line's end, and the codes among them: what is copied is to be without blanks."""
_NO_LINKS: Mapping[str, str] = {}
_STYLES = {
    "ok": ("✓", "green", ""),
    "failed": ("✗", "bold red", "bold red"),
    "unknown": ("?", "bold yellow", "bold"),
    "refused": ("✗", "bold magenta", "bold"),
    "partial": ("!", "bold red", "bold red"),
    "warning": ("!", "bold yellow", "bold"),
    "note": ("·", "cyan", ""),
}
"""Sign, its colour and the word's style; the word is always there too."""


def report(report: Report, *, width: int, color: bool, links: bool = False) -> str:
    """Return the report: status first, then tables, findings (gravest first), notes."""
    at = report.links
    parts: list[RenderableType] = [_headline(report.status, report.title, report.environment, at)]
    parts += [_table(even(table), width - 2, at) for table in report.tables]
    rest, passed = sort_findings(report)
    if report.findings:
        findings = _findings if width >= NARROW else _narrow_findings
        parts.append(_indent(findings((*rest, *passed), at, width - 2)))
        if len(report.findings) > 1:
            parts.append(_indent(_text(count_findings(report), "dim")))
    if report.notes:
        parts.append(_indent(Group(*(_text(note, links=at) for note in report.notes))))
    return _print(parts, width=width, color=color, links=links)


def plan(plan: Plan, *, width: int, color: bool, verbose: bool, links: bool = False) -> str:
    """Return the plan on one screen: steps, losses, notes, and how long, how back, which."""
    where = _text("on ")
    where.append_text(_text(plan.environment, "bold"))
    if plan.protected:
        where.append(" (protected)", "bold")
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
        parts.append(_section("What would be lost", _rows(losses, width - 2, {})))
    if plan.notes:
        notes = _pairs((_text("!", "yellow"), _text(note)) for note in plan.notes)
        parts.append(_section("Before you agree", notes))
    ends = [("takes", _text(f"about {span(plan.estimate_s * 1000)}"))] if plan.estimate_s else []
    undo = Group(*(_text(line, "bold" if "cannot" in line else "") for line in how_to_undo(plan)))
    parts.append(_labels([*ends, ("undo", undo), ("plan", _text(plan.hash[:HASH_SHOWN]))]))
    return _print(parts, width=width, color=color, links=links)


def error(
    error: OpsError,
    *,
    command: str,
    environment: str | None,
    width: int,
    color: bool,
    links: bool = False,
) -> str:
    """Return the error's four parts, a line each where they fit."""
    head = _mark(str(error_status(error)))
    head.append("  ").append_text(_text(error.what, "bold"))
    labels = [("why", error.why), ("next", error.hint), ("code", error.code)]
    body = _labels([(label, _text(part)) for label, part in labels if part])
    return _print([Group(head, body)], width=width, color=color, links=links)


def _print(parts: Sequence[RenderableType], *, width: int, color: bool, links: bool) -> str:
    out = StringIO()
    console = Console(
        file=out,
        width=width,
        color_system="standard" if color or links else None,
        force_terminal=color or links,
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
    text = out.getvalue()
    text = numbered(text) if links else without_links(text)
    text = text if color else without_color(text)
    lines = (_TRAILING.sub(lambda end: end[0].replace(" ", ""), line) for line in text.split("\n"))
    return inert("\n".join(lines).rstrip("\n") + "\n")


def _text(
    text: str, style: str = "", *, multiline: bool = True, links: Mapping[str, str] = _NO_LINKS
) -> Text:
    made = Text(safe(text, multiline=multiline), style=style, overflow="fold")
    for start, end, address in find_links(made.plain, links):
        made.stylize(Style(link=address), start, end)
    return made


def _mark(name: str) -> Text:
    mark, color, style = _STYLES[name]
    # Appended, not the Text's own style: that would colour what is appended after it too.
    return Text().append(mark, color).append(" ").append(name, style)


def _headline(
    status: Status, title: str, environment: str | None, links: Mapping[str, str]
) -> Text:
    line = _mark(str(status))
    line.append("  ").append_text(_text(title, "bold", links=links))
    if environment:
        line.append("  ·  ", "dim").append_text(_text(environment))
    return line


def _indent(body: RenderableType, columns: int = 2) -> RenderableType:
    return Padding(body, (0, 0, 0, columns), expand=False)


def _section(title: str, body: RenderableType) -> RenderableType:
    return Group(Text(title, style="bold"), _indent(body))


def _pairs(
    pairs: Iterable[tuple[RenderableType, RenderableType]],
    *,
    widths: tuple[int, int] | tuple[None, None] = (None, None),
) -> Grid:
    """Return a grid of a short first column and a second that folds under itself.

    Without widths Rich finds them, which takes most of the time of a report with many findings.
    """
    grid = Grid.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, width=widths[0])
    grid.add_column(overflow="fold", width=widths[1])
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
            title.append("  cannot be undone", "bold")
        grid.add_row(Text(f"{index}."), title)
        lines = [line for part in step.detail for line in part.rstrip().splitlines()]
        shown = lines if verbose or len(lines) <= _DETAIL_LINES else lines[: _DETAIL_LINES - 1]
        for line in shown:
            grid.add_row("", _pairs([(Text("│", style="dim"), _text(line))]))
        if len(shown) < len(lines):
            more = f"… {len(lines) - len(shown)} more lines, shown with --verbose"
            grid.add_row("", Text(more, style="dim"))
    return grid


def _findings(findings: Sequence[Finding], links: Mapping[str, str], width: int) -> Grid:
    timed = any(finding.took_ms is not None for finding in findings)
    took = ["" if each.took_ms is None else span(each.took_ms) for each in findings]
    words = [word(finding) for finding in findings]
    sides = 2 + max(map(len, words)) + _GAP + (_GAP + max(map(cell_len, took)) if timed else 0)
    bodies, wanted = _bodies([_text(each.title, links=links) for each in findings], findings,
                             links, width - sides)  # fmt: skip
    grid = Grid.grid(padding=(0, _GAP, 0, 0))
    grid.add_column(no_wrap=True, width=2 + max(map(len, words)))
    grid.add_column(overflow="fold", width=wanted)
    if timed:  # an empty column would take a column's room
        grid.add_column(justify="right", no_wrap=True)
    for name, body, time in zip(words, bodies, took, strict=True):
        grid.add_row(_mark(name), body, *([Text(time, style="dim")] if timed else []))
    return grid


def _narrow_findings(findings: Sequence[Finding], links: Mapping[str, str], width: int) -> Grid:
    """Return the same for few columns: everything under the word, the time behind the title."""
    titles = []
    for finding in findings:
        name = word(finding)
        title = Text(overflow="fold").append(name, _STYLES[name][2]).append("  ")
        title.append_text(_text(finding.title, links=links))
        if finding.took_ms is not None:
            title.append(f"  {span(finding.took_ms)}", "dim")
        titles.append(title)
    bodies, wanted = _bodies(titles, findings, links, width - 2)
    grid = Grid.grid(padding=(0, 1, 0, 0))
    grid.add_column(no_wrap=True, width=1)
    grid.add_column(overflow="fold", width=wanted)
    for finding, body in zip(findings, bodies, strict=True):
        sign, color, _ = _STYLES[word(finding)]
        grid.add_row(Text(sign, style=color), body)
    return grid


def _bodies(
    titles: Sequence[Text], findings: Sequence[Finding], links: Mapping[str, str], room: int
) -> tuple[list[RenderableType], int]:
    """Return each finding's title with what is said under it, and the columns that they want."""
    said = [_more(finding, links) for finding in findings]
    wanted = max(map(_columns, titles))
    for pairs in said:
        if pairs:
            left = max(cell_len(name.plain) for name, _ in pairs)
            wanted = max(wanted, left + _GAP + max(_columns(value) for _, value in pairs))
    wanted = max(min(wanted, room), 1)
    bodies: list[RenderableType] = []
    for title, pairs in zip(titles, said, strict=True):
        if pairs:
            left = max(cell_len(name.plain) for name, _ in pairs)
            right = min(max(_columns(value) for _, value in pairs), wanted - left - _GAP)
            bodies.append(Group(title, _pairs(pairs, widths=(left, max(right, 1)))))
        else:
            bodies.append(title)
    return bodies, wanted


def _columns(text: Text) -> int:
    return max((cell_len(line) for line in text.plain.splitlines()), default=0)


def _more(finding: Finding, links: Mapping[str, str]) -> list[tuple[Text, Text]]:
    """Return what is said of a finding that is not well, under its title."""
    if finding.status is Status.OK:
        return []
    place = "" if finding.location is None else str(finding.location)
    labels = (("where", place), ("saw", finding.evidence), ("next", finding.hint))
    return [(Text(name, style="dim"), _text(value, links=links)) for name, value in labels if value]


def _table(table: Table, width: int, links: Mapping[str, str]) -> RenderableType:
    rows = _rows(table, width, links)
    return _section(safe(table.title), rows) if table.title else _indent(rows)


def _rows(table: Table, width: int, links: Mapping[str, str]) -> RenderableType:
    if not table.rows:
        return Text("none", style="dim")
    widths = _widths(table, width)
    if widths is None:
        return Group(*_records(table, links))
    grid = Grid(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for index, name in enumerate(table.columns):
        cells = [row[index] for row in table.rows]
        numeric = all(_NUMBER.fullmatch(cell) for cell in cells)
        justify = "right" if numeric else "left"
        grid.add_column(
            _text(name),
            justify=justify,  # type: ignore[arg-type]
            overflow="fold",
            width=widths[index],
        )
    for row in table.rows:
        grid.add_row(*(_text(cell, links=links) for cell in row))
    return grid


def _widths(table: Table, width: int) -> list[int] | None:
    """Return each column's width, or None where one would have to break its words to fit.

    What is left over goes to the narrowest of those that want more, so that short columns are
    whole and long ones of a width.
    """
    least, most = [], []
    for index in range(len(table.columns)):
        cells = [safe(cell[index], multiline=True) for cell in (table.columns, *table.rows)]
        longest = max(cell_len(piece) for cell in cells for piece in (*cell.split(), ""))
        least.append(max(min(longest, _WORD_COLUMNS), 1))
        most.append(max(1, *(cell_len(line) for cell in cells for line in cell.split("\n"))))
    room = width - sum(least) - 2 * (len(least) - 1)
    if room < 0:
        return None
    widths = list(least)
    while room and (wanting := [i for i, most_ in enumerate(most) if widths[i] < most_]):
        widths[min(wanting, key=widths.__getitem__)] += 1
        room -= 1
    return widths


def _records(table: Table, links: Mapping[str, str]) -> Iterable[RenderableType]:
    """Yield a table that is too wide, row by row: a line for each cell that holds something."""
    for index, row in enumerate(table.rows):
        if index:
            yield Text("")
        yield _pairs(
            (_text(name, "dim"), _text(cell, links=links))
            for name, cell in zip(table.columns, row, strict=True)
            if cell
        )
