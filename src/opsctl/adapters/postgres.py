"""PostgreSQL as a client sees it: connections, server facts, and schema dumps by pg_dump."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import conninfo

from opsctl.adapters.scratch import pg_program
from opsctl.core.errors import Exit, OpsError
from opsctl.core.process import run_program

Connection = psycopg.Connection[tuple[Any, ...]]

_TRANSACTION_POOLER_PORT = "6543"
_DUMP_TIMEOUT_S = 600.0


@dataclass(frozen=True)
class ServerFacts:
    """What must be known of a server and of who we are there."""

    version: str
    major: int
    database: str
    user: str
    superuser: bool
    can_silence_triggers: bool
    """Whether session_replication_role may be set."""


@contextmanager
def connect(url: str, *, read_only: bool = True, autocommit: bool = True) -> Iterator[Connection]:
    """Open a connection for reading and close it.

    Raises OpsError `database-url` (exit 2) for a malformed URL or the transaction pooler's
    port, `database-unreachable` (exit 3) otherwise. Neither repeats the URL: libpq does.
    """
    parts = _parts(url)
    if parts.get("port") == _TRANSACTION_POOLER_PORT:
        raise OpsError(
            "The database URL points at the transaction pooler",
            why="port 6543 has no session features: no locks, no snapshots",
            hint="use the direct connection or the session pooler, port 5432",
            code="pooler-port",
        )
    options = "-c default_transaction_read_only=on" if read_only else ""
    if "options" in parts:
        options = f"{parts['options']} {options}"
    try:
        connection = psycopg.connect(
            url,
            autocommit=autocommit,
            connect_timeout=10,
            application_name="opsctl",
            options=options,
        )
    except psycopg.OperationalError as error:
        raise unreachable(parts, error) from None
    except psycopg.Error as error:
        raise unreachable(parts, error) from None
    try:
        connection.prepare_threshold = None
        yield connection
    finally:
        connection.close()


def unreachable(parts: dict[str, str], error: Exception) -> OpsError:
    """Return the error for a connection that failed, without the password or the URL."""
    text = str(error)
    password = parts.get("password")
    where = f"{parts.get('host', 'the local socket')}:{parts.get('port', '5432')}"
    known = {
        "password authentication failed": "the server refused the password",
        "no password supplied": "the server wants a password and the URL has none",
        "could not translate host name": "the host name is not known",
        "Name or service not known": "the host name is not known",
        "Connection refused": "nothing listens there",
        "timeout expired": "there was no answer within 10 s",
        "does not exist": "the server knows no such database or role",
        "too many clients": "the server has no free connection",
        "remaining connection slots": "the server has no free connection",
        "starting up": "the server is still starting",
        "shutting down": "the server is shutting down",
        "SSL": "the TLS handshake failed",
        "Network is unreachable": "the network is unreachable from here (direct hosts are IPv6)",
    }
    why = next((words for part, words in known.items() if part in text), "the connection failed")
    if password and password in why:  # pragma: no cover - the words above are constants
        why = "the connection failed"
    return OpsError(
        f"The database at {where} was not reached",
        why=why,
        hint="check the database URL of the environment and that the server is up; "
        "opsctl healthcheck run",
        code="database-unreachable",
        exit=Exit.UNKNOWN,
    )


def server_facts(connection: Connection) -> ServerFacts:
    """Return what the server is and what we may do there; one round trip."""
    major = connection.info.server_version // 10000
    silence = (
        "pg_catalog.has_parameter_privilege('session_replication_role', 'SET')"
        if major >= 15
        else "false"
    )
    row = connection.execute(
        "SELECT current_setting('server_version'), current_database(), current_user, "
        f"rolsuper, rolsuper OR {silence} FROM pg_catalog.pg_roles WHERE rolname = current_user"
    ).fetchone()
    if row is None:  # pragma: no cover - current_user is a role
        raise RuntimeError("the current user is not a role")
    version, database, user, superuser, silence_ok = row
    return ServerFacts(version, major, database, user, superuser, silence_ok)


@dataclass(frozen=True)
class SchemaDump:
    """A schema-only archive in pg_dump's custom format."""

    path: Path
    major: int
    entries: tuple[str, ...]
    """Its table of contents, a line each, as pg_restore lists it."""


