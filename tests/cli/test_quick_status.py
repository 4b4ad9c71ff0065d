"""`opsctl status` on kept settings: the same answer, without what takes long to import."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from first_run import World, first_run_world
from opsctl.cli.quick_status import understood
from opsctl.engine.store import SqliteJournal

HEAVY = ("typer", "httpx", "yaml", "rich")
CODE = (
    "import sys; from opsctl.cli.root import run\n"
    "code = run(sys.argv[1:])\n"
    f"sys.stderr.write(' '.join({{*{HEAVY!r}}} & sys.modules.keys())); sys.exit(code)"
)


@pytest.fixture
def world(
    tmp_path: Path,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[World]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "project").mkdir()
    with first_run_world(tmp_path / "project", database_url, monkeypatch, capsys) as world:
        window = {"name": "patches", "on": "first sunday", "at": "02:00", "hours": 2.0}
        freeze = {"name": "friday", "at": "00:00", "hours": 24, "days": ["friday"]}
        world.settings(maintenance_windows=[window], freezes=[freeze])
        yield world


def in_a_new_process(world: World, *words: str) -> tuple[int, str, set[str]]:
    """Return exit code, output, and what of the heavy was imported."""
    done = subprocess.run(
        [sys.executable, "-c", CODE, *words], cwd=world.root, env=dict(os.environ),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, set(done.stderr.split())


def timeless(text: str) -> list[dict[str, object]]:
    document = json.loads(re.sub(r"built [^)]+ ago", "built", text))
    assert document["command"] == "status show"
    return [
        {name: each[name] for name in ("rule", "title", "status", "severity", "hint")}
        for each in document["findings"]
    ]


def test_it_says_what_the_command_says_and_imports_little(world: World) -> None:
    journal = SqliteJournal(world.root / ".opsctl" / "state.db")
    plan = {"command": "restore db", "environment": "test", "title": "Restore", "facts": {}}
    journal.append("20260101-000000-aaaa", "planned", step=None, actor="ann", data={"plan": plan})
    journal.close()
    words = ("status", "--env", "test", "--format", "json")

    first = in_a_new_process(world, *words)
    second = in_a_new_process(world, *words)

    assert first[0] == second[0] == 1  # there is no backup
    assert "typer" in first[2]
    assert second[2] == set()
    assert timeless(first[1]) == timeless(second[1])
    assert any("20260101-000000-aaaa" in str(each["title"]) for each in timeless(second[1]))


def test_settings_that_changed_are_read_anew(world: World) -> None:
    words = ("status", "--env", "test", "--format", "json")
    in_a_new_process(world, *words)
    world.settings(vercel=None, supabase=None)

    _, out, heavy = in_a_new_process(world, *words)

    assert "typer" in heavy
    assert "deployment" not in json.loads(out)["data"]["parts"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["status"], {}),
        (["status", "show", "--env=a", "--quiet"], {"--env": "a"}),
        (["status", "--format", "json", "--config", "x"], {"--format": "json", "--config": "x"}),
        (["status", "--watch"], None),
        (["status", "--within", "2"], None),
        (["status", "--format", "junit"], None),
        (["status", "--env"], None),
        (["status", "--env", "--quiet"], None),
        (["status", "--help"], None),
        (["status", "--output", "x"], None),
        (["status", "shwo"], None),
        (["runs", "list"], None),
    ],
)
def test_whatever_is_unusual_is_left_to_the_command(
    words: list[str], expected: dict[str, str] | None
) -> None:
    assert expected == understood(words)
