"""`healthcheck report`: the history against the objectives, said in findings and in figures."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from opsctl.areas.healthcheck import history as histories
from opsctl.areas.healthcheck.history_sums import DAY_S, bar_length
from opsctl.areas.healthcheck.objectives import (
    Burn,
    Judged,
    Verdict,
    is_too_close,
    judge,
)
from opsctl.areas.healthcheck.words import milliseconds, percent, rate, span
from opsctl.core.errors import OpsError
from opsctl.core.report import Finding, Location, Report, Severity, Status, Table
from opsctl.core.times import format_moment, parse_duration

if TYPE_CHECKING:
    from opsctl.adapters.health_day import Outage
    from opsctl.core.call import Call
    from opsctl.core.settings import Objectives

_RULES = {"uptime": "health-uptime", "p95_ms": "health-p95", "error_rate": "health-error-rate"}
_ORDER = {"missed": 0, "not enough data": 1, "met": 2}


@dataclass(frozen=True)
class HealthReport:
    """Everything that the formats of this report are made of."""

    environment: str
    history: histories.History
    objectives: Objectives
    checks: tuple[Judged, ...]
    """Those that missed an objective first, then those without enough data; each by name."""


def report(call: Call, *, since: str, only: Sequence[str]) -> Report:
    """Return the report on the period up to now."""
    end = time.time()
    begin = end - parse_duration(since, "--since")
    if bar_length(end - begin) >= DAY_S:
        # Drawn in days it begins with a day: a packed one need not be opened then.
        begin -= begin % DAY_S
    history = histories.gather(call, begin=begin, end=end, only=only)
    _refuse_unknown(only, history, call.name)
    objectives = call.environment.objectives
    judged = []
    for each in history.checks:
        p95_ms = None
        if is_too_close(each, objectives):
            p95_ms = histories.exact_quantile_ms(call, each.check, 0.95, history)
        judged.append(judge(each, objectives, p95_ms=p95_ms))
    judged.sort(key=lambda each: (_ORDER[each.state], each.history.check))
    return describe(HealthReport(call.name, history, objectives, tuple(judged)))


def describe(health: HealthReport) -> Report:
    """Return the report in every format; pure."""
    from opsctl.areas.healthcheck.report_text import text

    over_s = health.history.end - health.history.begin
    if bar_length(over_s) >= DAY_S:
        over_s -= over_s % DAY_S
    findings = tuple(finding for each in health.checks for finding in _findings(each, health))
    report = Report(
        command="healthcheck report",
        title=f"Health over {span(over_s)}",
        environment=health.environment,
        findings=findings or (_nothing(health),),
        tables=(_table(health),) if health.checks else (),
        notes=notes(health),
        data=_Data(health),
    )

    def page() -> str:
        from opsctl.areas.healthcheck.page import page

        return page(health, report)

    def metrics() -> str:
        from opsctl.areas.healthcheck.report_metrics import metrics

        return metrics(health)

    own = {"html": page, "openmetrics": metrics}
    return replace(report, text=text(health, report), own=own)


def notes(health: HealthReport) -> tuple[str, ...]:
    """Return what must be known to read the figures."""
    history, objectives = health.history, health.objectives
    found = [
        f"Period: {format_moment(history.begin)} to {format_moment(history.end)}.",
        f"Objectives: uptime {percent(objectives.uptime)}, P95 {milliseconds(objectives.p95_ms)}, "
        f"error rate below {rate(objectives.error_rate)}.",
        "Time that nobody looked at is unknown: neither up nor down.",
        "Percentiles are of the answers, from due to done, and within 1 % of the truth.",
    ]
    if history.maintenance:
        total = sum(last - first for first, last in history.maintenance)
        found.append(
            f"Left out as maintenance: {span(total)} in {len(history.maintenance)} "
            + ("window" if len(history.maintenance) == 1 else "windows")
            + ": "
            + "; ".join(
                f"{format_moment(each.begins_at)}, {each.reason}" for each in history.windows[:5]
            )
            + ("; ..." if len(history.windows) > 5 else "")
            + "."
        )
    return tuple(found)


def said_outages(outages: Sequence[Outage]) -> str:
    """Return how many outages there were and which was the longest; empty without any."""
    if not outages:
        return ""
    longest = max(outages, key=lambda each: each.end_ms - each.begin_ms)
    total = sum(each.end_ms - each.begin_ms for each in outages) / 1000
    which = format_moment(longest.begin_ms / 1000)
    why = f" ({longest.reason})" if longest.reason else ""
    if len(outages) == 1:
        return f"one outage: {which} for {span(total)}{why}"
    length = span((longest.end_ms - longest.begin_ms) / 1000)
    return f"{len(outages)} outages, {span(total)}; the longest: {which} for {length}{why}"


def _refuse_unknown(only: Sequence[str], history: histories.History, environment: str) -> None:
    known = {each.check for each in history.checks}
    for name in only:
        if name not in known:
            raise OpsError(
                f"There is no check {name!r}",
                why=f"neither the settings of {environment} nor its history of this period name it",
                hint="opsctl healthcheck report names them all",
                code="no-such-check",
            )


def _findings(judged: Judged, health: HealthReport) -> list[Finding]:
    history = judged.history
    place = Location(object=history.check)
    found = [_missed(each, judged, place) for each in judged.verdicts if each.state == "missed"]
    lacking = [each for each in judged.verdicts if each.state == "not enough data"]
    if lacking:
        found.append(_lacking(lacking, judged, health, place))
    if not found:
        found.append(
            Finding("health-objectives", f"{history.check} meets its objectives", Status.OK,
                    location=place)
        )  # fmt: skip
    burning = [burn for burn in judged.burns if burn.burning]
    if burning:
        found.append(_burning(burning[0], judged, place))
    if not judged.covered and history.sums.judged:
        found.append(_uncovered(judged, health, place))
    return found


def _missed(verdict: Verdict, judged: Judged, place: Location) -> Finding:
    history = judged.history
    if verdict.objective == "p95_ms":
        title = f"{history.check} answers too slowly"
        evidence = (
            f"P95 {milliseconds(verdict.value)} of {verdict.samples:,} answers; "
            f"the objective is {milliseconds(verdict.limit)}"
        )
        hint = "opsctl diagnose performance"
    elif verdict.objective == "uptime":
        title = f"{history.check} was not up enough"
        evidence = (
            f"{percent(verdict.value)} of {span(history.sums.known_s)}; the objective is "
            f"{percent(verdict.limit)}; {said_outages(history.outages)}"
        )
        hint = (
            "was it maintenance? opsctl healthcheck window add --from TIME --to TIME --reason WHY"
        )
    else:
        title = f"{history.check} fails too often"
        evidence = (
            f"{history.sums.failed:,} of {verdict.samples:,} samples, {rate(verdict.value)}; "
            f"the objective is below {rate(verdict.limit)}"
        )
        hint = "opsctl healthcheck run"
    return Finding(_RULES[verdict.objective], title, Status.FAILED, evidence=evidence,
                   location=place, hint=hint)  # fmt: skip


def _lacking(
    lacking: Sequence[Verdict], judged: Judged, health: HealthReport, place: Location
) -> Finding:
    words = {"uptime": "uptime", "p95_ms": "P95", "error_rate": "error rate"}
    most = max(verdict.needed for verdict in lacking)
    wants = ", ".join(
        f"{words[verdict.objective]} {verdict.needed:,} (there are {verdict.samples:,})"
        for verdict in lacking
    )
    return Finding(
        "health-not-enough-data",
        f"{judged.history.check} has not enough data",
        Status.UNKNOWN,
        evidence=f"samples that carry the claim: {wants}; at one every "
        f"{span(health.history.every_s)} that takes {span(most * health.history.every_s)}",
        location=place,
        hint="opsctl healthcheck watch, or a longer --since",
    )


def _burning(burn: Burn, judged: Judged, place: Location) -> Finding:
    return Finding(
        "health-burn-rate",
        f"{judged.history.check} spends its error budget too fast",
        Status.FAILED,
        severity=Severity.WARNING,
        evidence=f"{burn.long_rate:.1f} times over {span(burn.long_s)} and {burn.short_rate:.1f} "
        f"times over {span(burn.short_s)}; the limit is {burn.threshold:g} "
        + ("(wake somebody)" if burn.grave else "(open a ticket)"),
        location=place,
        hint="opsctl healthcheck run",
    )


def _uncovered(judged: Judged, health: HealthReport, place: Location) -> Finding:
    history = judged.history
    every = f"wanted is one every {span(health.history.every_s)}"
    if history.spacing_s is not None:
        every = f"one sample every {span(history.spacing_s)} on average; {every}"
    first = format_moment(history.first_at) if history.first_at is not None else "-"
    last = format_moment(history.last_at) if history.last_at is not None else "-"
    return Finding(
        "health-coverage",
        f"{history.check} was looked at for {percent(history.coverage, 1)} of the time",
        Status.FAILED,
        severity=Severity.WARNING,
        evidence=f"{every}; the first {first}, the last {last}",
        location=place,
        hint="does the schedule run? opsctl healthcheck install writes one",
    )


def _nothing(health: HealthReport) -> Finding:
    return Finding(
        "health-not-enough-data",
        f"There is no health history of {health.environment} in this period",
        Status.UNKNOWN,
        evidence=f"nothing between {format_moment(health.history.begin)} and "
        f"{format_moment(health.history.end)}",
        hint="opsctl healthcheck watch keeps one",
    )


def _table(health: HealthReport) -> Table:
    from opsctl.areas.healthcheck.report_text import figures

    columns = ("check", "state", "uptime", "P50", "P95", "P99", "errors", "budget left", "known")
    rows = ((each.history.check, each.state, *figures(each)) for each in health.checks)
    return Table("", columns, tuple(rows))


class _Data(Mapping[str, Any]):
    """The figures as data, made when a format asks for them: thousands of bars take their time."""

    def __init__(self, health: HealthReport) -> None:
        self._health = health

    @cached_property
    def _made(self) -> dict[str, Any]:
        from opsctl.areas.healthcheck.report_data import data

        return data(self._health)

    def __getitem__(self, key: str) -> Any:
        return self._made[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._made)

    def __len__(self) -> int:
        return len(self._made)
