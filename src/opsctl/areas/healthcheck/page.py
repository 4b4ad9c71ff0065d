"""The health report as one page of HTML: no script, no font, no picture from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING

from opsctl.areas.healthcheck.page_plots import histogram, latency_plot, uptime_strip
from opsctl.areas.healthcheck.page_style import STYLE
from opsctl.areas.healthcheck.words import milliseconds, percent, rate, span
from opsctl.core.report import Finding, Report, Severity, Status
from opsctl.core.times import format_moment

if TYPE_CHECKING:
    from opsctl.areas.healthcheck.objectives import Judged
    from opsctl.areas.healthcheck.report import HealthReport

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""Whoever serves the page: a browser that holds to this asks for nothing else."""
_CLASSES = {"met": "met", "missed": "missed", "not enough data": "lacking"}
_LEGEND = (
    ("good", "as wanted"),
    ("fair", "less than wanted"),
    ("bad", "down for more than 5 %"),
    ("none", "unknown: nobody looked"),
    ("rest", "maintenance"),
)
_MOST_OUTAGES = 8
_MOST_CARDS = 40
"""Checks that are shown large; of the rest those that are well get a line and a strip."""


def page(health: HealthReport, report: Report) -> str:
    """Return the whole page; everything from outside is escaped."""
    findings: dict[str, list[Finding]] = {}
    for finding in report.findings:
        name = finding.location.object if finding.location is not None else ""
        findings.setdefault(name or "", []).append(finding)
    cards = [
        _small_card(each, health)
        if at >= _MOST_CARDS and each.state == "met" and each.covered
        else _card(each, health, findings.get(each.history.check, ()))
        for at, each in enumerate(health.checks)
    ]
    general = "".join(f"<section class='card'>{_list(findings[''])}</section>"
                      for _ in range("" in findings))  # fmt: skip
    title = f"{report.title} · {health.environment}"
    return (
        "<!doctype html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>\n"
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f"<link rel='icon' href='data:,'>\n<title>{_text(title)}</title>\n"
        f"<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"{_header(health, report)}{_tiles(health)}{_legend()}{general}"
        + "\n".join(cards)
        + f"\n<footer>{''.join(f'<p>{_text(note)}</p>' for note in report.notes)}</footer>\n"
        "</main>\n</body>\n</html>\n"
    )


def _header(health: HealthReport, report: Report) -> str:
    begin, end = health.history.begin, health.history.end
    return (
        f"<header><div><h1>{_text(health.environment)}</h1>"
        f"<p class='faint'>{_text(report.title)}: {format_moment(begin)} to "
        f"{format_moment(end)}</p></div>"
        f"<span class='pill {report.status}'>{report.status}</span></header>\n"
    )


def _tiles(health: HealthReport) -> str:
    states = [each.state for each in health.checks]
    uptimes = [up for each in health.checks if (up := each.history.sums.uptime) is not None]
    slowest = [p95 for each in health.checks if (p95 := each.quantile_ms(0.95)) is not None]
    outages = sum(len(each.history.outages) for each in health.checks)
    tiles = [
        (f"{states.count('met'):,} of {len(states):,}", "checks meet their objectives"),
        (percent(min(uptimes, default=None)), "lowest uptime"),
        (milliseconds(max(slowest, default=None)), "slowest P95"),
        (f"{outages:,}", "outage" if outages == 1 else "outages"),
    ]
    cells = "".join(f"<div class='tile'><b>{value}</b>{label}</div>" for value, label in tiles)
    return f"<section class='tiles'>{cells}</section>\n"


def _legend() -> str:
    signs = "".join(
        f"<span><i style='background:var(--{name})'></i>{label}</span>" for name, label in _LEGEND
    )
    return f"<p class='legend'>{signs}</p>\n"


def _card(judged: Judged, health: HealthReport, findings: Sequence[Finding]) -> str:
    history = judged.history
    wrong = [each for each in findings if each.status is not Status.OK]
    return (
        f"<section class='card'><div class='name'><h2>{_text(history.check)}</h2>"
        f"<span class='pill {_CLASSES[judged.state]}'>{judged.state}</span></div>"
        f"{_figures(judged, health)}"
        f"<div class='plots'><figure><h3>Up, and P95 of the answers</h3>"
        f"{uptime_strip(history, health.objectives.uptime)}"
        f"{latency_plot(history, health.objectives.p95_ms)}{_axis(health)}</figure>"
        f"<figure><h3>How long answers took</h3>{histogram(judged)}</figure></div>"
        f"{_list(wrong)}{_outages(judged)}</section>"
    )


