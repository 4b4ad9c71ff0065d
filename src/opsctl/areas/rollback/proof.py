"""Prove a rollback in scratch databases: the down SQL, what it loses, the stash, and the undo.

Nothing here touches the live database but to read. What comes out has run already, from the
first statement to the last, on a clone of the live schema, and its catalog was compared with a
replay of the migrations up to the target.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import psycopg

from opsctl.adapters import catalog
from opsctl.adapters.postgres import Connection
from opsctl.adapters.sql import (
    in_one_transaction,
    join_script,
    split_statements,
)
from opsctl.areas.rollback import stash as stashes
from opsctl.areas.rollback.derive import derive_down
from opsctl.areas.rollback.facts import Unit
from opsctl.areas.rollback.losses import Losses, find_losses, live_tables
from opsctl.areas.rollback.rehearsal import Rehearsal, created_extensions, message_of
from opsctl.core.errors import Exit, OpsError

_SHOWN_DIFFERENCES = 12
_TEAMS_FILE = "the team's file "


@dataclass(frozen=True)
class DownSql:
    """SQL that takes migrations back, and where it came from."""

    source: str
    """`the team's file PATH`, `prisma migrate diff` or `derived from the catalogs`."""
    statements: tuple[str, ...]


@dataclass(frozen=True)
class Proof:
    """A rollback that was carried out in a scratch database, and undone again."""

    sources: tuple[str, ...]
    """Where the down SQL of each migration came from, newest migration first."""
    down: tuple[str, ...]
    """The down SQL as it runs: in one transaction, DROP TABLE as a move where possible."""
    up: tuple[str, ...]
    """The migrations as the undo applies them again."""
    stash: stashes.Stash
    losses: Losses
    changes: tuple[catalog.Difference, ...]
    """How the target differs from what is there now."""
    locks: tuple[tuple[str, str], ...]
    """(table, lock mode) that the transaction takes, strongest first."""
    digest_before: str
    """The live catalog's digest now."""
    digest_after: str
    """The live catalog's digest once rolled back."""
    undo_fails: str | None
    """Why the undo did not work in the rehearsal, or None."""
    notes: tuple[str, ...]
    took_s: float


def prove(
    rehearsal: Rehearsal,
    connection: Connection,
    *,
    units: Sequence[Unit],
    rolled: Sequence[Unit],
    forget: Sequence[str],
    remember: Sequence[str],
    silent_triggers: bool,
    generate: Callable[[str, str], DownSql | str] | None,
    accept_drift: bool = False,
    say: Callable[[str], None],
) -> Proof:
    """Prove that `rolled` (newest first) of `units` (oldest first) can be rolled back.

    `forget` and `remember` change the tools' histories.
    `generate(url of now, url of target)` asks a tool for down SQL, or says why not.
    Raises OpsError: `drift` (exit 5), `replay-failed`, `no-down-sql`, `down-sql-wrong`.
    """
    began = time.monotonic()
    live = catalog.read_catalog(connection)
    say("Replaying the migrations in a scratch database")
    stages = _replay(rehearsal, units=units, rolled=rolled)
    clone_url = rehearsal.clone()
    clone = rehearsal.read(clone_url)
    notes = _fidelity(rehearsal, live=live, clone=clone)
    drift = catalog.compare(clone, stages.now)
    if drift and not accept_drift:
        raise _drift(drift)
    # What is there and no migration made stays there: it belongs to the target, too.
    target = catalog.apply_changes(clone, since=stages.now, to=stages.target)
    say("Trying the down SQL on a clone of the live schema")
    down, tried_url = _find_down(
        rehearsal,
        stages=stages,
        clone=clone,
        target=target,
        rolled=rolled,
        generate=generate,
    )
    statements, softened, impossible = in_one_transaction(
        join_script(text for part in down for text in part.statements)
    )
    if impossible:
        raise _cannot_run(impossible)
    if softened:
        notes.append(f"Run without CONCURRENTLY or its own COMMIT: {'; '.join(softened)}")
    up = tuple(text for unit in reversed(rolled) for text in in_one_transaction(unit.script)[0])
    losses = find_losses(
        before=rehearsal.identities(clone_url),
        after=rehearsal.identities(tried_url),
        live=live_tables(connection),
        writes=rehearsal.writes(rehearsal.clone(), [statements, *reversed(rolled)]),
    )
    taken = _taken_stashes(connection)
    stash = losses.stash(
        stashes.next_schema(rolled[-1].version, taken), silent_triggers=silent_triggers
    )
    say("Rehearsing the whole transaction, and its undo")
    digest = target.digest
    script, stash, locks, done_url = _rehearse_transaction(
        rehearsal, statements=statements, stash=stash, forget=forget, digest=digest,
        target=target,
    )  # fmt: skip
    undo_fails = _rehearse_undo(
        rehearsal, done_url, up=up, stash=stash, remember=remember, clone=clone
    )
    return Proof(
        sources=tuple(part.source for part in down),
        down=script,
        up=up,
        stash=stash,
        losses=losses,
        changes=catalog.compare(clone, target),
        locks=locks,
        digest_before=live.digest,
        digest_after=catalog.apply_changes(live, since=clone, to=target).digest,
        undo_fails=undo_fails,
        notes=tuple(notes),
        took_s=time.monotonic() - began,
    )


