"""Where alerts stand, kept from one watch to the next: nobody is told twice, nor never."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from opsctl.adapters.state import StateConnection, open_state
from opsctl.core.state_place import StatePlace

SCHEMA = (
    "CREATE TABLE IF NOT EXISTS alert_state (environment TEXT NOT NULL, name TEXT NOT NULL, "
    "rule TEXT NOT NULL, state TEXT NOT NULL, PRIMARY KEY (environment, name, rule))",
)
_PUT = (
    "INSERT INTO alert_state (environment, name, rule, state) VALUES (?, ?, ?, ?) "
    "ON CONFLICT (environment, name, rule) DO UPDATE SET state = excluded.state"
)
AlertKey = tuple[str, str]
"""A check's name and a rule's."""


class AlertStates:
    """The alerts of every environment, in what the settings call `state`."""

    def __init__(self, place: StatePlace) -> None:
        self._state = open_state(place, SCHEMA)

    def load(self, environment: str) -> dict[AlertKey, Any]:
        """Return what was kept of each, JSON data."""
        query = "SELECT name, rule, state FROM alert_state WHERE environment = ?"

        def look(connection: StateConnection) -> dict[AlertKey, Any]:
            found = connection.execute(query, (environment,))
            return {(name, rule): json.loads(text) for name, rule, text in found}

        nothing: dict[AlertKey, Any] = {}
        return self._state.read(look, empty=nothing)

    def save(self, environment: str, states: Mapping[AlertKey, Any]) -> None:
        """Keep some, in the place of what was kept of them."""
        rows = [(environment, *key, json.dumps(data)) for key, data in states.items()]
        with self._state.write() as connection:
            connection.executemany(_PUT, rows)
