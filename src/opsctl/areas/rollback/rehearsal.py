"""Databases of a scratch server in which a rollback is tried before anything is touched.

Two kinds: a clone of the live schema, and a replay of migrations on the platform's baseline
(the schemas and extensions that no migration of the project made). Rows are never copied.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg

from opsctl.adapters import catalog, postgres
from opsctl.adapters.schema_clone import SchemaClone, schema_clone
from opsctl.adapters.sql import (
    needs_no_transaction,
    quote_identifier,
    quote_literal,
    split_statements,
    without_comments,
)
from opsctl.areas.rollback.facts import Unit
from opsctl.core.errors import Exit, OpsError


@dataclass(frozen=True)
class Relation:
    """A table, partitioned table, materialised view or sequence of a scratch database."""

    schema: str
    name: str
    kind: str
    """pg_class.relkind."""
    partition: bool
    parents: tuple[int, ...]


@dataclass(frozen=True)
class Attribute:
    """A column of a relation: its name and its type as text."""

    name: str
    type: str
    builtin: bool
    """Whether the type is in pg_catalog, so that it cannot be dropped."""
    generated: bool
    inherited: bool


@dataclass(frozen=True)
class Identities:
    """Relations by oid and columns by (oid, number): what a rename keeps and a drop loses."""

    relations: dict[int, Relation]
    columns: dict[tuple[int, int], Attribute]


class Rehearsal:
    """A scratch server that knows the live database's schema, roles and role in use."""

    def __init__(
        self, base: SchemaClone, *, user: str, search_path: str, history: tuple[str, ...]
    ) -> None:
        self._live = base
        self._server = base.server
        self._user = user
        self._search_path = search_path
        self._history = history
        self._clone: str | None = None
        self._bases: dict[frozenset[str], str] = {}
        self._number = 0
        self.missing_extensions = base.missing_extensions
        self.same_major = base.same_major

    def clone(self) -> str:
        """Return the URL of a new database with the live schema and the tools' histories."""
        if self._clone is None:
            self._clone = self._name("clone")
            url, _ = self._live.restore(self._clone)
            self.run(url, self._history, as_user=False)
        return self._server.create_database(self._name("try"), template=self._clone)

    def replay(self, units: Sequence[Unit], *, created: frozenset[str]) -> str:
        """Return the URL of a new database: the baseline, then `units` in order.

        `created` are the extensions that the project's own migrations create. Raises OpsError
        `replay-failed` naming the migration.
        """
        url = self._server.create_database(self._name("replay"), template=self._base(created))
        for unit in units:
            self.apply(url, unit)
        return url

    def apply(self, url: str, unit: Unit) -> None:
        """Apply one migration as its tool would; raises OpsError `replay-failed`."""
        try:
            if needs_no_transaction(unit.script):
                self.run(url, split_statements(unit.script), in_transaction=False)
            else:
                self.run(url, (unit.script,))
        except psycopg.Error as error:
            raise OpsError(
                f"The migration {unit.label} could not be replayed",
                why=message_of(error),
                hint="the rollback is proven by replaying the migrations: "
                "make them run from an empty database",
                code="replay-failed",
                exit=Exit.UNKNOWN,
            ) from None

    def run(
        self,
        url: str,
        statements: Sequence[str],
        *,
        in_transaction: bool = True,
        as_user: bool = True,
        before_commit: str | None = None,
    ) -> list[tuple[Any, ...]]:
        """Run statements and return the rows of `before_commit`; raises psycopg.Error."""
        with self._connect(url, as_user=as_user) as connection:
            if not in_transaction:
                for statement in statements:
                    connection.execute(statement.encode())
                return []
            with connection.transaction():
                for statement in statements:
                    connection.execute(statement.encode())
                if before_commit is None:
                    return []
                return connection.execute(before_commit.encode()).fetchall()

    def read(self, url: str) -> catalog.Catalog:
        """Return a scratch database's catalog."""
        with self._connect(url, as_user=False) as connection:
            return catalog.read_catalog(connection)

    def identities(self, url: str) -> Identities:
        """Return what the relations and columns of a scratch database are, by number."""
        with self._connect(url, as_user=False) as connection:
            relations = connection.execute(_RELATIONS).fetchall()
            columns = connection.execute(_COLUMNS).fetchall()
        return Identities(
            {
                oid: Relation(schema, name, kind, partition, tuple(parents))
                for oid, schema, name, kind, partition, parents in relations
            },
            {(oid, number): Attribute(*rest) for oid, number, *rest in columns},
        )

    def writes(self, url: str, scripts: Sequence[Unit | Sequence[str]]) -> list[set[str]]:
        """Return the tables, as `schema.name`, that each script in turn writes rows of.

        Statement triggers see it in an empty database too; what cascades along foreign keys
        is added. What row triggers would write cannot be seen.
        """
        self.run(url, (_TRACE,), as_user=False)
        found = []
        for script in scripts:
            self.run(url, ("TRUNCATE opsctl_trace.hit",), as_user=False)
            if isinstance(script, Unit):
                self.apply(url, script)
            else:
                self.run(url, script)
            with self._connect(url, as_user=False) as connection:
                found.append({row[0] for row in connection.execute(_HITS).fetchall()})
        return found

    def _base(self, created: frozenset[str]) -> str:
        if created not in self._bases:
            name = self._name("base")
            self._live.restore(name, keep=lambda entry: _is_platform(entry, created))
            self._bases[created] = name
        return self._bases[created]

    def _name(self, kind: str) -> str:
        self._number += 1
        return f"opsctl_{kind}_{self._number}"

    @contextmanager
    def _connect(self, url: str, *, as_user: bool) -> Iterator[postgres.Connection]:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.prepare_threshold = None
            connection.execute("SET client_min_messages = error")
            if as_user:
                user = quote_identifier(self._user)
                connection.execute(f"SET SESSION AUTHORIZATION {user}".encode())
                path = quote_literal(self._search_path)
                connection.execute(
                    f"SELECT pg_catalog.set_config('search_path', {path}, false)".encode()
                )
            yield connection


