"""A restore where databases cannot be made: new schemas take the names of the old ones.

One transaction renames the application's schemas, restores the backup's into their names, and
makes the project's triggers and policies on the platform's tables again, which would stay bound
to the old functions. The old schemas are kept, so it can be undone. Rows of auth and storage
that are gone are put back; newer ones stay.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from opsctl.adapters import catalog, pg_archive, restores
from opsctl.adapters.backup_list import choose_to_restore, read_backups
from opsctl.adapters.backup_manifest import Manifest
from opsctl.adapters.backups import CATALOG, DATA, unpack_catalog
from opsctl.adapters.postgres import Connection, connect, run_pg
from opsctl.adapters.postgres_programs import Clients
from opsctl.adapters.sql import qualified, quote_identifier, quote_literal
from opsctl.areas.restore.facts import (
    Target,
    is_application,
    read_target,
    refuse,
    store_of,
    url_of,
)
from opsctl.areas.restore.plan import (
    Choices,
    about_backup,
    backup_step,
    estimate_s,
    losses,
)
from opsctl.core.action import Command, Expect, Probe, Query
from opsctl.core.errors import Exit, OpsError
from opsctl.core.plan import Plan, Step, Undo
from opsctl.core.report import Report
from opsctl.core.secrets import resolve_secret

if TYPE_CHECKING:
    from opsctl.core.call import Call

_TIMEOUT_S = 24 * 3600.0
_PLATFORM_ROWS = ("auth", "storage")
"""Schemas of the platform whose rows belong to the application."""

_NOT_SWAPPED = ("large objects", "extension", "publication", "publication table",
                "event trigger", "default privileges")  # fmt: skip
"""What lies in no schema, or is another role's: a swap of schemas does not bring it back."""

_HUNG = ("trigger", "policy")
"""What a project hangs on the platform's tables."""


@dataclass(frozen=True)
class Now:
    """What is there now that the swap must put aside or make again."""

    hung: tuple[tuple[str, str], ...]
    """(drop, create) of the project's triggers and policies on the platform's tables."""
    extensions: tuple[tuple[str, str, bool], ...]
    """(name, schema, ours) of the extensions in the application's schemas."""
    owners: tuple[tuple[str, str], ...]
    """(schema, owner) of the application's schemas."""
    roles: frozenset[str]
    """Roles that we are or may become."""


def schemas_plan(
    manifest: Manifest,
    target: Target,
    choices: Choices,
    *,
    url: str,
    then: catalog.Catalog,
    looks: Sequence[Step],
) -> Plan:
    """Return the plan of a restore within the database; reads and changes nothing.

    `then` is the catalog that the backup holds.
    """
    now = read_now(url)
    foreign = [name for name, _, ours in now.extensions if not ours]
    if foreign:
        raise refuse(
            "The schemas of this database cannot be swapped",
            f"the extension {foreign[0]} lies in one of them and is not ours to move",
            hint=f"move it away first: ALTER EXTENSION {foreign[0]} SET SCHEMA extensions",
            code="extension-in-the-way",
        )
    moved = _moved(manifest, target)
    steps = [
        _verify_step(manifest, choices),
        _swap_step(target, manifest, choices, now, moved=moved, drops=_drops(then)),
    ]
    if target.has_data:
        steps.insert(1, backup_step(choices.environment, choices.root))
    steps.append(_compare_step(manifest, choices))
    kept = f"in the schemas {old_name('*', choices.token)}"
    own = {name: rows for name, rows in target.rows.items() if is_application(_schema(name))}
    return Plan(
        command="restore db",
        environment=choices.environment,
        protected=choices.protected,
        title=f"Restore the schemas of {target.name} from {manifest.id}",
        steps=(*steps, *looks),
        losses=tuple(
            loss
            for loss in losses(manifest, target, kept=kept)
            if loss.name in own or loss.name.startswith("of ")
        ),
        notes=(
            about_backup(manifest),
            "Databases cannot be made or renamed here, so schemas are: "
            f"{', '.join(moved)}. The old ones stay as {old_name('SCHEMA', choices.token)}.",
            "Rows of auth and storage that are gone are put back; newer and changed ones stay "
            "as they are.",
            "Readers and writers of these schemas wait while the rows are restored, about "
            f"{estimate_s(manifest, target):.0f} s.",
            "Supabase's own restore points and point-in-time recovery bring the whole project "
            "back, not only these schemas: opsctl backup list shows what there is.",
            *_not_restored(manifest, target, then, now),
        ),
        facts={"backup": manifest.id, "token": choices.token, "schemas": list(moved)},
        estimate_s=estimate_s(manifest, target) * 2,
        needs_name=target.has_data,
    )


