"""What the commands of the room do: plan a restore, fill a new database, look at what is kept."""

from __future__ import annotations

import re
import secrets
import time
from typing import TYPE_CHECKING

import psycopg

from opsctl.adapters import restores
from opsctl.adapters.backup_list import age_h, choose_to_restore, read_backups, utc_now
from opsctl.adapters.backup_manifest import Manifest
from opsctl.adapters.http import endpoint_probe
from opsctl.adapters.postgres import Connection, connect
from opsctl.adapters.sql import quote_identifier, quote_literal
from opsctl.areas.restore.facts import (
    MARK,
    Target,
    database_of,
    read_target,
    refuse,
    store_of,
    url_of,
)
from opsctl.areas.restore.plan import (
    Choices,
    drop_plan,
    filling,
    marker,
    new_name,
    new_token,
    swap_plan,
)
from opsctl.core.errors import Exit, OpsError
from opsctl.core.plan import Plan, Step
from opsctl.core.progress import duration, size
from opsctl.core.report import Report, Table
from opsctl.core.secrets import resolve_secret, url_with_database

if TYPE_CHECKING:
    from opsctl.core.call import Call

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$-]{0,62}")
_TOKEN = re.compile(r"[0-9a-f]{6}")
_KEPT = re.compile(r".+_(before|restore)_[0-9a-f]{6}")


def plan_restore(
    call: Call, *, backup: str | None, into: str | None, swap: bool, from_: str | None
) -> Plan:
    """Return the plan of a whole restore; reads the world and changes nothing.

    Everything about the backup is checked first: a damaged one is refused here.
    """
    store = store_of(call, from_=from_)
    manifest = choose_to_restore(read_backups(store), backup).manifest
    if manifest is None:
        raise TypeError("a whole backup has a manifest")
    if manifest.partial:
        raise refuse(
            f"The backup {manifest.id} does not bring a database back",
            f"it holds the rows of {len(manifest.partial)} tables alone",
            hint=f"opsctl restore tables {manifest.id} --tables {manifest.partial[0]}",
            code="backup-partial",
        )
    url = url_of(call)
    target = read_target(url)
    _refuse_missing_extensions(url, target, manifest)
    with restores.opened(store, manifest, identity=_identity(call), say=call.say) as folder:
        then = restores.catalog_of(folder, manifest)
    age = duration(age_h(manifest, utc_now()) * 3600)
    call.say(f"The backup {manifest.id} is {age} old")
    token = new_token(manifest.id, target.taken)
    choices = Choices(
        environment=call.name,
        protected=call.environment.protected,
        root=str(call.root),
        database=database_of(call),
        into=into or new_name(target.name, token),
        swap=swap or into is None,
        from_=from_,
        token=token,
    )
    if target.strategy == "schemas" and into is None:
        from opsctl.areas.restore.schemas import schemas_plan

        return schemas_plan(manifest, target, choices, url=url, then=then, looks=_looks(call))
    _check_name(choices.into, target)
    return swap_plan(manifest, target, choices, looks=_looks(call))


def fill(call: Call, *, backup: str, into: str, token: str, from_: str | None) -> Report:
    """Make a new database, restore a backup into it, compare everything, and mark it complete.

    It is filled under a working name, and gets its own together with the mark. A database of
    the working name is remade, for this restore alone has it. When anything fails it is dropped.
    """
    if not _NAME.fullmatch(into) or not _TOKEN.fullmatch(token):
        raise refuse("That is no name of a restore", "it is called by the plan of restore db",
                     hint="opsctl restore db", code="usage")  # fmt: skip
    store = store_of(call, from_=from_)
    manifest = restores.read_backup(store, backup)
    url = url_of(call)
    target = read_target(url)
    beside = url_with_database(url, target.maintenance)
    working = new_name(target.name, token)
    attempt = secrets.token_hex(8)
    new = url_with_database(url, working)
    jobs = call.environment.backup.jobs
    try:
        with (
            restores.opened(store, manifest, identity=_identity(call), say=call.say) as folder,
            connect(beside, read_only=False) as admin,
        ):
            _alone(admin, working)
            _refuse_if_over(admin, target.name, marker(manifest, token))
            _make(admin, manifest, working, token, attempt)
            complaints = restores.fill(folder, new, manifest, jobs=jobs, say=call.say)
            compared = restores.compare(
                folder, new, manifest, jobs=jobs, complaints=complaints, say=call.say
            )
            if compared.differences:
                raise _not_as_backed_up(manifest, compared.differences)
            call.say("Gathering statistics")
            with connect(new, read_only=False) as connection:
                connection.execute(b"ANALYZE")
            _mark(admin, manifest, working, into, token, attempt)
    except BaseException:
        _drop_if_ours(beside, working, filling(manifest, token, attempt))
        raise
    return Report(
        command="restore fill",
        title=f"The database {into} is filled from {manifest.id}, and agrees with it",
        environment=call.name,
        data={"database": into, "rows": manifest.rows, "unproven": list(compared.unproven)},
    )


