"""Everything that is asked of a world: each actor's attempts, and what should come of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from opsctl.adapters.sql import quote_literal
from opsctl.areas.rls_smoke.facts import Relation
from opsctl.areas.rls_smoke.policy_file import UNKNOWN_RULE, VERBS, Actor, PolicyFile, condition
from opsctl.areas.rls_smoke.probes import (
    Probe,
    adding,
    changing,
    giving_away,
    ids_sql,
    reading,
    removing,
    row_id,
    visible_id,
)
from opsctl.areas.rls_smoke.tenancy import Model
from opsctl.areas.rls_smoke.world import PlantedRow, World

STILL_OWN = {"move": "update", "plant": "insert"}
"""Probes that make rows somebody else's, and the verb whose rule they are held against."""
PLAIN = ("true", "false")
"""Conditions of which it need not be asked which rows fulfil them."""
_OWN_PATTERNS = 4
"""Rows of its own that an actor tries to insert the like of; of others' it is one each."""


@dataclass(frozen=True)
class Script:
    """Everything that is asked, and where the answers go."""

    probes: tuple[Probe, ...]
    oracles: Mapping[tuple[str, str], int]
    """(relation, condition) -> index of its probe."""
    moves: Mapping[tuple[str, str, str], Probe]
    """(relation, actor, `verb column`) -> the oracle for rows it may still have."""
    hashes: Mapping[tuple[str, str], int]
    """(relation, role) -> index of the probe that tells what a role's row ids mean."""
    rules: Mapping[tuple[str, str, str], tuple[str, str] | None]
    """(relation, actor, verb) -> what `rule_of` says."""


def rule_of(
    file: PolicyFile, model: Model, relation: str, actor: str, verb: str, *, inferred: bool
) -> tuple[str, str] | None:
    """Return (rule, condition) for a cell; None where nobody says."""
    someone = file.actors[actor]
    if not inferred:
        rule = file.rule(relation, actor, verb)
        if rule is None or rule == UNKNOWN_RULE:
            return None
        return rule, condition(rule, rows=file.tables[relation].rows, actor=someone)
    rows = model.links[relation].rows if relation in model.links else {}
    if "tenant" not in rows or someone.role == "service_role":
        return None
    return "tenant", condition("tenant", rows=rows, actor=someone)


def write_script(world: World, *, inferred: bool) -> Script:
    """Return everything to ask of a world."""
    probes: list[Probe] = []
    oracles: dict[tuple[str, str], int] = {}
    moves: dict[tuple[str, str, str], Probe] = {}
    hashes: dict[tuple[str, str], int] = {}
    rules: dict[tuple[str, str, str], tuple[str, str] | None] = {}
    for key in world.schema.exposed:
        relation = world.schema.relations[key]
        if relation.kind == "f" or not relation.columns:
            continue
        for name, actor in world.file.actors.items():
            for verb in VERBS:
                said = rule_of(world.file, world.model, key, name, verb, inferred=inferred)
                rules[key, name, verb] = said
                if said is None or said[1] in PLAIN:
                    continue
                if (key, said[1]) not in oracles:
                    oracles[key, said[1]] = len(probes)
                    probes.append(Probe(key, "", f"rule {said[0]}", "rows",
                                        ids_sql(relation, where=said[1])))  # fmt: skip
            if (key, actor.role) not in hashes and visible_id(relation, actor.role) != row_id(
                relation
            ):
                hashes[key, actor.role] = len(probes)
                both = f"{visible_id(relation, actor.role)} || ' ' || {row_id(relation)}"
                probes.append(Probe(key, "", "hashes", "rows", ids_sql(relation, id_=both)))
            for probe in _attempts(world, relation, name, actor):
                if probe.verb in STILL_OWN:
                    said = rules[key, name, STILL_OWN[probe.verb]]
                    if said is None:
                        continue
                    moves[move_key(probe)] = _after_move(world, relation, probe, said[1])
                probes.append(probe)
    return Script(tuple(probes), oracles, moves, hashes, rules)


def move_key(probe: Probe) -> tuple[str, str, str]:
    """Return the key of a probe that makes rows somebody else's."""
    return probe.relation, probe.actor, f"{STILL_OWN.get(probe.verb, '')} {probe.target}"


