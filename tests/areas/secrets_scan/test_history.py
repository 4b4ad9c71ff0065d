"""Git: every hiding place of a repository, what is staged, what some commits add."""

from __future__ import annotations

import gzip
import lzma
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.areas.secrets_scan.made_up import expand

from opsctl.areas.secrets_scan.git_reading import difference

Scanning = Callable[..., Any]


def secret(seed: object = 1) -> str:
    return expand("{crc:ghp_}", random.Random(str(seed)))


@pytest.fixture
def commit(git: Scanning, tmp_path: Path) -> Callable[..., str]:
    """Write files, commit them all, and return the commit's id."""

    def call(message: str = "x", **files: str | bytes | None) -> str:
        for name, text in files.items():
            path = tmp_path / name
            if text is None:
                path.unlink()
            elif isinstance(text, bytes):
                path.write_bytes(text)
            else:
                path.write_text(text)
        git("add", "-A")
        git("commit", "-q", "--allow-empty", "-m", message)
        return str(git("rev-parse", "HEAD"))

    return call


@pytest.mark.parametrize("kind", ["utf-16", "xz"])
def test_a_version_of_some_megabytes_is_decoded(
    scan: Scanning, commit: Scanning, kind: str
) -> None:
    text = "".join(f"{number}\n" for number in range(300_000)) + f"token = {secret()}\n"
    noise = random.Random(1).randbytes(1_500_000).hex()
    data = text.encode("utf-16") if kind == "utf-16" else lzma.compress((noise + text).encode())
    assert 1 << 20 < len(data) < 4 << 20
    commit("large", large=data)

    assert len(scan("--history").secrets) == 1


def test_all_twelve_hiding_places_are_found(
    scan: Scanning, git: Scanning, commit: Scanning, tmp_path: Path
) -> None:
    places = {
        "a file": secret("file"), "a deleted file": secret("deleted"),
        "a merge's own change": secret("merge"), "a stash": secret("stash"),
        "a dangling commit": secret("dangling"), "a commit's message": secret("message"),
        "a tag's message": secret("tag"), "UTF-16": secret("utf16"), "gzip": secret("gzip"),
        "an ignored .env": secret("ignored"), "an untracked file": secret("untracked"),
        "another branch": secret("branch"),
    }  # fmt: skip
    (tmp_path / ".gitignore").write_text(".env\n")
    commit("one", plain=places["a file"], gone=places["a deleted file"])
    commit("two", gone=None)
    commit("three: " + places["a commit's message"], base="1")
    git("tag", "-a", "v1", "-m", places["a tag's message"])
    commit(
        "four",
        wide=places["UTF-16"].encode("utf-16"),
        packed=gzip.compress(places["gzip"].encode()),
    )
    git("checkout", "-q", "-b", "other", "HEAD~2")
    commit("other", side=places["another branch"])
    git("checkout", "-q", "main")
    git("merge", "-q", "--no-commit", "--no-ff", "other")
    (tmp_path / "only_in_merge").write_text(places["a merge's own change"])
    git("add", "-A")
    git("commit", "-q", "-m", "merge")
    (tmp_path / "plain").write_text(f"x {places['a stash']}")
    git("stash", "push", "-q")
    commit("to be lost", lost=places["a dangling commit"])
    git("reset", "-q", "--hard", "HEAD~1")
    git("reflog", "expire", "--expire=now", "refs/heads/main", "HEAD")
    (tmp_path / ".env").write_text(f"A={places['an ignored .env']}")
    (tmp_path / "new.txt").write_text(places["an untracked file"])

    history, tree = scan("--history"), scan("--ignored")

    from hashlib import sha256

    seen = {each["sha256"] for each in (*history.secrets, *tree.secrets)}
    missed = {
        place for place, value in places.items() if sha256(value.encode()).hexdigest() not in seen
    }
    assert missed == set()
    only_tree = {"an ignored .env", "an untracked file"}
    in_history = {each["sha256"] for each in history.secrets}
    assert {
        place
        for place, value in places.items()
        if sha256(value.encode()).hexdigest() not in in_history
    } == only_tree


def test_a_finding_tells_commit_author_date_and_whether_it_is_still_there(
    scan: Scanning, commit: Scanning
) -> None:
    first = commit("one", kept=f"a\nb {secret('kept')}\n", gone=secret("gone"))
    commit("two", gone=None, kept=f"more\na\nb {secret('kept')}\n")

    found = {each["path"]: each for each in scan("--history").secrets}

    assert set(found) == {"kept", "gone"}
    kept, gone = found["kept"]["history"], found["gone"]["history"]
    assert (kept["commit"], kept["author"], kept["in_working_tree"]) == (first, "Ann Author", True)
    assert (gone["commit"], gone["in_working_tree"]) == (first, False)
    assert kept["date"][:2] == "20"
    assert found["kept"]["line"] == 2


def test_the_message_of_a_commit_is_no_blob(scan: Scanning, commit: Scanning) -> None:
    made = commit(f"oops {secret()}", a="1")

    (found,) = scan("--history").secrets

    assert found["path"] == f"commit {made[:12]}"
    assert (found["history"]["kind"], found["history"]["commit"]) == ("commit", made)


