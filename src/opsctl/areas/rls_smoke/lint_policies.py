"""Lints of policies: too wide, by what users write, always true by mistake."""

from __future__ import annotations

from collections.abc import Iterator

from opsctl.adapters.sql import quote_identifier
from opsctl.areas.rls_smoke.expressions import Reader, Reading
from opsctl.areas.rls_smoke.lint_catalog import Catalog
from opsctl.areas.rls_smoke.lint_hit import ERROR, NOTE, WARNING, Hit, joined
from opsctl.areas.rls_smoke.lint_objects import COMMANDS, PolicyRow, Relation
from opsctl.areas.rls_smoke.lint_policy_roles import lint_policy_roles
from opsctl.core.report import Severity, Status

_RANK = {ERROR: 0, WARNING: 1, NOTE: 2}


def lint_policies(catalog: Catalog, reader: Reader) -> Iterator[Hit]:
    """Return what is wrong with policies of the project's tables."""
    for_public: dict[str, list[str]] = {}
    for oid, policies in catalog.policies.items():
        table = catalog.relations[oid]
        if not catalog.has(table) and table.schema != "storage":
            continue
        for policy in policies:
            using, check = reader.using(policy), reader.check(policy)
            if not all(reading.understood for reading in reader.both(policy)):
                yield Hit(
                    "policy-not-understood",
                    table.key,
                    f"The policy {policy.name} of {table.key} was not understood",
                    WARNING,
                    "its stored tree has another format",
                    status=Status.UNKNOWN,
                )
                continue
            if catalog.has(table):
                yield from _width(catalog, reader, table, policy, using, check)
            yield from _content(catalog, table, policy, using, check)
            yield from lint_policy_roles(catalog, table, policy, using, check)
            if 0 in policy.roles and any(r is not None and r.identity for r in (using, check)):
                for_public.setdefault(table.schema, []).append(f"{policy.name} of {table.key}")
        yield from _only_restrictive(catalog, table, policies)
    for schema, names in for_public.items():
        yield Hit(
            "policy-for-public",
            f"schema {schema}",
            f"{len(names)} policies ask who is signed in, but are for PUBLIC",
            NOTE,
            f"they are tried for anon, too: {joined(names, most=10)}",
            advice="TO authenticated says what is meant, and saves the work for anon",
            objects=tuple(names),
        )


def _only_restrictive(
    catalog: Catalog, table: Relation, policies: tuple[PolicyRow, ...]
) -> Iterator[Hit]:
    if any(policy.permissive for policy in policies) or not catalog.has(table):
        return
    names = joined(policy.name for policy in policies)
    yield Hit(
        "policies-only-restrictive",
        table.key,
        f"No policy of {table.key} lets anybody in: all are restrictive",
        WARNING,
        f"restrictive: {names}; they narrow what permissive policies open",
        tuple(policy.drop(table) for policy in policies),
        "or make one of them permissive",
    )


def _width(
    catalog: Catalog,
    reader: Reader,
    table: Relation,
    policy: PolicyRow,
    using: Reading | None,
    check: Reading | None,
) -> Iterator[Hit]:
    if not policy.permissive or not table.row_security:
        return
    roles = [
        r for r in catalog.policy_roles(policy) if r in catalog.reach(table, *COMMANDS.values())
    ]
    open_: dict[str, list[str]] = {}
    any_user: list[str] = []
    for letter in policy.commands:
        word = COMMANDS[letter]
        who = [
            r
            for r in roles
            if table.may(r, word) and not _narrowed(catalog, reader, table, letter, r)
        ]
        says = check if letter == "a" else using
        if not who or says is None:
            continue
        moved = letter == "w" and check is not None and check.always
        if says.always or moved:
            open_[word] = who
        elif letter in "wd" and says.any_user:
            any_user.append(word)
    if open_:
        yield _always_true(catalog, table, policy, using, open_)
    if any_user:
        yield Hit(
            "rls-policy-any-user",
            table.key,
            f"Whoever is signed in may {joined(any_user).lower()} every row of {table.key}",
            WARNING,
            f'policy "{policy.name}" asks only whether somebody is signed in',
            _narrow(catalog, table, policy),
            "compare a column with (SELECT auth.uid())",
            policies=(policy.oid,),
        )
    if any(r is not None and r.open_to_nobody for r in (using, check)) and roles:
        anon = "anon" in roles
        yield Hit(
            "rls-policy-null-auth-disjunct",
            table.key,
            f'The policy "{policy.name}" of {table.key} is true where nobody is signed in',
            ERROR if anon else WARNING,
            "an arm of its OR is `auth... IS NULL`"
            + (": anon reaches every row" if anon else ": a token without `sub` reaches every row"),
            _narrow(catalog, table, policy),
            "leave that arm out",
            policies=(policy.oid,),
        )


def _narrowed(catalog: Catalog, reader: Reader, table: Relation, letter: str, role: str) -> bool:
    """Whether a restrictive policy that says something binds the role for the command."""
    for each in catalog.policies.get(table.oid, ()):
        if each.permissive or letter not in each.commands:
            continue
        if role in catalog.policy_roles(each) and (each.using or each.check):
            says = reader.check(each) if letter == "a" else reader.using(each)
            if says is not None and not says.always:
                return True
    return False


