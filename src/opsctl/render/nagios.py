"""Render as the plugins of Nagios and its kin speak: one line, numbers behind a bar, details."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from opsctl.core.errors import Exit, OpsError
from opsctl.core.report import Metric, Report, Status
from opsctl.render.safe import safe
from opsctl.render.words import count_findings, has_warnings, sort_findings, word

if TYPE_CHECKING:
    from opsctl.core.plan import Plan

_OK, _WARNING, _CRITICAL, _UNKNOWN = 0, 1, 2, 3
_NAMES = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
_MOST_LINES = 50
_UNITS = (("_seconds", "s"), ("_bytes", "B"), ("_ratio", ""))


def exit_code(what: Report | OpsError) -> int:
    """Return what Nagios takes an exit code for: 2 is its word for ill, 3 for not told."""
    if what.exit is Exit.OK:
        return _WARNING if isinstance(what, Report) and has_warnings(what) else _OK
    return _CRITICAL if what.exit in (Exit.FAILED, Exit.PARTIAL) else _UNKNOWN


def report(report: Report, *, width: int, color: bool) -> str:
    """Return the first line with the gravest finding and the numbers, then a line a finding."""
    rest, passed = sort_findings(report)
    state = _NAMES[exit_code(report)]
    gravest = rest[0] if rest and state != "OK" else None
    said = report.title if gravest is None else gravest.title
    if gravest is not None and gravest.evidence:
        said += f": {gravest.evidence}"
    first = f"{_service(report.command)} {state} - {_text(said)}"
    if len(report.findings) > 1:
        first += f" ({count_findings(report)})"
    numbers = " ".join(_number(metric) for metric in report.metrics if _is_shown(metric))
    lines = [f"{first} | {numbers}" if numbers else first]
    for finding in (*rest, *passed)[:_MOST_LINES]:
        took = "" if finding.took_ms is None else f" ({finding.took_ms:.0f} ms)"
        why = f": {finding.evidence}" if finding.evidence and finding.status != Status.OK else ""
        lines.append(_text(f"{word(finding)} - {finding.title}{why}{took}"))
    return "\n".join(lines) + "\n"


def plan(plan: Plan, *, width: int, color: bool, verbose: bool) -> str:
    """Return that there is nothing to watch."""
    return f"{_service(plan.command)} UNKNOWN - {_text(plan.title)} is a plan\n"


def error(
    error: OpsError, *, command: str, environment: str | None, width: int, color: bool
) -> str:
    """Return the error on one line."""
    state = _NAMES[exit_code(error)]
    return f"{_service(command)} {state} - {_text(f'{error.what}: {error.why}')}\n"


def _service(command: str) -> str:
    return _text(command.partition(" ")[0] or "opsctl").upper()


def _text(text: str) -> str:
    # The bar begins the numbers, and a line is a line.
    return safe(text).replace("|", "/")


def _is_shown(metric: Metric) -> bool:
    """Whether it is worth a graph: a measure, and no phase of one, for a name is all there is."""
    measured = metric.name.endswith(tuple(end for end, _ in _UNITS))
    whole = dict(metric.labels).get("phase", "total") == "total"
    return measured and whole and math.isfinite(metric.value) and "_at_" not in metric.name


def _number(metric: Metric) -> str:
    base = metric.name.removeprefix("opsctl_")
    unit = next((unit for end, unit in _UNITS if base.endswith(end)), "")
    labels = [value for name, value in metric.labels if name not in ("environment", "phase")]
    label = re.sub(r"['=|\s]+", "_", safe(" ".join([base, *labels])))
    limit = "" if metric.warn_above is None else f";{metric.warn_above:g}"
    return f"'{label}'={metric.value:.6g}{unit}{limit}"
