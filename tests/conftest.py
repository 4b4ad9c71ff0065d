"""A real PostgreSQL for every test that wants one: one server a worker, a database a test."""

from __future__ import annotations

import importlib.resources
import os
from collections.abc import Iterator

import psycopg
import pytest

from opsctl.adapters.scratch import ScratchServer, scratch_server


@pytest.fixture(scope="session")
def postgres() -> Iterator[ScratchServer]:
    """A scratch server; on a machine without PostgreSQL this fails, it does not skip."""
    with scratch_server() as server:
        yield server


@pytest.fixture
def database_url(postgres: ScratchServer) -> str:
    """An empty database."""
    return postgres.create_database()


@pytest.fixture(scope="session")
def _baseline(postgres: ScratchServer) -> str:
    sql = (importlib.resources.files("opsctl.sandbox") / "baseline.sql").read_bytes()
    url = postgres.create_database("baseline")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql)
    return "baseline"


@pytest.fixture
def supabase_database_url(postgres: ScratchServer, _baseline: str) -> str:
    """A database with what a Supabase project has before its first migration."""
    return postgres.create_database(template=_baseline)


@pytest.fixture(scope="session")
def soak() -> bool:
    """Whether long suites run whole, not as a sample."""
    return os.environ.get("OPSCTL_SOAK") == "1"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly which tests were left out because a tool is missing.

    It stands here because xdist's controller loads no conftest.py further down.
    """
    left_out = [
        report for report in terminalreporter.stats.get("skipped", ()) if "node" in report.keywords
    ]
    if left_out:
        why = str(left_out[0].longrepr[2]).removeprefix("Skipped: ")
        terminalreporter.write_line(
            f"LEFT OUT: {len(left_out)} tests with the real supabase and prisma: {why}",
            red=True,
            bold=True,
        )
