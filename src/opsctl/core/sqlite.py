"""How a state file of SQLite is written: through a WAL, on disk before the answer."""

from __future__ import annotations

import sqlite3
import time

BUSY_TIMEOUT_S = 10.0
_PAUSE_S = 0.01


def write_ahead(connection: sqlite3.Connection) -> None:
    """Let a connection write ahead, each commit flushed; waits for others who open the file.

    Raises sqlite3.OperationalError where they are not done after `BUSY_TIMEOUT_S`.
    """
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            break
        except sqlite3.OperationalError as error:
            # Of those who open a new file at once one sets the mode, and SQLite turns the others
            # away without waiting for its own time-out (4 writers: in 9 of 400 tries).
            if error.sqlite_errorname != "SQLITE_BUSY" or time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE_S)
    connection.execute("PRAGMA synchronous = FULL")
