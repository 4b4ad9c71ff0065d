"""`opsctl incident list`, `show` and `status`: how it stands, and what is due."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from opsctl.areas.incident import clock, timeline
from opsctl.areas.incident.facts import Incident, all_incidents, chosen
from opsctl.areas.incident.plan import channel_name, delivered, undelivered
from opsctl.areas.incident.security import STEPS
from opsctl.areas.incident.severity import MEANINGS, who_responds
from opsctl.core.progress import duration
from opsctl.core.report import Finding, Location, Report, Severity, Status, Table
from opsctl.core.times import format_moment

if TYPE_CHECKING:
    from opsctl.areas.incident.clock import Due
    from opsctl.core.call import Call

_SOON_S = 300.0


def list_incidents(call: Call) -> Report:
    """List the incidents of an environment, the newest first."""
    known = all_incidents(call)
    rows = tuple(
        (each.id, each.severity, each.state, format_moment(each.opened_at), _lasted(each),
         each.lead or "-", each.title)
        for each in known
    )  # fmt: skip
    columns = ("id", "severity", "state", "opened", "lasted", "lead", "title")
    return Report(
        command="incident list",
        title=f"Incidents of {call.name}" if known else f"No incident is known in {call.name}",
        environment=call.name,
        tables=(Table("", columns, rows),) if rows else (),
        data={"incidents": [incident_data(each) for each in known]},
    )


def show(call: Call, wanted: str | None) -> Report:
    """Show one incident: its timeline, what was told whom, and its steps."""
    incident = chosen(call, wanted, over=True)
    now = time.time()
    around = timeline.gather(call, incident, now=now)
    told = delivered(call, incident)
    tables = [
        Table(
            "",
            ("what", "how it is"),
            (
                ("severity", f"{incident.severity}, {MEANINGS[incident.severity]}"),
                ("state", incident.state),
                ("lead", incident.lead or "nobody"),
                ("systems", ", ".join(incident.systems) or "not said"),
                ("opened", f"{format_moment(incident.opened_at)} by {incident.opened_by}"),
                ("began", format_moment(incident.began_at) if incident.began_at else "not said"),
                ("lasted", _lasted(incident)),
            ),
        ),
        Table(
            "Timeline",
            ("at", "what", "from", "by"),
            tuple((_second(each.at), each.text, each.source, each.by) for each in around.entries),
        ),
    ]
    if incident.messages:
        tables.append(
            Table(
                "Told",
                ("at", "state", *_channels(incident)),
                tuple(
                    (_second(each.at), each.state,
                     *(_mark(each.channels, channel, (channel, each.key) in told)
                       for channel in _channels(incident)))
                    for each in incident.messages
                ),
            )
        )  # fmt: skip
    if incident.security:
        tables.append(_steps_table(incident, around.runs))
    if incident.evidence:
        rows = tuple(
            (each.name, str(each.bytes), each.sha256[:16], each.kept) for each in incident.evidence
        )
        tables.append(Table("Evidence", ("name", "bytes", "sha256", "kept at"), rows))
    return Report(
        command="incident show",
        title=f"{incident.id} {incident.severity} {incident.state}: {incident.title}",
        environment=call.name,
        findings=tuple(_findings(call, incident, now=now)),
        tables=tuple(tables),
        notes=tuple(f"Not known: {each}" for each in around.unknown),
        data={
            "incident": incident_data(incident),
            "timeline": [
                {"at": each.at, "source": each.source, "text": each.text, "by": each.by}
                for each in around.entries
            ],
            "messages": [
                {
                    "message": each.key, "at": each.at, "state": each.state,
                    "told": {channel: (channel, each.key) in told for channel in each.channels},
                }
                for each in incident.messages
            ],
            "unknown": list(around.unknown),
        },
        given_status=Status.OK,
    )  # fmt: skip


def status(call: Call) -> Report:
    """Say whether anything is overdue: a response, an update, a message, a post-mortem."""
    now = time.time()
    known = all_incidents(call)
    clock.refresh(call)
    findings = [finding for each in known for finding in _findings(call, each, now=now)]
    open_ = [each for each in known if each.open]
    if open_:
        title = f"{len(open_)} open in {call.name}: " + ", ".join(
            f"{each.id} {each.severity} {each.title}" for each in open_
        )
    else:
        title = f"No incident is open in {call.name}"
    return Report(
        command="incident status",
        title=title,
        environment=call.name,
        findings=tuple(findings),
        data={
            "open": [incident_data(each) for each in open_],
            "due": [
                {"incident": each.id, "what": due.what, "at": due.at, "overdue": due.at <= now}
                for each in known
                for due in clock.what_is_due(each, call.environment.incidents)
            ],
        },
    )


def incident_data(incident: Incident) -> dict[str, Any]:
    """Return an incident as JSON data."""
    return {
        "id": incident.id,
        "title": incident.title,
        "severity": incident.severity,
        "security": incident.security,
        "state": incident.state,
        "lead": incident.lead or None,
        "systems": list(incident.systems),
        "began_at": incident.began_at,
        "opened_at": incident.opened_at,
        "responded_at": incident.responded_at,
        "recovered_at": incident.recovered_at,
        "resolved_at": incident.resolved_at,
        "postmortem_at": incident.written_at,
    }


def _findings(call: Call, incident: Incident, *, now: float) -> list[Finding]:
    rules = call.environment.incidents
    found = [_due_finding(incident, due, now=now) for due in clock.what_is_due(incident, rules)]
    for message, channel in undelivered(call, incident):
        found.append(
            Finding(
                "incident-not-told",
                f"{incident.id}: {channel_name(channel)} was not told that it is {message.state}",
                Status.FAILED,
                evidence=f"said {format_moment(message.at)}: {message.subject}",
                location=Location(object=incident.id),
                hint=f"opsctl incident update --retry --incident {incident.id}",
            )
        )
    if incident.damaged:
        found.append(
            Finding(
                "incident-damaged",
                f"{incident.id}: the record was changed by somebody",
                Status.FAILED,
                evidence=f"{incident.damaged} of its events do not fit their hash",
                location=Location(object=incident.id),
                hint="compare the state file with a backup of it",
            )
        )
    if incident.open and not who_responds(incident.severity, rules, security=incident.security):
        found.append(
            Finding(
                "incident-no-contacts",
                "The settings name nobody to call",
                Status.FAILED,
                Severity.WARNING,
                location=Location(object=incident.id),
                hint="add incidents.contacts to the settings",
            )
        )
    return found


def _due_finding(incident: Incident, due: Due, *, now: float) -> Finding:
    late = now - due.at
    if late >= 0:
        title = f"{incident.id}: the {due.what} is overdue by {duration(late)}"
        return Finding(
            f"incident-{due.what}", title, Status.FAILED,
            evidence=f"it was due {format_moment(due.at)}",
            location=Location(object=incident.id), hint=due.hint,
        )  # fmt: skip
    nagging = due.what == "post-mortem" or -late < _SOON_S
    return Finding(
        f"incident-{due.what}",
        f"{incident.id}: the {due.what} is due in {duration(-late)}",
        Status.FAILED if nagging else Status.OK,
        Severity.WARNING if nagging else Severity.ERROR,
        evidence=f"{format_moment(due.at)}",
        location=Location(object=incident.id),
        hint=due.hint,
    )


def _steps_table(incident: Incident, runs: tuple[Any, ...]) -> Table:
    done = incident.steps_done or {}
    rows = []
    for step in STEPS:
        proof = next(
            (run for run in runs if step.runs and run.command.startswith(step.runs)
             and run.state == "finished"), None,
        )  # fmt: skip
        said = done.get(step.id) or (f"run {proof.id}" if proof else "open")
        rows.append((step.phase, step.id, step.text, step.command, said))
    return Table("Steps", ("phase", "step", "what", "command", "done"), tuple(rows))


def _channels(incident: Incident) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for each in incident.messages for name in each.channels))


def _mark(channels: tuple[str, ...], channel: str, told: bool) -> str:
    if channel not in channels:
        return "-"
    return "told" if told else "NOT told"


def _lasted(incident: Incident) -> str:
    end = incident.resolved_at or time.time()
    return duration(end - incident.opened_at) + (", open" if incident.open else "")


def _second(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at))