def test_what_was_clean_is_not_read_again(scan: Scanning, commit: Scanning) -> None:
    for number in range(4):
        commit(str(number), a=f"text {number}", b=f"more {number}")
    first = scan("--history").data
    commit("bad", bad=secret())

    again, third = scan("--history"), scan("--history")

    objects = first["data"]["scanned"]["files"]
    assert objects >= 12
    # The new blob and commit; the new tree is not read.
    assert again.data["data"]["scanned"]["files"] == 2
    assert len(again.secrets) == 1
    # What is not clean is told each time.
    assert len(third.secrets) == 1
    assert third.data["data"]["scanned"]["files"] == 1


def told(done: Any) -> list[tuple[str, str, str]]:
    """Return (path, commit, whether it is still there) of what was found."""
    return [
        (each["path"], each["history"]["commit"], each["history"]["in_working_tree"])
        for each in done.secrets
    ]


def test_what_is_remembered_gives_the_same_report_and_holds_no_secret(
    scan: Scanning, git: Scanning, commit: Scanning, tmp_path: Path
) -> None:
    commit("one " + secret("message"), a=f"x {secret(1)}\n", b=secret(2))
    commit("two", a=f"y\nx {secret(1)}\n", b=None, c=gzip.compress(secret(3).encode()))
    first = scan("--history")

    again = scan("--history")

    assert again.secrets == first.secrets
    assert len(again.secrets) == 4
    assert "were known from before" in scan("--history", "--format", "text").out
    kept = list(Path(os.environ["XDG_CACHE_HOME"]).rglob("objects-*"))
    assert kept
    for path in kept:
        assert path.stat().st_mode & 0o077 == 0
        for seed in (1, 2, 3, "message"):
            assert secret(seed).encode() not in path.read_bytes()


def test_what_left_the_working_tree_since_is_said_to_be_gone(
    scan: Scanning, commit: Scanning
) -> None:
    one = commit("one", a=gzip.compress(secret().encode(), mtime=1))
    commit("two", a=gzip.compress(b"x " + secret().encode(), mtime=2))
    assert told(scan("--history")) == [("a", one, True)]

    commit("three", a=None)

    assert told(scan("--history")) == [("a", one, False)]


def test_a_known_blob_that_comes_to_another_path_is_told_there(
    scan: Scanning, commit: Scanning, tmp_path: Path
) -> None:
    password = 'db_password = "' + "".join(["Kx8", "qTz", "Vw3", "LpR9"]) + '"\n'
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "settings.ini").write_text(password)
    commit("a fixture")
    assert told(scan("--history")) == []

    moved = commit("in use", settings=password)

    assert told(scan("--history")) == [("settings", moved, True)]


def test_where_git_dropped_what_was_told_another_is(
    scan: Scanning, git: Scanning, commit: Scanning
) -> None:
    base = commit("base", base="1")
    commit("lost", a=f"one {secret()}\n")
    git("branch", "kept", base)
    git("checkout", "-q", "kept")
    kept = commit("kept", a=f"other {secret()}\n")
    git("checkout", "-q", "main")
    assert len(scan("--history").secrets) == 1

    git("checkout", "-q", "kept")
    git("branch", "-q", "-D", "main")
    git("reflog", "expire", "--expire=now", "--all")
    git("gc", "-q", "--prune=now")

    assert told(scan("--history")) == [("a", kept, True)]


def test_a_torn_memory_hides_nothing(scan: Scanning, commit: Scanning) -> None:
    commit("one", a=secret())
    first = scan("--history").secrets
    for path in Path(os.environ["XDG_CACHE_HOME"]).rglob("objects-*"):
        path.write_bytes(path.read_bytes()[:-40])

    assert scan("--history").secrets == first


@pytest.mark.parametrize(
    "people",
    [
        "author A\x02B\x01 <a@b.io> 1700000000 +0000\ncommitter \x02\x02 <a@b.io> 1700000000 +0000",
        "author A <a@b.io> 253402300800 +0000\ncommitter A <a@b.io> 999999999999999999999 +0000",
        "author A <a@b.io> then +9999\ncommitter nobody",
    ],
    ids=["control signs", "times beyond all calendars", "no form at all"],
)
def test_a_commit_that_lies_of_itself_is_told(
    scan: Scanning, git: Scanning, commit: Scanning, people: str
) -> None:
    commit("one", a=secret())
    tree = git("rev-parse", "HEAD^{tree}")
    git("update-ref", "-d", "HEAD")
    git("reflog", "expire", "--expire=now", "--all")
    git("gc", "-q", "--prune=now")
    git("read-tree", "--empty")
    made = git(
        "hash-object", "-t", "commit", "-w", "--literally", "--stdin",
        stdin=f"tree {tree}\n{people}\n\nx {secret()}\n".encode(),
    )  # fmt: skip

    first, again = scan("--history"), scan("--history")

    assert first.code == again.code == 1
    assert f"commit {made[:12]}" in {each["path"] for each in first.secrets}
    assert first.secrets == again.secrets


