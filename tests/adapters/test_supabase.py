"""Supabase's directory and history, on real files and a real PostgreSQL."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from opsctl.adapters import supabase
from opsctl.adapters.migrations import Applied, Migration
from opsctl.adapters.node_tools import Unavailable
from opsctl.core.action import Command, Probe
from opsctl.core.errors import Exit, OpsError

HISTORY = "supabase_migrations.schema_migrations"
HOSTILE = [
    "1'); DROP TABLE precious; --",
    "$opsctl_forget$; DROP TABLE precious; --",
    "$opsctl_forget$ $opsctl_forget_$ END",
    'back\\slash\' and % and "quotes"',
    "line\nend\r\tümläut 🌳",
]


@pytest.fixture
def connection(supabase_database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(supabase_database_url, autocommit=True) as opened:
        opened.execute("CREATE TABLE precious (id int)")
        yield opened


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "supabase" / "migrations"
    path.mkdir(parents=True)
    return path


def read(directory: Path) -> tuple[Migration, ...]:
    found = supabase.read_directory(directory)
    assert found is not None
    return found


def test_a_missing_directory_is_not_an_empty_one(directory: Path) -> None:
    assert supabase.read_directory(directory) == ()
    assert supabase.read_directory(directory / "nowhere") is None


def test_migrations_come_in_order_and_what_the_tool_skips_is_skipped(directory: Path) -> None:
    for name in ("20260102000000_b.sql", "20260101000000_a.sql", "3_short.sql"):
        (directory / name).write_text("select 1;")
    for name in ("nover.sql", "20260104000000.sql", "20260105000000_CAP.SQL", "README.md"):
        (directory / name).write_text("select 1;")
    (directory / "20260106000000_folder.sql").mkdir()

    assert [(each.version, each.name) for each in read(directory)] == [
        ("3", "short"),
        ("20260101000000", "a"),
        ("20260102000000", "b"),
    ]


def test_the_text_is_kept_and_the_checksum_is_of_the_bytes(directory: Path) -> None:
    data = "select 'ü';\r\nselect 2;\r\n".encode()
    (directory / "20260101000000_a.sql").write_bytes(data)

    (migration,) = read(directory)

    assert migration.sql == data.decode()
    assert migration.checksum == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("place", ["down", "."])
def test_a_down_file_is_found_below_and_beside(directory: Path, place: str) -> None:
    (directory / "20260101000000_a.sql").write_text("create table a();")
    down = directory / place / "20260101000000_a.down.sql"
    down.parent.mkdir(exist_ok=True)
    down.write_text("drop table a;")

    migrations = read(directory)

    assert [(each.version, each.down_sql) for each in migrations] == [
        ("20260101000000", "drop table a;")
    ]
    assert migrations[0].down_path is not None
    assert migrations[0].down_path.samefile(down)
    assert len(supabase.down_files_in_the_way(migrations)) == (1 if place == "." else 0)


def test_two_down_files_are_refused(directory: Path) -> None:
    (directory / "down").mkdir()
    (directory / "20260101000000_a.sql").write_text("create table a();")
    for place in (directory, directory / "down"):
        (place / "20260101000000_a.down.sql").write_text("drop table a;")

    with pytest.raises(OpsError) as caught:
        supabase.read_directory(directory)

    assert (caught.value.code, caught.value.exit) == ("duplicate-down-file", Exit.USAGE)


def test_the_same_version_twice_is_refused(directory: Path) -> None:
    (directory / "20260101000000_a.sql").write_text("select 1;")
    (directory / "20260101000000_b.sql").write_text("select 2;")

    with pytest.raises(OpsError) as caught:
        supabase.read_directory(directory)

    assert caught.value.code == "duplicate-migration"


@pytest.mark.parametrize("data", [b"select '\xff';", b"select '\0';"])
@pytest.mark.parametrize("name", ["20260101000000_a.sql", "down/20260101000000_a.down.sql"])
def test_a_file_that_is_not_text_is_an_error_with_four_parts(
    directory: Path, data: bytes, name: str
) -> None:
    (directory / "down").mkdir()
    (directory / "20260101000000_a.sql").write_text("select 1;")
    (directory / name).write_bytes(data)

    with pytest.raises(OpsError) as caught:
        supabase.read_directory(directory)

    assert caught.value.code == "migration-unreadable"
    assert name.rpartition("/")[2] in caught.value.what
    assert caught.value.why
    assert caught.value.hint


@pytest.mark.parametrize("name", ["20260101000000_b.sql", "down/20260101000000_b.down.sql"])
def test_a_link_to_nowhere_is_an_error_and_a_link_to_a_file_is_read(
    directory: Path, name: str
) -> None:
    (directory / "down").mkdir()
    real = directory / "real.txt"
    real.write_text("select 7;")
    (directory / "20260102000000_linked.sql").symlink_to(real)
    assert [each.sql for each in read(directory)] == ["select 7;"]

    if name.startswith("down/"):
        (directory / "20260101000000_b.sql").write_text("select 1;")
    (directory / name).symlink_to(directory / "nowhere")
    with pytest.raises(OpsError) as caught:
        supabase.read_directory(directory)

    assert caught.value.code == "migration-unreadable"


def history(connection: psycopg.Connection[Any]) -> tuple[Applied, ...]:
    found = supabase.read_history(connection)
    assert found is not None
    return found


def run(connection: psycopg.Connection[Any], statements: tuple[str, ...]) -> None:
    for statement in statements:
        connection.execute(statement.encode())


def test_a_missing_history_is_not_an_empty_one(
    connection: psycopg.Connection[Any], database_url: str
) -> None:
    assert history(connection) == ()
    with psycopg.connect(database_url) as empty:
        assert supabase.read_history(empty) is None


@pytest.mark.parametrize("version", HOSTILE)
def test_a_row_is_forgotten_and_put_back_exactly_whatever_it_holds(
    connection: psycopg.Connection[Any], version: str
) -> None:
    connection.execute(
        f"ALTER TABLE {HISTORY} ADD created_by text, ADD idempotency_key text UNIQUE, "
        "ADD rollback text[]"
    )
    for each, name in ((version, version), ("20990101000000", None)):
        connection.execute(
            f"INSERT INTO {HISTORY} (version, name, statements, created_by, rollback) "
            "VALUES (%s, %s, %s, %s, %s)",
            (each, name, [version, None, "a,b", "{}", ""], version, []),
        )
    before = connection.execute(f"SELECT t::text, t.* FROM {HISTORY} t ORDER BY 1").fetchall()
    row = next(each for each in history(connection) if each.version == version)
    # The row goes through the journal's JSON on its way.
    row = Applied("supabase", version, "", "applied", row=json.loads(json.dumps(dict(row.row))))

    run(connection, supabase.forget_sql(row))
    assert [each.version for each in history(connection)] == ["20990101000000"]

    run(connection, supabase.remember_sql(row))
    after = connection.execute(f"SELECT t::text, t.* FROM {HISTORY} t ORDER BY 1").fetchall()
    assert before == after
    assert connection.execute("SELECT count(*) FROM precious").fetchone() == (0,)


def test_forgetting_a_row_that_is_gone_raises_and_changes_nothing(
    connection: psycopg.Connection[Any],
) -> None:
    connection.execute(f"INSERT INTO {HISTORY} (version) VALUES ('1'), ('2')")
    row = history(connection)[0]
    run(connection, supabase.forget_sql(row))

    with pytest.raises(psycopg.Error) as caught:
        run(connection, supabase.forget_sql(row))

    assert caught.value.sqlstate == "OC002"
    assert [each.version for each in history(connection)] == ["2"]


def project_with(tmp_path: Path, version: str) -> Path:
    """A project whose own supabase has a version; it is found, and not started."""
    (tmp_path / "supabase").mkdir()
    package = tmp_path / "node_modules" / "supabase" / "package.json"
    package.parent.mkdir(parents=True)
    package.write_text(json.dumps({"name": "supabase", "version": version}))
    program = tmp_path / "node_modules" / ".bin" / "supabase"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nexit 9\n")
    program.chmod(0o755)
    return tmp_path


def test_the_password_is_not_in_the_command_and_the_tls_mode_is(tmp_path: Path) -> None:
    password = "-".join(["hush", "hush"])
    url = f"postgresql://we.ird%40u:{password}@[::1]:6000/d%20b%2F%25?sslmode=verify-full"

    probe = supabase.list_probe(
        project_with(tmp_path, "3.1.0"), database="env:DB", url=url, gone=["2"], applied=["1"]
    )

    assert isinstance(probe, Probe)
    assert isinstance(probe.action, Command)
    assert password not in repr(probe)
    assert (
        "--remote=postgresql://we.ird%40u@[::1]:6000/d%20b%2F%25?sslmode=verify-full"
        in probe.action.argv
    )
    assert probe.action.secrets == (("PGPASSWORD", "url-password:env:DB"),)
    assert probe.expect.contains == ('"migrations":[', '"remote":"1"')
    assert probe.expect.lacks == ('"remote":"2"',)


@pytest.mark.parametrize(
    "query", ["?password=hush", "?host=/run/postgresql", "?host=a,b", "?sslrootcert=ca.pem"]
)
def test_a_url_that_cannot_be_handed_over_is_not_asked_for(tmp_path: Path, query: str) -> None:
    project = project_with(tmp_path, "3.1.0")
    url = f"postgresql://postgres@/app{query}"

    probe = supabase.list_probe(project, database="env:DB", url=url, gone=["1"])

    assert isinstance(probe, Unavailable)
    assert "hush" not in probe.why
    assert supabase.gone_probe(project, database="env:DB", url=url, versions=["1"]) is None


def test_another_major_version_is_not_asked(tmp_path: Path) -> None:
    probe = supabase.list_probe(
        project_with(tmp_path, "2.60.0"), database="env:DB", url="postgresql://u@h/d", gone=["1"]
    )

    assert probe == Unavailable("supabase is version 2.60.0; only version 3 is known")
