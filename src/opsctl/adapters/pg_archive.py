"""The directory format of pg_dump: written, restored, and looked into before it is trusted.

An archive is data from outside: its table of contents names files, and pg_restore opens what
it names. So the names are read first, by the format's own rules (pg_backup_archiver.c).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from opsctl.adapters.contents import label
from opsctl.adapters.postgres import run_pg
from opsctl.adapters.postgres_programs import Clients
from opsctl.core.errors import Exit, OpsError
from opsctl.core.process import run_program

_TIMEOUT_S = 24 * 3600.0
_DATA_FILE = re.compile(r"(\d{1,10}\.dat|blobs_\d{1,10}\.toc|blob_\d{1,10}\.dat|blobs\.toc)")
"""What pg_dump calls the files of the directory format, without their compression's ending."""

_FILE_ENDINGS = ("", ".gz", ".lz4", ".zst")
_DIRECTORY_FORMAT = 3
_OLDEST, _NEWEST = (1, 12), (1, 16)
"""Archive versions of PostgreSQL 9.0 to 18; what follows may be laid out otherwise."""


@dataclass(frozen=True)
class ArchiveEntry:
    """One entry of an archive's table of contents."""

    id: int
    """What its line in pg_restore's list begins with."""
    tag: str
    kind: str
    """`TABLE`, `TABLE DATA`, `POLICY`, ..."""
    schema: str
    """Empty for what lies in none."""
    owner: str
    file: str
    """The data file it names, without its compression's ending; empty where it has none."""


def dump_directory(
    url: str,
    folder: Path,
    *,
    clients: Clients,
    snapshot: str,
    jobs: int,
    without: Sequence[tuple[str, str]] = (),
    without_rows: Sequence[tuple[str, str]] = (),
    on_line: Callable[[str], None],
) -> str:
    """Dump a database as of an exported snapshot into a new folder; return how it is packed.

    `without` names tables (schema, name) to leave out, `without_rows` those whose definition
    alone is wanted. `on_line` hears what pg_dump says. Raises OpsError `dump-failed`.
    """
    packed = "zstd:1" if "zstd" not in clients.lacks else "gzip:1"
    compress = packed if clients.major >= 16 else "1"
    argv = [
        str(clients.program("pg_dump")),
        "--format=directory",
        f"--jobs={jobs}",
        f"--compress={compress}",
        f"--snapshot={snapshot}",
        f"--file={folder}",
        "--no-password",
        "--verbose",
        *(f"--exclude-table={_pattern(*name)}" for name in without),
        *(f"--exclude-table-data={_pattern(*name)}" for name in without_rows),
    ]
    run_pg(argv, url, what="The database was not dumped", timeout_s=_TIMEOUT_S, on_stderr=on_line)
    return packed


def restore_directory(
    folder: Path,
    url: str,
    *,
    clients: Clients,
    jobs: int,
    leave_out: Callable[[str], bool] | None = None,
    on_line: Callable[[str], None] = lambda line: None,
) -> tuple[str, ...]:
    """Restore an archive into an empty database; return what failed, a complaint each.

    It goes on after an error, so that all of them are seen. `leave_out` chooses lines of the
    table of contents. A setting that an older server does not know is no complaint.
    """
    argv = [str(clients.program("pg_restore")), "--no-password", f"--jobs={jobs}"]
    listing = folder.parent / "restore.list"
    if leave_out is not None:
        lines = [line for line in list_archive(folder, clients=clients) if not leave_out(line)]
        listing.write_text("\n".join(lines) + "\n", encoding="utf-8")
        argv.append(f"--use-list={listing}")
    complaints: list[str] = []

    def listen(line: str) -> None:
        if "error:" in line or line.startswith(("Command was:", "pg_restore: detail:")):
            complaints.append(line.removeprefix("pg_restore: error: "))
        on_line(line)

    try:
        run_pg(
            [*argv, "--verbose", str(folder)],
            url,
            what="The archive was not restored",
            ok=(0, 1),
            timeout_s=_TIMEOUT_S,
            on_stderr=listen,
        )
    finally:
        listing.unlink(missing_ok=True)
    return _digest(complaints)


