"""Try writes on live rows, when asked: each row alone, each try undone at once.

The rows are a few within reach and a few out of it. A row is named by a cursor that the owner has
opened, so that a write needs no right to read and meets the policies of its own verb alone, as a
blind one does. Triggers and foreign keys stay still where the role may say so; where it may not,
tables with triggers are left alone. One short transaction a table and an actor: nobody waits for
it longer than `HOLD_MS`. What an undone write leaves is a dead row version, for vacuum.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from opsctl.adapters import postgres
from opsctl.adapters.sql import quote_identifier, quote_literal
from opsctl.areas.rls_smoke.facts import Relation
from opsctl.areas.rls_smoke.live import (
    LOCK_TIMEOUT_MS,
    ask_live,
    is_one_of,
    sample_rows,
    unknown,
)
from opsctl.areas.rls_smoke.matrix import Cell, Expected
from opsctl.areas.rls_smoke.policy_file import Actor, actor_claims
from opsctl.areas.rls_smoke.probes import (
    Outcome,
    Probe,
    carry_out,
    harmless_column,
    harmless_value,
    ids_sql,
)
from opsctl.areas.rls_smoke.script import kept_columns, rule_of
from opsctl.areas.rls_smoke.world import World
from opsctl.core.errors import OpsError
from opsctl.core.report import Finding

SAMPLE = 4
"""Rows within reach of each rule, and as many out of it, that are tried in each table."""
HOLD_MS = 90
"""What a transaction may last: it locks rows, and others are to wait less than 100 ms."""
_HELD = ("55P03", "40P01", "40001")
"""SQLSTATEs of a row that somebody else is at work on."""
_WRITES = ("insert", "update", "delete")


@dataclass(frozen=True)
class LiveWrites:
    """What was tried, and what could not be."""

    cells: tuple[Cell, ...]
    unknown: tuple[Finding, ...]
    tries: int


@dataclass(frozen=True)
class _Limits:
    """What the role may do about triggers, and which tables have what cannot be kept still."""

    still: bool
    rules: frozenset[int]
    """Oids of tables with rules beside their own."""
    always: frozenset[int]
    """Oids of tables with triggers that fire in any case."""
    referred: frozenset[int]
    """Oids of tables that foreign keys point at: a delete goes on to where they stand."""


@dataclass(frozen=True)
class _Tried:
    got: Mapping[str, frozenset[str]]
    """Verb -> rows that were written."""
    gone: frozenset[str]
    """Rows that somebody else changed, removed or held meanwhile."""
    errors: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Verb -> SQLSTATE and message that no caller should meet."""


def try_live(world: World, *, inferred: bool, hold_ms: int = HOLD_MS) -> LiveWrites:
    """Try inserts, updates and deletes on the tables of a live database.

    `world` is that of `live.look_live`, on a connection that may write.
    """
    limits = _limits(world.connection)
    cells: list[Cell] = []
    left: list[Finding] = []
    tries = 0
    for key in world.schema.exposed:
        relation = world.schema.relations[key]
        # Only a plain table's rows are known by their place; the copy tries the others.
        if not (relation.writable and relation.has_ctid):
            continue
        rules = _rules(world, key, inferred=inferred)
        if not rules:
            continue
        why = _in_the_way(relation, limits)
        if not why:
            try:
                found, count = _relation(world, relation, rules, limits, hold_ms, inferred=inferred)
            except OpsError as error:
                why = error.why
            else:
                cells += found
                tries += count
        if why:
            left.append(unknown(f"No write was tried on {key}", why, key))
    return LiveWrites(tuple(cells), tuple(left), tries)


def _limits(connection: postgres.Connection) -> _Limits:
    row = connection.execute(
        b"SELECT ARRAY(SELECT DISTINCT ev_class::int8 FROM pg_rewrite WHERE ev_type <> '1'), "
        b"ARRAY(SELECT DISTINCT tgrelid::int8 FROM pg_trigger WHERE tgenabled IN ('A', 'R') "
        b"AND NOT tgisinternal), "
        b"ARRAY(SELECT DISTINCT confrelid::int8 FROM pg_constraint WHERE contype = 'f')"
    ).fetchone()
    if row is None:
        raise TypeError("a select without FROM has one row")
    return _Limits(_may_keep_still(connection), *(frozenset(each) for each in row))


