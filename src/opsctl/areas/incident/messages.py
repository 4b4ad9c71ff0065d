"""What is said of an incident: to the team, to stakeholders and to the public."""

from __future__ import annotations

import time
from collections.abc import Mapping
from string import Template
from typing import TYPE_CHECKING, Any

from opsctl.adapters.notify import channel_names
from opsctl.adapters.slack import slack_text
from opsctl.areas.incident.clock import update_due
from opsctl.areas.incident.facts import Incident, Message

if TYPE_CHECKING:
    from opsctl.core.call import Call
    from opsctl.core.settings import Channels, Incidents

PUBLIC = {
    "investigating": "We are looking into a problem with $systems. We will say more soon.",
    "identified": "We know what causes the problem with $systems and are working on it.",
    "monitoring": "The problem with $systems should be over. We are watching it.",
    "resolved": "The problem with $systems is solved.",
}
_ON_CARD = ("opened", "updated", "assessed", "escalated", "resolved")
"""Kinds of events that the message which a thread hangs on is edited after."""
_IMPACT = {"P0": "critical", "P1": "major", "P2": "minor", "P3": "none"}
_COMPONENT = {"P0": "major_outage", "P1": "partial_outage", "P2": "degraded_performance"}


def channels_of(channels: Channels) -> tuple[str, ...]:
    """Return every channel of the settings: slack, statuspage, page, email, url-1, ..."""
    own = []
    if channels.statuspage and channels.statuspage_page:
        own.append("statuspage")
    if channels.status_file:
        own.append("page")
    told = channel_names(channels)
    return (*(each for each in told if each == "slack"), *own,
            *(each for each in told if each != "slack"))  # fmt: skip


def compose(
    call: Call,
    incident: Incident,
    *,
    headline: str,
    text: str,
    public: str | None,
    notify: bool,
    mentions: tuple[str, ...] = (),
) -> dict[str, Any] | None:
    """Return the message of an event as its data; None where nobody is to be told.

    `incident` is what the event makes of it. The public is told the text of the settings for
    the state, unless `public` says another; of a security incident nothing without that.
    """
    if not notify:
        return None
    names = channels_of(call.environment.channels)
    silent = incident.security and not public
    if silent:
        names = tuple(each for each in names if each not in ("statuspage", "page", "email"))
    if not names:
        return None
    said = "" if silent else public or public_text(incident, call.environment.incidents)
    return {
        "state": incident.state,
        "severity": incident.severity,
        "subject": f"[{call.name}] {incident.severity} {headline}: {incident.title}",
        "internal": text,
        "public": said,
        "channels": list(names),
        "mentions": list(mentions),
    }


def public_text(incident: Incident, rules: Incidents) -> str:
    """Return what the public is told in the state that the incident is in."""
    own: Mapping[Any, str] = rules.public
    template = own.get(incident.state) or PUBLIC[incident.state]
    systems = ", ".join(incident.systems) or "the service"
    return Template(template).safe_substitute(systems=systems, title=incident.title)


def reference(incident: Incident, message: Message) -> str:
    """Return what stands under a message, so that it is found again."""
    return f"{incident.id} · #{message.key}"


def thread_mark(incident: Incident) -> str:
    """Return what stands under the message that an incident's thread hangs on."""
    return f"{incident.id} · thread"


def card(incident: Incident, rules: Incidents) -> str:
    """Return the message that an incident's thread hangs on: how it stands now."""
    due = update_due(incident, rules)
    lines = [
        f"*{incident.severity} · {slack_text(incident.title)}*"
        + (" · security" if incident.security else ""),
        f"State: *{incident.state}* · environment {slack_text(incident.environment)}",
        f"Lead: {slack_text(incident.lead) or 'nobody yet'} · opened {_clock(incident.opened_at)}",
    ]
    if incident.summary:
        lines.append(slack_text(incident.summary))
    if due is not None:
        lines.append(f"Next update by {_clock(due)}")
    elif incident.resolved_at is not None:
        lines.append(f"Resolved {_clock(incident.resolved_at)}")
    return "\n".join([*lines, f"_{thread_mark(incident)} · {as_of(incident)}_"])


def as_of(incident: Incident) -> str:
    """Return the mark of the state that a card shows."""
    shown = [each.event for each in incident.events if each.kind in _ON_CARD]
    return f"as of {shown[-1]}"


def reply(incident: Incident, message: Message) -> str:
    """Return a message within the thread."""
    mentions = "".join(f"<@{each}> " for each in message.mentions)
    return (
        f"{mentions}*{slack_text(message.subject)}*\n{slack_text(message.internal)}\n"
        f"_{_clock(message.at)} · {reference(incident, message)}_"
    )


def reminders(incident: Incident, rules: Incidents, *, now: float) -> dict[int, str]:
    """Return what Slack is to send by itself, by time: nothing that an update has overtaken."""
    due = update_due(incident, rules)
    if due is None:
        return {}
    every_s = rules.update_every_min * 60
    found = {}
    for at, word in ((due, "is due now"), (due + every_s, "is overdue")):
        # Slack takes no time that is over, and takes none back in the last minute.
        if at > now + 5:
            found[round(at)] = (
                f"An update of {incident.severity} _{slack_text(incident.title)}_ {word}: "
                f"`opsctl incident update 'How it stands' --incident {incident.id}`\n"
                f"_{due_mark(incident)} · {_clock(at)}_"
            )
    return found


def due_mark(incident: Incident) -> str:
    """Return what stands under a reminder."""
    return f"{incident.id} · due"


def page_content(incident: Incident, message: Message, channels: Channels) -> dict[str, Any]:
    """Return what Statuspage is sent for a message."""
    over = message.state == "resolved"
    status = "operational" if over else _COMPONENT.get(message.severity, "operational")
    content: dict[str, Any] = {
        "name": incident.title,
        "status": message.state,
        "body": message.public,
        "impact_override": _IMPACT[message.severity],
    }
    if channels.statuspage_components:
        content["components"] = dict.fromkeys(channels.statuspage_components, status)
        content["component_ids"] = list(channels.statuspage_components)
    return content


def preview(incident: Incident, message: Message, channel: str) -> tuple[str, ...]:
    """Return the lines of what a channel will be told, as it will be told."""
    text = message.public if channel in ("statuspage", "page", "email") else message.internal
    return (message.subject, *text.splitlines(), reference(incident, message))


def _clock(at: float) -> str:
    return time.strftime("%H:%M UTC", time.gmtime(at))
