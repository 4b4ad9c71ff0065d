"""Lints of how tables are made: keys, indexes, bloat, and types that block an upgrade."""

from __future__ import annotations

import re
from collections.abc import Iterator

from opsctl.adapters.sql import qualified, quote_identifier
from opsctl.areas.rls_smoke.lint_catalog import Catalog
from opsctl.areas.rls_smoke.lint_hit import ERROR, NOTE, WARNING, Hit, joined
from opsctl.areas.rls_smoke.lint_objects import Constraint, Index, Relation
from opsctl.areas.rls_smoke.lint_policies import owner_column
from opsctl.areas.rls_smoke.node_tree import parse_node_tree
from opsctl.core.report import Status

_YOUNG_S = 7 * 24 * 3600
"""Statistics of fewer days do not tell a monthly report from an index that nobody uses."""
_FEW_SCANS = 100
"""A table that was read less often says nothing about its indexes."""
_BAD_TYPES = frozenset(
    {
        "regcollation",
        "regconfig",
        "regdictionary",
        "regnamespace",
        "regoper",
        "regoperator",
        "regproc",
        "regprocedure",
    }
)
"""What pg_upgrade refuses in a table (PostgreSQL, 'pg_upgrade', notes)."""
_BLOAT_SHARE, _PAGE = 0.5, 8192
_LOCATION = re.compile(r" :location -?\d+")


def lint_tables(catalog: Catalog) -> Iterator[Hit]:
    """Return what is wrong with tables, keys and indexes."""
    for table in catalog.our_tables:
        yield from _primary_key(catalog, table)
        yield from _foreign_keys(catalog, table)
        yield from _duplicates(catalog, table)
        yield from _invalid(catalog, table)
        yield from _vacuum(table)
    for relation in catalog.ours:
        if relation.kind in "rpm":
            yield from _types(relation)
            yield from _bloat(relation)
    yield from _unused(catalog)


def create_index(table: Relation, columns: tuple[str, ...]) -> str:
    """Return the statement that makes an index, beside others' writes where that is possible."""
    beside = "" if table.kind == "p" else "CONCURRENTLY "
    return f"CREATE INDEX {beside}ON {table.sql} ({', '.join(map(quote_identifier, columns))})"


def _primary_key(catalog: Catalog, table: Relation) -> Iterator[Hit]:
    if table.partition or any(k.kind == "p" for k in catalog.constraints.get(table.oid, ())):
        return
    yield Hit(
        "no-primary-key",
        table.key,
        f"{table.key} has no primary key",
        WARNING,
        "rows cannot be told apart by replication, Realtime and most clients",
        (_make_primary_key(catalog, table),),
    )


def _make_primary_key(catalog: Catalog, table: Relation) -> str:
    for index in catalog.indexes.get(table.oid, ()):
        whole = index.unique and index.valid and index.predicate is None and not index.expressions
        numbers = index.key[: index.key_count]
        if not whole or not all(n in table.columns and table.columns[n].not_null for n in numbers):
            continue
        if (
            index.oid not in catalog.constraint_indexes
            and index.method == "btree"
            and table.kind == "r"
        ):
            name = quote_identifier(index.name)
            return f"ALTER TABLE {table.sql} ADD PRIMARY KEY USING INDEX {name}"
        names = ", ".join(quote_identifier(table.columns[n].name) for n in numbers)
        return f"ALTER TABLE {table.sql} ADD PRIMARY KEY ({names})"
    names_taken = {column.name for column in table.columns.values()}
    if "id" in names_taken:
        return f"ALTER TABLE {table.sql} ADD PRIMARY KEY (id)"
    return f"ALTER TABLE {table.sql} ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY"


def _foreign_keys(catalog: Catalog, table: Relation) -> Iterator[Hit]:
    for key in catalog.constraints.get(table.oid, ()):
        if key.kind != "f":
            continue
        names = tuple(table.columns[n].name for n in key.columns)
        target = catalog.relations.get(key.target)
        where = target.key if target is not None else "a table"
        if not key.inherited and not _covered(catalog, table, key):
            yield Hit(
                "unindexed-foreign-keys",
                table.key,
                f"The foreign key {key.name} of {table.key} has no index",
                WARNING,
                f"a delete in {where} reads all of it, and so does a join by {joined(names)}",
                (create_index(table, names),),
            )
        if target is not None and target.schema == "auth" and not key.inherited:
            yield from _to_auth(catalog, table, key, target)


