"""Judge what the platforms say: the database, Supabase's services and machine, Vercel; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opsctl.areas.healthcheck.verdict import Moment, Verdict, sample_status
from opsctl.core.report import Finding, Location, Severity, Status

if TYPE_CHECKING:
    from opsctl.adapters.supabase_health import Service
    from opsctl.adapters.vercel import Deployment, Production
    from opsctl.adapters.vercel_release import Held
    from opsctl.core.errors import OpsError
    from opsctl.core.settings import Limits

_WHO = "who holds them: select usename, state, count(*) from pg_stat_activity group by 1, 2"
_ABOUT_THE_CALL = frozenset({"secret-missing", "secret-not-a-reference", "database-url"})
_BUILT = frozenset({"READY"})
_BUILDING = frozenset({"BUILDING", "INITIALIZING", "QUEUED", "ANALYZING", "DEPLOYING"})


@dataclass(frozen=True)
class DatabaseFacts:
    """What the database said."""

    where: str
    """Host and port."""
    version: str
    connections: int
    max_connections: int
    read_only: bool
    size_bytes: int


def judge_error(
    check: str, error: OpsError, moment: Moment, *, ill: bool, what: str, place: str = ""
) -> Verdict:
    """Return the verdict where nothing was answered; `ill` where that is the answerer's fault."""
    ill = ill and error.code not in _ABOUT_THE_CALL
    finding = Finding(
        rule=f"{check}-reachable",
        title=f"{what} does not answer" if ill else f"{what} could not be asked",
        status=Status.FAILED if ill else Status.UNKNOWN,
        evidence=f"{error.what}: {error.why}",
        location=Location(object=place or check),
        hint=error.hint,
        took_ms=moment.took_ms,
    )
    return Verdict(
        sample=moment.sample(check, "fail" if ill else "unknown", error.code),
        findings=(finding,),
        data={"error": error.code, "took_ms": round(moment.took_ms, 1)},
    )


def judge_database(facts: DatabaseFacts, moment: Moment, *, limits: Limits) -> Verdict:
    """Return the verdict on a database that answered."""
    place = Location(object=facts.where)
    share = facts.connections / facts.max_connections if facts.max_connections else 0.0
    crowded = share > limits.database_connections
    findings = [
        Finding(
            rule="database-reachable",
            title=f"The database answers (PostgreSQL {facts.version})",
            status=Status.OK,
            location=place,
            took_ms=moment.took_ms,
        ),
        Finding(
            rule="database-connections",
            title="The database is short of connections"
            if crowded
            else "The database has connections to spare",
            status=Status.FAILED if crowded else Status.OK,
            evidence=f"{facts.connections} of {facts.max_connections} in use"
            + (f"; the limit is {limits.database_connections:.0%}" if crowded else ""),
            location=place,
            hint=_WHO if crowded else "",
        ),
    ]
    reason = "connections" if crowded else ""
    if facts.read_only:
        reason = reason or "read-only"
        findings.append(
            Finding(
                rule="database-read-only",
                title="The database is a standby and takes no writes",
                status=Status.FAILED,
                location=place,
                hint="is this the primary's URL?",
            )
        )
    if limits.database_size_gb is not None:
        used = facts.size_bytes / (limits.database_size_gb * 1e9)
        if used > limits.disk_used:
            reason = reason or "size"
            findings.append(
                _above("database-size", "The database fills its space", used, limits.disk_used)
            )
    done = tuple(findings)
    return Verdict(
        sample=moment.sample("database", sample_status(done), reason),
        findings=done,
        metrics={"database_connections": share},
        data={
            "where": facts.where,
            "version": facts.version,
            "connections": facts.connections,
            "max_connections": facts.max_connections,
            "read_only": facts.read_only,
            "size_bytes": facts.size_bytes,
            "took_ms": round(moment.took_ms, 1),
            "error": None,
        },
    )


def judge_services(services: tuple[Service, ...], moment: Moment) -> Verdict:
    """Return the verdict on Supabase's services."""
    findings = tuple(
        Finding(
            rule="supabase-service",
            title=f"Supabase's {each.name} is well"
            if each.healthy
            else f"Supabase's {each.name} is {each.status.lower().replace('_', ' ')}",
            status=Status.OK if each.healthy else Status.FAILED,
            severity=Severity.WARNING if each.status == "COMING_UP" else Severity.ERROR,
            evidence=each.said,
            location=Location(object=f"supabase:{each.name}"),
            hint="" if each.healthy else "look at the project's dashboard and the status page",
        )
        for each in services
    )
    if not findings:
        findings = (
            Finding(
                rule="supabase-service",
                title="Supabase named no service",
                status=Status.UNKNOWN,
                hint="check supabase.ref in the settings",
            ),
        )
    status = sample_status(findings)
    return Verdict(
        sample=moment.sample("supabase", status, "" if status == "pass" else "service-unhealthy"),
        findings=findings,
        data={"services": {each.name: each.status for each in services}},
        reached=True,
    )


