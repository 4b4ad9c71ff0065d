"""What a rollback would take away is kept in a schema of ours, in the same transaction.

Pure: from what is lost and how the tables look it makes the SQL that keeps it, and the SQL
that puts it back after the migration was applied again. Every name is qualified, because a
migration may leave any search_path behind.

Putting back never overwrites newer data: a row that changed since the rollback stays as it
is. Values of types that are not PostgreSQL's own are kept as text, because the type itself may
be dropped.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from opsctl.adapters.sql import (
    plainly_dropped_tables,
    qualified,
    quote_identifier,
    quote_literal,
)

PREFIX = "opsctl_stash_"
DROP_KEYS = "DO $opsctl_keys$"
"""How the block begins that drops a moved table's foreign keys; a plan does not show it."""


@dataclass(frozen=True)
class Column:
    """A column as it stands before the rollback."""

    name: str
    type: str
    """As format_type prints it, qualified."""
    builtin: bool
    """Whether the type is in pg_catalog, so that it cannot be dropped."""
    generated: bool = False


@dataclass(frozen=True)
class TableFacts:
    """A table as it stands before the rollback."""

    schema: str
    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    """Names of the primary key's columns; empty where there is none."""
    plain: bool = True
    """Neither partitioned, nor a partition, nor a parent: it can be moved."""

    @property
    def sql(self) -> str:
        """The quoted, qualified name."""
        return qualified(self.schema, self.name)

    @property
    def label(self) -> str:
        """The name for a person."""
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True)
class LostTable:
    """A table that the down SQL drops. `moved`: a DROP TABLE became a move into the stash."""

    table: TableFacts
    moved: bool = False


@dataclass(frozen=True)
class LostColumns:
    """Columns that the down SQL drops from a table that stays."""

    table: TableFacts
    columns: tuple[Column, ...]


@dataclass(frozen=True)
class Written:
    """Rows that the down SQL changes: of the whole table, or of columns it converts.

    `columns` are those before the rollback, `columns_after` those that are there after it.
    """

    table: TableFacts
    columns: tuple[Column, ...]
    columns_after: tuple[Column, ...]
    whole: bool


@dataclass(frozen=True)
class Stash:
    """Everything one rollback keeps, and under which schema."""

    schema: str
    tables: tuple[LostTable, ...] = ()
    columns: tuple[LostColumns, ...] = ()
    written: tuple[Written, ...] = ()
    rewritten: tuple[Written, ...] = ()
    """Tables that the migration itself writes to when it is applied again."""
    sequences: tuple[tuple[str, str], ...] = ()
    """(schema, name) of sequences that the down SQL drops."""
    silent_triggers: bool = True
    """Whether this role may switch triggers off while rows are put back."""

    @property
    def empty(self) -> bool:
        """Whether there is nothing to keep."""
        return not (self.tables or self.columns or self.written or self.sequences)

    @property
    def keyless(self) -> tuple[str, ...]:
        """Tables without a primary key whose values cannot all be put back by themselves."""
        lost = {each.table.label for each in self.columns if not each.table.key}
        changed = {each.table.label for each in self.written if not each.table.key}
        return tuple(sorted(lost | changed))


def keep_before(stash: Stash, *, manifest: dict[str, object]) -> tuple[str, ...]:
    """Return the statements that fill the stash, to be run before the down SQL.

    `manifest` is JSON data that `rollback stash list` shows.
    """
    if stash.empty:
        return ()
    schema = quote_identifier(stash.schema)
    statements = ["SET LOCAL row_security = off", f"CREATE SCHEMA {schema}"]
    exclusive = {lost.table.sql for lost in stash.tables}
    exclusive |= {part.table.sql for part in stash.columns}
    shared = {each.table.sql for each in stash.written} - exclusive
    statements += [f"LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE" for name in sorted(exclusive)]
    statements += [f"LOCK TABLE {name} IN SHARE ROW EXCLUSIVE MODE" for name in sorted(shared)]
    for index, lost in enumerate(stash.tables):
        if not lost.moved:
            columns = _selection(lost.table.columns)
            statements.append(_copy(stash, f"table_{index}", columns, lost.table.sql))
    for index, part in enumerate(stash.columns):
        columns = _selection((*_key_columns(part.table), *part.columns))
        if not part.table.key:
            columns = _selection(part.table.columns)
        statements.append(_copy(stash, f"values_{index}", columns, part.table.sql))
    for index, each in enumerate(stash.written):
        columns = _selection(_with_key(each.table, each.columns))
        statements.append(_copy(stash, f"before_{index}", columns, each.table.sql))
    if stash.sequences:
        states = " UNION ALL ".join(
            f"SELECT {quote_literal(qualified(*name))}::text AS name, last_value, is_called "
            f"FROM {qualified(*name)}"
            for name in stash.sequences
        )
        statements.append(f"CREATE TABLE {schema}.sequences AS {states}")
    text = quote_literal(json.dumps(manifest, sort_keys=True))
    statements.append(
        f"CREATE TABLE {schema}.manifest AS SELECT pg_catalog.now() AS made_at, "
        f"{text}::pg_catalog.jsonb AS contents"
    )
    return tuple(statements)


