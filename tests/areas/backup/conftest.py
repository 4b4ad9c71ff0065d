"""A project on a real database, and the front door."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from opsctl.adapters import restores
from opsctl.adapters.backup_manifest import Manifest
from opsctl.adapters.scratch import ScratchServer
from opsctl.adapters.stores import LocalStore
from opsctl.cli.root import run


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

    def __init__(self, root: Path, url: str) -> None:
        self.root = root
        self.url = url
        self.store = LocalStore(root / ".opsctl" / "backups" / "test")
        os.environ["OPSCTL_TEST_DATABASE"] = url
        (root / "opsctl.yaml").write_text(
            "environments:\n  test:\n    database:\n      url: env:OPSCTL_TEST_DATABASE\n"
        )

    def settings(self, more: str) -> None:
        """Add lines to the settings of the environment `test`."""
        with (self.root / "opsctl.yaml").open("a") as file:
            file.write(more)

    def execute(self, script: str) -> None:
        """Run SQL in the project's database."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(script.encode())

    def query(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            return connection.execute(query.encode()).fetchall()

    def opsctl(self, *argv: str, text: bool = False) -> Outcome:
        """Run one command line in this process, in the project's directory."""
        out, err = io.StringIO(), io.StringIO()
        here = Path.cwd()
        os.chdir(self.root)
        try:
            with redirect_stdout(out), redirect_stderr(err):
                code = run([*argv, *(() if text else ("--format", "json"))])
        finally:
            os.chdir(here)
        return Outcome(code, out.getvalue(), err.getvalue())

    def back_up(self, *more: str) -> str:
        """Make a backup and return its name."""
        made = self.opsctl("backup", "create", *more)
        assert made.exit == 0, made.stdout + made.stderr
        return str(made.json["data"]["backup"])

    def folder(self, backup: str) -> Path:
        """Return a backup's folder."""
        return self.root / ".opsctl" / "backups" / "test" / backup

    def manifest(self, backup: str) -> Manifest:
        """Return a backup's manifest."""
        return restores.read_backup(self.store, backup)

    @contextmanager
    def opened(self, backup: str) -> Iterator[Path]:
        """Give a backup's files, checked."""
        manifest = self.manifest(backup)
        with restores.opened(self.store, manifest, identity=None, say=lambda line: None) as folder:
            yield folder


def rows_of(url: str) -> dict[str, str]:
    """Return every table's rows as COPY prints them, sorted; our own way, not opsctl's."""
    found: dict[str, str] = {}
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "set extra_float_digits = 1; set timezone = 'UTC'; set datestyle = 'ISO'"
        )
        tables = connection.execute(
            b"select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on "
            b"n.oid = c.relnamespace where c.relkind = 'r' and n.nspname !~ '^(pg_|opsctl_)' "
            b"and n.nspname <> 'information_schema'"
        ).fetchall()
        for (table,) in tables:
            with connection.cursor().copy(f"copy {table} to stdout".encode()) as copy:
                data = b"".join(bytes(each) for each in copy)
            found[str(table)] = "\n".join(sorted(data.decode().splitlines()))
    return found


@pytest.fixture
def project(tmp_path: Path, supabase_database_url: str) -> Iterator[Project]:
    """A project whose database is as a new Supabase project's."""
    yield Project(tmp_path, supabase_database_url)
    os.environ.pop("OPSCTL_TEST_DATABASE", None)


@pytest.fixture(scope="module")
def module_url(postgres: ScratchServer) -> str:
    """An empty database for a whole module."""
    return postgres.create_database()


@pytest.fixture(scope="session")
def make_project() -> Any:
    """The class of projects: tests import nothing from each other."""
    return Project


@pytest.fixture(scope="session", name="rows_of")
def rows_of_() -> Any:
    """Return every table's rows of a database."""
    return rows_of
