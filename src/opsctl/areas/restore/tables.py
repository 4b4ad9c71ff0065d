"""Restore the rows of tables, from a backup or from CSV files, with a way back.

Rows are staged in a schema of our own; what changes is worked out by key, shown, and done in
one transaction, which keeps what it changes or deletes. Planning does the same in a transaction
that is rolled back.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from opsctl.adapters import contents, pg_archive, restores
from opsctl.adapters.backup_list import choose_to_restore, read_backups
from opsctl.adapters.backups import DATA
from opsctl.adapters.postgres import Connection, connect
from opsctl.adapters.sql import qualified, quote_identifier, quote_literal
from opsctl.areas.restore.changes import (
    MODES,
    Counts,
    Mode,
    Staged,
    TableShape,
    apply_statements,
    count_changes,
    undo_statements,
)
from opsctl.areas.restore.csv_files import CsvFile, read_csv
from opsctl.areas.restore.facts import database_of, store_of, url_of
from opsctl.areas.restore.plan import new_token
from opsctl.core.action import Command, Probe, Query
from opsctl.core.errors import OpsError
from opsctl.core.plan import Loss, Plan, Step, Undo
from opsctl.core.progress import Progress
from opsctl.core.report import Report
from opsctl.core.secrets import resolve_secret

if TYPE_CHECKING:
    from opsctl.core.call import Call

_TIMEOUT_S = 6 * 3600.0


def plan_restore_tables(
    call: Call,
    *,
    backup: str | None,
    tables: Sequence[str],
    mode: str | None,
    csv: Sequence[str],
    from_: str | None,
) -> Plan:
    """Return the plan; the live database is read, and written to in a transaction undone."""
    chosen = _mode(mode, csv=bool(csv))
    files = [read_csv(text, root=Path.cwd()) for text in csv]
    if bool(tables) == bool(files):
        raise OpsError(
            "Which tables are meant is not clear",
            why="--tables takes them from a backup, --csv from files; one of them is needed",
            hint="opsctl restore tables --tables profiles, or --csv profiles=profiles.csv",
            code="usage",
        )
    name = "csv" if files else ""
    if not files:
        manifest = choose_to_restore(read_backups(store_of(call, from_=from_)), backup).manifest
        name = manifest.id if manifest is not None else ""
    wanted = [each.table for each in files] or list(tables)
    with _session(call) as connection:
        taken = [str(row[0]) for row in connection.execute(b"SELECT nspname FROM pg_namespace")]
        token = new_token(f"{name} {' '.join(wanted)}", taken)
        staged = _load(
            call, connection, backup=name, tables=wanted, files=files, from_=from_, schema=None
        )
        counts = count_changes(connection, staged, chosen)
        connection.rollback()
    return _plan(
        call, staged, counts, mode=chosen, backup=name, token=token, files=files, from_=from_
    )


def stage(
    call: Call,
    *,
    backup: str | None,
    tables: Sequence[str],
    csv: Sequence[str],
    token: str,
    from_: str | None,
) -> Report:
    """Fill the staging tables, as the plan's first step; what was cut off is remade."""
    files = [read_csv(text, root=Path.cwd()) for text in csv]
    schema = schema_name(token)
    with _session(call) as connection:
        connection.execute(f"DROP SCHEMA IF EXISTS {quote_identifier(schema)} CASCADE".encode())
        connection.execute(f"CREATE SCHEMA {quote_identifier(schema)}".encode())
        staged = _load(
            call, connection, backup=backup or "", tables=tables or [f.table for f in files],
            files=files, from_=from_, schema=schema,
        )  # fmt: skip
        comment = quote_literal("opsctl: staged")
        connection.execute(f"COMMENT ON SCHEMA {quote_identifier(schema)} IS {comment}".encode())
        connection.commit()
    rows = {each.shape.label: each.rows for each in staged}
    return Report(
        command="restore stage",
        title=f"{len(rows)} tables are staged in {schema}",
        environment=call.name,
        data={"schema": schema, "rows": rows},
    )


def schema_name(token: str) -> str:
    """Return the schema that holds the staged and the kept rows of one restore."""
    return f"opsctl_restore_{token}"


