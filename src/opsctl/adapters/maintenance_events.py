"""What happened to maintenance, in the state store: events that are only ever added.

Windows, tasks and reviews are worked out of them. The hash of an event covers the hash of the
environment's event before it, so that nothing can be taken out or changed unseen.
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
    "CREATE TABLE IF NOT EXISTS maintenance_event (environment TEXT NOT NULL, "
    "seq BIGINT NOT NULL, event TEXT NOT NULL UNIQUE, about TEXT NOT NULL, kind TEXT NOT NULL, "
    "at_ms BIGINT NOT NULL, actor TEXT NOT NULL, data TEXT NOT NULL, hash TEXT NOT NULL, "
    "PRIMARY KEY (environment, seq))",
)
_COLUMNS = "environment, seq, event, about, kind, at_ms, actor, data, hash"
_ALL = f"SELECT {_COLUMNS} FROM maintenance_event WHERE environment = ? ORDER BY seq"
_KNOWN = "SELECT 1 FROM maintenance_event WHERE event = ?"
_LAST = "SELECT seq, hash FROM maintenance_event WHERE environment = ? ORDER BY seq DESC LIMIT 1"
_INSERT = f"INSERT INTO maintenance_event ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_GENESIS = "0" * 64


@dataclass(frozen=True)
class MaintenanceEvent:
    """One thing that happened, as opsctl was told."""

    environment: str
    event: str
    """Its own id, unique; an event that is written twice is kept once."""
    about: str
    """The id of the window, or the name of the review."""
    kind: str
    at_ms: int
    """Since the epoch, UTC."""
    actor: str
    data: Mapping[str, Any] = field(default_factory=dict)
    seq: int = 0
    """Its place, from 1; given when it is kept."""
    fits: bool = True
    """Whether its hash fits itself and the events before it."""

    @property
    def at(self) -> float:
        """When it was, in epoch seconds."""
        return self.at_ms / 1000


class MaintenanceStore:
    """What happened in every environment, in what the settings call `state`."""

    def __init__(self, place: StatePlace) -> None:
        self._state = open_state(place, SCHEMA)

    def add(self, event: MaintenanceEvent) -> bool:
        """Keep one event; return whether it was not there yet."""
        text = json.dumps(dict(event.data), sort_keys=True)
        with self._state.write() as connection:
            if connection.execute(_KNOWN, (event.event,)).fetchone():
                return False
            last = connection.execute(_LAST, (event.environment,)).fetchone()
            seq, before = (int(last[0]) + 1, str(last[1])) if last else (1, _GENESIS)
            row = (
                event.environment, seq, event.event, event.about, event.kind, event.at_ms,
                event.actor, text,
            )  # fmt: skip
            connection.execute(_INSERT, (*row, _hash(before, row)))
        return True

    def events(self, environment: str) -> list[MaintenanceEvent]:
        """Return what happened in an environment, in order."""
        nothing: list[tuple[Any, ...]] = []

        def look(connection: StateConnection) -> list[tuple[Any, ...]]:
            return list(connection.execute(_ALL, (environment,)).fetchall())

        found = []
        before = _GENESIS
        for *row, hash_ in self._state.read(look, empty=nothing):
            name, seq, event, about, kind, at_ms, actor, text = row
            fits = _hash(before, tuple(row)) == hash_
            before = hash_
            found.append(
                MaintenanceEvent(
                    name, event, about, kind, int(at_ms), actor, json.loads(text), int(seq), fits
                )
            )
        return found


def _hash(before: str, row: tuple[Any, ...]) -> str:
    return hashlib.sha256(json.dumps([before, *row]).encode()).hexdigest()
