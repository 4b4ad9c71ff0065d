"""Input that means harm, or is broken: no crash, bounds on memory and time, gaps said."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import json
import lzma
import os
import random
import resource
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.areas.secrets_scan.made_up import expand

from opsctl.adapters.secret_scanner.reading import CHUNK, NotScanned, Piece, pieces_of, read_file

Scanning = Callable[..., Any]
ROOT_HINT = "tests may run as root, whom no permission stops"


def secret(seed: object = 1) -> str:
    return expand("{crc:ghp_}", random.Random(str(seed)))


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1"]
)
def test_text_in_any_encoding_is_read(scan: Scanning, tmp_path: Path, encoding: str) -> None:
    text = f"line one\nname = größe\ntoken = {secret()}\n"
    (tmp_path / "a.txt").write_bytes(text.encode(encoding))

    assert [each["line"] for each in scan().secrets] == [3]


def test_a_long_file_in_utf_16_is_read_in_pieces(scan: Scanning, tmp_path: Path) -> None:
    text = "filler line\n" * 600_000 + f"token = {secret()}\n"
    (tmp_path / "a.txt").write_bytes(text.encode("utf-16"))

    assert [each["line"] for each in scan().secrets] == [600_001]


def test_bytes_that_are_no_text_hide_nothing(scan: Scanning, tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"\0\xff\xfe\x80" * 100 + secret().encode() + b"\0" * 10)
    (tmp_path / "b.txt").write_bytes(b"\xc3\x28 \xa0\xa1 " + secret(2).encode())

    assert len(scan().secrets) == 2


@pytest.mark.parametrize(
    ("kind", "encoding"), [("gz", "utf-8"), ("zip", "utf-8"), ("zip", "utf-16")]
)
def test_a_small_archive_is_looked_into_however_tight_it_is(
    scan: Scanning, tmp_path: Path, kind: str, encoding: str
) -> None:
    text = ("0 " * 700_000 + f"\ntoken = {secret()}\n").encode(encoding)
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("a.txt", text)
    data = gzip.compress(text) if kind == "gz" else held.getvalue()
    assert len(data) * 200 < len(text)
    (tmp_path / f"a.{kind}").write_bytes(data)

    assert len(scan().secrets) == 1


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz", "zip", "tgz", "tar"])
def test_archives_are_looked_into(scan: Scanning, tmp_path: Path, kind: str) -> None:
    text = f"token = {secret()}\n".encode()
    if kind in ("tgz", "tar"):
        held = io.BytesIO()
        with tarfile.open(fileobj=held, mode="w:gz" if kind == "tgz" else "w") as archive:
            entry = tarfile.TarInfo("inner.txt")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text))
        data = held.getvalue()
    elif kind == "zip":
        held = io.BytesIO()
        with zipfile.ZipFile(held, "w") as zipped:
            zipped.writestr("deep/inner.txt", text)
        data = held.getvalue()
    else:
        data = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}[kind](text)
    (tmp_path / f"a.{kind}").write_bytes(data)

    (found,) = scan().secrets

    assert found["member"] == ("deep/inner.txt" if kind == "zip" else None)


def test_an_archive_that_grows_without_end_is_left_and_said(scan: Scanning, tmp_path: Path) -> None:
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(b"\0" * 80_000_000))
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("zeros", b"\0" * 80_000_000)
    (tmp_path / "bomb.zip").write_bytes(held.getvalue())

    done = scan()

    assert done.code == 3
    whys = {each["location"]["path"]: each["evidence"] for each in done.data["findings"]}
    assert set(whys) == {"bomb.gz", "bomb.zip"}
    assert all("unpacks to more" in why for why in whys.values())


@pytest.mark.parametrize("name", ["a.gz", "a.zip", "a.bz2", "a.xz"])
def test_a_broken_archive_is_said_to_be_broken(scan: Scanning, tmp_path: Path, name: str) -> None:
    whole = {
        "a.gz": gzip.compress(os.urandom(5000)),
        "a.bz2": bz2.compress(os.urandom(5000)),
        "a.xz": lzma.compress(os.urandom(5000)),
        "a.zip": b"PK\x03\x04" + os.urandom(500),
    }[name]
    (tmp_path / name).write_bytes(whole[:300] + b"\xff" * 200 + whole[500:])

    done = scan()

    assert done.code == 3
    assert "broken" in done.data["findings"][0]["evidence"]


def test_links_in_a_circle_end(scan: Scanning, tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "up").symlink_to(tmp_path)
    (tmp_path / "self").symlink_to(tmp_path / "self")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "out").symlink_to("/etc")
    (tmp_path / "a" / "x.txt").write_text(secret())

    assert [each["path"] for each in scan().secrets] == ["a/x.txt"]


def test_a_fifo_and_a_socket_hold_nobody_up(scan: Scanning, tmp_path: Path) -> None:
    import socket

    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(tmp_path / "socket"))
        (tmp_path / "a.txt").write_text("x")

        done = scan("--format", "text")
        named = scan("fifo")

    assert done.code == 0
    assert "passed over, since they are no plain files: fifo, socket" in done.out
    assert named.code == 3
    assert "no plain file" in named.data["findings"][0]["evidence"]


def test_what_cannot_be_read_is_named(scan: Scanning, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(secret())
    # A directory in the place of a file, and a process's memory: neither asks who we are.
    mem = scan("a.txt", "/proc/self/mem")

    assert mem.code == 1
    unknown = [each for each in mem.data["findings"] if each["status"] == "unknown"]
    assert [each["location"]["path"] for each in unknown] == ["mem"]


def test_a_file_without_permission_is_named_to_who_needs_one(tmp_path: Path) -> None:
    """The tests may run as root, whom nothing stops: the scan runs as nobody."""
    folder = tmp_path / "world"
    folder.mkdir()
    (folder / "secret.txt").write_text(secret())
    (folder / "secret.txt").chmod(0)
    (folder / "closed").mkdir(mode=0)
    code = (
        "import os, sys\n"
        "from opsctl.areas.secrets_scan.crew import Work, scan_files\n"
        "from opsctl.adapters.secret_scanner.patterns import load_patterns\n"
        "from opsctl.areas.secrets_scan.tree import list_targets\n"
        "from pathlib import Path\n"
        "patterns = load_patterns()\n"
        f"os.chdir({str(folder)!r})\n"
        "if os.geteuid() == 0:\n    os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "listing = list_targets((Path(),), ignored=True)\n"
        "done = scan_files(Work(patterns, listing.targets), jobs=1)\n"
        "print(sorted(listing.not_scanned + done.not_scanned))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert "'closed/'" in done.stdout
    assert "('secret.txt', 'Permission denied')" in done.stdout
    (folder / "closed").chmod(0o700)


def test_a_secret_across_two_pieces_is_found_once(scan: Scanning, tmp_path: Path) -> None:
    for shift in (0, 10, 20, 39, 40, 41):
        before = CHUNK - shift
        text = "x" * (before - 1) + " " + secret(shift) + "\n" + "y" * 100_000
        (tmp_path / f"{shift}.txt").write_text(text)

    found = scan().secrets

    assert sorted(each["path"] for each in found) == sorted(
        f"{shift}.txt" for shift in (0, 10, 20, 39, 40, 41)
    )


@dataclass(frozen=True)
class Measured:
    """What a scan in a process of its own said and took."""

    code: int
    data: Any
    peak_mib: float
    """Of the largest of its processes."""
    cpu_s: float


_MEASURE = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], check=False)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_maxrss / 1024, used.ru_utime + used.ru_stime, file=sys.stderr)
sys.exit(done.returncode)
"""


