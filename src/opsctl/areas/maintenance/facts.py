"""What a maintenance window is: worked out of its events, and of nothing else."""

from __future__ import annotations

import getpass
import secrets
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from opsctl.adapters.journal_runs import JournalRuns
from opsctl.adapters.maintenance_events import MaintenanceEvent, MaintenanceStore
from opsctl.core.errors import Exit, OpsError

if TYPE_CHECKING:
    from opsctl.core.call import Call

State = Literal["planned", "started", "finished", "cancelled"]
WINDOW_KINDS = ("planned", "moved", "started", "finished", "cancelled")
"""Kinds of events that change what a window is."""

_LATEST = 253_402_214_400.0
"""The last day of the year 9999: what follows is in no calendar."""


@dataclass(frozen=True)
class TaskDone:
    """Who did a task of a window, and when."""

    at: float
    by: str
    note: str = ""


@dataclass(frozen=True)
class Planned:
    """One maintenance window, as its events make it."""

    id: str
    uid: str
    """What calendars know it by; the same for ever."""
    begins_at: float
    ends_at: float
    reason: str
    planned_at: float
    planned_by: str
    state: State = "planned"
    sequence: int = 0
    """How often it was changed since it was planned: a calendar's SEQUENCE."""
    changed_at: float = 0.0
    short_notice: str = ""
    """Why it is announced later than the settings say; empty where it is not."""
    started_at: float | None = None
    finished_at: float | None = None
    tasks: Mapping[str, TaskDone] = field(default_factory=dict)
    note: str = ""
    """What was said at its end, or when it was cancelled."""
    told: Mapping[tuple[str, str], float] = field(default_factory=dict)
    """When a channel took a message: (channel, key of the message)."""
    handing: frozenset[tuple[str, str]] = frozenset()
    """Messages of which it is not known whether a channel took them."""

    @property
    def open(self) -> bool:
        """Whether it is still ahead, or under way."""
        return self.state in ("planned", "started")

    @property
    def hours(self) -> float:
        """How long it is to last."""
        return (self.ends_at - self.begins_at) / 3600


def store_of(call: Call) -> MaintenanceStore:
    """Return where maintenance is kept."""
    return MaintenanceStore(call.state)


def events_of(call: Call) -> list[MaintenanceEvent]:
    """Return what happened in the environment. Raises OpsError `record-changed` (exit 3)."""
    events = store_of(call).events(call.name)
    broken = next((each for each in events if not each.fits), None)
    if broken is not None:
        raise OpsError(
            "The record of maintenance was changed by somebody else",
            why=f"event {broken.seq} ({broken.kind} of {broken.about}) does not fit its hash",
            hint="who had access to the state? opsctl state show says where it is",
            code="record-changed",
            exit=Exit.UNKNOWN,
        )
    return events


def windows_of(events: Sequence[MaintenanceEvent]) -> list[Planned]:
    """Return the windows, the earliest begin first.

    Raises OpsError `record-unreadable` (exit 3) where an event lacks what its kind has.
    """
    found: dict[str, Planned] = {}
    for event in events:
        try:
            if event.kind == "planned":
                found[event.about] = _planned(event)
            elif event.about in found:
                found[event.about] = _after(found[event.about], event)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise OpsError(
                "The record of maintenance was not understood",
                why=f"event {event.seq} ({event.kind} of {event.about}) is not what this opsctl "
                f"writes: {type(error).__name__}",
                hint="was it written by a newer opsctl? Then upgrade this one",
                code="record-unreadable",
                exit=Exit.UNKNOWN,
            ) from None
    return sorted(found.values(), key=lambda each: (each.begins_at, each.id))


def all_windows(call: Call) -> list[Planned]:
    """Return the environment's windows, the earliest begin first."""
    windows = windows_of(events_of(call))
    if not windows:
        return windows
    told = _delivered(call)
    return [replace(each, told={**told.get(each.id, {}), **each.told}) for each in windows]


