"""What the migration tools share: a migration on disk, and a row of a tool's history."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from opsctl.adapters.sql import qualified, quote_identifier, quote_literal
from opsctl.core.errors import Exit, OpsError

_MAX_SQL_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True)
class Migration:
    """One migration in a tool's directory."""

    tool: str
    version: str
    """What the history calls it."""
    name: str
    path: Path
    sql: str
    checksum: str
    """SHA-256 of the file's bytes, hexadecimal."""
    down_path: Path | None
    down_sql: str | None


@dataclass(frozen=True)
class Applied:
    """One row of a tool's history."""

    tool: str
    version: str
    name: str
    state: Literal["applied", "failed", "rolled-back"]
    """failed: begun and not ended; only prisma records it."""
    checksum: str | None = None
    applied_at: str | None = None
    """When it ended, ISO 8601; only prisma records it."""
    steps: int | None = None
    """How many steps prisma counted as applied."""
    logs: str | None = None
    """What prisma recorded of a failure."""
    row: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """The whole row as JSON data, whatever columns it has, to be put back exactly."""


def read_migration(tool: str, *, version: str, name: str, path: Path, down_path: Path) -> Migration:
    """Read one migration and, where it is there, its down file.

    The text is read as it is, line ends and all. Raises OpsError `migration-unreadable`
    (exit 3) for a link to nowhere, a file that is not UTF-8, holds NUL or is too large.
    """
    sql, checksum = _read_sql(path)
    # A link to nowhere is a down file that cannot be read, not one that is not there.
    there = down_path.is_symlink() or down_path.exists()
    down = _read_sql(down_path)[0] if there else None
    return Migration(
        tool=tool,
        version=version,
        name=name,
        path=path,
        sql=sql,
        checksum=checksum,
        down_path=down_path if down is not None else None,
        down_sql=down,
    )


def forget_row_sql(schema: str, table: str, *, key: str, value: str) -> tuple[str, ...]:
    """Return the statement that removes exactly one row of a history and raises otherwise."""
    name = qualified(schema, table)
    where = f"{quote_identifier(key)} = {quote_literal(value)}"
    body = (
        "\nDECLARE removed bigint;\nBEGIN\n"
        f"  DELETE FROM {name} WHERE {where};\n"
        "  GET DIAGNOSTICS removed = ROW_COUNT;\n"
        "  IF removed <> 1 THEN\n"
        "    RAISE EXCEPTION 'the history was changed by somebody else: % rows instead of one', "
        "removed USING ERRCODE = 'OC002';\n  END IF;\nEND "
    )
    # A version may hold the tag itself: anybody who may write to the history chooses it.
    tag = "$opsctl_forget$"
    while tag in body:
        tag = f"{tag[:-1]}_$"
    return (f"DO {tag}{body}{tag}",)


def remember_row_sql(schema: str, table: str, row: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the statement that writes a row of a history back, column by column."""
    name = qualified(schema, table)
    columns = ", ".join(quote_identifier(column) for column in row)
    text = quote_literal(json.dumps(row, sort_keys=True, ensure_ascii=False))
    return (
        f"INSERT INTO {name} ({columns}) SELECT {columns} "
        f"FROM pg_catalog.jsonb_populate_record(NULL::{name}, {text}::pg_catalog.jsonb)",
    )


def read_rows(connection: Any, schema: str, table: str) -> tuple[Mapping[str, Any], ...] | None:
    """Return a history's rows as JSON data, or None where there is no such table."""
    name = qualified(schema, table)
    found = connection.execute("SELECT pg_catalog.to_regclass(%s) IS NOT NULL", (name,)).fetchone()
    if not found or not found[0]:
        return None
    rows = connection.execute(f"SELECT pg_catalog.to_jsonb(t) FROM {name} t".encode()).fetchall()
    return tuple(row[0] for row in rows)


def refuse_duplicates(migrations: list[Migration], directory: Path) -> None:
    """Raise OpsError `duplicate-migration` (exit 2) where two files have one version."""
    seen: dict[str, Path] = {}
    for each in migrations:
        if each.version in seen:
            raise OpsError(
                f"Two migrations have the version {each.version}",
                why=f"{seen[each.version].name} and {each.path.name} in {directory}",
                hint="rename one of them; which of them was applied cannot be told",
                code="duplicate-migration",
            )
        seen[each.version] = each.path


def _read_sql(path: Path) -> tuple[str, str]:
    try:
        if path.stat().st_size > _MAX_SQL_BYTES:
            raise _unreadable(path, f"it is larger than {_MAX_SQL_BYTES // 1024**2} MiB")
        data = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error.strerror or type(error).__name__) from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _unreadable(path, "it is not UTF-8 text") from None
    if "\0" in text:
        raise _unreadable(path, "it holds a NUL character")
    return text, hashlib.sha256(data).hexdigest()


def _unreadable(path: Path, why: str) -> OpsError:
    return OpsError(
        f"The migration {path} could not be read",
        why=why,
        hint="mend the file, then try again",
        code="migration-unreadable",
        exit=Exit.UNKNOWN,
    )
