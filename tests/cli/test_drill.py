"""The restore drill: it destroys the sandbox's data and nothing else, and tells the truth."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from opsctl.cli.root import run


def opsctl(*argv: str) -> tuple[int, Any]:
    """Run one command line and return (exit code, JSON document)."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run([*argv, "--format", "json"])
    return code, json.loads(out.getvalue())


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """An empty directory to be in."""
    here = Path.cwd()
    os.chdir(tmp_path)
    yield tmp_path
    opsctl("sandbox", "down")
    os.chdir(here)


def test_a_drill_restores_everything_and_leaves_no_database_behind(folder: Path) -> None:
    assert 0 == opsctl("sandbox", "up")[0]

    code, told = opsctl("drill", "restore", "--env", "sandbox")

    assert (0, "ok") == (code, told["status"]), told
    assert 250 == told["data"]["rows_lost"]
    assert 0 < told["data"]["rpo_s"] < told["data"]["rpo_target_s"]
    assert 0 < told["data"]["rto_s"] < told["data"]["rto_target_s"]
    assert [] == opsctl("restore", "status", "--env", "sandbox")[1]["data"]["databases"][1:]
    runs = opsctl("runs", "list")[1]["data"]["runs"]
    assert ["finished", "finished"] == [each["state"] for each in runs]


def test_a_target_that_is_missed_fails_the_drill(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opsctl("sandbox", "up")
    monkeypatch.setenv("OPSCTL_ENVIRONMENTS__SANDBOX__LIMITS__RECOVERY_TIME_S", "0.01")

    code, told = opsctl("drill", "restore", "--env", "sandbox")

    assert (1, "failed") == (code, told["status"])
    failed = [each["rule"] for each in told["findings"] if each["status"] == "failed"]
    assert ["recovery-time"] == failed


def test_a_drill_is_refused_anywhere_else(folder: Path, database_url: str) -> None:
    os.environ["OPSCTL_TEST_DATABASE"] = database_url
    (folder / "opsctl.yaml").write_text(
        "environments:\n  production:\n    database:\n      url: env:OPSCTL_TEST_DATABASE\n"
    )

    code, told = opsctl("drill", "restore", "--env", "production")

    assert (5, "not-the-sandbox") == (code, told["error"]["code"])


def test_a_drill_wants_the_sandbox_up(folder: Path) -> None:
    opsctl("sandbox", "up")
    opsctl("sandbox", "down")

    code, told = opsctl("drill", "restore", "--env", "sandbox")

    assert (3, "sandbox-down") == (code, told["error"]["code"])
