"""What a down SQL takes away, found by numbers and not by names.

In the scratch clone a renamed table keeps its oid and a renamed column its number; what is
dropped loses them. So a rename is told from a drop, also behind a DO block or CASCADE.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from opsctl.adapters.postgres import Connection
from opsctl.adapters.sql import qualified, quote_identifier
from opsctl.areas.rollback.rehearsal import Identities
from opsctl.areas.rollback.stash import (
    Column,
    LostColumns,
    LostTable,
    Stash,
    TableFacts,
    Written,
)
from opsctl.core.plan import Loss


@dataclass(frozen=True)
class Losses:
    """Tables, columns, sequences and rows that the down SQL drops or changes."""

    tables: tuple[TableFacts, ...] = ()
    partitions: tuple[TableFacts, ...] = ()
    """Partitions of `tables`: their rows are in their parent's copy."""
    columns: tuple[LostColumns, ...] = ()
    converted: tuple[Written, ...] = ()
    """Columns whose type changes."""
    written: tuple[Written, ...] = ()
    rewritten: tuple[Written, ...] = ()
    """Tables that the migration writes to when it is applied again, by an undo."""
    sequences: tuple[tuple[str, str], ...] = ()

    def stash(self, schema: str, *, silent_triggers: bool) -> Stash:
        """Return the stash that keeps all of it."""
        return Stash(
            schema=schema,
            tables=tuple(LostTable(table) for table in self.tables),
            columns=self.columns,
            written=(*self.written, *self.converted),
            rewritten=self.rewritten,
            sequences=self.sequences,
            silent_triggers=silent_triggers,
        )


def find_losses(
    *,
    before: Identities,
    after: Identities,
    live: Mapping[str, TableFacts],
    writes: Sequence[set[str]],
) -> Losses:
    """Compare a clone before and after the down SQL.

    `live` holds the live tables by `schema.name`. `writes` are the tables that the down SQL
    writes to, then those of each migration applied again, oldest first.
    """
    gone = {oid for oid in before.relations if oid not in after.relations}
    tables: list[TableFacts] = []
    partitions: list[TableFacts] = []
    sequences = []
    for oid in sorted(gone, key=lambda each: _label(before, each)):
        relation = before.relations[oid]
        if relation.kind == "S":
            sequences.append((relation.schema, relation.name))
        elif relation.kind in ("r", "p"):
            lost = partitions if set(relation.parents) & gone else tables
            lost.append(live[_label(before, oid)])
    columns, converted = _columns(before, after, live=live)
    down, *up = writes
    renamed = {_label(before, oid): oid for oid in before.relations if oid in after.relations}
    written = [
        _whole(name, before=before, after=after, oid=renamed[name], live=live)
        for name in sorted(down)
        if name in renamed
    ]
    names_after = {_label(after, oid): oid for oid in after.relations if oid in before.relations}
    rewritten = [
        _whole(_label(before, names_after[name]), before=before, after=after,
               oid=names_after[name], live=live)
        for name in sorted(set().union(*up) if up else set())
        if name in names_after and _label(before, names_after[name]) not in down
    ]  # fmt: skip
    return Losses(
        tables=tuple(tables),
        partitions=tuple(partitions),
        columns=columns,
        converted=tuple(
            each for each in converted if each.table.label not in {w.table.label for w in written}
        ),
        written=tuple(written),
        rewritten=tuple(rewritten),
        sequences=tuple(sequences),
    )


def count_losses(connection: Connection, losses: Losses, stash: Stash) -> tuple[Loss, ...]:
    """Count on the live database what would be lost, for the plan."""
    found: list[Loss] = []
    moved = {each.table.label for each in stash.tables if each.moved}
    for table in losses.tables:
        rows = _count(connection, table)
        kept = "moved into the stash" if table.label in moved else "copied into the stash"
        found.append(Loss("table", table.label, rows, rows, kept))
    for table in losses.partitions:
        rows = _count(connection, table)
        found.append(Loss("partition", table.label, rows, rows, "in the copy of its parent"))
    for part in losses.columns:
        for column in part.columns:
            rows, values = _count_column(connection, part.table, column)
            kept = "values copied into the stash"
            if not part.table.key:
                kept += ", to be put back by hand: the table has no primary key"
            found.append(Loss("column", f"{part.table.label}.{column.name}", rows, values, kept))
    for each in losses.converted:
        for column in each.columns:
            after = next(c for c in each.columns_after if c.name == column.name)
            rows, values = _count_column(connection, each.table, column)
            name = f"{each.table.label}.{column.name} as {column.type} (becomes {after.type})"
            kept = "originals copied into the stash"
            if not each.table.key:
                kept += ", to be put back by hand: the table has no primary key"
            found.append(Loss("value", name, rows, values, kept))
    for each in losses.written:
        rows = _count(connection, each.table)
        found.append(Loss("rows", each.table.label, rows, rows, "rows copied into the stash"))
    found += [
        Loss("sequence", f"{schema}.{name}", None, None, "its value is in the stash")
        for schema, name in losses.sequences
    ]
    return tuple(found)


