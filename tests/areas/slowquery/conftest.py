"""Servers that keep statistics of statements, one of each installed version, and a log of truth."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest

from opsctl.adapters.postgres_programs import providers
from opsctl.adapters.scratch import ScratchServer, scratch_server
from opsctl.cli.root import run
from opsctl.core.call import Call
from opsctl.core.settings import Settings

_CONFIGURATION = """
shared_preload_libraries = 'pg_stat_statements, auto_explain'
compute_query_id = on
log_lock_waits = off
"""


@pytest.fixture(scope="session")
def statistics_servers() -> Iterator[dict[int, ScratchServer]]:
    """By major version."""
    with ExitStack() as stack:
        servers: dict[int, ScratchServer] = {}
        for provider in providers():
            if provider.major in servers:
                continue
            server = stack.enter_context(
                scratch_server(at_least=provider.major, prefer=provider.name, nearest=True)
            )
            configure(server, _CONFIGURATION)
            servers[server.provider.major] = server
        yield servers


def configure(server: ScratchServer, lines: str) -> None:
    """Start a server again with more settings, which stay when it has to change its port."""
    server.stop()
    with (server.data / "postgresql.conf").open("a") as file:
        file.write(lines)
    server.start()


@pytest.fixture
def small_server() -> Iterator[ScratchServer]:
    """A server of the test's own, which keeps a hundred statements only."""
    with scratch_server() as server:
        configure(server, _CONFIGURATION + "pg_stat_statements.max = 100\n")
        yield server


@pytest.fixture(params=sorted({each.major for each in providers()}), ids=lambda major: f"pg{major}")
def server(
    request: pytest.FixtureRequest, statistics_servers: dict[int, ScratchServer]
) -> ScratchServer:
    """Each of them in turn."""
    return statistics_servers[request.param]


@pytest.fixture
def newest(statistics_servers: dict[int, ScratchServer]) -> ScratchServer:
    """The newest of them."""
    return statistics_servers[max(statistics_servers)]


@dataclass
class Room:
    """A database with statistics, and the settings to call opsctl with."""

    url: str
    root: Path
    said: list[str] = field(default_factory=list)

    def execute(self, *statements: str, url: str = "") -> None:
        """Run statements, one after the other."""
        with psycopg.connect(url or self.url, autocommit=True) as connection:
            connection.prepare_threshold = None
            for statement in statements:
                connection.execute(statement.encode())

    def settings(self, **changes: Any) -> dict[str, Any]:
        return {"database": {"url": "env:SLOWQUERY_TEST_URL"}, **changes}

    def call(self, **changes: Any) -> Call:
        """Return a call for the database."""
        document = {"environments": {"test": self.settings(**changes)}}
        settings = Settings.model_validate_json(json.dumps(document))
        return Call(settings, self.root, "test", self.said.append)

    def opsctl(self, *words: str, **changes: Any) -> tuple[int, str]:
        """Call the front door and return (exit code, stdout)."""
        document = {"environments": {"test": self.settings(**changes)}}
        (self.root / "opsctl.yaml").write_text(json.dumps(document))
        out = io.StringIO()
        with redirect_stdout(out), redirect_stderr(io.StringIO()):
            code = run(["slowquery", *words])
        return code, out.getvalue()

    def report(self, *words: str, **changes: Any) -> dict[str, Any]:
        """Return the JSON of a check."""
        code, text = self.opsctl("check", *words, "--format", "json", **changes)
        document: dict[str, Any] = json.loads(text)
        assert code == document["exit_code"]
        return document


MakeRoom = Callable[[str], Room]


@pytest.fixture
def make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeRoom:
    """Make the room of a database."""

    def make(url: str) -> Room:
        monkeypatch.setenv("SLOWQUERY_TEST_URL", url)
        monkeypatch.chdir(tmp_path)
        return Room(url, tmp_path)

    return make


@pytest.fixture
def room(server: ScratchServer, make_room: MakeRoom) -> Room:
    """A database of each version, with the extension."""
    room = make_room(server.create_database())
    room.execute("create extension pg_stat_statements")
    return room


@pytest.fixture
def new_room(newest: ScratchServer, make_room: MakeRoom) -> Room:
    """A database of the newest version, with the extension."""
    room = make_room(newest.create_database())
    room.execute("create extension pg_stat_statements")
    return room


class Planter:
    """Threads that run statements for so long, each with its own connection."""

    def __init__(self, url: str, *, preamble: str = "") -> None:
        self._url = url
        self._preamble = preamble
        self._threads: list[threading.Thread] = []
        self._stop = threading.Event()
        self.failures: list[BaseException] = []

    def plant(self, query: str, durations: Callable[[], float], *, pause: float = 0.0) -> None:
        """Run `query`, which takes a number of seconds, again and again."""

        def work() -> None:
            try:
                with psycopg.connect(
                    self._url, autocommit=True, application_name="planter"
                ) as connection:
                    connection.prepare_threshold = None
                    if self._preamble:
                        connection.execute(self._preamble.encode())
                    while not self._stop.is_set():
                        connection.execute(query.encode(), (durations(),))
                        time.sleep(pause)
            except BaseException as error:
                self.failures.append(error)

        self._threads.append(threading.Thread(target=work))

    def __enter__(self) -> Planter:
        for thread in self._threads:
            thread.start()
        time.sleep(0.3)
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        assert not self.failures


@pytest.fixture
def planter() -> type[Planter]:
    """The class, for tests that plant statements."""
    return Planter
