"""The search for secrets beside a check: what it finds, remembers, and does when it breaks."""

from __future__ import annotations

import os
import random
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from tests.areas.secrets_scan.made_up import expand

from opsctl.adapters import bundle_secrets
from opsctl.adapters.bundle_secrets import Searched, searching
from opsctl.adapters.bundle_sizes import SizeCache, measure
from opsctl.core.errors import Exit, OpsError

TOKEN = expand("{crc:ghp_}", random.Random(1))


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs the tests may have threads of its own."""
    monkeypatch.setattr(threading, "active_count", lambda: 1)


@pytest.fixture
def build(tmp_path: Path) -> Path:
    """A build with one clean script and one that serves a token."""
    (tmp_path / "clean.js").write_text("let answer = 42\n")
    (tmp_path / "worst.js").write_text(f'let token = "{TOKEN}"\n')
    return tmp_path


NAMES = ("clean.js", "worst.js")


def search(build: Path, names: tuple[str, ...] = NAMES, **more: Any) -> Searched:
    """Search the build to the end."""
    cache = more.pop("cache", SizeCache(None))
    with searching(build, names, rules=(), cache=cache, folder="dist", **more) as finish:
        return finish()


def test_a_process_finds_what_a_thread_finds(build: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parent = os.getpid()
    pids: list[int] = []
    inner = bundle_secrets._search

    def spied(*args: Any) -> dict[str, Any]:
        pids.append(os.getpid())
        return inner(*args)

    monkeypatch.setattr(bundle_secrets, "_search", spied)
    by_process = search(build)
    monkeypatch.setattr(threading, "active_count", lambda: 2)
    by_thread = search(build)

    assert by_process == by_thread
    assert [("dist/worst.js", TOKEN)] == [(each.path, each.secret) for each in by_thread.found]
    assert [parent] == pids  # the thread's alone: the process's list was its own


@pytest.mark.parametrize("threads", [1, 2])
def test_what_cannot_be_read_is_said(
    build: Path, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading, "active_count", lambda: threads)

    searched = search(build, ("gone.js", "worst.js"))

    assert (("gone.js", "No such file or directory"),) == searched.not_scanned
    assert 1 == len(searched.found)


def test_a_search_that_was_killed_has_seen_nothing(
    build: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: Any) -> dict[str, Any]:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    monkeypatch.setattr(bundle_secrets, "_search", die)

    searched = search(build)

    assert () == searched.found
    assert set(NAMES) == {name for name, _ in searched.not_scanned}


@pytest.mark.parametrize("threads", [1, 2])
def test_an_error_of_the_search_is_one_of_the_check(
    build: Path, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> dict[str, Any]:
        raise OpsError("no", why="because", hint="mend it", code="bad-rule", exit=Exit.USAGE)

    monkeypatch.setattr(bundle_secrets, "_search", refuse)
    monkeypatch.setattr(threading, "active_count", lambda: threads)

    with pytest.raises(OpsError) as raised:
        search(build)

    assert ("bad-rule", "mend it", Exit.USAGE) == (
        raised.value.code, raised.value.hint, raised.value.exit,
    )  # fmt: skip


def test_no_process_is_left_by_a_check_that_fails(
    build: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forked: list[int] = []
    fork = os.fork

    def noted() -> int:
        forked.append(fork())
        return forked[-1]

    monkeypatch.setattr(os, "fork", noted)
    monkeypatch.setattr(bundle_secrets, "_search", lambda *_: threading.Event().wait(60))

    with (
        pytest.raises(ZeroDivisionError),
        searching(build, NAMES, rules=(), cache=SizeCache(None), folder="dist"),
    ):
        raise ZeroDivisionError

    (pid,) = forked
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def test_what_was_clean_is_not_read_again(build: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = SizeCache(build / "cache.json")
    measure(build, NAMES, methods=(), cache=cache)
    first = search(build, cache=cache)
    asked: list[tuple[str, ...]] = []
    inner = bundle_secrets._search

    def spied(root: Path, names: tuple[str, ...], *rest: Any) -> dict[str, Any]:
        asked.append(names)
        return inner(root, names, *rest)

    monkeypatch.setattr(threading, "active_count", lambda: 2)
    monkeypatch.setattr(bundle_secrets, "_search", spied)

    again = search(build, cache=cache)
    (build / "clean.js").write_text("let answer = 43\n")
    changed = search(build, cache=cache)

    assert first == again == changed
    assert [("worst.js",), NAMES] == asked
