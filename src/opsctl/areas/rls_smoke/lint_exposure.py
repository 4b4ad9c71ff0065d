"""Lints of what the API exposes without a policy that could bind it."""

from __future__ import annotations

from collections.abc import Iterator

from opsctl.areas.rls_smoke.lint_catalog import Catalog
from opsctl.areas.rls_smoke.lint_hit import ERROR, NOTE, WARNING, Hit, joined
from opsctl.areas.rls_smoke.lint_objects import READ, WRITES, Relation
from opsctl.areas.rls_smoke.lint_views import Reached, is_protected, reachable_views, revoke

_ALL = (READ, *WRITES)


def lint_exposure(catalog: Catalog) -> Iterator[Hit]:
    """Return what is wrong with exposed tables, materialised views and foreign tables."""
    views = reachable_views(catalog)
    for table in catalog.ours:
        if table.kind in "rp":
            yield from _row_security(catalog, table)
        elif table.kind == "f":
            yield from _foreign_table(catalog, table)
        elif table.kind == "m":
            yield from _materialized_view(catalog, table, views)
    yield from _graphql(catalog)


def _row_security(catalog: Catalog, table: Relation) -> Iterator[Hit]:
    roles = catalog.reach(table, *_ALL)
    policies = catalog.policies.get(table.oid, ())
    enable = (f"ALTER TABLE {table.sql} ENABLE ROW LEVEL SECURITY",)
    if not table.row_security and policies:
        yield Hit(
            "policy-exists-rls-disabled",
            table.key,
            f"{table.key} has policies, but row-level security is off",
            ERROR,
            f"without effect: {joined(p.name for p in policies)}",
            enable,
        )
    if not table.row_security and roles:
        parent = catalog.relations.get(table.parent or 0)
        partition = (
            f"; it is a partition of {parent.key}, whose policies do not bind who asks for the "
            "partition itself"
            if parent is not None and parent.row_security
            else ""
        )
        yield Hit(
            "rls-disabled-in-public",
            table.key,
            f"{table.key} is in the API without row-level security",
            ERROR,
            f"{_grants(catalog, table, roles)}{partition}",
            enable,
            "then write policies for who needs rows; until then only service_role sees any",
        )
    if table.row_security and not policies and roles:
        yield Hit(
            "rls-enabled-no-policy",
            table.key,
            f"{table.key} has row-level security and no policy: {joined(roles)} reaches no row",
            NOTE,
            "if that is meant, the privileges are not needed",
            (f"REVOKE ALL ON {table.sql} FROM {', '.join(catalog.api_roles)}",),
            "or write the policies that are missing",
        )


def _grants(catalog: Catalog, table: Relation, roles: tuple[str, ...]) -> str:
    parts = []
    for role in roles:
        may = [word for word in _ALL if table.may(role, word)]
        parts.append(f"{role} may {', '.join(may).lower()}")
    return "; ".join(parts)


def _foreign_table(catalog: Catalog, table: Relation) -> Iterator[Hit]:
    roles = catalog.reach(table, *_ALL)
    if roles:
        yield Hit(
            "foreign-table-in-api",
            table.key,
            f"The foreign table {table.key} is in the API",
            WARNING,
            f"{_grants(catalog, table, roles)}; no policy can bind it",
            revoke(table, roles),
            "or move it to a schema that the API does not expose",
        )


def _materialized_view(catalog: Catalog, view: Relation, views: list[Reached]) -> Iterator[Hit]:
    roles = catalog.reach(view, READ) or tuple(
        role
        for each, roles, _ in views
        if view.oid in each.reads and each.invoker
        for role in roles
        if view.may(role, READ)
    )
    if roles:
        protected = [catalog.relations[o].key for o in view.reads if is_protected(catalog, o)]
        copies = (
            f"; it copies rows of {joined(protected)}, without their policies" if protected else ""
        )
        yield Hit(
            "materialized-view-in-api",
            view.key,
            f"The materialised view {view.key} is in the API",
            WARNING,
            f"{joined(dict.fromkeys(roles))} may read all of it{copies}",
            revoke(view, tuple(dict.fromkeys(roles))),
            "policies do not bind materialised views",
        )


def _graphql(catalog: Catalog) -> Iterator[Hit]:
    if not any(each.name == "pg_graphql" for each in catalog.extensions):
        return
    for role in catalog.api_roles:
        seen = [
            each
            for each in catalog.ours
            if each.kind in "rvmf" and role in catalog.reach(each, READ)
        ]
        if seen:
            keys = tuple(each.key for each in seen)
            yield Hit(
                f"pg-graphql-{role}-table-exposed",
                f"role {role}",
                f"GraphQL tells {role} the names and columns of {len(seen)} relations",
                WARNING if role == "anon" else NOTE,
                f"row-level security hides rows, not names: {joined(keys, most=10)}",
                tuple(f"REVOKE SELECT ON {each.sql} FROM {role}" for each in seen),
                "or, where nobody uses GraphQL: DROP EXTENSION pg_graphql",
                objects=keys,
            )