def _mode(text: str | None, *, csv: bool) -> Mode:
    for mode in MODES:
        if mode == (text or ("append" if csv else "replace")):
            return mode
    raise OpsError(
        f"The mode {text!r} is not known",
        why=f"there are {', '.join(MODES)}",
        hint="opsctl restore tables --mode replace",
        code="usage",
    )


@contextmanager
def _session(call: Call) -> Iterator[Connection]:
    """Give a session in a transaction that sees every row, or fails where it may not."""
    with connect(url_of(call), read_only=False, autocommit=False) as connection:
        contents.settle(connection)
        connection.commit()
        try:
            yield connection
        except psycopg.Error as error:
            diag = error.diag
            raise OpsError(
                "The rows were not staged, and nothing was changed",
                why=" ".join(
                    part for part in (diag.message_primary, diag.message_detail, diag.context)
                    if part
                ) or "the connection was lost",
                hint="do the columns still have the types that the rows were written with?",
                code="rows-not-staged",
            ) from None  # fmt: skip


def _load(
    call: Call,
    connection: Connection,
    *,
    backup: str,
    tables: Sequence[str],
    files: Sequence[CsvFile],
    from_: str | None,
    schema: str | None,
) -> tuple[Staged, ...]:
    """Stage rows in temporary tables, or in tables of a schema; return what is staged where."""
    shapes = [_shape(connection, text) for text in tables]
    if files:
        return tuple(
            _load_csv(connection, shape, file, index, schema)
            for index, (shape, file) in enumerate(zip(shapes, files, strict=True))
        )
    store = store_of(call, from_=from_)
    manifest = restores.read_backup(store, backup)
    reference = call.environment.backup.identity
    identity = resolve_secret(reference) if reference else None
    with (
        restores.opened(store, manifest, identity=identity, say=call.say) as folder,
        tempfile.TemporaryDirectory(prefix="opsctl-rows-") as scratch,
    ):
        entries = pg_archive.read_archive((folder / DATA / "toc.dat").read_bytes())
        clients = restores.clients_of(manifest)
        held = {(each.schema_name, each.name): each.rows for each in manifest.tables}
        progress = Progress(call.say, "Staging rows", sum(held.values()))
        found = []
        for index, shape in enumerate(shapes):
            leaves = [each for each in shape.leaves if each in held]
            if not leaves:
                raise OpsError(
                    f"The backup {backup} has no rows of {shape.label}",
                    why="no table of that name was in it, or it was left out",
                    hint=f"opsctl backup show {backup}",
                    code="no-such-table",
                )
            staged: Staged | None = None
            for leaf in leaves:
                part = Path(scratch) / "rows.sql"
                entry = [each for each in entries if each.kind == "TABLE DATA"
                         and (each.schema, each.tag) == leaf]  # fmt: skip
                pg_archive.write_script(folder / DATA, part, clients=clients, entries=entry)
                staged = _load_script(connection, shape, part, index, schema, staged)
                part.unlink()
                progress.add(held[leaf])
            wanted = sum(held[leaf] for leaf in leaves)
            if staged is None or staged.rows != wanted:
                raise OpsError(
                    f"The rows of {shape.label} are not those of the backup",
                    why=f"{staged.rows if staged else 0} were staged instead of {wanted}",
                    hint=f"opsctl backup verify {backup}",
                    code="rows-not-staged",
                )
            found.append(staged)
        return tuple(found)


def _load_script(
    connection: Connection,
    shape: TableShape,
    script: Path,
    index: int,
    schema: str | None,
    before: Staged | None,
) -> Staged:
    """Copy the rows of one COPY block of a script into the staging table."""
    rows = before.rows if before is not None else 0
    staged = before
    with script.open("rb") as lines:
        for line in lines:
            if line.startswith(b"COPY ") and line.rstrip().endswith(b"FROM stdin;"):
                text = line.decode()
                inner = text[text.index("(") + 1 : text.rindex(")")]
                columns = _split_names(inner)
                break
        else:
            columns = ()
        if not columns and staged is not None:
            return staged
        if staged is None:
            staged = _make_staging(connection, shape, columns or shape.writable, index, schema)
        listed = ", ".join(map(quote_identifier, columns))
        if columns:
            with connection.cursor().copy(
                f"COPY {staged.table} ({listed}) FROM STDIN".encode()
            ) as copy:
                for line in lines:
                    if line.rstrip(b"\r\n") == b"\\.":
                        break
                    copy.write(line)
                    rows += 1
    return Staged(shape, staged.table, staged.columns, staged.gone, rows, staged.schema)


