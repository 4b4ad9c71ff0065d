"""Lints of policies that are slow: calls for each row, several policies, columns without index."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from opsctl.adapters.sql import quote_identifier
from opsctl.areas.rls_smoke.expressions import Reader, Reading
from opsctl.areas.rls_smoke.lint_catalog import Catalog
from opsctl.areas.rls_smoke.lint_hit import NOTE, WARNING, Hit, joined
from opsctl.areas.rls_smoke.lint_objects import COMMANDS, PolicyRow, Relation
from opsctl.areas.rls_smoke.lint_tables import create_index

_SMALL = 1000
"""Rows below which a scan is as good as an index."""


def lint_policy_speed(catalog: Catalog, reader: Reader) -> Iterator[Hit]:
    """Return which policies cost more than they must."""
    wanted: dict[int, set[frozenset[int]]] = {}
    for table in (*catalog.our_tables, *_files(catalog)):
        for policy in catalog.policies.get(table.oid, ()) if table.row_security else ():
            using, check = reader.using(policy), reader.check(policy)
            yield from _per_row(catalog, reader, table, policy, using, check)
            for oid, columns in _lookups(table, policy, using, check):
                wanted.setdefault(oid, set()).add(columns)
        yield from _several(catalog, table)
    yield from _unindexed(catalog, wanted)


def _files(catalog: Catalog) -> tuple[Relation, ...]:
    objects = catalog.by_name.get("storage.objects")
    return (objects,) if objects is not None else ()


def _per_row(
    catalog: Catalog,
    reader: Reader,
    table: Relation,
    policy: PolicyRow,
    using: Reading | None,
    check: Reading | None,
) -> Iterator[Hit]:
    calls = [call for reading in (using, check) if reading is not None for call in reading.calls]
    names: dict[str, list[str]] = {}
    worst = {"identity": NOTE, "function": NOTE}
    for call in calls:
        if call.how_often == "once" or call.of_columns:
            continue
        if reader.bodies.is_identity(call.function):
            kind = "identity"
        elif call.function in catalog.functions and call.how_often == "row":
            kind = "function"
        else:
            continue
        names.setdefault(kind, []).append(_called(catalog, call.function))
        if call.how_often == "row":
            worst[kind] = WARNING
    rules = {"identity": "auth-rls-initplan", "function": "policy-function-per-row"}
    for kind, called in names.items():
        shown = joined(f"{name}()" for name in called)
        yield Hit(
            rules[kind],
            table.key,
            f'The policy "{policy.name}" of {table.key} calls {shown} for each row',
            worst[kind],
            f"(SELECT {called[0]}(...)) is run once for a query",
            _wrapped(catalog, table, policy, called),
            policies=(policy.oid,),
        )


def _called(catalog: Catalog, function: int) -> str:
    row = catalog.functions.get(function)
    return "current_setting" if row is None else f"{row.schema}.{row.name}"


def _wrapped(
    catalog: Catalog, table: Relation, policy: PolicyRow, names: Sequence[str]
) -> tuple[str, ...]:
    if policy.oid not in catalog.printed:
        return ()
    clauses = ""
    for word, text in zip(("USING", "WITH CHECK"), catalog.printed[policy.oid], strict=True):
        if text is not None:
            clauses += f" {word} ({wrap_calls(text, names)})"
    return (f"ALTER POLICY {quote_identifier(policy.name)} ON {table.sql}{clauses}",)


_LITERAL = r"(?:E)?'(?:[^']|'')*'"
_FIXED = re.compile(
    rf"(?:{_LITERAL}|::[\w\s.\"\[\]]+|(?:auth\.\w+\(\))|true|false|null|[\s,.\d()+-])*",
    re.IGNORECASE,
)


def wrap_calls(text: str, names: Sequence[str]) -> str:
    """Return an expression with calls of some functions, of no column, made `(SELECT f())`."""
    quoted = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    token = re.compile(rf"{_LITERAL}|\"(?:[^\"]|\"\")*\"|(?<![\w.\"])(?P<call>{quoted})\(")
    parts: list[str] = []
    start = position = 0
    while match := token.search(text, position):
        position = match.end()
        if match["call"] is None:
            continue
        end = _closing(text, position)
        before = text[: match.start()].rstrip()
        if before.upper().endswith("SELECT") or not _FIXED.fullmatch(text[position : end - 1]):
            continue
        parts += [text[start : match.start()], f"(SELECT {text[match.start() : end]})"]
        start = position = end
    return "".join(parts) + text[start:]


def _closing(text: str, position: int) -> int:
    """Return where the parenthesis ends that was opened before `position`."""
    depth = 1
    for match in re.compile(rf"{_LITERAL}|[()]").finditer(text, position):
        depth += {"(": 1, ")": -1}.get(match.group(), 0)
        if not depth:
            return match.end()
    return len(text)


def _several(catalog: Catalog, table: Relation) -> Iterator[Hit]:
    policies = [
        p for p in catalog.policies.get(table.oid, ()) if p.permissive and (p.using or p.check)
    ]
    roles = _names(catalog, policies)
    clashes: dict[str, set[str]] = {}
    involved: dict[int, PolicyRow] = {}
    for letter in COMMANDS:
        for role in roles:
            group = [p for p in policies if letter in p.commands and _binds(catalog, p, role)]
            if len(group) > 1:
                clashes.setdefault(COMMANDS[letter], set()).add(role)
                involved.update({policy.oid: policy for policy in group})
    if clashes:
        parts = "; ".join(
            f"{word.lower()} of {joined(sorted(who))}" for word, who in clashes.items()
        )
        names = [policy.name for policy in involved.values()]
        yield Hit(
            "multiple-permissive-policies",
            table.key,
            f"{table.key} asks several permissive policies where one would do",
            WARNING,
            f"{parts}: {joined(names)}",
            _merge(catalog, table, list(involved.values())),
            "each is tried for each row; any of them opens it",
            policies=tuple(involved),
        )


def _names(catalog: Catalog, policies: Sequence[PolicyRow]) -> tuple[str, ...]:
    """Return the roles that policies are about: the API's for PUBLIC, and whom they name."""
    found = list(catalog.api_roles) if any(0 in p.roles for p in policies) else []
    for policy in policies:
        found += [
            catalog.roles[oid].name
            for oid in policy.roles
            if oid in catalog.roles and not catalog.roles[oid].bypasses
        ]
    return tuple(dict.fromkeys(found))