def read_now(url: str) -> Now:
    """Look at what the swap must put aside or make again."""
    with connect(url) as connection:
        found = catalog.read_catalog(connection)
        extensions = connection.execute(
            b"SELECT e.extname, n.nspname, pg_has_role(e.extowner, 'USAGE') FROM pg_extension e "
            b"JOIN pg_namespace n ON n.oid = e.extnamespace ORDER BY 1"
        ).fetchall()
        schemas = connection.execute(
            b"SELECT nspname, pg_get_userbyid(nspowner) FROM pg_namespace ORDER BY 1"
        ).fetchall()
        roles = _our_roles(connection)
    return Now(
        hung=tuple(_drop_and_create(each) for each in hung_on_the_platform(found)),
        extensions=tuple(
            (str(name), str(schema), bool(ours))
            for name, schema, ours in extensions
            if is_application(str(schema)) and not str(schema).startswith("pg_")
        ),
        owners=tuple((str(name), str(owner)) for name, owner in schemas
                     if is_application(str(name))),
        roles=roles,
    )  # fmt: skip


def hung_on_the_platform(found: catalog.Catalog) -> tuple[catalog.CatalogObject, ...]:
    """Return the project's triggers and policies on tables that the platform owns."""
    return tuple(
        each
        for each in found.objects.values()
        if each.kind in _HUNG and not is_application(_schema(each.name))
    )


def old_name(schema: str, token: str) -> str:
    """Return what an old schema is called afterwards."""
    return f"opsctl_old_{token}_{schema}"[:63]


def undone_name(schema: str, token: str) -> str:
    """Return what a restored schema is called once the restore is undone."""
    return f"opsctl_undone_{token}_{schema}"[:63]


def swap_schemas(call: Call, *, backup: str, token: str, from_: str | None) -> Report:
    """Do the swap in one transaction; it is there whole, or nothing is."""
    store = store_of(call, from_=from_)
    manifest = restores.read_backup(store, backup)
    url = url_of(call)
    target = read_target(url)
    now = read_now(url)
    reference = call.environment.backup.identity
    identity = resolve_secret(reference) if reference else None
    with (
        restores.opened(store, manifest, identity=identity, say=call.say) as folder,
        tempfile.TemporaryDirectory(prefix="opsctl-restore-") as name,
    ):
        scripts = _write_scripts(Path(name), folder, manifest, target, now, token=token, url=url)
        clients = restores.clients_of(manifest)
        call.say("Restoring the schemas in one transaction")
        argv = [str(clients.program("psql")), "--no-psqlrc", "--quiet", "--single-transaction",
                "--set=ON_ERROR_STOP=1", "--output=" + str(Path(name) / "said"),
                *(f"--file={path}" for path in scripts)]  # fmt: skip
        run_pg(argv, url, what="The schemas were not restored, and nothing was changed",
               timeout_s=_TIMEOUT_S)  # fmt: skip
    with connect(url, read_only=False) as connection:
        call.say("Gathering statistics")
        connection.execute(b"ANALYZE")
    return Report(
        command="restore schemas",
        title=f"The schemas are restored from {manifest.id}",
        environment=call.name,
        data={"schemas": list(_moved(manifest, target))},
    )


def compare_schemas(call: Call, *, backup: str | None, from_: str | None) -> Report:
    """Compare the application's schemas with a backup, in place; raises where they differ."""
    store = store_of(call, from_=from_)
    manifest = choose_to_restore(read_backups(store), backup).manifest
    if manifest is None:
        raise TypeError("a whole backup has a manifest")
    own = tuple(each for each in manifest.tables if is_application(each.schema_name))
    sequences = {name: value for name, value in manifest.sequences.items()
                 if is_application(_schema(name))}  # fmt: skip
    here = manifest.model_copy(update={"tables": own, "sequences": sequences})
    reference = call.environment.backup.identity
    identity = resolve_secret(reference) if reference else None
    with restores.opened(store, manifest, identity=identity, say=call.say) as folder:
        compared = restores.compare(
            folder, url_of(call), here, jobs=call.environment.backup.jobs,
            without=_NOT_SWAPPED, say=call.say,
        )  # fmt: skip
    wrong = compared.differences
    if wrong:
        raise OpsError(
            f"The schemas are not as in {manifest.id}",
            why="; ".join(wrong[:3]) + (f" (and {len(wrong) - 3} more)" if len(wrong) > 3 else ""),
            hint="were they written to meanwhile? opsctl runs undo puts the old ones back",
            code="restore-differs",
            exit=Exit.FAILED,
        )
    return Report(
        command="restore check",
        title=f"The schemas agree with {manifest.id}",
        environment=call.name,
        data={"tables": len(own), "rows": sum(each.rows for each in own)},
    )