def report_status(call: Call) -> Report:
    """List the databases that restores have made and kept."""
    target = read_target(url_of(call))
    with connect(url_with_database(url_of(call), target.maintenance)) as connection:
        rows = connection.execute(
            b"SELECT datname, pg_database_size(oid)::int8, "
            b"coalesce(shobj_description(oid, 'pg_database'), '') FROM pg_database ORDER BY 1"
        ).fetchall()
    found = [
        (str(name), size(count), _what(str(name), str(comment), target))
        for name, count, comment in rows
        if _KEPT.fullmatch(str(name)) or str(comment).startswith(MARK)
    ]
    return Report(
        command="restore status",
        title=f"{len(found)} databases were made or kept by restores",
        environment=call.name,
        tables=(Table("", ("database", "size", "what it is"), tuple(found)),) if found else (),
        notes=("Free one: opsctl restore drop DATABASE",) if found else (),
        data={"databases": [{"name": name, "what": what} for name, _, what in found]},
    )


def plan_drop(call: Call, name: str) -> Plan:
    """Return the plan that drops a database which a restore has kept."""
    target = read_target(url_of(call))
    if name == target.name or name not in target.others or not _KEPT.fullmatch(name):
        raise refuse(
            f"The database {name!r} is not dropped",
            "it is the environment's own" if name == target.name
            else "it is not there" if name not in target.others
            else "no restore of opsctl has kept or made it",
            hint="opsctl restore status",
            code="not-a-kept-database",
        )  # fmt: skip
    choices = Choices(
        environment=call.name, protected=call.environment.protected, root=str(call.root),
        database=database_of(call), into=name, swap=False, from_=None,
        token=new_token(name, ()),
    )  # fmt: skip
    with connect(url_with_database(url_of(call), target.maintenance)) as connection:
        row = connection.execute(b"SELECT pg_database_size(%s)::int8", (name,)).fetchone()
    return drop_plan(name, choices, target, about=f"{size(int(row[0]) if row else 0)}")


def _alone(connection: Connection, working: str) -> None:
    """Keep other attempts at this restore out, and end one whose parent was killed.

    The lock is the session's: it is gone with whoever held it.
    """
    key = _key(working)
    for _ in range(_ATTEMPTS):
        if _try_lock(connection, key):
            return
        connection.execute(
            f"SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' "
            f"AND granted AND pid <> pg_backend_pid() AND objsubid = 1 "
            f"AND (classid::bigint << 32 | objid::bigint) = {key}".encode()
        )
        time.sleep(_PAUSE_S)
    raise refuse(
        "This restore is being carried out by somebody else",
        f"another session fills {working} and could not be ended",
        hint="opsctl runs list",
        code="fill-under-way",
    )


_ATTEMPTS, _MOMENTS, _PAUSE_S = 50, 10, 0.1


def _key(working: str) -> str:
    return f"hashtextextended({quote_literal(f'opsctl fill {working}')}, 0)"


def _try_lock(connection: Connection, key: str) -> bool:
    row = connection.execute(f"SELECT pg_try_advisory_lock({key})".encode()).fetchone()
    return row is not None and bool(row[0])


def _refuse_if_over(connection: Connection, name: str, done: str) -> None:
    """Refuse to fill anything for a restore whose database is in use by now."""
    row = connection.execute(
        b"SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s",
        (name,),
    ).fetchone()
    if row is not None and row[0] == done:
        raise refuse(
            "This restore is over",
            f"{name} is the database that it made",
            hint="opsctl runs list",
            code="run-over",
        )


def _make(
    connection: Connection, manifest: Manifest, working: str, token: str, attempt: str
) -> None:
    """Make the new database, or remake it where this restore was cut off in it."""
    row = connection.execute(
        b"SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s",
        (working,),
    ).fetchone()
    name = quote_identifier(working)
    if row is not None:
        ours = (filling(manifest, token), marker(manifest, token))
        if row[0] is not None and not str(row[0]).startswith(ours):
            raise refuse(
                f"The database {working} is there already",
                "this restore did not make it",
                hint="opsctl restore db --into ANOTHER",
                code="database-exists",
            )
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())
    try:
        restores.make_roles(connection, manifest, powerless=False)
        connection.execute(restores.create_database_sql(working, manifest, portable=False).encode())
        comment = quote_literal(filling(manifest, token, attempt))
        connection.execute(f"COMMENT ON DATABASE {name} IS {comment}".encode())
        for statement in restores.database_properties(working, manifest):
            connection.execute(statement.encode())
    except psycopg.Error as error:
        raise OpsError(
            f"The database {working} was not made",
            why=error.diag.message_primary or "the connection was lost",
            hint="may the role of database.url make roles and databases?",
            code="database-not-made",
            exit=Exit.UNKNOWN,
        ) from None


