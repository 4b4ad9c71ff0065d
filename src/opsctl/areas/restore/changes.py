"""The SQL that makes tables what was staged: counted first, applied at once, put back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from opsctl.adapters.contents import label
from opsctl.adapters.postgres import Connection
from opsctl.adapters.sql import qualified, quote_identifier, quote_literal
from opsctl.core.errors import Exit, OpsError

Mode = Literal["replace", "append", "missing"]
"""replace: the table becomes what was staged. append: all rows are added. missing: those whose
key is not there are added."""

MODES: tuple[Mode, ...] = ("replace", "append", "missing")

_CHANGED = "OC002"
"""SQLSTATE of rows that are not as counted."""


@dataclass(frozen=True)
class TableShape:
    """A table as it is now."""

    schema: str
    name: str
    oid: int
    ours: bool
    """Whether our role owns it, and so may silence its triggers."""
    types: tuple[tuple[str, str], ...]
    """(column, type), in order."""
    generated: frozenset[str]
    always: frozenset[str]
    """Identity columns that are GENERATED ALWAYS."""
    required: frozenset[str]
    """NOT NULL columns without a default."""
    filled: frozenset[str]
    """NOT NULL columns."""
    key: tuple[str, ...]
    """The primary key's columns; empty where there is none."""
    leaves: tuple[tuple[str, str], ...]
    """(schema, name) of the partitions that hold its rows, or of itself."""
    triggers: tuple[tuple[str, str], ...]
    """(name, state) of its own triggers: O, D, R or A."""
    sequences: tuple[tuple[str, str], ...]
    """(column, sequence)."""
    foreign_keys: tuple[tuple[str, int, str], ...]
    """(name, oid of the table referred to, how it is deferrable) of its foreign keys."""

    @property
    def label(self) -> str:
        """Its name for a person."""
        return label(self.schema, self.name)

    @property
    def sql(self) -> str:
        """Its name for SQL."""
        return qualified(self.schema, self.name)

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column's name, in order."""
        return tuple(name for name, _ in self.types)

    @property
    def writable(self) -> tuple[str, ...]:
        """The columns that can be given a value."""
        return tuple(name for name, _ in self.types if name not in self.generated)


@dataclass(frozen=True)
class Staged:
    """Rows in a staging table."""

    shape: TableShape
    table: str
    """Its name for SQL."""
    columns: tuple[str, ...]
    """The columns to restore: there then and now, and not generated."""
    gone: tuple[str, ...]
    """Columns that the table does not have any more."""
    rows: int
    schema: str | None

    @property
    def keyed(self) -> bool:
        """Whether rows are told apart by the primary key."""
        return bool(self.shape.key) and set(self.shape.key) <= set(self.columns)


@dataclass(frozen=True)
class Counts:
    """What a restore would do to one table."""

    now: int
    insert: int
    change: int
    delete: int
    same: int

    def say(self, name: str) -> str:
        """Return it in words."""
        parts = [f"{count:,} {what}" for count, what in (
            (self.insert, "inserted"), (self.change, "changed"), (self.delete, "deleted"),
        ) if count]  # fmt: skip
        return f"{name}: {', '.join(parts) or 'nothing'}"

    def as_json(self) -> dict[str, int]:
        """Return it as JSON data."""
        return {"now": self.now, "insert": self.insert, "change": self.change,
                "delete": self.delete, "same": self.same}  # fmt: skip


def count_changes(
    connection: Connection, staged: Sequence[Staged], mode: Mode
) -> tuple[Counts, ...]:
    """Return what would change, in one transaction with the staging.

    Raises OpsError (exit 5) `foreign-key` or `key-exists` where it cannot be done.
    """
    found = []
    for each in staged:
        _refuse_doubled_keys(connection, each)
        _refuse_broken_checks(connection, each)
        now = _number(connection, f"SELECT count(*) FROM {each.shape.sql}")
        insert = _number(connection, f"SELECT count(*) FROM ({_new(each, mode)}) AS q")
        change = delete = 0
        if mode == "replace":
            change = _number(connection, f"SELECT count(*) FROM ({_changed(each)}) AS q")
            delete = _number(connection, f"SELECT count(*) FROM ({_extra(each)}) AS q")
        if mode == "append" and each.keyed:
            there = each.rows - _number(
                connection, f"SELECT count(*) FROM ({_new(each, 'missing')}) AS q"
            )
            if there:
                raise OpsError(
                    f"{there} rows of {each.shape.label} are there already",
                    why=f"their {', '.join(each.shape.key)} is taken",
                    hint="--mode missing adds only the others, --mode replace makes them equal",
                    code="key-exists",
                    exit=Exit.REFUSED,
                )
        found.append(Counts(now, insert, change, delete, each.rows - insert - change))
    for each in staged:
        _refuse_orphans(connection, each, staged, mode)
    return tuple(found)


