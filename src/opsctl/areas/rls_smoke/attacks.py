"""Ways around policies: keys, unique values, views, functions, and rights one gives oneself.

The attackers are a member of another tenant, a guest without one, and nobody. What they see is
searched for the marks that made-up rows carry; what they change is found by comparing before
and after. No policy is read.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass

from opsctl.adapters.sql import quote_identifier, quote_literal
from opsctl.areas.rls_smoke.facts import Function, Relation
from opsctl.areas.rls_smoke.matrix import Matrix
from opsctl.areas.rls_smoke.policy_file import Actor
from opsctl.areas.rls_smoke.probes import (
    Outcome,
    Probe,
    adding,
    calling,
    harmless_column,
    row_id,
    run_probes,
)
from opsctl.areas.rls_smoke.rows import admin_columns
from opsctl.areas.rls_smoke.world import PlantedRow, World

_ATTACKERS = ("b", "guest", "anon")
_MARK = re.compile(r"mk-([a-z][a-z0-9_]*)-")
_MOST_CALLS = 12
"""Combinations of arguments that a function is called with by one attacker."""


@dataclass(frozen=True)
class Hole:
    """One way that worked."""

    rule: str
    actor: str
    object: str
    """The relation or function attacked."""
    what: str
    """What was done, continuing `b can ...`."""
    evidence: str
    warning: bool = False
    """Whether it gives away only whether something exists."""


@dataclass(frozen=True)
class _Attack:
    probe: Probe
    rule: str
    what: str
    warning: bool = False
    wanted: str = ""
    """SQLSTATE that is the hole; empty: to be let through is."""
    told: tuple[str, ...] = ()
    """Values that the attacker put in itself, which therefore prove nothing."""


def attack(world: World, matrix: Matrix) -> tuple[Hole, ...]:
    """Attack a world and return the ways that worked, in the order of what they are about."""
    attackers = {name: actor for name, actor in world.file.actors.items() if _attacks(name, actor)}
    public = _public(world, matrix)
    attacks = [
        each for name, actor in attackers.items() for each in (
            *_by_foreign_key(world, name, actor), *_by_unique(world, name, actor),
            *_by_view(world, name, actor), *_by_function(world, name, actor),
            *_by_returning(world, name, actor),
        )
    ]  # fmt: skip
    attacks += [each for name, actor in world.file.actors.items()
                for each in _by_own_rights(world, name, actor)]  # fmt: skip
    probes = [Probe("", "", "before", "rows", _watch(world, a)) for a in attackers.values()]
    outcomes = run_probes(
        world.connection, [*probes, *(each.probe for each in attacks)], schemas=world.schemas
    )
    state = dict(zip(attackers, (each.rows for each in outcomes), strict=False))
    found: dict[tuple[str, str, str], Hole] = {}
    for each, outcome in zip(attacks, outcomes[len(probes) :], strict=True):
        hole = _judge(world, each, outcome, state.get(each.probe.actor, frozenset()), public)
        if hole is not None:
            found.setdefault((hole.rule, hole.object, hole.actor), hole)
    return tuple(sorted(found.values(), key=lambda hole: (hole.warning, hole.object, hole.actor)))


def _attacks(name: str, actor: Actor) -> bool:
    return actor.role == "anon" or (actor.role == "authenticated" and name in _ATTACKERS)


def _watch(world: World, actor: Actor) -> str:
    """Return the query for how many rows of others' there are, still as they were."""
    others = [t for a in world.file.actors.values() for t in a.tenants if t not in actor.tenants]
    parts = []
    for relation in _tables(world):
        ids = [quote_literal(row.id) for row in _foreign(world, relation.key, actor)]
        same = f"{row_id(relation)} IN ({', '.join(ids)})" if ids else "false"
        links = world.model.links[relation.key]
        if links.tenant is not None and others:
            listed = ", ".join(quote_literal(str(each)) for each in dict.fromkeys(others))
            theirs = f"{quote_identifier(links.tenant)} IN ({listed})"
        else:
            theirs = "false"
        parts.append(
            f"SELECT {quote_literal(relation.key)} || ' ' || count(*) FILTER (WHERE {same}) "
            f"|| ' ' || count(*) FILTER (WHERE {theirs}) AS i FROM {relation.sql} t"
        )
    return f"SELECT array_agg(i) FROM ({' UNION ALL '.join(parts) or 'SELECT NULL AS i'}) x"


