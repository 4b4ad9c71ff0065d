"""`opsctl incident`: open, tell, keep track, resolve, and write it up."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from opsctl.core.call import Call
    from opsctl.core.plan import Plan
    from opsctl.core.report import Report

app = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True)

Which = Annotated[
    str | None,
    typer.Option("--incident", metavar="ID", help="Which one; else the one that is open."),
]
Public = Annotated[
    str | None,
    typer.Option("--public", metavar="TEXT", help="What the public is told, in your words."),
]
Notify = Annotated[
    bool, typer.Option("--notify/--no-notify", help="Tell the channels of the settings.")
]
Only = Annotated[
    list[str] | None,
    typer.Option(
        "--only", metavar="CHANNEL", help="slack, statuspage, page, email, url-1; may be repeated."
    ),
]
Down = Annotated[
    bool | None, typer.Option("--down/--no-down", help="Is the service down for everybody?")
]
DataLost = Annotated[
    bool | None, typer.Option("--data-lost/--no-data-lost", help="Is data lost or wrong?")
]
Breach = Annotated[
    bool | None,
    typer.Option("--breach/--no-breach", help="Has somebody got in, or did a secret get out?"),
]
Major = Annotated[
    bool | None,
    typer.Option("--major/--no-major", help="Is a major feature broken, or much slower?"),
]
Minor = Annotated[
    bool | None,
    typer.Option("--minor/--no-minor", help="Does a minor feature not work, or is it slower?"),
]
Text = Annotated[str, typer.Argument(metavar="TEXT", help="How it stands, for the team.")]


@app.command("open")
def open_(
    call: Call,
    title: Annotated[str, typer.Option("--title", metavar="TEXT", help="What is wrong.")],
    severity: Annotated[
        str | None,
        typer.Option("--severity", metavar="P0|P1|P2|P3", help="How grave; else by questions."),
    ] = None,
    security: Annotated[
        bool, typer.Option("--security", help="It is a security incident.")
    ] = False,
    summary: Annotated[
        str, typer.Option("--summary", metavar="TEXT", help="What is known, for the team.")
    ] = "",
    began: Annotated[
        str | None,
        typer.Option("--began", metavar="TIME", help="When it began: 20m ago is 20m; or a time."),
    ] = None,
    found_by: Annotated[
        str, typer.Option("--found-by", metavar="WHO", help="Who or what noticed it first.")
    ] = "",
    system: Annotated[
        list[str] | None,
        typer.Option("--system", metavar="NAME", help="What is concerned; may be given again."),
    ] = None,
    lead: Annotated[
        str, typer.Option("--lead", metavar="NAME", help="Who leads the response.")
    ] = "",
    down: Down = None,
    data_lost: DataLost = None,
    breach: Breach = None,
    major: Major = None,
    minor: Minor = None,
    public: Public = None,
    notify: Notify = True,
    only: Only = None,
) -> Plan | Report:
    """Open an incident, and tell Slack, the status page and the stakeholders.

    Every message is shown before it is sent. Without --severity its questions are asked.
    """
    from opsctl.areas.incident.work import Opening, Saying, open_incident

    opening = Opening(
        title=title,
        severity=severity,
        answers=_answers(down, data_lost, breach, major, minor),
        security=security,
        summary=summary,
        began=began,
        found_by=found_by,
        systems=tuple(system or ()),
        lead=lead,
    )
    return open_incident(call, opening, Saying(public, notify, tuple(only or ())))


@app.command()
def assess(
    call: Call,
    incident: Which = None,
    down: Down = None,
    data_lost: DataLost = None,
    breach: Breach = None,
    major: Major = None,
    minor: Minor = None,
    public: Public = None,
    notify: Notify = True,
    only: Only = None,
) -> Plan | Report:
    """Find out how grave it is, who must respond and by when.

    The questions are asked on a terminal; elsewhere they are answered with options. An open
    incident's severity is changed where it comes out as another.
    """
    from opsctl.areas.incident.work import Saying
    from opsctl.areas.incident.work import assess as assess_

    answers = _answers(down, data_lost, breach, major, minor)
    return assess_(call, incident, answers, Saying(public, notify, tuple(only or ())))


@app.command()
def update(
    call: Call,
    text: Annotated[
        str, typer.Argument(metavar="[TEXT]", help="How it stands, for the team.")
    ] = "",
    state: Annotated[
        str | None,
        typer.Option("--state", metavar="STATE", help="investigating, identified or monitoring."),
    ] = None,
    retry: Annotated[
        bool, typer.Option("--retry", help="Only tell again what was not told.")
    ] = False,
    incident: Which = None,
    public: Public = None,
    notify: Notify = True,
    only: Only = None,
) -> Plan | Report:
    """Say how it stands, on every channel; the next update is due from now."""
    from opsctl.areas.incident import work

    if retry:
        return work.retry(call, incident)
    return work.update(call, incident, text, state, work.Saying(public, notify, tuple(only or ())))


@app.command()
def log(
    call: Call,
    text: Annotated[
        str, typer.Argument(metavar="[TEXT]", help="What was seen, done or decided.")
    ] = "",
    at: Annotated[
        str | None, typer.Option("--at", metavar="TIME", help="When it was: 5m ago is 5m.")
    ] = None,
    step: Annotated[
        str | None,
        typer.Option("--step", metavar="STEP", help="A security incident's step that is done."),
    ] = None,
    incident: Which = None,
) -> Report:
    """Write something onto the timeline. Whatever opsctl does is there by itself."""
    from opsctl.areas.incident.work import log as log_

    return log_(call, incident, text, at=at, step=step)


@app.command()
def assign(
    call: Call,
    who: Annotated[str, typer.Argument(metavar="NAME", help="Who has it.")],
    role: Annotated[
        str, typer.Option("--role", metavar="ROLE", help="lead, communication or scribe.")
    ] = "lead",
    incident: Which = None,
) -> Report:
    """Say who does what."""
    from opsctl.areas.incident.work import assign as assign_

    return assign_(call, incident, who, role=role)


@app.command()
def escalate(
    call: Call,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why.")],
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="NAME|ROLE", help="Whom; else the escalation contact."),
    ] = None,
    severity: Annotated[
        str | None, typer.Option("--severity", metavar="P0|P1|P2|P3", help="If it is graver now.")
    ] = None,
    incident: Which = None,
    notify: Notify = True,
    only: Only = None,
) -> Plan | Report:
    """Bring in the next contact of the settings."""
    from opsctl.areas.incident.work import Saying
    from opsctl.areas.incident.work import escalate as escalate_

    return escalate_(
        call,
        incident,
        to=to,
        reason=reason,
        word=severity,
        saying=Saying(None, notify, tuple(only or ())),
    )


@app.command()
def resolve(
    call: Call,
    text: Text,
    recovered: Annotated[
        str | None,
        typer.Option("--recovered", metavar="TIME", help="When it was well again, if before."),
    ] = None,
    incident: Which = None,
    public: Public = None,
    notify: Notify = True,
    only: Only = None,
) -> Plan | Report:
    """End an incident; its post-mortem is due from now."""
    from opsctl.areas.incident.work import Saying
    from opsctl.areas.incident.work import resolve as resolve_

    return resolve_(
        call, incident, text, recovered=recovered, saying=Saying(public, notify, tuple(only or ()))
    )


@app.command()
def evidence(
    call: Call,
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FILE]...", help="What to keep; -: what comes on stdin."),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="What to call it.")
    ] = None,
    note: Annotated[str, typer.Option("--note", metavar="TEXT", help="Where it comes from.")] = "",
    incident: Which = None,
) -> Report:
    """Keep files as evidence: read-only copies with their hashes. Without files, check them.

    Exit 1: a copy is not what was kept.
    """
    from opsctl.areas.incident import evidence as kept

    if not files:
        return kept.check(call, incident)
    return kept.keep(call, incident, files, name=name, note=note)


@app.command()
def postmortem(
    call: Call,
    incident: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="The last one otherwise.")
    ] = None,
    answer: Annotated[
        list[str] | None,
        typer.Option("--answer", metavar="NAME=TEXT", help="Answer one of its questions."),
    ] = None,
    action: Annotated[
        list[str] | None,
        typer.Option("--action", metavar="WHAT;OWNER;DUE", help="Add an action item."),
    ] = None,
    finish: Annotated[
        bool, typer.Option("--finish", help="Say that it is whole; refused while it is not.")
    ] = False,
    into: Annotated[
        Path, typer.Option("--into", metavar="FOLDER", help="Where the documents go.")
    ] = Path("postmortems"),
    replace: Annotated[
        bool, typer.Option("--replace", help="Write over a document that somebody changed.")
    ] = False,
) -> Report:
    """Write the post-mortem, as Markdown and as a page, from what was recorded.

    Timeline, times, impact and what was done come from the record; what nobody knows is left as
    a question. Also printed with --format markdown and --format html.
    """
    from opsctl.areas.incident.postmortem import postmortem as postmortem_

    return postmortem_(
        call,
        incident,
        into=into,
        answers=answer or (),
        actions=action or (),
        finish=finish,
        replace=replace,
    )


@app.command("list")
def list_(call: Call) -> Report:
    """List the incidents, the newest first."""
    from opsctl.areas.incident.show import list_incidents

    return list_incidents(call)


@app.command()
def show(
    call: Call,
    incident: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="The open one or the last one otherwise.")
    ] = None,
) -> Report:
    """Show one incident: timeline, what was told whom, steps and evidence."""
    from opsctl.areas.incident.show import show as show_

    return show_(call, incident)


@app.command()
def status(call: Call) -> Report:
    """Say whether anything is overdue: exit 1 where an update, a message or a report is."""
    from opsctl.areas.incident.show import status as status_

    return status_(call)


@app.command(hidden=True)
def record(call: Call) -> Report:
    """Keep the event on stdin, as the plans of this room do."""
    from opsctl.areas.incident.tell import record as record_

    return record_(call)


Channel = Annotated[str, typer.Argument(metavar="CHANNEL", help="slack, statuspage, ...")]
Named = Annotated[str, typer.Option("--incident", metavar="ID", help="Which incident.")]
MessageKey = Annotated[
    str | None, typer.Option("--message", metavar="KEY", help="Which of its messages.")
]


@app.command(hidden=True)
def tell(call: Call, channel: Channel, incident: Named, message: MessageKey = None) -> Report:
    """Tell one channel, as the plans of this room do."""
    from opsctl.areas.incident.tell import tell as tell_

    return tell_(call, channel, incident=incident, message=message)


@app.command(hidden=True)
def told(call: Call, channel: Channel, incident: Named, message: MessageKey = None) -> Report:
    """Look whether a channel was told, as the plans of this room do."""
    from opsctl.areas.incident.tell import told as told_

    return told_(call, channel, incident=incident, message=message)


def _answers(
    down: bool | None,
    data_lost: bool | None,
    breach: bool | None,
    major: bool | None,
    minor: bool | None,
) -> dict[str, bool | None]:
    return {
        "down": down, "data-lost": data_lost, "breach": breach, "major": major, "minor": minor,
    }  # fmt: skip
