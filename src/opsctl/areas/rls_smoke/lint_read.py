"""Read the catalog for the lints: few round trips, no lock on any table, no wait.

Policies are printed afterwards, only those that a finding needs, and only if nobody holds an
exclusive lock: printing takes ACCESS SHARE on what a policy reads.
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from opsctl.adapters import postgres
from opsctl.areas.rls_smoke.lint_catalog import Catalog
from opsctl.areas.rls_smoke.lint_objects import (
    BLOAT_PAGES,
    Bucket,
    Column,
    Constraint,
    DefaultPrivilege,
    Extension,
    FunctionRow,
    Index,
    PolicyRow,
    Relation,
    Role,
    SchemaRow,
)
from opsctl.core.errors import Exit, OpsError

_BY_DEFAULT = ("graphql_public", "storage")
"""Schemas that Supabase serves by itself."""
_LOCK_TIMEOUT_MS = 200
_STATEMENT_TIMEOUT_S = 30


def read_catalog(connection: postgres.Connection, *, schemas: tuple[str, ...]) -> Catalog:
    """Read what the lints judge; `schemas` are those that the settings call exposed.

    Raises OpsError `catalog-not-read` (exit 3) where the server is too busy, or locked.
    """
    # Names are printed with their schemas where the search path is empty.
    connection.execute(
        f"SET search_path = ''; SET jit = off; SET lock_timeout = '{_LOCK_TIMEOUT_MS}ms'; "
        f"SET statement_timeout = '{_STATEMENT_TIMEOUT_S}s'".encode()
    )
    document = _ask(connection)
    catalog = _catalog(document, schemas)
    if document["can_read_buckets"]:
        catalog = replace(catalog, buckets=_buckets(connection, catalog))
    return replace(catalog, anonymous_users=_anonymous_users(connection, catalog))


def _ask(connection: postgres.Connection) -> dict[str, Any]:
    import psycopg

    text = (importlib.resources.files(__package__) / "lint_facts.sql").read_text(encoding="utf-8")
    try:
        row = connection.execute(text.encode(), {"bloat_pages": BLOAT_PAGES}).fetchone()
    except (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled) as error:
        slow = isinstance(error, psycopg.errors.QueryCanceled)
        raise OpsError(
            "The catalog was not read",
            why=f"it took longer than {_STATEMENT_TIMEOUT_S} s"
            if slow
            else "somebody holds an exclusive lock on the catalog itself",
            hint="opsctl diagnose db shows who blocks whom and what the server is busy with",
            code="catalog-not-read",
            exit=Exit.UNKNOWN,
        ) from None
    document: dict[str, Any] = row[0] if row else {}
    return document


def print_policies(
    connection: postgres.Connection, catalog: Catalog, oids: Iterable[int]
) -> Catalog:
    """Return the catalog with some policies printed; without where a table is locked."""
    import psycopg

    wanted = sorted(set(oids))
    if not wanted:
        return catalog
    try:
        rows = connection.execute(
            b"SELECT oid::int8, pg_catalog.pg_get_expr(polqual, polrelid), "
            b"pg_catalog.pg_get_expr(polwithcheck, polrelid) FROM pg_catalog.pg_policy "
            b"WHERE oid = ANY (%s::int8[]::oid[])",
            (wanted,),
        ).fetchall()
    except psycopg.errors.LockNotAvailable:
        return catalog
    return replace(catalog, printed={oid: (using, check) for oid, using, check in rows})


def _buckets(connection: postgres.Connection, catalog: Catalog) -> tuple[Bucket, ...] | None:
    import psycopg

    table = catalog.by_name["storage.buckets"]
    if not {"id", "public"} <= {column.name for column in table.columns.values()}:
        return None
    try:
        rows = connection.execute(
            b"SELECT id::text, coalesce(public, false) FROM storage.buckets ORDER BY 1 LIMIT 1000"
        ).fetchall()
    except psycopg.errors.LockNotAvailable:
        return None
    return tuple(Bucket(*row) for row in rows)


def _anonymous_users(connection: postgres.Connection, catalog: Catalog) -> bool:
    """Whether somebody signed in anonymously; looked up only where an index answers it."""
    import psycopg

    users = catalog.by_name.get("auth.users")
    flag = (
        next((c for c in users.columns.values() if c.name == "is_anonymous"), None)
        if users
        else None
    )
    if users is None or flag is None or flag.number not in catalog.leading(users.oid):
        return False
    try:
        row = connection.execute(
            b"SELECT EXISTS (SELECT FROM auth.users WHERE is_anonymous)"
        ).fetchone()
    except (psycopg.errors.LockNotAvailable, psycopg.errors.InsufficientPrivilege):
        return False
    return bool(row and row[0])


def _catalog(document: dict[str, Any], schemas: tuple[str, ...]) -> Catalog:
    roles = {row[0]: _role(row) for row in document["roles"] or ()}
    served = _served_schemas(document["settings"] or ())
    known = {row[1] for row in document["schemas"] or ()}
    undeclared = tuple(s for s in served if s not in (*schemas, *_BY_DEFAULT) and s in known)
    relations = {row[0]: _relation(row) for row in document["relations"] or ()}
    publications = document["publications"] or ()
    return Catalog(
        major=document["major"],
        stats_age_s=float(document["stats_age_s"] or 0),
        exposed=(*schemas, *undeclared),
        undeclared=undeclared,
        equals=frozenset(document["equals"]),
        roles=roles,
        schemas={
            row[1]: SchemaRow(
                row[0], row[1], row[2], frozenset(row[3] or ()), frozenset(row[4] or ())
            )
            for row in document["schemas"] or ()
        },
        relations=relations,
        policies=_by_relation(PolicyRow(*_tuples(r, 5)) for r in document["policies"] or ()),
        constraints=_by_relation(
            Constraint(*_tuples(r, 4, 6)) for r in document["constraints"] or ()
        ),
        indexes=_by_relation(Index(*_tuples(r, 3, 5, 6, 7)) for r in document["indexes"] or ()),
        functions={row[0]: _function(row) for row in document["functions"] or ()},
        extensions=tuple(Extension(*row) for row in document["extensions"] or ()),
        default_privileges=tuple(
            DefaultPrivilege(*row) for row in document["default_privileges"] or ()
        ),
        publications={row[0]: (row[1], tuple(row[2] or ())) for row in publications},
        buckets=None,
    )


def _served_schemas(settings: Sequence[Sequence[Any]]) -> tuple[str, ...]:
    """Return the schemas that PostgREST was told to serve by the role it logs in as."""
    found: list[str] = []
    for role, values in settings:
        for value in values or ():
            name, _, text = value.partition("=")
            if role in ("authenticator", "") and name == "pgrst.db_schemas":
                found += [part.strip().strip('"') for part in text.split(",") if part.strip()]
    return tuple(dict.fromkeys(found))


def _role(row: Sequence[Any]) -> Role:
    found = list(row)
    found[9], found[12] = frozenset(row[9] or ()), frozenset(row[12] or ())
    return Role(*found)


def _relation(row: Sequence[Any]) -> Relation:
    oid, schema, name, kind, owner, row_security, forced, options, partition, parent = row[:10]
    tuples, pages, extension, held, public, columns, grants, reads, calls, reads_settings = row[
        10:20
    ]
    return Relation(
        oid=oid,
        schema=schema,
        name=name,
        kind=kind,
        owner=owner,
        row_security=row_security,
        forced=forced,
        options=dict(option.split("=", 1) for option in options or ()),
        partition=partition,
        parent=parent,
        tuples=tuples,
        pages=pages,
        extension=extension,
        held={
            role: frozenset((words or "").split(",")) - {""} for role, words in (held or {}).items()
        },
        public=frozenset((public or "").split(",")) - {""},
        columns={
            c[0]: Column(c[0], c[1], c[2], c[4], c[5] or c[6] or c[2], c[7]) for c in columns or ()
        },
        column_grants={(role, word): frozenset(numbers) for role, word, numbers in grants or ()},
        reads={int(ref): frozenset(numbers) for ref, numbers in reads or ()},
        calls=frozenset(int(each) for each in calls or ()),
        reads_settings=bool(reads_settings),
        own_default=frozenset(row[20] or ()),
        scans=row[21] or 0,
        width=float(row[22]) if row[22] is not None else None,
    )


def _function(row: Sequence[Any]) -> FunctionRow:
    found = _tuples(row, 6)
    found[15] = frozenset(row[15] or ())
    return FunctionRow(*found)


def _tuples(row: Sequence[Any], *positions: int) -> list[Any]:
    """Return a row with some of its lists made tuples."""
    return [tuple(v or ()) if n in positions else v for n, v in enumerate(row)]


def _by_relation(items: Iterable[Any]) -> dict[int, tuple[Any, ...]]:
    found: dict[int, list[Any]] = {}
    for item in items:
        found.setdefault(item.relation, []).append(item)
    return {oid: tuple(group) for oid, group in found.items()}
