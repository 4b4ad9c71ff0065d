"""Prisma's migrations: the directory, the history, and what its command line says of them.

What prisma 6.19.3 does, run against PostgreSQL:
- Deleting the history's row is the only state on which `migrate status` and `migrate deploy`
  agree. `resolve --rolled-back` refuses an applied migration (P3012), and a `rolled_back_at`
  makes `status` say "up to date" while `deploy` applies it again. The checksum is the
  SHA-256 of migration.sql.
- `status` exits 0 with "Database schema is up to date!", and 1 both where migrations have
  "not yet been applied", each named on a line of its own, and where it could not connect.
- With `engine: "js"` and a driver adapter, `migrate diff` refuses --from-url, --to-url and
  --from-schema-datasource ("not supported when defining an adapter"); prisma_diff.mjs is the
  way around. Even then the program wants to download the query engine it will not use,
  unless PRISMA_QUERY_ENGINE_LIBRARY names a file that is there.
- `@prisma/adapter-pg` cannot read the types "char" and name: `migrate deploy` fails with
  "Column type 'name' could not be deserialized" unless the project's pool maps them.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from opsctl.adapters.migrations import (
    Applied,
    Migration,
    forget_row_sql,
    read_migration,
    read_rows,
    remember_row_sql,
)
from opsctl.adapters.node_tools import Unavailable as Unavailable
from opsctl.adapters.node_tools import find_tool, require_major
from opsctl.core.action import Command, Expect, Probe
from opsctl.core.errors import OpsError
from opsctl.core.process import run_program

_SCHEMA, _TABLE = "public", "_prisma_migrations"
_SILENT = (
    ("CHECKPOINT_DISABLE", "1"),
    ("PRISMA_HIDE_UPDATE_MESSAGE", "1"),
    ("DO_NOT_TRACK", "1"),
    ("NO_COLOR", "1"),
)


_KNOWN_MAJOR = 6
_STAMP = re.compile(r"\d{14}", re.ASCII)
_NOTHING_TO_DO = "-- This is an empty migration."


def read_directory(directory: Path) -> tuple[Migration, ...] | None:
    """Return the migrations of a directory in order, or None where it does not exist.

    The down file is `down.sql` beside `migration.sql`. The order is the tool's: by name. A
    directory without `migration.sql` raises OpsError `migration-unreadable` (exit 3) where
    its name says that it is a migration, and is skipped otherwise.
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
        for path in _scripts(directory)
    ]
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
            applied_at=row.get("finished_at"),
            steps=row.get("applied_steps_count"),
            logs=row.get("logs"),
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


def list_probe(
    project: Path, *, database: str, gone: Sequence[str] = (), applied: Sequence[str] = ()
) -> Probe | Unavailable:
    """Return a look by the real command line that `gone` are not applied and `applied` are.

    The program names only what is not applied. So without `gone` everything in the directory
    must be applied. `database` is a reference that resolves to the connection URL.
    """
    program = find_tool(project, "prisma")
    if program is None:
        return Unavailable("the prisma command line is not installed")
    if not (project / "prisma").is_dir():
        return Unavailable("the project has no directory prisma")
    if not program.is_relative_to((project / "node_modules").absolute()):
        # Its configuration imports the project's packages: another's prisma cannot load it.
        return Unavailable("the prisma command line is not installed in the project")
    wrong = require_major(program, "prisma", major=_KNOWN_MAJOR)
    if wrong is not None:
        return wrong
    lines = {version: f"\n{version}\n" for version in (*gone, *applied)}
    return Probe(
        Command(
            (str(program), "migrate", "status"),
            env=_SILENT,
            secrets=(("DATABASE_URL", database),),
            cwd=str(project),
            timeout_s=60.0,
        ),
        Expect(
            exit_code=1 if gone else 0,
            contains=("not yet been applied", *(lines[each] for each in gone))
            if gone
            else ("Database schema is up to date!",),
            lacks=tuple(lines[each] for each in applied),
        ),
    )


