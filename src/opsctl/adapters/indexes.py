"""Tables and their indexes as the planner knows them, and indexes that only seem to exist."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import psycopg

from opsctl.adapters.postgres import Connection
from opsctl.adapters.sql import qualified
from opsctl.adapters.statements import MARK


@dataclass(frozen=True)
class Column:
    """One column of a table, and what ANALYZE found."""

    name: str
    distinct: float
    """Distinct values; negative: minus their share of the rows; 0: not known."""
    null_share: float
    indexable: bool
    """Whether its type has an order, so that a b-tree takes it."""


@dataclass(frozen=True)
class TableFacts:
    """One table, materialised view or partition."""

    schema: str
    name: str
    rows: float
    """The planner's estimate; below 0 where it was never analysed."""
    bytes: int
    columns: tuple[Column, ...]
    indexes: tuple[tuple[str, ...], ...]
    """Key columns of each usable index, in order; an expression is its text."""

    def column(self, name: str) -> Column | None:
        """Return a column by its name."""
        return next((each for each in self.columns if each.name == name), None)


def read_tables(
    connection: Connection, names: Collection[tuple[str, str]]
) -> dict[tuple[str, str], TableFacts]:
    """Return what is known of tables by (schema, name)."""
    if not names:
        return {}
    wanted = sorted(names)
    rows = connection.execute(
        _TABLES.encode(), ([each[0] for each in wanted], [each[1] for each in wanted])
    ).fetchall()
    found = {}
    for schema, name, tuples, size, columns, indexes in rows:
        found[schema, name] = TableFacts(
            schema=schema,
            name=name,
            rows=tuples,
            bytes=size,
            columns=tuple(Column(*each) for each in columns),
            indexes=tuple(tuple(each) for each in indexes),
        )
    return found


class Hypothetical:
    """Indexes that the planner of this session believes in: hypopg's."""

    def __init__(self, connection: Connection, schema: str) -> None:
        self._connection = connection
        self._schema = schema

    @classmethod
    def find(cls, connection: Connection) -> Hypothetical | None:
        """Return hypopg, or None where the database does not have it."""
        row = connection.execute(
            f"SELECT {MARK} n.nspname FROM pg_catalog.pg_extension e "
            "JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace "
            "WHERE e.extname = 'hypopg'".encode()
        ).fetchone()
        return cls(connection, row[0]) if row else None

    def create(self, statement: str) -> bool:
        """Pretend that an index was made; False where hypopg cannot."""
        function = qualified(self._schema, "hypopg_create_index")
        try:
            self._connection.execute(f"SELECT {MARK} * FROM {function}(%s)".encode(), (statement,))
        except psycopg.Error:
            return False
        return True

    def forget(self) -> None:
        """Forget all of them."""
        function = qualified(self._schema, "hypopg_reset")
        self._connection.execute(f"SELECT {MARK} {function}()".encode())


_TABLES = f"""SELECT {MARK} n.nspname::text, c.relname::text, c.reltuples::float8,
  pg_catalog.pg_relation_size(c.oid),
  (SELECT coalesce(json_agg(json_build_array(a.attname, coalesce(s.n_distinct, 0),
            coalesce(s.null_frac, 0), EXISTS (
              SELECT FROM pg_catalog.pg_opclass o JOIN pg_catalog.pg_am m ON m.oid = o.opcmethod
              JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
              WHERE m.amname = 'btree' AND o.opcdefault AND (o.opcintype = a.atttypid
                OR (t.typtype = 'e' AND o.opcintype = 'pg_catalog.anyenum'::pg_catalog.regtype)
                OR (o.opcintype = 'pg_catalog.text'::pg_catalog.regtype
                    AND a.atttypid = 'pg_catalog.varchar'::pg_catalog.regtype))))
            ORDER BY a.attnum), '[]')
     FROM pg_catalog.pg_attribute a LEFT JOIN pg_catalog.pg_stats s
       ON s.schemaname = n.nspname AND s.tablename = c.relname AND s.attname = a.attname
     WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
  (SELECT coalesce(json_agg((SELECT json_agg(pg_catalog.pg_get_indexdef(i.indexrelid, k, true)
            ORDER BY k) FROM generate_series(1, i.indnkeyatts) k)), '[]')
     FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisvalid AND i.indpred IS NULL)
FROM unnest(%s::text[], %s::text[]) AS wanted (schema, name)
JOIN pg_catalog.pg_namespace n ON n.nspname = wanted.schema
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name
"""
