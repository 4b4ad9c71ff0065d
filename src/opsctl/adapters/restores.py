"""Restore a backup into an empty database, and compare what came out with the manifest."""

from __future__ import annotations

import contextlib
import re
import tempfile
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from opsctl.adapters import backup_manifest, catalog, contents, pg_archive
from opsctl.adapters.backup_manifest import ExtensionInfo, Manifest
from opsctl.adapters.backups import (
    CATALOG,
    DATA,
    ENCRYPTED,
    assignment,
    create_role,
    grant_membership,
    unpack_catalog,
)
from opsctl.adapters.postgres import Connection, connect
from opsctl.adapters.postgres_programs import Clients, choose_clients
from opsctl.adapters.sql import quote_identifier, quote_literal
from opsctl.adapters.stores import MAKING, MANIFEST, VERIFIED, Store, damaged
from opsctl.core.errors import Exit, OpsError
from opsctl.core.progress import Progress, size

_PRINTED = frozenset(
    {"view", "materialized view", "rule", "policy", "index", "constraint", "function",
     "procedure", "trigger", "column", "statistics", "domain"}
)  # fmt: skip
"""Kinds whose text a server makes itself, so another major version may word it otherwise."""


@dataclass(frozen=True)
class Comparison:
    """How a restored database differs from its manifest."""

    differences: tuple[str, ...]
    """What is otherwise than it was; empty for a backup that is proven."""
    unproven: tuple[str, ...]
    """What could not be compared here, and why."""
    tables: int
    rows: int
    objects: int


def read_backup(store: Store, backup: str) -> Manifest:
    """Return a backup's manifest.

    Raises OpsError `no-such-backup` (exit 2) or `backup-damaged` (exit 1).
    """
    data = store.read(backup, MANIFEST, most=backup_manifest.MOST_BYTES)
    if data is None:
        raise OpsError(
            f"There is no backup {backup!r}",
            why=f"{store.where} holds no manifest of it: it was never finished, or pruned",
            hint="opsctl backup list",
            code="no-such-backup",
        )
    return backup_manifest.read_manifest(data, backup=backup)


@contextmanager
def opened(
    store: Store, manifest: Manifest, *, identity: str | None, say: Callable[[str], None]
) -> Iterator[Path]:
    """Give a folder with a backup's files, each proven by its hash and decrypted.

    Nothing of the backup is used before all of it was checked. Raises OpsError
    `backup-damaged`, `backup-not-decrypted`, `archive-refused` (exit 1), `age-identity`.
    """
    names = tuple(manifest.files)
    fetched = Progress(say, "Fetching the backup", manifest.bytes, at_once=False)
    with store.files(manifest.id, names, progress=fetched.add) as folder:
        if folder.is_symlink():
            raise damaged(manifest.id, "its folder is a link")
        checked = Progress(say, "Checking every file", manifest.bytes)
        backup_manifest.check_files(
            folder, manifest.files, backup=manifest.id, besides=(MANIFEST, VERIFIED, MAKING),
            progress=checked.add,
        )  # fmt: skip
        if not manifest.encrypted:
            _check_archive(folder, manifest)
            yield folder
            return
        if identity is None:
            raise OpsError(
                f"The backup {manifest.id} is encrypted",
                why=f"to {', '.join(manifest.recipients)}, and no identity is given",
                hint="set backup.identity in the settings, by reference",
                code="age-identity",
                exit=Exit.UNKNOWN,
            )
        with tempfile.TemporaryDirectory(prefix="opsctl-backup-") as name:
            plain = Path(name)
            _decrypt(folder, plain, manifest, identity, say)
            _check_archive(plain, manifest)
            yield plain


def clients_of(manifest: Manifest) -> Clients:
    """Return the pg_restore that can read a backup; raises OpsError `tool-missing`."""
    packed = manifest.tool.compression.partition(":")[0]
    return choose_clients(
        at_least=manifest.tool.major, needs=(packed,) if packed in ("zstd", "lz4") else ()
    )


