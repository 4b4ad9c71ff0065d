"""The quick start does what the slow one does, and steps aside for everything unusual."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.areas.secrets_scan.made_up import expand

from opsctl.cli.quick_secrets import Wanted, attempt, understood

Scanning = Callable[..., Any]


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave nothing of opsctl's in the environment, which other tests may have put there."""
    for name in list(os.environ):
        if name.startswith("OPSCTL_"):
            monkeypatch.delenv(name)


@pytest.mark.parametrize("form", ["text", "json", "markdown", "junit", "github", "sarif"])
def test_it_says_and_ends_as_the_slow_one(
    scan: Scanning, tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    (tmp_path / "a.txt").write_text(expand("{crc:ghp_}", random.Random(1)) + "\n")
    # --jobs is none of the quick start's options.
    slow = scan("--format", form, "--jobs", "1")

    code = attempt(["secrets-scan", "--format", form])

    assert (code, capsys.readouterr().out) == (slow.code, slow.out)
    assert code == 1


def test_it_steps_aside_where_there_are_settings(scan: Scanning, tmp_path: Path) -> None:
    del scan
    (tmp_path / "opsctl.yaml").write_text("version: 1\n")

    assert attempt(["secrets-scan"]) is None


def test_it_steps_aside_for_a_variable_of_opsctl(
    scan: Scanning, monkeypatch: pytest.MonkeyPatch
) -> None:
    del scan
    monkeypatch.setenv("OPSCTL_FORMAT", "json")

    assert attempt(["secrets-scan"]) is None


@pytest.mark.parametrize(
    "words",
    [("baseline", "create"), ("--live",), ("--jobs", "2"), ("--env", "x"), ("--config", "x"),
     ("--help",), ("--verbose",), ("--nope",), ("--format", "nope"), ("--since",),
     ("--since", "--history"), ("",), ("--output=",), ("--dry-run",), ("--yes",), ("--",)],
    ids=" ".join,
)  # fmt: skip
def test_it_steps_aside_for_anything_unusual(words: tuple[str, ...]) -> None:
    assert understood(["secrets-scan", *words]) is None


def test_it_understands_what_is_usual() -> None:
    argv = ["secrets-scan", "scan", "a", "--since=HEAD~2", "--format", "json", "-q", "--ignored"]

    assert understood(argv) == Wanted(
        paths=["a"], since="HEAD~2", format="json", quiet=True, ignored=True
    )


def test_a_small_scan_imports_nothing_that_takes_longer(scan: Scanning, tmp_path: Path) -> None:
    del scan
    (tmp_path / "a.txt").write_text("hello\n")
    code = (
        "import sys; from opsctl.cli.root import run; run(sys.argv[1:]);"
        "print(' '.join(sys.modules), file=sys.stderr)"
    )
    argv = [sys.executable, "-c", code, "secrets-scan"]

    done = subprocess.run(argv, cwd=tmp_path, env=os.environ, capture_output=True, text=True,
                          check=True)  # fmt: skip

    assert "No secret found" in done.stdout
    assert not set(done.stderr.split()) & {
        "typer", "pydantic", "rich", "httpx", "yaml", "psycopg", "sqlite3", "subprocess",
        "multiprocessing", "importlib.resources", "opsctl.adapters.secret_scanner.confirm",
    }  # fmt: skip