def chosen(windows: Iterable[Planned], id: str | None, *, now: float) -> Planned:
    """Return the window that is named; else the one under way, else the next one.

    Raises OpsError `no-such-window` (exit 2).
    """
    known = list(windows)
    if id is None:
        candidates = [each for each in known if each.state == "started"]
        candidates += [each for each in known if each.state == "planned" and each.ends_at > now]
    else:
        candidates = [each for each in known if each.id == id]
    if candidates:
        return candidates[0]
    raise OpsError(
        "No maintenance is planned" if id is None else f"There is no maintenance window {id!r}",
        why=f"{len(known)} windows are on record, and none of them is "
        + ("ahead or under way" if id is None else "called so"),
        hint="opsctl maintenance plan, or opsctl maintenance list",
        code="no-such-window",
    )


def new_event(
    call: Call, about: str, kind: str, data: Mapping[str, Any], *, at: float | None = None
) -> MaintenanceEvent:
    """Return an event of now, in the name of whoever runs this."""
    return MaintenanceEvent(
        environment=call.name,
        event=secrets.token_hex(8),
        about=about,
        kind=kind,
        at_ms=round((time.time() if at is None else at) * 1000),
        actor=actor(),
        data=data,
    )


def actor() -> str:
    """Return who does it: user@host."""
    user = "somebody"
    with suppress(KeyError, OSError, ImportError):
        user = getpass.getuser()
    return f"{user}@{socket.gethostname()}"


def _delivered(call: Call) -> dict[str, dict[tuple[str, str], float]]:
    """Return by window when each message was seen where it belongs, by the journal.

    What was cut off between sending and writing it down is on record there alone.
    """
    found: dict[str, dict[tuple[str, str], float]] = {}
    for run in JournalRuns(call.state).of(call.name):
        window = run.facts.get("maintenance")
        for step in run.steps.values() if window else ():
            word, _, rest = step.id.partition(":")
            if word == "tell" and step.state == "done":
                channel, _, key = rest.partition(":")
                at = step.ended_at or run.began_at
                found.setdefault(str(window), {}).setdefault((channel, key), at)
    return found


def _planned(event: MaintenanceEvent) -> Planned:
    data = event.data
    return Planned(
        id=event.about,
        uid=str(data["uid"]),
        begins_at=_moment(data["begins_at"]),
        ends_at=_moment(data["ends_at"]),
        reason=str(data["reason"]),
        planned_at=event.at,
        planned_by=event.actor,
        changed_at=event.at,
        short_notice=str(data.get("short_notice", "")),
    )


def _moment(value: Any) -> float:
    at = float(value)
    if not 0 <= at < _LATEST:
        raise ValueError("no calendar has it")
    return at


def _after(window: Planned, event: MaintenanceEvent) -> Planned:
    data = event.data
    if event.kind in ("moved", "cancelled"):
        # Only what a calendar shows of it counts as a change of it.
        window = replace(window, sequence=window.sequence + 1, changed_at=event.at)
    match event.kind:
        case "moved":
            return replace(
                window,
                begins_at=_moment(data["begins_at"]),
                ends_at=_moment(data["ends_at"]),
                reason=str(data.get("reason", window.reason)),
                short_notice=str(data.get("short_notice", "")),
            )
        case "started":
            return replace(window, state="started", started_at=event.at)
        case "finished":
            note = str(data.get("note", ""))
            return replace(window, state="finished", finished_at=event.at, note=note)
        case "cancelled":
            return replace(window, state="cancelled", note=str(data.get("note", "")))
        case "task":
            done = TaskDone(event.at, event.actor, str(data.get("note", "")))
            return replace(window, tasks={**window.tasks, str(data["task"]): done})
        case "handing" | "handed" | "refused":
            return _told(window, event)
    return window


def _told(window: Planned, event: MaintenanceEvent) -> Planned:
    key = (str(event.data["channel"]), str(event.data["key"]))
    if event.kind == "handing":
        return replace(window, handing=window.handing | {key})
    window = replace(window, handing=window.handing - {key})
    if event.kind == "refused":
        return window
    return replace(window, told={**window.told, key: event.at})
