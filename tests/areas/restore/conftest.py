"""A project on a real database, its backups, and the front door."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from opsctl.adapters import catalog
from opsctl.adapters.scratch import ScratchServer
from opsctl.adapters.sql import qualified
from opsctl.cli.root import run
from opsctl.core.secrets import url_with_database

SCHEMA = """
create table public.tenants (id int primary key, name text not null);
create table public.notes (
  id bigint generated always as identity primary key,
  tenant_id int not null references public.tenants (id),
  title text not null, price numeric(10, 2) not null default 0);
create index notes_title on public.notes (title);
alter table public.notes enable row level security;
create policy notes_read on public.notes for select using (tenant_id = 1);
create view public.titles as select id, title from public.notes;
insert into public.tenants select n, 'tenant ' || n from generate_series(1, 3) n;
insert into public.notes (tenant_id, title, price)
  select 1 + n % 3, 'title ' || n, n / 7.0 from generate_series(1, 500) n;
"""


@dataclass
class Outcome:
    """What one opsctl command gave."""

    exit: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """The JSON document on stdout."""
        return json.loads(self.stdout)


class Project:
    """A directory with settings, and the database that they name."""

    def __init__(self, root: Path, url: str, server: ScratchServer) -> None:
        self.root = root
        self.url = url
        self.server = server
        os.environ["OPSCTL_TEST_DATABASE"] = url
        (root / "opsctl.yaml").write_text(
            "environments:\n  test:\n    database:\n      url: env:OPSCTL_TEST_DATABASE\n"
            "      lock_timeout_s: 1\n      lock_attempts: 3\n"
        )

    @property
    def database(self) -> str:
        """The database's name."""
        return psycopg.conninfo.conninfo_to_dict(self.url)["dbname"]  # type: ignore[return-value]

    def url_as(self, user: str, password: str) -> str:
        """Return the database's URL for another role."""
        return self.url.replace(self.url.split("//")[1].split("@")[0], f"{user}:{password}")

    def execute(self, script: str, *, database: str | None = None) -> None:
        """Run SQL in the project's database, or beside it."""
        with psycopg.connect(self._url(database), autocommit=True) as connection:
            connection.execute(script.encode())

    def query(self, query: str, *, database: str | None = None) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        with psycopg.connect(self._url(database), autocommit=True) as connection:
            return connection.execute(query.encode()).fetchall()

    def opsctl(self, *argv: str) -> Outcome:
        """Run one command line in this process, in the project's directory."""
        out, err = io.StringIO(), io.StringIO()
        here = Path.cwd()
        os.chdir(self.root)
        try:
            with redirect_stdout(out), redirect_stderr(err):
                code = run([*argv, "--format", "json"])
        finally:
            os.chdir(here)
        return Outcome(code, out.getvalue(), err.getvalue())

    def back_up(self) -> str:
        """Make a backup and return its name."""
        made = self.opsctl("backup", "create")
        assert made.exit == 0, made.stdout + made.stderr
        return str(made.json["data"]["backup"])

    def content(self, *, only: str = "") -> dict[str, str]:
        """Return every table's rows as ordered text, every sequence, and the catalog's digest."""
        found: dict[str, str] = {}
        with psycopg.connect(self.url, autocommit=True) as connection:
            found["catalog"] = catalog.read_catalog(connection).digest
            tables = connection.execute(
                b"select n.nspname, c.relname, c.relkind from pg_class c join pg_namespace n on "
                b"n.oid = c.relnamespace where c.relkind in ('r', 'S') and n.nspname !~ "
                b"'^(pg_|opsctl_)' and n.nspname <> 'information_schema' order by 1, 2"
            ).fetchall()
            for schema, name, kind in tables:
                if only and schema != only:
                    continue
                quoted = qualified(schema, name)
                query = (
                    f"select md5(coalesce(string_agg(t::text, e'\\n' order by t::text), '')) "
                    f"from {quoted} t"
                    if kind in ("r", b"r")
                    else f"select last_value || ' ' || is_called from {quoted}"
                )
                row = connection.execute(query.encode()).fetchone()
                found[f"{schema}.{name}"] = str(row[0]) if row else ""
        return found

    def objects(self) -> catalog.Catalog:
        """Return the catalog of the database."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            return catalog.read_catalog(connection)

    def databases(self) -> set[str]:
        """Return the names of all databases that belong to this one."""
        rows = self.query("select datname from pg_database", database="postgres")
        return {name for (name,) in rows if name.startswith(self.database[:40])}

    def _url(self, database: str | None) -> str:
        return url_with_database(self.url, database) if database else self.url


@pytest.fixture
def project(
    tmp_path: Path, supabase_database_url: str, postgres: ScratchServer
) -> Iterator[Project]:
    """A project with tables and rows in its database."""
    project = Project(tmp_path, supabase_database_url, postgres)
    project.execute(SCHEMA)
    yield project
    os.environ.pop("OPSCTL_TEST_DATABASE", None)
