"""Old rows on a real PostgreSQL: counted, deleted in batches, and nothing else with them."""

from __future__ import annotations

import json
import re
import shlex
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from opsctl.areas.maintenance import clean as cleaning
from opsctl.areas.maintenance.old_rows import OldRows
from opsctl.cli.root import run
from opsctl.core.settings import Database

from .conftest import World

RULE = {"name": "audit", "table": "public.Audit Log", "column": "at", "days": 30.0, "batch": 100,
        "only": "kind LIKE 'x%'"}  # fmt: skip


@pytest.fixture
def data(world: World, database_url: str, monkeypatch: pytest.MonkeyPatch) -> psycopg.Connection:
    """250 old rows, 30 young ones, and 20 old ones of another kind."""
    monkeypatch.setenv("T_DATABASE", database_url)
    connection = psycopg.connect(database_url, autocommit=True)
    connection.execute(
        'CREATE TABLE "Audit Log" (id int PRIMARY KEY, at timestamptz NOT NULL, kind text);'
        "INSERT INTO \"Audit Log\" SELECT n, now() - interval '40 days', 'x1' "
        "FROM generate_series(1, 250) n;"
        "INSERT INTO \"Audit Log\" SELECT n, now() - interval '20 days', 'x1' "
        "FROM generate_series(251, 280) n;"
        "INSERT INTO \"Audit Log\" SELECT n, now() - interval '40 days', 'y' "
        "FROM generate_series(281, 300) n"
    )
    rules(world, RULE)
    return connection


def rules(world: World, *retention: dict[str, Any], **more: Any) -> None:
    world.write(
        database={"url": "env:T_DATABASE", "lock_timeout_s": 0.2, "lock_attempts": 1},
        maintenance={"retention": list(retention)},
        **more,
    )


@pytest.fixture(autouse=True)
def closed(data: psycopg.Connection) -> Any:
    yield
    data.close()


def rows(data: psycopg.Connection) -> list[int]:
    return [each[0] for each in data.execute('SELECT id FROM "Audit Log" ORDER BY id')]


def test_it_is_counted_first_and_a_dry_run_deletes_nothing(
    world: World, data: psycopg.Connection
) -> None:
    world.capture.readouterr()
    code = run(["maintenance", "clean", "--env", "production", "--dry-run"])
    shown = world.capture.readouterr().out

    assert code == 0
    assert "Delete 250 old rows" in shown
    assert "Delete 100 rows of public.Audit Log, 150 are left" in shown
    assert "Delete 50 rows of public.Audit Log, 0 are left" in shown
    assert len(rows(data)) == 300


def test_what_is_old_goes_and_nothing_else(world: World, data: psycopg.Connection) -> None:
    code, document = world.opsctl("clean", "--yes")
    again, nothing = world.opsctl("clean", "--yes")

    assert code == 0
    assert [each["status"] for each in document["data"]["steps"]] == ["done"] * 3
    assert rows(data) == list(range(251, 301))
    assert (again, nothing["data"]["steps"]) == (0, [])


def test_a_row_that_somebody_holds_is_left_and_had_by_a_resume(
    world: World, data: psycopg.Connection, database_url: str
) -> None:
    with psycopg.connect(database_url) as other:
        other.execute('SELECT FROM "Audit Log" WHERE id = 7 FOR UPDATE')
        code, document = world.opsctl("clean", "--yes")
        held = rows(data)
    resumed, _ = world.front_door("runs", "resume", document["data"]["run"], "--yes")

    assert code == 4
    assert held == [7, *range(251, 301)]
    assert resumed == 0
    assert rows(data) == list(range(251, 301))


def test_rows_that_become_old_meanwhile_stay(
    world: World, data: psycopg.Connection, database_url: str
) -> None:
    """The moment is fixed when it is planned: what was counted is what goes."""
    world.capture.readouterr()
    stop = threading.Event()

    def write() -> None:
        with psycopg.connect(database_url, autocommit=True) as other:
            n = 1000
            while not stop.wait(0.01):
                other.execute(
                    "INSERT INTO \"Audit Log\" VALUES (%s, now() - interval '30 days', 'x2')", (n,)
                )
                n += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        code, _ = world.opsctl("clean", "--yes")
    finally:
        stop.set()
        writer.join()

    assert code == 0
    assert not set(range(1, 251)) & set(rows(data))
    assert set(range(251, 301)) <= set(rows(data))


def test_a_protected_environment_is_agreed_to_by_its_name(
    world: World, data: psycopg.Connection
) -> None:
    rules(world, RULE, protected=True)
    refused, document = world.opsctl("clean", "--yes")
    code, _ = world.opsctl("clean", "--confirm", "production")

    assert (refused, document["error"]["code"]) == (5, "name-required")
    assert code == 0
    assert len(rows(data)) == 50