def _mark(
    connection: Connection, manifest: Manifest, working: str, into: str, token: str, attempt: str
) -> None:
    """Say that the database is complete and give it its name, at once.

    Unless another attempt has remade it meanwhile.
    """
    rename = (
        f"ALTER DATABASE {quote_identifier(working)} RENAME TO {quote_identifier(into)};"
        if into != working
        else ""
    )
    connection.execute(
        f"DO $opsctl$ BEGIN IF (SELECT shobj_description(oid, 'pg_database') FROM pg_database "
        f"WHERE datname = {quote_literal(working)}) IS DISTINCT FROM "
        f"{quote_literal(filling(manifest, token, attempt))} THEN RAISE EXCEPTION "
        f"'another attempt is at work'; END IF; "
        f"COMMENT ON DATABASE {quote_identifier(working)} IS "
        f"{quote_literal(marker(manifest, token))}; {rename} END $opsctl$".encode()
    )


def _drop_if_ours(beside: str, working: str, comment: str) -> None:
    """Drop what this attempt has made, unless another attempt is at work: that one remakes it."""
    try:
        with connect(beside, read_only=False) as connection:
            # The server may take a moment to see that our own session is over.
            for _ in range(_MOMENTS):
                if _try_lock(connection, _key(working)):
                    break
                time.sleep(_PAUSE_S)
            else:
                return
            row = connection.execute(
                b"SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s",
                (working,),
            ).fetchone()
            if row is not None and row[0] == comment:
                connection.execute(
                    f"DROP DATABASE {quote_identifier(working)} WITH (FORCE)".encode()
                )
    except (OpsError, psycopg.Error):
        return  # the server is gone: the next attempt remakes it, the undo drops it


def _refuse_missing_extensions(url: str, target: Target, manifest: Manifest) -> None:
    with connect(url_with_database(url, target.maintenance)) as connection:
        rows = connection.execute(b"SELECT name FROM pg_available_extensions").fetchall()
    missing = restores.missing_extensions(manifest, {str(row[0]) for row in rows})
    if missing:
        names = ", ".join(f"{each.name} {each.version}" for each in missing)
        raise OpsError(
            "The backup cannot be restored on this server",
            why=f"it has no extension {names}",
            hint="install them on the server, then try again",
            code="extension-missing",
            exit=Exit.UNKNOWN,
        )


def _check_name(into: str, target: Target) -> None:
    if not _NAME.fullmatch(into):
        raise OpsError(
            f"The name {into!r} was not taken for a database",
            why="a name has letters, digits, _, $ and -, and at most 63 of them",
            hint="opsctl restore db --into NAME",
            code="usage",
        )
    if into in target.others:
        raise refuse(
            f"The database {into} is there already",
            "a restore goes into a new one, never onto data",
            hint="opsctl restore db --into ANOTHER, or without --into",
            code="database-exists",
        )


def _not_as_backed_up(manifest: Manifest, differences: tuple[str, ...]) -> OpsError:
    more = f" (and {len(differences) - 3} more)" if len(differences) > 3 else ""
    return OpsError(
        f"What was restored from {manifest.id} is not what was backed up",
        why="; ".join(differences[:3]) + more,
        hint=f"opsctl backup verify {manifest.id}; choose another backup: opsctl backup list",
        code="restore-differs",
        exit=Exit.FAILED,
    )


def _identity(call: Call) -> str | None:
    reference = call.environment.backup.identity
    return resolve_secret(reference) if reference else None


def _looks(call: Call) -> tuple[Step, ...]:
    return tuple(
        Step(
            id=f"health-{endpoint.name}",
            title=f"{endpoint.name} answers {endpoint.status}",
            safety="idempotent",
            check=endpoint_probe(endpoint),
        )
        for endpoint in call.environment.health
    )


def _what(name: str, comment: str, target: Target) -> str:
    if name == target.name:
        return "in use; " + comment
    if "_before_" in name:
        return "what was there before a restore: its undo needs it"
    return comment or "made by a restore"
