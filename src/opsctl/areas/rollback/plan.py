"""The plan of a rollback: a pure function of its proof and of what was chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from opsctl.adapters import catalog
from opsctl.adapters.migrations import Applied
from opsctl.adapters.sql import qualified, quote_identifier, quote_literal
from opsctl.areas.rollback import stash as stashes
from opsctl.areas.rollback.facts import Unit
from opsctl.areas.rollback.proof import Proof
from opsctl.core.action import Probe, Query
from opsctl.core.plan import Irreversible, Loss, Plan, Step, Undo
from opsctl.core.settings import Database

_HISTORY_TABLES = {
    "supabase": ("supabase_migrations", "schema_migrations", "version"),
    "prisma": ("public", "_prisma_migrations", "migration_name"),
}

# The proof ran the same statements without rows; copying values took 0.39 s for 347,000 and
# refilling them 7 s on two cores, so a million copied values are about a second.
_COPIED_VALUES_PER_S = 900_000


@dataclass(frozen=True)
class Choices:
    """What was asked for, and where."""

    environment: str
    protected: bool
    database: Database
    """With its URL's reference made absolute."""


def rollback_plan(
    proof: Proof,
    choices: Choices,
    *,
    rolled: Sequence[Unit],
    losses: Sequence[Loss],
    forget: Sequence[str],
    remember: Sequence[str],
    before: Sequence[Step] = (),
    looks: Sequence[Step] = (),
    notes: Sequence[str] = (),
) -> Plan:
    """Return the plan: `before` (a backup), the one transaction, then `looks` at the result."""
    labels = [unit.label for unit in rolled]
    title = f"Roll back {labels[0]}" if len(labels) == 1 else f"Roll back {len(labels)} migrations"
    manifest: dict[str, object] = {
        "environment": choices.environment,
        "migrations": labels,
        "losses": [[loss.kind, loss.name] for loss in losses],
    }
    transaction = (
        *_lock_histories(rolled),
        catalog.assert_digest_sql(proof.digest_before),
        *stashes.keep_before(proof.stash, manifest=manifest),
        *proof.down,
        *stashes.keep_after(proof.stash),
        *forget,
        catalog.assert_digest_sql(proof.digest_after),
    )
    step = Step(
        id="roll-back",
        title=_step_title(proof, rolled),
        safety="verify",
        action=_query(choices.database, transaction),
        check=_probe(choices.database, proof, rolled, undo=False),
        undo=_undo(proof, choices, rolled=rolled, remember=remember),
        detail=tuple(text for text in proof.down if not text.startswith(stashes.DROP_KEYS)),
    )
    copied = sum(loss.values or 0 for loss in losses if "moved" not in loss.kept)
    return Plan(
        command="rollback db",
        environment=choices.environment,
        protected=choices.protected,
        title=title,
        steps=(*before, step, *looks),
        losses=tuple(losses),
        notes=(*_notes(proof, rolled), *notes),
        facts={
            "migrations": [
                {"label": unit.label, "rows": [row.tool for row in unit.rows]} for unit in rolled
            ],
            "sources": list(proof.sources),
            "changes": [str(change) for change in proof.changes],
            "locks": [list(lock) for lock in proof.locks],
            "stash": None if proof.stash.empty else proof.stash.schema,
            "digest_before": proof.digest_before,
            "digest_after": proof.digest_after,
        },
        estimate_s=round(1.0 + copied / _COPIED_VALUES_PER_S + 2.0 * len(looks), 0),
    )


def drop_stash_plan(
    schema: str, choices: Choices, *, contents: str, losses: Sequence[Loss]
) -> Plan:
    """Return the plan that frees a stash for good."""
    name = quote_identifier(schema)
    gone = (
        f"SELECT CASE WHEN pg_catalog.to_regnamespace({quote_literal(name)}) IS NULL "
        "THEN 'applied' ELSE 'absent' END, ''"
    )
    step = Step(
        id="drop-stash",
        title=f"Drop the stash {schema}",
        safety="verify",
        action=_query(choices.database, (f"DROP SCHEMA {name} CASCADE",)),
        check=Probe(Query(choices.database.url, (gone,), read_only=True)),
        undo=Irreversible("the kept rows and values are gone, and the rollback they belong to "
                          "can no longer be undone"),
        detail=(contents,),
    )  # fmt: skip
    return Plan(
        command=f"rollback stash drop {schema}",
        environment=choices.environment,
        protected=choices.protected,
        title=f"Drop the stash {schema}",
        steps=(step,),
        losses=tuple(losses),
        facts={"stash": schema},
        estimate_s=1.0,
    )


