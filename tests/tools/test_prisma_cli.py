"""The real prisma and the adapter agree on what is applied, on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from opsctl.adapters import prisma
from opsctl.adapters.catalog import compare, read_catalog
from opsctl.adapters.migrations import Applied
from opsctl.adapters.node_tools import Unavailable, find_tool, tool_version
from opsctl.adapters.scratch import ScratchServer
from opsctl.adapters.sql import split_statements
from opsctl.core.action import Probe
from opsctl.core.process import Finished
from opsctl.engine.perform import ask

pytestmark = pytest.mark.node
Tool = Callable[..., Finished]
ONE, TWO = "20260101000000_one", "20260102000000_two"


@pytest.fixture
def app(project: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with two migrations."""
    monkeypatch.setenv("APP_DATABASE_URL", database_url)
    add(project, ONE, "create table one (id int primary key);\r\n")
    add(project, TWO, "create table two (id int primary key);\n")
    return project


def add(project: Path, name: str, sql: str) -> None:
    folder = project / "prisma" / "migrations" / name
    folder.mkdir()
    (folder / "migration.sql").write_bytes(sql.encode())


def probe(app: Path, **expected: list[str]) -> Probe:
    found = prisma.list_probe(app, database="env:APP_DATABASE_URL", **expected)
    assert isinstance(found, Probe)
    return found


def history(url: str) -> tuple[Applied, ...]:
    with psycopg.connect(url) as connection:
        found = prisma.read_history(connection)
    assert found is not None
    return found


def run(url: str, statements: tuple[str, ...]) -> None:
    with psycopg.connect(url) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def rows(url: str) -> Any:
    with psycopg.connect(url) as connection:
        return connection.execute(
            "SELECT t::text FROM public._prisma_migrations t ORDER BY 1"
        ).fetchall()


def test_the_version_is_the_pinned_one(project: Path) -> None:
    program = find_tool(project, "prisma")

    assert program == project / "node_modules" / ".bin" / "prisma"
    assert tool_version(program, "prisma") == "6.19.3"


def test_forgetting_and_remembering_is_what_the_tool_sees(
    app: Path, database_url: str, tool: Tool
) -> None:
    tool("prisma", "migrate", "deploy", url=database_url)
    applied = history(database_url)
    directory = prisma.read_directory(app / "prisma" / "migrations")
    assert directory is not None
    assert [(row.version, row.state, row.checksum) for row in applied] == [
        (each.version, "applied", each.checksum) for each in directory
    ]
    before = rows(database_url)
    assert ask(probe(app, applied=[ONE, TWO])) == ("applied", "")
    assert ask(probe(app, gone=[TWO]))[0] == "absent"

    run(database_url, prisma.forget_sql(applied[1]))
    assert ask(probe(app, gone=[TWO], applied=[ONE])) == ("applied", "")
    assert ask(probe(app, applied=[ONE, TWO]))[0] == "absent"

    run(database_url, prisma.remember_sql(applied[1]))
    assert before == rows(database_url)
    assert ask(probe(app, applied=[ONE, TWO])) == ("applied", "")


def test_after_a_rollback_deploy_applies_the_migration_again(
    app: Path, database_url: str, tool: Tool
) -> None:
    tool("prisma", "migrate", "deploy", url=database_url)
    run(database_url, ("DROP TABLE two", *prisma.forget_sql(history(database_url)[1])))

    tool("prisma", "migrate", "deploy", url=database_url)

    assert [(row.version, row.state) for row in history(database_url)] == [
        (ONE, "applied"),
        (TWO, "applied"),
    ]
    run(database_url, ("SELECT id FROM two",))


def test_a_migration_that_failed_is_read_as_failed(
    app: Path, database_url: str, tool: Tool
) -> None:
    add(app, "20260103000000_three", "create table three (id int);\nselect nothing_there();\n")

    tool("prisma", "migrate", "deploy", url=database_url, code=1)

    row = history(database_url)[-1]
    assert (row.version, row.state) == ("20260103000000_three", "failed")
    assert "nothing_there" in (row.logs or "")


def test_a_program_that_cannot_connect_agrees_to_nothing(
    app: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APP_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nowhere")

    assert ask(probe(app, gone=[TWO]))[0] == "absent"
    assert ask(probe(app, applied=[TWO]))[0] == "absent"


BEFORE = """
CREATE TABLE kept (id int PRIMARY KEY, n int NOT NULL);
CREATE TYPE mood AS ENUM ('a');
"""
CHANGE = """
CREATE TABLE added (id int PRIMARY KEY, kept int REFERENCES kept (id) ON DELETE CASCADE);
CREATE INDEX added_kept ON added (kept);
ALTER TABLE kept ADD COLUMN extra text, ALTER COLUMN n TYPE bigint;
CREATE TYPE size AS ENUM ('s', 'm');
"""


def test_the_generated_down_sql_leads_to_the_target_and_touches_neither_database(
    project: Path, postgres: ScratchServer
) -> None:
    now, target = postgres.create_database(), postgres.create_database()
    run(now, (BEFORE, CHANGE))
    run(target, (BEFORE,))
    digests = [catalog_of(url).digest for url in (now, target)]

    made = prisma.diff_down(project, from_url=now, to_url=target)

    assert isinstance(made, str), made
    assert digests == [catalog_of(url).digest for url in (now, target)]
    run(now, split_statements(made))
    assert compare(catalog_of(now), catalog_of(target)) == ()


def test_what_prisma_does_not_model_is_not_taken_for_no_change(
    project: Path, postgres: ScratchServer
) -> None:
    now, target = postgres.create_database(), postgres.create_database()
    run(now, ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",))

    made = prisma.diff_down(project, from_url=now, to_url=target)

    assert made == Unavailable("prisma sees no difference: it does not compare everything")


def test_a_diff_that_fails_says_why_without_the_password(
    project: Path, postgres: ScratchServer
) -> None:
    url = postgres.create_database()
    password = str(psycopg.conninfo.conninfo_to_dict(url)["password"])

    made = prisma.diff_down(project, from_url=f"{url}_not_there", to_url=url)

    assert isinstance(made, Unavailable)
    assert "not exist" in made.why
    assert password not in made.why


def catalog_of(url: str) -> Any:
    with psycopg.connect(url) as connection:
        return read_catalog(connection)
