"""Prisma's directory and history, on real files and a real PostgreSQL."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from opsctl.adapters import prisma
from opsctl.adapters.migrations import Applied
from opsctl.adapters.node_tools import Unavailable
from opsctl.core.errors import OpsError

# As prisma 6.19.3 makes it.
TABLE = """
CREATE TABLE public._prisma_migrations (
  id varchar(36) PRIMARY KEY NOT NULL,
  checksum varchar(64) NOT NULL,
  finished_at timestamptz,
  migration_name varchar(255) NOT NULL,
  logs text,
  rolled_back_at timestamptz,
  started_at timestamptz NOT NULL DEFAULT now(),
  applied_steps_count integer NOT NULL DEFAULT 0
)
"""
TAG = "$opsctl_forget$"


@pytest.fixture
def connection(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database_url, autocommit=True) as opened:
        opened.execute(TABLE)
        yield opened


def add(directory: Path, name: str, sql: str = "select 1;") -> Path:
    (directory / name).mkdir(parents=True)
    (directory / name / "migration.sql").write_bytes(sql.encode())
    return directory / name


def test_a_missing_directory_is_not_an_empty_one(tmp_path: Path) -> None:
    assert prisma.read_directory(tmp_path) == ()
    assert prisma.read_directory(tmp_path / "nowhere") is None


def test_migrations_come_in_the_tools_order_with_their_down_files(tmp_path: Path) -> None:
    sql = "create table b();\r\n"
    add(tmp_path, "20260102000000_b", sql).joinpath("down.sql").write_text("drop table b;")
    add(tmp_path, "20260101000000_a")
    (tmp_path / "migration_lock.toml").write_text('provider = "postgresql"\n')
    (tmp_path / "notes").mkdir()

    found = prisma.read_directory(tmp_path)

    assert found is not None
    assert [(each.version, each.down_sql) for each in found] == [
        ("20260101000000_a", None),
        ("20260102000000_b", "drop table b;"),
    ]
    assert found[1].sql == sql
    assert found[1].checksum == hashlib.sha256(sql.encode()).hexdigest()


@pytest.mark.parametrize("how", ["no script", "not UTF-8", "link to nowhere"])
def test_a_migration_that_cannot_be_read_is_an_error(tmp_path: Path, how: str) -> None:
    folder = tmp_path / "20260101000000_a"
    folder.mkdir()
    if how == "not UTF-8":
        (folder / "migration.sql").write_bytes(b"\xff")
    elif how == "link to nowhere":
        (folder / "migration.sql").symlink_to(tmp_path / "nowhere")

    with pytest.raises(OpsError) as caught:
        prisma.read_directory(tmp_path)

    assert caught.value.code == "migration-unreadable"
    assert caught.value.hint


def history(connection: psycopg.Connection[Any]) -> tuple[Applied, ...]:
    found = prisma.read_history(connection)
    assert found is not None
    return found


def test_a_missing_history_is_not_an_empty_one(
    connection: psycopg.Connection[Any], supabase_database_url: str
) -> None:
    assert history(connection) == ()
    with psycopg.connect(supabase_database_url) as without:
        assert prisma.read_history(without) is None


def test_the_state_of_each_attempt_is_told(connection: psycopg.Connection[Any]) -> None:
    connection.execute(
        "INSERT INTO _prisma_migrations "
        "(id, checksum, migration_name, started_at, finished_at, rolled_back_at, logs) VALUES "
        "('1', 'c1', 'a', '2026-01-01', '2026-01-01', NULL, NULL), "
        "('2', 'c2', 'b', '2026-01-02', NULL, '2026-01-03', 'it broke'), "
        "('3', 'c3', 'b', '2026-01-04', NULL, NULL, 'again')"
    )

    assert [(e.version, e.state, e.checksum, e.logs) for e in history(connection)] == [
        ("a", "applied", "c1", None),
        ("b", "rolled-back", "c2", "it broke"),
        ("b", "failed", "c3", "again"),
    ]


@pytest.mark.parametrize("text", ["'); DROP TABLE x; --", f"{TAG}; SELECT 1; --", "a\\' % 🌳"])
def test_one_attempt_is_forgotten_and_put_back_exactly(
    connection: psycopg.Connection[Any], text: str
) -> None:
    for number in ("1", text):
        connection.execute(
            "INSERT INTO _prisma_migrations (id, checksum, migration_name, finished_at, logs, "
            "applied_steps_count) VALUES (%s, 'c', %s, '2026-01-01 10:11:12.345678+05', %s, 3)",
            (number, text, text),
        )
    query = "SELECT t::text FROM _prisma_migrations t ORDER BY id"
    before = connection.execute(query).fetchall()
    row = next(each for each in history(connection) if each.row["id"] == text)
    row = Applied("prisma", text, text, "applied", row=json.loads(json.dumps(dict(row.row))))

    for statement in prisma.forget_sql(row):
        connection.execute(statement.encode())
    assert [each.row["id"] for each in history(connection)] == ["1"]

    for statement in prisma.remember_sql(row):
        connection.execute(statement.encode())
    assert before == connection.execute(query).fetchall()

    for statement in prisma.forget_sql(row):
        connection.execute(statement.encode())
    with pytest.raises(psycopg.Error) as caught:
        connection.execute(prisma.forget_sql(row)[0].encode())
    assert caught.value.sqlstate == "OC002"


def test_a_project_without_the_adapter_is_told_apart_from_one_without_difference(
    tmp_path: Path,
) -> None:
    modules = tmp_path / "node_modules"
    (modules / ".bin").mkdir(parents=True)
    (modules / ".bin" / "prisma").write_text("#!/bin/sh\nexit 9\n")
    (modules / ".bin" / "prisma").chmod(0o755)
    (modules / "prisma").mkdir()

    answers = []
    for version in ("7.10.1", "6.19.3"):
        package = json.dumps({"name": "prisma", "version": version})
        (modules / "prisma" / "package.json").write_text(package)
        answers.append(prisma.diff_down(tmp_path, from_url="postgresql://", to_url="postgresql://"))

    assert answers == [
        Unavailable("prisma is version 7.10.1; only version 6 is known"),
        Unavailable("the project does not have @prisma/adapter-pg"),
    ]
