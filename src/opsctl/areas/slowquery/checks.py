"""Judge what was gathered; pure.

A percentile is judged by its interval: well if all of it is within the limit, too slow if none
is, and unknown otherwise. What the counters lost makes unknown, too: never well.
"""

from __future__ import annotations

from collections.abc import Callable

from opsctl.adapters.statements import grant_hint
from opsctl.areas.slowquery.baseline import regressions
from opsctl.areas.slowquery.facts import SlowFacts, without_collection
from opsctl.areas.slowquery.p95 import Interval, exceeds, percentile, percentile_of_counts
from opsctl.areas.slowquery.plans import remarks
from opsctl.areas.slowquery.show import (
    data_of,
    duration,
    interval,
    notes_of,
    shorten,
    tables_of,
    title_of,
)
from opsctl.areas.slowquery.statements import (
    Statement,
    all_calls,
    is_control,
    list_statements,
    method,
)
from opsctl.areas.slowquery.window import Window
from opsctl.core.report import Finding, Location, Report, Severity, Status
from opsctl.core.settings import Limits

_NAMED = 10
"""Statements of one judgement that get a finding each; the rest are counted."""


@without_collection()
def judge(facts: SlowFacts, *, environment: str, limits: Limits, top: int) -> Report:
    """Return the report on an environment's statements; pure."""
    limit = limits.query_p95_ms
    findings = [
        *_losses(facts),
        *_everything(facts, limit),
        *_each(facts, limit),
        *_logged(facts, limit),
        *_histogram(facts, limit),
        *_probed(facts, limit),
        *_regressions(facts),
        *_still_running(facts, limit),
        *_plans(facts),
    ]
    return Report(
        command="slowquery check",
        title=title_of(facts.window),
        environment=environment,
        findings=tuple(findings),
        tables=tables_of(facts, top=top),
        notes=notes_of(facts),
        data=data_of(facts, top=top, limit=limit),
    )


def _losses(facts: SlowFacts) -> list[Finding]:
    """Return what keeps the window from being judged whole."""
    window, source = facts.window, facts.source
    found = [
        Finding(
            rule="snapshot-damaged",
            title="A stored snapshot was passed over",
            status=Status.FAILED,
            severity=Severity.WARNING,
            evidence=error.why,
            hint=error.hint,
        )
        for error in facts.damaged
    ]
    if window.reset:
        found.append(
            Finding(
                rule="statistics-reset",
                title="The statistics were reset: what was before is lost",
                status=Status.UNKNOWN,
                evidence=f"the window begins at the reset, {duration(window.seconds * 1000)} ago",
                hint="who resets them? opsctl never does; check again later",
            )
        )
    if window.evictions > 0:
        found.append(
            Finding(
                rule="statistics-evicted",
                title="The server threw statements out: their calls are lost",
                status=Status.UNKNOWN,
                evidence=f"{window.evictions} times meanwhile; it keeps {source.largest}",
                hint=f"alter system set pg_stat_statements.max = {source.largest * 2}; "
                "then restart the server",
            )
        )
    elif window.torn:
        found.append(
            Finding(
                rule="statistics-torn",
                title="The counters of some statements began anew: calls are lost",
                status=Status.UNKNOWN,
                evidence=f"{len(window.torn)} statements",
                hint="who calls pg_stat_statements_reset()? opsctl never does; check again later",
            )
        )
    if window.hidden > 0:
        found.append(
            Finding(
                rule="statistics-hidden",
                title="The statements of other roles are hidden from us",
                status=Status.UNKNOWN,
                evidence=f"{window.hidden} statements; {source.user} lacks pg_read_all_stats",
                hint=grant_hint(source),
            )
        )
    return found


def _everything(facts: SlowFacts, limit: float) -> list[Finding]:
    """Judge the P95 of all calls, of the window and of its end that was sampled."""
    found = [_overall(facts.window, facts.listed, limit, "all calls", "p95")]
    if facts.sampled is not None:
        listed = list_statements(
            facts.sampled, texts=facts.texts, roles=facts.roles, sessions=(),
            only={each.role for each in facts.listed} or (),
        )  # fmt: skip
        what = f"the calls of the last {duration(facts.sampled.seconds * 1000)}"
        found.append(_overall(facts.sampled, listed, limit, what, "p95-sampled"))
    return found