def missing_extensions(manifest: Manifest, available: Collection[str]) -> tuple[ExtensionInfo, ...]:
    """Return the extensions of a backup that a server does not have."""
    return tuple(each for each in manifest.extensions if each.name not in available)


def make_roles(connection: Connection, manifest: Manifest, *, powerless: bool) -> tuple[str, ...]:
    """Make the roles that a server lacks and return their names; passwords are never known."""
    present = {str(row[0]) for row in connection.execute(b"SELECT rolname FROM pg_roles")}
    absent = [role for role in manifest.roles if role.name not in present]
    for role in absent:
        for statement in create_role(role, powerless=powerless):
            connection.execute(statement.encode())
    if not powerless:
        for role in absent:
            for statement in grant_membership(role):
                connection.execute(statement.encode())
    return tuple(role.name for role in absent)


def create_database_sql(name: str, manifest: Manifest, *, portable: bool) -> str:
    """Return the CREATE DATABASE for a backup.

    A portable one takes the encoding alone: another machine may not have the locale.
    """
    info = manifest.database
    parts = [f"CREATE DATABASE {quote_identifier(name)} TEMPLATE template0",
             f"ENCODING {quote_literal(info.encoding)}"]  # fmt: skip
    if portable:
        parts += ["LC_COLLATE 'C'", "LC_CTYPE 'C'"]
    else:
        parts += [f"OWNER {quote_identifier(info.owner)}",
                  f"LC_COLLATE {quote_literal(info.collate)}",
                  f"LC_CTYPE {quote_literal(info.ctype)}"]  # fmt: skip
        if info.provider == "i" and info.locale:
            parts += ["LOCALE_PROVIDER icu", f"ICU_LOCALE {quote_literal(info.locale)}"]
        elif info.provider == "b" and info.locale:
            parts += ["LOCALE_PROVIDER builtin", f"BUILTIN_LOCALE {quote_literal(info.locale)}"]
    return " ".join(parts)


def database_properties(name: str, manifest: Manifest) -> tuple[str, ...]:
    """Return the statements that give a database what a dump leaves out."""
    info, quoted = manifest.database, quote_identifier(name)
    found = [f"ALTER DATABASE {quoted} CONNECTION LIMIT {info.connection_limit}"]
    if info.acl:
        found.append(f"REVOKE ALL ON DATABASE {quoted} FROM PUBLIC")
        for privilege, role, again in info.acl:
            to = quote_identifier(role) if role else "PUBLIC"
            option = " WITH GRANT OPTION" if again else ""
            found.append(f"GRANT {privilege} ON DATABASE {quoted} TO {to}{option}")
    for role, text in info.settings:
        if role:
            found.append(
                f"ALTER ROLE {quote_identifier(role)} IN DATABASE {quoted} SET {assignment(text)}"
            )
        else:
            found.append(f"ALTER DATABASE {quoted} SET {assignment(text)}")
    return tuple(found)


