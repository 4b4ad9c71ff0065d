"""Make, start, look at, stop and remake the embedded world under `.opsctl/sandbox/`."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from opsctl.adapters.contents import Contents, read_contents
from opsctl.adapters.scratch import Server, choose_provider, providers, write_private
from opsctl.core.errors import Exit, OpsError
from opsctl.sandbox.app_process import AppProcess
from opsctl.sandbox.contents import fill, write_project
from opsctl.sandbox.planes import PROJECT, REF, REPOSITORY
from opsctl.sandbox.planes_process import PlanesProcess

DATABASE = "app"
_DISCARD_ATTEMPTS = 20
_DISCARD_PAUSE_S = 0.1


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
    planes_pid: int | None
    planes: Mapping[str, int]
    """The port of each control plane, by kind."""
    ills: tuple[str, ...]
    """What the application says is wrong with it; of one that does not run nothing is known."""
    folder: Path

    @property
    def running(self) -> bool:
        """Whether every process runs."""
        return None not in (self.postgres_pid, self.app_pid, self.planes_pid)


class World:
    """The sandbox of one root directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / ".opsctl" / "sandbox"
        self._app = AppProcess(self.folder)
        self.planes = PlanesProcess(self.folder)

    def up(self, *, postgres: str | None, say: Callable[[str], None]) -> bool:
        """Make what is missing and start what does not run; return whether anything was done.

        Raises OpsError `sandbox-postgres` (exit 2) where another PostgreSQL is asked for than
        the sandbox was made with.
        """
        with self._alone():
            if not self._made.exists():
                self._make(postgres=postgres, say=say)
            elif postgres not in (None, self._provider_record()["name"]):
                raise OpsError(
                    f"The sandbox was not made with the {postgres} PostgreSQL",
                    why=f"it was made with the {self._provider_record()['name']} one",
                    hint=f"opsctl sandbox reset --postgres {postgres}",
                    code="sandbox-postgres",
                )
            elif self.state().running:
                return False
            planes = self.planes.pid is None
            if planes:
                say("Starting the control planes")
                self._seed_planes()
                self.planes.begin()  # beside what follows
            server = self._server()
            if not server.is_running:
                say("Starting PostgreSQL")
                server.start()
            self._write_url(server)  # it may have had to move to another port
            if self._app.pid is None:
                say("Starting the sample application")
                self._app.start()
            if planes:
                self.planes.wait()
            self._write_environment()
        return True

    def down(self) -> bool:
        """Stop every process; return whether any ran."""
        if not self.folder.exists():
            return False
        with self._alone():
            return self._stop()

    def reset(self, *, postgres: str | None, say: Callable[[str], None]) -> None:
        """Throw the sandbox away, make it anew and start it."""
        if postgres is not None:
            choose_provider(prefer=postgres)  # before anything is thrown away
        if self.folder.exists():
            with self._alone():
                say("Removing the old sandbox")
                self._stop()
                # First what says that it is whole: a reset that is cut off is made again by up.
                self._made.unlink(missing_ok=True)
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
        if not self._made.exists():
            return State(False, "", None, None, None, None, None, {}, (), self.folder)
        server = self._server()
        app_pid = self._app.pid
        return State(
            made=True,
            postgres=f"{server.provider.name} {server.provider.version}",
            postgres_pid=server.pid,
            postgres_port=server.port,
            app_pid=app_pid,
            app_port=self._app.port,
            planes_pid=self.planes.pid,
            planes=self.planes.ports,
            ills=self._app.ills() if app_pid is not None else (),
            folder=self.folder,
        )

    def contents(self) -> Contents:
        """Return what is in the database: rows and a hash per table, sequences."""
        return read_contents(self.database_url, jobs=2)

    def write_rows(self) -> int:
        """Write rows as the application would, and return how many."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            return connection.execute(_WRITE).rowcount

    def destroy(self) -> None:
        """Do to the data what a bad night does: drop a table, empty another, spoil a third."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            connection.execute(_DESTROY)

    def stop_database(self) -> None:
        """Stop PostgreSQL alone, as if its machine were gone."""
        with self._alone():
            self._server().stop()

    @property
    def app_folder(self) -> Path:
        """The sample application's checkout."""
        return self.folder / "app"

    @property
    def database_url(self) -> str:
        """The database's URL, with its password."""
        return (self.folder / "database-url").read_text(encoding="utf-8").strip()

    @property
    def _made(self) -> Path:
        """The file that says that the sandbox was made to the end."""
        return self.folder / "made"

    @property
    def _data(self) -> Path:
        return self.folder / "postgres" / "data"

    def _make(self, *, postgres: str | None, say: Callable[[str], None]) -> None:
        say("Making a PostgreSQL cluster")
        provider = choose_provider(prefer=postgres)
        write_private(
            self.folder / "provider.json",
            json.dumps({"name": provider.name, "major": provider.major}),
        )
        if self._data.parent.exists():
            # A first start that was cut off: nothing in it is worth keeping.
            self._server().stop()
            _discard(self._data.parent)
        server = self._server()
        server.create()
        server.start()
        say("Filling it: schema, five migrations, some 40,000 rows")
        with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{DATABASE}" TEMPLATE template0'.encode())
        self._write_url(server)
        write_project(self.app_folder)
        fill(server.url(DATABASE), app=self.app_folder)
        write_private(self._made, "1\n")

    def _seed_planes(self) -> None:
        """Write what the control planes know at first, where nobody has."""
        self.planes.prepare()
        remote, app = self.folder / "remote.git", self.app_folder
        if remote.exists() or (self.planes.folder / "vercel.json").exists():
            return
        from opsctl.sandbox.releases import seed_planes, write_history

        commits = write_history(app, remote)
        seed_planes(self.planes.folder, commits=commits, app=app, remote=remote)

    def _write_url(self, server: Server) -> None:
        write_private(self.folder / "database-url", server.url(DATABASE) + "\n")

    def _write_environment(self) -> None:
        text = _ENVIRONMENT.format(
            base=".opsctl/sandbox",
            port=self._app.port,
            project=PROJECT,
            ref=REF,
            repository=REPOSITORY,
            **{kind: f"http://127.0.0.1:{port}" for kind, port in self.planes.ports.items()},
        )
        write_private(self.folder / "environment.yaml", text)

    def _provider_record(self) -> dict[str, str]:
        text = (self.folder / "provider.json").read_text(encoding="utf-8")
        return {key: str(value) for key, value in json.loads(text).items()}

    def _server(self) -> Server:
        record = self._provider_record()
        major = int(record["major"])
        fitting = [each for each in providers()
                   if each.name == record["name"] and each.major == major]  # fmt: skip
        if not fitting:
            there = ", ".join(f"{each.name} {each.version}" for each in providers())
            raise OpsError(
                "The PostgreSQL that the sandbox was made with is not there any more",
                why=f"it was {record['name']} {major}; there is {there}",
                hint="opsctl sandbox reset",
                code="sandbox-version",
                exit=Exit.UNKNOWN,
            )
        return Server(fitting[0], self._data)

    def _stop(self) -> bool:
        stopped = self._app.stop()
        stopped = self.planes.stop() or stopped
        if self._data.exists():
            # Any version can stop any other: reset must work when the old one is gone.
            server = Server(providers()[0], self._data)
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


