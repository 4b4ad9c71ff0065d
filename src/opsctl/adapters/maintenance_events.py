"""What happened to maintenance, in the state store: events that are only ever added.

Windows, tasks and reviews are worked out of them. The hash of an event covers the hash of the
environment's event before it, so that nothing can be taken out or changed unseen.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from opsctl.adapters.chained_rows import ChainedRows, data_of
from opsctl.core.state_place import StatePlace

SCHEMA = (
    "CREATE TABLE IF NOT EXISTS maintenance_event (environment TEXT NOT NULL, "
    "seq BIGINT NOT NULL, event TEXT NOT NULL UNIQUE, about TEXT NOT NULL, kind TEXT NOT NULL, "
    "at_ms BIGINT NOT NULL, actor TEXT NOT NULL, data TEXT NOT NULL, hash TEXT NOT NULL, "
    "PRIMARY KEY (environment, seq))",
)
_COLUMNS = (
    "environment", "seq", "event", "about", "kind", "at_ms", "actor", "data", "hash",
)  # fmt: skip


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
        self._rows = ChainedRows(place, SCHEMA, table="maintenance_event", columns=_COLUMNS)

    def add(self, event: MaintenanceEvent) -> bool:
        """Keep one event; return whether it was not there yet."""
        text = json.dumps(dict(event.data), sort_keys=True)
        return self._rows.append(
            event.environment, event.event, event.about, event.kind, event.at_ms, event.actor, text
        )

    def events(self, environment: str) -> list[MaintenanceEvent]:
        """Return what happened in an environment, in order."""
        found = []
        for row, fits in self._rows.read("environment", environment):
            name, seq, event, about, kind, at_ms, actor, text = row
            data = data_of(text)
            whole = fits and data is not None
            found.append(
                MaintenanceEvent(
                    name, event, about, kind, int(at_ms), actor, data or {}, int(seq), whole
                )
            )
        return found
