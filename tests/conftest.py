"""A real PostgreSQL for every test that wants one: one server a worker, a database a test."""

from __future__ import annotations

import importlib.resources
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from browser import PROGRAMS, Browser, find_browser
from opsctl.adapters.scratch import ScratchServer, scratch_server

# Thousands of processes of opsctl follow, and each would compile the whole program anew. Here,
# before any test and any worker of xdist, for none of them should inherit it.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

LONGEST = ("test_the_runbooks_run_on_the_sandbox", "test_no_canary_comes_out")
"""The longest tests, by name."""


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
def compiled_patterns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that a cache keeps of the shipped rules for secrets; compiling takes seconds.

    A test with a cache of its own puts it there.
    """
    from opsctl.adapters.secret_scanner.patterns import load_patterns

    folder = tmp_path_factory.mktemp("patterns")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        load_patterns()
    (path,) = (folder / "opsctl").iterdir()
    return path


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A real browser. Where there is none the test is left out, and never so in CI.

    A test that asks for it carries the mark `browser`.
    """
    program = find_browser()
    if program is None:
        why = f"none of {', '.join(PROGRAMS)} found on the PATH"
        if os.environ.get("CI", "").lower() in ("1", "true"):
            pytest.fail(f"CI must open pages in a real browser: {why}")
        pytest.skip(why)
    with Browser(program, tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture(scope="session")
def soak() -> bool:
    """Whether long suites run whole, not as a sample."""
    return os.environ.get("OPSCTL_SOAK") == "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes minutes: last of all, one worker would do it while the others wait."""
    items.sort(key=lambda item: getattr(item, "originalname", "") not in LONGEST)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly which tests were left out because a tool is missing.

    It stands here because xdist's controller loads no conftest.py further down.
    """
    skipped = terminalreporter.stats.get("skipped", ())
    for mark, what in (("node", "with the real vendors' programs"), ("browser", "in a browser")):
        left_out = [report for report in skipped if mark in report.keywords]
        if left_out:
            why = str(left_out[0].longrepr[2]).removeprefix("Skipped: ")
            terminalreporter.write_line(
                f"LEFT OUT: {len(left_out)} tests {what}: {why}", red=True, bold=True
            )