@contextmanager
def rehearse(
    connection: postgres.Connection,
    url: str,
    facts: postgres.ServerFacts,
    *,
    history: tuple[str, ...],
) -> Iterator[Rehearsal]:
    """Start a scratch server that has the live database's roles, and dump the live schema.

    `history` are statements that fill the tools' tables in a clone.

    Raises OpsError `tool-missing` (exit 3) where no server or no pg_dump of a fitting version
    is to be had.
    """
    search_path = _one(connection, "SELECT current_setting('search_path')")
    with schema_clone(connection, url, facts) as base:
        yield Rehearsal(base, user=facts.user, search_path=search_path, history=history)


def created_extensions(scripts: Iterable[str]) -> frozenset[str]:
    """Return the names of the extensions that scripts create."""
    names = set()
    for script in scripts:
        for statement in split_statements(script):
            match = _CREATE_EXTENSION.match(without_comments(statement))
            if match:
                names.add(match["name"].strip('"').lower())
    return frozenset(names)


def message_of(error: psycopg.Error) -> str:
    """Return PostgreSQL's own message of a scratch database's error, with its SQLSTATE."""
    text = error.diag.message_primary or type(error).__name__
    detail = f": {error.diag.message_detail}" if error.diag.message_detail else ""
    return f"{text}{detail} ({error.sqlstate or 'no code'})"


def _is_platform(entry: postgres.DumpEntry, created: frozenset[str]) -> bool:
    """Whether a dump entry belongs to what was there before any migration."""
    first = entry.name.split(" ")[0]
    if entry.kind in ("TRIGGER", "POLICY"):
        return False  # migrations put these on the platform's own tables
    if entry.kind == "SCHEMA":
        return first in catalog.MANAGED_SCHEMAS
    if entry.kind == "EXTENSION":
        return first.lower() not in created
    if entry.kind in ("DEFAULT ACL", "PUBLICATION"):
        return True
    if entry.kind == "ACL" and entry.schema == "-":
        return entry.name.startswith("SCHEMA ") and (
            entry.name.split(" ")[1] in catalog.MANAGED_SCHEMAS | {"public"}
        )
    return entry.schema in catalog.MANAGED_SCHEMAS


