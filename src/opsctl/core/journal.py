"""The journal's events, and the chain of hashes that ties each to all before it.

A row's hash is taken over the hash before it and over the row itself, every field with its
length before it, so that PostgreSQL can work it out as well as Python and no two rows read the
same. What was written before there was a chain is folded in all the same: the first hash covers
it, too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from opsctl.core.errors import Exit, OpsError
from opsctl.core.lease import Fence

KINDS = (
    "planned", "requested", "approved", "started", "done", "failed", "verified", "unknown",
    "resolved", "finished", "aborted",
)  # fmt: skip

GENESIS = "0" * 64
"""What stands for the hash before the first row."""


@dataclass(frozen=True)
class Event:
    """One line of the journal."""

    seq: int
    run: str
    step: str | None
    kind: str
    at: str
    """UTC, ISO 8601; of a team's journal by the server's clock."""
    actor: str
    data: Mapping[str, Any]
    user: str | None = None
    """The database user who wrote it, as the server knows him; None in a file."""


def read_data(text: str, what: str) -> dict[str, Any]:
    """Return what a row of the journal says, of its text.

    Raises OpsError `journal-damaged` (exit 3), naming `what`, for anything but a JSON object.
    """
    try:
        found = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        found = None
    if isinstance(found, dict):
        return found
    raise damaged(f"the data of {what} is no JSON object")


def damaged(why: str) -> OpsError:
    """Return the error for a journal that somebody wrote into, `journal-damaged` (exit 3)."""
    return OpsError(
        "The journal holds what opsctl does not write",
        why=why,
        hint="opsctl runs audit names the first row that was changed",
        code="journal-damaged",
        exit=Exit.UNKNOWN,
    )


@dataclass(frozen=True)
class Row:
    """One line of the journal as it is kept: its data as text, with the hash."""

    seq: int
    run: str
    step: str | None
    kind: str
    at: str
    actor: str
    data: str
    fence: int | None
    """Number of the lease that it was written under; None in a file."""
    user: str | None
    hash: str | None
    """None of a row that is older than the chain."""

    @property
    def event(self) -> Event:
        """What the row says. Raises OpsError `journal-damaged` (exit 3)."""
        return Event(
            self.seq, self.run, self.step, self.kind, self.at, self.actor,
            read_data(self.data, f"row {self.seq}"), self.user,
        )  # fmt: skip


class Journal(Protocol):
    """Where events are kept: an SQLite file, or a team's PostgreSQL."""

    def append(
        self,
        run: str,
        kind: str,
        *,
        step: str | None,
        actor: str,
        data: Mapping[str, Any],
        fence: Fence | None = None,
    ) -> None:
        """Write one event; it is on disk when this returns.

        With a `fence` it is written only while that lease is the environment's; otherwise
        OpsError `lease-lost` is raised.
        """

    def events(self, run: str | None = None) -> tuple[Event, ...]:
        """Return the events of one run, or of all, in order."""

    def runs(self) -> tuple[str, ...]:
        """Return the ids of all runs, oldest first."""

    def rows(self) -> tuple[Row, ...]:
        """Return every row as it is kept, in order."""

    def last_seq(self) -> int:
        """Return the number that was last given to a row, also where the row is gone."""

    def now(self) -> datetime:
        """Return the time by the clock that the events are stamped with."""

    def user(self) -> str | None:
        """Return the database user that writes here; None in a file."""

    def approvals_demanded(self, environment: str) -> int:
        """Return how many others approve a change, whatever the settings say; 0 in a file."""


@dataclass(frozen=True)
class Audit:
    """What became of a journal's chain."""

    rows: int
    unchained: int
    """Rows at the beginning that are older than the chain; its first hash covers them."""
    head: str
    """The last row's hash: whoever notes it can prove later that nothing before was touched."""
    head_seq: int
    broken_seq: int | None = None
    """The first row that does not fit."""
    why: str = ""


def row_hash(previous: str, row: Row) -> str:
    """Return the hash of a row that follows one with the hash `previous`."""
    fields = (
        previous, str(row.seq), row.run, row.step, row.kind, row.at, row.actor, row.data,
        None if row.fence is None else str(row.fence), row.user,
    )  # fmt: skip
    return hashlib.sha256(b"".join(map(_with_length, fields))).hexdigest()


def _with_length(field: str | None) -> bytes:
    if field is None:
        return b"-,"
    text = field.encode()
    return b"%d:%s," % (len(text), text)


def chain_end(rows: Iterable[Row]) -> str:
    """Return the hash that the next row follows: the last one's, or of unchained rows the fold."""
    end = GENESIS
    for row in rows:
        end = row.hash if row.hash is not None else row_hash(end, row)
    return end


def audit(rows: Iterable[Row], *, last_seq: int, noted: Mapping[int, str] | None = None) -> Audit:
    """Follow the chain and say where it breaks first.

    `last_seq` is the number given out last: rows missing at the end have no successor that
    would show it. `noted` are hashes by row that somebody kept from an earlier audit.
    """
    noted = dict(noted or {})
    end, seq, count, unchained, chained = GENESIS, 0, 0, 0, False

    def broken(at: int, why: str) -> Audit:
        return Audit(count, unchained, end, seq, at, why)

    for row in rows:
        if row.seq != seq + 1:
            return broken(seq + 1, f"rows {seq + 1} to {row.seq - 1} are missing")
        expected = row_hash(end, row)
        if row.hash is None and chained:
            return broken(row.seq, "it has no hash, and rows before it have one")
        if row.hash is not None and row.hash != expected:
            if unchained and not chained:
                why = f"it was changed, or one of the {unchained} rows before the chain was"
            else:
                why = "it was changed, or the row before it was replaced"
            return broken(row.seq, why)
        if noted.pop(row.seq, expected) != expected:
            return broken(row.seq, "its hash is not the one that was noted")
        chained = chained or row.hash is not None
        unchained += row.hash is None
        end, seq, count = expected, row.seq, count + 1
    if seq < last_seq:
        return broken(seq + 1, f"rows {seq + 1} to {last_seq} are missing at the end")
    if noted:
        return broken(min(noted), "it was noted, and is not there")
    return Audit(count, unchained, end, seq)