def _attempts(world: World, relation: Relation, name: str, actor: Actor) -> list[Probe]:
    found = [reading(relation, name, actor)]
    if not relation.writable:
        return found
    links = world.model.links.get(relation.key)
    kept = kept_columns(world, relation)
    if relation.updatable:
        everything = world.everything(relation.key)
        found.append(changing(relation, name, actor, kept=kept, everything=everything))
        found.append(removing(relation, name, actor))
    for row in _patterns(world, relation, name):
        found.append(adding(relation, name, actor, row=row.values, pattern=row.id))
    if links is not None and relation.updatable and actor.user is not None:
        columns = dict.fromkeys((*([links.tenant] if links.tenant else []), *links.user[:2],
                                 *_leading(world, relation)))  # fmt: skip
        for column in columns:
            value = _foreign_value(world, relation, column, actor)
            if value is None:
                continue
            found.append(giving_away(relation, name, actor, column=column, value=value))
            mine = _own_row(world, relation, name, actor)
            if mine is not None and relation.insertable:
                values = {**mine, column: value}
                found.append(
                    adding(relation, name, actor, row=values, pattern=column, verb="plant")
                )
    return found


def _own_row(world: World, relation: Relation, name: str, actor: Actor) -> Mapping[str, str] | None:
    """Return a row of an actor's own, or somebody's with the actor as its user."""
    rows = [row for row in world.rows.get(relation.key, ()) if row.values]
    mine = [row for row in rows if row.actor == name]
    if mine:
        return mine[0].values
    users = world.model.links[relation.key].user
    if not rows or not users or actor.user is None:
        return None
    return {**rows[0].values, **{column: quote_literal(str(actor.user)) for column in users}}


def kept_columns(world: World, relation: Relation) -> frozenset[str]:
    """Return the columns on which rows' fate depends: a blind update leaves them alone."""
    links = world.model.links.get(relation.key)
    kept = set(links.user) if links else set()
    if links and links.tenant:
        kept.add(links.tenant)
    rules = world.file.tables.get(relation.key)
    texts = " ".join(
        [text for each in relation.policies for text in (each.using, each.check)]
        + (list(rules.rows.values()) if rules else [])
        + ([str(each) for each in rules.may.values()] if rules else [])
    )
    words = frozenset(texts.replace('"', " ").replace("(", " ").replace(")", " ")
                      .replace(".", " ").replace("=", " ").split())  # fmt: skip
    kept |= {column.name for column in relation.columns if column.name in words}
    return frozenset(kept)


def _patterns(world: World, relation: Relation, name: str) -> list[PlantedRow]:
    """Return the rows that an actor tries to insert the like of."""
    found: list[PlantedRow] = []
    for row in _insertable(world, relation):
        mine = row.actor == name
        already = sum(each.actor == row.actor for each in found)
        if already < (_OWN_PATTERNS if mine else 1):
            found.append(row)
    return found


def _insertable(world: World, relation: Relation) -> list[PlantedRow]:
    if not relation.insertable:
        return []
    rows = [row for row in world.rows.get(relation.key, ()) if row.values]
    return sorted(rows, key=lambda row: row.variant)


def _leading(world: World, relation: Relation) -> list[str]:
    """Return the keys by which a row without a tenant of its own belongs to one."""
    links = world.model.links[relation.key]
    if links.tenant is not None:
        return []
    return [
        key.columns[0] for key in relation.foreign_keys
        if len(key.columns) == 1 and key.target in world.model.links
        and world.model.links[key.target].rows and key.columns[0] not in links.user
    ]  # fmt: skip


def _foreign_value(world: World, relation: Relation, column: str, actor: Actor) -> str | None:
    """Return the value that a column has in a row of somebody of another tenant, or of another."""
    best = None
    for row in world.rows.get(relation.key, ()):
        owner = world.file.actors.get(row.actor)
        if owner is None or owner.user == actor.user or column not in row.values:
            continue
        if not set(owner.tenants) & set(actor.tenants):
            return row.values[column]
        best = best or row.values[column]
    links = world.model.links[relation.key]
    return best if column in links.user else None


def _after_move(world: World, relation: Relation, probe: Probe, where: str) -> Probe:
    """Return the oracle: which rows would be within an actor's reach as somebody else's."""
    actor = world.file.actors[probe.actor]
    value = _foreign_value(world, relation, probe.target, actor)
    changed = {probe.target: value}
    source = f"{relation.sql} t"
    if probe.verb == "plant":
        row = _own_row(world, relation, probe.actor, actor) or {}
        changed = {**row, probe.target: value}
        source = f"(SELECT * FROM {relation.sql} LIMIT 1) t"
    pairs = ", ".join(
        f"{quote_literal(name)}, {text}" for name, text in changed.items() if text is not None
    )
    sql = (
        f"SELECT array_agg(1) FROM (SELECT r.* FROM {source}, LATERAL "
        f"pg_catalog.jsonb_populate_record(NULL::{relation.sql}, "
        f"pg_catalog.to_jsonb(t) || pg_catalog.jsonb_build_object({pairs})) r) t WHERE {where}"
    )
    return Probe(relation.key, "", "after a move", "rows", sql)