def write_script(
    folder: Path,
    target: Path,
    *,
    clients: Clients,
    entries: Sequence[ArchiveEntry],
    section: str | None = None,
) -> None:
    """Write SQL for psql that makes the chosen entries, rows included, into a private file.

    `section` is pre-data, data or post-data. Raises OpsError `dump-failed`.
    """
    wanted = {entry.id for entry in entries}
    lines = [line for line in list_archive(folder, clients=clients)
             if int(line.partition(";")[0]) in wanted]  # fmt: skip
    listing = target.with_suffix(".list")
    listing.write_text("\n".join(lines) + "\n", encoding="utf-8")
    target.touch(mode=0o600)
    if not lines:
        return
    argv = [str(clients.program("pg_restore")), f"--use-list={listing}", f"--file={target}",
            *((f"--section={section}",) if section else ()), str(folder)]  # fmt: skip
    done = run_program(argv, timeout_s=_TIMEOUT_S)
    if done.exit_code != 0:
        raise _unreadable(done.last_line)


def list_archive(folder: Path, *, clients: Clients) -> tuple[str, ...]:
    """Return the lines of an archive's table of contents, as pg_restore lists it."""
    done = run_program([str(clients.program("pg_restore")), "--list", str(folder)])
    if done.exit_code != 0:
        raise _unreadable(done.last_line)
    return tuple(line for line in done.stdout.splitlines() if line and not line.startswith(";"))


def read_archive(data: bytes) -> tuple[ArchiveEntry, ...]:
    """Return the entries of a `toc.dat`.

    Raises OpsError `archive-refused` (exit 1) for what is no archive of the directory format,
    ends too early, or names a file that pg_dump would not have.
    """
    try:
        return _Toc(data).entries()
    except (IndexError, UnicodeDecodeError, OverflowError, MemoryError) as error:
        raise _unreadable(f"it is not laid out as one ({type(error).__name__})") from None


def file_names(entries: Sequence[ArchiveEntry]) -> frozenset[str]:
    """Return the data files that an archive needs, without their compression's ending.

    Those of large objects are named by lists within the archive, not here.
    """
    return frozenset(entry.file for entry in entries if entry.file)


def check_large_object_lists(folder: Path, entries: Sequence[ArchiveEntry]) -> None:
    """Refuse an archive whose lists of large objects name files that pg_dump would not.

    Raises OpsError `archive-refused` (exit 1).
    """
    for file in sorted(file_names(entries)):
        if not file.endswith(".toc"):
            continue
        with (folder / file).open("rb") as lines:
            for line in lines:
                if len(line) > 64 or not re.fullmatch(rb"\d{1,10} blob_\d{1,10}\.dat\n?", line):
                    raise _foreign_name(line[:80].decode(errors="replace").strip())


def is_data_file(name: str) -> bool:
    """Whether pg_dump would give a file of the directory format this name."""
    for ending in _FILE_ENDINGS:
        if name.endswith(ending) and _DATA_FILE.fullmatch(name[: len(name) - len(ending)]):
            return True
    return name == "toc.dat"


