"""What an incident is: worked out of its events, and of nothing else."""

from __future__ import annotations

import getpass
import secrets
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from opsctl.adapters.incidents import IncidentEvent, IncidentStore
from opsctl.core.errors import Exit, OpsError

if TYPE_CHECKING:
    from opsctl.core.call import Call
    from opsctl.core.state_place import StatePlace

STATES = ("investigating", "identified", "monitoring", "resolved")
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"


@dataclass(frozen=True)
class Message:
    """What was to be said of an incident at one moment, and where."""

    key: str
    """The id of the event that it came with."""
    at: float
    state: str
    severity: str
    subject: str
    internal: str
    public: str
    """Empty where the public is told nothing."""
    channels: tuple[str, ...]
    mentions: tuple[str, ...] = ()
    """Slack member ids."""


@dataclass(frozen=True)
class ActionItem:
    """What is to be done so that it does not come back."""

    what: str
    owner: str
    """Empty where nobody has taken it."""
    due: str


@dataclass(frozen=True)
class Evidence:
    """One file that was kept as it was."""

    name: str
    kept: str
    """Where the copy lies, relative to the root."""
    sha256: str
    bytes: int
    at: float
    by: str
    note: str


@dataclass(frozen=True)
class Incident:
    """One incident as its events make it."""

    id: str
    environment: str
    title: str
    severity: str
    security: bool
    opened_at: float
    opened_by: str
    began_at: float | None
    """When it began, where somebody said so."""
    found_by: str
    """Who or what noticed it first; empty where nobody said."""
    summary: str
    systems: tuple[str, ...]
    state: str
    updated_at: float
    """When it was last said how it stands."""
    responded_at: float | None = None
    """When somebody was first on it."""
    recovered_at: float | None = None
    resolved_at: float | None = None
    roles: Mapping[str, str] | None = None
    messages: tuple[Message, ...] = ()
    actions: tuple[ActionItem, ...] = ()
    answers: Mapping[str, str] | None = None
    """What people answered for the post-mortem, by question."""
    steps_done: Mapping[str, str] | None = None
    """The steps of a security incident that are done: step -> who and when."""
    evidence: tuple[Evidence, ...] = ()
    written_at: float | None = None
    """When its post-mortem was said to be finished."""
    events: tuple[IncidentEvent, ...] = ()

    @property
    def open(self) -> bool:
        """Whether it is not resolved."""
        return self.resolved_at is None

    @property
    def lead(self) -> str:
        """Who leads it; empty where nobody does."""
        return (self.roles or {}).get("lead", "")

    @property
    def damaged(self) -> int:
        """How many of its events do not fit their hash."""
        return sum(not each.fits for each in self.events)


def store_of(call: Call) -> IncidentStore:
    """Return where incidents are kept."""
    return IncidentStore(state_of(call))


def state_of(call: Call) -> StatePlace:
    """Return where opsctl keeps what it knows."""
    return call.state


def all_incidents(call: Call) -> list[Incident]:
    """Return the environment's incidents, the newest first."""
    found = [made_of(events) for events in store_of(call).events(call.name).values()]
    return sorted(found, key=lambda each: -each.opened_at)


def chosen(call: Call, wanted: str | None, *, over: bool = False) -> Incident:
    """Return the incident that is meant: the named one, else the one that is open.

    With `over` it may be one that is resolved: the last one, where none is open. Raises OpsError
    `no-such-incident`, `which-incident`.
    """
    known = all_incidents(call)
    if wanted is not None:
        fitting = [each for each in known if wanted in (each.id, each.id.partition("-")[2])]
        fitting = fitting or [each for each in known if each.id.endswith(wanted) and wanted]
        if len(fitting) == 1:
            return fitting[0]
        raise _which(f"The incident {wanted!r} was not found", fitting or known, "no-such-incident")
    open_ = [each for each in known if each.open]
    if len(open_) == 1:
        return open_[0]
    if open_:
        raise _which("It was not said which incident is meant", open_, "which-incident")
    if over and known:
        return known[0]
    raise OpsError(
        f"No incident is open in {call.name}",
        why=f"{len(known)} are known, and all of them are resolved" if known else "none is known",
        hint="opsctl incident open --severity P1 --title 'What is wrong'",
        code="no-open-incident",
    )


def _which(what: str, known: Sequence[Incident], code: str) -> OpsError:
    names = ", ".join(f"{each.id} ({each.title})" for each in known[:5])
    return OpsError(
        what,
        why=f"known are {names}" if names else "none is known",
        hint="name one with --incident; opsctl incident list shows them",
        code=code,
    )


