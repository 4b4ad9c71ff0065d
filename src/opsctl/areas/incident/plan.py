"""The plan that keeps an event and tells everybody: a step for each channel, each for itself.

A step reads the channel back before it sends, so that a message is sent once however often the
step is carried out; one that failed keeps none of the others.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from opsctl.adapters.incidents import IncidentEvent
from opsctl.adapters.journal_runs import JournalRuns
from opsctl.areas.incident.clock import update_due
from opsctl.areas.incident.facts import Incident, Message, made_of, state_of
from opsctl.areas.incident.messages import channels_of, preview
from opsctl.core.action import Command, Expect, Probe
from opsctl.core.errors import Exit
from opsctl.core.plan import Plan, Step
from opsctl.core.times import format_moment

if TYPE_CHECKING:
    from opsctl.core.call import Call

_TIMEOUT_S = 180.0
_ATTEMPTS, _PAUSE_S = 4, 0.5
"""How often it is asked whether a message whose answer was lost is there."""
_NAMES = {"slack": "Slack", "statuspage": "Statuspage", "page": "the status file",
          "email": "e-mail"}  # fmt: skip
UPKEEP = "slack-upkeep"


def event_plan(
    call: Call, before: Sequence[IncidentEvent], event: IncidentEvent, *, command: str, title: str,
    notify: bool, notes: tuple[str, ...] = (),
) -> Plan:  # fmt: skip
    """Return the plan that keeps an event and sends its message, and what was not sent before.

    Without `notify` nothing is sent.
    """
    incident = made_of((*before, event))
    steps = [_record(call, event, title)]
    old = undelivered(call, incident, but=event.event) if notify else []
    steps += [_tell(call, incident, message, channel, again=True) for message, channel in old]
    new = next((each for each in incident.messages if each.key == event.event), None)
    if new is not None:
        steps += [_tell(call, incident, new, channel) for channel in new.channels]
    if old:
        notes = (*notes, f"{len(old)} that were not told before are told now, too.")
    # Whether or not anybody is told now: Slack must not go on to remind of what is over.
    there = "slack" in channels_of(call.environment.channels)
    upkeep = there and any(channel == "slack" for channel, _ in delivered(call, incident))
    return _plan(
        call, incident, steps, command=command, title=title, notes=notes,
        upkeep=upkeep or _tells_slack(steps),
    )  # fmt: skip


def retry_plan(call: Call, incident: Incident) -> Plan:
    """Return the plan that sends what was not sent, and nothing else."""
    old = undelivered(call, incident)
    steps = [_tell(call, incident, message, channel, again=True) for message, channel in old]
    notes = () if old else (f"Everything that was to be said of {incident.id} was said.",)
    title = f"Tell again what was not told of {incident.id}"
    return _plan(
        call, incident, steps, command="incident update", title=title, notes=notes,
        upkeep=_tells_slack(steps),
    )  # fmt: skip


def undelivered(call: Call, incident: Incident, *, but: str = "") -> list[tuple[Message, str]]:
    """Return the messages that a channel has not taken, the oldest first.

    The journal knows: a step that is verified has been read back. A channel that the settings
    do not name any more is left out.
    """
    told = delivered(call, incident)
    there = channels_of(call.environment.channels)
    return [
        (message, channel)
        for message in incident.messages
        for channel in message.channels
        if message.key != but and channel in there and (channel, message.key) not in told
    ]


def delivered(call: Call, incident: Incident) -> set[tuple[str, str]]:
    """Return (channel, message) of everything that was told."""
    found = set()
    for run in JournalRuns(state_of(call)).of(call.name):
        if run.facts.get("incident") != incident.id:
            continue
        for step in run.steps.values():
            word, _, rest = step.id.partition(":")
            if word == "tell" and step.state == "done":
                channel, _, key = rest.partition(":")
                found.add((channel, key))
    return found


def channel_name(channel: str) -> str:
    """Return a channel's name for a person."""
    return _NAMES.get(channel, channel)


def _tells_slack(steps: Sequence[Step]) -> bool:
    return any(step.id.startswith("tell:slack:") for step in steps)


def _plan(
    call: Call, incident: Incident, steps: list[Step], *, command: str, title: str,
    notes: tuple[str, ...], upkeep: bool,
) -> Plan:  # fmt: skip
    if upkeep:
        steps = [*steps, _slack_upkeep(call, incident)]
    return Plan(
        command=command,
        environment=call.name,
        protected=call.environment.protected,
        title=title,
        steps=tuple(steps),
        notes=notes,
        facts={"incident": incident.id, "state": incident.state, "severity": incident.severity},
        lock=f"{call.name} (messages)",
    )


def _record(call: Call, event: IncidentEvent, title: str) -> Step:
    return Step(
        id="record",
        title=f"Keep it: {title}",
        safety="idempotent",
        action=own_command(call, ("record",), stdin=json.dumps(event.to_json())),
        detail=_said(event),
    )


def _said(event: IncidentEvent) -> tuple[str, ...]:
    skipped = ("message", "security")
    return tuple(
        f"{name.replace('_', ' ')}: {_shown(name, value)}"
        for name, value in event.data.items()
        if name not in skipped and value not in (None, "", [], {}, ())
    )


def _shown(name: str, value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {said}" for key, said in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return format_moment(value) if name.endswith("_at") and isinstance(value, float) else str(value)


def _tell(
    call: Call, incident: Incident, message: Message, channel: str, *, again: bool = False
) -> Step:
    place = call.environment.channels.slack_channel if channel == "slack" else ""
    name = " ".join(filter(None, (channel_name(channel), place)))
    title = f"Tell {name} what was not told at {format_moment(message.at)}" if again else (
        f"Tell {name}"
    )  # fmt: skip
    words = (channel, "--incident", incident.id, "--message", message.key)
    return Step(
        id=f"tell:{channel}:{message.key}",
        title=title,
        safety="idempotent",
        action=own_command(call, ("tell", *words)),
        check=_told(call, words),
        detail=preview(incident, message, channel),
        independent=True,
    )


def _slack_upkeep(call: Call, incident: Incident) -> Step:
    due = update_due(incident, call.environment.incidents)
    said = f"the next update is due {format_moment(due)}" if due else "no update is due any more"
    words = (UPKEEP, "--incident", incident.id)
    return Step(
        id=UPKEEP,
        title="Edit the message that the thread hangs on, and set Slack's reminders",
        safety="idempotent",
        action=own_command(call, ("tell", *words)),
        check=_told(call, words),
        detail=(said,),
        independent=True,
    )


def _told(call: Call, words: Sequence[str]) -> Probe:
    return Probe(
        own_command(call, ("told", *words)),
        Expect(exit_code=0, unsure=(int(Exit.UNKNOWN),)),
        attempts=_ATTEMPTS,
        pause_s=_PAUSE_S,
    )


def own_command(call: Call, words: Sequence[str], *, stdin: str | None = None) -> Command:
    """Return a hidden command of this room."""
    argv = ("opsctl", "incident", *words, "--env", call.name, "--quiet")
    return Command(argv, cwd=str(call.root), stdin=stdin, timeout_s=_TIMEOUT_S)