def apply_statements(
    staged: Sequence[Staged], counts: Sequence[Counts], mode: Mode, *, schema: str
) -> tuple[str, ...]:
    """Return the statements of the one transaction: keep, delete, change, insert, prove."""
    ordered = _parents_first(staged)
    made: list[str] = ["SET LOCAL row_security = off", *_lock(staged)]
    for index, (each, count) in enumerate(zip(staged, counts, strict=True)):
        old, new = _kept(schema, index)
        made.append(f"CREATE TABLE {new} AS {_new(each, mode)}")
        if mode == "replace":
            made.append(
                f"CREATE TABLE {old} AS SELECT t.* FROM {each.shape.sql} AS t WHERE "
                f"(t.tableoid, t.ctid) IN (SELECT place, at FROM ({_extra(each)}) AS e "
                f"UNION ALL SELECT place, at FROM ({_changed(each)}) AS c)"
            )
        wanted = f"{count.insert} AND {count.change + count.delete} = " + (
            f"(SELECT count(*) FROM {old})" if mode == "replace" else "0"
        )
        made.append(_assert(f"(SELECT count(*) FROM {new}) = {wanted}"))
    made += [text for each in staged for text in _silence(each)]
    made += _defer(staged)
    if mode == "replace":
        made += [
            f"DELETE FROM {each.shape.sql} AS t WHERE (t.tableoid, t.ctid) IN "
            f"(SELECT place, at FROM ({_extra(each)}) AS e)"
            for each in reversed(ordered)
        ]
        made += [text for each in ordered for text in _update(each, each.table, each.columns)]
    for each in ordered:
        new = _kept(schema, list(staged).index(each))[1]
        listed = _names(each.columns)
        made.append(f"INSERT INTO {each.shape.sql} ({listed}) OVERRIDING SYSTEM VALUE "
                    f"SELECT {listed} FROM {new}")  # fmt: skip
    made += _check_now(staged)
    made += [text for each in staged for text in (*_wake(each), *_advance(each))]
    if mode == "replace":
        made += [_assert(_equal(each)) for each in staged]
    made.append(_comment(schema, "applied"))
    return tuple(made)


def undo_statements(staged: Sequence[Staged], mode: Mode, *, schema: str) -> tuple[str, ...]:
    """Return the statements that put every row back as it was before."""
    ordered = _parents_first(staged)
    made: list[str] = ["SET LOCAL row_security = off", *_lock(staged)]
    made += [text for each in staged for text in _silence(each)]
    made += _defer(staged)
    for each in reversed(ordered):
        new = _kept(schema, list(staged).index(each))[1]
        if each.keyed:
            made.append(f"DELETE FROM {each.shape.sql} AS t USING {new} AS n "
                        f"WHERE {_same_key(each, 't', 'n')}")  # fmt: skip
        else:
            made.append(_delete_as_many(each, new))
    for each in ordered if mode == "replace" else ():
        old = _kept(schema, list(staged).index(each))[0]
        if each.keyed:
            made += _update(each, old, each.shape.writable)
        listed = _names(each.shape.writable)
        absent = (
            f" WHERE NOT EXISTS (SELECT 1 FROM {each.shape.sql} AS t "
            f"WHERE {_same_key(each, 't', 'o')})"
            if each.keyed
            else ""
        )
        made.append(f"INSERT INTO {each.shape.sql} ({listed}) OVERRIDING SYSTEM VALUE "
                    f"SELECT {listed} FROM {old} AS o{absent}")  # fmt: skip
    made += _check_now(staged)
    made += [text for each in staged for text in _wake(each)]
    made.append(_comment(schema, "undone"))
    return tuple(made)