def _to_auth(catalog: Catalog, table: Relation, key: Constraint, target: Relation) -> Iterator[Hit]:
    primary = {k.index for k in catalog.constraints.get(target.oid, ()) if k.kind == "p"}
    primary |= {i.oid for i in catalog.indexes.get(target.oid, ()) if i.primary}
    names = joined(target.columns[n].name for n in key.target_columns if n in target.columns)
    if key.index not in primary:
        name = quote_identifier(key.name)
        yield Hit(
            "fkey-to-auth-unique",
            table.key,
            f"The foreign key {key.name} of {table.key} refers to {target.key} ({names})",
            ERROR,
            "Supabase Auth keeps its primary keys only: the key blocks its upgrades, and who may "
            "insert can guess values by it",
            (f"ALTER TABLE {table.sql} DROP CONSTRAINT {name}",),
            "refer to auth.users (id)",
        )
        return
    column = table.columns[key.columns[0]]
    writers = [
        role
        for role in catalog.reach(table, "INSERT", "UPDATE")
        if column
        in (*table.reachable_columns(role, "INSERT"), *table.reachable_columns(role, "UPDATE"))
    ]
    if writers and not table.row_security and column.name != owner_column(catalog, table):
        yield Hit(
            "foreign-key-guess",
            table.key,
            f"{joined(writers)} can find out by {key.name} which users exist",
            NOTE,
            f"{column.name} may be set to anything, and the key tells whether it is there",
            (f"ALTER TABLE {table.sql} ENABLE ROW LEVEL SECURITY",),
            f"with policies that compare {column.name} with (SELECT auth.uid())",
        )


def _covered(catalog: Catalog, table: Relation, key: Constraint) -> bool:
    size = len(key.columns)
    for index in catalog.indexes.get(table.oid, ()):
        fits = set(index.key[:size]) == set(key.columns) and size <= index.key_count
        usable = index.valid and index.method in ("btree", "hash")
        if fits and usable and (index.predicate is None or _only_not_null(index, key.columns)):
            return True
    return False


def _only_not_null(index: Index, columns: tuple[int, ...]) -> bool:
    """Whether a partial index leaves out no more than rows whose key is null."""
    try:
        root = parse_node_tree(index.predicate or "")
    except ValueError:
        return False
    parts = (
        root.nodes("args") if root.kind == "BOOLEXPR" and root.word("boolop") == "and" else (root,)
    )
    for part in parts:
        arg = part.node("arg")
        if part.kind != "NULLTEST" or part.number("nulltesttype") != 1 or arg is None:
            return False
        if arg.kind != "VAR" or arg.number("varattno") not in columns:
            return False
    return True


def _duplicates(catalog: Catalog, table: Relation) -> Iterator[Hit]:
    groups: dict[tuple[object, ...], list[Index]] = {}
    for index in catalog.indexes.get(table.oid, ()):
        if index.valid and not index.partition:
            alike = (
                index.method,
                index.key,
                index.key_count,
                index.classes,
                index.collations,
                index.options,
                _LOCATION.sub("", index.predicate or ""),
                _LOCATION.sub("", index.expressions or ""),
            )
            groups.setdefault(alike, []).append(index)
    for group in groups.values():
        group.sort(
            key=lambda i: (
                i.oid not in catalog.constraint_indexes,
                not i.kept,
                not i.unique,
                i.name,
            )
        )
        keeper = group[0]
        spare = [
            i
            for i in group[1:]
            if i.oid not in catalog.constraint_indexes
            and not i.kept
            and (not i.unique or (keeper.unique and keeper.nulls_equal == i.nulls_equal))
        ]
        if spare:
            names = joined(index.name for index in spare)
            yield Hit(
                "duplicate-index",
                table.key,
                f"{table.key} has {keeper.name} twice: {names}",
                WARNING,
                "each write keeps them all up to date",
                tuple(_drop(table, index) for index in spare),
                objects=tuple(f"{table.schema}.{index.name}" for index in spare),
            )


def _drop(table: Relation, index: Index) -> str:
    beside = "" if table.kind == "p" else "CONCURRENTLY "
    return f"DROP INDEX {beside}{qualified(table.schema, index.name)}"