def _public(world: World, matrix: Matrix) -> frozenset[str]:
    """Return the relations whose every row anybody may read by right: no secret of anyone's."""
    return frozenset(
        cell.relation for cell in matrix.cells
        if cell.verb == "select" and world.file.actors[cell.actor].role == "anon"
        and cell.got == cell.everything and cell.got and cell.expected is not None
        and not cell.wrong
    )  # fmt: skip


def _judge(
    world: World, each: _Attack, outcome: Outcome, before: frozenset[str], public: frozenset[str]
) -> Hole | None:
    probe = each.probe
    if probe.kind != "call":
        through = outcome.state == each.wanted if each.wanted else (
            outcome.admitted and (outcome.count > 0 or bool(outcome.state))
        )  # fmt: skip
        if not through:
            return None
        return Hole(
            each.rule, probe.actor, probe.relation, each.what, _short(probe.sql), each.warning
        )  # fmt: skip
    if outcome.state:
        return None
    changed = {text.partition(" ")[0] for text in before - outcome.passed} if probe.after else set()
    if changed:
        names = ", ".join(sorted(changed))
        what = f"change another tenant's rows of {names} {each.what}"
        return Hole("function-writes", probe.actor, probe.relation, what, probe.sql)
    actor = world.file.actors[probe.actor]
    seen = sorted(
        {
            owner for text in outcome.rows for owner in _owners_in(world, text, each.told)
            if owner != probe.actor and not _together(world, owner, actor)
        }
    )  # fmt: skip
    if not seen or probe.relation in public:
        return None
    sample = next(t for t in sorted(outcome.rows) if _MARK.search(t) or seen)
    whose = " and ".join(f"{name}'s" for name in seen)
    return Hole(each.rule, probe.actor, probe.relation, f"read {whose} rows {each.what}",
                f"{probe.sql} -> {sample[:160]}")  # fmt: skip


def _short(sql: str) -> str:
    text = " ".join(sql.split())
    return f"let through: {text if len(text) <= 100 else text[:97] + '...'}"


def _owners_in(world: World, text: str, told: tuple[str, ...]) -> Iterator[str]:
    """Yield whose data a text holds, by marks and by users' ids."""
    for match in _MARK.finditer(text):
        if match[1] in world.file.actors:
            yield match[1]
    for name, actor in world.file.actors.items():
        user = str(actor.user)
        if len(user) > 30 and user in text and user not in told:
            yield name


def _together(world: World, owner: str, actor: Actor) -> bool:
    """Whether two belong to the same tenant."""
    return bool(set(world.file.actors[owner].tenants) & set(actor.tenants))


def _foreign(world: World, key: str, actor: Actor) -> Iterator[PlantedRow]:
    """Yield the rows of a relation that belong to other tenants' people."""
    for row in world.rows.get(key, ()):
        owner = world.file.actors.get(row.actor)
        if not row.values or owner is None or owner.user == actor.user:
            continue
        if not set(owner.tenants) & set(actor.tenants):
            yield row


def _own(world: World, key: str, name: str) -> PlantedRow | None:
    rows = world.rows.get(key, ())
    return next((row for row in rows if row.actor == name and row.values), None)


def _scoped(world: World, key: str) -> bool:
    links = world.model.links.get(key)
    return links is not None and "tenant" in links.rows


def _by_foreign_key(world: World, name: str, actor: Actor) -> Iterator[_Attack]:
    """Yield inserts of own rows that point at rows of another tenant's."""
    for relation in _tables(world):
        mine = _own(world, relation.key, name)
        if mine is None or not _scoped(world, relation.key):
            continue
        for key in relation.foreign_keys:
            if len(key.columns) != 1 or key.target == world.model.tenants:
                continue
            if (
                not _scoped(world, key.target)
                or key.columns[0] in world.model.links[relation.key].user
            ):
                continue
            parent = next(_foreign(world, key.target, actor), None)
            value = parent.values.get(key.target_columns[0]) if parent else None
            if value is None:
                continue
            row = {**mine.values, key.columns[0]: value}
            probe = adding(relation, name, actor, row=row, pattern="", verb="attack")
            yield _Attack(
                probe, "tenant-foreign-key",
                f"point {key.columns[0]} of its own rows at another tenant's {key.target}, "
                "and so learn which exist", warning=True,
            )  # fmt: skip