class _Toc:
    """Reads integers and strings as the archiver writes them: a sign byte, then low to high."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def entries(self) -> tuple[ArchiveEntry, ...]:
        if self._take(5) != b"PGDMP":
            raise _unreadable("it does not begin like one")
        version = (self._byte(), self._byte())
        self._byte()  # the revision changes nothing about the layout
        if not _OLDEST <= version <= _NEWEST:
            raise _unreadable(f"its version {version[0]}.{version[1]} is not known here")
        self._int_size, self._offset_size = self._byte(), self._byte()
        if self._int_size not in (4, 8) or self._offset_size not in (4, 8):
            raise _unreadable("its numbers have an unknown size")
        if self._byte() != _DIRECTORY_FORMAT:
            raise _unreadable("it is not of the directory format")
        if version >= (1, 15):
            self._byte()  # compression algorithm
        else:
            self._int()  # compression level
        for _ in range(7):
            self._int()  # when it was made
        for _ in range(3):
            self._text()  # database, server version, pg_dump version
        count = self._int()
        if not 0 <= count <= len(self._data):
            raise _unreadable("it counts more entries than it has bytes")
        return tuple(self._entry(version) for _ in range(count))

    def _entry(self, version: tuple[int, int]) -> ArchiveEntry:
        number = self._int()
        self._int()  # whether it had data
        self._text()  # catalog table's oid
        self._text()  # oid
        tag = self._text()
        kind = self._text()
        self._int()  # section
        for _ in range(3):
            self._text()  # definition, drop statement, copy statement
        schema = self._text()
        self._text()  # tablespace
        if version >= (1, 14):
            self._text()  # table access method
        if version >= (1, 16):
            self._int()  # relation kind
        owner = self._text()
        self._text()  # with OIDs
        while self._text():
            pass  # what it depends on, ended by an empty one
        file = self._text()
        if file and not _DATA_FILE.fullmatch(file):
            raise _foreign_name(file[:80])
        return ArchiveEntry(number, tag, kind, schema, owner, file)

    def _take(self, count: int) -> bytes:
        if count < 0 or self._at + count > len(self._data):
            raise IndexError("the archive ends too early")
        self._at += count
        return self._data[self._at - count : self._at]

    def _byte(self) -> int:
        return self._take(1)[0]

    def _int(self) -> int:
        sign = self._byte()
        value = int.from_bytes(self._take(self._int_size), "little")
        return -value if sign else value

    def _text(self) -> str:
        length = self._int()
        return "" if length < 0 else self._take(length).decode(errors="replace")


def _pattern(schema: str, name: str) -> str:
    """Return what names exactly one table to pg_dump: in quotes nothing is a wildcard."""
    quoted = ['"' + part.replace('"', '""') + '"' for part in (schema, name)]
    return ".".join(quoted)


def _digest(lines: Sequence[str]) -> tuple[str, ...]:
    """Join each error with the command that failed, and leave out what does not matter."""
    found: list[str] = []
    for line in lines:
        if line.startswith("Command was:") and found:
            found[-1] += f" ({line.removeprefix('Command was:').strip()[:200]})"
        elif "error:" in line or not line.startswith("pg_restore:"):
            found.append(line)
    harmless = (
        'unrecognized configuration parameter "transaction_timeout"',
        'schema "public" already exists',
    )
    return tuple(each for each in found if not any(part in each for part in harmless))


def _foreign_name(name: str) -> OpsError:
    return OpsError(
        "The archive was refused",
        why=f"its table of contents names the file {name!r}",
        hint="do not restore it: pg_dump names no such file; where does it come from?",
        code="archive-refused",
        exit=Exit.FAILED,
    )


def _unreadable(why: str) -> OpsError:
    return OpsError(
        "The archive's table of contents was not understood",
        why=why,
        hint="opsctl backup list; take another backup",
        code="archive-refused",
        exit=Exit.FAILED,
    )


def table_of(line: str) -> str | None:
    """Return the table that pg_dump or pg_restore says it is at; None where it says another.

    As `contents.label` writes it, for names without a dot of their own.
    """
    match = _AT_TABLE.search(line)
    if match is None:
        return None
    schema, _, name = match.group(1).partition(".")
    return label(_unquoted(schema), _unquoted(name))


_AT_TABLE = re.compile(r"(?:dumping contents of|processing data for) table \"(.+)\"")


def _unquoted(name: str) -> str:
    inner = name[1:-1] if name.startswith('"') and name.endswith('"') and len(name) > 1 else name
    return inner.replace('""', '"')