def measured(folder: Path) -> Measured:
    """Scan a folder. A small process starts it, for what starts one counts as its memory, too."""
    argv = [sys.executable, "-c", _MEASURE, sys.executable, "-m", "opsctl", "secrets-scan",
            "--format", "json"]  # fmt: skip
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
    peak_mib, cpu_s = done.stderr.splitlines()[-1].split()
    return Measured(done.returncode, json.loads(done.stdout), float(peak_mib), float(cpu_s))


def test_a_very_long_line_takes_little_memory_and_time(tmp_path: Path, soak: bool) -> None:
    size = 1_000_000_000 if soak else 120_000_000
    path = tmp_path / "long.txt"
    block = ("abc def " * 131_072).encode()
    with path.open("wb") as file:
        for _ in range(size // len(block)):
            file.write(block)
        file.write(secret().encode())

    done = measured(tmp_path)

    path.unlink()
    assert done.code == 1
    assert [each["line"] for each in done.data["data"]["secrets"]] == [1]
    # Some 57; 73 where the patterns are compiled first.
    assert done.peak_mib < 90
    assert done.cpu_s < 60


def test_very_many_files_take_little_memory_and_time(tmp_path: Path, soak: bool) -> None:
    count = 100_000 if soak else 5_000
    for number in range(count):
        if number % 1000 == 0:
            folder = tmp_path / str(number)
            folder.mkdir()
        (folder / f"{number}.txt").write_text("x" if number % 997 else secret(number))

    done = measured(tmp_path)

    assert done.data["data"]["scanned"]["files"] == count
    assert len(done.data["data"]["secrets"]) == len(range(0, count, 997))
    assert done.peak_mib < 90
    assert done.cpu_s < 60


def test_a_tree_deeper_than_paths_may_be_ends(scan: Scanning, tmp_path: Path) -> None:
    depth = 0
    start = Path.cwd()
    try:
        for depth in range(400):  # noqa: B007 - told below
            Path("d" * 12).mkdir()
            os.chdir("d" * 12)
        Path("a.txt").write_text(secret())
    finally:
        os.chdir(start)

    done = scan()

    # Deeper than a path may be long: it is said, or it is found.
    assert done.code in (1, 3)
    shutil.rmtree(tmp_path / ("d" * 12), ignore_errors=True)


def test_names_that_are_no_text_are_scanned_and_shown(scan: Scanning, tmp_path: Path) -> None:
    for name in (b"bad\xff.txt", b"new\nline.txt", b"esc\x1b[31m.txt", "größe.txt".encode()):
        (tmp_path / os.fsdecode(name)).write_text(secret(name))

    text, data = scan("--format", "text"), scan()

    assert len(data.secrets) == 4
    assert "\x1b" not in text.out
    assert "\\x1b" in text.out


def test_a_torn_cache_is_made_anew(
    scan: Scanning, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "a.txt").write_text(secret())
    assert len(scan("a.txt").secrets) == 1
    (path,) = (tmp_path / "cache" / "opsctl").glob("patterns-*")
    whole = path.read_bytes()

    for torn in (b"", whole[:100], whole[:-9], whole[:5000] + b"\0" + whole[5001:]):
        path.write_bytes(torn)
        assert len(scan("a.txt").secrets) == 1
        assert path.read_bytes() == whole


def test_a_cache_that_cannot_be_written_is_no_error(
    scan: Scanning, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    (tmp_path / "a.txt").write_text(secret())

    assert len(scan("a.txt").secrets) == 1


def test_every_mutant_of_an_archive_ends_in_pieces_or_in_a_reason(soak: bool) -> None:
    dice = random.Random(7)
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("a.txt", "text " * 500)
        zipped.writestr("b.bin", os.urandom(500))
    seeds = [held.getvalue(), gzip.compress(b"text " * 500), lzma.compress(b"text " * 500),
             bz2.compress(b"text " * 500), "text ".encode("utf-16") * 20]  # fmt: skip
    for _ in range(5_000 if soak else 400):
        data = bytearray(dice.choice(seeds))
        for _ in range(dice.randint(1, 6)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        with contextlib.suppress(NotScanned):
            for piece in pieces_of(bytes(data[: dice.randint(1, len(data))])):
                assert isinstance(piece, Piece)


def test_a_file_that_is_gone_holds_nothing(tmp_path: Path) -> None:
    assert list(read_file(str(tmp_path / "gone"))) == []
    with pytest.raises(NotScanned):
        list(read_file(str(tmp_path / "gone"), follow=True))


def test_no_value_keeps_a_check_busy(tmp_path: Path, soak: bool) -> None:
    """Expressions that try ever more ways would hang on such values: it happened once."""
    units = ("A", "a", "aA", "AAa", "a-", "a.", "_", "\\", "\\n", "%41", "'", " ", "=", "A1", "+/",
             "eyJ", "-----BEGIN ", ":", "{", "$", "a:", "AKIA", "x@", "\t", "[")  # fmt: skip
    frames = ("{}", 'password = "{}"', "secret: {}", 'apiKey:"{}"', "postgres://u:{}@h.io/d",
              "curl -u {}", "<token>{}</token>", '"kty":"RSA",{}', "-----BEGIN PRIVATE KEY-----{}",
              "kind: Secret\ndata:\n  a: {}", "token {}", "?key={}")  # fmt: skip
    sizes = (60, 400, 3000) if soak else (60, 400)
    text = "\n".join(
        frame.replace("{}", (unit * size)[:size])
        for unit in units
        for frame in frames
        for size in sizes
    )
    (tmp_path / "a.txt").write_text(text)
    argv = [sys.executable, "-m", "opsctl", "secrets-scan", "a.txt", "--format", "json"]
    subprocess.run(argv, cwd=tmp_path, capture_output=True, timeout=240, check=False)
    began = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, timeout=240, check=False)
    took = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - began

    assert done.returncode in (0, 1)
    assert took < 30
