"""`opsctl incident`: what each command makes of the incident and of what was asked."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opsctl.adapters.incidents import IncidentEvent
from opsctl.areas.incident import clock, severity
from opsctl.areas.incident.facts import (
    STATES,
    Incident,
    chosen,
    made_of,
    new_event,
    new_id,
    store_of,
)
from opsctl.areas.incident.given import (
    known_severity,
    needed,
    not_ahead,
    severity_of,
    still_open,
    title_of,
)
from opsctl.areas.incident.messages import channels_of, compose
from opsctl.areas.incident.plan import event_plan, retry_plan
from opsctl.areas.incident.security import phase_of, step_ids
from opsctl.core.errors import OpsError
from opsctl.core.report import Report, Table
from opsctl.core.times import format_moment, parse_moment

if TYPE_CHECKING:
    from opsctl.core.call import Call
    from opsctl.core.plan import Plan
    from opsctl.core.settings import Contact

ROLES = ("lead", "communication", "scribe")


@dataclass(frozen=True)
class Saying:
    """What is said beside what happened, and whether it is sent."""

    public: str | None = None
    """What the public is told, where not the text of the settings."""
    notify: bool = True
    only: tuple[str, ...] = ()
    """Channels that are told; none named: all of them."""


@dataclass(frozen=True)
class Opening:
    """What is known when an incident is opened."""

    title: str
    severity: str | None
    answers: Mapping[str, bool | None]
    security: bool = False
    summary: str = ""
    began: str | None = None
    found_by: str = ""
    systems: tuple[str, ...] = ()
    lead: str = ""


def open_incident(call: Call, opening: Opening, saying: Saying) -> Plan:
    """Plan to keep a new incident and to tell everybody."""
    now = time.time()
    title = title_of(opening.title)
    word, breach = severity_of(call, opening.severity, opening.answers, security=opening.security)
    security = opening.security or breach
    began = parse_moment(opening.began, "--began", now=now) if opening.began else None
    data: dict[str, Any] = {
        "title": title,
        "severity": word,
        "security": security,
        "summary": opening.summary,
        "began_at": not_ahead(began, "--began", now),
        "found_by": opening.found_by,
        "systems": list(opening.systems),
        "roles": {"lead": opening.lead} if opening.lead else {},
    }
    event = new_event(call, new_id(now), "opened", data, now=now)
    incident = made_of((event,))
    people = severity.who_responds(word, call.environment.incidents, security=security)
    text = "\n".join(
        (
            f"{severity.MEANINGS[word]}.",
            *((opening.summary,) if opening.summary else ()),
            _who_text(people, word, call, since=now),
        )
    )
    return _event_plan(
        call, (), event, incident, "incident open", f"Open {incident.id} {word}: {title}",
        headline="opened", text=text, saying=saying, people=people,
    )  # fmt: skip


def assess(
    call: Call, wanted: str | None, answers: Mapping[str, bool | None], saying: Saying
) -> Plan | Report:
    """Say how grave it is; plan to change an open incident's severity where it is another."""
    word, breach = severity_of(call, None, answers, security=False)
    rules = call.environment.incidents
    open_ = _open_one(call, wanted)
    if open_ is not None and (word != open_.severity or (breach and not open_.security)):
        event = new_event(
            call, open_.id, "assessed",
            {"severity": word, "security": breach or open_.security,
             "because": severity.assess(answers).because},
        )  # fmt: skip
        people = severity.who_responds(word, rules, security=breach)
        text = f"Was {open_.severity}, is {word}: {severity.MEANINGS[word]}."
        return _event_plan(
            call, open_.events, event, made_of((*open_.events, event)), "incident assess",
            f"Make {open_.id} {word}, it was {open_.severity}",
            headline=f"assessed, was {open_.severity}", text=text, saying=saying, people=people,
        )  # fmt: skip
    people = severity.who_responds(word, rules, security=breach)
    due = clock.response_due(word, rules, since=time.time())
    return Report(
        command="incident assess",
        title=f"{word}: {severity.MEANINGS[word]}",
        environment=call.name,
        tables=(_people_table(people),),
        notes=(
            f"Somebody must be on it by {format_moment(due)}.",
            f"Open it: opsctl incident open --severity {word} --title 'What is wrong'"
            if open_ is None
            else f"{open_.id} is {word} already.",
        ),
        data={
            "severity": word,
            "security": breach,
            "respond_by": due,
            "contacts": [each.model_dump() for each in people],
        },
    )