def _overall(
    window: Window, listed: tuple[Statement, ...], limit: float, what: str, rule: str
) -> Finding:
    known = all_calls(listed)
    found = percentile(known)
    if found is None:
        return Finding(
            rule=rule,
            title=f"Of {what} no P95 is known: no statement ended meanwhile",
            status=Status.UNKNOWN,
            hint="opsctl slowquery check --sample 60s, while the application is used; "
            "or --since start",
        )
    over = exceeds(known, limit)
    lossy = window.reset or window.evictions > 0 or window.torn or window.hidden > 0
    status = _status(over)
    evidence = f"{interval(found)}, {method(known)}, of {known.calls:,} calls; limit {limit:g} ms"
    if lossy and status is not Status.UNKNOWN:
        status = Status.UNKNOWN
        evidence += "; but calls are missing"
    if status is Status.OK:
        title = f"P95 of {what}: {interval(found)} ({method(known)}, {known.calls:,} calls)"
    else:
        title = f"The P95 of {what} is {_word(status, limit)}"
    return Finding(
        rule=rule,
        title=title,
        status=status,
        evidence=evidence,
        hint=_hint(status),
    )


def _word(status: Status, limit: float) -> str:
    return f"over {limit:g} ms" if status is Status.FAILED else "not known well enough"


def _status(over: bool | None) -> Status:
    if over is None:
        return Status.UNKNOWN
    return Status.FAILED if over else Status.OK


def _hint(status: Status) -> str:
    if status is Status.FAILED:
        return "opsctl slowquery check --explain"
    if status is Status.UNKNOWN:
        return "opsctl slowquery check --sample 60s: calls apart from others become exact"
    return ""


def _each(facts: SlowFacts, limit: float) -> list[Finding]:
    """Judge the P95 of each statement."""
    over = [(each, exceeds(each.known, limit)) for each in facts.listed]
    slow = [each for each, found in over if found is True]
    unsure = [each for each, found in over if found is None]

    def evidence(each: Statement) -> str:
        return (
            f"P95 {interval(each.p95)}, {each.method}, of {each.calls:,} calls by {each.role}: "
            f"{shorten(each.text, 160)}"
        )

    found = _named(slow, Status.FAILED, f"A statement's P95 is over {limit:g} ms", evidence)
    return found + _named(
        unsure, Status.UNKNOWN, f"A statement's P95 may be over {limit:g} ms", evidence
    )


def _named(
    statements: list[Statement],
    status: Status,
    title: str,
    evidence: Callable[[Statement], str],
) -> list[Finding]:
    found = [
        Finding(
            rule="p95-statement",
            title=title,
            status=status,
            evidence=evidence(each),
            location=Location(object=f"statement {each.query_id}"),
            hint=_hint(status),
        )
        for each in statements[:_NAMED]
    ]
    rest = statements[_NAMED:]
    if rest:
        found.append(
            Finding(
                rule="p95-statement",
                title=f"{title}: {len(rest)} more",
                status=status,
                evidence=", ".join(str(each.query_id) for each in rest[:50]),
                hint=f"opsctl slowquery check --top {len(statements)} --sort p95",
            )
        )
    return found


def _logged(facts: SlowFacts, limit: float) -> list[Finding]:
    logged = facts.logged
    if logged is None:
        return []
    place = Location(path=str(logged.path))
    where = "of this window" if logged.within_window else "of the whole file"
    if logged.p95 is None:
        return [
            Finding(
                rule="p95-logged",
                title="The log gives no P95",
                status=Status.UNKNOWN,
                evidence=f"{logged.how}; {logged.calls} calls {where}",
                location=place,
                hint="log_min_duration_statement = 0 logs every call, "
                "log_min_duration_sample = 0 a share of them",
            )
        ]
    return [_judged("p95-logged", "P95 of the log", logged.p95, limit, place,
                    f"logged: {logged.how}, {logged.calls:,} calls {where}")]  # fmt: skip


def _histogram(facts: SlowFacts, limit: float) -> list[Finding]:
    """Judge by pg_stat_monitor's buckets; none within the window is no news."""
    histogram = facts.histogram
    if histogram is None:
        return []
    place = Location(object="pg_stat_monitor")
    if histogram.refused:
        return [
            Finding(
                rule="p95-histogram",
                title="The histograms of pg_stat_monitor were not read",
                status=Status.UNKNOWN,
                severity=Severity.WARNING,
                evidence=histogram.refused,
                location=place,
                hint=grant_hint(facts.source),
            )
        ]
    rows = [row.counts for row in histogram.rows if not is_control(row.text)]
    counts = [sum(column) for column in zip(*rows, strict=True)]
    calls = sum(counts)
    found = percentile_of_counts(histogram.ranges, counts)
    if found is None:
        return []
    how = f"histogram: {calls:,} calls in the time buckets that began within the window"
    return [_judged("p95-histogram", "P95 by pg_stat_monitor", found, limit, place, how)]