def _moved(manifest: Manifest, target: Target) -> tuple[str, ...]:
    """Return the schemas to swap: the application's that the backup holds, and public."""
    held = {each.schema_name for each in manifest.tables}
    return tuple(sorted({each for each in held if is_application(each)} | {"public"}))


def _drops(then: catalog.Catalog) -> tuple[str, ...]:
    """Return the statements that drop what the backup hung on the platform's tables."""
    found = []
    for each in hung_on_the_platform(then):
        match = _HUNG_NAME.fullmatch(each.name)
        if match is not None:
            found.append(f"DROP {each.kind.upper()} IF EXISTS {match['name']} ON {match['table']}")
    return tuple(found)


_IDENTIFIER = r'(?:[a-z_][a-z0-9_$]*|"(?:[^"\x00]|"")+")'
_HUNG_NAME = re.compile(rf"(?P<table>{_IDENTIFIER}\.{_IDENTIFIER})\.(?P<name>{_IDENTIFIER})")


def _swap_step(
    target: Target,
    manifest: Manifest,
    choices: Choices,
    now: Now,
    *,
    moved: tuple[str, ...],
    drops: tuple[str, ...],
) -> Step:
    token = choices.token
    argv = ("opsctl", "restore", "schemas", manifest.id, "--token", token,
            "--env", choices.environment, "--quiet",
            *(("--from", choices.from_) if choices.from_ else ()))  # fmt: skip
    there = [schema for schema in moved if schema in target.schemas]
    back: list[str] = []
    back += dict.fromkeys((*drops, *(drop for drop, _ in now.hung)))
    for name, schema, _ in now.extensions:
        if schema in moved:
            back.append(f"ALTER EXTENSION {quote_identifier(name)} SET SCHEMA "
                        f"{quote_identifier(old_name(schema, token))}")  # fmt: skip
    back += [
        f"ALTER SCHEMA {quote_identifier(schema)} RENAME TO "
        f"{quote_identifier(undone_name(schema, token))}"
        for schema in moved
    ]
    back += [
        f"ALTER SCHEMA {quote_identifier(old_name(schema, token))} RENAME TO "
        f"{quote_identifier(schema)}"
        for schema in there
    ]
    back += [create for _, create in now.hung]
    marker = old_name("public", token)
    return Step(
        id="swap",
        title=f"In one transaction: rename {', '.join(there)}, and restore the backup's in "
        "their place",
        safety="verify",
        action=Command(argv, cwd=choices.root, timeout_s=_TIMEOUT_S),
        check=_probe(choices, there=marker, applied="yes"),
        undo=Undo(
            title=f"Put the schemas {', '.join(there)} back as they were",
            action=Query(
                choices.database.url,
                tuple(back),
                lock_timeout_s=choices.database.lock_timeout_s,
                statement_timeout_s=choices.database.statement_timeout_s,
                lock_attempts=choices.database.lock_attempts,
            ),
            check=_probe(choices, there=marker, applied="no"),
        ),
        detail=tuple(f"{schema} -> {old_name(schema, token)}" for schema in there),
    )


def _probe(choices: Choices, *, there: str, applied: str) -> Probe:
    """Ask whether the old schema lies aside: it does if, and only if, the swap is done."""
    yes, no = ("applied", "absent") if applied == "yes" else ("absent", "applied")
    query = (
        f"SELECT CASE WHEN EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = "
        f"{quote_literal(there)}) THEN '{yes}' ELSE '{no}' END, ''"
    )
    return Probe(Query(choices.database.url, (query,), read_only=True))


def _verify_step(manifest: Manifest, choices: Choices) -> Step:
    argv = ("opsctl", "backup", "verify", manifest.id, "--env",
            choices.environment, "--quiet",
            *(("--from", choices.from_) if choices.from_ else ()))  # fmt: skip
    return Step(
        id="verify",
        title=f"Prove {manifest.id} in a scratch server first",
        safety="idempotent",
        action=Command(argv, cwd=choices.root, timeout_s=_TIMEOUT_S),
        undo=None,
    )


def _compare_step(manifest: Manifest, choices: Choices) -> Step:
    argv = ("opsctl", "restore", "check", manifest.id, "--env",
            choices.environment, "--quiet",
            *(("--from", choices.from_) if choices.from_ else ()))  # fmt: skip
    return Step(
        id="compare",
        title="The restored schemas agree with the backup, row by row",
        safety="idempotent",
        check=Probe(Command(argv, cwd=choices.root, timeout_s=_TIMEOUT_S), Expect(exit_code=0)),
    )