def update(call: Call, wanted: str | None, text: str, state: str | None, saying: Saying) -> Plan:
    """Plan to say how it stands."""
    incident = still_open(chosen(call, wanted))
    text = needed(text, "TEXT", "an update says how it stands")
    if state is not None and state not in STATES[:-1]:
        raise OpsError(
            f"The state {state!r} is not one of an open incident",
            why=f"it is {', '.join(STATES[:-1])}",
            hint="once it is over: opsctl incident resolve",
            code="no-such-state",
        )
    event = new_event(call, incident.id, "updated", {"state": state, "text": text})
    after = made_of((*incident.events, event))
    return _event_plan(
        call, incident.events, event, after, "incident update",
        f"Update {incident.id}: {after.state}",
        headline=after.state, text=text, saying=saying,
    )  # fmt: skip


def retry(call: Call, wanted: str | None) -> Plan:
    """Plan to tell again what was not told."""
    return retry_plan(call, chosen(call, wanted, over=True))


def escalate(
    call: Call, wanted: str | None, *, to: str | None, reason: str, word: str | None,
    saying: Saying,
) -> Plan:  # fmt: skip
    """Plan to bring in the next contact."""
    incident = still_open(chosen(call, wanted))
    reason = needed(reason, "--reason", "whoever is called will ask why")
    if word is not None:
        known_severity(word)
    contacts = call.environment.incidents.contacts
    people = [each for each in contacts if to in (each.name, each.role)]
    if to is None:
        people = [each for each in contacts if each.role == "escalation"][:1]
    if not people:
        known = ", ".join(f"{each.name} ({each.role})" for each in contacts) or "none"
        raise OpsError(
            "Nobody was found to escalate to" if to is None else f"The contact {to!r} is not known",
            why=f"incidents.contacts of {call.name} has {known}",
            hint="add them to incidents.contacts, or name one with --to",
            code="no-such-contact",
        )
    data = {"to": [each.name for each in people], "reason": reason, "severity": word}
    event = new_event(call, incident.id, "escalated", data)
    after = made_of((*incident.events, event))
    names = ", ".join(f"{each.name} {each.reach}".strip() for each in people)
    plan = _event_plan(
        call, incident.events, event, after, "incident escalate",
        f"Escalate {incident.id} to {names}",
        headline="escalated", text=f"Escalated to {names}: {reason}",
        saying=saying, people=people, quiet=("statuspage", "page", "email"),
    )  # fmt: skip
    return plan


def resolve(
    call: Call, wanted: str | None, text: str, *, recovered: str | None, saying: Saying
) -> Plan:
    """Plan to end an incident."""
    incident = still_open(chosen(call, wanted))
    text = needed(text, "TEXT", "the last message says what ended it")
    now = time.time()
    recovered_at = parse_moment(recovered, "--recovered", now=now) if recovered else None
    data = {"text": text, "recovered_at": not_ahead(recovered_at, "--recovered", now)}
    event = new_event(call, incident.id, "resolved", data, now=now)
    after = made_of((*incident.events, event))
    due = clock.postmortem_due(after, call.environment.incidents)
    notes = (
        (f"A post-mortem is due {format_moment(due)}: opsctl incident postmortem",) if due else ()
    )
    return _event_plan(
        call, incident.events, event, after, "incident resolve", f"Resolve {incident.id}",
        headline="resolved", text=text, saying=saying, notes=notes,
    )  # fmt: skip


def log(call: Call, wanted: str | None, text: str, *, at: str | None, step: str | None) -> Report:
    """Write something onto the timeline; with a step, that it is done."""
    incident = chosen(call, wanted, over=True)
    now = time.time()
    moment = not_ahead(parse_moment(at, "--at", now=now) if at else now, "--at", now)
    if step is not None:
        if step not in step_ids():
            raise OpsError(
                f"The step {step!r} is not known",
                why=f"steps of a security incident are {', '.join(step_ids())}",
                hint=f"opsctl incident show {incident.id}",
                code="no-such-step",
            )
        text = text or f"{phase_of(step)}: {step} is done"
        event = new_event(call, incident.id, "step", {"step": step, "text": text}, now=now)
    else:
        data = {"text": needed(text, "TEXT", "there is nothing to write"), "noted_at": moment}
        event = new_event(call, incident.id, "noted", data, now=now)
    return _kept(call, event, "incident log", f"On the timeline of {incident.id}: {text}")


