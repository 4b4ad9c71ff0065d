"""The journal: append-only events, each on disk before what it announces happens.

The SQL is PostgreSQL's as well as SQLite's; what is SQLite's alone is in `_open`. Durability is
WAL with synchronous=FULL: with NORMAL no intent was on disk before its effect.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from opsctl.core.errors import Exit, OpsError
from opsctl.core.sqlite import BUSY_TIMEOUT_S, write_ahead

KINDS = (
    "planned", "approved", "started", "done", "failed", "verified", "unknown", "resolved",
    "finished", "aborted",
)  # fmt: skip

_SCHEMA_VERSION = 1
_READ_ATTEMPTS = 10


@dataclass(frozen=True)
class Event:
    """One line of the journal."""

    seq: int
    run: str
    step: str | None
    kind: str
    at: str
    """UTC, ISO 8601."""
    actor: str
    data: Mapping[str, Any]


class Journal(Protocol):
    """Where events are kept: an SQLite file, or a team's PostgreSQL."""

    def append(
        self, run: str, kind: str, *, step: str | None, actor: str, data: Mapping[str, Any]
    ) -> None:
        """Write one event; it is on disk when this returns."""

    def events(self, run: str | None = None) -> tuple[Event, ...]:
        """Return the events of one run, or of all, in order."""


class SqliteJournal:
    """A journal in one file. Reading makes nothing: no file, no directory, no lock."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writing: sqlite3.Connection | None = None

    def close(self) -> None:
        """Close the file; what was written is on disk already."""
        if self._writing is not None:
            self._writing.close()
            self._writing = None

    def append(
        self, run: str, kind: str, *, step: str | None, actor: str, data: Mapping[str, Any]
    ) -> None:
        """Write one event; it is on disk when this returns. Raises OpsError `journal-...`."""
        if kind not in KINDS:
            raise ValueError(f"unknown kind of event: {kind}")
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        text = json.dumps(data, sort_keys=True)
        try:
            if self._writing is None:
                self._writing = self._open()
            self._writing.execute("BEGIN IMMEDIATE")
            try:
                self._writing.execute(
                    "INSERT INTO event (run, step, kind, at, actor, data) "
                    "VALUES (?, ?, ?, ?, ?, ?)",
                    (run, step, kind, at, actor, text),
                )
                self._writing.execute("COMMIT")
            except BaseException:
                self.close()  # rolls back
                raise
        except sqlite3.Error as error:
            raise _journal_error(self._path, error) from None

    def events(self, run: str | None = None) -> tuple[Event, ...]:
        """Return the events of one run, or of all, in order. Raises OpsError `journal-...`."""
        if not self._path.exists():
            return ()
        for attempt in range(_READ_ATTEMPTS):
            before = _stamp(self._path)
            try:
                rows = self._read(run)
            except sqlite3.Error as error:
                if attempt + 1 == _READ_ATTEMPTS or before == _stamp(self._path):
                    raise _journal_error(self._path, error) from None
                continue
            if before == _stamp(self._path):
                break
        return tuple(
            Event(seq, run_, step, kind, at, actor, json.loads(data))
            for seq, run_, step, kind, at, actor, data in rows
        )

    def _read(self, run: str | None) -> list[Any]:
        with closing(self._open_to_read()) as connection:
            if not connection.execute(
                "SELECT 1 FROM sqlite_master WHERE name = 'event'"
            ).fetchone():
                return []
            _check_version(connection, self._path)
            where = "" if run is None else "WHERE run = ?"
            return connection.execute(
                f"SELECT seq, run, step, kind, at, actor, data FROM event {where} ORDER BY seq",
                () if run is None else (run,),
            ).fetchall()

    def _open(self) -> sqlite3.Connection:
        folder = self._path.parent
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self._path.exists():
                os.close(os.open(self._path, os.O_CREAT | os.O_WRONLY, 0o600))
        except OSError as error:
            raise _journal_error(self._path, error) from None
        connection = sqlite3.connect(self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        try:
            write_ahead(connection)
            _create(connection)
            _check_version(connection, self._path)
        except BaseException:
            connection.close()
            raise
        return connection

    def _open_to_read(self) -> sqlite3.Connection:
        uri = self._path.resolve().as_uri()
        # A journal whose last writer has gone has no WAL beside it, and opening it in mode=ro
        # would make one: `immutable` reads the file alone. Should a writer come meanwhile, the
        # stamp changes and it is read again.
        wal = self._path.with_name(self._path.name + "-wal")
        mode = "mode=ro" if wal.exists() else "mode=ro&immutable=1"
        return sqlite3.connect(
            f"{uri}?{mode}", uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None
        )


def _stamp(path: Path) -> tuple[int, int, bool]:
    """Return what changes when a writer comes or goes between two reads without a WAL."""
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_size, path.with_name(path.name + "-wal").exists()


def _create(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    for statement in _DDL:
        connection.execute(statement)
    connection.execute("COMMIT")


def _check_version(connection: sqlite3.Connection, path: Path) -> None:
    row = connection.execute("SELECT max(version) FROM opsctl_schema").fetchone()
    if row and row[0] is not None and row[0] > _SCHEMA_VERSION:
        raise OpsError(
            "The journal was written by a newer opsctl",
            why=f"{path} has version {row[0]}; this opsctl knows {_SCHEMA_VERSION}",
            hint="upgrade opsctl here, too",
            code="journal-too-new",
            exit=Exit.UNKNOWN,
        )


def _journal_error(path: Path, error: Exception) -> OpsError:
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return OpsError(
        f"The journal {path} could not be used",
        why=why,
        hint="is its disk full, or is it not yours to write? Nothing is changed without a journal",
        code="journal-unusable",
        exit=Exit.UNKNOWN,
    )


_DDL = (
    "CREATE TABLE IF NOT EXISTS opsctl_schema (version INTEGER NOT NULL)",
    f"INSERT INTO opsctl_schema SELECT {_SCHEMA_VERSION} "
    "WHERE NOT EXISTS (SELECT 1 FROM opsctl_schema)",
    "CREATE TABLE IF NOT EXISTS event (seq INTEGER PRIMARY KEY AUTOINCREMENT, run TEXT NOT NULL, "
    "step TEXT, kind TEXT NOT NULL, at TEXT NOT NULL, actor TEXT NOT NULL, data TEXT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS event_run ON event (run, seq)",
    "CREATE TRIGGER IF NOT EXISTS event_no_update BEFORE UPDATE ON event "
    "BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END",
    "CREATE TRIGGER IF NOT EXISTS event_no_delete BEFORE DELETE ON event "
    "BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END",
)