def _load_csv(
    connection: Connection, shape: TableShape, file: CsvFile, index: int, schema: str | None
) -> Staged:
    file.check(shape.columns, shape.required, shape.generated)
    staged = _make_staging(connection, shape, file.columns, index, schema)
    listed = ", ".join(map(quote_identifier, file.columns))
    options = f"FORMAT csv, HEADER true, DELIMITER {quote_literal(file.delimiter)}, ENCODING 'UTF8'"
    try:
        with connection.cursor().copy(
            f"COPY {staged.table} ({listed}) FROM STDIN ({options})".encode()
        ) as copy:
            for chunk in file.chunks():
                copy.write(chunk)
    except psycopg.Error as error:
        raise file.wrong(error.diag.message_primary or "", error.diag.context or "") from None
    row = connection.execute(f"SELECT count(*) FROM {staged.table}".encode()).fetchone()
    return Staged(shape, staged.table, staged.columns, (), int(row[0]) if row else 0,
                  staged.schema)  # fmt: skip


def _make_staging(
    connection: Connection,
    shape: TableShape,
    columns: Sequence[str],
    index: int,
    schema: str | None,
) -> Staged:
    """Make a table for the rows: today's types where a column is there today, text otherwise."""
    types = dict(shape.types)
    gone = tuple(each for each in columns if each not in types)
    defined = ", ".join(
        f"{quote_identifier(each)} {types.get(each, 'text')}"
        + (" NOT NULL" if each in shape.filled else "")
        for each in columns
    )
    name = f"rows_{index}"
    if schema is None:
        table = f"pg_temp.{quote_identifier(name)}"
        connection.execute(f"CREATE TEMPORARY TABLE {quote_identifier(name)} ({defined}) "
                           "ON COMMIT DROP".encode())  # fmt: skip
    else:
        table = qualified(schema, name)
        connection.execute(f"CREATE TABLE {table} ({defined})".encode())
    kept = tuple(each for each in columns if each in types and each not in shape.generated)
    return Staged(shape, table, kept, gone, 0, schema)


