"""Reading the journal has no effect, also beside a run that is under way."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from opsctl.core.errors import OpsError
from opsctl.engine.store import SqliteJournal

READER = """
import sys
from pathlib import Path
from opsctl.engine.store import SqliteJournal
print(len(SqliteJournal(Path(sys.argv[1])).events()))
"""


def tree(folder: Path) -> dict[str, str]:
    """Return every file with its hash; the shared-memory index is SQLite's own lock table."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith("-shm")
    }


def read(path: Path) -> int:
    done = subprocess.run(
        [sys.executable, "-c", READER, str(path)], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


def test_reading_beside_a_live_writer_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "state" / "state.db"
    journal = SqliteJournal(path)
    for number in range(5):
        journal.append("r", "started", step=str(number), actor="a", data={})
    before = tree(tmp_path)

    counts = [read(path) for _ in range(3)]

    assert counts == [5, 5, 5]
    assert before == tree(tmp_path)
    journal.append("r", "finished", step=None, actor="a", data={})
    assert read(path) == 6
    journal.close()


def test_reading_after_the_writer_went_makes_no_file(tmp_path: Path) -> None:
    path = tmp_path / "state" / "state.db"
    journal = SqliteJournal(path)
    journal.append("r", "planned", step=None, actor="a", data={"x": [1]})
    journal.close()
    before = sorted(each.name for each in path.parent.iterdir())

    assert read(path) == 1

    assert before == sorted(each.name for each in path.parent.iterdir()) == ["state.db"]
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_reading_what_is_not_there_makes_nothing(tmp_path: Path) -> None:
    assert SqliteJournal(tmp_path / "state" / "state.db").events() == ()
    assert list(tmp_path.iterdir()) == []


def test_events_can_be_neither_changed_nor_removed(tmp_path: Path) -> None:
    import sqlite3
    from contextlib import closing

    path = tmp_path / "state.db"
    journal = SqliteJournal(path)
    journal.append("r", "planned", step=None, actor="a", data={})
    journal.close()
    with closing(sqlite3.connect(path)) as connection:
        for statement in ("UPDATE event SET actor = 'b'", "DELETE FROM event"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                connection.execute(statement)


@pytest.mark.parametrize("content", [b"not a database, at all, by any means " * 50, b"SQLite f"])
def test_a_damaged_journal_is_one_clear_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(content)

    for act in (
        lambda: SqliteJournal(path).events(),
        lambda: SqliteJournal(path).append("r", "planned", step=None, actor="a", data={}),
    ):
        with pytest.raises(OpsError) as caught:
            act()
        assert (caught.value.code, int(caught.value.exit)) == ("journal-unusable", 3)
    assert path.read_bytes() == content


def test_a_newer_journal_is_refused(tmp_path: Path) -> None:
    import sqlite3
    from contextlib import closing

    path = tmp_path / "state.db"
    journal = SqliteJournal(path)
    journal.append("r", "planned", step=None, actor="a", data={})
    journal.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("INSERT INTO opsctl_schema VALUES (99)")
        connection.commit()

    with pytest.raises(OpsError) as caught:
        SqliteJournal(path).events()

    assert caught.value.code == "journal-too-new"


def test_a_full_disk_stops_before_anything_is_done(tmp_path: Path) -> None:
    path = Path("/dev/full")
    if not path.exists():
        pytest.skip("this system has no /dev/full")

    with pytest.raises(OpsError) as caught:
        SqliteJournal(path).append("r", "planned", step=None, actor="a", data={})

    assert caught.value.code == "journal-unusable"
