"""Carry a check out: copy, fill, probe, attack, judge."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from opsctl.adapters import postgres
from opsctl.areas.rls_smoke.actors import default_file
from opsctl.areas.rls_smoke.attacks import attack
from opsctl.areas.rls_smoke.checks import (
    LEGEND,
    WHY,
    by_weight,
    grid,
    judge,
    judge_live,
    matrix_data,
)
from opsctl.areas.rls_smoke.describe import describe, write_policy_file
from opsctl.areas.rls_smoke.facts import Schema, read_schema
from opsctl.areas.rls_smoke.lint_hit import Hit
from opsctl.areas.rls_smoke.lint_rules import PERFORMANCE, RULES
from opsctl.areas.rls_smoke.lints import accept, findings_of, hits_data, lint
from opsctl.areas.rls_smoke.live import LiveLook, look_live
from opsctl.areas.rls_smoke.live_writes import try_live
from opsctl.areas.rls_smoke.matrix import look
from opsctl.areas.rls_smoke.policy_file import PolicyFile, load_policy_file
from opsctl.areas.rls_smoke.tenancy import Model, infer
from opsctl.areas.rls_smoke.world import Copy, World, scratch_copy
from opsctl.core.errors import Exit, OpsError
from opsctl.core.report import Report, Severity, Table
from opsctl.core.secrets import resolve_secret

if TYPE_CHECKING:
    from opsctl.core.call import Call


def check_policies(
    call: Call,
    *,
    policy: Path | None,
    outside: bool,
    live: bool,
    live_writes: str,
    mutate: bool,
) -> Report:
    """Return the report of the matrix, the attacks and, if asked, live rows and the mutants.

    Raises OpsError `no-policy-file` where a file was named that is not there, `not-confirmed`
    (exit 5) where `live_writes` is not the environment's name.
    """
    if live_writes and live_writes != call.name:
        raise OpsError(
            "No write was tried on the live database",
            why=f"--live-writes names {live_writes}, and the environment is {call.name}",
            hint=f"opsctl rls-smoke check --env {call.name} --live-writes {call.name}",
            code="not-confirmed",
            exit=Exit.REFUSED,
        )
    path, file = _policy_file(call, policy)
    inferred = file is None
    began = time.monotonic()
    tables = []
    with _copy(call) as copy:
        schema, model = _schema(copy)
        world = _world(copy, schema, model, file or default_file(schema, model), path, outside)
        call.say("Trying what every role can do")
        probing = time.monotonic()
        matrix = look(world, inferred=inferred)
        took_ms = (time.monotonic() - probing) * 1000
        findings = judge(world, matrix, attack(world, matrix), inferred=inferred)
        tables.append(grid(world, matrix))
        notes = [LEGEND, *_notes(call, world, path, inferred=inferred)]
        data: dict[str, object] = {
            "policy_file": str(path) if file is not None else None,
            "probes": matrix.probes,
            "probing_ms": round(took_ms, 1),
            "cells": matrix_data(matrix),
            "triggers_left_out": list(world.silenced),
        }
        if mutate:
            from opsctl.areas.rls_smoke.mutants import judge_mutants, run_mutants

            call.say("Weakening every policy in turn")
            tested = run_mutants(world, matrix, inferred=inferred)
            findings = (*findings, *judge_mutants(tested))
            if tested.table.rows:
                tables.append(tested.table)
            notes.append(tested.note)
            data["mutants"] = tested.data
    if live or live_writes:
        call.say("Reading live rows as real people")
        seen = _look_live(call, file, inferred=inferred, writes=bool(live_writes))
        data["live_cells"] = matrix_data(seen.matrix)
        tables.append(replace(grid(seen.world, seen.matrix), title="Who reads what, live (siud)"))
        findings = by_weight((*findings, *judge_live(seen.world, seen.matrix), *seen.unknown))
    call.say("Reading the catalog")
    hits, stale = _lint(call)
    notes += stale
    worth = tuple(
        hit for hit in hits if hit.rule not in PERFORMANCE and hit.severity is not Severity.NOTE
    )
    findings = by_weight((*findings, *findings_of(worth)))
    data["lints"] = hits_data(hits)
    data["rules"] = {**WHY, **RULES}
    if len(hits) > len(worth):
        more = f"{len(hits) - len(worth)} notes and findings on performance"
        notes.append(f"Not shown here: {more}; opsctl rls-smoke lint --env {call.name}")
    notes.append(
        f"{matrix.probes} probes in {took_ms:.0f} ms; {time.monotonic() - began:.1f} s in all"
    )
    return Report(
        command="rls-smoke check",
        title=f"Row-level security of {call.name}",
        environment=call.name,
        findings=findings,
        tables=tuple(tables),
        notes=tuple(notes),
        data=data,
    )


def lint_catalog(call: Call, *, only: str | None) -> Report:
    """Return the report of the lints alone."""
    began = time.monotonic()
    found, stale = _lint(call)
    hits = tuple(
        hit for hit in found
        if only is None or (hit.rule in PERFORMANCE) is (only == "performance")
    )  # fmt: skip
    return Report(
        command="rls-smoke lint",
        title=f"Schema of {call.name} by its catalog",
        environment=call.name,
        findings=findings_of(hits),
        tables=tuple(_by_rule(hits)),
        notes=(*stale, f"{len(RULES)} lints in {time.monotonic() - began:.1f} s"),
        data={"lints": hits_data(hits), "rules": dict(RULES)},
    )


def _lint(call: Call) -> tuple[tuple[Hit, ...], tuple[str, ...]]:
    """Return the hits, and a line for each that the settings accept and that is gone."""
    settings = call.environment.rls
    accept((), settings.accept)  # a wrong name is said before the database is asked
    with postgres.connect(_url(call)) as connection:
        hits, gone = accept(lint(connection, schemas=settings.schemas), settings.accept)
    return hits, tuple(f"Not found any more, take it out of rls.accept: {each}" for each in gone)


def _by_rule(hits: tuple[Hit, ...]) -> Iterator[Table]:
    """Return what was found by rule: security and performance apart."""
    for title, speed in (("Security", False), ("Performance", True)):
        counts: dict[tuple[str, str], int] = {}
        for hit in hits:
            if (hit.rule in PERFORMANCE) is speed:
                key = (hit.rule, str(hit.severity))
                counts[key] = counts.get(key, 0) + 1
        if counts:
            rows = tuple((severity, rule, str(n)) for (rule, severity), n in counts.items())
            yield Table(title, ("", "lint", "findings"), rows)


def write_down(call: Call) -> Report:
    """Return the text of a policy file that says what the database does."""
    with _copy(call) as copy:
        schema, model = _schema(copy)
        world = _world(copy, schema, model, default_file(schema, model), None, False)
        matrix = look(world)
        described = describe(world, matrix)
    text = write_policy_file(world.file, described, about=call.name)
    wrong = [f"{each.relation}: {mark}" for each in described for mark in each.marks]
    return Report(
        command="rls-smoke init",
        title=f"What {call.name} does today",
        environment=call.name,
        text=text,
        notes=tuple(wrong),
        data={"policy_file": text, "looks_wrong": wrong},
    )


def _policy_file(call: Call, policy: Path | None) -> tuple[Path, PolicyFile | None]:
    """Return the policy file, or None where none was named and the usual one is not there."""
    path = policy if policy is not None else call.root / call.environment.rls.policy
    if policy is None and not path.exists() and not _was_named(call):
        return path, None
    return path, load_policy_file(path)


def _was_named(call: Call) -> bool:
    return f"environments.{call.name}.rls.policy" in call.origins


def _look_live(call: Call, file: PolicyFile | None, *, inferred: bool, writes: bool) -> LiveLook:
    schemas = call.environment.rls.schemas
    with postgres.connect(_url(call), read_only=not writes) as connection:
        schema = read_schema(connection, schemas=schemas)
        model = infer(schema)
        seen = look_live(
            connection, schema, model, file or default_file(schema, model),
            schemas=schemas, inferred=inferred,
        )  # fmt: skip
        if not writes:
            return seen
        call.say("Trying writes on a few live rows, each undone at once")
        tried = try_live(seen.world, inferred=inferred)
        matrix = replace(
            seen.matrix,
            cells=(*seen.matrix.cells, *tried.cells),
            probes=seen.matrix.probes + tried.tries,
        )
        return LiveLook(seen.world, matrix, (*seen.unknown, *tried.unknown))


def _url(call: Call) -> str:
    settings = call.environment.database
    if settings is None:
        raise OpsError(
            "The environment has no database",
            why=f"environments.{call.name}.database is not set",
            hint=f"set environments.{call.name}.database.url in the settings",
            code="no-database",
        )
    return resolve_secret(settings.url)


@contextmanager
def _copy(call: Call) -> Iterator[Copy]:
    with scratch_copy(call, _url(call), schemas=call.environment.rls.schemas) as copy:
        yield copy


def _schema(copy: Copy) -> tuple[Schema, Model]:
    schema = copy.schema()
    if not schema.roles:
        raise OpsError(
            "The database has none of the API's roles",
            why="neither anon nor authenticated nor service_role exists there",
            hint="is this a Supabase project's database?",
            code="no-api-roles",
            exit=Exit.UNKNOWN,
        )
    return schema, infer(schema)


def _world(
    copy: Copy, schema: Schema, model: Model, file: PolicyFile, path: Path | None, outside: bool
) -> World:
    root = path.parent if path is not None else None
    return copy.populate(schema, model, file, root=root, outside=outside)


def _notes(call: Call, world: World, path: Path, *, inferred: bool) -> Iterator[str]:
    if inferred:
        yield (
            f"There is no policy file ({path}): only the isolation of tenants was judged. "
            f"Write one: opsctl rls-smoke init --env {call.name} --output {path.name}"
        )
    for trigger in world.silenced:
        yield f"Left out, because it could reach outside: {trigger} (--outside-triggers fires it)"
    if world.missing_extensions:
        yield f"The scratch server lacks: {', '.join(world.missing_extensions)}"
    for line in world.complaints[:5]:
        yield f"Not copied: {line}"