def _new(each: Staged, mode: Mode) -> str:
    """Return a query for the staged rows that are to be inserted."""
    listed = _names(each.columns, "s")
    if mode == "append":
        return f"SELECT {listed} FROM {each.table} AS s"
    if each.keyed:
        return (
            f"SELECT {listed} FROM {each.table} AS s WHERE NOT EXISTS (SELECT 1 FROM "
            f"{each.shape.sql} AS t WHERE {_same_key(each, 't', 's')})"
        )
    return (
        f"SELECT {listed} FROM {_numbered(each, each.table)} AS s WHERE NOT EXISTS "
        f"(SELECT 1 FROM {_numbered(each, each.shape.sql)} AS t WHERE t.opsctl_text = "
        "s.opsctl_text AND t.opsctl_n = s.opsctl_n)"
    )


def _changed(each: Staged) -> str:
    """Return a query for the places of the rows that are there and otherwise."""
    if not each.keyed:
        return "SELECT NULL::oid AS place, NULL::tid AS at WHERE false"
    return (
        f"SELECT t.tableoid AS place, t.ctid AS at FROM {each.shape.sql} AS t "
        f"JOIN {each.table} AS s ON {_same_key(each, 't', 's')} WHERE "
        f"{_text(each.columns, 't')} IS DISTINCT FROM {_text(each.columns, 's')}"
    )


def _extra(each: Staged) -> str:
    """Return a query for the places of the rows that were not staged."""
    if each.keyed:
        return (
            f"SELECT t.tableoid AS place, t.ctid AS at FROM {each.shape.sql} AS t WHERE NOT "
            f"EXISTS (SELECT 1 FROM {each.table} AS s WHERE {_same_key(each, 't', 's')})"
        )
    return (
        f"SELECT t.opsctl_place AS place, t.opsctl_at AS at FROM "
        f"{_numbered(each, each.shape.sql, places=True)} AS t WHERE NOT EXISTS (SELECT 1 FROM "
        f"{_numbered(each, each.table)} AS s WHERE t.opsctl_text = s.opsctl_text "
        "AND t.opsctl_n = s.opsctl_n)"
    )


def _numbered(each: Staged, table: str, *, places: bool = False) -> str:
    """Return a subquery that numbers equal rows, so that each has a partner of its own."""
    text = _text(each.columns, "x")
    where = "x.tableoid AS opsctl_place, x.ctid AS opsctl_at, " if places else ""
    return (
        f"(SELECT {where}{_names(each.columns, 'x')}, {text} AS opsctl_text, "
        f"row_number() OVER (PARTITION BY {text}) AS opsctl_n FROM {table} AS x)"
    )


def _delete_as_many(each: Staged, new: str) -> str:
    """Delete as many equal rows as were inserted, whichever of them."""
    return (
        f"DELETE FROM {each.shape.sql} AS t WHERE (t.tableoid, t.ctid) IN (SELECT x.opsctl_place, "
        f"x.opsctl_at FROM {_numbered(each, each.shape.sql, places=True)} AS x JOIN "
        f"{_numbered(each, new)} AS n ON n.opsctl_text = x.opsctl_text AND n.opsctl_n = x.opsctl_n)"
    )


def _update(each: Staged, source: str, columns: Sequence[str]) -> tuple[str, ...]:
    set_ = [name for name in columns
            if name not in each.shape.key and name not in each.shape.always]  # fmt: skip
    if not each.keyed or not set_:
        return ()
    assigned = ", ".join(f"{quote_identifier(name)} = s.{quote_identifier(name)}" for name in set_)
    return (
        f"UPDATE {each.shape.sql} AS t SET {assigned} FROM {source} AS s "
        f"WHERE {_same_key(each, 't', 's')} AND "
        f"{_text(set_, 't')} IS DISTINCT FROM {_text(set_, 's')}",
    )


def _equal(each: Staged) -> str:
    """Return a condition: the table holds what was staged, by count and hash."""
    hashed = f"ROW(count(*), coalesce(sum(hashtextextended({_text(each.columns, 'x')}, 0)), 0))"
    sides = [f"(SELECT {hashed} FROM {table} AS x)" for table in (each.shape.sql, each.table)]
    return " = ".join(sides)


def _lock(staged: Sequence[Staged]) -> list[str]:
    listed = ", ".join(each.shape.sql for each in staged)
    return [f"LOCK TABLE {listed} IN SHARE ROW EXCLUSIVE MODE"]


def _silence(each: Staged) -> tuple[str, ...]:
    if not each.shape.ours or not each.shape.triggers:
        return ()
    return (f"ALTER TABLE {each.shape.sql} DISABLE TRIGGER USER",)


