"""Weaken each policy in turn and see whether the policy file notices.

Every mutant lives in a subtransaction of the scratch copy: the policy is changed, the probes of
what it can matter to are run again, and it is undone. A mutant under which a judged cell changes
is noticed. One under which only unjudged cells change is a gap in the file. One under which
nothing changes is either no change at all, or the rows cannot tell.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from opsctl.adapters.sql import quote_identifier, quote_literal
from opsctl.areas.rls_smoke.facts import Schema
from opsctl.areas.rls_smoke.matrix import Cell, Matrix
from opsctl.areas.rls_smoke.probes import Probe, dollar
from opsctl.areas.rls_smoke.script import Script, write_script
from opsctl.areas.rls_smoke.weaken import Mutant, make_mutants
from opsctl.areas.rls_smoke.world import World
from opsctl.core.errors import Exit, OpsError
from opsctl.core.report import Finding, Location, Severity, Status, Table

NOTICED, UNNOTICED, SAME, REFUSED = "noticed", "unnoticed", "same", "refused"

_VERBS = {
    "r": {"select"},
    "a": {"insert", "plant"},
    "w": {"update", "move"},
    "d": {"delete"},
}


@dataclass(frozen=True)
class Tested:
    """What became of every mutant."""

    outcomes: tuple[tuple[Mutant, str, str], ...]
    """(mutant, outcome, where it was seen)."""

    def count(self, outcome: str) -> int:
        """Return how many ended so."""
        return sum(each == outcome for _, each, _ in self.outcomes)

    @property
    def score(self) -> float | None:
        """The share noticed of those that changed anything; None where none did."""
        told = self.count(NOTICED) + self.count(UNNOTICED)
        return self.count(NOTICED) / told if told else None

    @property
    def table(self) -> Table:
        """What no rule judges, and what the database refused."""
        return Table(
            "Mutants that were not noticed",
            ("relation", "policy", "change", "what happened"),
            tuple(
                (mutant.relation, mutant.policy or "-", mutant.change,
                 f"{where} changed; no rule judges it" if outcome == UNNOTICED else where)
                for mutant, outcome, where in self.outcomes if outcome in (UNNOTICED, REFUSED)
            ),
        )  # fmt: skip

    @property
    def note(self) -> str:
        """The counts, for a person."""
        score = "unknown" if self.score is None else f"{self.score:.0%}"
        return (
            f"{len(self.outcomes)} weakened policies: {self.count(NOTICED)} noticed, "
            f"{self.count(UNNOTICED)} not; score {score}. {self.count(SAME)} change nothing that "
            "these rows show, such as TO public where the condition asks who is signed in"
        )

    @property
    def data(self) -> dict[str, object]:
        """The same as plain data."""
        return {
            "mutants": len(self.outcomes),
            "noticed": self.count(NOTICED),
            "unnoticed": self.count(UNNOTICED),
            "same": self.count(SAME),
            "refused": self.count(REFUSED),
            "score": None if self.score is None else round(self.score, 4),
            "survivors": [
                {"relation": m.relation, "policy": m.policy, "change": m.change, "outcome": outcome,
                 "where": where}
                for m, outcome, where in self.outcomes if outcome != NOTICED
            ],
        }  # fmt: skip


def run_mutants(world: World, matrix: Matrix, *, inferred: bool) -> Tested:
    """Test every mutant of every exposed relation's policies; one round trip."""
    mutants = tuple(
        mutant
        for key in world.schema.exposed
        for mutant in make_mutants(world.schema.relations[key])
    )
    script = write_script(world, inferred=inferred)
    cells = {(cell.relation, cell.actor, cell.verb): cell for cell in matrix.cells}
    probes = [p for p in script.probes if p.actor and p.role not in world.schema.bypassing]
    plain = [_plain(world, probe, cells, script) for probe in probes]
    touched = _dependents(world.schema)
    places: dict[str, list[int]] = {}
    for index, probe in enumerate(probes):
        places.setdefault(probe.relation, []).append(index)
    held = _rights(world)
    callers_alone = _callers_alone(world)
    orders = []
    for mutant in mutants:
        verbs = _VERBS.get(mutant.command)
        own = [
            i for i in places.get(mutant.relation, ())
            if (not verbs or probes[i].verb in verbs) and mutant.matters_to(held[probes[i].role])
        ]  # fmt: skip
        rest = [
            i for key in sorted(touched[mutant.relation]) for i in places.get(key, ())
            if not callers_alone or mutant.matters_to(held[probes[i].role])
        ]  # fmt: skip
        # The judged first: one of them ends it.
        orders.append(sorted(own, key=lambda i: not plain[i]["j"]) + rest)
    found = _run(world, plain, mutants, orders)
    return Tested(
        tuple(
            (mutant, outcome, _where(probes, place) if isinstance(place, int) else str(place or ""))
            for mutant, (outcome, place) in zip(mutants, found, strict=True)
        )
    )


