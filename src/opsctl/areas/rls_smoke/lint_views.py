"""Lints of views: whose rights they read with, and what they show of auth.users."""

from __future__ import annotations

import re
from collections.abc import Iterator

from opsctl.areas.rls_smoke.expressions import Reader
from opsctl.areas.rls_smoke.lint_catalog import Catalog
from opsctl.areas.rls_smoke.lint_hit import ERROR, NOTE, WARNING, Hit, joined
from opsctl.areas.rls_smoke.lint_objects import READ, WRITES, Relation

_ALL = (READ, *WRITES)
_WHO = {("auth", "uid"), ("auth", "jwt"), ("auth", "email")}
Reached = tuple[Relation, tuple[str, ...], str]
"""A view, the API's roles that read it, and through which view."""


def lint_views(catalog: Catalog, reader: Reader) -> Iterator[Hit]:
    """Return what is wrong with views that a request can read."""
    views = reachable_views(catalog)
    for view, roles, through in views:
        yield from _definer_view(catalog, reader, view, roles, through)
    yield from _auth_users(catalog, views)


def reachable_views(catalog: Catalog) -> list[Reached]:
    """Return (view, API roles, through which view) of views that a request can read.

    A view of another schema is reached through a view that runs with the caller's rights.
    """
    found: dict[int, tuple[Relation, tuple[str, ...], str]] = {}
    queue = [
        (view, catalog.reach(view, *_ALL), "")
        for view in catalog.relations.values()
        if view.kind == "v" and view.extension is None
    ]
    while queue:
        view, roles, through = queue.pop()
        if not roles or view.oid in found:
            continue
        found[view.oid] = (view, roles, through)
        if not view.invoker:
            continue
        for oid in view.reads:
            inner = catalog.relations.get(oid)
            if inner is not None and inner.kind == "v":
                may = tuple(role for role in roles if inner.may(role, READ))
                queue.append((inner, may, view.key))
    return list(found.values())


def base_relations(catalog: Catalog, view: Relation) -> tuple[Relation, ...]:
    """Return the tables that a view reads with its owner's rights, also through views."""
    found: dict[int, Relation] = {}
    queue = [view]
    seen = set()
    while queue:
        each = queue.pop()
        if each.oid in seen:
            continue
        seen.add(each.oid)
        for oid in each.reads:
            inner = catalog.relations.get(oid)
            if inner is None:
                continue
            if inner.kind == "v":
                queue.append(inner)
            elif inner.kind != "S":
                found[oid] = inner
    return tuple(found.values())


def is_protected(catalog: Catalog, oid: int) -> bool:
    """Whether a relation has row-level security."""
    relation = catalog.relations.get(oid)
    return relation is not None and relation.row_security


def revoke(relation: Relation, roles: tuple[str, ...]) -> tuple[str, ...]:
    """Return the statement that takes a relation from roles, and from PUBLIC."""
    names = (*(["PUBLIC"] if relation.public else []), *roles)
    return (f"REVOKE ALL ON {relation.sql} FROM {', '.join(names)}",)


def _definer_view(
    catalog: Catalog, reader: Reader, view: Relation, roles: tuple[str, ...], through: str
) -> Iterator[Hit]:
    if view.invoker:
        return
    base = base_relations(catalog, view)
    bypassed = [each.key for each in base if is_protected(catalog, each.oid)]
    withheld = [
        each.key
        for each in base
        if not any(each.may(role, READ) and catalog.uses(role, each.schema) for role in roles)
    ]
    owner = catalog.roles.get(view.owner)
    if owner is not None and owner.name in catalog.api_roles:
        return
    called = [each for each in view.calls if each in catalog.functions]
    asks = view.reads_settings or any(
        reader.bodies.is_identity(each) or reader.bodies.asks_who(each) for each in called
    )
    barrier = view.options.get("security_barrier", "false") in ("true", "on", "1", "yes")
    whose = f"it runs with the rights of {owner.name}" if owner is not None else ""
    if owner is not None and (owner.superuser or owner.bypasses):
        whose += ", whom no policy binds"
    shows = (
        [f"it shows {joined(dict.fromkeys(bypassed), most=5)} without their policies"]
        if bypassed
        else []
    )
    shows += (
        [f"it shows {joined(dict.fromkeys(withheld), most=5)}, which {joined(roles)} may not read"]
        if (withheld and not bypassed)
        else []
    )
    if not shows:
        shows = ["today it shows no more than its tables do; once they have policies, it will"]
    if not base:
        shows = ["it reads no table today"]
    severity = ERROR if bypassed or withheld else WARNING if base else NOTE
    if asks:
        severity = NOTE if barrier else WARNING
        shows.append("it asks who is reading")
    mend = f"ALTER VIEW {view.sql} SET (security_invoker = true)"
    yield Hit(
        "security-definer-view",
        view.key,
        f"The view {view.key} reads as its owner, not as who asks",
        severity,
        "; ".join([*shows, whose, *([f"reached through {through}"] if through else [])]),
        (mend,),
        f"then grant {joined(roles)} SELECT on what the view reads, if they should see it",
    )
    if asks and not barrier and (bypassed or withheld):
        yield Hit(
            "view-without-security-barrier",
            view.key,
            f"The view {view.key} filters rows without security_barrier",
            NOTE,
            "a condition of the caller's may be tried on rows that the view leaves out",
            (f"ALTER VIEW {view.sql} SET (security_barrier = true)",),
        )