def live_tables(connection: Connection) -> dict[str, TableFacts]:
    """Return every table outside PostgreSQL's own schemas by `schema.name`; one round trip."""
    rows = connection.execute(_TABLES.encode()).fetchall()
    found = {}
    for schema, name, plain, key, columns in rows:
        table = TableFacts(
            schema=schema,
            name=name,
            columns=tuple(Column(*column) for column in columns or ()),
            key=tuple(key or ()),
            plain=plain,
        )
        found[table.label] = table
    return found


def _columns(
    before: Identities, after: Identities, *, live: Mapping[str, TableFacts]
) -> tuple[tuple[LostColumns, ...], tuple[Written, ...]]:
    lost: dict[int, list[Column]] = {}
    converted: dict[int, list[tuple[Column, Column]]] = {}
    for (oid, number), column in before.columns.items():
        if oid not in after.relations or column.generated or column.inherited:
            continue
        now = Column(column.name, column.type, column.builtin)
        other = after.columns.get((oid, number))
        if other is None:
            lost.setdefault(oid, []).append(now)
        elif other.type != column.type:
            then = Column(other.name, other.type, other.builtin)
            converted.setdefault(oid, []).append((now, then))
    columns = tuple(
        LostColumns(live[_label(before, oid)], tuple(found)) for oid, found in lost.items()
    )
    changed = tuple(
        Written(
            live[_label(before, oid)],
            columns=tuple(now for now, _ in pairs),
            columns_after=tuple(then for _, then in pairs),
            whole=False,
        )
        for oid, pairs in converted.items()
    )
    return columns, changed


def _whole(
    name: str, *, before: Identities, after: Identities, oid: int, live: Mapping[str, TableFacts]
) -> Written:
    table = live[name]
    own = {column.name for column in table.columns if not column.generated}
    columns = tuple(column for column in table.columns if column.name in own)
    after_columns = tuple(
        Column(column.name, column.type, column.builtin)
        for (owner, _), column in sorted(after.columns.items())
        if owner == oid and not column.generated
    )
    return Written(table, columns=columns, columns_after=after_columns, whole=True)


def _label(identities: Identities, oid: int) -> str:
    relation = identities.relations[oid]
    return f"{relation.schema}.{relation.name}"


def _count(connection: Connection, table: TableFacts) -> int:
    query = f"SELECT count(*) FROM {qualified(table.schema, table.name)}"
    row = connection.execute(query.encode()).fetchone()
    return int(row[0]) if row else 0


def _count_column(connection: Connection, table: TableFacts, column: Column) -> tuple[int, int]:
    query = f"SELECT count(*), count({quote_identifier(column.name)}) FROM {table.sql}"
    row = connection.execute(query.encode()).fetchone()
    return (int(row[0]), int(row[1])) if row else (0, 0)


_TABLES = """
SELECT n.nspname, c.relname,
  c.relkind = 'r' AND NOT c.relispartition AND NOT c.relhassubclass,
  (SELECT array_agg(a.attname ORDER BY k.place)
     FROM pg_index i
     CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k(number, place)
     JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number
    WHERE i.indrelid = c.oid AND i.indisprimary),
  (SELECT json_agg(json_build_array(a.attname,
                                    format_type(a.atttypid, a.atttypmod),
                                    coalesce(en.nspname, tn.nspname) = 'pg_catalog',
                                    a.attgenerated <> '')
                   ORDER BY a.attnum)
     FROM pg_attribute a
     JOIN pg_type t ON t.oid = a.atttypid JOIN pg_namespace tn ON tn.oid = t.typnamespace
     LEFT JOIN pg_type e ON e.oid = t.typelem AND t.typlen = -1 AND t.typelem <> 0
     LEFT JOIN pg_namespace en ON en.oid = e.typnamespace
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^(pg_|opsctl_)'
  AND n.nspname <> 'information_schema'
"""
