"""Read a live database as real people would: nothing is written, and no row is fetched.

The people are two tenants' members that the rows name, somebody unknown, and nobody. For each
relation a sample of rows that should be within reach and of rows that should not is known by
place; each actor then asks for just those. One short transaction a relation, read only, with a
time limit: a busy table is left alone and said to be unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import psycopg

from opsctl.adapters import postgres
from opsctl.adapters.sql import quote_identifier, quote_literal
from opsctl.areas.rls_smoke.actors import default_claims
from opsctl.areas.rls_smoke.facts import Relation, Schema
from opsctl.areas.rls_smoke.matrix import Cell, Expected, Matrix
from opsctl.areas.rls_smoke.policy_file import Actor, PolicyFile
from opsctl.areas.rls_smoke.probes import Outcome, Probe, ids_sql, reading, run_probes
from opsctl.areas.rls_smoke.script import rule_of
from opsctl.areas.rls_smoke.tenancy import Model
from opsctl.areas.rls_smoke.world import PlantedRow, World
from opsctl.core.errors import Exit, OpsError
from opsctl.core.report import Finding, Location, Status

SAMPLE = 200
"""Rows within reach, and as many out of it, that are asked for in each relation."""
TIMEOUT_MS = 2000
LOCK_TIMEOUT_MS = 100
_STRANGER = "cccccccc-0000-4000-8000-000000000001"


@dataclass(frozen=True)
class LiveLook:
    """What was read, and what could not be."""

    world: World
    matrix: Matrix
    unknown: tuple[Finding, ...]


def look_live(
    connection: postgres.Connection,
    schema: Schema,
    model: Model,
    file: PolicyFile,
    *,
    schemas: tuple[str, ...],
    inferred: bool,
) -> LiveLook:
    """Probe every exposed relation of a live database with reads.

    Raises OpsError `rls-oracle` (exit 3) where the connection's role is itself bound by policies
    or may not take on the API's roles.
    """
    _must_see_everything(connection, schema)
    people = _people(connection, schema, model, file)
    world = World(connection, schema, model, replace_actors(file, people), schemas, {}, {}, ())
    rows: dict[str, tuple[PlantedRow, ...]] = {}
    cells: list[Cell] = []
    left: list[Finding] = []
    count = 0
    for key in schema.exposed:
        relation = schema.relations[key]
        if relation.kind == "f" or not relation.columns:
            continue
        try:
            found, ids, asked = _relation(world, relation, inferred=inferred)
        except (psycopg.Error, OpsError) as error:
            why = error.why if isinstance(error, OpsError) else str(error.diag.message_primary)
            left.append(unknown(f"{key} was not read", why, key))
            continue
        count += asked
        cells += found
        rows[key] = tuple(PlantedRow(each, "", f"row {each}", {}) for each in sorted(ids))
        left += _too_few(world, relation, found)
    world = replace(world, rows=rows)
    return LiveLook(world, Matrix(tuple(cells), (), count, rows), tuple(left))


def replace_actors(file: PolicyFile, people: Mapping[str, Actor]) -> PolicyFile:
    """Return the file with other actors; rules for those who are not there are left out."""
    tables = {
        key: rules.model_copy(
            update={"may": {who: said for who, said in rules.may.items()
                            if who in people or who not in file.actors or who == "anon"}}
        )
        for key, rules in file.tables.items()
    }  # fmt: skip
    return file.model_copy(update={"actors": dict(people), "tables": tables})


def _relation(
    world: World, relation: Relation, *, inferred: bool
) -> tuple[list[Cell], frozenset[str], int]:
    """Return (cells, ids of the sample, number of probes) of one relation."""
    rules = {
        name: said
        for name in world.file.actors
        if (said := rule_of(world.file, world.model, relation.key, name, "select",
                            inferred=inferred)) is not None
    }  # fmt: skip
    if not rules:
        return [], frozenset(), 0
    wheres = list(dict.fromkeys(where for _, where in rules.values()))
    if not relation.has_ctid:
        return _by_condition(world, relation, rules)
    sample = sample_rows(world, relation, wheres, most=SAMPLE)
    listed = is_one_of(sample)
    probes = [
        Probe(relation.key, "", "rule", "rows",
              ids_sql(relation, where=f"({where}) AND {listed}"))
        for where in wheres
    ]  # fmt: skip
    actors = [(name, world.file.actors[name]) for name in rules]
    readings = [
        replace(reading(relation, name, actor), sql=ids_sql(relation, where=listed))
        for name, actor in actors
    ]
    outcomes = ask_live(world, [*probes, *readings])
    expected = dict(zip(wheres, (each.rows for each in outcomes), strict=False))
    cells = [
        Cell(
            relation.key, name, "select", outcome.rows & sample, sample,
            Expected(rules[name][0], expected[rules[name][1]], at_most=inferred),
            outcome.state, outcome.message, probe,
        )
        for (name, _), probe, outcome in zip(actors, readings, outcomes[len(wheres):], strict=True)
    ]  # fmt: skip
    return cells, sample, len(probes) + len(readings)


def sample_rows(
    world: World, relation: Relation, wheres: Sequence[str], *, most: int
) -> frozenset[str]:
    """Return the places of at most so many rows that fulfil each condition, and that do not.

    Raises OpsError `rls-sample` (exit 3).
    """
    parts = [
        f"(SELECT t.ctid::text AS i FROM {relation.sql} t WHERE {test} LIMIT {most})"
        for where in wheres
        for test in (f"({where})", f"NOT coalesce(({where}), false)")
    ]
    sql = f"SELECT array_agg(i) FROM ({' UNION '.join(parts)}) x"
    (outcome,) = ask_live(world, [Probe(relation.key, "", "sample", "rows", sql)])
    if outcome.state:
        raise OpsError(
            "The rows were not sampled",
            why=f"{outcome.message} ({outcome.state})",
            hint="opsctl rls-smoke check looks at a copy",
            code="rls-sample",
            exit=Exit.UNKNOWN,
        )
    return outcome.rows


def is_one_of(rows: frozenset[str]) -> str:
    """Return the condition that a row `t` lies at one of these places."""
    places = "{" + ",".join(f'"{each}"' for each in sorted(rows)) + "}"
    return f"t.ctid = ANY({quote_literal(places)}::tid[])"


def _by_condition(
    world: World, relation: Relation, rules: Mapping[str, tuple[str, str]]
) -> tuple[list[Cell], frozenset[str], int]:
    """Ask each actor for one row that its rule puts out of reach; for views and the like."""
    probes = []
    for name, (_, where) in rules.items():
        if re.search(r"\bselect\b", where, re.IGNORECASE):
            raise OpsError(
                "The rule cannot be asked of a view",
                why="its rule reads other tables, which the actor may not see",
                hint="opsctl rls-smoke check looks at it in a copy",
                code="rls-view",
                exit=Exit.UNKNOWN,
            )
        probe = reading(relation, name, world.file.actors[name])
        sql = (
            f"SELECT array_agg('foreign'::text) FROM (SELECT 1 FROM {relation.sql} t "
            f"WHERE NOT coalesce(({where}), false) LIMIT 1) x"
        )
        probes.append(replace(probe, sql=sql))
    outcomes = ask_live(world, probes)
    cells = [
        Cell(relation.key, name, "select", outcome.rows, frozenset({"foreign"}),
             Expected(rules[name][0], frozenset(), at_most=True), outcome.state, outcome.message,
             probe)
        for name, probe, outcome in zip(rules, probes, outcomes, strict=True)
    ]  # fmt: skip
    return cells, frozenset({"foreign"}), len(probes)


def ask_live(world: World, probes: list[Probe]) -> tuple[Outcome, ...]:
    """Carry out probes that read a live database, within limits of time."""
    limits = {"statement_timeout": TIMEOUT_MS, "lock_timeout": LOCK_TIMEOUT_MS}
    return run_probes(world.connection, probes, schemas=world.schemas, limits_ms=limits)


def _must_see_everything(connection: postgres.Connection, schema: Schema) -> None:
    row = connection.execute(
        "SELECT current_user, rolsuper OR rolbypassrls, (SELECT bool_and(pg_has_role(current_user, "
        "r.rolname, 'MEMBER')) FROM pg_roles r WHERE r.rolname IN ('anon', 'authenticated')) "
        "FROM pg_roles WHERE rolname = current_user"
    ).fetchone()
    user, bypasses, member = row if row else ("", False, False)
    if bypasses and member:
        return
    raise OpsError(
        "The live database cannot be judged with this role",
        why=f"{user} is bound by policies itself"
        if not bypasses
        else f"{user} may not take on anon and authenticated",
        hint="use the owner's URL (postgres), or opsctl rls-smoke check without --live",
        code="rls-oracle",
        exit=Exit.UNKNOWN,
    )


def _people(
    connection: postgres.Connection, schema: Schema, model: Model, file: PolicyFile
) -> dict[str, Actor]:
    """Return nobody, a stranger, and members of two tenants or two owners of rows."""
    found: dict[str, Actor] = {}
    if "anon" in schema.roles:
        found["anon"] = Actor(role="anon")
    if "authenticated" not in schema.roles:
        return found
    pairs = list(_two(connection, schema, model, file))
    tenants = tuple(each[1][0] for each in pairs if each[1])
    both = (tenants[0], tenants[1]) if len(tenants) == 2 else None
    for name, (user, mine) in zip(("a", "b"), pairs, strict=False):
        claims = default_claims(schema, name, mine[0] if mine else None, both)
        found[name] = Actor(role="authenticated", user=user, tenants=mine, claims=claims)
    found["guest"] = Actor(
        role="authenticated", user=_STRANGER, claims=default_claims(schema, "guest", None, both)
    )
    return found


def _two(
    connection: postgres.Connection, schema: Schema, model: Model, file: PolicyFile
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield (user, its tenants) of two people who share no tenant."""
    members = file.tenancy.members
    named = (members.table, members.user, members.tenant) if members else model.members
    if named is not None and named[0] in schema.relations:
        table = schema.relations[named[0]].sql
        user, tenant = quote_identifier(named[1]), quote_identifier(named[2])
        rows = connection.execute(
            f"SELECT {user}::text, array_agg(DISTINCT {tenant}::text) FROM (SELECT * FROM {table} "
            f"LIMIT 20000) t WHERE {user} IS NOT NULL AND {tenant} IS NOT NULL "
            f"GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 500".encode()
        ).fetchall()
    else:
        rows = []
        for key in schema.exposed:
            links = model.links.get(key)
            if links is None or not links.user or schema.relations[key].kind != "r":
                continue
            user = quote_identifier(links.user[0])
            rows = connection.execute(
                f"SELECT {user}::text, '{{}}'::text[] FROM (SELECT * FROM "
                f"{schema.relations[key].sql} LIMIT 20000) t WHERE {user} IS NOT NULL "
                f"GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 2".encode()
            ).fetchall()
            if len(rows) == 2:
                break
    if not rows:
        return
    first = rows[0]
    yield first[0], tuple(first[1])
    other = next((each for each in rows[1:] if not set(each[1]) & set(first[1])), None)
    if other is not None:
        yield other[0], tuple(other[1])


def _too_few(world: World, relation: Relation, cells: list[Cell]) -> Iterator[Finding]:
    """Yield an unknown where not both of two tenants have rows: isolation shows in nothing."""
    links = world.model.links.get(relation.key)
    if links is None or "tenant" not in links.rows or not relation.has_ctid:
        return
    both = [cell for cell in cells if cell.actor in ("a", "b") and cell.expected is not None]
    if len(both) < 2 or not all(cell.expected and cell.expected.rows for cell in both):
        yield unknown(
            f"Isolation of tenants is not known for {relation.key}",
            "fewer than two tenants have rows there", relation.key,
        )  # fmt: skip


def unknown(title: str, why: str, where: str) -> Finding:
    """Return the finding for what could not be asked."""
    return Finding(
        rule="rls-unknown",
        title=title,
        status=Status.UNKNOWN,
        evidence=" ".join(why.split()),
        location=Location(object=where),
        hint="opsctl rls-smoke check, without --live, tries it in a copy with made-up rows",
    )