def _always_true(
    catalog: Catalog,
    table: Relation,
    policy: PolicyRow,
    using: Reading | None,
    open_: dict[str, list[str]],
) -> Hit:
    severity: Severity = NOTE
    for word in open_:
        each = NOTE if word == "SELECT" else WARNING if word == "INSERT" else ERROR
        severity = min(severity, each, key=_RANK.__getitem__)
    who = joined(role for roles in open_.values() for role in roles)
    verbs = joined(word.lower() for word in open_)
    moved = "UPDATE" in open_ and using is not None and not using.always
    if moved and set(open_) <= {"UPDATE", "INSERT"}:
        title = f"{who} may make rows of {table.key} somebody else's"
        evidence = f'WITH CHECK of policy "{policy.name}" is always true'
    else:
        title = f"{who} may {verbs} every row of {table.key}"
        evidence = f'policy "{policy.name}" is always true'
    if "service" in policy.name.lower() and "anon" in who:
        evidence += "; by its name it was meant TO service_role"
    mend: tuple[str, ...] = _narrow(catalog, table, policy)
    halves = using is not None and not using.any_user  # else USING is no better than true
    if moved and halves and set(open_) <= {"UPDATE", "INSERT"} and policy.command in "w*":
        mend = _check_as_using(catalog, table, policy)
    advice = "if everybody may read it, all is well" if severity is NOTE else "say which rows"
    return Hit(
        "rls-policy-always-true",
        table.key,
        title,
        severity,
        evidence,
        mend,
        advice,
        policies=(policy.oid,),
    )


def _check_as_using(catalog: Catalog, table: Relation, policy: PolicyRow) -> tuple[str, ...]:
    using, _ = catalog.printed.get(policy.oid, (None, None))
    if using is None:
        return (policy.drop(table),)
    name = quote_identifier(policy.name)
    return (f"ALTER POLICY {name} ON {table.sql} WITH CHECK ({using})",)


def owner_column(catalog: Catalog, table: Relation) -> str | None:
    """Return the column that says whose a row is, where the catalog says so."""
    users = catalog.by_name.get("auth.users")
    if table.own_default:
        return table.columns[min(table.own_default)].name
    for key in catalog.constraints.get(table.oid, ()):
        if (
            key.kind == "f"
            and users is not None
            and key.target == users.oid
            and len(key.columns) == 1
        ):
            target = users.columns.get(key.target_columns[0])
            if target is not None and target.name == "id":
                return table.columns[key.columns[0]].name
    return None


def _narrow(catalog: Catalog, table: Relation, policy: PolicyRow) -> tuple[str, ...]:
    """Return the statements that bind a policy to its rows' owner; without one, drop it."""
    column = owner_column(catalog, table)
    if column is None:
        return (policy.drop(table),)
    rule = f"((SELECT auth.uid()) = {quote_identifier(column)})"
    name = quote_identifier(policy.name)
    clauses = f" USING {rule}" if policy.command != "a" else ""
    clauses += f" WITH CHECK {rule}" if policy.command in "aw*" else ""
    return (f"ALTER POLICY {name} ON {table.sql} TO authenticated{clauses}",)


def _content(
    catalog: Catalog,
    table: Relation,
    policy: PolicyRow,
    using: Reading | None,
    check: Reading | None,
) -> Iterator[Hit]:
    says = [reading for reading in (using, check) if reading is not None]
    name = f'The policy "{policy.name}" of {table.key}'
    if not says:
        yield Hit(
            "policy-without-expression",
            table.key,
            f"{name} has no expression: it admits nothing",
            WARNING,
            "PostgreSQL leaves it out of account",
            (policy.drop(table),),
            "or give it USING or WITH CHECK",
        )
        return
    if any(reading.metadata for reading in says):
        yield Hit(
            "rls-references-user-metadata",
            table.key,
            f"{name} trusts what users write of themselves",
            ERROR,
            "user_metadata is changed by its user: auth.updateUser({data: ...})",
            (policy.drop(table),),
            "ask app_metadata, or a table that only the server writes",
        )
    itself = {pair for reading in says for pair in reading.to_itself}
    if itself:
        columns = [_column(catalog, table, pair) for pair in itself]
        yield Hit(
            "policy-compares-column-with-itself",
            table.key,
            f"{name} compares {joined(columns)} with itself",
            ERROR,
            f"within a sub-select the inner table's column is meant; write {table.name}.COLUMN",
            (policy.drop(table),),
            policies=(policy.oid,),
        )
    yield from _lost_owner(catalog, table, policy, using, check)


def _column(catalog: Catalog, table: Relation, pair: tuple[int, int]) -> str:
    relation = catalog.relations.get(pair[0] or table.oid)
    column = relation.columns.get(pair[1]) if relation is not None else None
    return f"{relation.name}.{column.name}" if relation is not None and column else "a column"


def _lost_owner(
    catalog: Catalog,
    table: Relation,
    policy: PolicyRow,
    using: Reading | None,
    check: Reading | None,
) -> Iterator[Hit]:
    explicit = policy.check is not None and policy.command in "w*" and policy.permissive
    if not explicit or using is None or check is None or check.always or using.always:
        return
    owners = using.owners
    if owners and not owners & check.own and not check.identity:
        names = joined(table.columns[n].name for n in sorted(owners) if n in table.columns)
        yield Hit(
            "policy-check-loses-owner",
            table.key,
            f'UPDATE by the policy "{policy.name}" of {table.key} may change {names}',
            WARNING,
            f"USING compares {names} with who asks, WITH CHECK does not",
            _check_both(catalog, table, policy),
            policies=(policy.oid,),
        )


def _check_both(catalog: Catalog, table: Relation, policy: PolicyRow) -> tuple[str, ...]:
    using, check = catalog.printed.get(policy.oid, (None, None))
    if using is None or check is None:
        return (policy.drop(table),)
    name = quote_identifier(policy.name)
    return (f"ALTER POLICY {name} ON {table.sql} WITH CHECK (({using}) AND ({check}))",)