def schema_drift(
    rehearsal: Rehearsal, *, units: Sequence[Unit], say: Callable[[str], None]
) -> tuple[catalog.Difference, ...]:
    """Return how the live schema differs from a replay of everything that was applied."""
    say("Replaying the migrations in a scratch database")
    created = created_extensions(unit.script for unit in units)
    replayed = rehearsal.read(rehearsal.replay(units, created=created))
    return catalog.compare(rehearsal.read(rehearsal.clone()), replayed)


@dataclass(frozen=True)
class _Stages:
    """Catalogs of the replay: before each rolled-back unit, and now."""

    target: catalog.Catalog
    target_url: str
    now: catalog.Catalog
    between: tuple[catalog.Catalog, ...]
    """After each rolled-back unit, oldest first, where they are the newest; else empty."""


def _replay(rehearsal: Rehearsal, *, units: Sequence[Unit], rolled: Sequence[Unit]) -> _Stages:
    created = created_extensions(unit.script for unit in units)
    staying = [unit for unit in units if unit not in rolled]
    target_url = rehearsal.replay(staying, created=created)
    target = rehearsal.read(target_url)
    if list(units) == [*staying, *reversed(rolled)]:
        now_url = rehearsal.replay(staying, created=created)
        between = []
        for unit in reversed(rolled):
            rehearsal.apply(now_url, unit)
            between.append(rehearsal.read(now_url))
        return _Stages(target, target_url, between[-1] if between else target, tuple(between))
    now = rehearsal.read(rehearsal.replay(units, created=created))
    return _Stages(target, target_url, now, ())


def _find_down(
    rehearsal: Rehearsal,
    *,
    stages: _Stages,
    clone: catalog.Catalog,
    target: catalog.Catalog,
    rolled: Sequence[Unit],
    generate: Callable[[str, str], DownSql | str] | None,
) -> tuple[tuple[DownSql, ...], str]:
    """Return down SQL that reaches the target, newest migration first, and where it was tried."""
    if all(unit.down is not None for unit in rolled):
        team = tuple(
            DownSql(f"{_TEAMS_FILE}{unit.down_path}", split_statements(unit.down or ""))
            for unit in rolled
        )
        url, wrong = _try(rehearsal, team, target=target)
        if wrong:
            raise _wrong(wrong, team)
        return team, url
    tried: list[str] = []
    if generate is not None and all(unit.down is None for unit in rolled):
        made = generate(rehearsal.clone(), stages.target_url)
        if isinstance(made, str):
            tried.append(made)
        else:
            url, wrong = _try(rehearsal, (made,), target=target)
            if not wrong:
                return (made,), url
            tried.append(f"{made.source} did not reach the target: {wrong[0]}")
    derived = _derive(stages, clone=clone, target=target, rolled=rolled, tried=tried)
    url, wrong = _try(rehearsal, derived, target=target)
    if wrong:
        raise _none_found(rolled, [*tried, *wrong])
    if tried:
        derived = (replace(derived[0], source=f"{derived[0].source} ({tried[0]})"), *derived[1:])
    return derived, url


