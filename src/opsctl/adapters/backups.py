"""Take a backup: one snapshot, dumped, hashed and described; the manifest is written last."""

from __future__ import annotations

import gzip
import io
import json
import re
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import psycopg

from opsctl.adapters import backup_manifest, catalog, contents, pg_archive
from opsctl.adapters.backup_manifest import (
    DatabaseInfo,
    ExtensionInfo,
    Manifest,
    Role,
    StoredTable,
    Tool,
)
from opsctl.adapters.contents import TableContent, TableName
from opsctl.adapters.postgres import Connection, connect, needs_tls
from opsctl.adapters.postgres_programs import Clients, choose_clients
from opsctl.adapters.sql import qualified, quote_identifier, quote_literal
from opsctl.adapters.stores import MAKING, MANIFEST, Store, new_id, write_atomically
from opsctl.core.errors import Exit, OpsError
from opsctl.core.progress import Progress

DATA = "data"
"""The folder within a backup that pg_dump writes."""

CATALOG = "catalog.json.gz"
ROLES = "roles.sql"
ENCRYPTED = ".age"

_HISTORIES = {
    "supabase": ("supabase_migrations", "schema_migrations", "version", ""),
    "prisma": ("public", "_prisma_migrations", "migration_name",
               "WHERE finished_at IS NOT NULL AND rolled_back_at IS NULL"),
}  # fmt: skip


@dataclass(frozen=True)
class Wanted:
    """What is to be backed up, and how."""

    environment: str
    label: str = ""
    tables: tuple[str, ...] = ()
    """Names, qualified or not; the rows of all tables where there is none."""
    recipients: tuple[str, ...] = ()
    """age recipients; not encrypted where there is none."""
    jobs: int = 2
    lock_timeout_s: float = 10.0
    """How long somebody may hold a table before we give up."""