def keep_after(stash: Stash) -> tuple[str, ...]:
    """Return the statements that note what the down SQL made of the rows it changed."""
    return tuple(
        _copy(
            stash,
            f"after_{index}",
            _selection(_with_key(each.table, each.columns_after)),
            each.table.sql,
        )
        for index, each in enumerate(stash.written)
    )


def move_tables(stash: Stash, statements: Sequence[str]) -> tuple[tuple[str, ...], Stash]:
    """Replace each plain DROP TABLE by a move into the stash, which copies no row.

    The moved table keeps its indexes and rows. Its foreign keys are dropped, or rows of other
    tables could no longer be deleted. Which table an unqualified name means is guessed by the
    name: the rehearsal finds out if the guess is wrong.
    """
    movable = {
        each.table.name: each.table
        for each in stash.tables
        if each.table.plain and all(column.builtin for column in each.table.columns)
        and sum(other.table.name == each.table.name for other in stash.tables) == 1
    }  # fmt: skip
    moved: set[str] = set()
    result: list[str] = []
    for statement in statements:
        names = plainly_dropped_tables(statement)
        tables = [movable[key] for name in names if (key := _bare_name(name)) in movable]
        if not names or len(tables) != len(names):
            result.append(statement)
            continue
        for table in tables:
            result.append(_drop_foreign_keys(table))
            result.append(f"ALTER TABLE {table.sql} SET SCHEMA {quote_identifier(stash.schema)}")
            moved.add(table.sql)
    marked = tuple(replace(each, moved=each.table.sql in moved) for each in stash.tables)
    return tuple(result), replace(stash, tables=marked)


def put_back_before(stash: Stash) -> tuple[str, ...]:
    """Return the statements of an undo that must run before the migration is applied again."""
    statements = ["SET LOCAL row_security = off"]
    for index, each in enumerate((*stash.written, *stash.rewritten)):
        columns = _selection(_with_key(each.table, each.columns_after))
        statements.append(
            f"CREATE TEMPORARY TABLE opsctl_pre_{index} ON COMMIT DROP AS "
            f"SELECT {columns} FROM {each.table.sql}"
        )
    return tuple(statements)


def put_back_after(stash: Stash) -> tuple[str, ...]:
    """Return the statements of an undo that put rows back and free the stash.

    The stash stays where some of it cannot be put back by itself (`keyless`).
    """
    statements: list[str] = []
    if stash.silent_triggers:
        statements.append("SET LOCAL session_replication_role = replica")
    for index, each in enumerate((*stash.written, *stash.rewritten)):
        if each.whole:
            statements += _restore_as_it_was(index, each)
    for index, each in enumerate(stash.written):
        statements += _restore_unchanged_since(stash, index, each)
    for index, part in enumerate(stash.columns):
        if part.table.key:
            source = f"{quote_identifier(stash.schema)}.values_{index}"
            statements.append(_update(part.table, part.columns, f"{source} s", _match(part, "s")))
    for index, lost in enumerate(stash.tables):
        statements += _refill(stash, index, lost)
    if stash.sequences:
        statements.append(
            "SELECT pg_catalog.setval(pg_catalog.to_regclass(name), last_value, is_called) "
            f"FROM {quote_identifier(stash.schema)}.sequences "
            "WHERE pg_catalog.to_regclass(name) IS NOT NULL"
        )
    if stash.silent_triggers:
        statements.append("SET LOCAL session_replication_role = origin")
    if not stash.empty and not stash.keyless:
        statements.append(f"DROP SCHEMA {quote_identifier(stash.schema)} CASCADE")
    return tuple(statements)


