"""A healthy PostgreSQL, certificates made on the spot, and `opsctl diagnose` called as typed."""

from __future__ import annotations

import io
import itertools
import json
import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from opsctl.adapters.network import open_connection
from opsctl.adapters.pg_startup import SignIn, sign_in
from opsctl.adapters.pg_target import read_target
from opsctl.adapters.postgres_programs import Provider, providers
from opsctl.adapters.scratch import ScratchServer
from opsctl.adapters.server_user import give, is_root
from opsctl.cli.root import run

_NUMBERS = itertools.count()


@dataclass(frozen=True)
class Said:
    """What a call ended with."""

    exit: int
    document: dict[str, Any]
    text: str

    def rules(self, *, red: bool = True) -> set[str]:
        """Return the rules of red findings, or of yellow ones."""
        severity = "error" if red else "warning"
        return {
            each["rule"]
            for each in self.document["findings"]
            if each["status"] == "failed" and each["severity"] == severity
        }

    def unknowns(self) -> set[str]:
        """Return the rules that could not look."""
        return {
            each["rule"]
            for each in self.document["findings"]
            if each["status"] == "unknown" and each["severity"] == "error"
        }

    def told(self, rule: str) -> str:
        """Return all that is said under a rule that did not pass."""
        return "\n".join(
            " ".join(str(each[key]) for key in ("title", "evidence", "hint"))
            for each in self.document["findings"]
            if each["rule"] == rule and each["status"] != "ok"
        )


@dataclass
class Doctor:
    """Calls `opsctl diagnose` with the settings of one environment."""

    root: Path
    monkeypatch: pytest.MonkeyPatch

    def __call__(self, url: str, *words: str, **settings: Any) -> Said:
        """Diagnose the database at `url` and return what was said; without words, `db`."""
        self.monkeypatch.setenv("T_DATABASE", url)
        self.write(**settings)
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = run(["diagnose", *(words or ("db",)), "--format", "json"])
        text = out.getvalue()
        return Said(code, json.loads(text), text + err.getvalue())

    def write(self, **settings: Any) -> None:
        """Write the settings file."""
        environment = {
            "database": {"url": "env:T_DATABASE", **settings.pop("database", {})},
            "limits": {"database_size_gb": 1000, **settings.pop("limits", {})},
            **settings,
        }
        document = {"environments": {"production": environment}}
        (self.root / "opsctl.yaml").write_text(json.dumps(document))


@pytest.fixture
def diagnose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Doctor:
    monkeypatch.chdir(tmp_path)
    return Doctor(tmp_path, monkeypatch)


def tls_provider() -> Provider:
    """Return a server that was built with TLS: the system's, or the wheel that has it."""
    found = [each for each in providers() if "tls" not in each.lacks]
    return min(found, key=lambda each: each.name != "system")


def server_folder() -> Path:
    """Make a directory for a server; a later run sweeps it should this one be killed."""
    folder = Path(tempfile.mkdtemp(prefix="opsctl-scratch-"))
    (folder / "owner").write_text(str(os.getpid()))
    if is_root():
        folder.chmod(0o711)
    return folder


@contextmanager
def own_server(
    provider: Provider, *, settings: tuple[str, ...] = (), healthy: bool = True
) -> Iterator[ScratchServer]:
    """Start a server as a host would set it up; `settings` are lines of its configuration."""
    folder = server_folder()
    server = ScratchServer(provider, folder / "data")
    try:
        server.create(durable=healthy)
        if settings:
            configure(server, *settings)
        server.start()
        yield server
    finally:
        server.stop(mode="immediate")
        shutil.rmtree(folder, ignore_errors=True)


def configure(server: ScratchServer, *lines: str) -> None:
    """Add lines to a server's configuration; the last ones win."""
    path = server.data / "opsctl.conf"
    path.write_text(path.read_text() + "\n".join(lines) + "\n")
    give(path)


@pytest.fixture(scope="session")
def healthy() -> Iterator[ScratchServer]:
    """A server with the settings that PostgreSQL comes with."""
    with own_server(
        min(providers(), key=lambda each: -each.major),
        settings=("wal_level = logical", "max_prepared_transactions = 5", "max_wal_senders = 5",
                  "max_connections = 20", "idle_in_transaction_session_timeout = '10min'"),
    ) as server:  # fmt: skip
        yield server


@pytest.fixture
def url(healthy: ScratchServer) -> str:
    """An empty database of the healthy server."""
    name = f"t{next(_NUMBERS)}"
    # Not as scratch databases are made, nor dropped: both wait for a checkpoint.
    with psycopg.connect(healthy.url(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} STRATEGY wal_log".encode())
    return healthy.url(name)


@pytest.fixture
def execute(url: str) -> Callable[[str], None]:
    """Run statements, each on its own."""

    def run_all(script: str) -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            for statement in script.split(";\n"):
                if statement.strip():
                    connection.execute(statement.encode())

    return run_all


def signed_in_to(url: str) -> SignIn:
    """Sign in to the server of a URL on loopback."""
    target = read_target(url)
    opened = open_connection(("127.0.0.1",), target.port, timeout_s=10).socket
    assert opened is not None
    return sign_in(target, opened, timeout_s=10)


@contextmanager
def session(url: str, *statements: str, begin: bool = True) -> Iterator[psycopg.Connection[Any]]:
    """Hold a session that has run some statements, by default in a transaction."""
    connection = psycopg.connect(url, autocommit=not begin, application_name="app")
    try:
        for statement in statements:
            connection.execute(statement.encode())
        yield connection
    finally:
        connection.close()


@contextmanager
def in_the_background(url: str, statement: str, name: str = "victim") -> Iterator[None]:
    """Run a statement that takes long or waits; it is ended with the block."""
    connection = psycopg.connect(url, autocommit=True, application_name=name)

    def body() -> None:
        try:
            connection.execute(statement.encode())
        except psycopg.Error:
            return

    thread = threading.Thread(target=body)
    thread.start()
    try:
        yield
    finally:
        with psycopg.connect(url, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s)", [connection.info.backend_pid])
        thread.join()
        connection.close()


@contextmanager
def listener(talk: Callable[[socket.socket], None]) -> Iterator[int]:
    """Listen on a port, and treat whoever comes as `talk` does, until the block ends."""
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(0.1)
    over = threading.Event()
    threads: list[threading.Thread] = []

    def one(connection: socket.socket) -> None:
        with connection:
            try:
                talk(connection)
            except OSError:
                return

    def accept() -> None:
        while not over.is_set():
            try:
                connection, _ = server.accept()
            except OSError:
                continue
            connection.settimeout(20)
            threads.append(threading.Thread(target=one, args=(connection,), daemon=True))
            threads[-1].start()

    acceptor = threading.Thread(target=accept)
    acceptor.start()
    try:
        yield int(server.getsockname()[1])
    finally:
        over.set()
        acceptor.join()
        server.close()
