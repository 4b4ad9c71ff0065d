"""A backup before the rollback: dumped, restored into a scratch server and compared.

The dump and the hashes of the rows are taken in one snapshot, so a database in use can be
compared too. Command line: `opsctl rollback backup`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

from opsctl.adapters import postgres, scratch
from opsctl.adapters.sql import qualified
from opsctl.core.action import Command, Expect, Probe
from opsctl.core.errors import Exit, OpsError
from opsctl.core.plan import Step
from opsctl.core.report import Report, Table
from opsctl.core.secrets import resolve_secret

if TYPE_CHECKING:
    from opsctl.core.call import Call

_TIMEOUT_S = 6 * 3600.0


def backup_step(call: Call) -> Step:
    """Return the step that makes a verified backup; its check asks for one of this hour."""
    opsctl = (sys.executable, "-m", "opsctl", "rollback", "backup", "--env", call.name, "--quiet")
    root = str(call.root)
    return Step(
        id="backup",
        title="Make a backup, restore it into a scratch server and compare every row",
        safety="idempotent",
        action=Command(opsctl, cwd=root, timeout_s=_TIMEOUT_S),
        check=Probe(Command((*opsctl, "--newer-than", "3600"), cwd=root), Expect(exit_code=0)),
        undo=None,
        detail=(str(_folder(call)),),
    )


def newest_backup_age_h(call: Call) -> float | None:
    """Return the age of the newest verified backup in hours, or None where there is none."""
    stamps = [path.stat().st_mtime for path in _folder(call).glob("*/manifest.json")]
    return (time.time() - max(stamps)) / 3600 if stamps else None


def is_recent(call: Call, *, seconds: float) -> Report:
    """Report whether there is a verified backup younger than that; raises OpsError if not."""
    age_h = newest_backup_age_h(call)
    if age_h is None or age_h * 3600 > seconds:
        raise OpsError(
            "There is no verified backup as young as that",
            why="there is none" if age_h is None else f"the newest is {age_h:.1f} h old",
            hint=f"opsctl rollback backup --env {call.name}",
            code="no-recent-backup",
            exit=Exit.FAILED,
        )
    return Report(
        command="rollback backup",
        title="There is a recent verified backup",
        environment=call.name,
        data={"age_h": round(age_h, 2)},
    )


def make_backup(call: Call, *, reference: str) -> Report:
    """Dump the database, prove the dump, and write the manifest last.

    Raises OpsError `backup-differs` (exit 1) where the restored rows are others, or what the
    dump itself raises. A backup without a manifest does not exist.
    """
    began = time.monotonic()
    url = resolve_secret(reference)
    name = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    folder = _folder(call) / name
    folder.mkdir(mode=0o700, parents=True)
    archive = folder / "database.dump"
    with postgres.connect(url, autocommit=False) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        snapshot = connection.execute("SELECT pg_export_snapshot()").fetchone()
        major = connection.info.server_version // 10000
        call.say("Dumping the database")
        postgres.dump_database(
            url, archive, major=major, snapshot=str(snapshot[0] if snapshot else "")
        )
        call.say("Hashing its rows")
        wanted = _hashes(connection)
    call.say("Restoring the dump into a scratch server")
    with scratch.scratch_server(at_least=major) as server:
        restored = server.create_database("restored")
        _copy_roles(url, server.url("postgres"))
        postgres.restore_database(archive, restored, major=major)
        with postgres.connect(restored) as connection:
            found = _hashes(connection)
    differing = sorted(table for table in wanted if found.get(table) != wanted[table])
    if differing:
        raise OpsError(
            "The restored backup is not what was dumped",
            why=f"these tables differ: {', '.join(differing[:10])}",
            hint=f"keep {folder} for a look, and try again",
            code="backup-differs",
            exit=Exit.FAILED,
        )
    manifest = {
        "opsctl": 1,
        "environment": call.name,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "server_major": major,
        "tables": {table: list(value) for table, value in wanted.items()},
        "bytes": archive.stat().st_size,
        "took_s": round(time.monotonic() - began, 2),
    }
    _write_last(folder / "manifest.json", manifest)
    rows = sum(count for count, _ in wanted.values())
    return Report(
        command="rollback backup",
        title=f"The backup {name} is made and proven",
        environment=call.name,
        tables=(
            Table(
                "",
                ("tables", "rows", "bytes", "seconds"),
                ((str(len(wanted)), str(rows), str(manifest["bytes"]), str(manifest["took_s"])),),
            ),
        ),
        data={"backup": str(folder), "tables": len(wanted), "rows": rows},
    )


def _folder(call: Call) -> Path:
    return call.root / call.environment.rollback.backup_dir / call.name


def _hashes(connection: postgres.Connection) -> dict[str, tuple[int, str]]:
    """Return (rows, order-independent hash) of every table."""
    for setting in ("datestyle = 'ISO, MDY'", "timezone = 'UTC'", "intervalstyle = 'postgres'",
                    "extra_float_digits = 1", "bytea_output = 'hex'"):  # fmt: skip
        connection.execute(f"SET {setting}".encode())
    tables = connection.execute(
        "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' "
        "ORDER BY 1, 2"
    ).fetchall()
    found: dict[str, tuple[int, str]] = {}
    for schema, table in tables:
        query = (
            "SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)), 0)::text "
            f"FROM {qualified(schema, table)} t"
        )
        row: Any = connection.execute(query.encode()).fetchone()
        found[f"{schema}.{table}"] = (int(row[0]), str(row[1]))
    return found


def _copy_roles(url: str, admin_url: str) -> None:
    with postgres.connect(url) as live:
        names = [row[0] for row in live.execute("SELECT rolname FROM pg_roles")]
    with postgres.connect(admin_url, read_only=False) as admin:
        present = {row[0] for row in admin.execute("SELECT rolname FROM pg_roles")}
        for name in names:
            if name not in present and not name.startswith("pg_"):
                quoted = name.replace('"', '""')
                admin.execute(f'CREATE ROLE "{quoted}" NOLOGIN'.encode())


def _write_last(path: Path, manifest: dict[str, Any]) -> None:
    temporary = path.with_suffix(".tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(manifest, file, indent=1, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