def _invalid(catalog: Catalog, table: Relation) -> Iterator[Hit]:
    for index in catalog.indexes.get(table.oid, ()):
        if index.valid or table.kind == "p":
            continue
        left = re.search(r"_cc(new|old)\d*$", index.name)
        mend = (
            _drop(table, index)
            if left
            else f"REINDEX INDEX CONCURRENTLY {qualified(table.schema, index.name)}"
        )
        yield Hit(
            "invalid-index",
            f"{table.schema}.{index.name}",
            f"The index {index.name} of {table.key} is invalid: no query uses it",
            WARNING,
            "it was left by CREATE INDEX CONCURRENTLY that failed; writes still keep it"
            + ("; it enforces nothing" if index.unique else ""),
            (mend,),
        )


def _unused(catalog: Catalog) -> Iterator[Hit]:
    idle: list[tuple[Relation, Index]] = []
    for table in catalog.our_tables:
        for index in catalog.indexes.get(table.oid, ()):
            needed = index.unique or index.kept or index.oid in catalog.constraint_indexes
            if (
                index.valid
                and not needed
                and not index.scans
                and not index.partition
                and table.kind == "r"
            ):
                idle.append((table, index))
    unknown: list[tuple[Relation, Index]] = []
    for table, index in idle:
        scans = table.scans + sum(each.scans for each in catalog.indexes.get(table.oid, ()))
        if catalog.stats_age_s < _YOUNG_S or scans < _FEW_SCANS:
            unknown.append((table, index))
            continue
        yield Hit(
            "unused-index",
            f"{table.schema}.{index.name}",
            f"The index {index.name} of {table.key} was never used",
            NOTE,
            f"in {catalog.stats_age_s / 86400:.0f} days of statistics and {scans} scans of the "
            f"table; {index.pages * _PAGE / 1e6:.1f} MB",
            (_drop(table, index),),
            "look at replicas, too: each has statistics of its own",
        )
    if unknown:
        names = tuple(f"{table.schema}.{index.name}" for table, index in unknown)
        yield Hit(
            "unused-index",
            "statistics",
            f"Whether indexes are used is not known yet, of {len(names)}",
            NOTE,
            f"{_span(catalog.stats_age_s)} of statistics, or fewer than {_FEW_SCANS} scans of the "
            f"table: {joined(names, most=6)}",
            objects=names,
            status=Status.UNKNOWN,
        )


def _span(seconds: float) -> str:
    return f"{seconds / 86400:.0f} days" if seconds > 2 * 86400 else f"{seconds / 3600:.1f} hours"


def _vacuum(table: Relation) -> Iterator[Hit]:
    if table.options.get("autovacuum_enabled", "on") in ("false", "off", "0", "no"):
        yield Hit(
            "autovacuum-disabled",
            table.key,
            f"Nobody vacuums {table.key} by itself",
            NOTE,
            "autovacuum_enabled is off: dead rows stay, and transaction numbers are used up",
            (f"ALTER TABLE {table.sql} RESET (autovacuum_enabled)",),
        )


def _types(relation: Relation) -> Iterator[Hit]:
    for column in relation.columns.values():
        bad = column.base if column.base in _BAD_TYPES else column.type
        if bad not in _BAD_TYPES:
            continue
        array = "[]" if column.type.startswith("_") else ""
        name = quote_identifier(column.name)
        kind = f"text{array}"
        mend = f"ALTER TABLE {relation.sql} ALTER COLUMN {name} TYPE {kind} USING {name}::{kind}"
        yield Hit(
            "unsupported-reg-types",
            relation.key,
            f"{relation.key}.{column.name} is of type {bad}, which blocks upgrades",
            WARNING,
            "pg_upgrade refuses a database with such a column",
            (mend,) if relation.kind != "m" else (),
            "make the view anew with a cast to text" if relation.kind == "m" else "",
        )


def _bloat(relation: Relation) -> Iterator[Hit]:
    """Compare the pages with what the rows would need, by the statistics of their widths."""
    if relation.width is None or relation.tuples < 0:
        return
    fill = int(relation.options.get("fillfactor", "100")) / 100
    row = relation.width + 24 + 4 + 8  # header, line pointer, alignment at worst
    needed = max(relation.tuples * row / (_PAGE - 24) / fill, 1)
    wasted = (relation.pages - needed) * _PAGE
    if wasted > 20e6 and wasted / (relation.pages * _PAGE) > _BLOAT_SHARE:
        yield Hit(
            "table-bloat",
            relation.key,
            f"{wasted / 1e6:.0f} MB of {relation.key} are empty",
            WARNING,
            f"{relation.pages * _PAGE / 1e6:.0f} MB hold about {relation.tuples:.0f} rows",
            (f"VACUUM (FULL, ANALYZE) {relation.sql}",),
            "it locks the table; pg_repack does not. Look why autovacuum did not keep up",
        )
