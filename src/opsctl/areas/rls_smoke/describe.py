"""Write down what a database does today, in the words of a policy file, and mark what looks wrong.

A rule is the simplest combination of row conditions (own, tenant, a flag) that gives every actor
of a role exactly the rows it reached. Where none does, the rule is `?` and somebody must say.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from opsctl.areas.rls_smoke.facts import Relation
from opsctl.areas.rls_smoke.matrix import Cell, Matrix
from opsctl.areas.rls_smoke.policy_file import UNKNOWN_RULE, VERBS, PolicyFile, condition
from opsctl.areas.rls_smoke.probes import Probe, ids_sql, run_probes
from opsctl.areas.rls_smoke.rows import role_conditions, varied_conditions
from opsctl.areas.rls_smoke.tenancy import quote
from opsctl.areas.rls_smoke.world import World

_Rows = frozenset[str]


@dataclass(frozen=True)
class Described:
    """The rules of one relation, as it behaves."""

    relation: str
    rows: Mapping[str, str]
    may: Mapping[str, Mapping[str, str]]
    """Role or actor -> verb -> rule; without what is none."""
    hidden: Mapping[str, tuple[str, ...]]
    marks: tuple[str, ...]
    """What looks wrong, a sentence each."""


def describe(world: World, matrix: Matrix) -> tuple[Described, ...]:
    """Return the rules of every relation in the order of their names."""
    cells: dict[str, list[Cell]] = {}
    for cell in matrix.cells:
        cells.setdefault(cell.relation, []).append(cell)
    words = _words(world, cells)
    found = _sets(world, words)
    return tuple(_relation(world, key, cells[key], words[key], found) for key in sorted(cells))


def write_policy_file(file: PolicyFile, described: Iterable[Described], *, about: str) -> str:
    """Return the text of a policy file."""
    lines = [
        "# Who may do what to which rows: the contract that opsctl rls-smoke checks.",
        f"# Written from what {about} does today. Correct what is wrong, then keep it in CI.",
        "#",
        "# A rule is none, all, words of `rows` joined by and, or, not, or an SQL condition on the",
        "# row's columns with :user and :tenants. What is not written here is not allowed.",
        "version: 1",
        "",
        "# Who calls the API. Rows are made up for everybody with a user.",
        "actors:",
    ]
    for name, actor in file.actors.items():
        fields = actor.model_dump(mode="json", exclude_defaults=True)
        lines.append(f"  {name}: {json.dumps(fields)}")
    tenancy = file.tenancy.model_dump(mode="json", exclude_none=True)
    if tenancy:
        lines += ["", "# Who belongs to which tenant; only --live asks.",
                  f"tenancy: {json.dumps(tenancy)}"]  # fmt: skip
    lines += ["", "tables:"]
    for each in described:
        lines += _table_lines(each)
    return "\n".join(lines) + "\n"


def _table_lines(each: Described) -> Iterator[str]:
    yield f"  {_scalar(each.relation)}:"
    for mark in each.marks:
        yield f"    # LOOKS WRONG: {mark}"
    if each.rows:
        yield "    rows:"
        for name, text in each.rows.items():
            yield f"      {name}: {_scalar(text)}"
    if not each.may:
        yield "    may: {}"
    else:
        yield "    may:"
        for who, verbs in each.may.items():
            if len(verbs) == len(VERBS) and set(verbs.values()) == {"all"}:
                yield f"      {who}: all"
                continue
            yield f"      {who}:"
            for verb, rule in verbs.items():
                yield f"        {verb}: {_scalar(rule)}"
    if each.hidden:
        yield "    hidden:"
        for role, names in each.hidden.items():
            yield f"      {role}: {json.dumps(list(names))}"


def _scalar(text: str) -> str:
    plain = all(ch.isalnum() or ch in " _." for ch in text) and text.strip() == text
    return text if plain and not text.replace(".", "").isdigit() else json.dumps(text)


def _relation(
    world: World,
    key: str,
    cells: list[Cell],
    words: Mapping[str, str],
    sets: Mapping[tuple[str, str, str], _Rows],
) -> Described:
    relation = world.schema.relations[key]
    may: dict[str, dict[str, str]] = {}
    unknown: list[str] = []
    for role in world.schema.roles:
        for verb in VERBS:
            mine = [c for c in cells if c.verb == verb and world.file.actors[c.actor].role == role]
            for who, rule in _rules(mine, role, words, sets):
                if rule == UNKNOWN_RULE:
                    unknown.append(f"{who} {verb}")
                if rule != "none" or who != role:
                    may.setdefault(who, {})[verb] = rule
    _fill_up(may, world)
    used = " ".join(rule for rules in may.values() for rule in rules.values()).split()
    rows = {n: t for n, t in words.items() if n in used or n in ("own", "tenant")}
    return Described(
        key, rows, may, _hidden(world, relation),
        tuple(_marks(world, relation, cells, may, sets, words)),
    )  # fmt: skip


def _fill_up(may: dict[str, dict[str, str]], world: World) -> None:
    """Give an actor's own entry every verb: it goes in the place of its role's."""
    for who, rules in may.items():
        actor = world.file.actors.get(who)
        if actor is None or who == actor.role:
            continue
        for verb in VERBS:
            rule = may.get(actor.role, {}).get(verb, "none")
            if verb not in rules and rule != "none":
                rules[verb] = rule
        may[who] = {verb: rules[verb] for verb in VERBS if verb in rules}


def _rules(
    cells: list[Cell],
    role: str,
    words: Mapping[str, str],
    sets: Mapping[tuple[str, str, str], _Rows],
) -> Iterator[tuple[str, str]]:
    """Yield (who, rule): one for the role, and others for actors that differ."""
    if not cells:
        return
    rule = _fit(cells, words, sets)
    if rule is not None:
        yield role, rule
        return
    for apart in (["admin"], ["guest"], ["admin", "guest"]):
        rest = [cell for cell in cells if cell.actor not in apart]
        if not rest or len(rest) == len(cells):
            continue
        rule = _fit(rest, words, sets)
        others = [(c.actor, _fit([c], words, sets)) for c in cells if c.actor in apart]
        if rule is not None and all(found is not None for _, found in others):
            yield role, rule
            yield from ((who, found or UNKNOWN_RULE) for who, found in others)
            return
    yield role, UNKNOWN_RULE


def _fit(
    cells: list[Cell], words: Mapping[str, str], sets: Mapping[tuple[str, str, str], _Rows]
) -> str | None:
    """Return the simplest rule that gives each cell its rows."""
    everything = cells[0].everything
    by_word = {
        word: [sets[cell.relation, cell.actor, word] & cell.everything for cell in cells]
        for word in words
    }
    wanted = [cell.got for cell in cells]
    if any(cell.strange for cell in cells):
        return None
    if not any(cell.everything for cell in cells):
        return "none" if all(cell.state for cell in cells) else UNKNOWN_RULE
    if all(not got for got in wanted):
        return "none"
    if all(cell.got == cell.everything for cell in cells) and everything:
        return "all"
    for text, rows in _combinations(by_word):
        if rows == wanted:
            return text
    return None


def _combinations(by_word: Mapping[str, list[_Rows]]) -> Iterator[tuple[str, list[_Rows]]]:
    def both(a: list[_Rows], b: list[_Rows]) -> list[_Rows]:
        return [x & y for x, y in zip(a, b, strict=True)]

    def either(a: list[_Rows], b: list[_Rows]) -> list[_Rows]:
        return [x | y for x, y in zip(a, b, strict=True)]

    yield from by_word.items()
    for (n1, r1), (n2, r2) in itertools.combinations(by_word.items(), 2):
        yield f"{n1} and {n2}", both(r1, r2)
        yield f"{n1} or {n2}", either(r1, r2)
    for (n1, r1), (n2, r2), (n3, r3) in itertools.combinations(by_word.items(), 3):
        yield f"{n1} and {n2} and {n3}", both(both(r1, r2), r3)
        yield f"{n1} or {n2} or {n3}", either(either(r1, r2), r3)
        yield f"{n1} or ({n2} and {n3})", either(r1, both(r2, r3))
        yield f"{n2} or ({n1} and {n3})", either(r2, both(r1, r3))
        yield f"{n3} or ({n1} and {n2})", either(r3, both(r1, r2))
        yield f"{n1} and ({n2} or {n3})", both(r1, either(r2, r3))
        yield f"{n2} and ({n1} or {n3})", both(r2, either(r1, r3))
        yield f"{n3} and ({n1} or {n2})", both(r3, either(r1, r2))


def _words(world: World, cells: Mapping[str, list[Cell]]) -> dict[str, dict[str, str]]:
    """Return the row conditions that rules may be made of, by relation."""
    found = {}
    for key in cells:
        relation = world.schema.relations[key]
        links = world.model.links[key]
        words = dict(links.rows)
        for column in links.user[1:3]:
            words[f"own_{_word(column)}"] = f"{quote(column)} = :user"
        for name, text in _shares(world, relation):
            words.setdefault(_word(name), text)
        for name, text in varied_conditions(world.schema, world.model, world.file, relation):
            words.setdefault(_word(name), text)
        found[key] = words
    return found


def _shares(world: World, relation: Relation) -> Iterator[tuple[str, str]]:
    """Yield the conditions by which a row is shared with a user in another table."""
    if relation.key == world.model.tenants:
        return
    for other in world.schema.relations.values():
        users = world.model.links[other.key].user if other.key in world.model.links else ()
        for key in other.foreign_keys:
            if key.target != relation.key or len(key.columns) != 1 or not users:
                continue
            if users[0] == key.columns[0] or other.primary_key == users:
                continue
            column, user = quote(key.columns[0]), quote(users[0])
            inner = f"select {column} from {other.sql_name} where {user} = :user"
            outer = quote(key.target_columns[0])
            yield f"in_{other.name}", f"{outer} in ({inner})"
            for role, value in role_conditions(world.schema, world.model, other):
                word = f"in_{other.name}_{value.strip(chr(39))}"
                yield word, f"{outer} in ({inner} and {quote(role)} = {value})"


def _word(text: str) -> str:
    word = "".join(ch if ch.isalnum() else "_" for ch in text.lower()).strip("_")[:30]
    return word if word[:1].isalpha() else f"x{word}"[:30]


def _sets(
    world: World, words: Mapping[str, Mapping[str, str]]
) -> dict[tuple[str, str, str], _Rows]:
    """Return the rows for which each condition holds, by (relation, actor, word)."""
    index: dict[tuple[str, str], int] = {}
    probes: list[Probe] = []
    where: dict[tuple[str, str, str], int] = {}
    for key, each in words.items():
        relation = world.schema.relations[key]
        for word in each:
            for name, actor in world.file.actors.items():
                text = condition(word, rows=each, actor=actor)
                if (key, text) not in index:
                    index[key, text] = len(probes)
                    probes.append(Probe(key, "", word, "rows", ids_sql(relation, where=text)))
                where[key, name, word] = index[key, text]
    outcomes = run_probes(world.connection, probes, schemas=world.schemas)
    return {place: outcomes[number].rows for place, number in where.items()}


def _hidden(world: World, relation: Relation) -> dict[str, tuple[str, ...]]:
    """Return the columns that a role cannot read, where it can read others."""
    found = {}
    for role in world.schema.roles:
        readable = relation.readable(role)
        rest = tuple(each.name for each in relation.columns if each.name not in readable)
        if readable and rest:
            found[role] = rest
    return found


def _marks(
    world: World,
    relation: Relation,
    cells: list[Cell],
    may: Mapping[str, Mapping[str, str]],
    sets: Mapping[tuple[str, str, str], _Rows],
    words: Mapping[str, str],
) -> Iterator[str]:
    """Yield what looks wrong, judged by whose the rows are."""
    owned = "own" in words or "tenant" in words
    anon = may.get("anon", {})
    if owned and anon.get("select") == "all":
        yield "anybody reads every row, though rows belong to somebody"
    writes = [verb for verb in VERBS[1:] if anon.get(verb, "none") != "none"]
    if writes:
        yield f"anybody may {' and '.join(writes)} without signing in"
    for cell in cells:
        actor = world.file.actors[cell.actor]
        if actor.role != "authenticated" or cell.actor not in ("a", "guest"):
            continue
        if "tenant" in words:
            foreign = cell.got - sets[relation.key, cell.actor, "tenant"]
            if foreign and may.get("anon", {}).get("select") != "all":
                yield f"{cell.actor} can {cell.verb} rows of tenants that it does not belong to"
        elif (
            "own" in words
            and cell.verb != "select"
            and cell.got - sets[relation.key, cell.actor, "own"]
        ):
            yield f"{cell.actor} can {cell.verb} rows that are not its own"
        if cell.given_away and cell.actor == "a":
            yield f"{cell.actor} can give rows away by {', '.join(sorted(cell.given_away))}"
        if cell.broken and cell.actor == "a":
            yield f"{cell.verb} ends in an error: {' '.join(cell.message.split())}"
    if not relation.row_security and relation.kind in ("r", "p") and any(
        relation.grants.get(role) for role in ("anon", "authenticated")
    ):  # fmt: skip
        yield "row-level security is off"
