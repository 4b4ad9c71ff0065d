"""Generic plans of normalised statements: planned, never run, read only, and soon given up.

A statement's text came from other people's sessions. It is parsed alone first, in the protocol
that takes one statement only, so that it cannot be two; then it is planned in a read-only
transaction that is rolled back within the same message.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.pq import ExecStatus

from opsctl.adapters.postgres import Connection
from opsctl.adapters.sql import quote_identifier, without_comments
from opsctl.adapters.statements import MARK

_READING = re.compile(r"(select|with|values|table)\b", re.IGNORECASE)
_WRITING = re.compile(r"(insert|update|delete|merge)\b", re.IGNORECASE)
_LOCKING = re.compile(r"\bfor\s+(no\s+key\s+)?(update|share|key)\b", re.IGNORECASE)
_CHANGES_WITHIN = re.compile(
    r"\b(insert\s+into|update|delete\s+from|merge\s+into)\b", re.IGNORECASE
)
_TYPED_LITERAL = re.compile(
    r"\b(interval|date|time|timestamp|timestamptz)\s+(\$\d+)", re.IGNORECASE
)
_READING_MS = 2000
_WRITING_MS = 80
"""Planning a change locks its table against DDL, so it may only take a moment."""
_NO_SUCH_NAME = ("42P01", "42883", "42704", "42703", "3F000")


@dataclass(frozen=True)
class Explained:
    """The generic plan of one statement, or why there is none."""

    plan: Mapping[str, Any] | None
    """As EXPLAIN (FORMAT JSON, VERBOSE) gives it."""
    refused: str = ""
    role: str = ""
    """Whose row-level security and search path it was planned with; empty: our own."""
    search_path: str = ""
    took_ms: float = 0.0

    @property
    def cost(self) -> float:
        """The planner's total cost, in its own unit; 0 without a plan."""
        return float(self.plan["Total Cost"]) if self.plan is not None else 0.0


def explain(connection: Connection, text: str, *, role: str, cut: bool) -> Explained:
    """Plan a statement as a role does; never raises for what the server makes of the text."""
    bare = without_comments(text)
    if cut:
        return Explained(None, "its text is too long to be planned")
    if not (_READING.match(bare) or _WRITING.match(bare)):
        word = bare.split(None, 1)[0].upper()[:20] if bare.split() else "nothing"
        return Explained(None, f"{word} is a statement without a plan")
    writes = not _READING.match(bare) or _LOCKING.search(bare) or _CHANGES_WITHIN.search(bare)
    began = time.monotonic()
    path = _search_path(connection, role)
    became = _become(connection, role)
    try:
        if connection.info.server_version < 160000:
            _set(connection, "plan_cache_mode", "force_generic_plan")
        _set(connection, "statement_timeout", str(_WRITING_MS if writes else _READING_MS))
        found = _plan(connection, bare, path)
    finally:
        connection.execute(f"RESET {MARK} ROLE".encode())
        _set(connection, "statement_timeout", "15000")
        _set(connection, "search_path", "pg_catalog")
    took_ms = (time.monotonic() - began) * 1000
    return Explained(found.plan, found.refused, role if became else "", found.search_path, took_ms)


def _plan(connection: Connection, text: str, path: str) -> Explained:
    """Plan, and where a name or a literal stands in the way, try once more around it."""
    found, state = _try(connection, text, path)
    if state == "42601" and _TYPED_LITERAL.search(text):
        # `interval '1 day'` was normalised to `interval $1`, which is not SQL.
        text = _TYPED_LITERAL.sub(r"\2::\1", text)
        found, state = _try(connection, text, path)
    if state in _NO_SUCH_NAME:
        wider = _every_schema(connection, path)
        if wider != path:
            again, _ = _try(connection, text, wider)
            if again.plan is not None:
                return again
    return found


def _try(connection: Connection, text: str, path: str) -> tuple[Explained, str]:
    """Return what came of it, and the SQLSTATE of a refusal."""
    try:
        _set(connection, "search_path", path)
        parsed = connection.pgconn.prepare(b"", text.encode())
        if parsed.status != ExecStatus.COMMAND_OK:
            raise psycopg.errors.error_from_result(parsed)
        count = connection.pgconn.describe_prepared(b"").nparams
        if connection.info.server_version >= 160000:
            middle = f"EXPLAIN {MARK} (GENERIC_PLAN, VERBOSE, FORMAT JSON) {text}\n"
            after = ""
        else:
            nulls = f"({', '.join(['NULL'] * count)})" if count else ""
            middle = (
                f"PREPARE {MARK} opsctl_plan AS {text}\n; "
                f"EXPLAIN {MARK} (VERBOSE, FORMAT JSON) EXECUTE opsctl_plan{nulls}"
            )
            after = "DEALLOCATE opsctl_plan; "
        script = f"BEGIN {MARK} READ ONLY; {middle}; {after}ROLLBACK"
        cursor = connection.execute(script.encode())
        rows: Sequence[Any] = ()
        while True:
            if cursor.description is not None:
                rows = cursor.fetchall()
            if not cursor.nextset():
                break
        return Explained(rows[0][0][0]["Plan"], search_path=path), ""
    except psycopg.Error as error:
        if connection.closed:
            return Explained(None, "the connection was lost"), ""
        if connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            connection.execute(b"ROLLBACK")
        connection.execute(f"DEALLOCATE {MARK} ALL".encode())
        words = (error.diag.message_primary or str(error).splitlines()[0])[:200]
        return Explained(None, f"the server would not plan it: {words}"), error.sqlstate or ""


def _become(connection: Connection, role: str) -> bool:
    """Become the role that sends the statement, where we may."""
    try:
        connection.execute(f"SET {MARK} ROLE {quote_identifier(role)}".encode())
    except psycopg.Error:
        return False
    return True


def _set(connection: Connection, name: str, value: str) -> None:
    # Of a shape that applications do not have: entries are told apart by shape alone.
    query = f"SELECT {MARK} set_config('{name}', %s, false), 'opsctl', 'slowquery'"
    connection.execute(query.encode(), (value,))


def _search_path(connection: Connection, role: str) -> str:
    """Return the search path that a role's sessions begin with here."""
    row = connection.execute(_PATH.encode(), (role,)).fetchone()
    return str(row[0]) if row and row[0] else '"$user", public'


def _every_schema(connection: Connection, path: str) -> str:
    row = connection.execute(_SCHEMAS.encode()).fetchone()
    return f"{path}, {row[0]}" if row and row[0] else path


_PATH = f"""SELECT {MARK} substr(setting, 13) FROM (
  SELECT unnest(s.setconfig) AS setting, s.setrole <> 0 AS of_role, s.setdatabase <> 0 AS here
  FROM pg_catalog.pg_db_role_setting s
  WHERE s.setdatabase IN (0, (SELECT oid FROM pg_catalog.pg_database
                              WHERE datname = current_database()))
    AND s.setrole IN (0, coalesce((SELECT oid FROM pg_catalog.pg_roles WHERE rolname = %s), 0))
) each WHERE setting LIKE 'search_path=%%' ORDER BY of_role DESC, here DESC LIMIT 1
"""

_SCHEMAS = f"""SELECT {MARK} string_agg(quote_ident(nspname), ', ' ORDER BY nspname)
FROM pg_catalog.pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
AND has_schema_privilege(oid, 'USAGE')
"""