def _write_scripts(
    to: Path,
    folder: Path,
    manifest: Manifest,
    target: Target,
    now: Now,
    *,
    token: str,
    url: str,
) -> tuple[Path, ...]:
    clients = restores.clients_of(manifest)
    entries = pg_archive.read_archive((folder / DATA / "toc.dat").read_bytes())
    then = unpack_catalog((folder / CATALOG).read_bytes())
    moved = _moved(manifest, target)
    with connect(url) as connection:
        order = _insert_order(connection, manifest)
    own = [each for each in entries if _belongs(each, moved, then, now.roles)]
    before, pre, rows, data, post = (
        to / f"{index}-{name}.sql"
        for index, name in enumerate(("before", "pre", "rows", "data", "post"))
    )
    before.write_text(_prelude(manifest, now, moved, target, token), encoding="utf-8")
    pg_archive.write_script(folder / DATA, pre, clients=clients, entries=own, section="pre-data")
    _write_platform_rows(rows, folder, entries, order, clients=clients)
    pg_archive.write_script(folder / DATA, data, clients=clients, entries=own, section="data")
    pg_archive.write_script(folder / DATA, post, clients=clients, entries=own, section="post-data")
    return (before, pre, rows, data, post)


def _prelude(
    manifest: Manifest, now: Now, moved: tuple[str, ...], target: Target, token: str
) -> str:
    lines = ["SET client_min_messages = warning", "SET statement_timeout = 0",
             "SET lock_timeout = '10s'"]  # fmt: skip
    owners = dict(now.owners)
    lines += [drop for drop, _ in now.hung]
    for schema in moved:
        if schema in target.schemas:
            lines.append(f"ALTER SCHEMA {quote_identifier(schema)} RENAME TO "
                         f"{quote_identifier(old_name(schema, token))}")  # fmt: skip
        if schema == "public":
            # It is in every new database, so a dump does not make it.
            lines.append("CREATE SCHEMA public")
            owner = owners.get("public", "pg_database_owner")
            lines.append(f"ALTER SCHEMA public OWNER TO {quote_identifier(owner)}")
            rights = "USAGE" if manifest.server_major >= 15 else "ALL"
            lines.append(f"GRANT {rights} ON SCHEMA public TO PUBLIC")
    for name, schema, _ in now.extensions:
        if schema == "public":
            lines.append(f"ALTER EXTENSION {quote_identifier(name)} SET SCHEMA public")
    return ";\n".join(lines) + ";\n"


def _belongs(
    entry: pg_archive.ArchiveEntry,
    moved: tuple[str, ...],
    then: catalog.Catalog,
    roles: frozenset[str],
) -> bool:
    """Whether an entry of the archive is the application's, and ours to make."""
    if entry.kind == "SCHEMA":
        return entry.tag in moved and entry.tag != "public"
    if entry.kind in ("ACL", "COMMENT") and entry.tag.startswith("SCHEMA "):
        return entry.tag.removeprefix("SCHEMA ").strip('"') in moved
    if entry.kind in ("EXTENSION", "PUBLICATION", "EVENT TRIGGER", "SUBSCRIPTION", "DATABASE"):
        return False
    if entry.kind == "DEFAULT ACL":
        return entry.schema in moved and entry.owner in roles
    if entry.schema in moved:
        return True
    if entry.kind in ("TRIGGER", "POLICY"):
        hung = {_bare(each.name) for each in hung_on_the_platform(then)}
        return f"{entry.schema}.{entry.tag.replace(' ', '.', 1)}" in hung
    return False


def _write_platform_rows(
    path: Path,
    folder: Path,
    entries: Sequence[pg_archive.ArchiveEntry],
    order: Sequence[tuple[str, str]],
    *,
    clients: Clients,
) -> None:
    """Write SQL that puts back the rows of the platform's tables which are gone.

    They are read into a temporary table first; a row whose key is there stays as it is.
    """
    path.touch(mode=0o600)
    with path.open("wb") as script:
        for index, (schema, name) in enumerate(order):
            chosen = [each for each in entries if each.kind == "TABLE DATA"
                      and (each.schema, each.tag) == (schema, name)]  # fmt: skip
            part = path.with_name(f"rows-{index}.sql")
            pg_archive.write_script(folder / DATA, part, clients=clients, entries=chosen)
            _redirect(part, script, table=qualified(schema, name), temporary=f"opsctl_rows_{index}")
            part.unlink()


