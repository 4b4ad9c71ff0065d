"""The journal: append-only events, each on disk before what it announces happens.

The SQL is PostgreSQL's as well as SQLite's; what is SQLite's alone is in `_open`. Durability is
WAL with synchronous=FULL: with NORMAL no intent was on disk before its effect.
"""

from __future__ import annotations

import json
import os
import sqlite3
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from opsctl.core.errors import Exit, OpsError
from opsctl.core.journal import KINDS, Event, Row, chain_end, row_hash
from opsctl.core.lease import Fence
from opsctl.core.sqlite import BUSY_TIMEOUT_S, write_ahead

T = TypeVar("T")

_SCHEMA_VERSION = 2
"""2 brought the chain of hashes."""
_READ_ATTEMPTS = 10


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

    def prepare(self) -> None:
        """Make the file and its tables, or bring older ones up to date."""
        try:
            self._open().close()
        except sqlite3.Error as error:
            raise _journal_error(self._path, error) from None

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
        """Write one event; it is on disk when this returns. Raises OpsError `journal-...`.

        A file's lock cannot be lost while its holder lives, so there is no fence to look at.
        """
        if kind not in KINDS:
            raise ValueError(f"unknown kind of event: {kind}")
        at = self.now().isoformat(timespec="milliseconds")
        text = json.dumps(data, sort_keys=True)
        try:
            if self._writing is None:
                self._writing = self._open()
                # Whoever is done with a journal need not say so: Python warns of what stays open.
                weakref.finalize(self, self._writing.close)
            self._writing.execute("BEGIN IMMEDIATE")
            try:
                seq, end = _end(self._writing)
                row = Row(seq, run, step, kind, at, actor, text, None, None, None)
                self._writing.execute(_INSERT, (*_values(row)[:-1], row_hash(end, row)))
                self._writing.execute("COMMIT")
            except BaseException:
                self.close()  # rolls back
                raise
        except sqlite3.Error as error:
            raise _journal_error(self._path, error) from None

    def events(self, run: str | None = None) -> tuple[Event, ...]:
        """Return the events of one run, or of all, in order. Raises OpsError `journal-...`."""
        return tuple(row.event for row in self._read(run))

    def runs(self) -> tuple[str, ...]:
        """Return the ids of all runs, oldest first. Raises OpsError `journal-...`."""
        return self._look(
            lambda connection: tuple(run for (run,) in connection.execute(_RUNS)), empty=()
        )

    def rows(self) -> tuple[Row, ...]:
        """Return every row as it is kept, in order. Raises OpsError `journal-...`."""
        return tuple(self._read(None))

    def last_seq(self) -> int:
        """Return the number that was last given to a row, also where the row is gone."""
        return self._look(_last_seq, empty=0)

    def now(self) -> datetime:
        """Return the time by this machine's clock."""
        return datetime.now(UTC)

    def user(self) -> str | None:
        """Return None: a file knows no users."""
        return None

    def approvals_demanded(self, environment: str) -> int:
        """Return 0: nobody else could approve what is in a file."""
        return 0

    def _read(self, run: str | None) -> list[Row]:
        nothing: list[Row] = []
        return self._look(lambda connection: list(_rows(connection, run)), empty=nothing)

    def _look(self, look: Callable[[sqlite3.Connection], T], *, empty: T) -> T:
        """Return what `look` finds, or `empty` where there is no journal yet."""
        if not self._path.exists():
            return empty
        for attempt in range(_READ_ATTEMPTS):
            before = _stamp(self._path)
            try:
                found = self._look_once(look, empty=empty)
            except sqlite3.Error as error:
                if attempt + 1 == _READ_ATTEMPTS or before == _stamp(self._path):
                    raise _journal_error(self._path, error) from None
                continue
            if before == _stamp(self._path):
                break
        return found

    def _look_once(self, look: Callable[[sqlite3.Connection], T], *, empty: T) -> T:
        with closing(self._open_to_read()) as connection:
            if not connection.execute(
                "SELECT 1 FROM sqlite_master WHERE name = 'event'"
            ).fetchone():
                return empty
            _check_version(connection, self._path)
            return look(connection)

    def _open(self) -> sqlite3.Connection:
        folder = self._path.parent
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self._path.exists():
                os.close(os.open(self._path, os.O_CREAT | os.O_WRONLY, 0o600))
        except OSError as error:
            raise _journal_error(self._path, error) from None
        connection = sqlite3.connect(
            self._path,
            timeout=BUSY_TIMEOUT_S,
            isolation_level=None,
            check_same_thread=False,  # it is used by one thread, and closed by whichever is there
        )
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
    if not _is_chained(connection):
        # Its rows stay as they are; the first hash that follows them covers them.
        for statement in _CHAIN:
            connection.execute(statement)
    connection.execute("COMMIT")


def _is_chained(connection: sqlite3.Connection) -> bool:
    columns = connection.execute("SELECT name FROM pragma_table_info('event')")
    return ("hash",) in columns.fetchall()


def _end(connection: sqlite3.Connection) -> tuple[int, str]:
    """Return the number of the next row and the hash that it follows."""
    seq = _last_seq(connection) + 1
    last = connection.execute("SELECT hash FROM event ORDER BY seq DESC LIMIT 1").fetchone()
    if last is not None and last[0] is not None:
        return seq, last[0]
    return seq, chain_end(_rows(connection, None))


def _last_seq(connection: sqlite3.Connection) -> int:
    # A row that was removed from the end leaves its number behind there.
    given = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'event'").fetchone()
    last = connection.execute("SELECT max(seq) FROM event").fetchone()
    return max(given[0] if given else 0, last[0] or 0)


def _rows(connection: sqlite3.Connection, run: str | None) -> Iterator[Row]:
    newer = ", fence, db_user, hash" if _is_chained(connection) else ", NULL, NULL, NULL"
    where = "" if run is None else "WHERE run = ?"
    found = connection.execute(
        f"SELECT seq, run, step, kind, at, actor, data{newer} FROM event {where} ORDER BY seq",
        () if run is None else (run,),
    )
    for values in found:
        yield Row(*values)


def _values(row: Row) -> tuple[Any, ...]:
    return (
        row.seq, row.run, row.step, row.kind, row.at, row.actor, row.data, row.fence, row.user,
        row.hash,
    )  # fmt: skip


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
    "INSERT INTO opsctl_schema SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM opsctl_schema)",
    "CREATE TABLE IF NOT EXISTS event (seq INTEGER PRIMARY KEY AUTOINCREMENT, run TEXT NOT NULL, "
    "step TEXT, kind TEXT NOT NULL, at TEXT NOT NULL, actor TEXT NOT NULL, data TEXT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS event_run ON event (run, seq)",
    "CREATE TRIGGER IF NOT EXISTS event_no_update BEFORE UPDATE ON event "
    "BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END",
    "CREATE TRIGGER IF NOT EXISTS event_no_delete BEFORE DELETE ON event "
    "BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END",
)
_CHAIN = (
    "ALTER TABLE event ADD COLUMN fence INTEGER",
    "ALTER TABLE event ADD COLUMN db_user TEXT",
    "ALTER TABLE event ADD COLUMN hash TEXT",
    f"INSERT INTO opsctl_schema VALUES ({_SCHEMA_VERSION})",
)
_INSERT = (
    "INSERT INTO event (seq, run, step, kind, at, actor, data, fence, db_user, hash) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_RUNS = "SELECT run FROM event GROUP BY run ORDER BY min(seq)"
