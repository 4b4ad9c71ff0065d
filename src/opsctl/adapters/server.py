"""A PostgreSQL server of our own in a directory: made, started, stopped, found again."""

from __future__ import annotations

import os
import re
import secrets
import socket
import sys
import tempfile
import time
from pathlib import Path

from opsctl.adapters.postgres_programs import Provider
from opsctl.adapters.server_user import NOBODY, give, is_root, reachable, through_closed_doors
from opsctl.core.errors import Exit, OpsError
from opsctl.core.process import Finished, alive, run_program

_START_TIMEOUT_S = 60.0
_START_ATTEMPTS = 4
_START_PAUSE_S = 0.5
"""Doubled after each attempt."""


class Server:
    """A PostgreSQL cluster in a directory, listening on loopback with a password of its own."""

    user = "postgres"

    def __init__(self, provider: Provider, data: Path) -> None:
        self.provider = provider
        self.data = data

    @property
    def log(self) -> Path:
        """The server's log."""
        return self.data.parent / "postgres.log"

    @property
    def _password_file(self) -> Path:
        return self.data.parent / "postgres.password"

    @property
    def exists(self) -> bool:
        """Whether the cluster was created, to the end."""
        return (self.data / "PG_VERSION").exists() and self._password_file.exists()

    @property
    def port(self) -> int:
        """The port it listens on; it keeps it from start to start."""
        text = (self.data / "opsctl.conf").read_text(encoding="utf-8")
        match = re.search(r"^port = (\d+)$", text, re.MULTILINE)
        if match is None:
            raise RuntimeError("the cluster's settings hold no port")
        return int(match.group(1))

    def url(self, database: str = "postgres", *, user: str | None = None) -> str:
        """Return a connection URL; it holds the password."""
        password = self._password_file.read_text(encoding="utf-8").strip()
        return f"postgresql://{user or self.user}:{password}@127.0.0.1:{self.port}/{database}"

    def create(self, *, durable: bool = True) -> None:
        """Make the cluster. Without `durable` nothing is flushed to disk: for scratch alone."""
        self.data.parent.mkdir(parents=True, exist_ok=True)
        password = secrets.token_hex(16)
        # Beside the cluster: what may be entered for the one may be entered for the other.
        with tempfile.TemporaryDirectory(prefix="pw-", dir=self.data.parent) as folder:
            pwfile = Path(folder) / "password"
            pwfile.write_text(password + "\n", encoding="utf-8")
            give(pwfile.parent)
            # In a place of its own, then moved: an initdb whose parent was killed goes on for a
            # moment, and when it fails it empties its directory, whosever that is by then.
            made = Path(folder) / "data"
            made.mkdir(mode=0o700)
            give(made)
            self._run(
                "initdb",
                f"--pgdata={made}",
                f"--username={self.user}",
                f"--pwfile={pwfile}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C",
                *(() if durable else ("--no-sync",)),
                what="The PostgreSQL cluster was not created",
            )
            made.rename(self.data)
        self._configure(free_port(), durable=durable)
        write_private(self._password_file, password + "\n")

    def start(self) -> None:
        """Start the server and wait until it answers; harmless when it runs already.

        Tried again a few times: somebody may take the port in between, and after a crash the
        old server's last children may still be ending.
        """
        for attempt in range(_START_ATTEMPTS):
            if self.is_running:
                return
            if not port_is_free(self.port):
                self._configure(free_port(), durable="fsync = off" not in self._settings())
            self._disown_lock_file()
            try:
                return self._start_once()
            except OpsError:
                if attempt == _START_ATTEMPTS - 1 or self.is_running:
                    raise
                time.sleep(_START_PAUSE_S * 2**attempt)

    def stop(self, *, mode: str = "fast") -> None:
        """Stop the server and wait; harmless when it does not run. `immediate` crashes it."""
        if self.is_running:
            self._run(
                "pg_ctl",
                "stop",
                "--wait",
                f"--mode={mode}",
                f"--pgdata={self.data}",
                what="The PostgreSQL server did not stop",
            )

    @property
    def pid(self) -> int | None:
        """The server's process, or None where none runs."""
        pid = self._lock_file_pid()
        return pid if pid is not None and self._is_ours(pid) else None

    @property
    def is_running(self) -> bool:
        """Whether a server of this directory runs."""
        return self.pid is not None

    def _lock_file_pid(self) -> int | None:
        try:
            return int((self.data / "postmaster.pid").read_text(encoding="utf-8").split()[0])
        except (FileNotFoundError, IndexError, ValueError):
            return None

    def _is_ours(self, pid: int) -> bool:
        """Whether a process is a server of this directory, and not one that got its number.

        A number is alive as well when it is a zombie's, which no init reaps in a container.
        """
        words = _command_line(pid)
        if words is None:
            done = self._program("pg_ctl", "status", f"--pgdata={self.data}")
            return done.exit_code == 0
        return any(_same_folder(word, self.data) for word in words[1:])

    def _disown_lock_file(self) -> None:
        """Put a dead process into a lock file that names a living one that is not ours.

        PostgreSQL would refuse to start over it. The rest of the file stays: with it the new
        server makes sure that no child of the old one still uses the shared memory.
        """
        pid = self._lock_file_pid()
        if pid is None or not alive(pid):
            return
        path = self.data / "postmaster.pid"
        rest = path.read_text(encoding="utf-8").partition("\n")[2]
        dead = next(number for number in range(99_998, 1, -1) if not alive(number))
        path.write_text(f"{dead}\n{rest}", encoding="utf-8")

    def _start_once(self) -> None:
        give(self.data)
        self.log.touch(mode=0o600)
        give(self.log)
        self._run(
            "pg_ctl",
            "start",
            "--wait",
            f"--timeout={_START_TIMEOUT_S:.0f}",
            f"--pgdata={self.data}",
            f"--log={self.log}",
            what="The PostgreSQL server did not start",
        )

    def _settings(self) -> str:
        return (self.data / "opsctl.conf").read_text(encoding="utf-8")

    def _configure(self, port: int, *, durable: bool) -> None:
        lines = [
            f"port = {port}",
            "listen_addresses = '127.0.0.1'",
            "unix_socket_directories = ''",
            "max_connections = 100",
            "shared_buffers = 32MB",
            "timezone = 'UTC'",
            "log_timezone = 'UTC'",
        ]
        if durable and "pg_stat_statements" in self.provider.extensions:
            # As hosted databases do. A scratch server's statistics nobody reads.
            lines.append("shared_preload_libraries = 'pg_stat_statements'")
        if not durable:
            lines += ["fsync = off", "synchronous_commit = off", "full_page_writes = off"]
            lines += ["wal_level = minimal", "max_wal_senders = 0", "autovacuum = off"]
            lines += ["maintenance_work_mem = 256MB", "max_wal_size = 8GB"]
            lines += ["checkpoint_timeout = 1h"]
        (self.data / "opsctl.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")
        give(self.data / "opsctl.conf")
        main = self.data / "postgresql.conf"
        text = main.read_text(encoding="utf-8")
        if "include 'opsctl.conf'" not in text:
            main.write_text(text + "\ninclude 'opsctl.conf'\n", encoding="utf-8")

    def _run(self, program: str, *argv: str, what: str) -> None:
        logged = self.log.stat().st_size if self.log.exists() else 0
        done = self._program(program, *argv)
        if done.exit_code == 0:
            return
        why = done.last_line
        if self.log.exists():
            lines = self.log.read_bytes()[logged:].decode(errors="replace").splitlines()
            why = next((line for line in reversed(lines) if "FATAL" in line), why)
        raise OpsError(
            what,
            why=why or f"{program} ended with exit code {done.exit_code}",
            hint=f"look at {self.log}" if self.log.exists() else "is there room on the disk?",
            code="postgres-failed",
            exit=Exit.UNKNOWN,
        )

    def _program(self, program: str, *argv: str) -> Finished:
        path = self.provider.program(program)
        words = [str(path), *argv]
        user: int | None = None
        if is_root():
            if reachable(path) and reachable(self.data):
                user = NOBODY
            else:
                words = [*through_closed_doors(), *words]
        env = {"LC_ALL": "C", "TZ": "UTC", "PGDATA": str(self.data)}
        return run_program(words, env=env, cwd="/" if user else None, user=user, timeout_s=120)


def free_port() -> int:
    """Return a port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def port_is_free(port: int) -> bool:
    """Whether nobody listens on a port of loopback."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def _command_line(pid: int) -> list[str] | None:
    """Return a process's words, none for a dead one or a zombie; None where it cannot be said."""
    if sys.platform == "win32":
        return None
    if sys.platform == "linux":
        try:
            data = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            return []
        return data.decode(errors="replace").split("\0")
    done = run_program(["ps", "-ww", "-o", "command=", "-p", str(pid)], timeout_s=10)
    program, option, folder = done.stdout.strip().partition(" -D ")
    return [program, option.strip(), folder] if done.exit_code == 0 else []


def _same_folder(word: str, folder: Path) -> bool:
    try:
        return Path(word).is_absolute() and Path(word).samefile(folder)
    except OSError:
        return False
