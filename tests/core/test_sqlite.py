"""Many may open a new state file at once: each waits its turn, and none is turned away."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

from opsctl.core.sqlite import write_ahead

WRITERS = 4


def test_those_who_open_a_new_file_at_once_all_get_in(tmp_path: Path) -> None:
    """Without the waiting, one of about forty tries fails: so it is tried often."""
    errors: list[str] = []

    def open_it(path: Path, together: threading.Barrier) -> None:
        together.wait()
        try:
            with closing(sqlite3.connect(path, timeout=10, isolation_level=None)) as connection:
                write_ahead(connection)
                connection.execute("CREATE TABLE IF NOT EXISTS t (a)")
                connection.execute("INSERT INTO t VALUES (1)")
        except sqlite3.Error as error:
            errors.append(str(error))

    for number in range(200):
        path = tmp_path / f"{number}.db"
        together = threading.Barrier(WRITERS)
        threads = [threading.Thread(target=open_it, args=(path, together)) for _ in range(WRITERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert [] == errors


def test_each_commit_is_flushed(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        write_ahead(connection)

        assert ("wal",) == connection.execute("PRAGMA journal_mode").fetchone()
        assert (2,) == connection.execute("PRAGMA synchronous").fetchone()  # FULL