def judge_machine(shares: Mapping[str, float], moment: Moment, *, limits: Limits) -> Verdict:
    """Return the verdict on the machine that the database runs on."""
    findings = []
    for metric, limit in (("memory", limits.memory_used), ("disk", limits.disk_used)):
        share = shares.get(metric)
        if share is None:
            continue
        title = f"The database's {metric} is {share:.0%} in use"
        if share > limit:
            findings.append(_above(f"machine-{metric}", title, share, limit))
        else:
            findings.append(Finding(f"machine-{metric}", title, Status.OK))
    if not findings:
        findings.append(
            Finding(
                rule="machine-metrics",
                title="The database's machine tells nothing of its memory and disk",
                status=Status.UNKNOWN,
                severity=Severity.NOTE,
                hint="check supabase.url and supabase.secret_key in the settings",
            )
        )
    done = tuple(findings)
    status = "unknown" if not shares else sample_status(done)
    return Verdict(
        sample=moment.sample("machine", status, "" if status == "pass" else "above-limit"),
        findings=done,
        metrics=dict(shares),
        data={name: round(share, 4) for name, share in shares.items()},
        reached=bool(shares),
    )


def judge_deployment(
    production: Production,
    newest: Deployment | None,
    moment: Moment,
    *,
    held: Held | None = None,
) -> Verdict:
    """Return the verdict on what production serves, on the newest build for it, and on `held`.

    Releases that are held back, as after a rollback, are warned of until that is ended.
    """
    live = production.deployment
    place = Location(object=live.url if live is not None else "vercel")
    if live is None:
        finding = Finding(
            rule="vercel-deployment",
            title="Production serves no deployment that can be found",
            status=Status.UNKNOWN,
            location=place,
            hint="check vercel.project in the settings",
        )
    elif live.state in _BUILT:
        commit = f" ({live.commit[:8]})" if live.commit else ""
        finding = Finding(
            "vercel-deployment", f"Production serves {live.id}{commit}", Status.OK, location=place
        )
    else:
        finding = Finding(
            rule="vercel-deployment",
            title=f"Production's deployment is {live.state.lower()}",
            status=Status.FAILED,
            evidence=live.id,
            location=place,
            hint="opsctl restore app --dry-run",
        )
    findings = [finding]
    if production.split:
        domains = ", ".join(f"{each.name} -> {each.deployment}" for each in production.domains)
        findings.append(
            Finding(
                rule="vercel-domains",
                title="Production's domains serve different deployments",
                status=Status.FAILED,
                severity=Severity.WARNING,
                evidence=domains[:500],
                hint="is a release under way, or did one stop half-way?",
            )
        )
    if held is not None:
        findings.append(
            Finding(
                rule="vercel-held-back",
                title=held.title,
                status=Status.FAILED,
                severity=Severity.WARNING,
                evidence=f"rolled back from {held.before}: {held.reason}".rstrip(": ")[:300]
                if held.by_rollback
                else "",
                hint="opsctl rollback app forward",
            )
        )
    if newest is not None and newest.state not in _BUILT | _BUILDING:
        findings.append(
            Finding(
                rule="vercel-build",
                title=f"The newest production build is {newest.state.lower()}",
                status=Status.FAILED,
                severity=Severity.WARNING,
                evidence=f"{newest.id} {newest.message}"[:300].strip(),
                location=Location(object=newest.url),
                hint="production still serves the one before",
            )
        )
    done = tuple(findings)
    status = sample_status(done)
    return Verdict(
        sample=moment.sample("vercel", status, "" if status == "pass" else "deployment"),
        findings=done,
        data={
            "deployment": live.id if live is not None else None,
            "state": live.state if live is not None else None,
            "newest_state": newest.state if newest is not None else None,
        },
        reached=True,
    )


def _above(rule: str, title: str, share: float, limit: float) -> Finding:
    return Finding(
        rule=rule,
        title=title,
        status=Status.FAILED,
        severity=Severity.WARNING,
        evidence=f"{share:.1%}; the limit is {limit:.0%}",
        hint="opsctl diagnose db",
    )