def fill(
    folder: Path,
    url: str,
    manifest: Manifest,
    *,
    jobs: int,
    missing: Sequence[ExtensionInfo] = (),
    most_bytes: int | None = None,
    say: Callable[[str], None],
) -> tuple[str, ...]:
    """Restore a backup's archive into an empty database; return what failed.

    Types and functions of the extensions that are `missing` are stood in for, so that tables
    with their columns can be restored and compared as text. Raises OpsError `archive-refused`
    (exit 1) where it unpacks to more than `most_bytes`, by default a multiple of what the
    database had: then it is not what it says it is.
    """
    clients = clients_of(manifest)
    failed = list(_stand_in(url, missing))
    names = {extension.name for extension in missing}
    partial = bool(manifest.partial)

    def leave_out(line: str) -> bool:
        # A line is `id; oid oid KIND schema name owner`.
        words = " ".join(line.partition("; ")[2].split(" ")[2:]) + " "
        if partial and words.startswith("FK CONSTRAINT "):
            return True
        return bool(names) and any(
            words.startswith((f"EXTENSION - {name} ", f"COMMENT - EXTENSION {name} "))
            for name in names
        )

    sizes = {contents.label(each.schema_name, each.name): each.bytes for each in manifest.tables}
    progress = Progress(say, f"Restoring {len(sizes)} tables", sum(sizes.values()))

    def listen(line: str) -> None:
        table = pg_archive.table_of(line)
        if table is not None:
            progress.add(sizes.get(table, 0))

    most = most_bytes or manifest.database_bytes * _GROWS + _GROWS_BY
    with _watched(url, most) as too_large:
        failed += pg_archive.restore_directory(
            folder / DATA,
            url,
            clients=clients,
            jobs=jobs,
            leave_out=leave_out if names or partial else None,
            on_line=listen,
        )
    if too_large():
        raise OpsError(
            "The archive was refused",
            why=f"it unpacks to more than {size(most)}; the database had "
            f"{size(manifest.database_bytes)}",
            hint="do not restore it: where does it come from?",
            code="archive-refused",
            exit=Exit.FAILED,
        )
    return tuple(failed)


_GROWS, _GROWS_BY = 8, 1 << 30
"""A restored database is smaller than the old one, if anything: it has no dead rows."""


