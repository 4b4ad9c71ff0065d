"""Incidents in the state store: events that are only ever added, each tied to the one before.

What an incident is at any moment is worked out of its events. The hash of an event covers the
hash before it, so that nothing can be taken out or changed unseen.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from opsctl.adapters.chained_rows import ChainedRows, data_of
from opsctl.core.state_place import StatePlace

SCHEMA = (
    "CREATE TABLE IF NOT EXISTS incident_event (incident TEXT NOT NULL, seq BIGINT NOT NULL, "
    "event TEXT NOT NULL UNIQUE, environment TEXT NOT NULL, kind TEXT NOT NULL, "
    "at_ms BIGINT NOT NULL, actor TEXT NOT NULL, data TEXT NOT NULL, hash TEXT NOT NULL, "
    "PRIMARY KEY (incident, seq))",
)
_COLUMNS = (
    "incident", "seq", "event", "environment", "kind", "at_ms", "actor", "data", "hash",
)  # fmt: skip


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
        self._rows = ChainedRows(place, SCHEMA, table="incident_event", columns=_COLUMNS)

    def add(self, event: IncidentEvent) -> bool:
        """Keep one event; return whether it was not there yet."""
        text = json.dumps(dict(event.data), sort_keys=True)
        return self._rows.append(
            event.incident, event.event, event.environment, event.kind, event.at_ms, event.actor,
            text,
        )  # fmt: skip

    def events(self, environment: str) -> dict[str, list[IncidentEvent]]:
        """Return the events of each incident of an environment, in order."""
        return self._read("environment", environment)

    def of(self, incident: str) -> list[IncidentEvent]:
        """Return the events of one incident, in order."""
        return self._read("incident", incident).get(incident, [])

    def _read(self, column: str, value: str) -> dict[str, list[IncidentEvent]]:
        found: dict[str, list[IncidentEvent]] = {}
        for row, fits in self._rows.read(column, value):
            incident, seq, event, environment, kind, at_ms, actor, text = row
            data = data_of(text)
            found.setdefault(incident, []).append(
                IncidentEvent(incident, event, environment, kind, int(at_ms), actor,
                              data or {}, int(seq), fits and data is not None)
            )  # fmt: skip
        return found