def _by_unique(world: World, name: str, actor: Actor) -> Iterator[_Attack]:
    """Yield inserts of own rows with a unique value of another tenant's."""
    for relation in _tables(world):
        mine = _own(world, relation.key, name)
        if mine is None or not _scoped(world, relation.key):
            continue
        links = world.model.links[relation.key]
        for unique in relation.uniques:
            kinds = [relation.column(each) for each in unique]
            if unique == relation.primary_key and all(
                c is not None and (c.base == "uuid" or c.category == "N") for c in kinds
            ):
                continue  # random, or a number that everybody can count
            if {links.tenant, *links.user} & set(unique):
                continue
            other = next(_foreign(world, relation.key, actor), None)
            if other is None or not all(each in other.values for each in unique):
                continue
            others = {c for u in relation.uniques if u != unique for c in u}
            fresh = {c: _other_key(relation, c, v) for c, v in mine.values.items() if c in others}
            row = {**mine.values, **fresh, **{each: other.values[each] for each in unique}}
            probe = adding(relation, name, actor, row=row, pattern="", verb="attack")
            yield _Attack(
                probe, "tenant-unique",
                f"learn by {', '.join(unique)} being taken what another tenant has in "
                f"{relation.key}", warning=True, wanted="23505",
            )  # fmt: skip


def _other_key(relation: Relation, name: str, value: str) -> str:
    column = relation.column(name)
    if column is None:
        return value
    if column.base == "uuid":
        return "gen_random_uuid()"
    if column.category == "N":
        return f"{value} + 50000"
    return value


def _by_view(world: World, name: str, actor: Actor) -> Iterator[_Attack]:
    for key in world.schema.exposed:
        relation = world.schema.relations[key]
        if relation.kind not in ("v", "m"):
            continue
        columns = relation.readable(actor.role)
        if not columns:
            continue
        row = ", ".join("t." + quote_identifier(each) for each in columns)
        sql = f"SELECT array_agg(ROW({row})::text) FROM (SELECT * FROM {relation.sql} LIMIT 500) t"
        if len(columns) < len(relation.columns):
            sql = f"SELECT array_agg(ROW({row})::text) FROM {relation.sql} t"
        yield _Attack(
            calling(name, actor, relation=key, sql=sql, after=""),
            "view-leak", "through the view",
        )  # fmt: skip


def _by_function(world: World, name: str, actor: Actor) -> Iterator[_Attack]:
    """Yield calls of every function that the API offers, with another tenant's values."""
    victim = next((a for n, a in world.file.actors.items()
                   if a.tenants and not set(a.tenants) & set(actor.tenants)), None)  # fmt: skip
    watched = _watch(world, actor)
    for function in world.schema.functions:
        if actor.role not in function.roles or function.returns_trigger:
            continue
        lists = [_values(world, function, arg, kind, victim, actor)
                 for arg, kind in function.arguments]  # fmt: skip
        for values in _combined(lists):
            call = f"{function.sql}({', '.join(values)})"
            sql = f"SELECT array_agg(f::text) FROM (SELECT * FROM {call} LIMIT 200) f"
            yield _Attack(
                calling(name, actor, relation=f"{function.schema}.{function.name}()", sql=sql,
                        after=watched),
                "function-leak",
                "by calling it", told=tuple(re.findall(r"'([^']*)'", call)),
            )  # fmt: skip


def _by_returning(world: World, name: str, actor: Actor) -> Iterator[_Attack]:
    """Yield writes that change nothing and ask for the rows back, less what a select shows."""
    for key in world.schema.exposed:
        relation = world.schema.relations[key]
        columns = relation.readable(actor.role)
        if not relation.writable or not columns:
            continue
        row = f"ROW({', '.join('t.' + quote_identifier(each) for each in columns)})::text"
        for write in _writes(world, relation, name, actor):
            # One statement: what is selected beside the write is what stood there before it.
            sql = (
                f"WITH w AS ({write} RETURNING {row} AS r) SELECT array_agg(r) FROM w "
                f"WHERE r NOT IN (SELECT {row} FROM {relation.sql} t)"
            )
            yield _Attack(
                calling(name, actor, relation=key, sql=sql, after=""),
                "returning-leak", f"by {write.split(maxsplit=1)[0]} ... RETURNING",
            )  # fmt: skip


