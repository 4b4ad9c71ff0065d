"""Make, start, look at, stop and remake the embedded world under `.opsctl/sandbox/`."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.resources
import json
import os
import shutil
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from opsctl.adapters.scratch import (
    Server,
    choose_provider,
    free_port,
    port_is_free,
    write_private,
)
from opsctl.adapters.sql import split_statements
from opsctl.core.errors import Exit, OpsError
from opsctl.core.process import start_daemon

DATABASE = "app"
_APP_START_TIMEOUT_S = 20.0
_PACKAGE = "opsctl.sandbox"


@dataclass(frozen=True)
class State:
    """What the sandbox is doing."""

    made: bool
    postgres: str
    """Provider and version, or empty."""
    postgres_pid: int | None
    postgres_port: int | None
    app_pid: int | None
    app_port: int | None
    folder: Path

    @property
    def running(self) -> bool:
        """Whether both processes run."""
        return self.postgres_pid is not None and self.app_pid is not None


class World:
    """The sandbox of one root directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / ".opsctl" / "sandbox"

    def up(self, *, postgres: str | None, say: Callable[[str], None]) -> bool:
        """Make what is missing and start what does not run; return whether anything was done."""
        with self._alone():
            if self.state().running:
                return False
            if not (self.folder / "made").exists():
                self._make(postgres=postgres, say=say)
            server = self._server()
            if not server.is_running:
                say("Starting PostgreSQL")
                server.start()
                self._write_url(server)
            if self._app_pid() is None:
                say("Starting the sample application")
                self._start_app()
            self._write_environment()
        return True

    def down(self) -> bool:
        """Stop both processes; return whether any ran."""
        if not self.folder.exists():
            return False
        with self._alone():
            return self._stop()

    def reset(self, *, postgres: str | None, say: Callable[[str], None]) -> None:
        """Throw the sandbox away, make it anew and start it."""
        if self.folder.exists():
            with self._alone():
                say("Removing the old sandbox")
                self._stop()
                for path in self.folder.iterdir():
                    if path.name == "lock":
                        continue
                    if path.is_dir() and not path.is_symlink():
                        shutil.rmtree(path)
                    else:
                        path.unlink()
        self.up(postgres=postgres, say=say)

    def state(self) -> State:
        """Return what exists and runs."""
        if not (self.folder / "made").exists():
            return State(False, "", None, None, None, None, self.folder)
        server = self._server()
        port_file = self.folder / "app.port"
        return State(
            made=True,
            postgres=f"{server.provider.name} {server.provider.version}",
            postgres_pid=server.pid,
            postgres_port=server.port,
            app_pid=self._app_pid(),
            app_port=int(port_file.read_text(encoding="utf-8")) if port_file.exists() else None,
            folder=self.folder,
        )

    def _make(self, *, postgres: str | None, say: Callable[[str], None]) -> None:
        say("Making a PostgreSQL cluster")
        provider = choose_provider(prefer=postgres)
        write_private(
            self.folder / "provider.json",
            json.dumps({"name": provider.name, "major": provider.major}),
        )
        data = self.folder / "postgres" / "data"
        if data.exists():
            # A first start that was cut off: nothing in it is worth keeping.
            self._server().stop()
            shutil.rmtree(data.parent)
        server = self._server()
        server.create()
        server.start()
        say("Filling it: schema, five migrations, some 45,000 rows")
        with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{DATABASE}" TEMPLATE template0'.encode())
        self._write_url(server)
        self._write_project()
        self._fill(server.url(DATABASE))
        write_private(self.folder / "app.port", str(free_port()))
        write_private(self.folder / "made", "1\n")

    def _fill(self, url: str) -> None:
        migrations = self.folder / "app" / "supabase" / "migrations"
        files = [path for path in sorted(migrations.glob("*.sql")) if ".down." not in path.name]
        with psycopg.connect(url, autocommit=True) as connection:
            connection.prepare_threshold = None
            connection.execute(_resource("baseline.sql"))
            connection.execute(_PRISMA_TABLE)
            for path in files:
                if path == files[-1]:
                    connection.execute(_resource("rows.sql"))
                self._migrate(connection, path)
            connection.execute(_resource("rows_after.sql"))
            connection.execute("ANALYZE")

    def _migrate(self, connection: psycopg.Connection[tuple[object, ...]], path: Path) -> None:
        """Apply one migration and record it as both tools do."""
        data = path.read_bytes()
        version, _, name = path.stem.partition("_")
        with connection.transaction():
            connection.execute(data)
            connection.execute(
                "INSERT INTO supabase_migrations.schema_migrations VALUES (%s, %s, %s)",
                (version, list(split_statements(data.decode())), name),
            )
            connection.execute(
                "INSERT INTO public._prisma_migrations (id, checksum, finished_at, "
                "migration_name, applied_steps_count) "
                "VALUES (gen_random_uuid()::text, %s, now(), %s, 1)",
                (hashlib.sha256(data).hexdigest(), path.stem),
            )

    def _write_project(self) -> None:
        app = self.folder / "app"
        source = importlib.resources.files(_PACKAGE) / "project"
        for entry in sorted(source.iterdir(), key=lambda each: each.name):
            if not entry.name.endswith(".sql"):
                continue
            data = entry.read_bytes()
            supabase = app / "supabase" / "migrations" / entry.name
            name, down = entry.name.removesuffix(".sql"), "migration.sql"
            if name.endswith(".down"):
                name, down = name.removesuffix(".down"), "down.sql"
                # Beside the migrations the real tool would take it for one.
                supabase = supabase.parent / "down" / entry.name
            for path in (supabase, app / "prisma" / "migrations" / name / down):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
        for name, text in _PROJECT_FILES.items():
            (app / name).parent.mkdir(parents=True, exist_ok=True)
            (app / name).write_text(text, encoding="utf-8")

    def _write_url(self, server: Server) -> None:
        write_private(self.folder / "database-url", server.url(DATABASE) + "\n")

    def _write_environment(self) -> None:
        port = (self.folder / "app.port").read_text(encoding="utf-8").strip()
        base = ".opsctl/sandbox"
        text = _ENVIRONMENT.format(base=base, port=port)
        write_private(self.folder / "environment.yaml", text)

    def _server(self) -> Server:
        found = json.loads((self.folder / "provider.json").read_text(encoding="utf-8"))
        provider = choose_provider(at_least=found["major"], prefer=found["name"])
        if provider.major != found["major"]:
            raise OpsError(
                "The sandbox was made by another version of PostgreSQL",
                why=f"by {found['major']}; there is {provider.major} now",
                hint="opsctl sandbox reset",
                code="sandbox-version",
                exit=Exit.UNKNOWN,
            )
        return Server(provider, self.folder / "postgres" / "data")

    def _start_app(self) -> None:
        port = int((self.folder / "app.port").read_text(encoding="utf-8"))
        if not port_is_free(port):
            port = free_port()
            write_private(self.folder / "app.port", str(port))
        log = self.folder / "app.log"
        pid = start_daemon(
            [sys.executable, "-m", "opsctl.sandbox.app", str(self.folder), str(port)],
            log=str(log),
            cwd=str(self.folder),
        )
        write_private(self.folder / "app.pid", str(pid))
        deadline = time.monotonic() + _APP_START_TIMEOUT_S
        while time.monotonic() < deadline:
            if _answers(port):
                return
            time.sleep(0.05)
        raise OpsError(
            "The sample application did not start",
            why=f"it did not answer on port {port} within {_APP_START_TIMEOUT_S:g} s",
            hint=f"look at {log}",
            code="sandbox-app",
            exit=Exit.UNKNOWN,
        )

    def _app_pid(self) -> int | None:
        """Return the application's process, if it answers on its port."""
        pid_file, port_file = self.folder / "app.pid", self.folder / "app.port"
        if not pid_file.exists() or not port_file.exists():
            return None
        pid = int(pid_file.read_text(encoding="utf-8"))
        # After a reboot the number may be somebody else's: the answer on the port decides.
        return pid if _answers(int(port_file.read_text(encoding="utf-8"))) else None

    def _stop(self) -> bool:
        stopped = False
        pid = self._app_pid()
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            stopped = True
        (self.folder / "app.pid").unlink(missing_ok=True)
        if (self.folder / "provider.json").exists() and (self.folder / "postgres").exists():
            server = self._server()
            stopped = server.is_running or stopped
            server.stop()
        return stopped

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Let one command at a time change the sandbox."""
        self.folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if sys.platform != "win32":
                import fcntl

                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _resource(name: str) -> bytes:
    return (importlib.resources.files(_PACKAGE) / name).read_bytes()


def _answers(port: int) -> bool:
    url = f"http://127.0.0.1:{port}/api/health"
    try:
        with urllib.request.urlopen(url, timeout=3):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


_ENVIRONMENT = """\
# Written by opsctl sandbox up.
name: sandbox
environment:
  project: {base}/app
  database:
    url: file:{base}/database-url
  health:
    - name: health
      url: http://127.0.0.1:{port}/api/health
    - name: selftest
      url: http://127.0.0.1:{port}/api/selftest