def test_a_freeze_holds_it_up(world: World, data: psycopg.Connection) -> None:
    freeze = {"name": "the sale", "days": ["monday"], "at": "00:00", "hours": 168.0}
    rules(world, RULE, freezes=[freeze])
    refused, document = world.opsctl("clean", "--yes")
    code, _ = world.opsctl("clean", "--yes", "--override-freeze", "the disk is full")

    assert (refused, document["error"]["code"]) == (5, "frozen")
    assert code == 0
    assert len(rows(data)) == 50


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"table": "public.nothing"}, "there is no table public.nothing"),
        ({"column": "nothing"}, "has no column nothing"),
        ({"column": "kind"}, "of type text"),
        ({"only": "true); DROP TABLE \"Audit Log\"; SELECT (true"}, "syntax error"),
        ({"only": "true; DROP TABLE \"Audit Log\" -- "}, "syntax error"),
        ({"only": "true; SELECT 1"}, "multiple commands"),
        ({"only": "nothing > 1"}, "does not exist"),
        ({"only": "true) OR (true -- "}, "syntax error"),
    ],
    ids=str,
)  # fmt: skip
def test_a_rule_that_does_not_fit_deletes_nothing(
    world: World, data: psycopg.Connection, change: dict[str, str], why: str
) -> None:
    rules(world, {**RULE, **change})
    code, document = world.opsctl("clean", "--yes")

    assert (code, document["error"]["code"]) == (2, "bad-retention")
    assert why in document["error"]["why"]
    assert len(rows(data)) == 300


def test_partitions_are_not_for_here(world: World, data: psycopg.Connection) -> None:
    data.execute("CREATE TABLE parts (at timestamptz) PARTITION BY RANGE (at)")
    rules(world, {**RULE, "table": "public.parts", "only": "true"})
    code, document = world.opsctl("clean", "--yes")

    assert (code, document["error"]["code"]) == (2, "bad-retention")
    assert "drop old partitions" in document["error"]["why"]


def test_rows_that_follow_by_a_foreign_key_are_named(
    world: World, data: psycopg.Connection
) -> None:
    data.execute('CREATE TABLE follower (of int REFERENCES "Audit Log" ON DELETE CASCADE)')
    world.capture.readouterr()
    run(["maintenance", "clean", "--env", "production", "--dry-run"])

    assert "rows of follower change or go with them" in world.capture.readouterr().out


def test_many_rows_make_no_more_than_forty_steps() -> None:
    old = OldRows(
        "audit", "public.t", "public.t", "true", "2026-01-01", 1_000_001, 1000, 2_000_000, ""
    )
    plan = cleaning.clean_plan(
        [old], Database(url="env:X"), environment="e", protected=False, kept=None
    )

    assert len(plan.steps) == 39
    assert plan.steps[-1].title == "Delete 12,001 rows of public.t, 0 are left"
    assert plan.steps[0].title == "Delete 26,000 rows of public.t, 974,001 are left"
    assert plan.losses[0].values == 1_000_001


def test_without_rules_nothing_is_looked_for(world: World) -> None:
    rules(world)
    none, document = world.opsctl("clean")
    rules(world, RULE)
    other, second = world.opsctl("clean", "--only", "coffee")

    assert (none, document["error"]["code"]) == (2, "no-retention")
    assert (other, second["error"]["code"]) == (2, "no-retention")
    assert "coffee" in second["error"]["why"]


def test_a_backup_is_named_only_if_it_has_the_rows(world: World, data: psycopg.Connection) -> None:
    none, document = world.opsctl("clean", "--backup", "nothing", "--yes")

    assert (none, document["error"]["code"]) == (2, "no-such-backup")
    assert len(rows(data)) == 300
    cutoff = datetime.now(UTC) - timedelta(days=30)
    old = OldRows("audit", "public.t", "public.t", "true", cutoff.isoformat(), 5, 100, 300, "")
    plan = cleaning.clean_plan(
        [old], Database(url="env:X"), environment="e", protected=False,
        kept=cleaning.Kept("B1", "2026-11-26 10:00 UTC"),
    )  # fmt: skip
    assert plan.command == "maintenance clean --backup B1"
    assert plan.losses[0].kept == "backup B1, of 2026-11-26 10:00 UTC"


def test_what_went_is_had_again_from_the_backup_that_was_named(
    world: World, data: psycopg.Connection
) -> None:
    made, document = world.front_door("backup", "create")
    id = document["data"]["backup"]
    unverified, refused = world.opsctl("clean", "--backup", id, "--yes")
    verified, _ = world.front_door("backup", "verify", id)
    _, planned = world.opsctl("clean", "--backup", id, "--dry-run")
    way_back = re.search(r"opsctl (restore tables .*? --mode missing)", json.dumps(planned))
    assert way_back is not None
    words = shlex.split(json.loads(f'"{way_back[1]}"'))
    code, _ = world.opsctl("clean", "--backup", id, "--yes")
    left = rows(data)
    back, said = world.front_door(*words, "--yes")

    assert (made, verified) == (0, 0)
    assert (unverified, refused["error"]["code"]) == (5, "backup-not-enough")
    assert code == 0
    assert left == list(range(251, 301))
    assert back == 0, said
    assert rows(data) == list(range(1, 301))