def _undo(
    proof: Proof, choices: Choices, *, rolled: Sequence[Unit], remember: Sequence[str]
) -> Undo | Irreversible:
    if proof.undo_fails is not None:
        return Irreversible(f"applying the migration again failed in the rehearsal: "
                            f"{proof.undo_fails}")  # fmt: skip
    statements = (
        *_lock_histories(rolled),
        catalog.assert_digest_sql(proof.digest_after),
        *stashes.put_back_before(proof.stash),
        *proof.up,
        *stashes.put_back_after(proof.stash),
        *remember,
        catalog.assert_digest_sql(proof.digest_before),
    )
    return Undo(
        title=f"Apply {_labels(rolled)} again and put back what was kept",
        action=_query(choices.database, statements),
        check=_probe(choices.database, proof, rolled, undo=True),
    )


def _probe(database: Database, proof: Proof, rolled: Sequence[Unit], *, undo: bool) -> Probe:
    """Ask whether the rollback, or its undo, has taken effect: by catalog and by history."""
    before, after = quote_literal(proof.digest_before), quote_literal(proof.digest_after)
    rows = [row for unit in rolled for row in unit.rows]
    there = " + ".join(f"({_count_row(row)})" for row in rows)
    done = f"c.digest = {after} AND h.rows = 0"
    not_done = f"c.digest = {before} AND h.rows = {len(rows)}"
    applied, absent = (not_done, done) if undo else (done, not_done)
    blocked = ""
    if undo and not proof.stash.empty:
        name = quote_literal(quote_identifier(proof.stash.schema))
        blocked = f"WHEN {absent} AND pg_catalog.to_regnamespace({name}) IS NULL THEN 'blocked' "
    word = (
        f"CASE WHEN {applied} THEN 'applied' {blocked}"
        f"WHEN {absent} THEN 'absent' ELSE 'blocked' END"
    )
    why = (
        f"CASE WHEN {absent} AND {bool(blocked)} THEN 'the stash was dropped: there is nothing "
        "to put back' ELSE 'the schema or the history was changed by somebody else since the "
        "plan was made' END"
    )
    query = (
        f"SELECT {word}, CASE WHEN {applied} OR ({absent} AND {word} = 'absent') THEN '' "
        f"ELSE {why} END FROM ({catalog.digest_sql()}) AS c (digest), "
        f"(SELECT {there}) AS h (rows)"
    )
    return Probe(Query(database.url, (*catalog.QUIET, query), read_only=True))


def _count_row(row: Applied) -> str:
    schema, table, column = _HISTORY_TABLES[row.tool]
    applied = ""
    if row.tool == "prisma":
        finished = "IS NULL" if row.state == "failed" else "IS NOT NULL"
        applied = f" AND finished_at {finished} AND rolled_back_at IS NULL"
    return (
        f"SELECT count(*) FROM {qualified(schema, table)} "
        f"WHERE {column} = {quote_literal(row.version)}{applied}"
    )


def _lock_histories(rolled: Sequence[Unit]) -> tuple[str, ...]:
    """Keep a deployment from running at the same time: both tools write these tables."""
    tools = sorted({row.tool for unit in rolled for row in unit.rows})
    names = [qualified(*_HISTORY_TABLES[tool][:2]) for tool in tools]
    return tuple(f"LOCK TABLE {name} IN EXCLUSIVE MODE" for name in names)


def _query(database: Database, statements: Sequence[str]) -> Query:
    return Query(
        database=database.url,
        statements=tuple(statements),
        lock_timeout_s=database.lock_timeout_s,
        statement_timeout_s=database.statement_timeout_s,
        lock_attempts=database.lock_attempts,
    )


def _labels(rolled: Sequence[Unit]) -> str:
    return rolled[0].label if len(rolled) == 1 else f"{len(rolled)} migrations"


def _step_title(proof: Proof, rolled: Sequence[Unit]) -> str:
    tools = sorted({row.tool for unit in rolled for row in unit.rows}, reverse=True)
    stash = "" if proof.stash.empty else "keep what would be lost, "
    return (
        f"In one transaction: {stash}run the down SQL, correct the history of {' and '.join(tools)}"
    )


def _notes(proof: Proof, rolled: Sequence[Unit]) -> tuple[str, ...]:
    notes = [
        "Proven on a scratch copy: afterwards the schema equals a replay of the migrations up "
        "to the target."
    ]
    notes += [f"Down SQL: {source}." for source in dict.fromkeys(proof.sources)]
    if proof.undo_fails is None:
        notes.append("The undo was rehearsed, too: opsctl runs undo ID.")
    exclusive = [table for table, mode in proof.locks if mode == "AccessExclusiveLock"]
    if exclusive:
        notes.append(f"Locked for readers and writers meanwhile: {', '.join(exclusive)}.")
    writers = [table for table, mode in proof.locks if mode != "AccessExclusiveLock"]
    if writers:
        notes.append(f"Locked for writers meanwhile: {', '.join(writers)}.")
    if proof.stash.keyless:
        tables = ", ".join(proof.stash.keyless)
        notes.append(
            f"Without a primary key, rows cannot be matched again: {tables}. "
            "The undo leaves the stash in place for them."
        )
    if not proof.stash.silent_triggers and not proof.stash.empty:
        notes.append("Triggers fire while an undo puts rows back: this role may not silence them.")
    return (*notes, *proof.notes)
