"""The real supabase and the adapter agree on what is applied, on a real PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from opsctl.adapters import supabase
from opsctl.adapters.node_tools import find_tool, tool_version
from opsctl.core.action import Command, Probe
from opsctl.core.process import Finished
from opsctl.engine.perform import ask

pytestmark = pytest.mark.node
Tool = Callable[..., Finished]
ONE, TWO = "20260101000000", "20260102000000"


@pytest.fixture
def app(project: Path, supabase_database_url: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with two migrations, the second with a `$$` body and a down file."""
    monkeypatch.setenv("APP_DATABASE_URL", supabase_database_url)
    directory = project / "supabase" / "migrations"
    (directory / f"{ONE}_one.sql").write_text("create table one (id int);\n")
    (directory / f"{TWO}_two.sql").write_text(
        "create table two (id int);\n"
        "create function f() returns text language plpgsql as $$\nbegin\n  return 'a;b';\nend $$;\n"
    )
    (directory / "down").mkdir()
    (directory / "down" / f"{TWO}_two.down.sql").write_text("drop function f();\ndrop table two;\n")
    return project


def push(tool: Tool, url: str, *words: str, code: int = 0) -> dict[str, Any]:
    done = tool(
        "supabase", "db", "push", f"--remote={url}", "--output-format", "json", *words,
        url=url, code=code,
    )  # fmt: skip
    return dict(json.loads(done.stdout))


def probe(app: Path, url: str, **expected: list[str]) -> Probe:
    found = supabase.list_probe(app, database="env:APP_DATABASE_URL", url=url, **expected)
    assert isinstance(found, Probe)
    return found


def run(url: str, statements: tuple[str, ...]) -> None:
    with psycopg.connect(url) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def rows(url: str) -> Any:
    with psycopg.connect(url) as connection:
        return connection.execute(
            "SELECT t::text FROM supabase_migrations.schema_migrations t ORDER BY 1"
        ).fetchall()


def test_the_version_is_the_pinned_one(project: Path) -> None:
    program = find_tool(project, "supabase")

    assert program == project / "node_modules" / ".bin" / "supabase"
    assert tool_version(program, "supabase") == "3.1.0"


def test_forgetting_and_remembering_is_what_the_tool_sees(
    app: Path, supabase_database_url: str, tool: Tool
) -> None:
    url = supabase_database_url
    assert push(tool, url, "--yes")["migrations"] == [f"{ONE}_one.sql", f"{TWO}_two.sql"]
    with psycopg.connect(url) as connection:
        history = supabase.read_history(connection)
    directory = supabase.read_directory(app / "supabase" / "migrations")
    assert history is not None
    assert directory is not None
    assert [(row.version, row.name) for row in history] == [
        (each.version, each.name) for each in directory
    ]
    before = rows(url)
    assert ask(probe(app, url, applied=[ONE, TWO])) == ("applied", "")
    assert ask(probe(app, url, gone=[TWO]))[0] == "absent"

    run(url, supabase.forget_sql(history[1]))
    assert ask(probe(app, url, gone=[TWO], applied=[ONE])) == ("applied", "")
    assert ask(probe(app, url, applied=[TWO]))[0] == "absent"
    assert push(tool, url, "--dry-run")["migrations"] == [f"{TWO}_two.sql"]

    run(url, supabase.remember_sql(history[1]))
    assert before == rows(url)
    assert ask(probe(app, url, applied=[ONE, TWO])) == ("applied", "")
    assert push(tool, url, "--dry-run")["upToDate"] is True


def test_a_look_leaves_nothing_behind_in_the_project(
    app: Path, supabase_database_url: str, tool: Tool, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(tool, supabase_database_url, "--yes")
    monkeypatch.delenv("SUPABASE_NO_UPDATE_NOTIFIER")  # the adapter's own must do
    before = sorted(app.joinpath("supabase").rglob("*"))

    assert ask(probe(app, supabase_database_url, applied=[ONE])) == ("applied", "")

    assert before == sorted(app.joinpath("supabase").rglob("*"))


def test_the_password_is_needed_and_goes_by_environment(
    app: Path, supabase_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = probe(app, supabase_database_url, gone=[ONE])
    password = psycopg.conninfo.conninfo_to_dict(supabase_database_url)["password"]
    assert isinstance(look.action, Command)
    assert str(password) not in repr(look)
    assert ask(look) == ("applied", "")

    wrong = supabase_database_url.replace(str(password), "-".join(["not", "it"]))
    monkeypatch.setenv("APP_DATABASE_URL", wrong)

    assert ask(look)[0] == "absent"


def test_tls_that_was_asked_for_is_not_given_up(app: Path, supabase_database_url: str) -> None:
    """The scratch server has no TLS: where it is required there must be no answer."""
    words = [
        ask(probe(app, f"{supabase_database_url}?sslmode={mode}", gone=[ONE]))[0]
        for mode in ("prefer", "require")
    ]

    assert words == ["applied", "absent"]


def test_a_down_file_beside_its_migration_is_run_by_the_tool(
    app: Path, supabase_database_url: str, tool: Tool
) -> None:
    """Why down files belong into `down/`, and why one beside is warned of."""
    url = supabase_database_url
    directory = app / "supabase" / "migrations"
    (directory / "down" / f"{TWO}_two.down.sql").rename(directory / f"{TWO}_two.down.sql")
    migrations = supabase.read_directory(directory)
    assert migrations is not None
    assert len(supabase.down_files_in_the_way(migrations)) == 1

    answer = push(tool, url, "--yes", code=1)

    assert "At statement: 0\ndrop function f()" in answer["error"]["message"]