def _small_card(judged: Judged, health: HealthReport) -> str:
    sums = judged.history.sums
    words = (
        f"up {percent(sums.uptime)}",
        f"P95 {milliseconds(judged.quantile_ms(0.95))}",
        f"errors {rate(sums.error_rate)}",
        f"{percent(judged.budget.left, 0)} of the budget left",
    )
    return (
        f"<section class='card small'><div class='name'><h2>{_text(judged.history.check)}</h2>"
        f"<span class='faint'>{' · '.join(words)}</span></div>"
        f"{uptime_strip(judged.history, health.objectives.uptime, said=False)}</section>"
    )


def _figures(judged: Judged, health: HealthReport) -> str:
    sums, limits = judged.history.sums, health.objectives
    missed = {each.objective for each in judged.verdicts if each.state == "missed"}
    left = percent(judged.budget.left, 0) if judged.budget_known else "-"
    spent = f"{span(judged.budget.spent_s)} of {span(judged.budget.allowed_s)} spent"
    cells = (
        ("uptime", percent(sums.uptime), f"wanted {percent(limits.uptime)}", "uptime" in missed),
        ("P50", milliseconds(judged.quantile_ms(0.5)), "", False),
        ("P95", milliseconds(judged.quantile_ms(0.95)),
         f"wanted {milliseconds(limits.p95_ms)}", "p95_ms" in missed),
        ("P99", milliseconds(judged.quantile_ms(0.99)), "", False),
        ("errors", rate(sums.error_rate), f"wanted below {rate(limits.error_rate)}",
         "error_rate" in missed),
        ("budget left", left, spent if judged.budget_known else "",
         judged.budget_known and judged.budget.left < 0),
        ("known", percent(judged.history.coverage, 1),
         f"{sums.judged:,} samples", False),
    )  # fmt: skip
    return (
        "<dl>"
        + "".join(
            f"<div><dt>{name}</dt><dd{' class=bad' if bad else ''}>{value}"
            f"{f'<small>{note}</small>' if note else ''}</dd></div>"
            for name, value, note, bad in cells
        )
        + "</dl>"
    )


def _axis(health: HealthReport) -> str:
    begin, end = health.history.begin, health.history.end
    form = "%H:%M" if end - begin <= 2 * 86400 else "%-d %b" if end - begin < 3e7 else "%b %Y"
    moments = [begin, (begin + end) / 2, end]
    shown = (datetime.fromtimestamp(each, UTC).strftime(form.replace("%-d", "%d")).lstrip("0")
             for each in moments)  # fmt: skip
    return f"<div class='axis'>{''.join(f'<span>{each}</span>' for each in shown)}</div>"


def _list(findings: Iterable[Finding]) -> str:
    items = []
    for finding in findings:
        grave = finding.severity is Severity.ERROR and finding.status is Status.FAILED
        kind = "bad" if grave else "fair"
        more = f"<br>{_text(finding.evidence)}" if finding.evidence else ""
        hint = f"<br><code>{_text(finding.hint)}</code>" if finding.hint else ""
        items.append(f"<li class='{kind}'><b>{_text(finding.title)}</b>{more}{hint}</li>")
    return f"<ul>{''.join(items)}</ul>" if items else ""


def _outages(judged: Judged) -> str:
    outages = judged.history.outages
    if not outages:
        return ""
    newest = sorted(outages, key=lambda each: -each.begin_ms)[:_MOST_OUTAGES]
    items = [
        f"<li>{format_moment(each.begin_ms / 1000)}, "
        f"{span((each.end_ms - each.begin_ms) / 1000)}"
        f"{f' <span class=faint>({_text(each.reason)})</span>' if each.reason else ''}</li>"
        for each in newest
    ]
    if len(outages) > len(newest):
        items.append(f"<li class='faint'>and {len(outages) - len(newest):,} earlier</li>")
    return f"<ul><li><h3>Outages, the newest first</h3></li>{''.join(items)}</ul>"


def _text(text: str) -> str:
    """Return outside text as HTML; signs that nobody sees become a visible one."""
    return escape("".join(sign if sign.isprintable() else "�" for sign in text))