def _binds(catalog: Catalog, policy: PolicyRow, role: str) -> bool:
    return 0 in policy.roles or any(
        oid in catalog.roles
        and (catalog.roles[oid].name == role or role in catalog.roles[oid].used_by)
        for oid in policy.roles
    )


def _merge(catalog: Catalog, table: Relation, policies: list[PolicyRow]) -> tuple[str, ...]:
    """Return the statements that make one policy for each role and command out of several."""
    if not all(policy.oid in catalog.printed for policy in policies):
        return ()
    statements = [policy.drop(table) for policy in policies]
    gone = {policy.name for policy in policies}
    taken = {p.name for p in catalog.policies.get(table.oid, ())} - gone
    for letter, word in COMMANDS.items():
        groups: dict[tuple[int, ...], list[str]] = {}
        for role in _names(catalog, policies):
            bound = tuple(
                p.oid for p in policies if letter in p.commands and _binds(catalog, p, role)
            )
            if bound:
                groups.setdefault(bound, []).append(role)
        for bound, roles in groups.items():
            pairs = [(catalog.printed[oid][0], catalog.printed[oid][1]) for oid in bound]
            using = _either(each for each, _ in pairs)
            check = _either(c if c is not None else u for u, c in pairs)
            clauses = f" USING ({using})" if letter != "a" and using else ""
            clauses += f" WITH CHECK ({check})" if letter in "aw" and check else ""
            if not clauses:
                continue
            name = f"{table.name} {word.lower()} {' '.join(roles)}"[:60]
            while name in taken:
                name += "_"
            taken.add(name)
            statements.append(
                f"CREATE POLICY {quote_identifier(name)} ON {table.sql} FOR {word} "
                f"TO {', '.join(map(quote_identifier, roles))}{clauses}"
            )
    return tuple(statements)


def _either(texts: Iterator[str | None]) -> str:
    parts = list(dict.fromkeys(text for text in texts if text is not None))
    return parts[0] if len(parts) == 1 else " OR ".join(f"({part})" for part in parts)


def _lookups(
    table: Relation, policy: PolicyRow, using: Reading | None, check: Reading | None
) -> Iterator[tuple[int, frozenset[int]]]:
    """Return (relation, columns): one of the columns should lead an index."""
    if using is not None and policy.permissive and using.compared and all(using.compared):
        for columns in using.compared:
            yield table.oid, columns
    for reading in (using, check):
        for oid, columns in reading.looked_up if reading is not None else ():
            yield oid, columns


def _unindexed(catalog: Catalog, wanted: dict[int, set[frozenset[int]]]) -> Iterator[Hit]:
    for oid, groups in wanted.items():
        table = catalog.relations.get(oid)
        if table is None or not catalog.has(table) or table.kind not in "rpm":
            continue
        if 0 <= table.tuples < _SMALL and table.tuples != 0:
            continue
        keyed = {
            key.columns[0] for key in catalog.constraints.get(oid, ()) if key.kind == "f"
        }  # an index for the foreign key is asked for already
        missing: dict[str, None] = {}
        for columns in sorted(groups, key=sorted):
            plain = [n for n in sorted(columns) if n in table.columns]
            if not plain or columns & catalog.leading(oid) or columns & keyed:
                continue
            if all(table.columns[n].base == "bool" for n in plain):
                continue
            missing[table.columns[plain[0]].name] = None
        for name in missing:
            yield Hit(
                "policy-column-unindexed",
                table.key,
                f"Policies look rows of {table.key} up by {name}, which no index begins with",
                WARNING,
                "every query that they bind reads the whole table",
                (create_index(table, (name,)),),
            )
