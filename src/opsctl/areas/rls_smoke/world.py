"""A scratch copy of the schema with made-up rows: the only place where writes are tried."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from opsctl.adapters import postgres
from opsctl.adapters.schema_clone import schema_clone
from opsctl.adapters.sql import quote_identifier, quote_literal
from opsctl.areas.rls_smoke.facts import Relation, Schema, read_schema
from opsctl.areas.rls_smoke.policy_file import PolicyFile
from opsctl.areas.rls_smoke.probes import Probe, dollar, ids_sql, row_id, run_probes
from opsctl.areas.rls_smoke.rows import MadeRow, insert_sql, make_rows
from opsctl.areas.rls_smoke.tenancy import Model
from opsctl.core.errors import OpsError

if TYPE_CHECKING:
    from opsctl.core.call import Call


@dataclass(frozen=True)
class PlantedRow:
    """A row that lies in the copy."""

    id: str
    """As `probes.row_id` tells it."""
    actor: str
    """Whose it is; empty where that is not known."""
    label: str
    values: Mapping[str, str]
    """What it was inserted with: SQL literals by column; empty where that is not known."""
    variant: int = 0


@dataclass(frozen=True)
class World:
    """The copy, and what lies in it."""

    connection: postgres.Connection
    schema: Schema
    model: Model
    file: PolicyFile
    schemas: tuple[str, ...]
    rows: Mapping[str, tuple[PlantedRow, ...]]
    """By relation; of views and partitions too."""
    not_made: Mapping[str, str]
    """Relation -> why the database took none of its rows."""
    silenced: tuple[str, ...]
    """Triggers that were left out because they could reach outside."""
    missing_extensions: tuple[str, ...] = ()
    complaints: tuple[str, ...] = ()
    """What could not be copied."""
    seeded: Mapping[str, frozenset[str]] | None = None
    """Relation -> the tenants of its rows, where a seed file made them."""

    def tenants(self, relation: str) -> frozenset[str] | None:
        """Return the actors' tenants that have rows; None where that is not known."""
        theirs = {str(each) for actor in self.file.actors.values() for each in actor.tenants}
        if self.seeded is not None:
            return self.seeded.get(relation, frozenset()) & theirs
        owners = {each.actor for each in self.rows.get(relation, ()) if each.actor}
        if not owners:
            return None
        return frozenset(
            str(each) for name in owners & self.file.actors.keys()
            for each in self.file.actors[name].tenants
        )  # fmt: skip

    def everything(self, relation: str) -> frozenset[str]:
        """Return the ids of all rows of a relation."""
        return frozenset(each.id for each in self.rows.get(relation, ()))


@contextmanager
def scratch_copy(call: Call, url: str, *, schemas: tuple[str, ...]) -> Iterator[Copy]:
    """Copy the live schema to a scratch server; rows are never copied.

    Raises OpsError as `postgres.connect` and `schema_clone` do.
    """
    with postgres.connect(url) as live:
        facts = postgres.server_facts(live)
        call.say("Copying the schema to a scratch server")
        with schema_clone(live, url, facts) as clone:
            target, complaints = clone.restore("rls")
            with postgres.connect(target, read_only=False) as connection:
                yield Copy(connection, schemas, clone.missing_extensions, complaints)