def next_schema(version: str, taken: Iterable[str]) -> str:
    """Return the first free stash schema name for a migration's version."""
    used = set(taken)
    safe = "".join(letter if letter.isalnum() else "_" for letter in version.lower())[:32]
    number = 1
    while f"{PREFIX}{safe}_{number}" in used:
        number += 1
    return f"{PREFIX}{safe}_{number}"


def _drop_foreign_keys(table: TableFacts) -> str:
    """Return a block that drops the foreign keys that the down SQL has left on a table."""
    return (
        f"{DROP_KEYS}\nDECLARE key name;\nBEGIN\n"
        "  FOR key IN SELECT conname FROM pg_catalog.pg_constraint WHERE contype = 'f' "
        f"AND conrelid = {quote_literal(table.sql)}::pg_catalog.regclass LOOP\n"
        f"    EXECUTE {quote_literal(f'ALTER TABLE {table.sql} DROP CONSTRAINT ')} "
        "|| pg_catalog.quote_ident(key);\n  END LOOP;\nEND $opsctl_keys$"
    )


def _bare_name(name: str) -> str:
    last = name.rpartition(".")[2].strip()
    return last[1:-1].replace('""', '"') if last.startswith('"') else last.lower()


def _restore_as_it_was(index: int, each: Written) -> list[str]:
    """Take back what the migration itself did to rows that were there before it."""
    pre, table = f"opsctl_pre_{index}", each.table
    columns = [column for column in each.columns_after if not column.generated]
    names = ", ".join(quote_identifier(column.name) for column in columns)
    values = ", ".join(_typed("p", column) for column in columns)
    if not table.key:
        return [
            f"DELETE FROM {table.sql}",
            f"INSERT INTO {table.sql} ({names}) OVERRIDING SYSTEM VALUE SELECT {values} FROM "
            f"pg_temp.{pre} p",
        ]
    match = _match_key(table, "t", "p")
    return [
        f"DELETE FROM {table.sql} t WHERE NOT EXISTS (SELECT 1 FROM pg_temp.{pre} p WHERE {match})",
        _update(
            table,
            columns,
            f"pg_temp.{pre} p",
            f"{match} AND {_row('t', columns)} <> {_row('p', columns)}",
            alias="p",
        ),
        f"INSERT INTO {table.sql} ({names}) OVERRIDING SYSTEM VALUE SELECT {values} FROM "
        f"pg_temp.{pre} p WHERE NOT EXISTS (SELECT 1 FROM {table.sql} t WHERE {match})",
    ]


def _restore_unchanged_since(stash: Stash, index: int, each: Written) -> list[str]:
    """Give rows their values from before the rollback, unless they were changed since it."""
    schema, table = quote_identifier(stash.schema), each.table
    before, after = f"{schema}.before_{index}", f"{schema}.after_{index}"
    pre = f"pg_temp.opsctl_pre_{index}"
    columns = [column for column in each.columns if not column.generated]
    names = ", ".join(quote_identifier(column.name) for column in columns)
    values = ", ".join(_typed("b", column) for column in columns)
    same_columns = each.columns_after
    if not table.key:
        if not each.whole:
            return []
        rows_pre = f"SELECT {_row('p', same_columns)} FROM {pre} p"
        rows_after = f"SELECT {_row('a', same_columns)} FROM {after} a"
        return [
            f"CREATE TEMPORARY TABLE opsctl_same_{index} ON COMMIT DROP AS SELECT NOT EXISTS ("
            f"({rows_pre} EXCEPT ALL {rows_after}) UNION ALL "
            f"({rows_after} EXCEPT ALL {rows_pre})) AS same",
            f"DELETE FROM {table.sql} WHERE (SELECT same FROM pg_temp.opsctl_same_{index})",
            f"INSERT INTO {table.sql} ({names}) OVERRIDING SYSTEM VALUE SELECT {values} "
            f"FROM {before} b WHERE (SELECT same FROM pg_temp.opsctl_same_{index})",
        ]

    def unchanged(alias: str) -> str:
        return (
            f"EXISTS (SELECT 1 FROM {after} a JOIN {pre} p ON {_match_key(table, 'a', 'p')} "
            f"WHERE {_match_key(table, 'a', alias)} "
            f"AND {_row('a', same_columns)} = {_row('p', same_columns)})"
        )

    statements = [
        _update(
            table,
            columns,
            f"{before} b",
            f"{_match_key(table, 't', 'b')} AND {unchanged('b')}",
            alias="b",
        )
    ]
    if each.whole:
        gone = f"NOT EXISTS (SELECT 1 FROM {after} a WHERE {_match_key(table, 'a', 'b')})"
        free = f"NOT EXISTS (SELECT 1 FROM {table.sql} t WHERE {_match_key(table, 't', 'b')})"
        added = f"NOT EXISTS (SELECT 1 FROM {before} b WHERE {_match_key(table, 'b', 't')})"
        statements += [
            f"INSERT INTO {table.sql} ({names}) OVERRIDING SYSTEM VALUE SELECT {values} "
            f"FROM {before} b WHERE {gone} AND {free}",
            f"DELETE FROM {table.sql} t WHERE {added} AND {unchanged('t')}",
        ]
    return statements