def _wake(each: Staged) -> tuple[str, ...]:
    """Give each trigger the state that it had."""
    if not each.shape.ours or not each.shape.triggers:
        return ()
    words = {"O": "ENABLE", "D": "DISABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS"}
    return tuple(
        f"ALTER TABLE {each.shape.sql} {words[state]} TRIGGER {quote_identifier(name)}"
        for name, state in each.shape.triggers
    )


def _defer(staged: Sequence[Staged]) -> list[str]:
    """Let foreign keys among the tables wait for the end: no order fits a circle or a tree."""
    return [
        *(f"ALTER TABLE {table} ALTER CONSTRAINT {name} DEFERRABLE INITIALLY DEFERRED"
          for table, name, _ in _among(staged)),
        "SET CONSTRAINTS ALL DEFERRED",
    ]  # fmt: skip


def _check_now(staged: Sequence[Staged]) -> list[str]:
    """Check the foreign keys, and give each the property that it had."""
    return [
        "SET CONSTRAINTS ALL IMMEDIATE",
        *(f"ALTER TABLE {table} ALTER CONSTRAINT {name} {how}"
          for table, name, how in _among(staged)),
    ]  # fmt: skip


def _among(staged: Sequence[Staged]) -> list[tuple[str, str, str]]:
    oids = {each.shape.oid for each in staged}
    return [
        (each.shape.sql, quote_identifier(name), how)
        for each in staged
        for name, parent, how in each.shape.foreign_keys
        if parent in oids and each.shape.ours
    ]


def _advance(each: Staged) -> tuple[str, ...]:
    """Move sequences forward to the largest value, never back; not those that count down."""
    return tuple(
        f"SELECT setval({quote_literal(sequence)}, m.most) FROM (SELECT max("
        f"{quote_identifier(column)})::bigint AS most FROM {each.shape.sql}) AS m, "
        f"{sequence} AS q WHERE m.most > q.last_value"
        for column, sequence in each.shape.sequences
    )


def _assert(condition: str) -> str:
    return (
        f"DO $opsctl$ BEGIN IF NOT ({condition}) THEN RAISE EXCEPTION 'the rows are not as "
        f"counted: somebody wrote to them since the plan was made' USING ERRCODE = '{_CHANGED}'; "
        "END IF; END $opsctl$"
    )


def _comment(schema: str, word: str) -> str:
    return f"COMMENT ON SCHEMA {quote_identifier(schema)} IS {quote_literal(f'opsctl: {word}')}"


def _kept(schema: str, index: int) -> tuple[str, str]:
    return qualified(schema, f"old_{index}"), qualified(schema, f"new_{index}")


def _names(columns: Sequence[str], of: str = "") -> str:
    dot = f"{of}." if of else ""
    return ", ".join(f"{dot}{quote_identifier(name)}" for name in columns)


def _text(columns: Sequence[str], of: str) -> str:
    """Return a row's text: every type has one, and not every type has an equality."""
    return f"ROW({_names(columns, of)})::text"


def _same_key(each: Staged, one: str, other: str) -> str:
    return " AND ".join(
        f"{one}.{quote_identifier(name)} = {other}.{quote_identifier(name)}"
        for name in each.shape.key
    )


def _parents_first(staged: Sequence[Staged]) -> list[Staged]:
    """Return the tables so that what is referred to comes first; a circle stays as given."""
    left, found = list(staged), list[Staged]()
    while left:
        waiting = {each.shape.oid for each in left}
        free = [
            each
            for each in left
            if not {oid for _, oid, _ in each.shape.foreign_keys if oid != each.shape.oid} & waiting
        ]
        found += free or left[:1]
        left = [each for each in left if each not in found]
    return found


def _refuse_doubled_keys(connection: Connection, each: Staged) -> None:
    if not each.keyed:
        return
    keys = _names(each.shape.key)
    row = connection.execute(
        f"SELECT ROW({keys})::text, count(*) FROM {each.table} GROUP BY {keys} "
        f"HAVING count(*) > 1 OR ROW({keys}) IS NULL LIMIT 1".encode()
    ).fetchone()
    if row is not None:
        raise OpsError(
            f"The rows for {each.shape.label} cannot be told apart",
            why=f"{row[1]} of them have the key {str(row[0])[:60]}",
            hint="a primary key is there once, and never empty",
            code="key-doubled",
        )