@dataclass(frozen=True)
class Copy:
    """A database of its own with the schema and no rows."""

    connection: postgres.Connection
    schemas: tuple[str, ...]
    missing_extensions: tuple[str, ...] = ()
    complaints: tuple[str, ...] = ()

    def schema(self) -> Schema:
        """Return what the catalog says."""
        return read_schema(self.connection, schemas=self.schemas)

    def populate(
        self, schema: Schema, model: Model, file: PolicyFile, *,
        root: Path | None = None, outside: bool = False,
    ) -> World:  # fmt: skip
        """Fill the copy with rows and make it ready for probes.

        Foreign keys are dropped when the rows are in: a blind delete would meet them, and
        policies are what is tested. Triggers that could reach outside are disabled unless
        `outside`. Raises OpsError `rls-seed` where the seed file fails.
        """
        connection = self.connection
        silenced = () if outside else _silence(connection, schema)
        not_made: dict[str, str] = {}
        planted: dict[str, dict[str, tuple[MadeRow, Mapping[str, str]]]] = {}
        if file.seed is not None:
            _seed(connection, (root or Path()) / file.seed)
        else:
            planted, not_made = _fill(connection, schema, make_rows(schema, model, file))
        _drop_foreign_keys(connection)
        not_made.update(_refresh(connection, schema))
        world = World(
            connection, schema, model, file, self.schemas, {}, not_made, silenced,
            self.missing_extensions, self.complaints,
        )  # fmt: skip
        rows, unreadable = _rows(world, planted)
        seeded = _tenants(world) if file.seed is not None else None
        return replace(world, rows=rows, not_made={**not_made, **unreadable}, seeded=seeded)


def _silence(connection: postgres.Connection, schema: Schema) -> tuple[str, ...]:
    found = []
    for relation in schema.relations.values():
        for trigger in relation.triggers:
            if trigger.outside:
                connection.execute(
                    f"ALTER TABLE {relation.sql} DISABLE TRIGGER "
                    f"{quote_identifier(trigger.name)}".encode()
                )
                found.append(f"{trigger.name} on {relation.key}")
    return tuple(found)


def _seed(connection: postgres.Connection, path: Path) -> None:
    try:
        with connection.transaction():
            connection.execute(b"SET LOCAL session_replication_role = replica")
            connection.execute(path.read_bytes())
    except (OSError, psycopg.Error) as error:
        why = error.diag.message_primary if isinstance(error, psycopg.Error) else error.strerror
        raise OpsError(
            "The seed file did not fill the scratch copy",
            why=f"{path}: {why}",
            hint="it is SQL that runs on the empty schema, triggers and foreign keys off",
            code="rls-seed",
        ) from None


Planted = dict[str, dict[str, tuple[MadeRow, Mapping[str, str]]]]
"""Relation -> place of a row (table's oid and ctid) -> what it was made from."""


def _fill(
    connection: postgres.Connection, schema: Schema, rows: tuple[MadeRow, ...]
) -> tuple[Planted, dict[str, str]]:
    """Insert rows, each in the first way that the database takes."""
    tries = [
        [f"{insert_sql(schema.relations[row.relation], each)} {_PLACE}"
         for each in row.alternatives]
        for row in rows
    ]  # fmt: skip
    script = (
        "BEGIN; SET LOCAL session_replication_role = replica; "
        "SET LOCAL client_min_messages = error;\n"
        f"DO {dollar(_FILL.replace('@rows@', quote_literal(json.dumps(tries))))};\n"
        "SELECT current_setting('opsctl.filled'); COMMIT"
    )
    answer = None
    cursor = connection.execute(script.encode())
    while True:
        if cursor.description is not None:
            answer = cursor.fetchone()
        if not cursor.nextset():
            break
    planted: Planted = {}
    errors: dict[str, str] = {}
    for row, (place, number, message) in zip(
        rows, json.loads(answer[0]) if answer else [], strict=True
    ):
        if place is None:
            errors.setdefault(row.relation, message)
        else:
            planted.setdefault(row.relation, {})[place] = (row, row.alternatives[number])
    return planted, {key: text for key, text in errors.items() if key not in planted}


def _refresh(connection: postgres.Connection, schema: Schema) -> dict[str, str]:
    """Fill the materialised views, those first that others may read; return what failed."""
    failed = {}
    views = [each for each in schema.relations.values() if each.kind == "m"]
    for view in sorted(views, key=lambda each: each.oid):
        try:
            connection.execute(f"REFRESH MATERIALIZED VIEW {view.sql}".encode())
        except psycopg.Error as error:
            failed[view.key] = error.diag.message_primary or type(error).__name__
    return failed


