"""The journal is a chain: whatever is changed, added or taken away between is found, and named."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from opsctl.core.journal import Audit, audit
from opsctl.engine.store import SqliteJournal

OLD = (
    "CREATE TABLE opsctl_schema (version INTEGER NOT NULL)",
    "INSERT INTO opsctl_schema VALUES (1)",
    "CREATE TABLE event (seq INTEGER PRIMARY KEY AUTOINCREMENT, run TEXT NOT NULL, "
    "step TEXT, kind TEXT NOT NULL, at TEXT NOT NULL, actor TEXT NOT NULL, data TEXT NOT NULL)",
    "CREATE TRIGGER event_no_update BEFORE UPDATE ON event "
    "BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END",
    "CREATE TRIGGER event_no_delete BEFORE DELETE ON event "
    "BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END",
    *(
        f"INSERT INTO event (run, step, kind, at, actor, data) VALUES "
        f"('old', 's{number}', 'started', '2026-01-01T00:00:00.000+00:00', 'ann@laptop', '{{}}')"
        for number in range(3)
    ),
)


def write(path: Path, count: int) -> None:
    journal = SqliteJournal(path)
    for number in range(count):
        journal.append("r", "started", step=str(number), actor="ann@laptop", data={"n": number})
    journal.close()


def forge(path: Path, *statements: str) -> None:
    """Do what somebody does who owns the file: take the guards away and write."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TRIGGER event_no_update")
        connection.execute("DROP TRIGGER event_no_delete")
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def audit_of(path: Path, noted: dict[int, str] | None = None) -> Audit:
    journal = SqliteJournal(path)
    return audit(journal.rows(), last_seq=journal.last_seq(), noted=noted)


def test_an_untouched_journal_is_whole_and_names_its_head(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    write(path, 5)

    found = audit_of(path)

    assert (found.rows, found.unchained, found.broken_seq) == (5, 0, None)
    assert found.head == SqliteJournal(path).rows()[-1].hash
    assert len({row.hash for row in SqliteJournal(path).rows()}) == 5


def test_a_journal_that_is_not_there_is_whole(tmp_path: Path) -> None:
    assert audit_of(tmp_path / "state.db").broken_seq is None


FORGERIES: dict[str, tuple[int, str]] = {
    "actor": (3, "UPDATE event SET actor = 'bob@laptop' WHERE seq = 3"),
    "run": (1, "UPDATE event SET run = 'other' WHERE seq = 1"),
    "step gone": (2, "UPDATE event SET step = NULL WHERE seq = 2"),
    "kind": (5, "UPDATE event SET kind = 'done' WHERE seq = 5"),
    "time": (4, "UPDATE event SET at = '2020-01-01T00:00:00.000+00:00' WHERE seq = 4"),
    "data": (2, "UPDATE event SET data = '{\"n\": 9}' WHERE seq = 2"),
    "fence": (2, "UPDATE event SET fence = 7 WHERE seq = 2"),
    "user": (2, "UPDATE event SET db_user = 'x' WHERE seq = 2"),
    "hash": (3, "UPDATE event SET hash = 'f' WHERE seq = 3"),
    "hash gone": (3, "UPDATE event SET hash = NULL WHERE seq = 3"),
    "first gone": (1, "DELETE FROM event WHERE seq = 1"),
    "middle gone": (3, "DELETE FROM event WHERE seq = 3"),
    "last gone": (5, "DELETE FROM event WHERE seq = 5"),
    "all gone": (1, "DELETE FROM event"),
    "one more": (
        6,
        "INSERT INTO event (run, kind, at, actor, data, hash) VALUES ('r', 'done', '', '', '{}', "
        "(SELECT hash FROM event WHERE seq = 5))",
    ),
    "moved": (2, "UPDATE event SET seq = CASE seq WHEN 2 THEN 30 ELSE seq END"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forgery_is_found_at_its_row(tmp_path: Path, name: str) -> None:
    path = tmp_path / "state.db"
    write(path, 5)
    seq, statement = FORGERIES[name]
    forge(path, statement)

    found = audit_of(path)

    assert (found.broken_seq, bool(found.why)) == (seq, True)


def test_a_row_taken_from_the_end_stays_missed_when_more_are_written(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    write(path, 3)
    forge(path, "DELETE FROM event WHERE seq = 3")
    write(path, 2)

    found = audit_of(path)

    assert (found.broken_seq, found.why) == (3, "rows 3 to 3 are missing")


def test_a_chain_made_anew_is_found_by_a_hash_that_was_noted(tmp_path: Path) -> None:
    path, forged = tmp_path / "state.db", tmp_path / "forged.db"
    write(path, 5)
    noted = {5: audit_of(path).head}
    write(forged, 5)

    assert audit_of(path, noted).broken_seq is None
    assert audit_of(forged).broken_seq is None
    assert audit_of(forged, noted).broken_seq == 5
    assert audit_of(forged, {9: "0" * 64}).broken_seq == 9


def old_file(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for statement in OLD:
            connection.execute(statement)
        connection.commit()


def test_an_older_file_is_read_as_it_is_and_chained_from_the_next_row_on(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    old_file(path)
    before = path.read_bytes()
    first = audit_of(path)

    assert (first.rows, first.unchained, first.broken_seq) == (3, 3, None)
    assert path.read_bytes() == before
    write(path, 2)
    rows = SqliteJournal(path).rows()
    assert [row.hash is None for row in rows] == [True, True, True, False, False]
    assert [row.run for row in rows] == ["old", "old", "old", "r", "r"]
    after = audit_of(path)
    assert (after.rows, after.unchained, after.broken_seq) == (5, 3, None)


@pytest.mark.parametrize(
    "statement",
    ["UPDATE event SET actor = 'bob' WHERE seq = 2", "UPDATE event SET data = '[]' WHERE seq = 1"],
)
def test_a_forged_row_from_before_the_chain_is_found_too(tmp_path: Path, statement: str) -> None:
    path = tmp_path / "state.db"
    old_file(path)
    write(path, 1)
    forge(path, statement)

    found = audit_of(path)

    assert found.broken_seq == 4
    assert "3 rows before the chain" in found.why


@pytest.mark.parametrize("fresh", [True, False])
def test_writers_at_once_make_one_chain(
    tmp_path: Path, fresh: bool, run_python: Callable[..., None]
) -> None:
    path = tmp_path / "state.db"
    if not fresh:
        old_file(path)
    code = (
        "import sys; from pathlib import Path; from opsctl.engine.store import SqliteJournal\n"
        "journal = SqliteJournal(Path(sys.argv[1]))\n"
        "for n in range(25): journal.append('r', 'started', step=str(n), actor='a', data={})"
    )

    run_python(4, code, str(path))

    found = audit_of(path)
    assert (found.rows, found.broken_seq) == (100 if fresh else 103, None)


@pytest.fixture
def run_python() -> Callable[..., None]:
    """Run the same program in several processes at once."""
    import subprocess
    import sys

    def run(count: int, code: str, *words: str) -> None:
        argv = [sys.executable, "-c", code, *words]
        running = [subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) for _ in range(count)]
        for each in running:
            _, said = each.communicate()
            assert each.returncode == 0, said

    return run