def _probed(facts: SlowFacts, limit: float) -> list[Finding]:
    found = []
    for number, each in enumerate(facts.probed, 1):
        place = Location(object=f"probe {number}")
        if each.p95 is None:
            found.append(
                Finding(
                    rule="p95-probed",
                    title=f"Probe {number} was not timed",
                    status=Status.UNKNOWN,
                    evidence=f"{each.failure}: {shorten(each.text, 100)}",
                    location=place,
                    hint="correct the query; it runs read only",
                )
            )
            continue
        how = f"probed {each.calls} times from here: {shorten(each.text, 100)}"
        found.append(_judged("p95-probed", f"P95 of probe {number}", each.p95, limit, place, how))
    return found


def _judged(
    rule: str, what: str, found: Interval, limit: float, place: Location, how: str
) -> Finding:
    over = True if found.low > limit else False if found.high <= limit else None
    status = _status(over)
    title = f"{what}: {interval(found)}"
    if status is Status.OK:
        title += f" ({how})"
    return Finding(
        rule=rule,
        title=title,
        status=status,
        evidence=f"{how}; limit {limit:g} ms",
        location=place,
        hint=_hint(status),
    )


def _regressions(facts: SlowFacts) -> list[Finding]:
    if facts.baseline is None:
        return []
    worse = regressions(facts.baseline, facts.window, facts.listed, server=facts.source.server)
    found = []
    for each in worse[:_NAMED]:
        statement = each.statement
        what = "the time of its calls an hour" if each.load else "a call"
        found.append(
            Finding(
                rule="regression-load" if each.load else "regression",
                title=f"A statement takes {each.factor:.1f} times the baseline: {what}",
                status=Status.FAILED,
                # More calls of the same speed are work, not a fault.
                severity=Severity.WARNING if each.load else Severity.ERROR,
                evidence=f"{duration(each.before_ms)} → {duration(each.after_ms)}, "
                f"{each.calls_before:,} and {statement.calls:,} calls by {statement.role}: "
                f"{shorten(statement.text, 160)}",
                location=Location(object=f"statement {statement.query_id}"),
                hint="opsctl slowquery check --explain; if it is to stay so: "
                "opsctl slowquery baseline",
            )
        )
    if not worse:
        found.append(
            Finding(
                rule="regression",
                title="No statement is slower than in the baseline",
                status=Status.OK,
            )
        )
    return found


def _still_running(facts: SlowFacts, limit: float) -> list[Finding]:
    late = [each for each in facts.still_running if (each.running_ms or 0) > limit]
    if not late:
        return []
    first = late[0]
    return [
        Finding(
            rule="still-running",
            title=f"{len(late)} {'statement is' if len(late) == 1 else 'statements are'} "
            "still running and counted only when done",
            status=Status.FAILED,
            severity=Severity.WARNING,
            evidence=f"the longest for {duration(first.running_ms or 0)}, by {first.role} "
            f"({first.application or 'no name'})",
            hint="opsctl diagnose db",
        )
    ]


def _plans(facts: SlowFacts) -> list[Finding]:
    """Return what stands out in the plans, and the indexes that would help."""
    found = []
    numbers = {each.key: number for number, each in enumerate(facts.listed, 1)}
    statements = {each.key: each for each in facts.listed}
    for key, explained in facts.plans.items():
        statement = statements[key]
        if explained.plan is None:
            continue
        rows = statement.costs.rows / statement.calls if statement.costs is not None else None
        said = remarks(
            explained.plan,
            tables=facts.tables,
            work_mem_bytes=facts.work_mem_bytes,
            rows_per_call=rows,
        )
        if said:
            found.append(
                Finding(
                    rule="plan",
                    title=f"The plan of statement {numbers[key]} stands out",
                    status=Status.FAILED,
                    severity=Severity.NOTE,
                    evidence="\n".join(said),
                    location=Location(object=f"statement {statement.query_id}"),
                )
            )
    for advice in facts.advice:
        one = advice.candidate
        proof = (
            f"proven: cost {advice.cost_before:,.0f} → {advice.cost_after:,.0f}"
            if advice.proven
            else "reasoned, not tried"
        )
        found.append(
            Finding(
                rule="missing-index",
                title=f"An index would help statement {numbers[advice.key]} ({proof})",
                status=Status.FAILED,
                severity=Severity.WARNING,
                evidence=one.because,
                location=Location(object=f"{one.schema}.{one.table}"),
                hint=one.create,
            )
        )
    return found