def _refill(stash: Stash, index: int, lost: LostTable) -> list[str]:
    table = lost.table
    source = (
        qualified(stash.schema, table.name)
        if lost.moved
        else f"{quote_identifier(stash.schema)}.table_{index}"
    )
    columns = [column for column in table.columns if not column.generated]
    names = ", ".join(quote_identifier(column.name) for column in columns)
    values = ", ".join(_typed("s", column) for column in columns)
    # The migration made this table anew: every row in it was put there by the migration.
    return [
        f"DELETE FROM {table.sql}",
        f"INSERT INTO {table.sql} ({names}) OVERRIDING SYSTEM VALUE SELECT {values} "
        f"FROM {source} s",
    ]


def _copy(stash: Stash, name: str, columns: str, source: str) -> str:
    target = f"{quote_identifier(stash.schema)}.{name}"
    return f"CREATE TABLE {target} AS SELECT {columns} FROM {source}"


def _selection(columns: Iterable[Column]) -> str:
    parts = []
    for column in columns:
        name = quote_identifier(column.name)
        parts.append(name if column.builtin else f"{name}::pg_catalog.text AS {name}")
    return ", ".join(parts)


def _typed(alias: str, column: Column) -> str:
    value = f"{alias}.{quote_identifier(column.name)}"
    return value if column.builtin else f"{value}::pg_catalog.text::{column.type}"


def _row(alias: str, columns: Sequence[Column]) -> str:
    inside = ", ".join(
        f"{alias}.{quote_identifier(column.name)}::pg_catalog.text" for column in columns
    )
    return f"ROW({inside})::pg_catalog.text"


def _key_columns(table: TableFacts) -> tuple[Column, ...]:
    return tuple(column for column in table.columns if column.name in table.key)


def _with_key(table: TableFacts, columns: Iterable[Column]) -> tuple[Column, ...]:
    given = tuple(columns)
    names = {column.name for column in given}
    return (*(key for key in _key_columns(table) if key.name not in names), *given)


def _match_key(table: TableFacts, left: str, right: str) -> str:
    return " AND ".join(
        f"{left}.{quote_identifier(column.name)}::pg_catalog.text = "
        f"{right}.{quote_identifier(column.name)}::pg_catalog.text"
        if not column.builtin
        else f"{left}.{quote_identifier(column.name)} = {right}.{quote_identifier(column.name)}"
        for column in _key_columns(table)
    )


def _match(part: LostColumns, alias: str) -> str:
    return _match_key(part.table, "t", alias)


def _update(
    table: TableFacts, columns: Sequence[Column], source: str, where: str, *, alias: str = "s"
) -> str:
    kept = [column for column in columns if not column.generated and column.name not in table.key]
    if not kept:
        return "SELECT 1"
    sets = ", ".join(f"{quote_identifier(c.name)} = {_typed(alias, c)}" for c in kept)
    return f"UPDATE {table.sql} t SET {sets} FROM {source} WHERE {where}"
