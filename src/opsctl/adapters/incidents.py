"""Incidents in the state store: events that are only ever added, each tied to the one before.

What an incident is at any moment is worked out of its events. The hash of an event covers the
hash before it, so that nothing can be taken out or changed unseen.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from opsctl.adapters.state import StateConnection, open_state
from opsctl.core.state_place import StatePlace

SCHEMA = (
    "CREATE TABLE IF NOT EXISTS incident_event (incident TEXT NOT NULL, seq BIGINT NOT NULL, "
    "event TEXT NOT NULL UNIQUE, environment TEXT NOT NULL, kind TEXT NOT NULL, "
    "at_ms BIGINT NOT NULL, actor TEXT NOT NULL, data TEXT NOT NULL, hash TEXT NOT NULL, "
    "PRIMARY KEY (incident, seq))",
)
_COLUMNS = "incident, seq, event, environment, kind, at_ms, actor, data, hash"
_ALL = f"SELECT {_COLUMNS} FROM incident_event WHERE environment = ? ORDER BY incident, seq"
_ONE = f"SELECT {_COLUMNS} FROM incident_event WHERE incident = ? ORDER BY seq"
_KNOWN = "SELECT 1 FROM incident_event WHERE event = ?"
_LAST = "SELECT seq, hash FROM incident_event WHERE incident = ? ORDER BY seq DESC LIMIT 1"
_INSERT = f"INSERT INTO incident_event ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_GENESIS = "0" * 64


@dataclass(frozen=True)
class IncidentEvent:
    """One thing that happened to an incident, as opsctl was told."""

    incident: str
    event: str
    """Its own id, unique; an event that is written twice is kept once."""
    environment: str
    kind: str
    at_ms: int
    """Since the epoch, UTC."""
    actor: str
    data: Mapping[str, Any] = field(default_factory=dict)
    seq: int = 0
    """Its place within the incident, from 1; given when it is kept."""
    fits: bool = True
    """Whether its hash fits itself and the events before it."""

    @property
    def at(self) -> float:
        """When it was, in epoch seconds."""
        return self.at_ms / 1000

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON data, for `event_from_json`."""
        return {
            "incident": self.incident, "event": self.event, "environment": self.environment,
            "kind": self.kind, "at_ms": self.at_ms, "actor": self.actor, "data": dict(self.data),
        }  # fmt: skip


def event_from_json(data: Mapping[str, Any]) -> IncidentEvent:
    """Return the event that `to_json` wrote; raises KeyError, TypeError or ValueError."""
    return IncidentEvent(**{**data, "at_ms": int(data["at_ms"]), "data": dict(data["data"])})


class IncidentStore:
    """The incidents of every environment, in what the settings call `state`."""

    def __init__(self, place: StatePlace) -> None:
        self._state = open_state(place, SCHEMA)

    def add(self, event: IncidentEvent) -> bool:
        """Keep one event; return whether it was not there yet."""
        text = json.dumps(dict(event.data), sort_keys=True)
        with self._state.write() as connection:
            if connection.execute(_KNOWN, (event.event,)).fetchone():
                return False
            last = connection.execute(_LAST, (event.incident,)).fetchone()
            seq, before = (int(last[0]) + 1, str(last[1])) if last else (1, _GENESIS)
            row = (
                event.incident, seq, event.event, event.environment, event.kind, event.at_ms,
                event.actor, text,
            )  # fmt: skip
            connection.execute(_INSERT, (*row, _hash(before, row)))
        return True

    def events(self, environment: str) -> dict[str, list[IncidentEvent]]:
        """Return the events of each incident of an environment, in order."""
        return self._read(_ALL, environment)

    def of(self, incident: str) -> list[IncidentEvent]:
        """Return the events of one incident, in order."""
        return self._read(_ONE, incident).get(incident, [])

    def _read(self, sql: str, key: str) -> dict[str, list[IncidentEvent]]:
        nothing: list[tuple[Any, ...]] = []

        def look(connection: StateConnection) -> list[tuple[Any, ...]]:
            return list(connection.execute(sql, (key,)).fetchall())

        found: dict[str, list[IncidentEvent]] = {}
        before: dict[str, str] = {}
        for *row, hash_ in self._state.read(look, empty=nothing):
            incident, seq, event, environment, kind, at_ms, actor, text = row
            fits = _hash(before.get(incident, _GENESIS), tuple(row)) == hash_
            before[incident] = hash_
            found.setdefault(incident, []).append(
                IncidentEvent(
                    incident,
                    event,
                    environment,
                    kind,
                    int(at_ms),
                    actor,
                    json.loads(text),
                    int(seq),
                    fits,
                )
            )
        return found


def _hash(before: str, row: tuple[Any, ...]) -> str:
    return hashlib.sha256(json.dumps([before, *row]).encode()).hexdigest()
