"""Lint of policies that PostgreSQL refuses because they come back to their own table."""

from __future__ import annotations

from collections.abc import Iterator

from opsctl.areas.rls_smoke.expressions import Reader, Reading
from opsctl.areas.rls_smoke.lint_catalog import Catalog
from opsctl.areas.rls_smoke.lint_hit import ERROR, Hit
from opsctl.areas.rls_smoke.lint_objects import COMMANDS, READ, PolicyRow, Relation

_Path = tuple[tuple[int, ...], PolicyRow | None]
_DEEPEST = 20


def lint_recursion(catalog: Catalog, reader: Reader) -> Iterator[Hit]:
    """Find rings of tables whose policies read one another; each ring once."""
    rings: set[frozenset[int]] = set()
    for table in catalog.our_tables:
        policies = catalog.policies.get(table.oid, ())
        reads = any(r.reads or r.calls for policy in policies for r in reader.both(policy))
        if not table.row_security or not reads:
            continue
        for role in catalog.api_roles:
            for letter in "rawd":
                path = _expand(catalog, reader, table, letter, role, ())
                if path is None or path[1] is None or path[0][-1] != table.oid:
                    continue
                ring, policy = path[0], path[1]
                if frozenset(ring) in rings:
                    continue
                rings.add(frozenset(ring))
                yield Hit(
                    "policy-recursion",
                    table.key,
                    f"{COMMANDS[letter]} on {table.key} ends in infinite recursion",
                    ERROR,
                    " reads ".join(catalog.relations[oid].key for oid in ring)
                    + f', by policy "{policy.name}" at the end',
                    (policy.drop(catalog.relations[policy.relation]),),
                    "and look it up in a SECURITY DEFINER function, which no policy binds",
                )


def _expand(
    catalog: Catalog,
    reader: Reader,
    table: Relation,
    letter: str,
    role: str,
    active: tuple[int, ...],
) -> _Path | None:
    """Follow PostgreSQL as it expands policies; return (tables, the policy that closes the ring).

    It gives up on a table that it is expanding already, as soon as one of that table's policies
    holds any sub-select, be it `(SELECT auth.uid())` alone.
    """
    letters = {letter, "r"} if letter in "wd" else {letter}
    found = []
    for policy in catalog.policies.get(table.oid, ()):
        if role not in catalog.policy_roles(policy) or not letters & set(policy.commands):
            continue
        says = reader.both(policy)
        reads = {oid for reading in says for oid in _expanded(catalog, reader, reading)}
        if any(reading.sub_selects for reading in says) or reads:
            found.append((policy, reads))
    if not found:
        return None
    if table.oid in active:
        return (*active, table.oid), None
    if len(active) > _DEEPEST:
        return None
    for policy, reads in found:
        for oid in sorted(reads):
            inner = catalog.relations.get(oid)
            if inner is None or not inner.row_security or not inner.may(role, READ):
                continue
            path = _expand(catalog, reader, inner, "r", role, (*active, table.oid))
            if path is not None:
                return path[0], path[1] or policy
    return None


def _expanded(catalog: Catalog, reader: Reader, reading: Reading) -> set[int]:
    """Return the tables whose policies come into an expression: also through invoker's views."""
    found: set[int] = set()
    queue = list(reading.reads)
    while queue:
        relation = catalog.relations.get(queue.pop())
        if relation is None or relation.oid in found:
            continue
        if relation.kind == "v":
            queue += list(relation.reads) if relation.invoker else []
        else:
            found.add(relation.oid)
    for call in reading.calls:
        function = catalog.functions.get(call.function)
        if function is not None and not function.definer:
            found |= reader.bodies.reads(call.function)
    return found