def _derive(
    stages: _Stages,
    *,
    clone: catalog.Catalog,
    target: catalog.Catalog,
    rolled: Sequence[Unit],
    tried: Sequence[str],
) -> tuple[DownSql, ...]:
    source = "derived from the catalogs"
    parts: list[DownSql] = []
    cannot: list[str] = []
    if stages.between:
        ends = [stages.target, *stages.between]
        for index, unit in enumerate(rolled):
            now, before = ends[len(ends) - 1 - index], ends[len(ends) - 2 - index]
            if unit.down is not None:
                text = f"{_TEAMS_FILE}{unit.down_path}"
                parts.append(DownSql(text, split_statements(unit.down)))
                continue
            derived = derive_down(now, before)
            cannot += [f"{unit.label}: {sentence}" for sentence in derived.cannot]
            parts.append(DownSql(f"{source} for {unit.label}", derived.statements))
    else:
        derived = derive_down(clone, target)
        cannot += derived.cannot
        parts.append(DownSql(source, derived.statements))
    if cannot:
        raise _none_found(rolled, [*tried, *cannot])
    return tuple(parts)


def _try(
    rehearsal: Rehearsal,
    parts: Sequence[DownSql],
    *,
    target: catalog.Catalog,
) -> tuple[str, tuple[str, ...]]:
    """Run down SQL on a clone; return its URL and what is wrong, nothing if it is proven."""
    statements, _, impossible = in_one_transaction(
        join_script(text for part in parts for text in part.statements)
    )
    if impossible:
        raise _cannot_run(impossible)
    url = rehearsal.clone()
    try:
        rehearsal.run(url, statements)
    except psycopg.Error as error:
        return url, (f"PostgreSQL refused it: {message_of(error)}",)
    differences = catalog.compare(rehearsal.read(url), target)
    return url, tuple(str(each) for each in differences)


def _rehearse_transaction(
    rehearsal: Rehearsal,
    *,
    statements: Sequence[str],
    stash: stashes.Stash,
    forget: Sequence[str],
    digest: str,
    target: catalog.Catalog,
) -> tuple[tuple[str, ...], stashes.Stash, tuple[tuple[str, str], ...], str]:
    """Run stash, down SQL and history in one transaction; with tables moved where that works."""
    attempts = [stashes.move_tables(stash, statements), (tuple(statements), stash)]
    failures: list[str] = []
    for down, variant in dict.fromkeys(attempts):
        url = rehearsal.clone()
        names = rehearsal.identities(url).relations
        script = (
            *stashes.keep_before(variant, manifest={}),
            *down,
            *stashes.keep_after(variant),
            *forget,
            catalog.assert_digest_sql(digest),
        )
        try:
            held = rehearsal.run(url, script, before_commit=_LOCKS)
        except psycopg.Error as error:
            failures.append(message_of(error))
            continue
        wrong = catalog.compare(rehearsal.read(url), target)
        if wrong:
            failures.append(str(wrong[0]))
            continue
        locks = {
            (f"{names[oid].schema}.{names[oid].name}", mode)
            for oid, mode in held
            if oid in names and names[oid].kind in ("r", "p")
        }
        return down, variant, _strongest(locks), url
    raise OpsError(
        "The rollback did not work in the rehearsal",
        why="; ".join(failures),
        hint="write the down SQL beside the migration, then try again",
        code="rehearsal-failed",
        exit=Exit.UNKNOWN,
    )