_WRITE = b"""
INSERT INTO public.audit_log (tenant_id, what)
  SELECT 1 + n % 40, 'WRITTEN SINCE ' || n FROM generate_series(1, 250) n
"""
_DESTROY = b"""
DROP TABLE public.invoices CASCADE;
DELETE FROM public.audit_log;
UPDATE public.tenants SET name = 'destroyed ' || id;
"""

_ENVIRONMENT = """\
# Written by opsctl sandbox up.
name: sandbox
environment:
  project: {base}/app
  database:
    url: file:{base}/database-url
  vercel:
    project: {project}
    team: team_sandbox
    token: file:{base}/planes/vercel.token
    api: {vercel}
  github:
    repository: {repository}
    environment: production
    token: file:{base}/planes/github.token
    api: {github}
  supabase:
    ref: {ref}
    url: {supabase}
    access_token: file:{base}/planes/supabase.token
    api: {supabase}
    status_page: {statuspage}
  health:
    - name: health
      url: http://127.0.0.1:{port}/api/health
    - name: selftest
      url: http://127.0.0.1:{port}/api/selftest
  channels:
    slack: file:{base}/planes/slack.token
    slack_api: {slack}/api
    statuspage: file:{base}/planes/statuspage.token
    statuspage_page: sandboxpage1
    statuspage_api: {statuspage}
    statuspage_components: [component001, component002]
  rotation:
    drain_h: 0.001
    page: http://127.0.0.1:{port}/
    fingerprint:
      url: http://127.0.0.1:{port}/api/health
      pointer: /credentials/SUPABASE_SECRET_KEY
    jwks_s: 5.0
    token_grace_s: 5.0
    sinks:
      - {{kind: vercel, key: publishable, variable: NEXT_PUBLIC_SUPABASE_PUBLISHABLE_KEY,
         targets: [production, preview]}}
      - {{kind: vercel, key: secret, variable: SUPABASE_SECRET_KEY,
         targets: [production, preview]}}
      - {{kind: github, key: secret, variable: SUPABASE_SECRET_KEY}}
      - {{kind: github-environment, key: secret, variable: SUPABASE_SECRET_KEY}}
      - {{kind: dependabot, key: secret, variable: SUPABASE_SECRET_KEY}}
      - {{kind: edge-functions, key: secret, variable: OUR_SECRET_KEY}}
      - {{kind: env-file, key: publishable, variable: NEXT_PUBLIC_SUPABASE_PUBLISHABLE_KEY,
         path: .env.local}}
      - {{kind: env-file, key: secret, variable: SUPABASE_SECRET_KEY, path: .env.local}}
"""


def _discard(folder: Path) -> None:
    """Remove a folder into which an orphaned program may still write for a moment."""
    moved = folder.with_name(f"{folder.name}.{secrets.token_hex(4)}")
    folder.rename(moved)
    for attempt in range(_DISCARD_ATTEMPTS):
        try:
            return shutil.rmtree(moved)
        except OSError:
            if attempt == _DISCARD_ATTEMPTS - 1:
                raise
            time.sleep(_DISCARD_PAUSE_S)
