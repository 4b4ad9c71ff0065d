"""The quick start does what the slow one does, and steps aside for everything unusual."""

from __future__ import annotations

import io
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from opsctl.cli.quick_bundle import Wanted, attempt, understood

from .conftest import Project


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def quick(*words: str) -> tuple[int, str] | None:
    """Return what the quick start does, None where it steps aside."""
    out = io.StringIO()
    with redirect_stdout(out), redirect_stderr(io.StringIO()):
        code = attempt(["bundle-check", *words])
    return None if code is None else (code, out.getvalue())


@pytest.mark.parametrize("form", ["text", "json", "markdown", "junit", "github", "sarif", "html"])
def test_it_says_and_ends_as_the_slow_one(project: Project, form: str) -> None:
    project.settings(
        compression="raw",
        budgets=[{"routes": "/", "js_kb": 24, "css_kb": 1}, {"routes": "*"}],
        total_js_kb=30,
    )
    words = (str(project.folder), "--config", str(project.folder / "opsctl.yaml"), "--format", form)
    assert quick(*words) is None

    code, text, _ = project.check("--format", form)

    assert code == 1
    assert quick(*words) == (code, text)


def test_changed_settings_are_read_again(project: Project) -> None:
    words = (str(project.folder), "--config", str(project.folder / "opsctl.yaml"))
    project.check()
    assert quick(*words) is not None

    project.settings(total_js_kb=1)

    assert quick(*words) is None


@pytest.mark.parametrize(
    "words",
    [("--run",), ("--record",), ("--help",), ("--verbose",), ("--dry-run",), ("--nope",),
     ("a", "b"), ("--format", "nope"), ("--base",), ("--base", "--html"), ("--yes",),
     ("",), ("--output=",)],
    ids=" ".join,
)  # fmt: skip
def test_it_steps_aside_for_anything_unusual(words: tuple[str, ...]) -> None:
    assert understood(["bundle-check", *words]) is None


def test_it_understands_what_is_usual() -> None:
    argv = ["bundle-check", "dist", "--base=main", "--format", "json", "-q", "--no-cache"]

    assert understood(argv) == Wanted(
        directory="dist", base="main", format="json", quiet=True, cached=False
    )


def test_it_imports_neither_typer_nor_pydantic(project: Project) -> None:
    project.check("--format", "json")
    code = (
        "import sys; from opsctl.cli.root import run; run(sys.argv[1:]);"
        "print(' '.join(sys.modules), file=sys.stderr)"
    )
    argv = [sys.executable, "-c", code, "bundle-check", str(project.folder), "--config",
            str(project.folder / "opsctl.yaml"), "--format", "json"]  # fmt: skip

    done = subprocess.run(argv, capture_output=True, text=True, check=True)

    modules = set(done.stderr.split())
    assert not modules & {"typer", "pydantic", "rich", "httpx", "yaml", "psycopg"}
    assert done.stdout.startswith("{")
