"""What the lints judge, object by object: roles, relations, policies, keys, functions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from opsctl.adapters.sql import qualified, quote_identifier, without_comments

ROLES = ("anon", "authenticated")
"""Roles that a stranger's request runs as; service_role is the application's own server."""
COMMANDS = {"r": "SELECT", "a": "INSERT", "w": "UPDATE", "d": "DELETE"}
"""pg_policy.polcmd -> the command."""
READ, WRITES = "SELECT", ("INSERT", "UPDATE", "DELETE")
BLOAT_PAGES = 2560
"""Smaller tables are not looked at for bloat: 20 MB."""

PLATFORM = re.compile(
    r"(auth|storage|realtime|_realtime|supabase_functions|supabase_migrations|graphql|"
    r"graphql_public|extensions|vault|pgsodium|pgsodium_masks|cron|net|pgbouncer|_analytics|pgmq|"
    r"pgmq_public|pgtle|tiger|tiger_data|topology|repack|dbdev|_supavisor|etl|supabase_admin|"
    r"_?timescaledb.*|opsctl_(stash|old|restore)_.*)"
)
"""Schemas that Supabase, an extension or opsctl itself manages: not the project's to mend."""


@dataclass(frozen=True)
class Role:
    """A role, and what the API's roles have to do with it."""

    oid: int
    name: str
    superuser: bool
    bypasses: bool
    logs_in: bool
    creates_roles: bool
    creates_databases: bool
    replicates: bool
    inherits: bool
    used_by: frozenset[str]
    """API roles that have its rights by themselves."""
    in_api: bool
    """Whether authenticator may become it."""
    has_login: bool
    """Whether somebody else who logs in may become it."""
    member: frozenset[str]
    """API roles that may become it."""


@dataclass(frozen=True)
class Column:
    """A column of a relation."""

    number: int
    name: str
    type: str
    not_null: bool
    base: str
    """The type below a domain, or of an array's elements."""
    generated: bool


@dataclass(frozen=True)
class Relation:
    """A table, view, materialised view, foreign table or sequence."""

    oid: int
    schema: str
    name: str
    kind: str
    owner: int
    row_security: bool
    forced: bool
    options: Mapping[str, str]
    partition: bool
    parent: int | None
    tuples: float
    pages: int
    extension: str | None
    held: Mapping[str, frozenset[str]]
    """API role -> privileges on the whole of it."""
    public: frozenset[str]
    """Privileges that PUBLIC was given."""
    columns: Mapping[int, Column]
    column_grants: Mapping[tuple[str, str], frozenset[int]]
    """(API role, privilege) -> columns, where columns were granted."""
    reads: Mapping[int, frozenset[int]]
    """A view's: relation -> columns that it reads there; 0 is the whole row."""
    calls: frozenset[int]
    reads_settings: bool
    """Whether a view calls current_setting()."""
    own_default: frozenset[int]
    """Columns whose default is auth.uid()."""
    scans: int
    width: float | None
    """Mean width of a row where it was asked for."""

    @property
    def key(self) -> str:
        """`schema.name`, for people."""
        return f"{self.schema}.{self.name}"

    @property
    def sql(self) -> str:
        """The quoted name."""
        return qualified(self.schema, self.name)

    @property
    def invoker(self) -> bool:
        """Whether a view runs with the rights of who reads it."""
        return self.options.get("security_invoker", "off") in ("true", "on", "yes", "1")

    def may(self, role: str, privilege: str) -> bool:
        """Whether a role has a privilege on it, or on some column of it."""
        return privilege in self.held.get(role, ()) or (role, privilege) in self.column_grants

    def reachable_columns(self, role: str, privilege: str = READ) -> tuple[Column, ...]:
        """Return the columns on which a role has a privilege."""
        if privilege in self.held.get(role, ()):
            return tuple(self.columns.values())
        numbers = self.column_grants.get((role, privilege), frozenset())
        return tuple(column for column in self.columns.values() if column.number in numbers)


@dataclass(frozen=True)
class PolicyRow:
    """A policy as the catalog has it."""

    oid: int
    name: str
    relation: int
    command: str
    """r, a, w, d, or * for all."""
    permissive: bool
    roles: tuple[int, ...]
    """0 is PUBLIC."""
    using: str | None
    check: str | None

    @property
    def commands(self) -> str:
        """The commands that it is for: `rawd` for all."""
        return "rawd" if self.command == "*" else self.command

    def drop(self, table: Relation) -> str:
        """Return the statement that drops it."""
        return f"DROP POLICY {quote_identifier(self.name)} ON {table.sql}"


@dataclass(frozen=True)
class Constraint:
    """A key or a foreign key."""

    oid: int
    name: str
    relation: int
    kind: str
    columns: tuple[int, ...]
    target: int
    target_columns: tuple[int, ...]
    index: int
    inherited: bool


@dataclass(frozen=True)
class Index:
    """An index."""

    oid: int
    name: str
    relation: int
    key: tuple[int, ...]
    """Columns, 0 for an expression; those that are only included at the end."""
    key_count: int
    classes: tuple[int, ...]
    collations: tuple[int, ...]
    options: tuple[int, ...]
    unique: bool
    primary: bool
    valid: bool
    predicate: str | None
    expressions: str | None
    method: str
    scans: int
    pages: int
    partition: bool
    kept: bool
    """Replica identity, exclusion or clustering needs it."""
    nulls_equal: bool


@dataclass(frozen=True)
class FunctionRow:
    """A function or procedure."""

    oid: int
    schema: str
    name: str
    arguments: str
    owner: int
    definer: bool
    config: tuple[str, ...]
    language: str
    volatility: str
    source: str
    body: str | None
    """The tree of a body that was parsed when it was made."""
    kind: str
    returns: str
    returns_set: bool
    extension: str | None
    callers: frozenset[str]
    """API roles that may execute it, if they reach its schema."""
    argument_count: int
    public: bool
    """Whether PUBLIC may execute it."""

    @property
    def key(self) -> str:
        """`schema.name(arguments)`, for people."""
        return f"{self.schema}.{self.name}({self.arguments})"

    @property
    def sql(self) -> str:
        """Its quoted signature, after the word that it is altered by: `FUNCTION "s"."f"(int)`."""
        word = "PROCEDURE" if self.kind == "p" else "FUNCTION"
        return f"{word} {qualified(self.schema, self.name)}({self.arguments})"

    @cached_property
    def code(self) -> str:
        """Its source without comments."""
        return without_comments(self.source)


@dataclass(frozen=True)
class SchemaRow:
    """A schema and which API roles may use it and create in it."""

    oid: int
    name: str
    owner: int
    usable: frozenset[str]
    creatable: frozenset[str]


@dataclass(frozen=True)
class Extension:
    """An installed extension."""

    name: str
    version: str
    schema: str
    relocatable: bool
    available: str | None


@dataclass(frozen=True)
class DefaultPrivilege:
    """What PUBLIC or an API role will get on objects that are yet to be made."""

    owner: str
    schema: str | None
    kind: str
    grantee: str
    privilege: str


@dataclass(frozen=True)
class Bucket:
    """A bucket of files."""

    id: str
    public: bool
