"""The plan of a whole restore: a pure function of the manifest, the target and the choices."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from opsctl.adapters.backup_list import BEFORE_RESTORE
from opsctl.adapters.backup_manifest import Manifest
from opsctl.adapters.contents import label
from opsctl.adapters.sql import quote_identifier, quote_literal
from opsctl.areas.restore.facts import MARK, Target
from opsctl.core.action import Command, Probe, Query
from opsctl.core.plan import Irreversible, Loss, Plan, Step, Undo
from opsctl.core.progress import size
from opsctl.core.secrets import in_database
from opsctl.core.settings import Database

_TIMEOUT_S = 24 * 3600.0
_SHOWN_LOSSES = 12
_RESTORE_BYTES_PER_S = 45_000_000
"""1,182 MB took 21 to 29 s on two cores; building indexes is what it waits for."""


@dataclass(frozen=True)
class Choices:
    """What was asked for, and where."""

    environment: str
    protected: bool
    root: str
    database: Database
    into: str
    """The name of the new database."""
    swap: bool
    from_: str | None
    token: str
    """Tells this restore's database from another's."""


def swap_plan(
    manifest: Manifest, target: Target, choices: Choices, *, looks: Sequence[Step]
) -> Plan:
    """Return the plan: a backup of what is there, a new database beside it, and the swap.

    `looks` come last: is the application well?
    """
    kept = kept_name(target.name, choices.token)
    replaces = choices.swap and target.exists
    steps = [_fill_step(manifest, target, choices)]
    if replaces and target.has_data:
        steps.insert(0, backup_step(choices.environment, choices.root))
    if choices.swap:
        steps.append(_swap_step(manifest, target, choices, kept))
        steps += looks
    title = (
        f"Restore {target.name} from {manifest.id}"
        if choices.swap
        else f"Restore {manifest.id} into the new database {choices.into}"
    )
    return Plan(
        command="restore db",
        environment=choices.environment,
        protected=choices.protected,
        title=title,
        steps=tuple(steps),
        losses=losses(manifest, target, kept=f"in the database {kept}") if replaces else (),
        notes=(
            about_backup(manifest),
            *(_about_swap(target, kept) if choices.swap else ()),
            *_about_roles(manifest, target),
        ),
        facts={
            "backup": manifest.id,
            "into": choices.into,
            "kept": kept if replaces else None,
            "token": choices.token,
        },
        estimate_s=estimate_s(manifest, target),
        needs_name=replaces and target.has_data,
    )


def drop_plan(name: str, choices: Choices, target: Target, *, about: str) -> Plan:
    """Return the plan that frees a database which a restore has kept."""
    step = Step(
        id="drop",
        title=f"Drop the database {name}",
        safety="verify",
        action=Query(
            in_database(choices.database.url, target.maintenance),
            (f"DROP DATABASE {quote_identifier(name)}",),
            transaction=False,
        ),
        check=_gone(choices, target, name),
        undo=Irreversible("what the database held is gone, and its restore cannot be undone"),
        detail=(about,),
    )
    return Plan(
        command=f"restore drop {name}",
        environment=choices.environment,
        protected=choices.protected,
        title=f"Drop the database {name}, which a restore kept",
        steps=(step,),
        losses=(Loss("database", name, None, None, ""),),
        facts={"database": name},
        estimate_s=2.0,
        needs_name=True,
    )


def backup_step(environment: str, root: str) -> Step:
    """Return the step that backs up what is there now; `root` is where the settings are."""
    argv = ("opsctl", "backup", "create", "--label", BEFORE_RESTORE,
            "--env", environment, "--quiet")  # fmt: skip
    return Step(
        id="backup",
        title="Make a fresh backup of what is there now",
        safety="idempotent",
        action=Command(argv, cwd=root, timeout_s=_TIMEOUT_S),
        undo=None,
    )


def kept_name(name: str, token: str) -> str:
    """Return what the old database is called once another has its name; at most 63 bytes."""
    return f"{name[:40]}_before_{token}"


def new_name(name: str, token: str) -> str:
    """Return what the new database is called until it has the name."""
    return f"{name[:40]}_restore_{token}"


def new_token(backup: str, taken: Collection[str]) -> str:
    """Return what tells this restore's names from others': the same for the same plan."""
    for count in itertools.count():
        token = hashlib.sha256(f"{backup} {count}".encode()).hexdigest()[:6]
        if not any(name.endswith(token) for name in taken):
            return token
    raise AssertionError("unreachable")


def marker(manifest: Manifest, token: str) -> str:
    """Return the comment on a database that is filled and compared."""
    return f"{MARK}{manifest.id} ({token}) complete"


def filling(manifest: Manifest, token: str, attempt: str = "") -> str:
    """Return the comment on a database that is being filled, or how that of any attempt begins.

    Each attempt has its own: one whose parent was killed may go on beside the next.
    """
    return f"{MARK}{manifest.id} ({token}) filling {attempt}"


def about_backup(manifest: Manifest) -> str:
    """Return of when the backup is, in a sentence; not how old: a plan is the same tomorrow."""
    return (
        f"The backup is of {manifest.snapshot_at:%Y-%m-%d %H:%M:%S} UTC: what was written since "
        "is not in it."
    )


def estimate_s(manifest: Manifest, target: Target) -> float:
    """Return how long it takes, in seconds: the restore, the hashes, a backup before."""
    restore = manifest.database_bytes / _RESTORE_BYTES_PER_S + manifest.hash_s + 2.0
    before = manifest.took_s if target.has_data else 0.0
    return float(round(restore + before))


def losses(manifest: Manifest, target: Target, *, kept: str) -> tuple[Loss, ...]:
    """Return what is there now and not in the backup, by counts, the largest first."""
    then = {label(each.schema_name, each.name): each.rows for each in manifest.tables}
    found = []
    for name in sorted(target.rows.keys() | then.keys()):
        now, was = target.rows.get(name), then.get(name)
        if now is None or now == was:
            continue
        if was is None:
            found.append(Loss("table", name, now, now, kept))
        elif now > was:
            found.append(Loss("rows", name, now, now - was, kept))
    found.sort(key=lambda loss: -(loss.values or 0))
    rest = found[_SHOWN_LOSSES:]
    if rest:
        rows = sum(loss.rows or 0 for loss in rest)
        more = sum(loss.values or 0 for loss in rest)
        found[_SHOWN_LOSSES:] = [Loss("rows", f"of {len(rest)} more tables", rows, more, kept)]
    return tuple(found)


def _fill_step(manifest: Manifest, target: Target, choices: Choices) -> Step:
    argv = ("opsctl", "restore", "fill", manifest.id, "--into",
            choices.into, "--token", choices.token, "--env", choices.environment, "--quiet",
            *(("--from", choices.from_) if choices.from_ else ()))  # fmt: skip
    name, work = choices.into, new_name(target.name, choices.token)
    done, under_way = marker(manifest, choices.token), filling(manifest, choices.token)
    # Cut off between making a database and commenting on it, the working name alone is ours.
    unmarked = "c.text IS NULL OR " if name == work else ""
    ours = f"{unmarked}starts_with(c.text, {quote_literal(under_way)})"
    look = (
        f"SELECT CASE WHEN c.text = {quote_literal(done)} THEN 'applied' "
        f"WHEN d.oid IS NULL OR {ours} THEN 'absent' "
        "ELSE 'blocked' END, CASE WHEN d.oid IS NOT NULL THEN 'a database of that name is there, "
        "and this restore did not make it' END FROM (SELECT 1) AS one "
        f"LEFT JOIN pg_database d ON d.datname = {quote_literal(name)} "
        "LEFT JOIN LATERAL (SELECT shobj_description(d.oid, 'pg_database')) AS c (text) ON true"
    )
    maintenance = in_database(choices.database.url, target.maintenance)
    return Step(
        id="fill",
        title=f"Restore into a new database {name}, and compare every row and object",
        safety="verify",
        action=Command(argv, cwd=choices.root, timeout_s=_TIMEOUT_S),
        check=Probe(Query(maintenance, (look,), read_only=True)),
        undo=Undo(
            title=f"Drop the database {name}",
            action=Query(
                maintenance,
                (f"DROP DATABASE IF EXISTS {quote_identifier(name)} WITH (FORCE)",)
                if target.major >= 13
                else (f"DROP DATABASE IF EXISTS {quote_identifier(name)}",),
                transaction=False,
                statement_timeout_s=choices.database.statement_timeout_s,
            ),
            check=_gone(choices, target, name),
        ),
        detail=(
            f"{len(manifest.tables):,} tables, {manifest.rows:,} rows, "
            f"{size(manifest.database_bytes)}, from {manifest.id}",
        ),
    )


def _swap_step(manifest: Manifest, target: Target, choices: Choices, kept: str) -> Step:
    live, new, old = (quote_identifier(each) for each in (target.name, choices.into, kept))
    forth = [_drain(target.name, choices.into)]
    back = [_drain(target.name, kept)]
    if target.exists:
        forth.append(f"ALTER DATABASE {live} RENAME TO {old}")
    forth.append(f"ALTER DATABASE {new} RENAME TO {live}")
    back.append(f"ALTER DATABASE {live} RENAME TO {new}")
    if target.exists:
        back.append(f"ALTER DATABASE {old} RENAME TO {live}")
    title = (
        f"In one transaction: disconnect everybody, rename {target.name} to {kept} and "
        f"{choices.into} to {target.name}"
        if target.exists
        else f"Rename {choices.into} to {target.name}"
    )
    return Step(
        id="swap",
        title=title,
        safety="verify",
        action=_query(choices, target, forth),
        check=_swapped(manifest, target, choices, kept, undo=False),
        undo=Undo(
            title=f"Put {target.name} back as it was before the restore",
            action=_query(choices, target, back),
            check=_swapped(manifest, target, choices, kept, undo=True),
        ),
        detail=tuple(text for text in forth if text.startswith("ALTER")),
    )


def _drain(*names: str) -> str:
    listed = ", ".join(quote_literal(name) for name in names)
    return (
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
        f"WHERE datname IN ({listed}) AND pid <> pg_backend_pid() "
        "AND backend_type <> 'autovacuum worker'"
    )


def _swapped(
    manifest: Manifest, target: Target, choices: Choices, kept: str, *, undo: bool
) -> Probe:
    """Ask which database has the name: by the comment that the restore has left on its own."""

    def is_ours(name: str) -> str:
        return (
            f"(SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = "
            f"{quote_literal(name)}) IS NOT DISTINCT FROM "
            f"{quote_literal(marker(manifest, choices.token))}"
        )

    def there(name: str) -> str:
        return f"EXISTS (SELECT 1 FROM pg_database WHERE datname = {quote_literal(name)})"

    live, new = target.name, choices.into
    swapped = f"{is_ours(live)} AND NOT {there(new)}"
    not_swapped = f"{is_ours(new)} AND NOT {there(kept)}"
    if target.exists:
        swapped += f" AND {there(kept)}"
        not_swapped += f" AND {there(live)}"
    else:
        not_swapped += f" AND NOT {there(live)}"
    applied, absent = (not_swapped, swapped) if undo else (swapped, not_swapped)
    query = (
        f"SELECT CASE WHEN {applied} THEN 'applied' WHEN {absent} THEN 'absent' "
        "ELSE 'blocked' END, CASE WHEN NOT (" + applied + ") AND NOT (" + absent + ") THEN "
        "'the databases are not named as planned: somebody renamed or dropped one' END"
    )
    return Probe(
        Query(in_database(choices.database.url, target.maintenance), (query,), read_only=True)
    )


def _gone(choices: Choices, target: Target, name: str) -> Probe:
    query = (
        f"SELECT CASE WHEN EXISTS (SELECT 1 FROM pg_database WHERE datname = "
        f"{quote_literal(name)}) THEN 'absent' ELSE 'applied' END, ''"
    )
    return Probe(
        Query(in_database(choices.database.url, target.maintenance), (query,), read_only=True)
    )


def _query(choices: Choices, target: Target, statements: Sequence[str]) -> Query:
    return Query(
        database=in_database(choices.database.url, target.maintenance),
        statements=tuple(statements),
        # Renaming waits up to 5 s for those who were disconnected to be gone.
        lock_timeout_s=max(choices.database.lock_timeout_s, 10.0),
        statement_timeout_s=choices.database.statement_timeout_s,
        lock_attempts=max(choices.database.lock_attempts, 3),
        lock_pause_s=0.2,
    )


def _about_swap(target: Target, kept: str) -> tuple[str, ...]:
    if not target.exists:
        return (f"The database {target.name} is not there: the restored one gets its name.",)
    notes = [
        f"The old database stays as {kept}; free it with: opsctl restore drop {kept}.",
        "Undo puts it back; what is written after the swap then stays in the restored one.",
    ]
    if target.sessions:
        who = ", ".join(f"{count} of {app}" for app, count in target.sessions[:6])
        notes.append(f"Disconnected at the swap, for some milliseconds: {who}.")
    if target.estimated:
        notes.append("Rows are estimates: the database is too large to be counted for a plan.")
    return tuple(notes)


def _about_roles(manifest: Manifest, target: Target) -> tuple[str, ...]:
    notes = []
    if manifest.server_major > target.major:
        notes.append(
            f"The backup is of PostgreSQL {manifest.server_major} and the server is "
            f"{target.version}: what the older one does not know makes the restore fail."
        )
    notes.append("Roles that are missing are made without a password.")
    return tuple(notes)