def take_backup(
    url: str, store: Store, wanted: Wanted, *, made_by: str, say: Callable[[str], None]
) -> Manifest:
    """Take one backup of a database and return its manifest.

    Everything is read in one snapshot, so writers may go on. Raises OpsError: `tool-missing`
    and `no-such-table` before anything is written, `tables-locked`, `dump-failed` and
    `backup-failed` with nothing left behind.
    """
    began_at, began = datetime.now(UTC), time.monotonic()
    if wanted.recipients:
        from opsctl.adapters.age import check_recipients

        check_recipients(wanted.recipients)
    with _errors(wanted), connect(url, autocommit=False) as connection:
        contents.settle(connection)
        connection.execute(f"SET lock_timeout = '{wanted.lock_timeout_s * 1000:.0f}ms'".encode())
        connection.commit()
        clients = clients_for(url, connection)
        tables, left_out, others = _choose(contents.table_names(connection), wanted.tables,
                                           connection)  # fmt: skip
        connection.rollback()
        connection.execute(b"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        _hold(connection, tables)
        snapshot = _one(connection, "SELECT pg_export_snapshot()")[0]
        facts = read_facts(connection)
        sequences = contents.sequence_values(connection)
        backup = new_id(began_at)
        with store.making(backup) as folder:
            dumping = time.monotonic()
            progress = _DumpProgress(tables, say)
            compression = pg_archive.dump_directory(
                url, folder / DATA, clients=clients, snapshot=snapshot, jobs=wanted.jobs,
                without=left_out, without_rows=others, on_line=progress.line,
            )  # fmt: skip
            dump_s, hashing = time.monotonic() - dumping, time.monotonic()
            counted = Progress(say, "Hashing every row", sum(each.bytes for each in tables))
            hashes, objects = contents.hash_contents(
                url, tables, snapshot=snapshot, jobs=wanted.jobs,
                progress=lambda table: counted.add(table.bytes),
            )  # fmt: skip
            hash_s = time.monotonic() - hashing
            found = catalog.read_catalog(connection)
            connection.rollback()
            (folder / CATALOG).write_bytes(_pack_catalog(found))
            (folder / ROLES).write_text(roles_script(facts.roles), encoding="utf-8")
            _encrypt(folder, wanted.recipients, say)
            manifest = Manifest(
                id=backup,
                environment=wanted.environment,
                label=wanted.label,
                made_by=made_by,
                tool=Tool(name=clients.name, version=clients.version, major=clients.major,
                          compression=compression),
                server_version=facts.version,
                server_major=facts.major,
                hosted=facts.hosted,
                snapshot_at=facts.at,
                lsn=facts.lsn,
                began_at=began_at,
                took_s=round(time.monotonic() - began, 2),
                dump_s=round(dump_s, 2),
                hash_s=round(hash_s, 2),
                database=facts.database,
                database_bytes=facts.bytes,
                partial=tuple(each.label for each in tables) if wanted.tables else (),
                left_out=tuple(contents.label(*each) for each in left_out),
                migrations=facts.migrations,
                roles=facts.roles,
                extensions=facts.extensions,
                tables=_stored(tables, hashes),
                sequences=sequences,
                large_objects=(objects.rows, objects.hash),
                objects=len(found.objects),
                encrypted=bool(wanted.recipients),
                recipients=wanted.recipients,
                files=backup_manifest.describe_folder(folder),
            )  # fmt: skip
            write_atomically(folder / MANIFEST, backup_manifest.write_manifest(manifest))
    return manifest


def clients_for(url: str, connection: Connection) -> Clients:
    """Return the pg_dump for a server: zstd if it can be had, TLS if the connection uses it.

    Raises OpsError `tool-missing`.
    """
    major = connection.info.server_version // 10000
    encrypted = connection.pgconn.ssl_in_use or needs_tls(url)
    return choose_clients(at_least=major, needs=("tls",) if encrypted else (), likes=("zstd",))


def unpack_catalog(data: bytes) -> catalog.Catalog:
    """Return the catalog that a backup keeps; raises ValueError for what is none."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            text = file.read(_CATALOG_BYTES + 1)
        if len(text) > _CATALOG_BYTES:
            raise ValueError("it unpacks to more than a catalog has")
        return catalog.Catalog(
            {(kind, name): catalog.CatalogObject(kind, name, definition)
             for kind, name, definition in json.loads(text)}
        )  # fmt: skip
    except (OSError, EOFError, zlib.error, TypeError, RecursionError) as error:
        raise ValueError(f"it is damaged: {type(error).__name__}") from None


@dataclass(frozen=True)
class Facts:
    """What a dump leaves out and a restore must know."""

    version: str
    major: int
    hosted: bool
    at: datetime
    bytes: int
    lsn: str
    database: DatabaseInfo
    roles: tuple[Role, ...]
    extensions: tuple[ExtensionInfo, ...]
    migrations: Mapping[str, tuple[str, ...]]


def read_facts(connection: Connection) -> Facts:
    """Read them within the connection's transaction."""
    version, major, hosted, at, size, lsn = _one(connection, _facts()["server"])
    name, owner, encoding, provider, collate, ctype, locale, limit = _one(
        connection, _facts()["database"]
    )
    acl = connection.execute(_facts()["database_acl"].encode()).fetchall()
    settings = tuple(
        (str(role), str(text)) for role, text in connection.execute(_facts()["settings"].encode())
    )
    return Facts(
        version=version,
        major=major,
        hosted=hosted,
        at=at.astimezone(UTC),
        bytes=size,
        lsn=lsn,
        database=DatabaseInfo(
            name=name, owner=owner, encoding=encoding, provider=provider or "c",
            collate=collate, ctype=ctype, locale=locale, connection_limit=limit,
            acl=tuple((each[0], str(each[1]), bool(each[2])) for each in acl), settings=settings,
        ),
        roles=tuple(
            Role(name=name, attributes=tuple(attributes), settings=tuple(settings_),
                 member_of=tuple(member_of))
            for name, attributes, settings_, member_of
            in connection.execute(_facts()["roles"].encode())
        ),
        extensions=tuple(
            ExtensionInfo(name=name, version=version_, schema_name=schema, types=tuple(types),
                          functions=tuple((str(f[0]), str(f[1]), str(f[2])) for f in functions))
            for name, version_, schema, types, functions
            in connection.execute(_facts()["extensions"].encode())
        ),
        migrations=_migrations(connection),
    )  # fmt: skip


def roles_script(roles: Sequence[Role]) -> str:
    """Return SQL that makes roles without passwords; for psql, where opsctl is not at hand."""
    lines = ["-- Roles, without passwords. One that exists gives an error that does not matter."]
    for role in roles:
        lines += [f"{statement};" for statement in create_role(role)]
    lines += [f"{statement};" for role in roles for statement in grant_membership(role)]
    return "\n".join(lines) + "\n"


def create_role(role: Role, *, powerless: bool = False) -> tuple[str, ...]:
    """Return the statements that make one role; a powerless one may do and be nothing."""
    name = quote_identifier(role.name)
    if powerless:
        return (f"CREATE ROLE {name} NOLOGIN",)
    made = " ".join((f"CREATE ROLE {name}", *role.attributes))
    return (made, *(f"ALTER ROLE {name} SET {assignment(text)}" for text in role.settings))


def grant_membership(role: Role) -> tuple[str, ...]:
    """Return the statements that put a role into the roles it is a member of."""
    name = quote_identifier(role.name)
    return tuple(f"GRANT {quote_identifier(other)} TO {name}" for other in role.member_of)


def assignment(text: str) -> str:
    """Return `name = 'value'` for a stored setting, as ALTER ROLE and ALTER DATABASE take it."""
    name, _, value = text.partition("=")
    if name in _LISTS:
        # Stored with its own quotes; in quotes once more it would be one name.
        return (
            f"{'.'.join(quote_identifier(part) for part in name.split('.'))} = {_safe_list(value)}"
        )
    return (
        f"{'.'.join(quote_identifier(part) for part in name.split('.'))} = {quote_literal(value)}"
    )


_LISTS = ("search_path", "local_preload_libraries", "session_preload_libraries",
          "temp_tablespaces")  # fmt: skip
_CATALOG_BYTES = 64 << 20


def _safe_list(value: str) -> str:
    parts = re.findall(r'"(?:[^"]|"")*"|[^,\s]+', value)
    names = [part[1:-1].replace('""', '"') if part.startswith('"') else part for part in parts]
    return ", ".join(quote_literal(name) for name in names) or "''"


class _DumpProgress:
    """Turns what pg_dump says into how far it is: a table counts when a later one begins."""

    def __init__(self, tables: Sequence[TableName], say: Callable[[str], None]) -> None:
        self._bytes = {each.label: each.bytes for each in tables}
        self._progress = Progress(say, f"Dumping {len(tables)} tables", sum(self._bytes.values()))
        self._before = 0

    def line(self, line: str) -> None:
        table = pg_archive.table_of(line)
        if table is not None:
            self._progress.add(self._before)
            self._before = self._bytes.get(table, 0)


def _choose(
    tables: tuple[TableName, ...], wanted: Sequence[str], connection: Connection
) -> tuple[tuple[TableName, ...], tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]:
    """Return the tables to hash, those that may not be read, and those without their rows."""
    left_out = tuple((each.schema, each.name) for each in tables if not each.readable)
    readable = tuple(each for each in tables if each.readable)
    if not wanted:
        return readable, left_out, ()
    labels = {label for text in wanted for label in _leaves(connection, text)}
    chosen = tuple(each for each in readable if each.label in labels)
    others = tuple((each.schema, each.name) for each in readable if each.label not in labels)
    return chosen, left_out, others


def _leaves(connection: Connection, text: str) -> tuple[str, ...]:
    """Return the labels of a table, or of a partitioned table's partitions."""
    rows = connection.execute(
        b"WITH RECURSIVE t AS (SELECT to_regclass(%s)::oid AS oid UNION "
        b"SELECT i.inhrelid FROM pg_inherits i JOIN t ON t.oid = i.inhparent) "
        b"SELECT n.nspname, c.relname FROM t JOIN pg_class c ON c.oid = t.oid "
        b"JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r'",
        (text if "." in text else f"public.{text}",),
    ).fetchall()
    if not rows:
        raise OpsError(
            f"There is no table {text!r} to back up",
            why="no table is called so; without a schema it is looked for in public",
            hint="opsctl backup create --tables schema.table",
            code="no-such-table",
        )
    return tuple(contents.label(*row) for row in rows)


def _hold(connection: Connection, tables: Sequence[TableName]) -> None:
    """Keep the tables as they are, before the snapshot: DDL in between would break the dump."""
    names = [qualified(each.schema, each.name) for each in tables]
    for start in range(0, len(names), 500):
        part = ", ".join(names[start : start + 500])
        connection.execute(f"LOCK TABLE ONLY {part} IN ACCESS SHARE MODE".encode())


@contextmanager
def _errors(wanted: Wanted) -> Iterator[None]:
    """Turn what PostgreSQL and the disk say into one error; nothing was kept by then."""
    try:
        yield
    except psycopg.errors.LockNotAvailable:
        raise OpsError(
            "The backup could not begin: tables are locked",
            why="somebody changes the schema and holds a lock for longer than "
            f"{wanted.lock_timeout_s:g} s",
            hint="is a migration running? try again after it",
            code="tables-locked",
            exit=Exit.UNKNOWN,
        ) from None
    except psycopg.errors.UndefinedTable:
        raise _failed("the schema is being changed: a table went away") from None
    except psycopg.Error as error:
        raise _failed(error.diag.message_primary or "the connection was lost") from None
    except OSError as error:
        raise _failed(error.strerror or type(error).__name__) from None


def _stored(
    tables: Sequence[TableName], hashes: Mapping[str, TableContent]
) -> tuple[StoredTable, ...]:
    found = [
        StoredTable(schema_name=each.schema, name=each.name, rows=hashes[each.label].rows,
                    hash=hashes[each.label].hash, bytes=each.bytes)
        for each in tables
    ]  # fmt: skip
    return tuple(sorted(found, key=lambda each: (each.schema_name, each.name)))


def _encrypt(folder: Path, recipients: tuple[str, ...], say: Callable[[str], None]) -> None:
    if not recipients:
        return
    from opsctl.adapters.age import encrypt_file

    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / MAKING)
    progress = Progress(say, "Encrypting", sum(path.stat().st_size for path in files))
    for path in files:
        size = path.stat().st_size
        encrypt_file(path, path.with_name(path.name + ENCRYPTED), recipients)
        path.unlink()
        progress.add(size)


