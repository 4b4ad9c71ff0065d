"""A migration that stopped half-way: find out what took effect, then finish it or clean up.

The failed migration is replayed statement by statement on top of the applied ones; where the
catalog equals the live one, the live one stopped. Statements that change rows alone leave no
mark in a catalog: then it is said that they may or may not have run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opsctl.adapters import catalog, postgres
from opsctl.adapters.sql import (
    in_one_transaction,
    join_script,
    qualified,
    quote_literal,
    split_statements,
    without_comments,
)
from opsctl.areas.rollback import plan as plans
from opsctl.areas.rollback.facts import History, Unit, applied_units, order
from opsctl.areas.rollback.rehearsal import Rehearsal, created_extensions, rehearse
from opsctl.core.action import Probe, Query
from opsctl.core.errors import Exit, OpsError
from opsctl.core.plan import Irreversible, Plan, Step

if TYPE_CHECKING:
    from opsctl.adapters.migrations import Applied
    from opsctl.core.call import Call

_SHOWN = 90


@dataclass(frozen=True)
class HalfFailed:
    """A failed migration and how far it came."""

    row: Applied
    statements: tuple[str, ...]
    least: int
    """Statements that took effect for sure."""
    most: int
    """Statements that may have taken effect: those beyond `least` change rows alone."""


def plan_half_failed(
    call: Call,
    connection: postgres.Connection,
    url: str,
    *,
    histories: Sequence[History],
    history: History,
    how: str | None,
) -> Plan:
    """Return the plan that finishes or cleans up the newest failed migration of `history`.

    Raises OpsError `half-failed` (exit 5), which says what took effect, where `how` is None.
    """
    from opsctl.areas.rollback.work import all_rows, choices_of, database_of, prove_and_plan

    if how not in (None, "finish", "clean-up"):
        raise OpsError(
            f"The choice {how!r} is not known",
            why="a migration that stopped half-way can be finished or cleaned up",
            hint="opsctl rollback db --half-failed clean-up",
            code="usage",
        )
    row = max(history.failed, key=lambda each: order(each.version))
    file = history.migration(row.version)
    if file is None:
        raise OpsError(
            f"The file of the failed migration {row.version} was not found",
            why=f"it is not in {history.directory}",
            hint="check out the commit that holds it, then try again",
            code="migration-file-missing",
            exit=Exit.UNKNOWN,
        )
    units = applied_units(histories)
    facts = postgres.server_facts(connection)
    with rehearse(connection, url, facts, history=all_rows(histories)) as rehearsal:
        call.say("Finding out how far the failed migration came")
        found = _how_far(rehearsal, units=units, row=row, script=file.sql)
        if how is None:
            raise _ask(found)
        partial = Unit(
            version=row.version,
            label=f"{row.version} (half-way)",
            script=join_script(found.statements[: found.least]),
            rows=(row,),
            down=None,
            down_path=None,
        )
        if how == "clean-up":
            note = (
                f"{found.least} of {len(found.statements)} statements took effect and are taken "
                "back."
            )
            if found.most > found.least:
                note += f" {_maybe(found)} Rows that they changed stay changed."
            return prove_and_plan(
                call,
                connection,
                url=url,
                facts=facts,
                rehearsal=rehearsal,
                units=[*units, partial],
                rolled=[partial],
                accept_drift=False,
                notes=(note,),
            )
        if found.most > found.least:
            raise OpsError(
                f"The migration {row.version} cannot be finished safely",
                why=_maybe(found),
                hint="opsctl rollback db --half-failed clean-up",
                code="cannot-finish",
                exit=Exit.REFUSED,
            )
        return _finish(
            rehearsal,
            choices_of(call, database_of(call)),
            live=catalog.read_catalog(connection),
            found=found,
        )


def _how_far(
    rehearsal: Rehearsal, *, units: Sequence[Unit], row: Applied, script: str
) -> HalfFailed:
    statements = split_statements(script)
    created = created_extensions([*(unit.script for unit in units), script])
    url = rehearsal.replay(units, created=created)
    live = rehearsal.read(rehearsal.clone())
    fits = [0] if not catalog.compare(live, rehearsal.read(url)) else []
    for number, statement in enumerate(statements, start=1):
        unit = Unit(
            row.version, f"{row.version}, statement {number}", statement, (row,), None, None
        )
        try:
            rehearsal.apply(url, unit)
        except OpsError:
            break  # the live one stopped here, or before
        if not catalog.compare(live, rehearsal.read(url)):
            fits.append(number)
    if not fits:
        nearest = rehearsal.read(rehearsal.replay(units, created=created))
        raise OpsError(
            f"How far the migration {row.version} came could not be found out",
            why="the schema equals no point of it; against the one before it:\n"
            + "\n".join(str(each) for each in catalog.compare(live, nearest)[:12]),
            hint="bring the schema to one of these points by hand, then opsctl rollback status",
            code="drift",
            exit=Exit.REFUSED,
        )
    return HalfFailed(row, statements, least=fits[0], most=fits[-1])


def _finish(
    rehearsal: Rehearsal,
    choices: plans.Choices,
    *,
    live: catalog.Catalog,
    found: HalfFailed,
) -> Plan:
    """Return the plan that runs what is missing and records the migration as applied."""
    row = found.row
    rest, _, impossible = in_one_transaction(join_script(found.statements[found.least :]))
    if impossible:
        raise OpsError(
            f"The migration {row.version} cannot be finished in one transaction",
            why="; ".join(impossible),
            hint="opsctl rollback db --half-failed clean-up",
            code="cannot-finish",
            exit=Exit.REFUSED,
        )
    url = rehearsal.clone()
    clone = rehearsal.read(url)
    unit = Unit(row.version, row.version, join_script(rest), (row,), None, None)
    rehearsal.apply(url, unit)
    finished = catalog.apply_changes(live, since=clone, to=rehearsal.read(url))
    table = qualified("public", "_prisma_migrations")
    where = f"id = {quote_literal(str(row.row['id']))} AND finished_at IS NULL"
    record = (
        f"UPDATE {table} SET finished_at = pg_catalog.now(), applied_steps_count = 1, logs = NULL "
        f"WHERE {where}"
    )
    look = (
        f"SELECT CASE WHEN NOT EXISTS (SELECT 1 FROM {table} WHERE {where}) THEN 'applied' "
        f"WHEN ({catalog.digest_sql()}) = {quote_literal(live.digest)} THEN 'absent' "
        "ELSE 'blocked' END, 'the schema was changed since the plan was made'"
    )
    database = choices.database
    step = Step(
        id="finish",
        title=f"In one transaction: run the rest of {row.version} and record it as applied",
        safety="verify",
        action=Query(
            database.url,
            (
                f"LOCK TABLE {table} IN EXCLUSIVE MODE",
                catalog.assert_digest_sql(live.digest),
                *rest,
                record,
                catalog.assert_digest_sql(finished.digest),
            ),
            lock_timeout_s=database.lock_timeout_s,
            statement_timeout_s=database.statement_timeout_s,
            lock_attempts=database.lock_attempts,
        ),
        check=Probe(Query(database.url, (*catalog.QUIET, look), read_only=True)),
        undo=Irreversible("roll it back with opsctl rollback db instead"),
        detail=rest,
    )
    return Plan(
        command="rollback db --half-failed finish",
        environment=choices.environment,
        protected=choices.protected,
        title=f"Finish {row.version}",
        steps=(step,),
        notes=(f"{found.least} of {len(found.statements)} statements took effect already.",),
        facts={"migration": row.version, "took_effect": found.least},
        estimate_s=2.0,
    )


def _ask(found: HalfFailed) -> OpsError:
    lines = []
    for number, statement in enumerate(found.statements, start=1):
        if number <= found.least:
            word = "took effect"
        elif number <= found.most:
            word = "may have taken effect"
        else:
            word = "did not take effect"
        text = " ".join(without_comments(statement).split())
        lines.append(f"{number}. {word}: {text[:_SHOWN]}{'...' if len(text) > _SHOWN else ''}")
    return OpsError(
        f"The migration {found.row.version} stopped half-way",
        why="\n".join(lines),
        hint="opsctl rollback db --half-failed clean-up, or --half-failed finish",
        code="half-failed",
        exit=Exit.REFUSED,
    )


def _maybe(found: HalfFailed) -> str:
    numbers = ", ".join(str(number) for number in range(found.least + 1, found.most + 1))
    return f"Whether these statements ran cannot be told from the schema: {numbers}."
