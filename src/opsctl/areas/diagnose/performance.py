"""`diagnose performance`: when it became slow, and what happened just before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from opsctl.areas.diagnose.performance_change import LEAST_BLOCKS, Change, Course, find_changes
from opsctl.areas.diagnose.performance_facts import Facts, Queries, gather, read_queries
from opsctl.areas.diagnose.performance_show import data, strips, timeline
from opsctl.core.errors import OpsError
from opsctl.core.progress import Progress, duration
from opsctl.core.report import Finding, Location, Report, Severity, Status
from opsctl.core.times import format_moment, parse_duration

if TYPE_CHECKING:
    from opsctl.adapters.statuspage_incidents import PastIncident
    from opsctl.adapters.vercel import Deployment
    from opsctl.core.call import Call
    from opsctl.core.settings import Objectives

_BEFORE_S = 2 * 3600.0
_AFTER_S = 1800.0
"""What happened so long before a change, or was so little late, may have made it."""
_LEAST_P95 = 59
"""Fewer answers carry no P95, with 95 % confidence."""
_GREW = 1.05
_SHOWN_QUERIES = 3


@dataclass(frozen=True)
class Suspicion:
    """One change to the slower that lasts, and everything that happened around it."""

    check: str
    change: Change
    deployments: tuple[Deployment, ...]
    """The one closest to the change first."""
    incidents: tuple[tuple[str, PastIncident], ...]
    queries: Queries


@dataclass(frozen=True)
class Findings:
    """Facts with what follows from them."""

    facts: Facts
    courses: Mapping[str, Course]
    suspicions: tuple[Suspicion, ...]


def diagnose_performance(call: Call, *, since: str, only: Sequence[str]) -> Report:
    """Return the report on the period up to now."""
    facts = gather(call, since_s=parse_duration(since, "--since"), only=only)
    for name in only:
        if name not in facts.series:
            raise OpsError(
                f"There is no history of {name!r}",
                why="no answer of such a check was kept in this period",
                hint="opsctl healthcheck report names the checks",
                code="no-such-check",
            )
    progress = Progress(call.say, "Looking for changes", len(facts.series), at_once=False)
    courses, suspicions = {}, []
    for check, series in facts.series.items():
        courses[check] = course = find_changes(series)
        progress.add(1)
        change = lasting(course)
        if change is not None:
            queries = read_queries(call, facts, change.at)
            suspicions.append(suspect(check, change, facts, queries))
    suspicions.sort(key=lambda each: -each.change.factor)
    found = Findings(facts, courses, tuple(suspicions))
    return judge(found, environment=call.name, objectives=call.environment.objectives)


def lasting(course: Course) -> Change | None:
    """Return the newest change to the slower whose slowness has not gone since, if any."""
    for index in reversed(range(len(course.changes))):
        change = course.changes[index]
        now_ms = course.changes[-1].after_ms
        if change.slower and now_ms > (change.before_ms + change.after_ms) / 2:
            return change
    return None


def suspect(check: str, change: Change, facts: Facts, queries: Queries) -> Suspicion:
    """Lay what happened beside a change; pure."""
    deployments = () if isinstance(facts.deployments, OpsError) else facts.deployments
    near = [each for each in deployments if _is_near(each.created_ms / 1000, change.at)]
    near.sort(key=lambda each: abs(each.created_ms / 1000 - change.at))
    incidents = tuple(
        (name, incident)
        for name, listed in facts.providers
        for incident in listed.incidents
        if incident.began_at <= change.at + _AFTER_S
        and (incident.ended_at is None or incident.ended_at >= change.at - _AFTER_S)
    )
    return Suspicion(check, change, tuple(near), incidents, queries)


def judge(found: Findings, *, environment: str, objectives: Objectives) -> Report:
    """Return the report; pure."""
    facts, courses = found.facts, found.courses
    suspected = {each.check: each for each in found.suspicions}
    findings = [
        _slower(each, facts, objectives) if (each := suspected.get(check)) else
        _steady(check, course, facts, objectives)
        for check, course in courses.items()
    ]  # fmt: skip
    if not courses:
        findings.append(_no_history(facts))
    findings += _not_asked(facts)
    return Report(
        command="diagnose performance",
        title=f"What changed over {duration(facts.end - facts.begin)}",
        environment=environment,
        findings=tuple(findings),
        tables=(strips(found), *timeline(found)),
        notes=(
            f"Period: {format_moment(facts.begin)} to {format_moment(facts.end)}.",
            "Changes are found by rank tests on hourly medians and on the last day's answers, the "
            "hours of the day levelled. What happened before one is a suspect, not its cause.",
        ),
        data=data(found),
    )


def grown_bundle(facts: Facts, deployment: Deployment) -> tuple[str, int, int] | None:
    """Return (route, bytes before, bytes after) that grew most with a deployment, if any did."""
    if isinstance(facts.deployments, OpsError):
        return None
    now = facts.bundles.get(deployment.commit)
    earlier = [each for each in facts.deployments if each.created_ms < deployment.created_ms]
    before = next(
        (bundle for each in reversed(earlier) if (bundle := facts.bundles.get(each.commit))), None
    )
    if now is None or before is None:
        return None
    grown = [
        (route, before.first_loads[route], size)
        for route, size in now.first_loads.items()
        if route in before.first_loads and size > before.first_loads[route] * _GREW
    ]
    return max(grown, key=lambda each: each[2] - each[1], default=None)


def _is_near(at: float, change_at: float) -> bool:
    return change_at - _BEFORE_S <= at <= change_at + _AFTER_S


def _slower(each: Suspicion, facts: Facts, objectives: Objectives) -> Finding:
    change = each.change
    p95_ms = _p95([ms for at, ms in facts.series[each.check] if at >= change.at])
    missed = p95_ms is not None and p95_ms > objectives.p95_ms
    parts = [f"median {change.before_ms:.0f} ms before, {change.after_ms:.0f} ms since"]
    if p95_ms is not None:
        parts[0] += f", P95 {p95_ms:.0f} ms (the objective is {objectives.p95_ms:.0f} ms)"
    parts += [_said_deployment(one, change, facts) for one in each.deployments[:2]]
    parts += [
        f"during {name}'s incident '{incident.name}' ({incident.impact}), since "
        f"{format_moment(incident.began_at)}"
        for name, incident in each.incidents[:2]
    ]
    parts += [
        f"query {one.query_id}: mean {one.before_ms:.1f} ms before, {one.after_ms:.1f} ms since"
        for one in each.queries.slower[:_SHOWN_QUERIES]
    ]
    if len(parts) == 1:
        parts.append("nothing that was looked at happened in the two hours before")
    if each.queries.why:
        parts.append(f"of queries nothing is known: {each.queries.why}")
    return Finding(
        "performance-slower",
        f"{each.check} became {change.factor:.1f} times as slow about {format_moment(change.at)}",
        Status.FAILED,
        severity=Severity.ERROR if missed else Severity.WARNING,
        evidence="; ".join(parts),
        location=Location(object=each.check),
        hint=_hint(each),
    )


def _said_deployment(deployment: Deployment, change: Change, facts: Facts) -> str:
    apart_s = change.at - deployment.created_ms / 1000
    when = f"{duration(abs(apart_s))} {'after' if apart_s >= 0 else 'before'}"
    commit = f" of {deployment.commit[:10]}" if deployment.commit else ""
    first = deployment.message.splitlines()[0][:80] if deployment.message else ""
    said = f"{when} deployment {deployment.id}{commit}" + (f" ({first})" if first else "")
    grown = grown_bundle(facts, deployment)
    if grown is not None:
        route, before, after = grown
        said += f", with which {route} loads {after / 1000:.0f} instead of {before / 1000:.0f} kB"
    return said


def _hint(each: Suspicion) -> str:
    if each.queries.slower:
        return "opsctl slowquery check"
    if each.deployments:
        return "opsctl rollback app --dry-run"
    return "opsctl diagnose db"


def _steady(check: str, course: Course, facts: Facts, objectives: Objectives) -> Finding:
    place = Location(object=check)
    values = [ms for _, ms in facts.series[check]]
    if not course.enough:
        return Finding(
            "performance-not-enough-data",
            f"{check} has not enough data to find a change in",
            Status.UNKNOWN,
            evidence=f"{len(values):,} answers make {course.blocks} blocks of time; it takes "
            f"{LEAST_BLOCKS}, three days",
            location=place,
            hint="opsctl healthcheck watch, or a longer --since",
        )
    p95_ms = _p95(values)
    said = f"median {median(values):.0f} ms" + (f", P95 {p95_ms:.0f} ms" if p95_ms else "")
    if course.changes:
        last = course.changes[-1]
        word = "faster" if not last.slower else "slower"
        said += f"; {word} since {format_moment(last.at)}: {last.before_ms:.0f} ms before"
    if p95_ms is not None and p95_ms > objectives.p95_ms and not course.changes:
        return Finding(
            "performance-slow",
            f"{check} has been slow all the time",
            Status.FAILED,
            evidence=f"{said}; the objective is {objectives.p95_ms:.0f} ms, and nothing changed",
            location=place,
            hint="a longer --since, opsctl slowquery check, opsctl bundle-check",
        )
    title = f"{check} recovered" if course.changes else f"{check} has not become slower"
    return Finding("performance-steady", title, Status.OK, evidence=said, location=place)


def _no_history(facts: Facts) -> Finding:
    return Finding(
        "performance-not-enough-data",
        "There is no health history in this period",
        Status.UNKNOWN,
        evidence=f"no answer was kept since {format_moment(facts.begin)}",
        hint="opsctl healthcheck watch keeps one",
    )


def _not_asked(facts: Facts) -> list[Finding]:
    found = []
    if isinstance(facts.deployments, OpsError):
        error = facts.deployments
        found.append(
            Finding("performance-deployments", "Deployments are not known", Status.UNKNOWN,
                    severity=Severity.WARNING, evidence=f"{error.what}: {error.why}",
                    hint=error.hint)
        )  # fmt: skip
    found += [
        Finding("performance-provider", f"{name}'s incidents are not known", Status.UNKNOWN,
                severity=Severity.WARNING, evidence=listed.why,
                location=Location(object=listed.page))
        for name, listed in facts.providers if listed.why
    ]  # fmt: skip
    return found


def _p95(values: Sequence[float]) -> float | None:
    if len(values) < _LEAST_P95:
        return None
    ordered = sorted(values)
    return ordered[int(0.95 * (len(ordered) - 1))]