def assign(call: Call, wanted: str | None, who: str, *, role: str) -> Report:
    """Say who does what."""
    incident = still_open(chosen(call, wanted))
    if role not in ROLES:
        raise OpsError(
            f"The role {role!r} is not known",
            why=f"roles are {', '.join(ROLES)}",
            hint="opsctl incident assign NAME --role lead",
            code="no-such-role",
        )
    who = needed(who, "NAME", "somebody must have it")
    event = new_event(call, incident.id, "assigned", {"role": role, "who": who})
    return _kept(call, event, "incident assign", f"{who} is {role} of {incident.id}")


def _event_plan(
    call: Call,
    before: tuple[IncidentEvent, ...],
    event: IncidentEvent,
    after: Incident,
    command: str,
    title: str,
    *,
    headline: str,
    text: str,
    saying: Saying,
    people: list[Contact] | None = None,
    notes: tuple[str, ...] = (),
    quiet: tuple[str, ...] = (),
) -> Plan:
    unknown = set(saying.only) - set(channels_of(call.environment.channels))
    if unknown:
        there = ", ".join(channels_of(call.environment.channels)) or "none"
        raise OpsError(
            f"The channel {min(unknown)!r} is not known",
            why=f"the settings of {call.name} have these channels: {there}",
            hint="name one of them with --only, or leave it out",
            code="no-such-channel",
        )
    mentions = tuple(each.slack for each in people or () if each.slack)
    message = compose(
        call, after, headline=headline, text=text, public=saying.public, notify=saying.notify,
        mentions=mentions,
    )  # fmt: skip
    if message is not None:
        wanted = saying.only or channels_of(call.environment.channels)
        message["channels"] = [
            each for each in message["channels"] if each not in quiet and each in wanted
        ]
        event = IncidentEvent(
            event.incident, event.event, event.environment, event.kind, event.at_ms, event.actor,
            {**event.data, "message": message},
        )  # fmt: skip
    notes = (*notes, *_about_telling(call, after, message, saying))
    return event_plan(
        call, before, event, command=command, title=title, notify=saying.notify, notes=notes
    )


def _about_telling(
    call: Call, incident: Incident, message: Mapping[str, Any] | None, saying: Saying
) -> tuple[str, ...]:
    if not saying.notify:
        return ("Nobody is told: --no-notify.",)
    if not channels_of(call.environment.channels):
        return (f"Nobody is told: the settings of {call.name} have no channels.",)
    if incident.security and not saying.public:
        return ("The public is told nothing of a security incident without --public TEXT.",)
    return ("What is sent cannot be taken back.",) if message else ("Nobody is told.",)


def _kept(call: Call, event: IncidentEvent, command: str, title: str) -> Report:
    store_of(call).add(event)
    clock.refresh(call)
    return Report(
        command=command,
        title=title,
        environment=call.name,
        data={"incident": event.incident, "event": event.event},
    )


def _open_one(call: Call, wanted: str | None) -> Incident | None:
    if wanted is not None:
        return still_open(chosen(call, wanted))
    try:
        return chosen(call, None)
    except OpsError as error:
        if error.code == "no-open-incident":
            return None
        raise


def _who_text(people: list[Contact], word: str, call: Call, *, since: float) -> str:
    due = format_moment(clock.response_due(word, call.environment.incidents, since=since))
    names = ", ".join(f"{each.name} ({each.role}) {each.reach}".strip() for each in people)
    return f"To respond by {due}: {names or 'whoever is on call (incidents.contacts names nobody)'}"


def _people_table(people: list[Contact]) -> Table:
    return Table(
        "Who must respond",
        ("role", "name", "how to reach"),
        tuple((each.role, each.name, each.reach) for each in people),
    )
