"""What a watch looks like: a line, a picture of now, and what came of it; pure."""

from __future__ import annotations

import time
from collections.abc import Iterable

from opsctl.areas.healthcheck.show import report_on
from opsctl.areas.healthcheck.telling import sentence
from opsctl.areas.healthcheck.verdict import Verdict
from opsctl.areas.healthcheck.watched import Watched
from opsctl.core.errors import Exit
from opsctl.core.progress import duration
from opsctl.core.report import Finding, Report, Status, Table

_WORDS = {"pass": "ok", "warn": "warning", "fail": "failed", "unknown": "unknown"}


def line_of(verdict: Verdict, *, width: int) -> str:
    """Return one look as a line; `width` is that of the longest name."""
    sample = verdict.sample
    took = "" if sample.took_ms is None else f"{sample.took_ms:.0f} ms"
    at = time.strftime("%H:%M:%S", time.localtime(sample.began_at))
    said = "; ".join(
        finding.evidence or finding.title
        for finding in verdict.findings
        if finding.status is not Status.OK
    )
    line = f"{at}  {_WORDS[sample.status]:<7}  {sample.check:<{width}}  {took:>8}"
    return f"{line}  {said}".rstrip()


def picture(
    watched: Iterable[Watched], *, environment: str, notes: tuple[str, ...], every_s: float
) -> Report:
    """Return how things stand now."""
    watched = tuple(watched)
    findings = tuple(
        finding
        for each in watched
        if each.last is not None
        for finding in each.last.findings
        if finding.status is not Status.OK
    )
    states = [each.last.sample.status for each in watched if each.last is not None]
    status = Status.OK
    if "fail" in states:
        status = Status.FAILED
    elif "unknown" in states or not states:
        status = Status.UNKNOWN
    return Report(
        command="healthcheck watch",
        title=f"Watching {len(watched)} checks every {duration(every_s)}",
        environment=environment,
        findings=findings,
        tables=(_table(watched),),
        notes=notes,
        given_status=status,
    )


def summary(
    watched: Iterable[Watched],
    *,
    environment: str,
    notes: tuple[str, ...],
    stopped: Exit | None,
    limit_ms: float,
    watched_s: float,
) -> Report:
    """Return what came of it: ill where a check is now, or where an alert began meanwhile."""
    from dataclasses import replace

    watched = tuple(watched)
    verdicts = [each.last for each in watched if each.last is not None]
    now = report_on(verdicts, environment=environment, limit_ms=limit_ms)
    alerts = tuple(
        Finding(
            rule=f"alert-{event.rule.name}",
            title=sentence(event),
            status=Status.FAILED,
            hint="opsctl healthcheck report --since 24h",
        )
        for each in watched
        for event in each.alerted
    )
    return replace(
        now,
        command="healthcheck watch",
        title=f"Watched for {duration(watched_s)}",
        findings=(*alerts, *now.findings),
        tables=(_table(watched),),
        notes=notes,
        data={
            **now.data,
            "watched_s": round(watched_s, 1),
            "checks": [
                {
                    "name": each.name,
                    **each.counts,
                    "p50_ms": each.quantile_ms(0.5),
                    "p95_ms": each.quantile_ms(0.95),
                    "p99_ms": each.quantile_ms(0.99),
                    "alerts": [event.rule.name for event in each.alerted],
                }
                for each in watched
            ],
        },
        given_exit=stopped,
    )


def _table(watched: Iterable[Watched]) -> Table:
    def shown(value: float | None) -> str:
        return "-" if value is None else f"{value:.0f} ms"

    rows = []
    for each in watched:
        last = each.last
        rows.append(
            (
                each.name,
                "-" if last is None else _WORDS[last.sample.status],
                shown(None if last is None else last.sample.took_ms),
                shown(each.quantile_ms(0.5)),
                shown(each.quantile_ms(0.95)),
                str(sum(each.counts.values())),
                str(each.counts["fail"]),
                str(each.counts["unknown"]),
                ", ".join(each.holding),
            )
        )
    columns = ("check", "now", "last", "p50", "p95", "looks", "failed", "unknown", "alerts")
    return Table("", columns, tuple(rows))
