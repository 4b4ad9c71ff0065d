"""A database under load is not disturbed: no lock beyond ACCESS SHARE, and none held for long."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from .conftest import Doctor

HELD = """
SELECT l.pid, l.relation::regclass::text, l.mode, l.granted,
       a.application_name || CASE c.relkind WHEN 'S' THEN ' on sequences' ELSE '' END
FROM pg_locks l JOIN pg_stat_activity a USING (pid) JOIN pg_class c ON c.oid = l.relation
WHERE l.locktype = 'relation' AND l.database = (SELECT oid FROM pg_database
                                                WHERE datname = current_database())
  AND l.relation >= 16384 AND a.application_name = ANY (%s)
"""
LONGEST_S = 0.1


class Samples:
    """What was held on user tables, looked at over and over."""

    def __init__(self) -> None:
        self.count = 0
        self.modes: dict[str, set[str]] = {}
        """application -> modes of its locks."""
        self.waited: set[str] = set()
        self.longest_s: dict[str, float] = {}
        self._since: dict[tuple[Any, ...], float] = {}

    def take(self, connection: psycopg.Connection[Any]) -> None:
        rows = connection.execute(HELD, [["opsctl", "writer"]]).fetchall()
        now, seen = time.monotonic(), set()
        for pid, relation, mode, granted, application in rows:
            self.modes.setdefault(application, set()).add(mode)
            if not granted:
                self.waited.add(application)
            key = (pid, relation, mode, application)
            seen.add(key)
            held_s = now - self._since.setdefault(key, now)
            self.longest_s[application] = max(self.longest_s.get(application, 0.0), held_s)
        self._since = {key: at for key, at in self._since.items() if key in seen}
        self.count += 1


@contextmanager
def load(url: str, over: threading.Event) -> Iterator[list[int]]:
    """Write all the time; yield a list that grows with each transaction."""
    done: list[int] = []

    def write() -> None:
        with psycopg.connect(url, autocommit=True, application_name="writer") as connection:
            number = 0
            while not over.is_set():
                number += 1
                with connection.transaction():
                    connection.execute(
                        "UPDATE account SET balance = balance + 1 WHERE id = %s", [number % 100]
                    )
                    connection.execute("INSERT INTO history (account) VALUES (%s)", [number % 100])
                done.append(number)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield done
    finally:
        over.set()
        thread.join()


def test_diagnose_takes_no_lock_that_a_writer_would_feel(diagnose: Doctor, url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE account (id int PRIMARY KEY, balance int NOT NULL);"
            "CREATE TABLE history (id int GENERATED ALWAYS AS IDENTITY, account int);"
            "INSERT INTO account SELECT g, 0 FROM generate_series(0, 99) g"
        )
    samples, over = Samples(), threading.Event()

    def look() -> None:
        with psycopg.connect(url, autocommit=True, application_name="sampler") as connection:
            while not over.is_set():
                samples.take(connection)

    sampler = threading.Thread(target=look)
    sampler.start()
    with load(url, over) as done:
        while len(done) < 5:
            time.sleep(0.01)
        before = len(done)
        for _ in range(8):
            assert not diagnose(url).rules()
        assert len(done) > before
    sampler.join()

    assert samples.count > 50
    # The sampler sees what it should: the writer's locks are there.
    assert "RowExclusiveLock" in samples.modes["writer"]
    assert samples.modes.get("opsctl", set()) <= {"AccessShareLock"}
    # PostgreSQL itself takes the lock of a nextval where it tells a sequence's last value.
    assert samples.modes.get("opsctl on sequences", set()) <= {
        "AccessShareLock",
        "RowExclusiveLock",
    }
    assert samples.longest_s.get("opsctl", 0.0) <= LONGEST_S
    # That lock is in nobody's way; how long it is seen is the sampler's speed, too.
    for who in ("opsctl", "opsctl on sequences"):
        assert who not in samples.waited


def test_a_table_that_is_locked_does_not_hold_diagnose_up(diagnose: Doctor, url: str) -> None:
    with psycopg.connect(url) as holder:
        holder.execute("CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY)")
        holder.commit()
        holder.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
        began = time.monotonic()
        said = diagnose(url)

    assert time.monotonic() - began < 10
    assert not said.rules()


@pytest.mark.soak
def test_a_thousand_tables_are_looked_at_in_one_round_trip(
    diagnose: Doctor, url: str, soak: bool
) -> None:
    count = 1000 if soak else 100
    with psycopg.connect(url, autocommit=True) as connection:
        # A transaction holds a lock for each of them, and a server has room for so many.
        for first in range(0, count, 100):
            connection.execute(
                "".join(
                    f"CREATE TABLE t{n} (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a text);"
                    for n in range(first, first + 100)
                ).encode()
            )
    said = diagnose(url)

    assert said.exit == 0
    assert said.document["data"]["took_ms"] < 12_000