def _pack_catalog(found: catalog.Catalog) -> bytes:
    rows = [[each.kind, each.name, each.definition] for each in found.objects.values()]
    return gzip.compress(json.dumps(sorted(rows)).encode(), compresslevel=6, mtime=0)


def _migrations(connection: Connection) -> dict[str, tuple[str, ...]]:
    found = {}
    for tool, (schema, table, column, only) in _HISTORIES.items():
        name = qualified(schema, table)
        readable = _one(
            connection,
            f"SELECT to_regclass({quote_literal(name)}) IS NOT NULL "
            f"AND has_table_privilege(to_regclass({quote_literal(name)}), 'SELECT')",
        )
        if readable[0]:
            query = f"SELECT {column} FROM {name} {only} ORDER BY 1"
            found[tool] = tuple(str(row[0]) for row in connection.execute(query.encode()))
    return found


@cache
def _facts() -> dict[str, str]:
    text = Path(__file__).with_name("backup_facts.sql").read_text(encoding="utf-8")
    parts = re.split(r"^-- name: (\w+)$", text, flags=re.MULTILINE)
    return {name: query.strip() for name, query in zip(parts[1::2], parts[2::2], strict=True)}


def _one(connection: Connection, query: str) -> tuple[Any, ...]:
    row = connection.execute(query.encode()).fetchone()
    if row is None:
        raise RuntimeError("a query that has one row gave none")
    return row


def _failed(why: str) -> OpsError:
    return OpsError(
        "The backup failed, and nothing of it was kept",
        why=why,
        hint="opsctl backup create; is there room on the disk, and is the server up?",
        code="backup-failed",
        exit=Exit.UNKNOWN,
    )
