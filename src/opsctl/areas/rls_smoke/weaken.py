"""The ways to weaken or break a policy, as SQL; pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from opsctl.adapters.sql import quote_identifier
from opsctl.areas.rls_smoke.facts import Policy, Relation

_COMMANDS = {"*": "ALL", "r": "SELECT", "a": "INSERT", "w": "UPDATE", "d": "DELETE"}


@dataclass(frozen=True)
class Mutant:
    """One way to weaken or break a policy."""

    relation: str
    policy: str
    """Empty where the whole relation is meant."""
    change: str
    """What was done, for a person."""
    sql: str
    command: str
    """pg_policy.polcmd of what can change."""
    only: frozenset[str] = frozenset()
    """Roles for which anything can change; none means everybody."""
    but: frozenset[str] = frozenset()
    """Roles for which nothing can: the policy is for them already."""

    def matters_to(self, roles: frozenset[str]) -> bool:
        """Whether it can change anything for who has the rights of these roles."""
        return (not self.only or bool(roles & self.only)) and not roles & self.but


def make_mutants(relation: Relation) -> Iterator[Mutant]:
    """Yield the mutants of one relation's policies."""
    if not relation.row_security or not relation.policies:
        return
    yield Mutant(
        relation.key, "", "row-level security off",
        f"ALTER TABLE {relation.sql} DISABLE ROW LEVEL SECURITY", "*",
    )  # fmt: skip
    for policy in relation.policies:
        yield from _of_policy(relation, policy)


def clauses(expression: str, joined: str = "AND") -> list[str]:
    """Return the parts of an expression that AND (or OR) joins at its top; one if none does."""
    text = _bare(expression)
    parts, depth, start, index = [], 0, 0, 0
    while index < len(text):
        char = text[index]
        if char == "'":
            index = _string_end(text, index)
            continue
        depth += (char in "([") - (char in ")]")
        word = f" {joined} "
        if depth == 0 and text.startswith(word, index):
            parts.append(text[start:index])
            start = index + len(word)
            index = start
            continue
        index += 1
    return [*parts, text[start:]]


def _of_policy(relation: Relation, policy: Policy) -> Iterator[Mutant]:
    name, table = quote_identifier(policy.name), relation.sql
    mine = frozenset(policy.roles)

    def mutant(change: str, sql: str, command: str = policy.command) -> Mutant:
        return Mutant(relation.key, policy.name, change, sql, command, only=mine)

    def altered(change: str, words: str) -> Mutant:
        return mutant(change, f"ALTER POLICY {name} ON {table} {words}")

    yield mutant("dropped", f"DROP POLICY {name} ON {table}")
    if policy.using and policy.using != "true":
        yield altered("USING (true)", "USING (true)")
    if policy.check and policy.check != "true":
        yield altered("WITH CHECK (true)", "WITH CHECK (true)")
    if (
        policy.using
        and policy.using != "true"
        and policy.command in ("*", "w")
        and not policy.check
    ):
        yield altered("WITH CHECK (true) added", "WITH CHECK (true)")
    if policy.check and policy.using and policy.check != policy.using:
        yield mutant("WITH CHECK left out", _recreate(relation, policy, check=""))
    if policy.roles:
        yield replace(altered("TO public", "TO PUBLIC"), only=frozenset(), but=mine)
        if "anon" not in policy.roles:
            wider = altered("TO anon as well", f"TO {_roles((*policy.roles, 'anon'))}")
            yield replace(wider, only=frozenset({"anon"}), but=mine)
    other = mine | {"service_role"} if mine else mine
    yield replace(altered("TO service_role", "TO service_role"), only=other)
    if policy.command in ("r", "a", "d", "w"):
        whole = policy.using or policy.check
        sql = _recreate(relation, policy, command="*", using=whole, check=policy.check)
        yield mutant("FOR ALL", sql, "*")
    for part, text in (("USING", policy.using), ("WITH CHECK", policy.check)):
        for joined in ("AND", "OR"):
            found = clauses(text, joined) if text else []
            if len(found) < 2:
                continue
            for index, clause in enumerate(found):
                rest = f" {joined} ".join(found[:index] + found[index + 1 :])
                yield altered(f"{part} without {_short(clause)}", f"{part} ({rest})")


def _recreate(
    relation: Relation,
    policy: Policy,
    *,
    command: str | None = None,
    using: str | None = None,
    check: str | None = None,
) -> str:
    name = quote_identifier(policy.name)
    using = policy.using if using is None else using
    check = policy.check if check is None else check
    kind = "PERMISSIVE" if policy.permissive else "RESTRICTIVE"
    return (
        f"DROP POLICY {name} ON {relation.sql}; CREATE POLICY {name} ON {relation.sql} "
        f"AS {kind} FOR {_COMMANDS[command or policy.command]} TO {_roles(policy.roles)}"
        + (f" USING ({using})" if using else "")
        + (f" WITH CHECK ({check})" if check else "")
    )


def _roles(roles: tuple[str, ...]) -> str:
    return ", ".join(quote_identifier(role) for role in roles) or "PUBLIC"


def _short(clause: str) -> str:
    text = " ".join(clause.split())
    return text if len(text) <= 60 else text[:57] + "..."


def _bare(text: str) -> str:
    """Return an expression without the parentheses that hold all of it."""
    text = text.strip()
    while text.startswith("(") and _closing(text) == len(text) - 1:
        text = text[1:-1].strip()
    return text


def _closing(text: str) -> int:
    depth, index = 0, 0
    while index < len(text):
        if text[index] == "'":
            index = _string_end(text, index)
            continue
        depth += (text[index] == "(") - (text[index] == ")")
        if depth == 0:
            return index
        index += 1
    return -1


def _string_end(text: str, start: int) -> int:
    end = text.find("'", start + 1)
    return len(text) if end < 0 else end + 1
