"""The catalog as the lints see it, and what follows from it: who reaches what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from opsctl.adapters.sql import quote_identifier
from opsctl.areas.rls_smoke.lint_objects import (
    PLATFORM,
    ROLES,
    Bucket,
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


@dataclass(frozen=True)
class Catalog:
    """Everything that the lints judge."""

    major: int
    stats_age_s: float
    exposed: tuple[str, ...]
    """Schemas that the API exposes: by our settings, or by the server's own."""
    undeclared: tuple[str, ...]
    """Those of them that our settings do not name."""
    equals: frozenset[int]
    roles: Mapping[int, Role]
    schemas: Mapping[str, SchemaRow]
    relations: Mapping[int, Relation]
    policies: Mapping[int, tuple[PolicyRow, ...]]
    """By relation."""
    constraints: Mapping[int, tuple[Constraint, ...]]
    indexes: Mapping[int, tuple[Index, ...]]
    functions: Mapping[int, FunctionRow]
    extensions: tuple[Extension, ...]
    default_privileges: tuple[DefaultPrivilege, ...]
    publications: Mapping[str, tuple[bool, tuple[int, ...]]]
    """Name -> (all tables, tables)."""
    buckets: tuple[Bucket, ...] | None
    """None where they could not be read."""
    anonymous_users: bool = False
    printed: Mapping[int, tuple[str | None, str | None]] = field(default_factory=dict)
    """Policy -> (USING, WITH CHECK) as PostgreSQL prints them; of those that were asked for."""

    @cached_property
    def api_roles(self) -> tuple[str, ...]:
        """The API's roles that exist."""
        names = {role.name for role in self.roles.values()}
        return tuple(role for role in ROLES if role in names)

    @cached_property
    def by_name(self) -> Mapping[str, Relation]:
        """Relations by `schema.name`."""
        return {relation.key: relation for relation in self.relations.values()}

    @cached_property
    def ours(self) -> tuple[Relation, ...]:
        """The project's relations: not an extension's, not the platform's."""
        return tuple(
            each
            for each in self.relations.values()
            if each.extension is None and self.is_ours(each.schema)
        )

    def has(self, relation: Relation) -> bool:
        """Whether a relation is the project's."""
        return relation.extension is None and self.is_ours(relation.schema)

    @cached_property
    def our_tables(self) -> tuple[Relation, ...]:
        """The project's tables, partitioned ones among them."""
        return tuple(each for each in self.ours if each.kind in "rp")

    @cached_property
    def our_functions(self) -> tuple[FunctionRow, ...]:
        """The project's functions."""
        return tuple(
            each
            for each in self.functions.values()
            if each.extension is None and self.is_ours(each.schema)
        )

    def is_ours(self, schema: str) -> bool:
        """Whether a schema is the project's."""
        return schema in self._our_schemas

    @cached_property
    def _our_schemas(self) -> frozenset[str]:
        return frozenset(name for name in self.schemas if PLATFORM.fullmatch(name) is None)

    def uses(self, role: str, schema: str) -> bool:
        """Whether a role may look into a schema."""
        return schema in self.schemas and role in self.schemas[schema].usable

    def reach(self, relation: Relation, *privileges: str) -> tuple[str, ...]:
        """Return the API roles that a request can use one of the privileges with."""
        return tuple(
            role
            for role in self._admitted.get(relation.schema, ())
            if any(relation.may(role, each) for each in privileges)
        )

    @cached_property
    def _admitted(self) -> Mapping[str, tuple[str, ...]]:
        """Exposed schema -> API roles that may look into it."""
        return {
            name: tuple(role for role in self.api_roles if self.uses(role, name))
            for name in self.exposed
        }

    def callable_by(self, function: FunctionRow) -> tuple[str, ...]:
        """Return the API roles that can call a function by a request."""
        if function.schema not in self.exposed or function.kind not in "fp":
            return ()
        if function.returns in ("trigger", "event_trigger", "language_handler", "fdw_handler"):
            return ()
        return tuple(
            role
            for role in self.api_roles
            if role in function.callers and self.uses(role, function.schema)
        )

    def policy_roles(self, policy: PolicyRow) -> tuple[str, ...]:
        """Return the API roles that a policy binds."""
        return self._policy_roles[policy.roles]

    @cached_property
    def _policy_roles(self) -> Mapping[tuple[int, ...], tuple[str, ...]]:
        found: dict[tuple[int, ...], tuple[str, ...]] = {}
        for policies in self.policies.values():
            for roles in {policy.roles for policy in policies}:
                found[roles] = tuple(
                    role
                    for role in self.api_roles
                    if 0 in roles
                    or any(o in self.roles and role in self.roles[o].used_by for o in roles)
                )
        return found

    def role_names(self, policy: PolicyRow) -> tuple[str, ...]:
        """Return the roles that a policy names, quoted; `PUBLIC` for everybody."""
        if 0 in policy.roles:
            return ("PUBLIC",)
        return tuple(
            quote_identifier(self.roles[oid].name) for oid in policy.roles if oid in self.roles
        )

    @cached_property
    def constraint_indexes(self) -> frozenset[int]:
        """Indexes that a key stands on."""
        return frozenset(
            each.index for group in self.constraints.values() for each in group if each.kind != "f"
        )

    def leading(self, relation: int) -> frozenset[int]:
        """Return the columns that some index of a table begins with."""
        return self._leading.get(relation, frozenset())

    @cached_property
    def _leading(self) -> Mapping[int, frozenset[int]]:
        found: dict[int, set[int]] = {}
        for relation, indexes in self.indexes.items():
            for index in indexes:
                if index.valid and index.predicate is None and index.key[:1] != (0,):
                    found.setdefault(relation, set()).add(index.key[0])
        return {relation: frozenset(numbers) for relation, numbers in found.items()}