@contextmanager
def _watched(url: str, most: int) -> Iterator[Callable[[], bool]]:
    """Watch how large a database gets, and disconnect everybody once it is too large."""
    over, ended = threading.Event(), threading.Event()

    def look(connection: Connection) -> None:
        row = connection.execute(b"SELECT pg_database_size(current_database())").fetchone()
        if row is not None and row[0] > most:
            over.set()
            connection.execute(
                b"SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                b"WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

    def watch() -> None:
        # A server that goes away ends the restore, too, and that is what is reported.
        with contextlib.suppress(OpsError, psycopg.Error), connect(url) as connection:
            while not ended.wait(_LOOK_EVERY_S) and not over.is_set():
                look(connection)
            if not over.is_set():
                look(connection)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield over.is_set
    finally:
        ended.set()
        thread.join(timeout=30)


_LOOK_EVERY_S = 1.0


def compare(
    folder: Path,
    url: str,
    manifest: Manifest,
    *,
    jobs: int,
    complaints: Sequence[str] = (),
    missing: Sequence[ExtensionInfo] = (),
    without: Collection[str] = (),
    say: Callable[[str], None],
) -> Comparison:
    """Compare a restored database with the manifest: every table, sequence and object.

    `without` names kinds of the catalog that are not compared, and `large objects`.
    What fails because an extension is `missing` is unproven; everything else is a difference.
    """
    say("Comparing every row and every object")
    excused = [text for text in complaints if missing and "does not exist" in text]
    differences = [f"not restored: {text}" for text in complaints if text not in excused]
    unproven = [_about(extension) for extension in missing]
    unproven += [f"not restored, an extension is missing here: {text}" for text in excused]
    wanted_tables = {contents.label(each.schema_name, each.name): each for each in manifest.tables}
    with connect(url) as connection:
        contents.settle(connection)
        tables = contents.table_names(connection)
        sequences = contents.sequence_values(connection)
        found_catalog = catalog.read_catalog(connection)
        major = connection.info.server_version // 10000
    hashes, objects = contents.hash_contents(
        url,
        tuple(table for table in tables if table.label in wanted_tables),
        snapshot=None,
        jobs=jobs,
    )
    for name, wanted in wanted_tables.items():
        found = hashes.get(name)
        if found is None:
            text = f"table {name} is missing: {wanted.rows} rows"
            if _mentioned(name, excused):
                unproven.append(text)
                continue
        elif found.rows != wanted.rows:
            text = f"table {name} has {found.rows} rows instead of {wanted.rows}"
        elif found.hash != wanted.hash:
            text = f"table {name} has {found.rows} rows, and their content differs"
        else:
            continue
        differences.append(text)
    for name, value in manifest.sequences.items():
        at = sequences.get(name)
        # It may be ahead: a sequence goes on while the snapshot stands still.
        if at is None or abs(at) < abs(value):
            text = f"sequence {name} stands at {at} instead of {value}"
            (unproven if at is None and _mentioned(name, excused) else differences).append(text)
    kept = (objects.rows, objects.hash) == manifest.large_objects
    if not kept and "large objects" not in without:
        differences.append(
            f"{objects.rows} large objects instead of {manifest.large_objects[0]}, "
            "or their content differs"
        )
    same_words = major == manifest.server_major
    changes = catalog.compare(found_catalog, catalog_of(folder, manifest))
    not_made = [each.name for each in changes if each.found is None and each.kind == "table"
                and _mentioned(each.name, excused)]  # fmt: skip
    for change in changes:
        if change.kind in without:
            continue
        if manifest.partial and change.kind == "constraint" and change.found is None:
            continue
        if change.kind == "extension" and change.name.strip('"') in {each.name for each in missing}:
            continue
        both = change.found is not None and change.wanted is not None
        if both and change.kind in _PRINTED and not same_words:
            unproven.append(
                f"{change.kind} {change.name} is printed otherwise by PostgreSQL {major}"
            )
        elif (
            change.found is None
            and (
                _mentioned(change.name, excused) or any(table in change.name for table in not_made)
            )
        ) or (missing and _stood_in(change, missing)):
            unproven.append(str(change))
        else:
            differences.append(str(change))
    if manifest.partial:
        unproven.append("the foreign keys: the backup holds the rows of some tables alone")
    return Comparison(
        differences=tuple(differences),
        unproven=tuple(dict.fromkeys(unproven)),
        tables=len(wanted_tables),
        rows=manifest.rows,
        objects=manifest.objects,
    )


def _check_archive(folder: Path, manifest: Manifest) -> None:
    """Refuse an archive that names files which pg_dump would not have made."""
    data = folder / DATA
    toc = data / "toc.dat"
    if not toc.is_file():
        raise damaged(manifest.id, "it has no table of contents")
    entries = pg_archive.read_archive(toc.read_bytes())
    for path in data.iterdir():
        if not pg_archive.is_data_file(path.name):
            raise damaged(manifest.id, f"{path.name!r} is no file of an archive")
    pg_archive.check_large_object_lists(data, entries)


def _decrypt(
    folder: Path, plain: Path, manifest: Manifest, identity: str, say: Callable[[str], None]
) -> None:
    from opsctl.adapters.age import decrypt_file

    progress = Progress(say, "Decrypting", manifest.bytes)
    for name, stored in manifest.files.items():
        if not name.endswith(ENCRYPTED):
            raise damaged(manifest.id, f"{name} is not encrypted, and the manifest says it is")
        target = plain / name.removesuffix(ENCRYPTED)
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        decrypt_file(folder / name, target, identity)
        progress.add(stored.bytes)


def catalog_of(folder: Path, manifest: Manifest) -> catalog.Catalog:
    """Return the catalog that a backup keeps; raises OpsError `backup-damaged`."""
    try:
        return unpack_catalog((folder / CATALOG).read_bytes())
    except (OSError, ValueError, TypeError, EOFError):
        raise damaged(manifest.id, f"{CATALOG} is not understood") from None


def _stand_in(url: str, missing: Sequence[ExtensionInfo]) -> tuple[str, ...]:
    """Make types and functions in the place of missing extensions; return what failed.

    A type that is stood in for keeps its values as the text they were written in; a function
    raises an error when it is called, which no restore does.
    """
    if not missing:
        return ()
    failed = []
    with connect(url, read_only=False) as connection:
        for extension in missing:
            statements = [f"CREATE SCHEMA IF NOT EXISTS {quote_identifier(extension.schema_name)}"]
            for name in extension.types:
                statements += _text_type(name, extension.schema_name)
            for name, arguments, result in extension.functions:
                language = "plpgsql"
                statements.append(
                    f"CREATE FUNCTION {name}({arguments}) RETURNS {result} LANGUAGE {language} "
                    f"AS $opsctl$ BEGIN RAISE EXCEPTION 'the extension is not here'; END $opsctl$"
                )
            for statement in statements:
                try:
                    connection.execute(statement.encode())
                except psycopg.Error as error:
                    failed.append(
                        f"a stand-in of extension {extension.name} does not exist: "
                        f"{error.diag.message_primary}"
                    )
    return tuple(failed)


def _text_type(name: str, schema: str) -> list[str]:
    """Return the statements that make a type which reads and writes plain text."""
    own = quote_identifier(schema)
    base = name.rpartition(".")[2].strip('"')
    into, out = (f"{own}.{quote_identifier(f'opsctl_{base}_{end}')}" for end in ("in", "out"))
    modin, modout = (
        f"{own}.{quote_identifier(f'opsctl_{base}_{end}')}" for end in ("modin", "modout")
    )
    internal = "LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS"
    return [
        f"CREATE TYPE {name}",
        f"CREATE FUNCTION {into}(cstring) RETURNS {name} {internal} 'textin'",
        f"CREATE FUNCTION {out}({name}) RETURNS cstring {internal} 'textout'",
        f"CREATE FUNCTION {modin}(cstring[]) RETURNS integer {internal} 'varchartypmodin'",
        f"CREATE FUNCTION {modout}(integer) RETURNS cstring {internal} 'varchartypmodout'",
        f"CREATE TYPE {name} (INPUT = {into}, OUTPUT = {out}, TYPMOD_IN = {modin}, "
        f"TYPMOD_OUT = {modout}, INTERNALLENGTH = VARIABLE, STORAGE = extended)",
    ]


def _about(extension: ExtensionInfo) -> str:
    text = f"extension {extension.name} {extension.version} is not in the scratch server"
    if extension.types:
        text += f"; values of {', '.join(extension.types)} were compared as text"
    if extension.functions:
        text += f"; {len(extension.functions)} of its functions were stood in for"
    return text


def _stood_in(change: catalog.Difference, missing: Sequence[ExtensionInfo]) -> bool:
    """Whether a difference is one of our own stand-ins, or of a schema an extension makes."""
    for extension in missing:
        names = {*extension.types, *(name for name, _, _ in extension.functions)}
        if any(change.name.startswith((name, f"FUNCTION {name}", f"TYPE {name}"))
               for name in names):  # fmt: skip
            return True
        if "opsctl_" in change.name and change.wanted is None:
            return True
        if change.kind in ("schema", "grant") and extension.schema_name in change.name.split():
            return True
    return False


def _mentioned(name: str, complaints: Sequence[str]) -> bool:
    """Whether a complaint speaks of an object by its own name."""
    own = re.escape(name.replace('"', "").rpartition(".")[2])
    word = re.compile(rf"(?<!\w){own}(?!\w)")
    return any(word.search(text.replace('"', "")) for text in complaints)


def check_queries(url: str, queries: Sequence[tuple[str, str, str]]) -> tuple[str, ...]:
    """Ask (name, query, expected) of a restored database; return what was answered otherwise."""
    wrong = []
    with connect(url) as connection:
        for name, query, expected in queries:
            try:
                asked = f"SELECT q.v::text FROM (SELECT * FROM ({query}) AS q LIMIT 1) AS q (v)"
                row = connection.execute(asked.encode()).fetchone()
            except psycopg.Error as error:
                wrong.append(f"check {name!r} failed: {error.diag.message_primary}")
                continue
            found = None if row is None else row[0]
            if found != expected:
                wrong.append(f"check {name!r} answered {found!r} instead of {expected!r}")
    return tuple(wrong)