def _rehearse_undo(
    rehearsal: Rehearsal,
    url: str,
    *,
    up: Sequence[str],
    stash: stashes.Stash,
    remember: Sequence[str],
    clone: catalog.Catalog,
) -> str | None:
    """Undo the rehearsed rollback; return why that does not work, or None."""
    script = (
        *stashes.put_back_before(stash),
        *up,
        *stashes.put_back_after(stash),
        *remember,
        catalog.assert_digest_sql(clone.digest),
    )
    try:
        rehearsal.run(url, script)
    except psycopg.Error as error:
        return message_of(error)
    return None


def _fidelity(rehearsal: Rehearsal, *, live: catalog.Catalog, clone: catalog.Catalog) -> list[str]:
    """Say what the clone lacks; raises OpsError `clone-differs` where it is not explained."""
    missing = rehearsal.missing_extensions
    differences = catalog.compare(live, clone)
    # An older server prints the same view in other words, and what it prints counts.
    if differences and not missing and rehearsal.same_major:
        raise OpsError(
            "The scratch database does not equal the live one",
            why=_listing(differences),
            hint="is the database being changed right now? Try again when it is quiet",
            code="clone-differs",
            exit=Exit.UNKNOWN,
        )
    notes = []
    if missing:
        notes.append(f"The scratch server lacks these extensions: {', '.join(missing)}.")
    return notes


def _drift(differences: Sequence[catalog.Difference]) -> OpsError:
    return OpsError(
        "The database is not what its migrations make",
        why=_listing(differences),
        hint="bring the change into a migration, or take it back; then opsctl rollback status",
        code="drift",
        exit=Exit.REFUSED,
    )


def _wrong(wrong: Sequence[str], parts: Sequence[DownSql]) -> OpsError:
    files = ", ".join(part.source.removeprefix(_TEAMS_FILE) for part in parts)
    return OpsError(
        "The down SQL does not lead to the target",
        why="\n".join(wrong[:_SHOWN_DIFFERENCES]),
        hint=f"mend {files}, then try again",
        code="down-sql-wrong",
        exit=Exit.REFUSED,
    )


def _none_found(rolled: Sequence[Unit], why: Sequence[str]) -> OpsError:
    row = rolled[0].rows[0]
    place = (
        f"supabase/migrations/down/{row.version}_{row.name}.down.sql"
        if row.tool == "supabase"
        else f"prisma/migrations/{row.version}/down.sql"
    )
    return OpsError(
        "No safe down SQL could be found",
        why="\n".join(why[:_SHOWN_DIFFERENCES]),
        hint=f"write it into {place}, then try again: it is proven before it is used",
        code="no-down-sql",
        exit=Exit.UNKNOWN,
    )


def _cannot_run(statements: Sequence[str]) -> OpsError:
    return OpsError(
        "The down SQL cannot run in one transaction",
        why="; ".join(statements),
        hint="take these statements out of the down SQL",
        code="down-sql-wrong",
    )


def _listing(differences: Sequence[catalog.Difference]) -> str:
    lines = [str(each) for each in differences[:_SHOWN_DIFFERENCES]]
    if len(differences) > _SHOWN_DIFFERENCES:
        lines.append(f"... and {len(differences) - _SHOWN_DIFFERENCES} more")
    return "\n".join(lines)


def _taken_stashes(connection: Connection) -> tuple[str, ...]:
    rows = connection.execute(
        "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'opsctl\\_stash\\_%'"
    ).fetchall()
    return tuple(str(row[0]) for row in rows)


def _strongest(locks: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    best: dict[str, str] = {}
    for table, mode in locks:
        if table not in best or _MODES.index(mode) < _MODES.index(best[table]):
            best[table] = mode
    return tuple(sorted(best.items(), key=lambda item: (_MODES.index(item[1]), item[0])))


_MODES = ("AccessExclusiveLock", "ExclusiveLock", "ShareRowExclusiveLock", "ShareLock")

_LOCKS = f"""
SELECT DISTINCT relation::int8, mode FROM pg_locks
WHERE pid = pg_backend_pid() AND locktype = 'relation' AND mode IN {_MODES}
"""
