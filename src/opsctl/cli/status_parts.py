"""The parts of `opsctl status`: each is one question to one room or to opsctl's own records."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from opsctl.core.progress import duration
from opsctl.core.report import Finding, Severity, Status

if TYPE_CHECKING:
    from opsctl.core.call import Call

_LISTED = 3


@dataclass(frozen=True)
class Part:
    """How one thing stands: findings for a person, and the same for machines."""

    findings: tuple[Finding, ...]
    data: dict[str, Any] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    """Names in the findings -> their address."""


def parts_of(call: Call) -> dict[str, Callable[[], Part]]:
    """Return the questions by name, in the order of the screen; what is not set up has none."""
    environment = call.environment
    parts: dict[str, Callable[[], Part]] = {}
    if environment.health or environment.database or environment.supabase:
        parts["health"] = lambda: health(call)
    if environment.vercel is not None:
        parts["deployment"] = lambda: deployment(call)
    if environment.database is not None:
        parts["migrations"] = lambda: migrations(call)
        parts["backups"] = lambda: backups(call)
    parts["runs"] = lambda: runs(call)
    parts["rotations"] = lambda: rotations(call)
    parts["incidents"] = lambda: incidents(call)
    parts["maintenance"] = lambda: maintenance(call)
    return parts


def health(call: Call) -> Part:
    """Look once at everything that tells whether the environment is well; nothing is kept."""
    from opsctl.areas.healthcheck.facts import gather

    verdicts = gather(call)
    by: dict[str, list[str]] = {"pass": [], "warn": [], "fail": [], "unknown": []}
    for verdict in verdicts:
        by[verdict.sample.status].append(verdict.sample.check)
    counts = {status: len(names) for status, names in by.items()}
    data = {
        "checks": {verdict.sample.check: verdict.sample.status for verdict in verdicts},
        **counts,
    }
    total = len(verdicts)
    see = f"opsctl healthcheck run --env {call.name}"
    if by["fail"]:
        title = f"Health: {counts['fail']} of {total} checks fail: {_some(by['fail'])}"
        return Part((Finding("health", title, Status.FAILED, hint=see),), data)
    if by["unknown"]:
        title = f"Health: {counts['unknown']} of {total} checks could not look"
        return Part((Finding("health", title, Status.UNKNOWN, evidence=_some(by["unknown"]),
                             hint=see),), data)  # fmt: skip
    if by["warn"]:
        title = f"Health: {counts['warn']} of {total} checks warn: {_some(by['warn'])}"
        return Part((Finding("health", title, Status.FAILED, Severity.WARNING, hint=see),), data)
    return Part((Finding("health", f"Health: all {total} checks are well", Status.OK),), data)


def deployment(call: Call) -> Part:
    """Ask Vercel what is live, and whether pushes go live."""
    from opsctl.adapters.rest import Patience
    from opsctl.adapters.vercel import VercelApi
    from opsctl.adapters.vercel_release import held_back
    from opsctl.areas.rollback.app_facts import age, commit_of, settings_of

    api = VercelApi(settings_of(call), patience=Patience(attempts=1))
    project = api.project()
    production = api.production_by_domain(project)
    live = production.deployment
    see = f"opsctl rollback app status --env {call.name}"
    domain = production.domains[0].name
    if live is None:
        return Part((Finding("deployment", f"Live: nothing at {domain}", Status.FAILED,
                             hint=see),), {"live": None})  # fmt: skip
    now_ms = round(time.time() * 1000)
    held = held_back(project, live.id)
    what = f"{commit_of(live)[:7]}, built {age(live.created_ms, now_ms=now_ms)} ago"
    data = {"live": live.id, "url": live.url, "commit": live.commit, "domain": domain,
            "created_ms": live.created_ms, "pushes_go_live": held is None,
            "split": production.split}  # fmt: skip
    findings = [Finding("deployment", f"Live: {live.id} ({what}) at {domain}", Status.OK)]
    if production.split:
        findings.append(Finding("domains-split", "Live: the domains serve different deployments",
                                Status.FAILED, hint=see))  # fmt: skip
    if held is None:
        findings.append(Finding("pushes", "Pushes go live", Status.OK))
    else:
        findings.append(
            Finding(
                "pushes",
                "Pushes do not go live",
                Status.FAILED,
                Severity.WARNING,
                evidence=held.title + (f": {held.reason}" if held.reason else ""),
                hint=see,
            )
        )
    return Part(
        tuple(findings), data, {live.id: f"https://{live.url}", domain: f"https://{domain}"}
    )


def migrations(call: Call) -> Part:
    """Compare both tools' directories with what the database says was applied."""
    from opsctl.adapters.postgres import connect
    from opsctl.areas.rollback.facts import entries, read_histories
    from opsctl.core.secrets import resolve_secret

    database = call.environment.database
    if database is None:
        raise TypeError("migrations are asked for where a database is")
    with connect(resolve_secret(database.url)) as connection:
        histories = read_histories(connection, call)
    known = [each for each in histories if each.applied is not None or each.migrations]
    if not known:
        return Part((Finding("migrations", "Migrations: none here", Status.OK),), {"tools": []})
    findings, tools = [], []
    see = f"opsctl rollback status --env {call.name}"
    for history in known:
        rows = entries(history)
        counts: dict[str, int] = {}
        for row in rows:
            counts[row.state] = counts.get(row.state, 0) + 1
        newest = history.present[-1].version if history.present else None
        tools.append({"tool": history.tool, "newest": newest, "states": counts})
        others = {state: n for state, n in counts.items() if state != "applied"}
        title = f"Migrations: {history.tool} at {newest or 'none'}"
        if not others:
            findings.append(Finding("migrations", title, Status.OK))
            continue
        words = ", ".join(f"{n} {state}" for state, n in others.items())
        grave = Severity.ERROR if counts.get("failed") else Severity.WARNING
        findings.append(Finding("migrations", f"{title}, {words}", Status.FAILED, grave, hint=see))
    return Part(tuple(findings), {"tools": tools})


