"""A backup that is not what it was, or that was made to do harm, is refused before it is used."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import random
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from opsctl.adapters import pg_archive, restores
from opsctl.core.errors import OpsError

TABLES = """
create table public.notes (id int primary key, body text);
insert into public.notes select n, md5(n::text) from generate_series(1, 3000) n;
create table public.other (id int); insert into public.other values (1);
select lo_from_bytea(4242, '\\x0011');
"""


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory, postgres: Any, make_project: Any) -> Any:
    """A project with one good backup."""
    project = make_project(tmp_path_factory.mktemp("origin"), postgres.create_database())
    project.execute(TABLES)
    project.backup = project.back_up()
    project.backup_url = project.url
    return project


@pytest.fixture
def copy(origin: Any, tmp_path: Path, make_project: Any) -> Any:
    """The project again, with a copy of the backup to be damaged."""
    shutil.copytree(origin.root / ".opsctl", tmp_path / ".opsctl")
    project = make_project(tmp_path, origin.url)
    project.backup = origin.backup
    return project


def refused(project: Any) -> str:
    """Open the backup as verify and restore do first; return why it was refused, or nothing."""
    try:
        with project.opened(project.backup):
            return ""
    except OpsError as error:
        return f"{error.code}" if int(error.exit) in (1, 2) else f"{error.code} {error.exit}"


def test_a_good_backup_is_opened(copy: Any) -> None:
    assert "" == refused(copy)


def test_every_flipped_bit_and_every_truncation_is_found(copy: Any, soak: bool) -> None:
    folder = copy.folder(copy.backup)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    chance = random.Random(3)
    for number in range(200 if soak else 60):
        path = files[number % len(files)]
        good = path.read_bytes()
        at = chance.randrange(len(good))
        if number % 4 == 3:
            bad = good[:at]
        else:
            bad = good[:at] + bytes([good[at] ^ (1 << chance.randrange(8))]) + good[at + 1 :]
        path.write_bytes(bad)

        assert refused(copy) in ("backup-damaged", "no-such-backup"), (path, at, number)

        path.write_bytes(good)
    assert "" == refused(copy)


def test_verify_fails_and_an_earlier_proof_no_longer_counts(copy: Any) -> None:
    assert 0 == copy.opsctl("backup", "verify").exit
    path = next(copy.folder(copy.backup).glob("data/*.dat*"))
    path.write_bytes(path.read_bytes()[:-1])

    failed = copy.opsctl("backup", "verify")

    assert (1, "failed") == (failed.exit, failed.json["status"])
    assert not copy.opsctl("backup", "list").json["data"]["backups"][0]["verified"]
    assert 1 == copy.opsctl("backup", "status").exit


def test_a_damaged_manifest_is_listed_and_pruned(copy: Any) -> None:
    path = copy.folder(copy.backup) / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"rows": 3000', b'"rows": 3001'))

    listed = copy.opsctl("backup", "list").json["data"]["backups"]
    pruned = copy.opsctl("backup", "prune", "--yes")

    assert ["damaged"] == [each["state"] for each in listed]
    assert 0 == pruned.exit, pruned.stdout
    assert [] == copy.opsctl("backup", "list").json["data"]["backups"]


def resealed(project: Any, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a manifest and give it the right digest: an attacker can do that."""
    path = project.folder(project.backup) / "manifest.json"
    data = json.loads(path.read_bytes())
    data.pop("sha256")
    change(data)
    text = json.dumps(data, sort_keys=True, separators=(",", ":"))
    data["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    path.write_text(json.dumps(data))


def replaced(project: Any, name: str, content: bytes) -> None:
    """Put other content into a file of the backup, and into the manifest that it is right."""
    (project.folder(project.backup) / name).write_bytes(content)
    stored = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    resealed(project, lambda data: data["files"].update({name: stored}))


NAMES = (
    "../outside", "/etc/passwd", "data/../../outside", "data//toc.dat", "./data/toc.dat",
    "C:\\Windows\\x", "\\\\host\\share", "data/a\x00b", "data/a\nb", "", ".", "..", "a/..",
    "data/\x1b[2Jx", "con:", "a*b", "data/",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=repr)
def test_a_manifest_that_names_a_file_elsewhere_is_refused(copy: Any, name: str) -> None:
    stored = {"bytes": 0, "sha256": hashlib.sha256(b"").hexdigest()}
    resealed(copy, lambda data: data["files"].update({name: stored}))

    assert "backup-damaged" == refused(copy)


def toc_naming(origin: bytes, name: bytes) -> bytes:
    """Return a table of contents whose first data file has another name."""
    entries = pg_archive.read_archive(origin)
    old = next(entry.file for entry in entries if entry.file.endswith(".dat")).encode()
    before = b"\x00" + len(old).to_bytes(4, "little") + old
    assert 1 == origin.count(before)
    return origin.replace(before, b"\x00" + len(name).to_bytes(4, "little") + name)


FOREIGN = (b"../../../etc/passwd", b"/etc/passwd", b"..", b"a/b.dat", b"toc.dat", b"x.dat\n",
           b"1.dat\x00", b"manifest.json", b"../roles.sql")  # fmt: skip


@pytest.mark.parametrize("name", FOREIGN, ids=repr)
def test_an_archive_that_names_a_foreign_file_is_refused(copy: Any, name: bytes) -> None:
    toc = (copy.folder(copy.backup) / "data/toc.dat").read_bytes()
    replaced(copy, "data/toc.dat", toc_naming(toc, name))

    assert "archive-refused" == refused(copy)


BROKEN: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda toc: b"",
    "another magic": lambda toc: b"PGDMX" + toc[5:],
    "cut in half": lambda toc: toc[: len(toc) // 2],
    "cut by one": lambda toc: toc[:-30],
    "a newer version": lambda toc: toc[:6] + b"\x63" + toc[7:],
    "the custom format": lambda toc: toc[:10] + b"\x01" + toc[11:],
    "an unknown size of numbers": lambda toc: toc[:8] + b"\x09" + toc[9:],
    "a negative length": lambda toc: toc[:100] + b"\xff" * 40 + toc[140:],
    "noise": lambda toc: random.Random(1).randbytes(4000),
}


@pytest.mark.parametrize("name", BROKEN)
def test_an_archive_that_is_none_is_refused(copy: Any, name: str) -> None:
    toc = (copy.folder(copy.backup) / "data/toc.dat").read_bytes()
    replaced(copy, "data/toc.dat", BROKEN[name](toc))

    assert "archive-refused" == refused(copy)


def test_a_list_of_large_objects_that_names_a_foreign_file_is_refused(copy: Any) -> None:
    path = next(copy.folder(copy.backup).glob("data/blobs*.toc"))
    replaced(copy, f"data/{path.name}", b"4242 ../../../etc/passwd\n")

    assert "archive-refused" == refused(copy)


def a_symlink(folder: Path) -> None:
    path = folder / "data/toc.dat"
    path.rename(folder.parent / "elsewhere")
    path.symlink_to(folder.parent / "elsewhere")


def a_linked_folder(folder: Path) -> None:
    (folder / "data").rename(folder.parent / "elsewhere")
    (folder / "data").symlink_to(folder.parent / "elsewhere")


def a_linked_backup(folder: Path) -> None:
    folder.rename(folder.parent.parent / "elsewhere")
    folder.symlink_to(folder.parent.parent / "elsewhere")


def a_linked_manifest(folder: Path) -> None:
    (folder / "manifest.json").rename(folder.parent / "elsewhere")
    (folder / "manifest.json").symlink_to(folder.parent / "elsewhere")


def a_pipe(folder: Path) -> None:
    (folder / "data/toc.dat").unlink()
    os.mkfifo(folder / "data/toc.dat")


def a_piped_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    os.mkfifo(folder / "manifest.json")


def a_socket(folder: Path) -> None:
    here = Path.cwd()
    os.chdir(folder)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind("s")
    finally:
        os.chdir(here)


def a_stranger(folder: Path) -> None:
    (folder / "data/9999.dat").write_bytes(b"")


def a_missing_file(folder: Path) -> None:
    next(folder.glob("data/*.dat*")).unlink()


def two_swapped(folder: Path) -> None:
    one, other = sorted(folder.glob("data/[0-9]*.dat*"))[:2]
    one.rename(folder / "x")
    other.rename(one)
    (folder / "x").rename(other)


def a_huge_manifest(folder: Path) -> None:
    with (folder / "manifest.json").open("r+b") as file:
        file.truncate(300 << 20)


def a_deep_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_bytes(b"[" * 50_000)


def a_deep_large_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_bytes(b'{"a":' * 100_000 + b"1" + b"}" * 100_000)


def a_manifest_of_nothing(folder: Path) -> None:
    (folder / "manifest.json").write_bytes(b"null")


def a_manifest_with_huge_numbers(folder: Path) -> None:
    (folder / "manifest.json").write_bytes(b'{"opsctl": ' + b"9" * 10_000 + b"}")


STRANGE = (a_symlink, a_linked_folder, a_linked_backup, a_linked_manifest, a_pipe,
           a_piped_manifest, a_socket, a_stranger, a_missing_file, two_swapped, a_huge_manifest,
           a_deep_manifest, a_deep_large_manifest, a_manifest_of_nothing,
           a_manifest_with_huge_numbers)  # fmt: skip


@pytest.mark.parametrize("change", STRANGE, ids=lambda change: change.__name__)
def test_what_is_no_plain_backup_is_refused(copy: Any, change: Callable[[Path], None]) -> None:
    change(copy.folder(copy.backup))

    assert "backup-damaged" == refused(copy)
    shown = copy.opsctl("backup", "verify", copy.backup)
    assert 1 == shown.exit, shown.stdout
    assert 0 == copy.opsctl("backup", "list").exit


def test_a_bomb_in_the_place_of_the_catalog_is_refused(copy: Any) -> None:
    replaced(copy, "catalog.json.gz", gzip.compress(bytes(600 << 20)))

    failed = copy.opsctl("backup", "verify", copy.backup)

    assert (1, "backup-damaged") == (failed.exit, failed.json["findings"][0]["rule"])


def test_rows_that_unpack_to_more_than_the_database_had_are_stopped(
    copy: Any, postgres: Any
) -> None:
    """The archive is honest and large; the manifest says that it is small."""
    manifest = copy.manifest(copy.backup).model_copy(update={"database_bytes": 1})
    url = postgres.create_database()

    with copy.opened(copy.backup) as folder, pytest.raises(OpsError) as caught:
        restores.fill(folder, url, manifest, jobs=1, most_bytes=1, say=lambda line: None)

    assert ("archive-refused", 1) == (caught.value.code, int(caught.value.exit))


HOSTILE: dict[str, Callable[[dict[str, Any]], None]] = {
    "a role's attribute": lambda data: data["roles"].append(
        {"name": "x", "attributes": ["LOGIN; DROP DATABASE app"], "settings": [], "member_of": []}
    ),
    "a role's setting": lambda data: data["roles"].append(
        {"name": "x", "attributes": [], "settings": ["a; drop table b; =1"], "member_of": []}
    ),
    "a right on the database": lambda data: data["database"]["acl"].append(
        ["CONNECT ON DATABASE x TO y; DROP DATABASE app; --", "anon", False]
    ),
    "a database's setting": lambda data: data["database"]["settings"].append(["", "x; y=1"]),
    "an extension's type": lambda data: data["extensions"].append(
        {"name": "e", "version": "1", "schema_name": "public", "types": ["public.t; DROP x"],
         "functions": []}
    ),
    "an extension's function": lambda data: data["extensions"].append(
        {"name": "e", "version": "1", "schema_name": "public", "types": [],
         "functions": [["public.f", "x int) RETURNS int AS 'x' LANGUAGE sql; DROP TABLE y; --",
                        "int"]]}
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_sql_in_the_place_of_a_name_is_refused(copy: Any, name: str) -> None:
    resealed(copy, HOSTILE[name])

    assert "backup-damaged" == refused(copy)


def test_what_a_manifest_says_is_shown_and_not_obeyed(copy: Any) -> None:
    resealed(copy, lambda data: data.update(label="\x1b]52;c;eA==\x07[red]x[/x]\u202e"))

    shown = copy.opsctl("backup", "list", text=True)

    assert 0 == shown.exit
    assert not set("\x1b\x07\u202e") & set(shown.stdout)
