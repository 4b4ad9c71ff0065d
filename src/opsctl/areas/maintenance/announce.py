"""The plan that tells everybody of a window, a step for each channel; and what its steps do.

A step looks whether the channel was told before it tells it, so that a message is sent once
however often the step is carried out; one that failed keeps none of the others.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from opsctl.adapters.notify import Message, channel_names
from opsctl.adapters.notify import tell as hand_over
from opsctl.adapters.slack import SlackChannel, slack_text
from opsctl.areas.maintenance.facts import Planned, all_windows, chosen, new_event, store_of
from opsctl.areas.maintenance.messages import key_of, mark_of, message_of
from opsctl.core.action import Command, Expect, Probe
from opsctl.core.errors import Exit, OpsError
from opsctl.core.plan import Plan, Step
from opsctl.core.process import LOOK
from opsctl.core.report import Finding, Report, Status

if TYPE_CHECKING:
    from opsctl.core.call import Call

_TIMEOUT_S = 120.0
_ATTEMPTS, _PAUSE_S = 4, 0.5
"""How often it is asked whether a message whose answer was lost is there."""
_BEFORE_S = 600.0
"""Clocks differ: a message is looked for from so long before the window was planned."""
_NAMES = {"slack": "Slack", "email": "e-mail"}


def announce(call: Call, id: str | None, *, only: Sequence[str]) -> Plan:
    """Return the plan that says how a window stands now, where it was not said yet."""
    window = chosen(all_windows(call), id, now=time.time())
    key = key_of(window)
    channels = _channels(call, only)
    left = [each for each in channels if (each, key) not in window.told]
    told = [_name(call, each) for each in channels if each not in left]
    message = message_of(window, environment=call.name)
    return Plan(
        command=f"maintenance announce {window.id}",
        environment=call.name,
        protected=call.environment.protected,
        title=f"Tell of {window.id}, which is {window.state}",
        steps=tuple(_tell(call, window, each, key, message) for each in left),
        notes=(f"Told already: {', '.join(told)}.",) if told else (),
        facts={"maintenance": window.id, "message": key},
        lock=f"{call.name} (messages)",
    )


def tell(call: Call, channel: str, *, window: str, key: str) -> Report:
    """Tell one channel, unless it was told."""
    found = chosen(all_windows(call), window, now=time.time())
    # Of what was cut off only a person lets a plan come here again.
    if not _is_told(call, channel, found, key, asked=True):
        if key != key_of(found):
            raise OpsError(
                f"{channel} was not told",
                why=f"{found.id} is {found.state} by now, and was changed {found.sequence} times; "
                f"the message was {key}",
                hint=f"opsctl maintenance announce {found.id}",
                code="message-old",
                exit=Exit.REFUSED,
            )
        _send(call, channel, found, key)
    title = f"{channel} is told"
    return Report(command="maintenance tell", title=title, text=title)


def told(call: Call, channel: str, *, window: str, key: str) -> Report:
    """Look whether a channel was told: exit 0 it was, 1 it was not, 3 it is not known."""
    found = chosen(all_windows(call), window, now=time.time())
    there = _is_told(call, channel, found, key)
    title = f"{channel} is told" if there else f"{channel} is not told"
    status = Status.OK if there else Status.FAILED
    return Report(
        command="maintenance told",
        title=title,
        findings=(Finding("told", title, status),),
        text=title,
    )


def _channels(call: Call, only: Sequence[str]) -> tuple[str, ...]:
    known = channel_names(call.environment.channels)
    unknown = [each for each in only if each not in known]
    if not known or unknown:
        raise OpsError(
            "Nobody was told",
            why=f"{unknown[0]!r} is none of the channels: {', '.join(known) or 'there are none'}"
            if unknown
            else f"the settings of {call.name} name no channel",
            hint="set channels: slack, or email and smtp, or urls; opsctl config schema",
            code="no-such-channel" if unknown else "no-channel",
        )
    return tuple(each for each in known if not only or each in only)


def _tell(call: Call, window: Planned, channel: str, key: str, message: Message) -> Step:
    words = (channel, "--window", window.id, "--message", key)
    return Step(
        id=f"tell:{channel}:{key}",
        title=f"Tell {_name(call, channel)}",
        safety="idempotent",
        action=_own(call, ("tell", *words)),
        check=Probe(
            _own(call, ("told", *words)),
            Expect(exit_code=0, unsure=(int(Exit.USAGE), int(Exit.UNKNOWN))),
            attempts=_ATTEMPTS,
            pause_s=_PAUSE_S,
        ),
        detail=(message.title, *message.body.splitlines()),
        independent=True,
    )


def _own(call: Call, words: Sequence[str]) -> Command:
    """Return a hidden command of this room, done within the process that carries the plan out."""
    argv = (LOOK, "maintenance", *words, "--env", call.name, "--quiet")
    return Command(argv, timeout_s=_TIMEOUT_S)


def _name(call: Call, channel: str) -> str:
    name = _NAMES.get(channel, channel)
    return f"{name} {call.environment.channels.slack_channel}" if channel == "slack" else name


def _is_told(call: Call, channel: str, window: Planned, key: str, *, asked: bool = False) -> bool:
    if channel == "slack":
        since = window.planned_at - _BEFORE_S
        return SlackChannel(call.environment.channels).find(mark_of(key), since=since) is not None
    if (channel, key) in window.handing and not asked:
        raise OpsError(
            f"It is not known whether {channel} took the message",
            why="contact was lost, or opsctl ended, while it was handed over",
            hint="ask one who should have got it",
            code="not-known-told",
            exit=Exit.UNKNOWN,
        )
    return (channel, key) in window.told


def _send(call: Call, channel: str, window: Planned, key: str) -> None:
    """Hand a message over; of a service that cannot be asked it is written down before, too."""
    message = message_of(window, environment=call.name)
    store, data = store_of(call), {"channel": channel, "key": key}
    if channel == "slack":
        text = f"*{slack_text(message.title)}*\n{slack_text(message.body)}"
        SlackChannel(call.environment.channels).post(text)
        store.add(new_event(call, window.id, "handed", data))
        return
    store.add(new_event(call, window.id, "handing", data))
    why = hand_over(call.environment.channels, message, only=(channel,)).get(channel, "")
    kind = "refused" if why else "handed"
    store.add(new_event(call, window.id, kind, {**data, "why": why}))
    if why:
        raise OpsError(
            f"The channel {channel} did not take the message",
            why=why,
            hint=f"opsctl maintenance announce {window.id}",
            code="not-told",
            exit=Exit.FAILED,
        )
