"""Supabase's migrations: the directory, the history, and what its command line says of them.

What supabase 3.1.0 does, run against PostgreSQL without Docker:
- Every command targets the local stack unless `--remote=URL` is given, and only
  `--output-format json` keeps notices off stdout. `migration list` needs no config.toml.
- The URL may come without its password: PGPASSWORD, PGPASSFILE and PGSERVICE are read,
  SUPABASE_DB_PASSWORD is not. `sslmode` in the URL is obeyed; without it TLS is tried and
  given up silently, as libpq does. PGHOST and PGDATABASE do not override the URL.
- A run asks for the newest release and writes `supabase/.temp/cli-latest` unless
  SUPABASE_NO_UPDATE_NOTIFIER is set; NO_UPDATE_NOTIFIER and CI do not stop it.
- A migration is `<digits>_<name>.sql`; directories and other names are skipped. That takes in
  `V_name.down.sql`, which sorts before `V_name.sql`: `db push` on an empty database runs the
  down file under that version, and on a migrated one applies the migration again.
  Subdirectories are not looked into, so `down/V_name.down.sql` is safe.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from opsctl.adapters.migrations import (
    Applied,
    Migration,
    forget_row_sql,
    read_migration,
    read_rows,
    refuse_duplicates,
    remember_row_sql,
)
from opsctl.adapters.node_tools import Unavailable, find_tool, require_major
from opsctl.core.action import Command, Expect, Probe
from opsctl.core.errors import OpsError

_SCHEMA, _TABLE = "supabase_migrations", "schema_migrations"
_FILE = re.compile(r"^(?P<version>\d{1,20})_(?P<name>.*)\.sql$", re.ASCII)
_DOWN = ".down.sql"
_SILENT = (
    ("SUPABASE_NO_UPDATE_NOTIFIER", "1"),
    ("SUPABASE_NO_KEYRING", "1"),
    ("SUPABASE_TELEMETRY_DISABLED", "1"),
    ("DO_NOT_TRACK", "1"),
)
_KNOWN_MAJOR = 3
"""Version 2 has other flags (`--db-url`)."""


def read_directory(directory: Path) -> tuple[Migration, ...] | None:
    """Return the migrations of a directory in order, or None where it does not exist.

    The down file of `V_name.sql` is `down/V_name.down.sql`, or `V_name.down.sql` beside it,
    which `down_files_in_the_way` warns of. What the tool skips is skipped. Raises OpsError
    `duplicate-migration` or `duplicate-down-file` (exit 2), `migration-unreadable` (exit 3).
    """
    if not directory.is_dir():
        return None
    found = []
    for path in sorted(directory.iterdir()):
        match = _FILE.match(path.name)
        if match is None or path.name.endswith(_DOWN) or path.is_dir():
            continue
        found.append(
            read_migration(
                "supabase",
                version=match["version"],
                name=match["name"],
                path=path,
                down_path=_down_path(path),
            )
        )
    refuse_duplicates(found, directory)
    return tuple(sorted(found, key=lambda each: (int(each.version), each.version)))


def down_files_in_the_way(migrations: Sequence[Migration]) -> tuple[str, ...]:
    """Return a sentence for each down file that the supabase command line takes for a migration."""
    return tuple(
        f"`supabase db push` takes {each.down_path.name} for a migration and may run it: "
        f"move it to {each.path.parent.name}/down/."
        for each in migrations
        if each.down_path is not None and each.down_path.parent == each.path.parent
    )


def read_history(connection: Any) -> tuple[Applied, ...] | None:
    """Return the history's rows, or None where the database has no such table."""
    rows = read_rows(connection, _SCHEMA, _TABLE)
    if rows is None:
        return None
    found = [
        Applied("supabase", str(row["version"]), str(row.get("name") or ""), "applied", row=row)
        for row in rows
    ]
    return tuple(sorted(found, key=lambda each: each.version))


def forget_sql(applied: Applied) -> tuple[str, ...]:
    """Return the statements that remove the row, and raise unless there was exactly one."""
    return forget_row_sql(_SCHEMA, _TABLE, key="version", value=applied.version)


def remember_sql(applied: Applied) -> tuple[str, ...]:
    """Return the statements that write the row back as it was."""
    return remember_row_sql(_SCHEMA, _TABLE, applied.row)


def list_probe(
    project: Path,
    *,
    database: str,
    url: str,
    gone: Sequence[str] = (),
    applied: Sequence[str] = (),
) -> Probe | Unavailable:
    """Return a look by the real command line that `gone` are not applied and `applied` are.

    `database` is the reference that resolves to `url`. The program gets the URL without its
    password, and the password by environment.
    """
    program = find_tool(project, "supabase")
    if program is None:
        return Unavailable("the supabase command line is not installed")
    if not (project / "supabase").is_dir():
        return Unavailable("the project has no directory supabase")
    wrong = require_major(program, "supabase", major=_KNOWN_MAJOR)
    if wrong is not None:
        return wrong
    target = _without_password(url)
    if isinstance(target, Unavailable):
        return target
    bare, has_password = target
    return Probe(
        Command(
            (str(program), "migration", "list", f"--remote={bare}", "--output-format", "json"),
            env=_SILENT,
            secrets=(("PGPASSWORD", f"url-password:{database}"),) if has_password else (),
            cwd=str(project),
            timeout_s=60.0,
        ),
        Expect(
            exit_code=0,
            contains=('"migrations":[', *(_remote(version) for version in applied)),
            lacks=tuple(_remote(version) for version in gone),
        ),
    )


def gone_probe(project: Path, *, database: str, url: str, versions: Sequence[str]) -> Probe | None:
    """Return a look that `versions` are not applied; None where `list_probe` says it cannot be."""
    probe = list_probe(project, database=database, url=url, gone=versions)
    return None if isinstance(probe, Unavailable) else probe


def _down_path(path: Path) -> Path:
    beside = path.with_name(f"{path.stem}{_DOWN}")
    below = path.parent / "down" / beside.name
    if not below.exists() and not below.is_symlink():
        return beside
    if beside.exists() or beside.is_symlink():
        raise OpsError(
            f"The migration {path.name} has two down files",
            why=f"{below} and {beside}",
            hint=f"keep {below}: supabase takes the other one for a migration",
            code="duplicate-down-file",
        )
    return below


def _remote(version: str) -> str:
    return f'"remote":{json.dumps(version, ensure_ascii=False)}'


def _without_password(url: str) -> tuple[str, bool] | Unavailable:
    """Return the URL without its password, and whether it had one."""
    import psycopg
    from psycopg import conninfo

    try:
        parts = {k: str(v) for k, v in conninfo.conninfo_to_dict(url).items() if v is not None}
        has_password = urlsplit(url).password is not None
    except (psycopg.Error, ValueError):
        return Unavailable("the database's URL could not be read")
    if "password" in parts and not has_password:
        return Unavailable("the password is not in the usual place of the database's URL")
    host = parts.get("host", "127.0.0.1")
    if "," in host or host.startswith(("/", "@")):
        return Unavailable("the database's URL names several hosts, or a socket")
    if "sslrootcert" in parts:
        return Unavailable("the database's URL names a certificate file")
    where = f"[{host}]" if ":" in host else host
    user = quote(parts.get("user", "postgres"), safe="")
    name = quote(parts.get("dbname", parts.get("user", "postgres")), safe="")
    # Without its sslmode the password could go out over a connection that was to be refused.
    tls = f"?sslmode={quote(parts['sslmode'], safe='')}" if "sslmode" in parts else ""
    return f"postgresql://{user}@{where}:{parts.get('port', '5432')}/{name}{tls}", has_password
