"""Supabase's migrations: the directory, the history, and what its command line says of them.

supabase 3.1.0, run against PostgreSQL: every command targets the local stack unless
`--remote=URL` is given, only `--output-format json` keeps notices off stdout, and
`migration list` takes every `<digits>_<name>.sql` for a migration.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from opsctl.adapters.migrations import (
    Applied,
    Migration,
    forget_row_sql,
    read_migration,
    read_rows,
    refuse_duplicates,
    remember_row_sql,
)
from opsctl.core.action import Command, Expect, Probe

_SCHEMA, _TABLE = "supabase_migrations", "schema_migrations"
_FILE = re.compile(r"^(?P<version>\d{1,20})_(?P<name>.*)\.sql$", re.ASCII)
_SILENT = (
    ("SUPABASE_NO_KEYRING", "1"),
    ("SUPABASE_TELEMETRY_DISABLED", "1"),
    ("DO_NOT_TRACK", "1"),
    ("NO_UPDATE_NOTIFIER", "1"),
)


def read_directory(directory: Path) -> tuple[Migration, ...] | None:
    """Return the migrations of a directory in order, or None where it does not exist.

    The down file of `V_name.sql` is `V_name.down.sql` beside it.
    """
    if not directory.is_dir():
        return None
    found = []
    for path in sorted(directory.iterdir()):
        match = _FILE.match(path.name)
        if match is None or path.name.endswith(".down.sql"):
            continue
        found.append(
            read_migration(
                "supabase",
                version=match["version"],
                name=match["name"],
                path=path,
                down_path=path.with_name(f"{path.stem}.down.sql"),
            )
        )
    refuse_duplicates(found, directory)
    return tuple(sorted(found, key=lambda each: (int(each.version), each.version)))


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


def gone_probe(project: Path, *, database: str, url: str, versions: Sequence[str]) -> Probe | None:
    """Return a look by the real command line that none of `versions` is applied any more.

    None where the program is not installed, or where the project is not Supabase's. The URL
    goes to the program without its password, which goes by environment.
    """
    program = find_program(project)
    if program is None or not (project / "supabase").is_dir():
        return None
    from psycopg import conninfo

    parts = {k: str(v) for k, v in conninfo.conninfo_to_dict(url).items() if v is not None}
    where = f"{parts.get('host', '127.0.0.1')}:{parts.get('port', '5432')}"
    bare = f"postgresql://{parts.get('user', 'postgres')}@{where}/{parts.get('dbname', 'postgres')}"
    secrets = (("PGPASSWORD", f"url-password:{database}"),) if "password" in parts else ()
    return Probe(
        Command(
            (program, "migration", "list", f"--remote={bare}", "--output-format", "json"),
            env=_SILENT,
            secrets=secrets,
            cwd=str(project),
            timeout_s=60.0,
        ),
        Expect(exit_code=0, lacks=tuple(f'"remote":"{version}"' for version in versions)),
    )


def find_program(project: Path) -> str | None:
    """Return the path of the project's own supabase, or the PATH's; None where there is none."""
    own = project / "node_modules" / ".bin" / "supabase"
    return str(own) if own.exists() else shutil.which("supabase")
