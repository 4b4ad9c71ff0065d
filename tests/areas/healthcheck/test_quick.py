"""The quick start does what the slow one does, and steps aside for everything unusual."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from opsctl.cli.quick import Wanted, attempt, understood
from opsctl.cli.root import run

Both = Callable[..., tuple[tuple[int, str], tuple[int, str] | None]]
_TIMES = re.compile(r"\d[\d.]*(?= ms)|(?<=_ms\": )[\d.]+|\d+(\.\d+)?e-\d+|\d+\.\d+|\d{9,}")


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


def write(settings: dict[str, Any], path: str = "opsctl.yaml") -> None:
    Path(path).write_text(json.dumps({"environments": settings}))


def said(call: Callable[[], int | None]) -> tuple[int, str] | None:
    out = io.StringIO()
    with redirect_stdout(out), redirect_stderr(out):
        code = call()
    return None if code is None else (code, out.getvalue())


@pytest.mark.parametrize("format_", ["text", "json", "nagios", "openmetrics"])
def test_it_says_and_ends_as_the_slow_one(server: Any, format_: str) -> None:
    write({"t": {
        "health": [
            {"name": "well", "url": f"{server.url}/ok", "contains": ["fine"]},
            {"name": "ill", "url": f"{server.url}/fail", "headers": {"x-key": "env:HOME"}},
            {"name": "odd", "url": f"{server.url}/protected", "expect": {"/a": 1}},
            {"name": "slow", "url": f"{server.url}/cached", "response_ms": 10_000},
        ],
        "limits": {"response_ms": 9_000},
    }})  # fmt: skip
    argv = ["healthcheck", "run", "--format", format_]
    slow = said(lambda: run([*argv, "--retries", "0"]))

    quick = said(lambda: attempt(argv))

    assert slow is not None
    assert quick is not None
    # Times differ, and with them columns, and where lines are folded.
    one, other = (re.sub(r"\s+", " ", _TIMES.sub("N", text)) for _, text in (slow, quick))
    assert (slow[0], one) == (quick[0], other)


def test_it_needs_settings_that_were_checked_before(server: Any) -> None:
    write({"t": {"health": [{"name": "a", "url": f"{server.url}/ok"}]}})

    assert attempt(["healthcheck"]) is None
    assert said(lambda: run(["healthcheck"])) is not None
    assert said(lambda: attempt(["healthcheck"])) is not None


@pytest.mark.parametrize(
    "change", ["file", "nearer", "environment", "variable", "folder", "mode", "text", "env"]
)
def test_whatever_could_change_the_settings_sends_it_to_the_slow_one(
    server: Any, change: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write({"t": {"health": [{"name": "a", "url": f"{server.url}/ok"}]}})
    inner = tmp_path / "work" / "inner"
    inner.mkdir()
    monkeypatch.chdir(inner)
    run_quietly = ["healthcheck", "run", "--no-record"]
    assert said(lambda: run(run_quietly)) is not None
    assert said(lambda: attempt(run_quietly)) is not None

    kept = next((tmp_path / "cache" / "opsctl").glob("settings-*.json"))
    if change == "file":
        write({"t": {"health": [{"name": "b", "url": f"{server.url}/ok"}]}}, "../opsctl.yaml")
    elif change == "nearer":
        write({"t": {}}, "opsctl.yaml")
    elif change == "environment":
        folder = tmp_path / "work" / ".opsctl" / "sandbox"
        folder.mkdir(parents=True)
        (folder / "environment.yaml").write_text("name: sandbox\nenvironment: {}\n")
    elif change == "variable":
        monkeypatch.setenv("OPSCTL_ENVIRONMENTS__T__PROTECTED", "true")
    elif change == "folder":
        monkeypatch.chdir(tmp_path / "work")
    elif change == "mode":
        kept.chmod(0o660)
    elif change == "text":
        kept.write_text(kept.read_text()[:-9])
    words = [*run_quietly, "--env", "other"] if change == "env" else run_quietly

    assert attempt(words) is None


def test_a_wrong_call_is_the_slow_ones_to_refuse() -> None:
    for words in (["--nonsense"], ["--format", "xml"], ["--format"], ["--only"], ["watch"],
                  ["run", "--retries", "2"], ["run", "extra"], ["--output", "x"], ["--help"],
                  ["--env", "--config"]):  # fmt: skip
        assert understood(["healthcheck", *words]) is None
    assert understood(["rollback"]) is None


def test_words_are_understood_as_typer_does() -> None:
    assert understood(["healthcheck"]) == Wanted()
    found = understood(
        ["healthcheck", "run", "--env=a", "--config", "b", "--only", "c", "--only=d", "-q",
         "--no-record", "--format", "json"]
    )  # fmt: skip
    assert found == Wanted("a", "b", "json", False, ("c", "d"))


def test_an_error_is_told_as_ever(server: Any) -> None:
    write({"t": {"health": [{"name": "a", "url": f"{server.url}/ok"}]}})
    assert said(lambda: run(["healthcheck"])) is not None

    found = said(lambda: run(["healthcheck", "--only", "nothing", "--format", "json"]))

    assert found is not None
    assert (found[0], json.loads(found[1])["error"]["code"]) == (2, "no-such-check")


def test_it_starts_without_the_heavy_ones(server: Any) -> None:
    write({"t": {"health": [{"name": "a", "url": f"{server.url}/ok"}]}})
    assert said(lambda: run(["healthcheck"])) is not None
    code = (
        "import sys\nfrom opsctl.__main__ import main\nsys.argv = ['opsctl', 'healthcheck']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    code = end.code\n"
        "print(code, *sys.modules, sep=' ')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )

    ended, *modules = done.stdout.splitlines()[-1].split(" ")
    assert ended == "0"
    heavy = {"typer", "pydantic", "rich", "yaml", "httpx", "psycopg", "asyncio", "ssl",
             "subprocess", "opsctl.core.settings"}  # fmt: skip
    assert not heavy & set(modules)
