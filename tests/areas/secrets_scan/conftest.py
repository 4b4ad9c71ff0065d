"""A cache of patterns that all tests of a run share, and a command line to scan with."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from opsctl.cli.root import run


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    monkeypatch.setenv("XDG_CACHE_HOME", str(shared / "cache"))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for name in list(os.environ):
        if name.startswith("OPSCTL_") and not name.startswith(("OPSCTL_TEST_", "OPSCTL_SOAK")):
            monkeypatch.delenv(name)


@dataclass(frozen=True)
class Scan:
    """What a command line said."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """The JSON document."""
        return json.loads(self.out)

    @property
    def secrets(self) -> list[Any]:
        """The secrets in the JSON document."""
        return list(self.data["data"]["secrets"])

    @property
    def rules(self) -> set[str]:
        """The rules of its findings."""
        return {each["rule"] for each in self.data["findings"]}


@pytest.fixture
def scan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Scan]:
    """Run `opsctl secrets-scan` in `tmp_path`, with JSON unless a format is given."""
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> Scan:
        argv = ["secrets-scan", *words]
        if "--format" not in words:
            argv += ["--format", "json"]
        capsys.readouterr()
        code = run(argv)
        out, err = capsys.readouterr()
        return Scan(code, out, err)

    return call


@pytest.fixture
def git(tmp_path: Path) -> Callable[..., str]:
    """Run git in `tmp_path`, which it makes a repository first."""

    def call(*words: str, cwd: Path | None = None, stdin: bytes | None = None) -> str:
        done = subprocess.run(
            ["git", "-c", "user.name=Ann Author", "-c", "user.email=ann@acme.io",
             "-c", "commit.gpgsign=false", *words],
            cwd=cwd or tmp_path, input=stdin, capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode(errors="replace").strip()

    call("init", "-q", "-b", "main")
    return call
