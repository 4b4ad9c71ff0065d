"""Rows of the state that are only ever added, each tied by a hash to the one before.

A table of them begins with what names the chain, `seq` (from 1) and `event` (unique), and ends
with `hash`, which covers the hash before and the whole row: nothing is taken out or changed unseen.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from opsctl.adapters.state import StateConnection, open_state
from opsctl.core.state_place import StatePlace

_GENESIS = "0" * 64
Row = tuple[Any, ...]


class ChainedRows:
    """One such table. `columns` are its own, in order, from the chain's name to `hash`."""

    def __init__(
        self, place: StatePlace, schema: tuple[str, ...], *, table: str, columns: Sequence[str]
    ) -> None:
        self._state = open_state(place, schema)
        chain, names, marks = columns[0], ", ".join(columns), ", ".join("?" * len(columns))
        self._select = f"SELECT {names} FROM {table} WHERE "
        self._order = f" ORDER BY {chain}, seq"
        self._known = f"SELECT 1 FROM {table} WHERE event = ?"
        self._last = f"SELECT seq, hash FROM {table} WHERE {chain} = ? ORDER BY seq DESC LIMIT 1"
        self._insert = f"INSERT INTO {table} ({names}) VALUES ({marks})"

    def append(self, chain: str, event: str, *rest: Any) -> bool:
        """Add one row to a chain; return False where the event is there already."""
        with self._state.write() as connection:
            if connection.execute(self._known, (event,)).fetchone():
                return False
            last = connection.execute(self._last, (chain,)).fetchone()
            seq, before = (int(last[0]) + 1, str(last[1])) if last else (1, _GENESIS)
            row = (chain, seq, event, *rest)
            connection.execute(self._insert, (*row, _hash(before, row)))
        return True

    def read(self, column: str, value: str) -> list[tuple[Row, bool]]:
        """Return the rows with this value, chain by chain in order, and whether each fits.

        A row fits where its hash is that of itself and the row before it.
        """
        nothing: list[Row] = []

        def look(connection: StateConnection) -> list[Row]:
            query = f"{self._select}{column} = ?{self._order}"
            return list(connection.execute(query, (value,)).fetchall())

        found = []
        before: dict[str, str] = {}
        for *row, hash_ in self._state.read(look, empty=nothing):
            fits = _hash(before.get(row[0], _GENESIS), tuple(row)) == hash_
            before[row[0]] = hash_
            found.append((tuple(row), fits))
        return found


def data_of(text: str) -> dict[str, Any] | None:
    """Return the JSON object that a row keeps as text; None where somebody left something else."""
    try:
        found = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _hash(before: str, row: Row) -> str:
    return hashlib.sha256(json.dumps([before, *row]).encode()).hexdigest()