def _redirect(part: Path, script: IO[bytes], *, table: str, temporary: str) -> None:
    """Copy a table's COPY into another table, then insert from there what is missing."""
    write = script.write
    columns = ""
    copying = False
    with part.open("rb") as lines:
        for line in lines:
            if not copying and line.startswith(b"COPY ") and line.rstrip().endswith(b"FROM stdin;"):
                text = line.decode()
                columns = text[text.index("(") : text.rindex(")") + 1]
                write(f"CREATE TEMPORARY TABLE {temporary} ON COMMIT DROP AS "
                      f"SELECT * FROM {table} WITH NO DATA;\n".encode())  # fmt: skip
                write(f"COPY pg_temp.{temporary} {columns} FROM stdin;\n".encode())
                copying = True
            elif copying:
                write(line)
                if line.rstrip(b"\r\n") == b"\\.":
                    copying = False
                    names = columns.strip("()")
                    insert = f"INSERT INTO {table} {columns} OVERRIDING SYSTEM VALUE"
                    chosen = f"SELECT {names} FROM pg_temp.{temporary}"
                    write(f"{insert} {chosen} ON CONFLICT DO NOTHING;\n".encode())


def _insert_order(connection: Connection, manifest: Manifest) -> tuple[tuple[str, str], ...]:
    """Return the platform's tables that may be inserted into, parents before children."""
    wanted = [
        (each.schema_name, each.name)
        for each in manifest.tables
        if each.schema_name in _PLATFORM_ROWS and each.rows and "migrations" not in each.name
    ]
    names = json.dumps([qualified(*each) for each in wanted])
    allowed = connection.execute(
        b"SELECT value::regclass::oid FROM json_array_elements_text(%s::json) "
        b"WHERE to_regclass(value) IS NOT NULL AND has_table_privilege(value::regclass, 'INSERT')",
        (names,),
    ).fetchall()
    oids = [int(row[0]) for row in allowed]
    parents = connection.execute(
        b"SELECT conrelid::int8, confrelid::int8 FROM pg_constraint WHERE contype = 'f' "
        b"AND conrelid = ANY (%s) AND confrelid = ANY (%s) AND conrelid <> confrelid",
        (oids, oids),
    ).fetchall()
    rows = connection.execute(
        b"SELECT c.oid::int8, n.nspname, c.relname FROM pg_class c "
        b"JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = ANY (%s) ORDER BY 2, 3",
        (oids,),
    ).fetchall()
    left = {int(oid): (str(schema), str(name)) for oid, schema, name in rows}
    found: list[tuple[str, str]] = []
    while left:
        waiting = {child for child, parent in parents if parent in left}
        free = [oid for oid in left if oid not in waiting]
        for oid in free or list(left):
            found.append(left.pop(oid))
    return tuple(found)


def _our_roles(connection: Connection) -> frozenset[str]:
    rows = connection.execute(
        b"SELECT rolname FROM pg_roles WHERE pg_has_role(oid, 'MEMBER')"
    ).fetchall()
    return frozenset(str(row[0]) for row in rows)


def _drop_and_create(each: catalog.CatalogObject) -> tuple[str, str]:
    table, name = str(each.details["table"]), str(each.details["name"])
    create = str(each.details["create"])
    enabled = {"D": "DISABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS"}.get(
        str(each.details.get("enabled", "O"))
    )
    if enabled:
        create += f"; ALTER TABLE {table} {enabled} TRIGGER {name}"
    return (f"DROP {each.kind.upper()} IF EXISTS {name} ON {table}", create)


def _not_restored(
    manifest: Manifest, target: Target, then: catalog.Catalog, now: Now
) -> tuple[str, ...]:
    notes = []
    moved = _moved(manifest, target)
    named = (name.split(" ") for name in then.of("default privileges"))
    foreign = sorted(
        {role for role, *rest in named if role not in now.roles and rest and rest[0] in moved}
    )
    if foreign:
        notes.append(
            f"Default privileges for what {', '.join(foreign)} will make are NOT restored: "
            "only that role may set them."
        )
    if manifest.large_objects[0]:
        notes.append(f"{manifest.large_objects[0]} large objects are NOT restored this way.")
    stay = [schema for schema in target.schemas if schema not in moved]
    if stay:
        notes.append(f"Not in the backup, and left as they are: {', '.join(stay)}.")
    return tuple(notes)


def _schema(name: str) -> str:
    """Return the schema of a qualified name, without quotes."""
    if name.startswith('"'):
        return name[1:].partition('".')[0].replace('""', '"')
    return name.partition(".")[0]


def _bare(name: str) -> str:
    return name.replace('"', "")
