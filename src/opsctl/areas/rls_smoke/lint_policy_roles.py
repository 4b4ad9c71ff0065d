"""Lints of the roles that policies are for, and of the privileges that they need."""

from __future__ import annotations

from collections.abc import Iterator

from opsctl.adapters.sql import quote_identifier
from opsctl.areas.rls_smoke.expressions import Reading
from opsctl.areas.rls_smoke.lint_catalog import Catalog
from opsctl.areas.rls_smoke.lint_hit import ERROR, WARNING, Hit, joined
from opsctl.areas.rls_smoke.lint_objects import COMMANDS, READ, PolicyRow, Relation


def lint_policy_roles(
    catalog: Catalog,
    table: Relation,
    policy: PolicyRow,
    using: Reading | None,
    check: Reading | None,
) -> Iterator[Hit]:
    """Return where a policy is for the wrong role, or a privilege is missing beside it."""
    bound = catalog.policy_roles(policy)
    says = [reading for reading in (using, check) if reading is not None]
    name = f'The policy "{policy.name}" of {table.key}'
    to = ", ".join(catalog.role_names(policy))
    anon_only = 0 not in policy.roles and bound == ("anon",)
    if (
        anon_only
        and says
        and all(r.identity and r.owners for r in says)
        and "authenticated" in catalog.api_roles
    ):
        yield Hit(
            "policy-wrong-role",
            table.key,
            f"{name} is for anon, who is never anybody",
            WARNING,
            "it compares with auth.uid(), which is null for anon",
            (f"ALTER POLICY {quote_identifier(policy.name)} ON {table.sql} TO authenticated",),
        )
    named = [catalog.roles[oid] for oid in policy.roles if oid in catalog.roles]
    strangers = [
        r.name
        for r in named
        if not (r.in_api or r.used_by or r.logs_in or r.has_login or r.superuser)
    ]
    if strangers and len(strangers) == len(named) and 0 not in policy.roles:
        yield Hit(
            "policy-role-not-in-api",
            table.key,
            f"{name} is for {to}, whom no request runs as",
            WARNING,
            "authenticator may not become it, and nobody who logs in may",
            (f"ALTER POLICY {quote_identifier(policy.name)} ON {table.sql} TO authenticated",),
            f"or: GRANT {to} TO authenticator, if tokens carry that role",
        )
    claimed = {name for reading in says for name in reading.claimed_roles}
    usable = {r.name for r in catalog.roles.values() if r.in_api or r.name in catalog.api_roles}
    strange = sorted(claimed - usable - {"service_role", "authenticator", "supabase_admin"})
    if strange:
        yield Hit(
            "policy-role-claim",
            table.key,
            f"{name} asks whether the token's role is {joined(strange)}, which it never is",
            WARNING,
            "`role` of a token is the database's role that the request runs as",
            (policy.drop(table),),
            "an application's roles are in app_metadata, or in a table",
        )
    if not catalog.has(table) or not table.row_security:
        return
    if table.schema in catalog.exposed and policy.permissive and says:
        yield from _without_grant(catalog, table, policy, bound, name)
    for reading in says:
        yield from _unreadable(catalog, table, policy, reading, bound, name)
        break


def _without_grant(
    catalog: Catalog, table: Relation, policy: PolicyRow, bound: tuple[str, ...], name: str
) -> Iterator[Hit]:
    explicit = [r for r in bound if 0 not in policy.roles]
    for word in (COMMANDS[letter] for letter in policy.commands):
        lacking = [role for role in explicit if not table.may(role, word)]
        if not explicit or len(lacking) < len(explicit) or policy.command == "*":
            continue
        yield Hit(
            "policy-without-grant",
            table.key,
            f"{name} lets {joined(explicit)} {word.lower()}, but the privilege is missing",
            WARNING,
            f"every {word} ends in `permission denied`",
            (f"GRANT {word} ON {table.sql} TO {', '.join(explicit)}",),
            "or drop the policy",
        )


def _unreadable(
    catalog: Catalog,
    table: Relation,
    policy: PolicyRow,
    reading: Reading,
    bound: tuple[str, ...],
    name: str,
) -> Iterator[Hit]:
    using = [role for role in bound if role in catalog.reach(table, READ, *COMMANDS.values())]
    if 0 in policy.roles and "authenticated" in using:
        using = ["authenticated"]
    for oid in sorted(reading.reads):
        read = catalog.relations.get(oid)
        if read is None:
            continue
        lacking = [role for role in using if not read.may(role, READ)]
        if lacking:
            usage = [r for r in lacking if not catalog.uses(r, read.schema)]
            mend = (
                [f"GRANT USAGE ON SCHEMA {quote_identifier(read.schema)} TO {', '.join(usage)}"]
                if usage
                else []
            )
            yield Hit(
                "policy-reads-ungranted-table",
                table.key,
                f"{name} reads {read.key}, which {joined(lacking)} may not",
                ERROR,
                f"every statement of {joined(lacking)} on {table.key} ends in `permission denied`",
                (*mend, f"GRANT SELECT ON {read.sql} TO {', '.join(lacking)}"),
                "with policies on that table; or look it up in a SECURITY DEFINER function",
            )
    for call in reading.calls:
        function = catalog.functions.get(call.function)
        if function is None:
            continue
        lacking = [role for role in using if role not in function.callers]
        if lacking:
            yield Hit(
                "policy-calls-ungranted-function",
                table.key,
                f"{name} calls {function.key}, which {joined(lacking)} may not execute",
                ERROR,
                f"every statement of {joined(lacking)} on {table.key} ends in `permission denied`",
                (f"GRANT EXECUTE ON {function.sql} TO {', '.join(lacking)}",),
            )