def gone_probe(project: Path, *, database: str, url: str, versions: Sequence[str]) -> Probe | None:
    """Return a look that `versions` are not applied; None where `list_probe` says it cannot be."""
    del url  # the two tools' adapters are called alike
    probe = list_probe(project, database=database, gone=versions)
    return None if isinstance(probe, Unavailable) else probe


def diff_down(project: Path, *, from_url: str, to_url: str) -> str | Unavailable:
    """Ask the real prisma for SQL that leads from one database's schema to another's.

    Both must be scratch databases. Only what prisma models is compared: tables, columns, keys,
    indexes and enums of the schema public; not policies, functions, triggers or views. So the
    SQL is a proposal, to be proven. `Unavailable` where it cannot be asked or sees no
    difference. The URLs go by environment.
    """
    program = find_tool(project, "prisma")
    if program is None:
        return Unavailable("the prisma command line is not installed")
    wrong = require_major(program, "prisma", major=_KNOWN_MAJOR)
    if wrong is not None:
        return wrong
    if not (project / "node_modules" / "@prisma" / "adapter-pg").exists():
        return Unavailable("the project does not have @prisma/adapter-pg")
    with tempfile.TemporaryDirectory(prefix="opsctl-diff-") as name:
        folder = Path(name)
        environment = {
            **dict(_SILENT),
            "OPSCTL_PROJECT": str(project.absolute() / "package.json"),
            "OPSCTL_SCHEMA": str(folder / "schema.prisma"),
            "OPSCTL_FROM": from_url,
            "OPSCTL_TO": to_url,
            # Any file does: these engines are looked for and not used.
            "PRISMA_QUERY_ENGINE_LIBRARY": sys.executable,
            "PRISMA_SCHEMA_ENGINE_BINARY": sys.executable,
        }
        try:
            done = run_program(
                _diff_argv(program, folder), env=environment, cwd=name, timeout_s=60.0
            )
        except OpsError as error:
            return Unavailable(error.why)
    if done.exit_code != 0:
        return Unavailable(_without(done.last_line, from_url, to_url) or "it said nothing")
    if done.stdout.strip() in ("", _NOTHING_TO_DO):
        return Unavailable("prisma sees no difference: it does not compare everything")
    return done.stdout


def _scripts(directory: Path) -> list[Path]:
    found = []
    for path in sorted(directory.iterdir()):
        script = path / "migration.sql"
        there = script.exists() or script.is_symlink()
        if path.is_dir() and (there or _STAMP.match(path.name)):
            found.append(script)
    return found


def _diff_argv(program: Path, folder: Path) -> list[str]:
    """Write what the program reads, and return how to call it."""
    datasource = 'datasource db {\n  provider = "postgresql"\n  url = env("OPSCTL_FROM")\n}\n'
    (folder / "schema.prisma").write_text(datasource, encoding="utf-8")
    config = folder / "prisma.config.mjs"
    config.write_bytes((Path(__file__).parent / "prisma_diff.mjs").read_bytes())
    empty = folder / "migrations"
    empty.mkdir()
    (empty / "migration_lock.toml").write_text('provider = "postgresql"\n', encoding="utf-8")
    sides = ["--from-migrations", str(empty), "--to-migrations", str(empty)]
    return [str(program), "migrate", "diff", f"--config={config}", *sides, "--script"]


def _without(text: str, *urls: str) -> str:
    """Return the text without the URLs and their passwords."""
    from urllib.parse import urlsplit

    for url in urls:
        for secret in (url, urlsplit(url).password):
            if secret:
                text = text.replace(secret, "***")
    return text


def _state(row: Any) -> Literal["applied", "failed", "rolled-back"]:
    if row.get("rolled_back_at") is not None:
        return "rolled-back"
    return "applied" if row.get("finished_at") is not None else "failed"