def test_a_secret_in_one_of_many_versions_is_found_in_each_that_has_it(
    scan: Scanning, commit: Scanning
) -> None:
    lines = [f"line {number} of a long text\n" for number in range(8000)]
    commits: dict[int, set[str]] = {}
    for number, at in enumerate((0, 20, 3999, 4000, 7979, 7999)):
        commit(f"clean {number}", a="".join(lines) + f"version {number}\n")
        told = [*lines[:at], f"token = {secret(number)}\n", *lines[at:]]
        # Within one second git knows no older one.
        commits[at + 1] = {
            commit(f"with {number}", a="".join(told) + f"version {number}\n"),
            commit(f"kept {number}", a="".join(told) + f"version {number}, later\n"),
        }

    found = scan("--history").secrets

    assert sorted(each["line"] for each in found) == sorted(commits)
    assert all(each["history"]["commit"] in commits[each["line"]] for each in found)


@pytest.mark.parametrize(
    ("old", "new", "differs"),
    [
        (b"abcdef", b"abXdef", b"X"),
        (b"abcdef", b"abcdef", b""),
        (b"abcdef", b"abcXYdef", b"XY"),
        (b"abcdef", b"abef", b""),
        (b"aaaa", b"aaaaaa", b"aa"),
        (b"", b"abc", b"abc"),
        (b"abc", b"xyz", b"xyz"),
        (b"abc", b"abcdef", b"def"),
        (b"abc", b"xyzabc", b"xyz"),
    ],
)
def test_what_differs_in_another_version(old: bytes, new: bytes, differs: bytes) -> None:
    start, end = difference(old, new)

    assert differs == new[start:end]
    assert new[:start] == old[:start]
    assert new[end:] == old[len(old) - (len(new) - end) :]


def test_a_shallow_clone_is_said_to_be_shallow(
    scan: Scanning, git: Scanning, commit: Scanning, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit("one", a=secret())
    commit("two", a=None)
    git("clone", "-q", "--depth=1", f"file://{tmp_path}", str(tmp_path / "shallow"))

    done = scan("--history", "shallow", "--format", "text")

    assert done.code == 0
    assert "shallow clone" in done.out
    assert "fetch-depth: 0" in done.out


def test_only_what_is_staged_and_new_is_told(
    scan: Scanning, git: Scanning, commit: Scanning, tmp_path: Path
) -> None:
    commit("one", a=f"{secret('old')}\n")
    (tmp_path / "a").write_text(f"x\n{secret('old')}\n{secret('new')}\n")
    (tmp_path / "b").write_text(secret("unstaged"))
    git("add", "a")
    (tmp_path / "a").write_text("nothing any more\n")

    done = scan("--staged")

    assert [(each["path"], each["line"]) for each in done.secrets] == [("a", 3)]
    assert scan("--staged", "--format", "text").code == 1
    git("reset", "-q", "--hard")
    assert scan("--staged").code == 0


def test_the_first_commit_can_be_checked(scan: Scanning, git: Scanning, tmp_path: Path) -> None:
    (tmp_path / "a").write_text(secret())
    git("add", "a")

    assert scan("--staged").code == 1


def test_what_came_since_a_commit_is_told_even_if_it_went_again(
    scan: Scanning, commit: Scanning
) -> None:
    base = commit("one", a=f"{secret('old')}\n")
    came = commit("two", a=f"{secret('old')}\ny\n", b=secret("gone"))
    commit("three", b=None)

    done = scan("--since", base)

    assert [each["path"] for each in done.secrets] == ["b"]
    assert done.secrets[0]["history"]["commit"] == came
    assert scan("--since", "HEAD").code == 0
    assert scan("--since", "nothing").data["error"]["code"] == "no-such-revision"
    assert scan("--since=--output=x").data["error"]["code"] == "no-such-revision"


def test_broken_objects_are_named_and_the_rest_is_read(
    scan: Scanning, git: Scanning, commit: Scanning, tmp_path: Path
) -> None:
    commit("one", a=secret(), b="b" * 5000, c="c")
    broken = str(git("rev-parse", "HEAD:b"))
    path = tmp_path / ".git" / "objects" / broken[:2] / broken[2:]
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:20])

    done = scan("--history")

    unknown = [each for each in done.data["findings"] if each["status"] == "unknown"]
    assert done.code == 1
    assert [each["location"]["path"] for each in unknown] == [broken]
    assert len(done.secrets) == 1


def test_a_repository_whose_settings_name_programs_starts_none(
    scan: Scanning, git: Scanning, commit: Scanning, tmp_path: Path
) -> None:
    commit("one", a="1")
    mark = tmp_path / "ran"
    git("config", "core.fsmonitor", f"touch {mark}")
    git("config", "diff.external", f"touch {mark}")
    (tmp_path / ".git" / "hooks" / "post-checkout").write_text(f"#!/bin/sh\ntouch {mark}\n")

    for words in ((), ("--history",), ("--staged",), ("--since", "HEAD")):
        assert scan(*words).code == 0

    assert not mark.exists()
