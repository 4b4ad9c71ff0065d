"""Which rows are old by a rule of the settings: counted, and nothing is changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg

from opsctl.adapters.postgres import Connection, connect
from opsctl.adapters.sql import qualified, quote_identifier, quote_literal
from opsctl.core.errors import Exit, OpsError
from opsctl.core.secrets import resolve_secret

if TYPE_CHECKING:
    from opsctl.core.maintenance import Retention
    from opsctl.core.settings import Database

_TIMES = ("timestamp with time zone", "timestamp without time zone", "date")
_COLUMN = """
SELECT c.relkind::text, pg_catalog.format_type(a.atttypid, NULL), c.relhassubclass,
       (SELECT pg_catalog.string_agg(DISTINCT f.conrelid::regclass::text, ', ')
          FROM pg_catalog.pg_constraint f
         WHERE f.contype = 'f' AND f.confrelid = c.oid AND f.confdeltype IN ('c', 'n', 'd')),
       c.reltuples::bigint
FROM pg_catalog.pg_class c
LEFT JOIN pg_catalog.pg_attribute a
  ON a.attrelid = c.oid AND a.attname = %s AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.oid = pg_catalog.to_regclass(%s)
"""


@dataclass(frozen=True)
class OldRows:
    """What one rule would delete now."""

    rule: str
    name: str
    """The table, as the settings name it."""
    table: str
    """The same, quoted."""
    condition: str
    """What an old row meets; the moment in it is fixed."""
    before: str
    """Rows from before this may go, as PostgreSQL writes it."""
    rows: int
    batch: int
    estimated: int
    """Rows of the whole table, by the last ANALYZE; -1 where there was none."""
    followers: str
    """Tables whose rows change or go with them, by foreign keys."""


def count_old_rows(database: Database, rules: Sequence[Retention]) -> list[OldRows]:
    """Return what each rule would delete, in the order of the rules.

    Raises OpsError `bad-retention` (exit 2) for a rule that does not fit its table, and those
    of `connect`.
    """
    with connect(resolve_secret(database.url), autocommit=False) as connection:
        connection.execute(
            f"SET LOCAL statement_timeout = {database.statement_timeout_s * 1000:.0f}".encode()
        )
        return [_count(connection, rule) for rule in rules]


def _count(connection: Connection, rule: Retention) -> OldRows:
    schema, _, name = rule.table.partition(".")
    table, column = qualified(schema, name), quote_identifier(rule.column)
    found = connection.execute(_COLUMN, (rule.column, table)).fetchone()
    why = ""
    if found is None:
        why = f"there is no table {rule.table}"
    elif found[0] != "r" or found[2]:
        # A row's place tells it from others within one plain table alone.
        why = f"{rule.table} is no plain table: of a partitioned one drop old partitions"
    elif found[1] is None:
        why = f"{rule.table} has no column {rule.column}"
    elif found[1] not in _TIMES:
        why = f"{rule.column} is of type {found[1]}, which is no time"
    if found is None or why:
        raise _bad(rule, why)
    before = _one(
        connection,
        "SELECT (pg_catalog.now() - pg_catalog.make_interval(secs => %s))::text",
        rule.days * 86400,
    )
    condition = f"{column} < {quote_literal(before)}::timestamptz AND ({rule.only}\n)"
    try:
        # With values the server takes one statement alone: a condition cannot end it. Without
        # brackets around it, it cannot close one that is not its own, and widen what is old.
        with connection.transaction():
            alone = f"SELECT %s FROM ONLY {table} WHERE {rule.only}\nLIMIT 0"
            _one(connection, alone, "", escaped=rule.only)
            rows = _one(
                connection, f"SELECT count(*)::text FROM ONLY {table} WHERE {condition} AND %s",
                True, escaped=condition,
            )  # fmt: skip
    except psycopg.errors.QueryCanceled:
        raise OpsError(
            f"The old rows of {rule.table} were not counted",
            why="it took longer than database.statement_timeout_s",
            hint=f"is there an index on {rule.column}?",
            code="count-timeout",
            exit=Exit.UNKNOWN,
        ) from None
    except psycopg.Error as error:
        raise _bad(rule, error.diag.message_primary or type(error).__name__) from None
    return OldRows(
        rule=rule.name,
        name=rule.table,
        table=table,
        condition=condition,
        before=before,
        rows=int(rows),
        batch=rule.batch,
        estimated=int(found[4]),
        followers=str(found[3] or ""),
    )


def _one(connection: Connection, sql: str, value: object, *, escaped: str = "") -> str:
    """Return the first column of the only row; in `escaped` a % is one."""
    if escaped:
        sql = sql.replace(escaped, escaped.replace("%", "%%"))
    row = connection.execute(sql.encode(), (value,)).fetchone()
    return str(row[0]) if row is not None else ""


def _bad(rule: Retention, why: str) -> OpsError:
    return OpsError(
        f"The rule {rule.name} does not fit the database",
        why=why,
        hint="mend maintenance.retention in the settings: opsctl config schema",
        code="bad-retention",
    )