def backups(call: Call) -> Part:
    """Judge the newest backup and the newest verified one."""
    from opsctl.adapters.backup_list import age_h, read_backups
    from opsctl.adapters.stores import open_store
    from opsctl.areas.backup.checks import judge_ages

    settings = call.environment.backup
    known = read_backups(
        open_store(settings.to, root=call.root, environment=call.name, storage=settings.storage)
    )
    now = datetime.now(UTC)
    whole = [each for each in known if each.manifest and not each.manifest.partial]
    ages = [age_h(each.manifest, now) for each in whole if each.manifest]
    proven = [age_h(each.manifest, now) for each in whole if each.manifest and each.verified]
    return Part(
        judge_ages(known, call.environment.limits, now),
        {
            "whole": len(whole),
            "newest_age_h": round(ages[0], 2) if ages else None,
            "newest_verified_age_h": round(proven[0], 2) if proven else None,
        },
    )


def runs(call: Call) -> Part:
    """Name the environment's runs that are under way, stopped part-way, or not approved yet."""
    from opsctl.cli.change import open_engine
    from opsctl.cli.waiting import waiting_runs

    engine = open_engine(call)
    everything = [run for run in engine.runs() if run.environment == call.name]
    waiting = waiting_runs(engine, everything)
    undone = {run.undoes for run in everything if run.undoes and run.state == "finished"}
    stopped = [r for r in everything if r.state in ("stopped", "unknown") and r.run not in undone]
    running = [run for run in everything if run.state == "running"]
    data = {
        "running": [run.run for run in running],
        "unfinished": [{"run": each.run, "command": each.command, "state": each.state}
                       for each in stopped],
        "waiting": [{"run": each.run.run, "command": each.run.command, "approvals": each.given,
                     "needed": each.needed} for each in waiting],
    }  # fmt: skip
    findings = [
        Finding("runs", f"Under way: opsctl {run.command}, by {run.actor}", Status.OK,
                evidence=f"{run.run} since {run.started_at}")
        for run in running
    ]  # fmt: skip
    findings += [
        Finding(
            "runs",
            f"Unfinished: opsctl {run.command}, {run.run}",
            Status.FAILED,
            Severity.WARNING,
            evidence=f"{run.state}, begun {run.started_at} by {run.actor}",
            hint=f"opsctl runs resume {run.run}",
        )
        for run in stopped
    ]
    findings += [
        Finding("approvals", each.title, Status.FAILED, Severity.WARNING,
                evidence=each.evidence, hint=each.remedy)
        for each in waiting
    ]  # fmt: skip
    return Part(tuple(findings) or (Finding("runs", "Runs: none is unfinished", Status.OK),), data)


def rotations(call: Call) -> Part:
    """Name the keys that a rotation replaced and that work still; a stopped one is a run."""
    from opsctl.areas.rotate_keys.rotations import read_rotations, unended

    known = [each for each in read_rotations(call) if each.old]
    supabase = call.environment.supabase
    left: list[str] = []
    if known and supabase is not None:
        from opsctl.adapters.rest import Patience
        from opsctl.adapters.supabase_keys import SupabaseKeys

        api = SupabaseKeys(supabase, patience=Patience(attempts=1))
        keys, legacy = api.keys(), api.legacy_enabled()
        left = [str(old.get("name")) for each in known for old in unended(each, keys, legacy)]
    data = {"rotations": len(known), "unended": left}
    if not left:
        return Part((Finding("rotations", "Rotations: no replaced key works", Status.OK),), data)
    title = f"Rotations: {len(left)} replaced key{'s work' if len(left) > 1 else ' works'} still"
    return Part(
        (
            Finding(
                "rotations",
                title,
                Status.FAILED,
                Severity.WARNING,
                evidence=_some(left),
                hint="opsctl rotate-keys status; then opsctl rotate-keys revoke",
            ),
        ),
        data,
    )


def incidents(call: Call) -> Part:
    """Name the open incidents, and what is due of them."""
    from opsctl.areas.incident.clock import what_is_due
    from opsctl.areas.incident.facts import all_incidents

    now = time.time()
    open_ones = [each for each in all_incidents(call) if each.open]
    findings, data = [], []
    for each in open_ones:
        due = next(iter(what_is_due(each, call.environment.incidents)), None)
        clock = ""
        if due is not None:
            left = due.at - now
            span = duration(abs(left))
            clock = f"{due.what} " + (f"due in {span}" if left >= 0 else f"{span} overdue")
        findings.append(
            Finding(
                "incidents",
                f"Incident {each.id}, {each.severity}: {each.title}",
                Status.FAILED,
                Severity.WARNING,
                evidence=f"open for {duration(now - each.opened_at)}" + (clock and f"; {clock}"),
                hint=due.hint if due is not None else f"opsctl incident show {each.id}",
            )
        )
        data.append({"id": each.id, "severity": each.severity, "title": each.title,
                     "opened_at": each.opened_at,
                     "due": {"what": due.what, "at": due.at} if due else None})  # fmt: skip
    if not findings:
        findings.append(Finding("incidents", "Incidents: none is open", Status.OK))
    return Part(tuple(findings), {"open": data})


def maintenance(call: Call) -> Part:
    """Name the window and the freeze that hold now, else the next, and overdue reviews."""
    from opsctl.cli.status_maintenance import maintenance_now

    return Part(*maintenance_now(call))


def _some(names: list[str]) -> str:
    rest = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {rest} more" if rest > 0 else "")