def judge_mutants(tested: Tested) -> tuple[Finding, ...]:
    """Return the findings: gaps in the policy file, and the score."""
    found = []
    by_relation: dict[str, list[tuple[Mutant, str]]] = {}
    for mutant, outcome, where in tested.outcomes:
        if outcome == UNNOTICED:
            by_relation.setdefault(mutant.relation, []).append((mutant, where))
    for key, survivors in by_relation.items():
        mutant, where = survivors[0]
        found.append(
            Finding(
                rule="rls-mutant",
                title=f"{len(survivors)} weakened policies of {key} would not be noticed",
                status=Status.FAILED,
                evidence=f"{mutant.policy or 'the table'}: {mutant.change}: changes {where}, "
                "which no rule of the policy file judges",
                location=Location(object=key),
                hint="write the missing rules into the policy file; "
                "opsctl rls-smoke init shows them",
            )
        )
    score = tested.score
    if score is None:
        found.append(
            Finding(
                rule="rls-mutant",
                title="Whether the policy file would notice a weakened policy is not known",
                status=Status.UNKNOWN,
                evidence=f"none of {len(tested.outcomes)} mutants changed anything",
                hint="are there policies on exposed tables, and rows to tell them by?",
            )
        )
    elif not by_relation:
        found.append(
            Finding(
                rule="rls-mutant",
                title=f"Every one of {tested.count(NOTICED)} weakened policies was noticed",
                status=Status.OK,
                severity=Severity.ERROR,
                evidence=f"{len(tested.outcomes)} mutants; {tested.count(SAME)} change nothing "
                "that these rows show",
            )
        )
    return tuple(found)


def _rights(world: World) -> dict[str, frozenset[str]]:
    """Return for each role all roles whose policies are for it, too: itself and what it has."""
    names = sorted({actor.role for actor in world.file.actors.values()})
    rows = world.connection.execute(
        "SELECT a.rolname, array_agg(b.rolname::text) FROM pg_roles a, pg_roles b "
        "WHERE a.rolname = ANY (%s) AND pg_has_role(a.oid, b.oid, 'USAGE') GROUP BY 1",
        (names,),
    )
    return {name: frozenset(roles) for name, roles in rows}


def _callers_alone(world: World) -> bool:
    """Whether policies bind nobody but who calls: what runs as its owner passes them by."""
    row = world.connection.execute(
        "SELECT NOT EXISTS (SELECT FROM pg_roles r WHERE NOT rolsuper AND NOT rolbypassrls AND ("
        "r.oid IN (SELECT proowner FROM pg_proc WHERE prosecdef) OR "
        "r.oid IN (SELECT relowner FROM pg_class WHERE relkind IN ('v', 'm'))))"
    ).fetchone()
    return bool(row and row[0])


def _plain(
    world: World, probe: Probe, cells: Mapping[tuple[str, str, str], Cell], script: Script
) -> dict[str, object]:
    """Return a probe as the block reads it: j judged, x what it may reach, u all rows."""
    verb = {"move": "update", "plant": "insert"}.get(probe.verb, probe.verb)
    cell = cells.get((probe.relation, probe.actor, verb))
    judged = cell is not None and cell.expected is not None and not cell.wrong
    most = None
    if judged and cell is not None and cell.expected is not None and cell.expected.at_most:
        most = sorted(cell.expected.rows)
    if probe.verb in ("move", "plant"):
        most = None
    return {
        "r": probe.role, "c": probe.claims, "k": probe.verb, "q": probe.sql,
        "a": probe.after or None, "i": probe.id_ or None, "w": probe.within or None,
        "g": f"{probe.relation} {probe.actor}" if probe.within else None,
        "l": probe.everything is not None, "j": judged, "x": most, "t": probe.target,
        "u": sorted(world.everything(probe.relation)),
    }  # fmt: skip


def _dependents(schema: Schema) -> dict[str, frozenset[str]]:
    """Return for each relation the others whose policies or queries read it, directly or not."""
    texts = {
        key: " ".join([t for p in each.policies for t in (p.using, p.check)] + [each.definition])
        for key, each in schema.relations.items()
    }
    whole = {key: _with_bodies(text, schema.bodies) for key, text in texts.items()}
    direct = {
        key: {
            other for other, text in whole.items()
            if other != key and (re.search(rf"\b{re.escape(each.name)}\b", text)
                                 or key in schema.relations[other].reads)
        }
        for key, each in schema.relations.items()
    }  # fmt: skip
    found = {}
    for key in schema.relations:
        seen: set[str] = set()
        queue = [key]
        while queue:
            for other in direct[queue.pop()] - seen - {key}:
                seen.add(other)
                queue.append(other)
        found[key] = frozenset(seen)
    return found


