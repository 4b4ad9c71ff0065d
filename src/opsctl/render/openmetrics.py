"""Render as OpenMetrics text, for node_exporter's textfile collector and its kin.

Only gauges and no time stamps: the collector takes neither more nor those.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from opsctl.core.errors import OpsError
from opsctl.core.report import Metric, Report, Status
from opsctl.render.words import error_status, word

if TYPE_CHECKING:
    from opsctl.core.plan import Plan

_NAME = re.compile(r"[^a-zA-Z0-9_:]")


def report(report: Report, *, width: int, color: bool) -> str:
    """Return the report's own numbers, its status, and how many findings there are of each kind."""
    labels = (("command", report.command), ("environment", report.environment or ""))
    counts: dict[str, int] = {}
    for finding in report.findings:
        counts[word(finding)] = counts.get(word(finding), 0) + 1
    metrics = [
        *report.metrics,
        *_status(report.status, labels),
        *(
            Metric("opsctl_findings", "Findings by kind.", count, (*labels, ("kind", kind)))
            for kind, count in counts.items()
        ),
    ]
    return _document(metrics)


def plan(plan: Plan, *, width: int, color: bool, verbose: bool) -> str:
    """Return how many steps there are."""
    labels = (("command", plan.command), ("environment", plan.environment))
    return _document([Metric("opsctl_planned_steps", "Steps planned.", len(plan.steps), labels)])


def error(
    error: OpsError, *, command: str, environment: str | None, width: int, color: bool
) -> str:
    """Return the status, with the error's code."""
    labels = (("command", command), ("environment", environment or ""))
    code = Metric("opsctl_error", "An error by its code.", 1, (*labels, ("code", error.code)))
    return _document([*_status(error_status(error), labels), code])


def _status(status: Status, labels: tuple[tuple[str, str], ...]) -> Iterator[Metric]:
    for each in Status:
        yield Metric(
            "opsctl_status", "How it ended.", float(each is status), (*labels, ("status", each))
        )


def _document(metrics: Iterable[Metric]) -> str:
    families: dict[str, list[Metric]] = {}
    for metric in metrics:
        families.setdefault(_NAME.sub("_", metric.name), []).append(metric)
    lines = []
    for name, members in families.items():
        lines += [f"# HELP {name} {_escaped(members[0].help)}", f"# TYPE {name} gauge"]
        seen: set[str] = set()
        for metric in members:
            series = name + _labels(metric.labels)
            if series not in seen:  # a series that stands there twice spoils the whole file
                seen.add(series)
                lines.append(f"{series} {_value(metric.value)}")
    return "\n".join([*lines, "# EOF"]) + "\n"


def _labels(labels: tuple[tuple[str, str], ...]) -> str:
    if not labels:
        return ""
    return (
        "{" + ",".join(f'{_NAME.sub("_", key)}="{_escaped(value)}"' for key, value in labels) + "}"
    )


def _escaped(text: str) -> str:
    shown = "".join(sign if sign >= " " or sign == "\n" else "?" for sign in text)
    clean = shown.encode("utf-8", "replace").decode()
    return clean.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _value(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(round(float(value), 6))