def _refuse_broken_checks(connection: Connection, each: Staged) -> None:
    """Refuse rows that a CHECK constraint of today would."""
    checks = connection.execute(
        b"SELECT conname, pg_get_expr(conbin, conrelid), (SELECT array_agg(attname)::text[] "
        b"FROM pg_attribute WHERE attrelid = conrelid AND attnum = ANY (conkey)) "
        b"FROM pg_constraint WHERE contype = 'c' AND conrelid = %s",
        (each.shape.oid,),
    ).fetchall()
    for name, expression, columns in checks:
        if not set(columns or ()) <= set(each.columns):
            continue
        count = _number(connection, f"SELECT count(*) FROM {each.table} WHERE NOT ({expression})")
        if count:
            raise OpsError(
                f"Rows for {each.shape.label} would be refused",
                why=f"{count} of them do not meet the constraint {name}: {expression}",
                hint="mend the rows or the constraint; nothing was changed",
                code="check-violated",
                exit=Exit.REFUSED,
            )


def _refuse_orphans(
    connection: Connection, each: Staged, staged: Sequence[Staged], mode: Mode
) -> None:
    """Refuse what a foreign key would: rows that lose their parent, and rows without one."""
    by_oid = {other.shape.oid: other for other in staged}
    keys = connection.execute(_FOREIGN_KEYS.encode(), (each.shape.oid, each.shape.oid)).fetchall()
    for name, child, parent, child_name, parent_name, columns, references in keys:
        if parent == each.shape.oid and child not in by_oid and mode == "replace":
            joined = _joined("r", columns, "t", references)
            count = _number(
                connection,
                f"SELECT count(*) FROM {child_name} AS r JOIN {each.shape.sql} AS t ON {joined} "
                f"WHERE (t.tableoid, t.ctid) IN (SELECT place, at FROM ({_extra(each)}) AS e)",
            )
            if count:
                raise _foreign(
                    f"Rows of {each.shape.label} that would be deleted are still needed",
                    f"{count} rows of {child_name} refer to them ({name})",
                )
        if child == each.shape.oid and set(columns) <= set(each.columns):
            known = (
                f"SELECT 1 FROM {parent_name} AS p WHERE {_joined('s', columns, 'p', references)}"
            )
            other = by_oid.get(parent)
            if other is not None and mode == "replace":
                known = "SELECT 1 WHERE false"
            absent = f"NOT EXISTS ({known})"
            if other is not None:
                absent += (f" AND NOT EXISTS (SELECT 1 FROM {other.table} AS p WHERE "
                           f"{_joined('s', columns, 'p', references)})")  # fmt: skip
            filled = " AND ".join(f"s.{quote_identifier(column)} IS NOT NULL" for column in columns)
            rows = each.table if mode == "replace" else f"({_new(each, mode)})"
            count = _number(
                connection, f"SELECT count(*) FROM {rows} AS s WHERE {filled} AND {absent}"
            )
            if count:
                raise _foreign(
                    f"Rows of {each.shape.label} would have no parent",
                    f"{count} rows refer to rows of {parent_name} that are not there ({name})",
                )


_FOREIGN_KEYS = """
SELECT k.conname, k.conrelid::int8, k.confrelid::int8, k.conrelid::regclass::text,
       k.confrelid::regclass::text,
       (SELECT array_agg(a.attname ORDER BY n.at) FROM unnest(k.conkey) WITH ORDINALITY n (c, at)
        JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = n.c)::text[],
       (SELECT array_agg(a.attname ORDER BY n.at) FROM unnest(k.confkey) WITH ORDINALITY n (c, at)
        JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = n.c)::text[]
FROM pg_constraint k
WHERE k.contype = 'f' AND k.conparentid = 0 AND (k.conrelid = %s OR k.confrelid = %s)
"""


def _joined(one: str, columns: Sequence[str], other: str, references: Sequence[str]) -> str:
    return " AND ".join(
        f"{one}.{quote_identifier(left)} = {other}.{quote_identifier(right)}"
        for left, right in zip(columns, references, strict=True)
    )


def _foreign(what: str, why: str) -> OpsError:
    return OpsError(
        what,
        why=why,
        hint="restore the other table, too: --tables a,b",
        code="foreign-key",
        exit=Exit.REFUSED,
    )


def _number(connection: Connection, query: str) -> int:
    row: Any = connection.execute(query.encode()).fetchone()
    return int(row[0])