"""

_PRISMA_TABLE = """
CREATE TABLE public._prisma_migrations (
  id varchar(36) PRIMARY KEY,
  checksum varchar(64) NOT NULL,
  finished_at timestamptz,
  migration_name varchar(255) NOT NULL,
  logs text,
  rolled_back_at timestamptz,
  started_at timestamptz NOT NULL DEFAULT now(),
  applied_steps_count integer NOT NULL DEFAULT 0
)
"""

_PROJECT_FILES = {
    "supabase/config.toml": 'project_id = "sandbox"\n\n[db]\nmajor_version = 17\n',
    "prisma/migrations/migration_lock.toml": 'provider = "postgresql"\n',
    "prisma/schema.prisma": (
        'generator client {\n  provider = "prisma-client-js"\n}\n\n'
        'datasource db {\n  provider = "postgresql"\n  url      = env("DATABASE_URL")\n}\n'
    ),
    "prisma.config.ts": (
        'import { PrismaPg } from "@prisma/adapter-pg";\n'
        'import { defineConfig } from "prisma/config";\n\n'
        "export default defineConfig({\n"
        '  schema: "prisma/schema.prisma",\n'
        "  experimental: { adapter: true },\n"
        '  engine: "js",\n'
        "  adapter: async () => new PrismaPg({ connectionString: process.env.DATABASE_URL }),\n"
        "});\n"
    ),
}
