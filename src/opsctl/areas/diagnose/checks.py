"""Judge what was gathered, in the order an engineer would look; pure."""

from __future__ import annotations

from datetime import datetime

from opsctl.areas.diagnose.facts import DatabaseFacts
from opsctl.areas.diagnose.findings import gravest, not_reached, unknown
from opsctl.areas.diagnose.overview import judge_mode, judge_provider, judge_server
from opsctl.areas.diagnose.replication import judge_replication
from opsctl.areas.diagnose.server_settings import judge_settings
from opsctl.areas.diagnose.sessions import judge_activity, judge_sessions
from opsctl.areas.diagnose.storage import judge_disk, judge_memory, judge_wraparound
from opsctl.areas.diagnose.tables import judge_tables
from opsctl.areas.diagnose.way import ended_at, judge_way
from opsctl.core.report import Finding, Report, Severity, Status, Table
from opsctl.core.settings import Limits

Part = tuple[str, list[Finding]]
"""A heading of the overview, and its findings."""


def judge(facts: DatabaseFacts, *, environment: str, limits: Limits, at: datetime) -> Report:
    """Return the report on an environment's database."""
    parts: list[Part] = []
    if facts.provider is not None:
        parts.append(("provider", judge_provider(facts.provider)))
    way = judge_way(facts.database, limits=limits, at=at)
    parts += [(rule, [each for each in way if each.rule == rule]) for rule in _rules(way)]
    parts += _inside(facts, limits=limits, at=at, ends=ended_at(way))
    if facts.pooler is not None:
        found = judge_way(facts.pooler, limits=limits, at=at) + judge_mode(facts.pooler)
        parts.append(("the pooler's way", found))
    findings = tuple(each for _, part in parts for each in part)
    return Report(
        command="diagnose db",
        title=title_of(findings, well="Nothing is wrong with the database"),
        environment=environment,
        findings=findings,
        tables=(overview_table(parts),),
        data={
            "parts": [{"name": name, "colour": gravest(part)} for name, part in parts],
            "where": facts.database.target.where if facts.database.target else None,
            "took_ms": round(facts.database.vitals.took_ms, 1) if facts.database.vitals else None,
        },
    )


def _inside(facts: DatabaseFacts, *, limits: Limits, at: datetime, ends: str) -> list[Part]:
    """Return the parts that the server itself must answer."""
    way = facts.database
    if way.vitals is None:
        if way.lost is not None:
            lost = unknown("server", "The server was signed in to and did not answer",
                           saw=way.lost.why, next=way.lost.hint,
                           where=way.target.where if way.target else "")  # fmt: skip
            return [("server", [lost])]
        return [("server", [not_reached("server", "Everything within the server", ends=ends)])]
    vitals = way.vitals
    replication = judge_replication(vitals, limits=limits)
    return [
        ("pooler", judge_mode(way)),
        ("version", judge_server(way, at=at)),
        ("sessions", [*judge_sessions(vitals, limits=limits), *judge_activity(vitals)]),
        ("replication", replication),
        ("disk", judge_disk(vitals, facts.disk, facts.disk_error, limits=limits)),
        ("wraparound", judge_wraparound(vitals)),
        ("memory", judge_memory(vitals)),
        ("tables", judge_tables(vitals)),
        ("settings", judge_settings(vitals)),
    ]


def _rules(findings: list[Finding]) -> list[str]:
    return list(dict.fromkeys(each.rule for each in findings))


def title_of(findings: tuple[Finding, ...], *, well: str) -> str:
    """Return the first error, which is where an engineer would begin, or what there is else."""
    errors = [each for each in findings if each.severity is Severity.ERROR]
    failed = [each for each in errors if each.status is Status.FAILED]
    if failed:
        more = f", and {len(failed) - 1} more" if len(failed) > 1 else ""
        return f"{failed[0].title}{more}"
    if any(each.status is Status.UNKNOWN for each in errors):
        return "Not everything could be looked at"
    return well


def overview_table(parts: list[Part]) -> Table:
    """Return one line a part: its colour, and the first finding of that colour."""
    rows = []
    for name, part in parts:
        colour = gravest(part)
        told = [each for each in part if gravest([each]) == colour]
        rows.append((name, colour, (told or part)[0].title if part else ""))
    return Table("In the order it was looked at", ("what", "is", "saw"), tuple(rows))
