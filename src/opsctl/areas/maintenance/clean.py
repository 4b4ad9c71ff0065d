"""The plan that deletes old rows in batches: a step for each so many, and each is verified."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from opsctl.adapters.backup_list import choose, read_backups
from opsctl.adapters.stores import open_store
from opsctl.areas.maintenance.old_rows import OldRows, count_old_rows
from opsctl.core.action import Probe, Query
from opsctl.core.errors import Exit, OpsError
from opsctl.core.plan import Irreversible, Loss, Plan, Step

if TYPE_CHECKING:
    from opsctl.core.call import Call
    from opsctl.core.settings import Database

_MOST_STEPS = 40
"""Of one rule; with more rows a step has more batches."""
_ROWS_PER_S = 20000.0


@dataclass(frozen=True)
class Kept:
    """The backup that was named."""

    id: str
    snapshot_at: str


def clean(call: Call, *, only: Sequence[str], backup: str | None) -> Plan:
    """Return the plan that deletes what the rules of the settings name."""
    database = call.environment.database
    rules = call.environment.maintenance.retention
    unknown = [each for each in only if each not in {rule.name for rule in rules}]
    if database is None or not rules or unknown:
        raise OpsError(
            "No old rows were looked for",
            why=f"there is no rule {unknown[0]!r}" if database is not None and rules
            else f"the settings of {call.name} name no "
            + ("rules" if database is not None else "database"),
            hint="set maintenance.retention: which rows of which tables may go, and when",
            code="no-retention",
        )  # fmt: skip
    call.say("old rows are counted")
    found = count_old_rows(database, [rule for rule in rules if not only or rule.name in only])
    kept = None if backup is None else _backup(call, backup, found)
    return clean_plan(
        found, database, environment=call.name, protected=call.environment.protected, kept=kept,
        only=only,
    )  # fmt: skip


def clean_plan(
    found: Sequence[OldRows], database: Database, *, environment: str, protected: bool,
    kept: Kept | None, only: Sequence[str] = (),
) -> Plan:  # fmt: skip
    """Return the plan; without steps where nothing is old."""
    old = [each for each in found if each.rows]
    words = "".join(f" --only {name}" for name in only)
    words += f" --backup {kept.id}" if kept else ""
    notes = [
        f"{each.rule}: rows of {each.followers} change or go with them, by their foreign keys."
        for each in old
        if each.followers
    ]
    notes += [
        f"{each.rule}: nothing is older than {each.before}." for each in found if not each.rows
    ]
    if old and kept is None:
        notes.append("No backup is named: --backup ID says where the rows can be had again.")
    return Plan(
        command=f"maintenance clean{words}",
        environment=environment,
        protected=protected,
        title=f"Delete {sum(each.rows for each in old):,} old rows",
        steps=tuple(step for each in old for step in _steps(each, database, kept)),
        losses=tuple(
            Loss("rows", f"{each.name}, from before {each.before}", _whole(each), each.rows,
                 f"backup {kept.id}, of {kept.snapshot_at}" if kept else "")
            for each in old
        ),
        notes=tuple(notes),
        facts={"rows": {each.rule: each.rows for each in found},
               "before": {each.rule: each.before for each in found},
               "backup": kept.id if kept else None},
        estimate_s=max(1.0, round(sum(each.rows for each in old) / _ROWS_PER_S)),
    )  # fmt: skip


def _steps(old: OldRows, database: Database, kept: Kept | None) -> Iterator[Step]:
    batches = ceil(old.rows / old.batch)
    per_step = ceil(batches / _MOST_STEPS)
    count = ceil(batches / per_step)
    # A row that somebody holds is left for a later batch; for the last of them it is waited.
    skipping, waiting = (_batch(old, word) for word in (" SKIP LOCKED", ""))
    settings = (
        f"SET lock_timeout = {database.lock_timeout_s * 1000:.0f}",
        f"SET statement_timeout = {database.statement_timeout_s * 1000:.0f}",
    )
    for index in range(1, count + 1):
        left = max(0, old.rows - index * per_step * old.batch)
        gone = old.rows - max(0, old.rows - (index - 1) * per_step * old.batch)
        yield Step(
            id=f"clean-{old.rule}-{index}",
            title=f"Delete {old.rows - left - gone:,} rows of {old.name}, {left:,} are left",
            safety="verify",
            action=Query(
                database.url,
                (*settings, *([skipping] * per_step), *([waiting] if index == count else ())),
                transaction=False,
                lock_attempts=database.lock_attempts,
            ),
            check=Probe(
                Query(
                    database.url,
                    (_left_at_most(old, left),),
                    read_only=True,
                    statement_timeout_s=database.statement_timeout_s,
                )
            ),
            undo=Irreversible(_because(old, kept)),
            detail=(f"{per_step} times, each for itself: {skipping}",) if index == 1 else (),
        )


def _batch(old: OldRows, word: str) -> str:
    # ONLY: a row's place tells it from others within one table. The condition again: a row that
    # was waited for may be another by then.
    return (
        f"DELETE FROM ONLY {old.table} WHERE ctid = ANY (ARRAY(SELECT ctid FROM ONLY {old.table} "
        f"WHERE {old.condition} LIMIT {old.batch} FOR UPDATE{word})) AND {old.condition}"
    )


def _left_at_most(old: OldRows, left: int) -> str:
    counted = (
        f"SELECT count(*) AS n FROM (SELECT 1 FROM ONLY {old.table} WHERE {old.condition} "
        f"LIMIT {left + 1}) AS sample"
    )
    return (
        f"SELECT CASE WHEN n <= {left} THEN 'applied' ELSE 'absent' END, "
        f"CASE WHEN n > {left} THEN 'more than {left} are left; somebody may hold them' "
        f"ELSE '' END FROM ({counted}) AS counted"
    )


def _because(old: OldRows, kept: Kept | None) -> str:
    if kept is None:
        return "the rows are gone, and no backup was named"
    plain = re.fullmatch(r"[a-z_][a-z0-9_]*\.[a-z_][a-z0-9_]*", old.name)
    table = old.name if plain else shlex.quote(old.table)
    return (
        f"but the rows are in a backup: opsctl restore tables {kept.id} --tables {table} "
        "--mode missing"
    )


def _whole(old: OldRows) -> int | None:
    return old.estimated if old.estimated >= 0 else None


def _backup(call: Call, text: str, found: Sequence[OldRows]) -> Kept:
    """Return the backup that is named; raises OpsError `backup-not-enough` (exit 5)."""
    from datetime import datetime

    settings = call.environment.backup
    store = open_store(settings.to, root=call.root, environment=call.name, storage=settings.storage)
    chosen = choose(read_backups(store), text)
    manifest = chosen.manifest
    newest = max((datetime.fromisoformat(each.before) for each in found), default=None)
    why = ""
    if not chosen.verified:
        why = "it was not verified: nobody has seen it restored"
    elif manifest is None or manifest.partial:
        why = "it is of some tables alone"
    elif newest is not None and manifest.snapshot_at < newest:
        why = f"it is of {manifest.snapshot_at:%Y-%m-%d %H:%M}, and rows until {newest} go"
    if why or manifest is None:
        raise OpsError(
            f"The backup {chosen.id} does not hold what would be deleted",
            why=why,
            hint=f"opsctl backup create --env {call.name} --verify",
            code="backup-not-enough",
            exit=Exit.REFUSED,
        )
    return Kept(chosen.id, f"{manifest.snapshot_at:%Y-%m-%d %H:%M} UTC")