def _shape(connection: Connection, text: str) -> TableShape:
    """Look at a table as it is now; raises OpsError `no-such-table`."""
    row = connection.execute(
        b"SELECT c.oid::int8, n.nspname, c.relname, pg_has_role(c.relowner, 'USAGE') "
        b"FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        b"WHERE c.oid = to_regclass(%s) AND c.relkind IN ('r', 'p')",
        (text if "." in text else f"public.{text}",),
    ).fetchone()
    if row is None:
        raise OpsError(
            f"There is no table {text!r} to restore rows into",
            why="no table is called so; without a schema it is looked for in public",
            hint="opsctl restore db --into NAME brings whole tables back, beside the old ones",
            code="no-such-table",
        )
    oid, schema, name, ours = int(row[0]), str(row[1]), str(row[2]), bool(row[3])
    columns = connection.execute(
        b"SELECT attname, format_type(atttypid, atttypmod), attgenerated <> '', "
        b"attidentity, attnotnull AND NOT atthasdef AND attidentity = '', attnotnull "
        b"FROM pg_attribute WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped "
        b"ORDER BY attnum",
        (oid,),
    ).fetchall()
    key = connection.execute(
        b"SELECT a.attname FROM pg_index i, unnest(i.indkey) WITH ORDINALITY AS k (number, at) "
        b"JOIN pg_attribute a ON a.attrelid = %s AND a.attnum = k.number "
        b"WHERE i.indrelid = %s AND i.indisprimary AND k.number > 0 ORDER BY k.at",
        (oid, oid),
    ).fetchall()
    leaves = connection.execute(
        b"WITH RECURSIVE t AS (SELECT %s::oid AS oid UNION SELECT i.inhrelid FROM pg_inherits i "
        b"JOIN t ON t.oid = i.inhparent JOIN pg_class p ON p.oid = t.oid AND p.relkind = 'p') "
        b"SELECT n.nspname, c.relname FROM t JOIN pg_class c ON c.oid = t.oid AND c.relkind = 'r' "
        b"JOIN pg_namespace n ON n.oid = c.relnamespace",
        (oid,),
    ).fetchall()
    triggers = connection.execute(
        b"SELECT tgname, tgenabled::text FROM pg_trigger WHERE tgrelid = %s AND NOT tgisinternal",
        (oid,),
    ).fetchall()
    foreign = connection.execute(
        b"SELECT conname, confrelid::int8, CASE WHEN NOT condeferrable THEN 'NOT DEFERRABLE' "
        b"WHEN condeferred THEN 'DEFERRABLE INITIALLY DEFERRED' "
        b"ELSE 'DEFERRABLE INITIALLY IMMEDIATE' END "
        b"FROM pg_constraint WHERE contype = 'f' AND conrelid = %s AND conparentid = 0",
        (oid,),
    ).fetchall()
    sequences = [
        (str(each[0]), str(found[0]))
        for each in columns
        for found in [
            connection.execute(
                b"SELECT pg_get_serial_sequence(%s, %s)", (qualified(schema, name), each[0])
            ).fetchone()
        ]
        if found is not None and found[0] is not None
    ]
    return TableShape(
        schema=schema,
        name=name,
        oid=oid,
        ours=ours,
        types=tuple((str(each[0]), str(each[1])) for each in columns),
        generated=frozenset(str(each[0]) for each in columns if each[2]),
        always=frozenset(str(each[0]) for each in columns if each[3] in ("a", b"a")),
        required=frozenset(str(each[0]) for each in columns if each[4]),
        filled=frozenset(str(each[0]) for each in columns if each[5]),
        key=tuple(str(each[0]) for each in key),
        leaves=tuple((str(each[0]), str(each[1])) for each in leaves),
        triggers=tuple((str(name), str(state)) for name, state in triggers),
        sequences=tuple(sequences),
        foreign_keys=tuple((str(n), int(parent), str(how)) for n, parent, how in foreign),
    )


def _plan(
    call: Call,
    staged: Sequence[Staged],
    counts: Sequence[Counts],
    *,
    mode: Mode,
    backup: str,
    token: str,
    files: Sequence[CsvFile],
    from_: str | None,
) -> Plan:
    schema = schema_name(token)
    database = database_of(call)
    there = [Staged(each.shape, qualified(schema, f"rows_{index}"), each.columns, each.gone,
                    each.rows, schema) for index, each in enumerate(staged)]  # fmt: skip
    labels = [each.shape.label for each in staged]
    changing = any(each.insert or each.change or each.delete for each in counts)
    source = "CSV files" if files else backup
    return Plan(
        command="restore tables",
        environment=call.name,
        protected=call.environment.protected,
        title=f"Restore {', '.join(labels)} from {source} ({mode})",
        steps=(
            _stage_step(call, labels, files, backup, token, from_),
            Step(
                id="apply",
                title="In one transaction: keep what changes, then "
                + ", ".join(each.say(label)
                            for each, label in zip(counts, labels, strict=True)),
                safety="verify",
                action=_query(call, apply_statements(there, counts, mode, schema=schema)),
                check=_marked(database.url, schema, "applied"),
                undo=Undo(
                    title="Put the rows back as they were",
                    action=_query(call, undo_statements(there, mode, schema=schema)),
                    check=_marked(database.url, schema, "undone"),
                ),
            ),
        ) if changing else (),
        losses=tuple(
            Loss("rows", f"{label} ({what})", each.now, count, f"in the schema {schema}")
            for each, label in zip(counts, labels, strict=True)
            for what, count in (("changed", each.change), ("deleted", each.delete))
            if count
        ),
        notes=tuple(_notes(staged, counts, mode, schema)),
        facts={"backup": backup, "mode": mode, "schema": schema,
               "counts": {label: each.as_json()
                          for label, each in zip(labels, counts, strict=True)}},
        estimate_s=round(2 + sum(each.rows for each in staged) / 50_000, 0),
    )  # fmt: skip