def _may_keep_still(connection: postgres.Connection) -> bool:
    """Whether the role may keep triggers still: tried, for an extension may allow it as well."""
    import psycopg

    try:
        connection.execute(b"BEGIN; SET LOCAL session_replication_role = replica; ROLLBACK")
    except psycopg.errors.InsufficientPrivilege:
        connection.execute(b"ROLLBACK")
        return False
    return True


def _in_the_way(relation: Relation, limits: _Limits) -> str:
    """Return why a table is left alone; empty where it is not."""
    if relation.oid in limits.rules:
        return "it has rules, which would be carried out, too"
    if relation.oid in limits.always:
        return "it has triggers that fire in any case"
    if limits.still:
        return ""
    if relation.triggers:
        names = ", ".join(each.name for each in relation.triggers)
        return f"its triggers would fire, for this role may not keep them still: {names}"
    if relation.oid in limits.referred:
        return "other tables refer to it, and this role may not keep their triggers still"
    return ""


def _rules(world: World, key: str, *, inferred: bool) -> dict[tuple[str, str], tuple[str, str]]:
    """Return (actor, verb) -> (rule, condition) of what is judged."""
    return {
        (name, verb): said
        for name in world.file.actors
        for verb in _WRITES
        if (said := rule_of(world.file, world.model, key, name, verb, inferred=inferred))
    }


def _relation(
    world: World,
    relation: Relation,
    rules: Mapping[tuple[str, str], tuple[str, str]],
    limits: _Limits,
    hold_ms: int,
    *,
    inferred: bool,
) -> tuple[list[Cell], int]:
    """Return (cells, number of tries) of one table; raises OpsError where it takes too long."""
    wheres = list(dict.fromkeys(where for _, where in rules.values()))
    sample = sample_rows(world, relation, wheres, most=SAMPLE)
    if not sample:
        return [], 0
    expected = _expected(world, relation, wheres, sample)
    cells: list[Cell] = []
    tries = 0
    for name, actor in world.file.actors.items():
        statements = {
            verb: sql for verb, sql in _statements(world, relation, actor) if (name, verb) in rules
        }
        if not statements:
            continue
        tried = _try(world, relation, name, actor, statements, sample, limits, hold_ms)
        tries += len(statements) * len(sample)
        there = sample - tried.gone
        for verb, sql in statements.items():
            rule, where = rules[name, verb]
            state, message = tried.errors.get(verb, ("", ""))
            cells.append(
                Cell(
                    relation.key, name, verb, tried.got[verb] & there, there,
                    Expected(rule, expected[where] & there, at_most=inferred), state, message,
                    Probe(relation.key, name, verb, "write", sql),
                )
            )  # fmt: skip
    return cells, tries


def _expected(
    world: World, relation: Relation, wheres: list[str], sample: frozenset[str]
) -> dict[str, frozenset[str]]:
    listed = is_one_of(sample)
    outcomes = ask_live(world, [
        Probe(relation.key, "", "rule", "rows", ids_sql(relation, where=f"({where}) AND {listed}"))
        for where in wheres
    ])  # fmt: skip
    return dict(zip(wheres, (each.rows for each in outcomes), strict=True))


def _statements(world: World, relation: Relation, actor: Actor) -> Iterator[tuple[str, str]]:
    """Yield (verb, statement); `$1` of an insert is the pattern's row as jsonb."""
    allowed = relation.column_grants.get(actor.role, {}).get("INSERT", frozenset())
    given = [c for c in relation.columns if not c.generated and (not allowed or c.name in allowed)]
    left = [c for c in relation.columns if c not in given and not c.generated]
    # A column that is left out takes its default, and a sequence is never moved back.
    if given and not any(c.identity or "nextval(" in c.default for c in left):
        names = ", ".join(quote_identifier(c.name) for c in given)
        overriding = " OVERRIDING SYSTEM VALUE" if any(c.identity for c in given) else ""
        yield (
            "insert",
            (
                f"INSERT INTO {relation.sql} ({names}){overriding} SELECT {names} "
                f"FROM pg_catalog.jsonb_populate_record(NULL::{relation.sql}, $1)"
            ),
        )
    column = harmless_column(relation, actor.role, kept_columns(world, relation))
    if column is not None:
        value = harmless_value(column)
        yield "update", f"UPDATE {relation.sql} SET {quote_identifier(column.name)} = {value}"
    yield "delete", f"DELETE FROM {relation.sql}"


