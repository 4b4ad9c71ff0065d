"""Everything side by side in time: one strip a check, and below it what happened."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

from opsctl.core.errors import OpsError
from opsctl.core.report import Table
from opsctl.core.times import format_moment

if TYPE_CHECKING:
    from opsctl.areas.diagnose.performance import Findings
    from opsctl.areas.diagnose.performance_facts import Facts

_COLUMNS = 30
_NOTHING = "·"
_BLOCKS = "▁▂▃▄▅▆▇█"
_MOST_CHECKS = 12
_MOST_EVENTS = 25


def strips(found: Findings) -> Table:
    """Return the strips: medians of the checks, then one mark for each thing that happened."""
    facts = found.facts
    slow = [each.check for each in found.suspicions]
    rest = [check for check in facts.series if check not in slow]
    shown = [*slow, *rest][:_MOST_CHECKS]
    rows = [(check, _latencies(facts, check), _ends(facts, check)) for check in shown]
    deployments = () if isinstance(facts.deployments, OpsError) else facts.deployments
    moments = [each.created_ms / 1000 for each in deployments]
    built = [each.created_ms / 1000 for each in deployments if each.commit in facts.bundles]
    incidents = [
        (each.began_at, each.ended_at or facts.end)
        for _, listed in facts.providers
        for each in listed.incidents
    ]
    kept = [each.at for each in facts.snapshots]
    for name, mark, spans in (
        ("became slower", "▲", [(each.change.at,) * 2 for each in found.suspicions]),
        ("deployments", "●", [(each, each) for each in moments]),
        ("bundles measured", "■", [(each, each) for each in built]),
        ("query snapshots", "◆", [(each, each) for each in kept]),
        ("provider incidents", "!", incidents),
    ):
        count = sum(first <= facts.end and last >= facts.begin for first, last in spans)
        rows.append((name, _marks(facts, spans, mark), f"{count}"))
    when = f"{format_moment(facts.begin)[:10]} to {format_moment(facts.end)[:10]}"
    return Table("Side by side", ("", when, "median, first and last day"), tuple(rows))


def timeline(found: Findings) -> tuple[Table, ...]:
    """Return what happened, in order; no table where nothing did."""
    facts = found.facts
    events: list[tuple[float, str, str]] = [
        (change.at, check,
         f"median {change.before_ms:.0f} ms before, {change.after_ms:.0f} ms afterwards")
        for check, course in found.courses.items() for change in course.changes
    ]  # fmt: skip
    if not isinstance(facts.deployments, OpsError):
        for each in facts.deployments:
            first = each.message.splitlines()[0][:60] if each.message else ""
            said = " ".join(part for part in (each.id, each.commit[:10], first) if part)
            events.append((each.created_ms / 1000, "deployment", said))
    for name, listed in facts.providers:
        for incident in listed.incidents:
            events.append((incident.began_at, name, f"{incident.name} ({incident.impact})"))
    within = sorted(each for each in events if facts.begin <= each[0] <= facts.end)
    if not within:
        return ()
    rows = tuple((format_moment(at), what, said) for at, what, said in within[-_MOST_EVENTS:])
    title = "What happened" if len(within) <= _MOST_EVENTS else "What happened last"
    return (Table(title, ("when", "what", "which"), rows),)


def data(found: Findings) -> dict[str, Any]:
    """Return the same as data; times in seconds since the epoch."""
    facts = found.facts
    suspected = {each.check: each for each in found.suspicions}
    checks = []
    for check, course in found.courses.items():
        suspicion = suspected.get(check)
        checks.append(
            {
                "check": check,
                "answers": len(facts.series[check]),
                "enough": course.enough,
                "changes": [
                    {"at": each.at, "before_ms": each.before_ms, "after_ms": each.after_ms,
                     "chance": each.chance}
                    for each in course.changes
                ],
                "slower_since": suspicion.change.at if suspicion else None,
                "deployments": [each.id for each in suspicion.deployments] if suspicion else [],
                "incidents": [each.name for _, each in suspicion.incidents] if suspicion else [],
                "queries": [
                    {"query_id": each.query_id, "before_ms": each.before_ms,
                     "after_ms": each.after_ms, "calls": each.calls}
                    for each in suspicion.queries.slower
                ] if suspicion else [],
            }
        )  # fmt: skip
    return {"begin": facts.begin, "end": facts.end, "checks": checks}


def _latencies(facts: Facts, check: str) -> str:
    values: list[list[float]] = [[] for _ in range(_COLUMNS)]
    for at, ms in facts.series[check]:
        values[_column(facts, at)].append(ms)
    medians = [median(each) if each else None for each in values]
    top = max(0.01, *(each for each in medians if each is not None))
    return "".join(
        _NOTHING if each is None else _BLOCKS[min(7, int(each / top * 8))] for each in medians
    )


def _ends(facts: Facts, check: str) -> str:
    series = facts.series[check]
    first = [ms for at, ms in series if at <= series[0][0] + 86_400]
    last = [ms for at, ms in series if at >= series[-1][0] - 86_400]
    return f"{median(first):.0f} ms, {median(last):.0f} ms"


def _marks(facts: Facts, spans: Sequence[tuple[float, ...]], mark: str) -> str:
    marks = [_NOTHING] * _COLUMNS
    for first, last in spans:
        if last < facts.begin or first > facts.end:
            continue
        for column in range(_column(facts, first), _column(facts, last) + 1):
            marks[column] = mark
    return "".join(marks)


def _column(facts: Facts, at: float) -> int:
    share = (at - facts.begin) / (facts.end - facts.begin)
    return min(max(int(share * _COLUMNS), 0), _COLUMNS - 1)