def _stage_step(
    call: Call,
    labels: Sequence[str],
    files: Sequence[CsvFile],
    backup: str,
    token: str,
    from_: str | None,
) -> Step:
    what = (
        [word for file in files for word in ("--csv", f"{file.table}={file.path}")]
        if files
        else [backup, "--tables", ",".join(labels)]
    )
    argv = ("opsctl", "restore", "stage", *what, "--token", token,
            "--env", call.name, "--quiet", *(("--from", from_) if from_ else ()))  # fmt: skip
    schema = schema_name(token)
    database = database_of(call)
    return Step(
        id="stage",
        title=f"Stage the rows in the schema {schema}",
        safety="verify",
        action=Command(argv, cwd=str(call.root), timeout_s=_TIMEOUT_S),
        check=_marked(database.url, schema, "staged"),
        undo=Undo(
            title=f"Drop the schema {schema}",
            action=Query(
                database.url, (f"DROP SCHEMA IF EXISTS {quote_identifier(schema)} CASCADE",)
            ),
            check=Probe(
                Query(
                    database.url,
                    (f"SELECT CASE WHEN EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = "
                     f"{quote_literal(schema)}) THEN 'absent' ELSE 'applied' END, ''",),
                    read_only=True,
                )
            ),
        ),
    )  # fmt: skip


def _marked(url: str, schema: str, word: str) -> Probe:
    """Ask how far it is: the comment on the schema says staged, then applied, then undone."""
    applied = {"staged": ("staged", "applied", "undone"), "applied": ("applied",),
               "undone": ("undone",)}[word]  # fmt: skip
    absent = {"staged": "true", "applied": "text = 'opsctl: staged'",
              "undone": "text = 'opsctl: applied'"}[word]  # fmt: skip
    listed = ", ".join(quote_literal(f"opsctl: {each}") for each in applied)
    query = (
        f"SELECT CASE WHEN text IN ({listed}) THEN 'applied' WHEN {absent} THEN 'absent' "
        "ELSE 'blocked' END, 'the schema that holds the rows is not as it was left' FROM "
        "(SELECT (SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = "
        f"{quote_literal(schema)}) AS text) AS c"
    )
    return Probe(Query(url, (query,), read_only=True))


def _query(call: Call, statements: Sequence[str]) -> Query:
    database = database_of(call)
    return Query(
        database.url,
        tuple(statements),
        lock_timeout_s=database.lock_timeout_s,
        statement_timeout_s=database.statement_timeout_s,
        lock_attempts=database.lock_attempts,
    )


def _notes(
    staged: Sequence[Staged], counts: Sequence[Counts], mode: Mode, schema: str
) -> Iterator[str]:
    for each, count in zip(staged, counts, strict=True):
        label = each.shape.label
        yield (
            f"{label}: {each.rows:,} rows to restore, {count.now:,} there now; "
            f"{count.insert:,} to insert, {count.change:,} to change, {count.delete:,} to delete, "
            f"{count.same:,} equal."
        )
        if each.gone:
            yield f"{label}: these columns are gone and are not restored: {', '.join(each.gone)}."
        new = [name for name, _ in each.shape.types
               if name not in each.columns and name not in each.shape.generated]  # fmt: skip
        if new:
            yield f"{label}: these columns take their default in new rows: {', '.join(new)}."
        if not each.shape.key:
            yield f"{label} has no primary key: whole rows are compared, and none is changed."
        if each.shape.triggers and not each.shape.ours:
            yield f"{label}: its triggers will fire, for the role does not own it."
        elif each.shape.triggers:
            yield f"{label}: its triggers do not fire."
    yield f"Writers of these tables wait meanwhile; what changes is kept in the schema {schema}."
    if mode == "replace":
        yield "Sequences are moved forward where they must be, never back."


def _split_names(text: str) -> tuple[str, ...]:
    """Return the column names of a COPY line, without their quotes."""
    found = re.findall(r'"((?:[^"]|"")*)"|([^,\s]+)', text)
    return tuple(quoted.replace('""', '"') if quoted else plain for quoted, plain in found)