def _try(
    world: World,
    relation: Relation,
    name: str,
    actor: Actor,
    statements: Mapping[str, str],
    sample: frozenset[str],
    limits: _Limits,
    hold_ms: int,
) -> _Tried:
    asked = json.dumps({
        "role": actor.role, "claims": json.dumps(actor_claims(name, actor)),
        "table": relation.sql, "ids": sorted(sample),
        "statements": [{"v": verb, "q": sql} for verb, sql in statements.items()],
    })  # fmt: skip
    answer = carry_out(
        world.connection,
        _BLOCK.replace("@asked@", quote_literal(asked)),
        schemas=world.schemas,
        settings={
            "statement_timeout": str(hold_ms),
            "lock_timeout": str(LOCK_TIMEOUT_MS),
            **({"session_replication_role": "replica"} if limits.still else {}),
        },
    )
    return _read(json.loads(answer), statements, sample)


def _read(found: Mapping[str, Any], statements: Iterable[str], sample: frozenset[str]) -> _Tried:
    got: dict[str, set[str]] = {verb: set() for verb in statements}
    gone = set(sample - frozenset(found["present"]))
    errors: dict[str, tuple[str, str]] = {}
    for verb, id_, count, state, message in found["tries"]:
        outcome = Outcome(state or "", message or "", count)
        if state in _HELD:
            gone.add(id_)
        elif outcome.broken:
            errors[verb] = (state, message or "")
        elif outcome.admitted and (count or state):
            got[verb].add(id_)
    return _Tried({verb: frozenset(ids) for verb, ids in got.items()}, frozenset(gone), errors)


_BLOCK = """
DECLARE
  asked jsonb := @asked@; one record; id text; pattern jsonb; n bigint; state text; message text;
  here refcursor; tries text[] := '{}'; present text[];
BEGIN
  FOR id IN SELECT pg_catalog.jsonb_array_elements_text(asked -> 'ids') LOOP
    FOR one IN SELECT * FROM pg_catalog.jsonb_to_recordset(asked -> 'statements')
      AS x(v text, q text)
    LOOP
      state := NULL; message := NULL; n := 0;
      BEGIN
        IF one.v = 'insert' THEN
          EXECUTE 'SELECT pg_catalog.to_jsonb(t) FROM ' || (asked ->> 'table')
            || ' t WHERE t.ctid = ' || pg_catalog.quote_literal(id) INTO pattern;
        ELSE
          here := 'opsctl_row';
          OPEN here FOR EXECUTE 'SELECT 1 FROM ' || (asked ->> 'table')
            || ' t WHERE t.ctid = ' || pg_catalog.quote_literal(id);
          FETCH here INTO n;
          n := 0;
        END IF;
        PERFORM pg_catalog.set_config('request.jwt.claims', asked ->> 'claims', true),
                pg_catalog.set_config('role', asked ->> 'role', true);
        IF one.v = 'insert' THEN
          EXECUTE one.q USING pattern;
        ELSE
          EXECUTE one.q || ' WHERE CURRENT OF opsctl_row';
        END IF;
        GET DIAGNOSTICS n = ROW_COUNT;
        RAISE EXCEPTION USING ERRCODE = 'OC002';
      EXCEPTION
        WHEN SQLSTATE 'OC002' THEN NULL;
        WHEN OTHERS THEN GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT;
      END;
      tries := tries
        || pg_catalog.json_build_array(one.v, id, n, state, left(message, 300))::text;
    END LOOP;
  END LOOP;
  EXECUTE 'SELECT array_agg(t.ctid::text) FROM ' || (asked ->> 'table')
    || ' t WHERE t.ctid = ANY($1::tid[])'
    INTO present USING ARRAY(SELECT pg_catalog.jsonb_array_elements_text(asked -> 'ids'));
  PERFORM pg_catalog.set_config('opsctl.outcomes', pg_catalog.json_build_object(
    'tries', ('[' || pg_catalog.array_to_string(tries, ',') || ']')::json,
    'present', coalesce(pg_catalog.to_json(present), '[]'::json))::text, true);
END
"""
