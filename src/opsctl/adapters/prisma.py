"""Prisma's migrations: the directory, the history, and what its command line says of them.

prisma 6.19.3, run against PostgreSQL: deleting the history's row is the only state on which
`migrate status` and `migrate deploy` agree; `resolve --rolled-back` refuses an applied
migration (P3012), and a `rolled_back_at` makes `status` say "up to date" while `deploy`
applies it again. The checksum is the SHA-256 of migration.sql.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

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

_SCHEMA, _TABLE = "public", "_prisma_migrations"
_SILENT = (
    ("CHECKPOINT_DISABLE", "1"),
    ("PRISMA_HIDE_UPDATE_MESSAGE", "1"),
    ("DO_NOT_TRACK", "1"),
    ("NO_COLOR", "1"),
)


@dataclass(frozen=True)
class Unavailable:
    """Something the tool could not be asked, and why."""

    why: str


def read_directory(directory: Path) -> tuple[Migration, ...] | None:
    """Return the migrations of a directory in order, or None where it does not exist.

    The down file is `down.sql` beside `migration.sql`.
    """
    if not directory.is_dir():
        return None
    found = [
        read_migration(
            "prisma",
            version=path.parent.name,
            name=path.parent.name,
            path=path,
            down_path=path.with_name("down.sql"),
        )
        for path in sorted(directory.glob("*/migration.sql"))
    ]
    refuse_duplicates(found, directory)
    return tuple(found)


def read_history(connection: Any) -> tuple[Applied, ...] | None:
    """Return the history's rows, newest attempt of each last, or None where there is no table."""
    rows = read_rows(connection, _SCHEMA, _TABLE)
    if rows is None:
        return None
    found = [
        Applied(
            "prisma",
            str(row["migration_name"]),
            str(row["migration_name"]),
            _state(row),
            checksum=row.get("checksum"),
            row=row,
        )
        for row in rows
    ]
    return tuple(sorted(found, key=lambda each: (each.version, str(each.row.get("started_at")))))


def forget_sql(applied: Applied) -> tuple[str, ...]:
    """Return the statements that remove the row, and raise unless there was exactly one."""
    return forget_row_sql(_SCHEMA, _TABLE, key="id", value=str(applied.row["id"]))


def remember_sql(applied: Applied) -> tuple[str, ...]:
    """Return the statements that write the row back as it was."""
    return remember_row_sql(_SCHEMA, _TABLE, applied.row)


def gone_probe(project: Path, *, database: str, url: str, versions: Sequence[str]) -> Probe | None:
    """Return a look by the real command line that it holds `versions` to be not applied.

    None where the program is not the project's own. `migrate status` then exits 1 and names
    them.
    """
    program = find_program(project)
    if program is None or not (project / "prisma").is_dir():
        return None
    return Probe(
        Command(
            (program, "migrate", "status"),
            env=_SILENT,
            secrets=(("DATABASE_URL", database),),
            cwd=str(project),
            timeout_s=60.0,
        ),
        Expect(exit_code=1, contains=("not yet been applied", *versions)),
    )


def diff_down(project: Path, *, from_url: str, to_url: str) -> str | Unavailable:
    """Ask the real prisma for SQL that leads from one database to another.

    Both must be scratch databases. Returns `Unavailable` where it cannot be asked.
    """
    from opsctl.core.errors import OpsError
    from opsctl.core.process import run_program

    program = find_program(project)
    if program is None:
        return Unavailable("prisma is not installed in the project")
    try:
        done = run_program(
            [
                program,
                "migrate",
                "diff",
                "--from-url",
                "env:FROM",
                "--to-url",
                "env:TO",
                "--script",
            ],
            env=dict(_SILENT),
            cwd=str(project),
            timeout_s=60.0,
        )
    except OpsError as error:
        return Unavailable(error.why)
    if done.exit_code != 0:
        return Unavailable(done.last_line)
    return done.stdout


def find_program(project: Path) -> str | None:
    """Return the path of the project's own prisma, or the PATH's; None where there is none."""
    own = project / "node_modules" / ".bin" / "prisma"
    return str(own) if own.exists() else shutil.which("prisma")


def _state(row: Any) -> Literal["applied", "failed", "rolled-back"]:
    if row.get("rolled_back_at") is not None:
        return "rolled-back"
    return "applied" if row.get("finished_at") is not None else "failed"