def _writes(world: World, relation: Relation, name: str, actor: Actor) -> Iterator[str]:
    if relation.updatable:
        column = harmless_column(relation, actor.role, frozenset())
        if column is not None:
            same = quote_identifier(column.name)
            yield f"UPDATE {relation.sql} t SET {same} = t.{same}"
        yield f"DELETE FROM {relation.sql} t"
    mine = _own(world, relation.key, name)
    if mine is None or not relation.insertable:
        return
    unique = {column for each in relation.uniques for column in each}
    row = {c: _other_key(relation, c, v) if c in unique else v for c, v in mine.values.items()}
    probe = adding(relation, name, actor, row=row, pattern="")
    start = f"INSERT INTO {relation.sql}"
    yield f"{start} AS t{probe.sql.removeprefix(start)}"


def _combined(lists: list[list[str]]) -> list[tuple[str, ...]]:
    """Return combinations of arguments, those of the likeliest values first."""
    ranked = [list(enumerate(each)) if place < 4 else [(0, each[0])]
              for place, each in enumerate(lists)]  # fmt: skip
    found = sorted(itertools.product(*ranked), key=lambda row: sum(rank for rank, _ in row))
    return [tuple(value for _, value in row) for row in found[:_MOST_CALLS]]


def _values(
    world: World, function: Function, name: str, kind: str, victim: Actor | None, actor: Actor
) -> list[str]:
    """Return what to pass for an argument: the victim's values, the likeliest first."""
    found: list[str] = []
    bare = re.sub(r"^(p|_|in|arg|v)_|^_+", "", name.lower())
    # Least likely first: what fits better is put before it.
    for key in sorted(world.schema.exposed, key=lambda k: _speaks_of(function, world, k)):
        relation = world.schema.relations[key]
        single = re.sub(r"s$", "", relation.name)
        for row in itertools.islice(_foreign(world, key, actor), 1):
            for column in relation.columns:
                if not _same_kind(column.type, kind) or column.name not in row.values:
                    continue
                value = row.values[column.name]
                exact = bare in (column.name, f"{single}_{column.name}", single)
                found.insert(0, value) if exact else found.append(value)
    if victim is not None and kind in ("uuid", "text") and victim.user is not None:
        found.insert(0 if "user" in bare or "owner" in bare else len(found),
                     quote_literal(str(victim.user)))  # fmt: skip
    plain = {"boolean": "true", "jsonb": "'{}'", "json": "'{}'", "integer": "100", "text": "''",
             "bigint": "100"}.get(kind)  # fmt: skip
    if plain is not None:
        found.append(plain)
    unique = list(dict.fromkeys(found)) or ["NULL"]
    return [f"{value}::{kind}" for value in unique[:4]]


def _speaks_of(function: Function, world: World, key: str) -> bool:
    return bool(re.search(rf"\b{re.escape(world.schema.relations[key].name)}\b", function.body))


def _same_kind(column: str, kind: str) -> bool:
    if column == kind:
        return True
    texts = ("text", "character varying")
    numbers = ("integer", "bigint", "numeric")
    return (kind in texts and column.startswith(texts)) or (kind in numbers and column in numbers)


def _by_own_rights(world: World, name: str, actor: Actor) -> Iterator[_Attack]:
    """Yield updates by which a plain member makes itself an admin."""
    if actor.role != "authenticated" or name not in ("a", "b"):
        return
    for relation in _tables(world):
        links = world.model.links[relation.key]
        if not links.user:
            continue
        mine = _own(world, relation.key, name)
        if mine is None:
            continue
        for column, value in admin_columns(world.schema, world.model, relation):
            rights = world.file.tables.get(relation.key)
            if mine.values.get(column) == value or (rights and column in rights.open):
                continue
            sql = f"UPDATE {relation.sql} SET {quote_identifier(column)} = {value}"
            probe = calling(name, actor, relation=relation.key, sql=sql, after="")
            yield _Attack(
                Probe(**{**vars(probe), "kind": "write", "verb": "attack"}),
                "privilege-escalation", f"set its own {column} to {value}",
            )  # fmt: skip


def _tables(world: World) -> Iterator[Relation]:
    for key in world.schema.exposed:
        relation = world.schema.relations[key]
        if relation.kind in ("r", "p"):
            yield relation