@contextmanager
def dump_schema(url: str, *, major: int) -> Iterator[SchemaDump]:
    """Dump the schema of a database, without rows, into a file that is removed afterwards.

    Raises OpsError `tool-missing` without a fitting pg_dump, `dump-failed` where it fails.
    """
    program = pg_program("pg_dump", at_least=major, tls=needs_tls(url))
    with tempfile.TemporaryDirectory(prefix="opsctl-schema-") as folder:
        path = Path(folder) / "schema.dump"
        argv = [str(program), "--schema-only", "--format=custom", "--no-password"]
        # A migration that holds a table is not queued behind for ever: others queue behind us.
        argv += ["--lock-wait-timeout=30000"]
        run_pg([*argv, f"--file={path}"], url, what="The schema was not dumped")
        listing = run_program(
            [str(program.with_name("pg_restore" + program.suffix)), "-l", str(path)]
        )
        lines = tuple(
            line for line in listing.stdout.splitlines() if line and not line.startswith(";")
        )
        yield SchemaDump(path=path, major=major, entries=lines)


def restore_schema(
    dump: SchemaDump, url: str, *, keep: Callable[[DumpEntry], bool] | None = None
) -> tuple[str, ...]:
    """Restore a schema dump into an empty database and return what pg_restore complained about.

    `keep` chooses entries. Complaints are its error lines, in order; they are not raised,
    because the caller compares catalogs afterwards.
    """
    program = pg_program("pg_restore", at_least=dump.major)
    lines = [line for line in dump.entries if keep is None or keep(parse_entry(line))]
    with tempfile.TemporaryDirectory(prefix="opsctl-schema-") as folder:
        listing = Path(folder) / "list"
        listing.write_text("\n".join(lines) + "\n", encoding="utf-8")
        argv = [str(program), "--no-password", f"--use-list={listing}"]
        text = run_pg([*argv, str(dump.path)], url, what="The schema was not restored", ok=(0, 1))
    return tuple(line for line in text.splitlines() if "error:" in line)


@dataclass(frozen=True)
class DumpEntry:
    """One line of a dump's table of contents: `TABLE auth users owner`."""

    kind: str
    schema: str
    """`-` for what lies in no schema."""
    name: str
    """The rest of the line: name or signature, and the owner."""


_ENTRY = re.compile(r"^\d+; \d+ \d+ (?P<kind>[A-Z][A-Z ]*[A-Z]) (?P<schema>\S+) (?P<name>.*)$")


def parse_entry(line: str) -> DumpEntry:
    """Return one line of a table of contents; a line that fits no pattern is of kind `?`."""
    match = _ENTRY.match(line)
    if match is None:
        return DumpEntry("?", "-", line)
    return DumpEntry(match["kind"], match["schema"], match["name"])


def run_pg(
    argv: list[str],
    url: str,
    *,
    what: str,
    ok: tuple[int, ...] = (0,),
    timeout_s: float = _DUMP_TIMEOUT_S,
    on_stderr: Callable[[str], None] | None = None,
) -> str:
    """Run one of PostgreSQL's programs on a database and return its stderr.

    The password goes by environment. Raises OpsError `dump-failed` for another exit code than
    those that are `ok`.
    """
    parts = _parts(url)
    password = parts.pop("password", None)
    env = {"PGAPPNAME": "opsctl", "LC_MESSAGES": "C", "LC_ALL": "C"}
    if password is not None:
        env["PGPASSWORD"] = password
    done = run_program(
        [*argv, f"--dbname={conninfo.make_conninfo(**parts)}"],
        env=env,
        timeout_s=timeout_s,
        on_stderr=on_stderr,
    )
    if done.exit_code not in ok:
        complaints = [line for line in done.stderr.splitlines() if "error:" in line]
        why = complaints[0] if complaints else done.last_line
        raise OpsError(
            what,
            why=(why.replace(password, "***") if password else why)
            or f"exit code {done.exit_code}",
            hint="check that the role may read every schema of the database",
            code="dump-failed",
            exit=Exit.UNKNOWN,
        )
    return done.stderr


def needs_tls(url: str) -> bool:
    """Whether a connection URL insists on TLS."""
    return _parts(url).get("sslmode", "prefer") in ("require", "verify-ca", "verify-full")


def database_name(url: str) -> str:
    """Return the database that a URL names, or the user's own."""
    parts = _parts(url)
    return parts.get("dbname") or parts.get("user", "postgres")


def _parts(url: str) -> dict[str, str]:
    try:
        parsed = conninfo.conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        raise OpsError(
            "The database URL was not understood",
            why="it is not a PostgreSQL connection URL",
            hint="it looks like postgresql://USER:PASSWORD@HOST:5432/DATABASE; "
            "encode special characters of the password",
            code="database-url",
        ) from None
    return {name: str(value) for name, value in parsed.items() if value is not None}
