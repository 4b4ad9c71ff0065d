"""The schema of a database as plain objects, to be compared and hashed.

The digest is computed by PostgreSQL, too, in the same transaction as a change, so the same
words must come out of both. The order of columns is left out: a column that was dropped and
added again stands last, and no program should mind. What an extension owns is left out, and so
are the platform's own schemas but for the triggers and policies that a project puts on them.

Not seen, so a difference there is not noticed: the parameters of an identity column's sequence,
what an owner revoked from itself, storage and statistics targets of a column, row filters and
schemas of a publication, casts, operators, and comments on extensions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from opsctl.adapters.sql import quote_literal

MANAGED_SCHEMAS = frozenset(
    {
        "_analytics",
        "_realtime",
        "auth",
        "cron",
        "dbdev",
        "extensions",
        "graphql",
        "graphql_public",
        "net",
        "pgbouncer",
        "pgmq",
        "pgsodium",
        "pgsodium_masks",
        "pgtle",
        "realtime",
        "repack",
        "storage",
        "supabase_functions",
        "supabase_migrations",
        "tiger",
        "topology",
        "vault",
    }
)
"""Schemas that Supabase and its extensions make and migrate themselves."""

_SETTINGS = (
    ("search_path", "pg_catalog"),
    ("timezone", "UTC"),
    ("datestyle", "ISO, MDY"),
    ("intervalstyle", "postgres"),
    ("extra_float_digits", "1"),
    ("bytea_output", "hex"),
    ("quote_all_identifiers", "off"),
)

QUIET = tuple(f"SET LOCAL {name} = {quote_literal(value)}" for name, value in _SETTINGS)
"""Statements that must come before `digest_sql` in a transaction: they fix how names print."""

_CHANGED = "OC001"
"""SQLSTATE of a schema that is not as planned."""


@dataclass(frozen=True)
class CatalogObject:
    """One object: a table, a column, a policy, the grants of one role on one object, ..."""

    kind: str
    name: str
    """Qualified and quoted as PostgreSQL prints it; columns as schema.table.column."""
    definition: str
    """Everything that matters about it."""
    details: Mapping[str, Any] = field(default_factory=dict, compare=False, hash=False)
    """What making or dropping it takes; not compared."""


@dataclass(frozen=True)
class Catalog:
    """The objects of a database by (kind, name)."""

    objects: Mapping[tuple[str, str], CatalogObject]

    @cached_property
    def digest(self) -> str:
        """SHA-256 over kind, name and definition of every object, in byte order."""
        lines = sorted(
            f"{each.kind}\t{each.name}\t{each.definition}\n".encode()
            for each in self.objects.values()
        )
        return hashlib.sha256(b"".join(lines)).hexdigest()

    def of(self, kind: str) -> dict[str, CatalogObject]:
        """Return the objects of one kind by name."""
        return {name: each for (k, name), each in self.objects.items() if k == kind}


@dataclass(frozen=True)
class Difference:
    """One object that two catalogs do not share; None where it is not there at all."""

    kind: str
    name: str
    found: str | None
    wanted: str | None

    def __str__(self) -> str:
        if self.found is None:
            return f"{self.kind} {self.name} is missing: {_short(self.wanted)}"
        if self.wanted is None:
            return f"{self.kind} {self.name} should not be there: {_short(self.found)}"
        return f"{self.kind} {self.name} is {_short(self.found)}; wanted {_short(self.wanted)}"


def read_catalog(connection: Any) -> Catalog:
    """Read the catalog in one round trip within a transaction of its own.

    `connection` is a psycopg connection outside a transaction.
    """
    with connection.transaction():
        for statement in QUIET:
            connection.execute(statement)
        rows = connection.execute(_query().encode()).fetchall()
    return Catalog(
        {
            (kind, name): CatalogObject(kind, name, definition or "", details)
            for kind, name, definition, details in rows
        }
    )


def compare(found: Catalog, wanted: Catalog) -> tuple[Difference, ...]:
    """Return what `found` has otherwise than `wanted`, by kind and name."""
    differences = []
    for key in sorted(found.objects.keys() | wanted.objects.keys()):
        one, other = found.objects.get(key), wanted.objects.get(key)
        if one != other:
            differences.append(
                Difference(
                    *key,
                    found=one.definition if one else None,
                    wanted=other.definition if other else None,
                )
            )
    return tuple(differences)


def apply_changes(base: Catalog, *, since: Catalog, to: Catalog) -> Catalog:
    """Return `base` with everything changed that differs between `since` and `to`."""
    objects = dict(base.objects)
    for key in since.objects.keys() | to.objects.keys():
        other = to.objects.get(key)
        if since.objects.get(key) == other:
            continue
        if other is None:
            objects.pop(key, None)
        else:
            objects[key] = other
    return Catalog(objects)


@cache
def digest_sql() -> str:
    """Return a SELECT of one text, the digest; it wants `QUIET` before it."""
    return (
        "SELECT encode(sha256(convert_to(coalesce(string_agg(line, '' ORDER BY line COLLATE "
        "\"C\"), ''), 'UTF8')), 'hex') FROM (SELECT concat(kind, E'\\t', name, E'\\t', "
        f"definition, E'\\n') AS line FROM ({_query()}) AS o) AS l"
    )


def assert_digest_sql(expected: str) -> str:
    """Return a DO block that raises SQLSTATE OC001 unless the digest is `expected`.

    It leaves the settings as it found them.
    """
    names = [name for name, _ in _SETTINGS]
    keep = "\n".join(
        f"  kept_{index} text := pg_catalog.current_setting({quote_literal(name)});"
        for index, name in enumerate(names)
    )
    set_ = "\n".join(
        f"  PERFORM pg_catalog.set_config({quote_literal(name)}, {quote_literal(value)}, true);"
        for name, value in _SETTINGS
    )
    restore = "\n".join(
        f"  PERFORM pg_catalog.set_config({quote_literal(name)}, kept_{index}, true);"
        for index, name in enumerate(names)
    )
    return (
        f"DO $opsctl_digest$\nDECLARE\n{keep}\n  found text;\nBEGIN\n{set_}\n"
        f"  EXECUTE $opsctl_query$ {digest_sql()} $opsctl_query$ INTO found;\n{restore}\n"
        f"  IF found IS DISTINCT FROM {quote_literal(expected)} THEN\n"
        f"    RAISE EXCEPTION 'the schema is not as planned: somebody else changed it' "
        f"USING ERRCODE = '{_CHANGED}';\n  END IF;\nEND $opsctl_digest$"
    )


@cache
def _query() -> str:
    text = Path(__file__).with_name("catalog.sql").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.strip().startswith("--")]
    names = ", ".join(quote_literal(name) for name in sorted(MANAGED_SCHEMAS))
    return "\n".join(lines).replace("{managed}", f"ARRAY[{names}]::name[]").strip()


def _short(text: str | None) -> str:
    line = " ".join((text or "").split())
    return line if len(line) <= 120 else line[:117] + "..."