def new_id(now: float) -> str:
    """Return an id for an incident: the day and four signs."""
    day = time.strftime("%Y%m%d", time.gmtime(now))
    return f"INC-{day}-{''.join(secrets.choice(_LETTERS) for _ in range(4))}"


def new_event(
    call: Call, incident: str, kind: str, data: Mapping[str, Any], *, now: float | None = None
) -> IncidentEvent:
    """Return an event of this moment by this user; it is not kept yet."""
    at = time.time() if now is None else now
    key = "".join(secrets.choice(_LETTERS) for _ in range(8))
    return IncidentEvent(incident, key, call.name, kind, round(at * 1000), user(), dict(data))


def user() -> str:
    """Return who does it: user@host."""
    name = "somebody"
    with suppress(OSError, KeyError, ImportError):
        name = getpass.getuser()
    return f"{name}@{socket.gethostname()}"


def made_of(events: Iterable[IncidentEvent]) -> Incident:
    """Return the incident that some events make; the first one opened it.

    Raises OpsError `incident-unreadable` (exit 3) where an event lacks what its kind has.
    """
    first, *rest = events
    event = first
    try:
        incident = _opened(first, rest)
        for event in rest:
            incident = _after(incident, event)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise OpsError(
            f"The record of incident {first.incident} was not understood",
            why=f"event {event.seq} ({event.kind}) is not what this opsctl writes: "
            f"{type(error).__name__}",
            hint="was it written by a newer opsctl? Then upgrade this one",
            code="incident-unreadable",
            exit=Exit.UNKNOWN,
        ) from None
    return incident


def _opened(first: IncidentEvent, rest: Sequence[IncidentEvent]) -> Incident:
    data = first.data
    incident = Incident(
        id=first.incident,
        environment=first.environment,
        title=str(data.get("title", "")),
        severity=str(data.get("severity", "P1")),
        security=bool(data.get("security")),
        opened_at=first.at,
        opened_by=first.actor,
        began_at=data.get("began_at"),
        found_by=str(data.get("found_by") or ""),
        summary=str(data.get("summary") or ""),
        systems=tuple(data.get("systems") or ()),
        state="investigating",
        updated_at=first.at,
        roles=dict(data.get("roles") or {}),
        answers={},
        steps_done={},
        messages=_message(first),
        events=(first, *rest),
    )
    return replace(incident, responded_at=first.at) if incident.lead else incident


def _after(incident: Incident, event: IncidentEvent) -> Incident:
    data = event.data
    incident = replace(incident, messages=incident.messages + _message(event))
    if event.kind in ("updated", "noted", "assigned", "step") and not incident.responded_at:
        incident = replace(incident, responded_at=event.at)
    match event.kind:
        case "updated":
            return replace(incident, state=data.get("state") or incident.state, updated_at=event.at)
        case "assessed" | "escalated":
            return replace(
                incident,
                severity=data.get("severity") or incident.severity,
                security=incident.security or bool(data.get("security")),
                updated_at=event.at if data.get("message") else incident.updated_at,
            )
        case "assigned":
            return replace(incident, roles={**(incident.roles or {}), data["role"]: data["who"]})
        case "resolved":
            return replace(
                incident,
                state="resolved",
                resolved_at=event.at,
                recovered_at=data.get("recovered_at"),
                updated_at=event.at,
            )
        case "reopened":
            return replace(incident, state="investigating", resolved_at=None, updated_at=event.at)
        case "answered":
            return replace(incident, answers={**(incident.answers or {}), **data["answers"]})
        case "action":
            item = ActionItem(data["what"], data.get("owner", ""), data.get("due", ""))
            return replace(incident, actions=(*incident.actions, item))
        case "step":
            done = {**(incident.steps_done or {}), data["step"]: event.actor}
            return replace(incident, steps_done=done)
        case "evidence":
            kept = Evidence(
                data["name"], data["kept"], data["sha256"], data["bytes"], event.at, event.actor,
                data.get("note", ""),
            )  # fmt: skip
            return replace(incident, evidence=(*incident.evidence, kept))
        case "written":
            return replace(incident, written_at=event.at)
    return incident


def _message(event: IncidentEvent) -> tuple[Message, ...]:
    data = event.data.get("message")
    if not data:
        return ()
    return (
        Message(
            key=event.event,
            at=event.at,
            state=data["state"],
            severity=data["severity"],
            subject=data["subject"],
            internal=data["internal"],
            public=data["public"],
            channels=tuple(data["channels"]),
            mentions=tuple(data.get("mentions") or ()),
        ),
    )
