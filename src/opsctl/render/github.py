"""Render for the log of a GitHub Actions job: annotations, then the text."""

from __future__ import annotations

from collections.abc import Iterable

from opsctl.core.errors import OpsError
from opsctl.core.plan import Plan
from opsctl.core.report import Finding, Location, Report, Severity, Status
from opsctl.render import text
from opsctl.render.safe import safe
from opsctl.render.words import sort_findings, word

_MOST = 10
"""Annotations of each kind that GitHub keeps for one step (GitHub, 'Workflow commands')."""
_KINDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "notice"}


def report(report: Report, *, width: int, color: bool) -> str:
    """Return an annotation per finding that needs a look, and the report as text."""
    rest, _ = sort_findings(report)
    lines = list(_annotations(rest))
    if report.status is not Status.OK and not any(line.startswith("::error") for line in lines):
        notes = "\n".join(report.notes)
        lines.insert(0, _command("error", f"{report.title}: {report.status}", notes))
    return _lines(lines) + text.report(report, width=width, color=False)


def plan(plan: Plan, *, width: int, color: bool, verbose: bool) -> str:
    """Return the plan as text: there is nothing to annotate before it is carried out."""
    return text.plan(plan, width=width, color=False, verbose=verbose)


def error(
    error: OpsError, *, command: str, environment: str | None, width: int, color: bool
) -> str:
    """Return the error as an annotation, and as text."""
    line = _command("error", error.what, f"{error.why}\nnext: {error.hint}")
    body = text.error(error, command=command, environment=environment, width=width, color=False)
    return _lines([line]) + body


def _annotations(findings: Iterable[Finding]) -> Iterable[str]:
    counts: dict[str, int] = {}
    for finding in findings:
        kind = _KINDS[finding.severity]
        counts[kind] = counts.get(kind, 0) + 1
        if counts[kind] <= _MOST:
            yield _annotation(kind, finding)
    for kind, count in counts.items():
        if count > _MOST:
            yield (
                f"{count - _MOST} more of kind {kind} are not annotated, "
                f"GitHub keeps {_MOST} of each; all are listed below"
            )


def _annotation(kind: str, finding: Finding) -> str:
    place = finding.location
    parts = [finding.evidence or word(finding)]
    if place is not None and place.path is None and place.object:
        parts.append(f"where: {place.object}")
    if finding.hint:
        parts.append(f"next: {finding.hint}")
    title = finding.title
    if finding.status is Status.UNKNOWN:
        title = f"could not look: {title}"
    return _command(kind, title, "\n".join(parts), place=place)


def _command(kind: str, title: str, message: str, *, place: Location | None = None) -> str:
    properties: list[tuple[str, str]] = []
    if place is not None and place.path is not None:
        numbers = (("line", place.line), ("col", place.column))
        properties.append(("file", place.path))
        properties += [(name, str(value)) for name, value in numbers if value]
    properties.append(("title", title))
    shown = ",".join(f"{name}={_property(value)}" for name, value in properties)
    return f"::{kind} {shown}::{_message(message)}"


def _message(message: str) -> str:
    shown = safe(message, multiline=True)
    return shown.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(value: str) -> str:
    shown = safe(value).replace("%", "%25")
    return shown.replace(":", "%3A").replace(",", "%2C")


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