def _drop_foreign_keys(connection: postgres.Connection) -> None:
    connection.execute(_DROP_KEYS.encode())


def _rows(
    world: World, planted: Planted
) -> tuple[dict[str, tuple[PlantedRow, ...]], dict[str, str]]:
    """Return the rows of every exposed relation, with whose they are, and what is unreadable."""
    places = {place: made for found in planted.values() for place, made in found.items()}
    relations = [world.schema.relations[key] for key in world.schema.exposed]
    asked = [each for each in relations if each.kind != "f"]
    probes = [
        Probe(each.key, "", "everything", "rows", ids_sql(each, id_=_id_and_place(each)))
        for each in asked
    ]
    outcomes = run_probes(world.connection, probes, schemas=world.schemas)
    found: dict[str, tuple[PlantedRow, ...]] = {}
    unreadable: dict[str, str] = {}
    for relation, outcome in zip(asked, outcomes, strict=True):
        if outcome.state:
            unreadable[relation.key] = f"{outcome.message} ({outcome.state})"
            continue
        rows = []
        for text in sorted(outcome.rows):
            id_, _, place = text.partition(" ")
            made = places.get(place)
            rows.append(
                PlantedRow(id_, made[0].actor, made[0].label, made[1], made[0].variant)
                if made
                else PlantedRow(id_, "", f"row {id_[:12]}", {})
            )
        found[relation.key] = tuple(rows)
    return found, unreadable


def _tenants(world: World) -> dict[str, frozenset[str]]:
    """Return the tenants of every exposed relation's rows."""
    asked = [
        (key, quote_identifier(column)) for key in world.schema.exposed
        if (links := world.model.links.get(key)) is not None and (column := links.tenant)
    ]  # fmt: skip
    probes = [
        Probe(key, "", "tenants", "rows", ids_sql(world.schema.relations[key], id_=f"{name}::text"))
        for key, name in asked
    ]
    outcomes = run_probes(world.connection, probes, schemas=world.schemas) if probes else ()
    return {key: each.rows for (key, _), each in zip(asked, outcomes, strict=True)}


def _id_and_place(relation: Relation) -> str:
    if relation.kind in ("r", "p"):
        return f"{row_id(relation)} || ' ' || t.tableoid::text || t.ctid::text"
    return row_id(relation)


_PLACE = "RETURNING tableoid::text || ctid::text"

_FILL = """
DECLARE
  tries jsonb; sql text; place text; number int; message text; filled text[] := '{}';
BEGIN
  FOR tries IN SELECT * FROM pg_catalog.jsonb_array_elements(@rows@::jsonb) LOOP
    place := NULL; number := 0; message := NULL;
    FOR sql IN SELECT * FROM pg_catalog.jsonb_array_elements_text(tries) LOOP
      BEGIN
        EXECUTE sql INTO place;
      EXCEPTION WHEN OTHERS THEN
        message := coalesce(message, SQLERRM); place := NULL;
      END;
      EXIT WHEN place IS NOT NULL;
      number := number + 1;
    END LOOP;
    filled := filled || pg_catalog.json_build_array(place, number, message)::text;
  END LOOP;
  PERFORM pg_catalog.set_config('opsctl.filled',
    '[' || pg_catalog.array_to_string(filled, ',') || ']', true);
END
"""

_DROP_KEYS = """
DO $opsctl$
DECLARE k record;
BEGIN
  FOR k IN SELECT c.conname, c.conrelid::regclass AS name
    FROM pg_catalog.pg_constraint c JOIN pg_catalog.pg_class r ON r.oid = c.conrelid
    WHERE c.contype = 'f' AND c.conparentid = 0
  LOOP
    EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', k.name, k.conname);
  END LOOP;
END $opsctl$
"""
