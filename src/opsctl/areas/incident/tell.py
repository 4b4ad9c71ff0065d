"""What the steps of a plan do: keep an event, tell a channel, look whether it was told."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING

from opsctl.adapters.incidents import event_from_json
from opsctl.adapters.slack import SlackChannel, SlackMessage
from opsctl.adapters.statuspage_own import OwnStatusPage
from opsctl.areas.incident import clock, messages
from opsctl.areas.incident.facts import Incident, Message, chosen, new_event, store_of
from opsctl.areas.incident.plan import UPKEEP
from opsctl.areas.incident.status_file import read_status_file, write_status_file
from opsctl.core.errors import Exit, OpsError
from opsctl.core.report import Finding, Report, Status

if TYPE_CHECKING:
    from pathlib import Path

    from opsctl.core.call import Call

_BEFORE_S = 600.0
"""Clocks differ: the thread's first message is looked for from so long before it was opened."""


def record(call: Call) -> Report:
    """Keep the event that stands on stdin."""
    try:
        event = event_from_json(json.loads(sys.stdin.read()))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise OpsError(
            "The event was not kept",
            why="what came on stdin is no event",
            hint="this command is a step of a plan: opsctl incident --help",
            code="bad-event",
        ) from None
    new = store_of(call).add(event)
    clock.refresh(call)
    said = "is kept" if new else "was kept before"
    title = f"The event {event.event} {said}"
    return Report(command="incident record", title=title, text=title)


def tell(call: Call, channel: str, *, incident: str, message: str | None) -> Report:
    """Tell one channel, unless it was told; or bring Slack up to date."""
    found = chosen(call, incident)
    # Of what was cut off only a person lets a plan come here again.
    if not _is_told(call, channel, found, message, asked=True):
        if channel == UPKEEP:
            _edit_card(call, found)
            _remind(call, found)
        else:
            _send(call, channel, found, _message(found, message))
    title = f"{channel} is told"
    return Report(command="incident tell", title=title, text=title)


def told(call: Call, channel: str, *, incident: str, message: str | None) -> Report:
    """Look whether a channel was told: exit 0 it was, 1 it was not, 3 it is not known."""
    found = chosen(call, incident)
    there = _is_told(call, channel, found, message)
    title = f"{channel} is told" if there else f"{channel} is not told"
    status = Status.OK if there else Status.FAILED
    return Report(
        command="incident told", title=title, findings=(Finding("told", title, status),), text=title
    )


def _is_told(
    call: Call, channel: str, incident: Incident, message: str | None, *, asked: bool = False
) -> bool:
    channels = call.environment.channels
    if channel == UPKEEP:
        slack = SlackChannel(channels)
        root = _root(slack, incident)
        if root is None or messages.as_of(incident) not in root.text:
            return False
        wanted = messages.reminders(incident, call.environment.incidents, now=time.time())
        there = slack.scheduled(messages.due_mark(incident))
        return sorted(each.post_at for each in there) == sorted(wanted)
    meant = _message(incident, message)
    if channel == "slack":
        slack = SlackChannel(channels)
        root = _root(slack, incident)
        if root is None:
            return False
        mark = messages.reference(incident, meant)
        return slack.find_reply(mark, thread=root.ts) is not None
    if channel == "statuspage":
        on_page = OwnStatusPage(channels).find(incident.id)
        return on_page is not None and meant.key in on_page.messages
    if channel == "page":
        return meant.key in read_status_file(_status_file(call))
    return _was_handed(incident, meant, channel, asked=asked)


def _send(call: Call, channel: str, incident: Incident, message: Message) -> None:
    channels = call.environment.channels
    if channel == "slack":
        slack = SlackChannel(channels)
        root = _root(slack, incident)
        thread = (
            root.ts if root else slack.post(messages.card(incident, call.environment.incidents))
        )
        aloud = message.state == "resolved" or bool(message.mentions)
        slack.post(messages.reply(incident, message), thread=thread, aloud=aloud)
    elif channel == "statuspage":
        page = OwnStatusPage(channels)
        content = messages.page_content(incident, message, channels)
        page.write(incident.id, message.key, there=page.find(incident.id), content=content)
    elif channel == "page":
        told_ = [each for each in incident.messages if "page" in each.channels and each.public]
        upto = [each for each in told_ if each.at <= message.at]
        write_status_file(_status_file(call), incident, upto)
    else:
        _hand(call, channel, incident, message)


def _edit_card(call: Call, incident: Incident) -> None:
    slack = SlackChannel(call.environment.channels)
    root = _root(slack, incident)
    text = messages.card(incident, call.environment.incidents)
    if root is None:
        slack.post(text)
    elif messages.as_of(incident) not in root.text:
        slack.edit(root.ts, text)


def _remind(call: Call, incident: Incident) -> None:
    slack = SlackChannel(call.environment.channels)
    wanted = messages.reminders(incident, call.environment.incidents, now=time.time())
    there = slack.scheduled(messages.due_mark(incident))
    kept = set()
    for each in there:
        if each.post_at in wanted and each.post_at not in kept:
            kept.add(each.post_at)
        else:
            slack.unschedule(each.id)
    for post_at in sorted(set(wanted) - kept):
        slack.schedule(wanted[post_at], post_at=post_at)


def _root(slack: SlackChannel, incident: Incident) -> SlackMessage | None:
    return slack.find(messages.thread_mark(incident), since=incident.opened_at - _BEFORE_S)


def _hand(call: Call, channel: str, incident: Incident, message: Message) -> None:
    """Hand a message to a service that cannot be asked what became of it.

    That it is tried is written down before, and what came of it after: one that was cut off in
    between is not known to be sent, and not sent again unasked.
    """
    from opsctl.adapters.notify import Message as Mail
    from opsctl.adapters.notify import tell as hand_over

    data = {"channel": channel, "of": message.key}
    store = store_of(call)
    store.add(new_event(call, incident.id, "handing", data))
    text = message.public if channel == "email" else message.internal
    body = f"{text}\n\n{messages.reference(incident, message)}"
    failed = hand_over(call.environment.channels, Mail(message.subject, body), only=(channel,))
    why = failed.get(channel, "")
    store.add(new_event(call, incident.id, "refused" if why else "handed", {**data, "why": why}))
    if why:
        raise OpsError(
            f"The channel {channel} did not take the message",
            why=why,
            hint=f"opsctl incident update --retry --incident {incident.id}",
            code="not-told",
            exit=Exit.FAILED,
        )


def _was_handed(incident: Incident, message: Message, channel: str, *, asked: bool) -> bool:
    last = ""
    for event in incident.events:
        data = event.data
        if data.get("of") == message.key and data.get("channel") == channel:
            last = event.kind
    if last == "handing" and not asked:
        raise OpsError(
            f"It is not known whether {channel} took the message",
            why="contact was lost, or opsctl ended, while it was handed over",
            hint="ask one who should have got it",
            code="not-known-told",
            exit=Exit.UNKNOWN,
        )
    return last == "handed"


def _message(incident: Incident, key: str | None) -> Message:
    found = next((each for each in incident.messages if each.key == key), None)
    if found is None:
        raise OpsError(
            f"The message {key!r} was not found",
            why=f"{incident.id} has {len(incident.messages)} messages",
            hint=f"opsctl incident show {incident.id}",
            code="no-such-message",
        )
    return found


def _status_file(call: Call) -> Path:
    return call.root / str(call.environment.channels.status_file)
