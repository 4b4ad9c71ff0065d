"""What is in a database: rows and an order-independent hash per table, sequences, objects.

Two databases with the same contents hash alike whatever their version, the order of rows, of
columns that were dropped, and the session's settings. Left out: materialised views (they are
made from the tables again), foreign tables (their rows are elsewhere), and what an extension
keeps for itself.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from opsctl.adapters.postgres import Connection, connect
from opsctl.adapters.sql import qualified, quote_identifier, quote_literal

SETTINGS = (
    ("search_path", "pg_catalog"),
    ("datestyle", "ISO, MDY"),
    ("timezone", "UTC"),
    ("intervalstyle", "postgres"),
    ("extra_float_digits", "1"),
    ("bytea_output", "hex"),
    ("lc_monetary", "C"),
    ("row_security", "off"),
    ("statement_timeout", "0"),
    ("lock_timeout", "10s"),
    ("idle_in_transaction_session_timeout", "0"),
)
"""What every session that hashes sets: how values print, and that nothing cuts it off."""

_PLAIN = re.compile(r"[a-z_][a-z0-9_$]*")

_OWN = "NOT (n.nspname ~ '^(pg_|opsctl_stash)' OR n.nspname = 'information_schema')"
_NO_MEMBER = (
    "NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_class'::regclass "
    "AND d.objid = c.oid AND d.deptype = 'e')"
)

# Tables whose rows are dumped, an extension's own among them where it asks for that.
_TABLES = f"""
SELECT n.nspname, c.relname, pg_table_size(c.oid)::int8,
       has_table_privilege(c.oid, 'SELECT') AND has_schema_privilege(n.oid, 'USAGE')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND {_OWN}
  AND ({_NO_MEMBER} OR EXISTS (
    SELECT 1 FROM pg_extension x, unnest(x.extconfig, x.extcondition) AS e (oid, condition)
    WHERE e.oid = c.oid AND e.condition = ''))
ORDER BY pg_table_size(c.oid) DESC, 1, 2
"""

_SEQUENCES = f"""
SELECT n.nspname, c.relname, has_sequence_privilege(c.oid, 'SELECT')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND {_OWN} AND {_NO_MEMBER} ORDER BY 1, 2
"""

_LARGE_OBJECTS = (
    "SELECT count(*), coalesce(sum(hashtextextended(oid::text || ':' || "
    "encode(sha256(lo_get(oid)), 'hex'), 0)), 0)::text, 0 FROM pg_largeobject_metadata"
)


@dataclass(frozen=True)
class TableName:
    """One table whose rows count, with its size on the server in bytes."""

    schema: str
    name: str
    bytes: int
    readable: bool
    """Whether our role may read it."""

    @property
    def label(self) -> str:
        """Qualified, and quoted where it must be: what a person reads and a manifest holds."""
        return label(self.schema, self.name)


@dataclass(frozen=True)
class TableContent:
    """How many rows a table has, and their hash: a sum, so that no order is needed."""

    rows: int
    hash: str


@dataclass(frozen=True)
class Contents:
    """What is in one database, by qualified name."""

    tables: Mapping[str, TableContent]
    sequences: Mapping[str, int]
    """The last value given out, or 0 where none was: a smaller one would give out ids twice."""
    large_objects: TableContent


def label(schema: str, name: str) -> str:
    """Return a qualified name as a person reads it: in quotes only where they matter."""
    return ".".join(
        part if _PLAIN.fullmatch(part) else quote_identifier(part) for part in (schema, name)
    )


def settle(connection: Connection) -> None:
    """Give a session the settings that hashes depend on."""
    connection.execute(
        "; ".join(f"SET {name} = {quote_literal(value)}" for name, value in SETTINGS).encode()
    )


def table_names(connection: Connection) -> tuple[TableName, ...]:
    """Return every table whose rows count, the largest first."""
    rows = connection.execute(_TABLES.encode()).fetchall()
    return tuple(TableName(*row) for row in rows)


def sequence_values(connection: Connection) -> dict[str, int]:
    """Return the last value of every sequence we may read. It is of now, not of a snapshot."""
    found: dict[str, int] = {}
    names = [
        (schema, name)
        for schema, name, readable in connection.execute(_SEQUENCES.encode()).fetchall()
        if readable
    ]
    for start in range(0, len(names), 200):
        query = " UNION ALL ".join(
            f"SELECT {quote_literal(label(*name))}, CASE WHEN is_called THEN last_value "
            f"ELSE 0 END FROM {qualified(*name)}"
            for name in names[start : start + 200]
        )
        found.update({str(name): int(value) for name, value in connection.execute(query.encode())})
    return found


def hash_contents(
    url: str,
    tables: Sequence[TableName],
    *,
    snapshot: str | None,
    jobs: int,
    progress: Callable[[TableName], None] = lambda table: None,
) -> tuple[dict[str, TableContent], TableContent]:
    """Hash tables and large objects in `jobs` sessions, in an exported snapshot if one is given.

    `tables` come largest first, so that no session is left alone with the largest at the end.
    Cost: about one sequential scan and one text conversion of each row.
    """
    waiting = list(reversed(tables))
    turn = threading.Lock()
    found: dict[str, TableContent] = {}
    stop = threading.Event()

    def work() -> None:
        with connect(url, autocommit=False) as connection:
            _join(connection, snapshot)
            while not stop.is_set():
                with turn:
                    if not waiting:
                        return
                    table = waiting.pop()
                content = _hash_table(connection, table)
                with turn:
                    found[table.label] = content
                    progress(table)

    def work_or_stop() -> None:
        try:
            work()
        except BaseException:
            stop.set()
            raise

    with ThreadPoolExecutor(max(1, min(jobs, len(tables) or 1))) as pool:
        for future in [pool.submit(work_or_stop) for _ in range(pool._max_workers)]:
            future.result()
    with connect(url, autocommit=False) as connection:
        _join(connection, snapshot)
        objects = _content(connection.execute(_LARGE_OBJECTS.encode()).fetchone())
    return found, objects


def read_contents(url: str, *, jobs: int) -> Contents:
    """Return what is in a database that nobody writes to."""
    with connect(url) as connection:
        settle(connection)
        tables = table_names(connection)
        sequences = sequence_values(connection)
    found, objects = hash_contents(url, tables, snapshot=None, jobs=jobs)
    return Contents(found, sequences, objects)


def _join(connection: Connection, snapshot: str | None) -> None:
    settle(connection)
    connection.commit()
    connection.execute(b"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
    if snapshot is not None:
        connection.execute(f"SET TRANSACTION SNAPSHOT {quote_literal(snapshot)}".encode())


def _hash_table(connection: Connection, table: TableName) -> TableContent:
    query = (
        "SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)), 0)::text "
        f"FROM ONLY {qualified(table.schema, table.name)} AS t"
    )
    return _content(connection.execute(query.encode()).fetchone())


def _content(row: Any) -> TableContent:
    return TableContent(int(row[0]), str(row[1]))