def _with_bodies(text: str, bodies: Mapping[str, str]) -> str:
    """Return a text with the source of every function that it calls, and so on."""
    seen: set[str] = set()
    grown = True
    while grown:
        more = {n for n in bodies if n not in seen and re.search(rf"\b{re.escape(n)}\b", text)}
        grown = bool(more)
        seen |= more
        text += " ".join(f" {bodies[name]}" for name in more)
    return text


def _run(
    world: World,
    probes: list[dict[str, object]],
    mutants: tuple[Mutant, ...],
    orders: list[list[int]],
) -> list[tuple[str, object]]:
    import psycopg

    path = ", ".join(quote_identifier(name) for name in (*world.schemas, "extensions"))
    todo = [{"q": m.sql, "p": order} for m, order in zip(mutants, orders, strict=True)]
    block = _BLOCK.replace("@probes@", quote_literal(json.dumps(probes)))
    block = block.replace("@mutants@", quote_literal(json.dumps(todo)))
    script = (
        "BEGIN; SET LOCAL client_min_messages = error; "
        f"SET LOCAL search_path = {path};\nDO {dollar(block)};\n"
        "SELECT current_setting('opsctl.outcomes'); ROLLBACK"
    )
    answer = None
    try:
        world.connection.execute(_HELPER.encode())
        cursor = world.connection.execute(script.encode())
        while True:
            if cursor.description is not None:
                answer = cursor.fetchone()
            if not cursor.nextset():
                break
    except psycopg.Error as error:
        world.connection.execute("ROLLBACK")
        raise OpsError(
            "The mutants could not be tested",
            why=f"{error.diag.message_primary or type(error).__name__} ({error.sqlstate})",
            hint="opsctl rls-smoke check without --mutate",
            code="mutants-failed",
            exit=Exit.UNKNOWN,
        ) from None
    return [(each[0], each[1]) for each in json.loads(answer[0])] if answer else []


def _where(probes: list[Probe], place: int) -> str:
    probe = probes[place]
    return f"{probe.verb} of {probe.relation} by {probe.actor}"


