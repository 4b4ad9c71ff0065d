"""The state file that journal, history and windows share: SQLite, opened to read or to write.

Statements are written in the SQL that PostgreSQL knows, too. Reading makes nothing: no file, no
directory, no lock.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

from opsctl.core.errors import Exit, OpsError
from opsctl.core.sqlite import BUSY_TIMEOUT_S, write_ahead

T = TypeVar("T")

_READ_ATTEMPTS = 10


class StateFile:
    """One file; what is kept in it is up to whoever asks. Raises OpsError `state-unusable`."""

    def __init__(self, path: Path, schema: tuple[str, ...]) -> None:
        self._path = path
        self._schema = schema
        """Statements that make the tables where they are not."""

    def read(self, look: Callable[[sqlite3.Connection], T], *, empty: T) -> T:
        """Return what `look` finds, or `empty` where there is no file or not these tables."""
        for attempt in range(_READ_ATTEMPTS):
            if not self._path.exists():
                return empty
            before = _stamp(self._path)
            try:
                with closing(self._open_to_read()) as connection:
                    found = look(connection)
            except sqlite3.Error as error:
                if _is_missing_table(error):
                    return empty
                if attempt + 1 == _READ_ATTEMPTS or before == _stamp(self._path):
                    raise self._unusable(error) from None
                continue
            if before == _stamp(self._path):
                break
        return found

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Within it one transaction, committed at its end and rolled back on any error."""
        try:
            connection = self._open_to_write()
        except (OSError, sqlite3.Error) as error:
            raise self._unusable(error) from None
        with closing(connection):
            try:
                connection.execute("BEGIN IMMEDIATE")
                for statement in self._schema:
                    connection.execute(statement)
                yield connection
                connection.execute("COMMIT")
            except sqlite3.Error as error:
                raise self._unusable(error) from None

    def _open_to_write(self) -> sqlite3.Connection:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self._path.exists():
            os.close(os.open(self._path, os.O_CREAT | os.O_WRONLY, 0o600))
        connection = sqlite3.connect(self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        try:
            write_ahead(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _open_to_read(self) -> sqlite3.Connection:
        # Without a writer there is no WAL, and opening in mode=ro would make one: `immutable`
        # reads the file alone. Should a writer come meanwhile, the stamp changes.
        mode = "mode=ro" if _wal(self._path).exists() else "mode=ro&immutable=1"
        uri = f"{self._path.resolve().as_uri()}?{mode}"
        return sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None)

    def _unusable(self, error: Exception) -> OpsError:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return OpsError(
            f"The state file {self._path} could not be used",
            why=why,
            hint="is its disk full, is it damaged, or is it not yours to use?",
            code="state-unusable",
            exit=Exit.UNKNOWN,
        )


def _is_missing_table(error: sqlite3.Error) -> bool:
    """Whether the tables are not made yet; SQLite has no code of its own for that."""
    return isinstance(error, sqlite3.OperationalError) and str(error).startswith("no such table")


def _wal(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def _stamp(path: Path) -> tuple[int, int, bool]:
    """Return what changes when a writer comes or goes between two reads without a WAL."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return 0, 0, False
    # With a WAL the reader has a snapshot of its own, and others may write as they like.
    if _wal(path).exists():
        return 0, 0, True
    return stat.st_mtime_ns, stat.st_size, False
