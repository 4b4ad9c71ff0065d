"""The checkout read with the real git: what is checked out, is it pushed, and no password."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from opsctl.adapters.git import Checkout, Remote, read_checkout
from opsctl.core.errors import Exit, OpsError
from opsctl.core.process import run_program

ENV = {
    "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.com", "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.com", "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
}  # fmt: skip
SECRET = "-".join(["canary", "8811"])

Git = Callable[..., str]


@pytest.fixture
def git(tmp_path: Path) -> Git:
    folder = tmp_path / "app"
    folder.mkdir()

    def run(*words: str) -> str:
        done = run_program(["git", *words], env=ENV, cwd=str(folder))
        assert done.exit_code == 0, done.stderr
        return done.stdout.strip()

    run("init", "-q", "-b", "main")
    return run


def commit(git: Git, message: str = "One") -> str:
    git("commit", "-q", "--allow-empty", "-m", message)
    return git("rev-parse", "HEAD")


def error_of(folder: Path) -> OpsError:
    with pytest.raises(OpsError) as caught:
        read_checkout(folder)
    assert caught.value.exit is Exit.UNKNOWN
    return caught.value


def test_a_pushed_and_tagged_commit(git: Git, tmp_path: Path) -> None:
    remote = tmp_path / "remote.git"
    git("init", "-q", "--bare", str(remote))
    git("remote", "add", "origin", str(remote))
    head = commit(git)
    git("tag", "v1")
    git("tag", "-a", "v1.0", "-m", "x")
    git("push", "-q", "-u", "origin", "main", "main:refs/heads/other")
    git("remote", "set-head", "origin", "main")

    found = read_checkout(tmp_path / "app")

    assert (
        Checkout(
            commit=head,
            branch="main",
            dirty=0,
            remotes=(Remote("origin", str(remote)),),
            on_remote=("origin/main", "origin/other"),
            tags=("v1", "v1.0"),
        )
        == found
    )
    assert found.pushed


def test_a_later_commit_is_not_pushed(git: Git, tmp_path: Path) -> None:
    git("update-ref", "refs/remotes/origin/main", commit(git))
    head = commit(git, "Two")

    found = read_checkout(tmp_path / "app")

    assert (head, False, ()) == (found.commit, found.pushed, found.on_remote)


def test_an_older_commit_is_held_by_the_branch_that_went_on(git: Git, tmp_path: Path) -> None:
    first = commit(git)
    git("update-ref", "refs/remotes/origin/main", commit(git, "Two"))
    git("checkout", "-q", "--detach", first)

    found = read_checkout(tmp_path / "app")

    assert (first, "", True) == (found.commit, found.branch, found.pushed)


def test_nothing_committed_yet(git: Git, tmp_path: Path) -> None:
    assert Checkout("", "main", 0, (), (), ()) == read_checkout(tmp_path / "app")


def test_every_file_that_differs_is_counted_once(git: Git, tmp_path: Path) -> None:
    app = tmp_path / "app"
    for name in ("changed", "deleted", "renamed", "kept"):
        (app / name).write_text(name * 20)
    (app / ".gitignore").write_text("ignored\n")
    git("add", ".")
    commit(git)
    (app / "changed").write_text("x")
    (app / "deleted").unlink()
    git("mv", "renamed", "R newname")
    (app / "new\nline").write_text("x")
    (app / "folder").mkdir()
    (app / "folder" / "a").write_text("x")
    (app / "folder" / "b").write_text("x")
    (app / "ignored").write_text("x")

    assert 6 == read_checkout(app).dirty


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://me:{}@host/x.git", "https://host/x.git"),
        ("https://{}@host/x.git", "https://host/x.git"),
        ("https://me:{}/with@slash@host/x.git", "https://host/x.git"),
        ("https://host/x.git?token={}", "https://host/x.git"),
        ("ssh://me:{}@host:22/x.git", "ssh://host:22/x.git"),
        ("oauth2:{}@host:x.git", "host:x.git"),
        ("git@host:x.git", "git@host:x.git"),
        ("/srv/x.git", "/srv/x.git"),
    ],
)
def test_credentials_are_taken_out_of_a_remote(
    git: Git, tmp_path: Path, url: str, expected: str
) -> None:
    git("remote", "add", "origin", url.format(SECRET))

    assert (Remote("origin", expected),) == read_checkout(tmp_path / "app").remotes


def test_remotes_have_odd_names_and_several_addresses(git: Git, tmp_path: Path) -> None:
    git("config", "remote.with.dots.url", "/one")
    git("config", "--add", "remote.with.dots.url", "/two")
    git("config", "remote.b.url", "/three")
    git("config", "remote.b.pushurl", "/four")

    assert (Remote("b", "/three"), Remote("with.dots", "/one")) == read_checkout(
        tmp_path / "app"
    ).remotes


def test_a_folder_within_the_checkout_will_do(git: Git, tmp_path: Path) -> None:
    head = commit(git)
    (tmp_path / "app" / "inner").mkdir()

    assert head == read_checkout(tmp_path / "app" / "inner").commit


@pytest.mark.parametrize("name", ["empty", "missing"])
def test_no_checkout_is_said_to_be_none(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()

    assert "not-a-checkout" == error_of(tmp_path / name).code


def test_a_bare_repository_is_no_checkout(git: Git, tmp_path: Path) -> None:
    git("init", "-q", "--bare", str(tmp_path / "bare.git"))

    assert "not-a-checkout" == error_of(tmp_path / "bare.git").code


def test_without_git_it_is_said(git: Git, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    assert "tool-missing" == error_of(tmp_path / "app").code


def test_a_look_starts_no_program_that_the_repository_names(git: Git, tmp_path: Path) -> None:
    commit(git)
    (tmp_path / "app" / "file").write_text("x")
    trace = tmp_path / "trace"
    git("config", "core.fsmonitor", f"touch {trace}; false")

    read_checkout(tmp_path / "app")

    assert not trace.exists()


def test_a_look_writes_nothing(git: Git, tmp_path: Path) -> None:
    (tmp_path / "app" / "file").write_text("x")
    git("add", ".")
    commit(git)
    index = tmp_path / "app" / ".git" / "index"
    (tmp_path / "app" / "file").touch()
    before = index.read_bytes()

    read_checkout(tmp_path / "app")

    assert before == index.read_bytes()