# What a probe reached, as one text: rows joined by semicolons, `in` for an insert, or an error.
_HELPER = """
CREATE OR REPLACE FUNCTION pg_temp.opsctl_reach(p jsonb) RETURNS text LANGUAGE plpgsql AS $opsctl$
DECLARE
  n bigint := 0; seen text[]; reached text; state text; message text; kind text := p ->> 'k';
  ids text[]; row_id text;
BEGIN
  BEGIN
    PERFORM pg_catalog.set_config('request.jwt.claims', p ->> 'c', true),
            pg_catalog.set_config('role', p ->> 'r', true);
    IF kind = 'select' THEN
      EXECUTE p ->> 'q' INTO seen;
      reached := (SELECT pg_catalog.string_agg(s, ';' ORDER BY s) FROM pg_catalog.unnest(seen) s);
    ELSE
      EXECUTE p ->> 'q';
      GET DIAGNOSTICS n = ROW_COUNT;
      IF n > 0 AND kind IN ('insert', 'plant') THEN
        reached := coalesce(nullif(p ->> 't', ''), 'in');
      ELSIF n > 0 THEN
        PERFORM pg_catalog.set_config('role', 'none', true);
        EXECUTE p ->> 'a' INTO seen;
        reached := (SELECT pg_catalog.string_agg(u, ';' ORDER BY u)
          FROM pg_catalog.jsonb_array_elements_text(p -> 'u') u WHERE u <> ALL (coalesce(seen, '{}')));
      END IF;
    END IF;
    RAISE EXCEPTION USING ERRCODE = 'OC002';
  EXCEPTION
    WHEN SQLSTATE 'OC002' THEN NULL;
    WHEN OTHERS THEN GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT;
  END;
  IF (p ->> 'l')::boolean THEN
    PERFORM pg_catalog.set_config('opsctl.touched_by',
              CASE WHEN state IS NULL THEN p ->> 'g' ELSE '' END, true),
            pg_catalog.set_config('opsctl.touched', coalesce(reached, ''), true);
  END IF;
  IF state IS NULL THEN RETURN coalesce(reached, ''); END IF;
  IF state LIKE '23%' AND kind IN ('insert', 'plant') THEN
    RETURN coalesce(nullif(p ->> 't', ''), 'in');
  END IF;
  IF state NOT IN ('42501', 'P0001') AND state NOT LIKE '23%' THEN RETURN 'error ' || state; END IF;
  IF p ->> 'i' IS NOT NULL AND message !~ '^permission denied' THEN
    IF p ->> 'g' = pg_catalog.current_setting('opsctl.touched_by', true) THEN
      ids := pg_catalog.string_to_array(pg_catalog.current_setting('opsctl.touched'), ';');
      IF state = '42501' AND pg_catalog.cardinality(ids) < 2 THEN RETURN ''; END IF;
    ELSIF p ->> 'w' IS NOT NULL THEN
      BEGIN
        PERFORM pg_catalog.set_config('request.jwt.claims', p ->> 'c', true),
                pg_catalog.set_config('role', p ->> 'r', true);
        EXECUTE p ->> 'w' INTO ids;
        ids := coalesce(ids, '{}');
        RAISE EXCEPTION USING ERRCODE = 'OC002';
      EXCEPTION
        WHEN SQLSTATE 'OC002' THEN NULL;
        WHEN OTHERS THEN ids := NULL;
      END;
    END IF;
    IF ids IS NULL THEN EXECUTE p ->> 'a' INTO ids; END IF;
    seen := '{}';
    FOREACH row_id IN ARRAY coalesce(ids, '{}') LOOP
      BEGIN
        PERFORM pg_catalog.set_config('request.jwt.claims', p ->> 'c', true),
                pg_catalog.set_config('role', p ->> 'r', true);
        EXECUTE (p ->> 'q') || ' WHERE ' || (p ->> 'i') || ' = ' || pg_catalog.quote_literal(row_id);
        GET DIAGNOSTICS n = ROW_COUNT;
        IF n > 0 THEN seen := seen || row_id; END IF;
        RAISE EXCEPTION USING ERRCODE = 'OC002';
      EXCEPTION
        WHEN SQLSTATE 'OC002' THEN NULL;
        WHEN integrity_constraint_violation THEN seen := seen || row_id;
        WHEN OTHERS THEN NULL;
      END;
    END LOOP;
    RETURN coalesce((SELECT pg_catalog.string_agg(s, ';' ORDER BY s) FROM pg_catalog.unnest(seen) s), '');
  END IF;
  RETURN '';
END $opsctl$
"""  # noqa: E501 - SQL

_BLOCK = """
DECLARE
  probes jsonb[]; base text[]; m jsonb; i int; reached text; outcome text; place jsonb;
  outcomes text[] := '{}'; message text;
BEGIN
  SELECT pg_catalog.array_agg(p ORDER BY o) INTO probes
    FROM pg_catalog.jsonb_array_elements(@probes@::jsonb) WITH ORDINALITY AS x(p, o);
  FOR i IN 1 .. coalesce(pg_catalog.array_length(probes, 1), 0) LOOP
    base[i] := pg_temp.opsctl_reach(probes[i]);
  END LOOP;
  FOR m IN SELECT * FROM pg_catalog.jsonb_array_elements(@mutants@::jsonb) LOOP
    outcome := 'same'; place := 'null'; message := NULL;
    BEGIN
      EXECUTE m ->> 'q';
      FOR i IN SELECT e::int + 1 FROM pg_catalog.jsonb_array_elements_text(m -> 'p') e LOOP
        reached := pg_temp.opsctl_reach(probes[i]);
        CONTINUE WHEN reached = base[i];
        IF (probes[i] ->> 'j')::boolean AND (pg_catalog.jsonb_typeof(probes[i] -> 'x') <> 'array'
          OR EXISTS (SELECT 1 FROM pg_catalog.unnest(pg_catalog.string_to_array(reached, ';')) r
                     WHERE NOT probes[i] -> 'x' ? r)) THEN
          outcome := 'noticed'; place := pg_catalog.to_jsonb(i - 1);
          EXIT;
        ELSIF outcome = 'same' THEN
          outcome := 'unnoticed'; place := pg_catalog.to_jsonb(i - 1);
        END IF;
      END LOOP;
      RAISE EXCEPTION USING ERRCODE = 'OC002';
    EXCEPTION
      WHEN SQLSTATE 'OC002' THEN NULL;
      WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS message = MESSAGE_TEXT;
        outcome := 'refused'; place := pg_catalog.to_jsonb(message);
    END;
    outcomes := outcomes || pg_catalog.json_build_array(outcome, place)::text;
  END LOOP;
  PERFORM pg_catalog.set_config('opsctl.outcomes',
    '[' || pg_catalog.array_to_string(outcomes, ',') || ']', true);
END
"""