def _one(connection: postgres.Connection, query: str) -> Any:
    row = connection.execute(query.encode()).fetchone()
    return row[0] if row else None


_CREATE_EXTENSION = re.compile(
    r"^CREATE\s+EXTENSION\s+(?:IF\s+NOT\s+EXISTS\s+)?(?P<name>\"[^\"]+\"|[\w-]+)", re.IGNORECASE
)

_OURS = "n.nspname !~ '^(pg_|opsctl_)' AND n.nspname <> 'information_schema'"

_RELATIONS = f"""
SELECT c.oid::int8, n.nspname, c.relname, c.relkind::text, c.relispartition,
       ARRAY(SELECT i.inhparent::int8 FROM pg_inherits i WHERE i.inhrelid = c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'm', 'S') AND {_OURS}
"""

_COLUMNS = f"""
SELECT a.attrelid::int8, a.attnum::int, a.attname, format_type(a.atttypid, a.atttypmod),
       coalesce(en.nspname, tn.nspname) = 'pg_catalog', a.attgenerated <> '', a.attinhcount > 0
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_type t ON t.oid = a.atttypid JOIN pg_namespace tn ON tn.oid = t.typnamespace
LEFT JOIN pg_type e ON e.oid = t.typelem AND t.typlen = -1 AND t.typelem <> 0
LEFT JOIN pg_namespace en ON en.oid = e.typnamespace
WHERE c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped AND {_OURS}
"""

_TRACE = f"""
CREATE SCHEMA opsctl_trace;
CREATE TABLE opsctl_trace.hit (relation oid, what text);
GRANT USAGE ON SCHEMA opsctl_trace TO PUBLIC;
GRANT INSERT ON opsctl_trace.hit TO PUBLIC;
CREATE FUNCTION opsctl_trace.note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $trace$
BEGIN INSERT INTO opsctl_trace.hit VALUES (TG_RELID, TG_OP); RETURN NULL; END $trace$;
DO $trace$
DECLARE t record;
BEGIN
  FOR t IN SELECT c.oid::regclass AS name, c.relkind FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND {_OURS}
      AND n.nspname <> 'supabase_migrations' AND c.relname <> '_prisma_migrations'
  LOOP
    EXECUTE format('CREATE TRIGGER opsctl_trace AFTER INSERT OR UPDATE OR DELETE ON %s '
                   'FOR EACH STATEMENT EXECUTE FUNCTION opsctl_trace.note()', t.name);
    EXECUTE format('CREATE TRIGGER opsctl_trace_truncate AFTER TRUNCATE ON %s '
                   'FOR EACH STATEMENT EXECUTE FUNCTION opsctl_trace.note()', t.name);
  END LOOP;
END $trace$;
"""

# Only UPDATE, DELETE and TRUNCATE cascade along foreign keys, and then on and on.
_HITS = """
WITH RECURSIVE spread(relation) AS (
  SELECT relation FROM opsctl_trace.hit WHERE what <> 'INSERT'
  UNION
  SELECT k.conrelid FROM pg_constraint k JOIN spread s ON k.confrelid = s.relation
  WHERE k.contype = 'f'
    AND (k.confdeltype IN ('c', 'n', 'd') OR k.confupdtype IN ('c', 'n', 'd'))
)
SELECT DISTINCT n.nspname || '.' || c.relname
FROM (SELECT relation FROM spread UNION SELECT relation FROM opsctl_trace.hit) s
JOIN pg_class c ON c.oid = s.relation JOIN pg_namespace n ON n.oid = c.relnamespace
"""