def _auth_users(catalog: Catalog, views: list[Reached]) -> Iterator[Hit]:
    users = catalog.by_name.get("auth.users")
    if users is None:
        return
    for view, roles, _ in views:
        if users.oid not in view.reads:
            continue
        names = _columns_read(users, view)
        if view.invoker:
            if users.row_security:
                continue
            may = any(users.may(role, READ) for role in roles)
            yield Hit(
                "auth-users-exposed",
                view.key,
                f"The view {view.key} reads auth.users, which has no row-level security",
                ERROR if may else WARNING,
                f"{names}; " + ("every user is shown" if may else "the caller may not read it yet"),
                revoke(view, roles),
                "or enable row-level security on auth.users, with a policy",
            )
            continue
        own = view.calls & frozenset(
            oid for oid, f in catalog.functions.items() if (f.schema, f.name) in _WHO
        )
        yield Hit(
            "auth-users-exposed",
            view.key,
            f"The view {view.key} shows auth.users to {joined(roles)}",
            WARNING if own else ERROR,
            f"{names}" + ("; it asks who is reading" if own else "; rows of all users"),
            revoke(view, roles),
            "keep what the application needs in a table of its own",
        )
    for view in catalog.ours:
        if view.kind == "m" and users.oid in {r.oid for r in base_relations(catalog, view)}:
            roles = catalog.reach(view, READ)
            if roles:
                yield Hit(
                    "auth-users-exposed",
                    view.key,
                    f"The materialised view {view.key} shows auth.users to {joined(roles)}",
                    ERROR,
                    _columns_read(users, view),
                    revoke(view, roles),
                )
    for function in catalog.our_functions:
        callers = catalog.callable_by(function)
        shows = function.returns not in ("bool", "void", "int4", "int8", "trigger")
        names_it = re.search(r'\bauth"?\."?users\b', function.code, re.IGNORECASE)
        asks = re.search(r"auth\.(uid|jwt)\s*\(|request\.jwt", function.code, re.IGNORECASE)
        by_tree = bool(function.body) and f":relid {users.oid} " in (function.body or "")
        if callers and function.definer and shows and (names_it or by_tree) and not asks:
            if by_tree and any(
                f":funcid {o} " in (function.body or "") for o in _identity(catalog)
            ):
                continue
            yield Hit(
                "auth-users-exposed",
                function.key,
                f"The function {function.key} answers {joined(callers)} from auth.users",
                ERROR,
                "it runs with its owner's rights and does not ask who calls",
                (f"REVOKE EXECUTE ON {function.sql} FROM PUBLIC, {', '.join(catalog.api_roles)}",),
            )


def _identity(catalog: Catalog) -> tuple[int, ...]:
    return tuple(oid for oid, f in catalog.functions.items() if (f.schema, f.name) in _WHO)


def _columns_read(users: Relation, view: Relation) -> str:
    numbers = view.reads.get(users.oid, frozenset())
    names = [c.name for c in users.columns.values() if c.number in numbers]
    return f"columns: {joined(names, most=8)}" if names and 0 not in numbers else "every column"
