"""The quick start does what the slow one does, and steps aside for everything unusual."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace

import pytest

from opsctl.cli.kept_report import stamps
from opsctl.cli.quick_bundle import Wanted, attempt, understood

from .conftest import Project


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compiled_patterns: Path) -> None:
    kept = tmp_path / "cache" / "opsctl"
    kept.mkdir(mode=0o700, parents=True)
    (kept / compiled_patterns.name).hardlink_to(compiled_patterns)
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


@pytest.fixture
def kept(project: Project, tmp_path: Path) -> list[str]:
    """The words of a check whose report is kept, and would be told from another."""
    words = [str(project.folder), "--config", str(project.folder / "opsctl.yaml")]
    project.write(".env", "API_TOKEN=" + "-".join(["sk", "live", "9f8e7d6c5b4a"]))
    project.check()
    time.sleep(2.1)  # a file that changed shortly before may change again unseen
    assert quick(*words) is not None
    (path,) = (tmp_path / "cache" / "opsctl").glob("bundle-*.json")
    assert path.stat().st_mode & 0o777 == 0o600
    assert "9f8e7d6c5b4a" not in path.read_text()
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "text": "as kept\n"}))
    return words


def test_a_kept_report_is_answered_from(kept: list[str]) -> None:
    assert quick(*kept) == (0, "as kept\n")


def test_answering_from_a_kept_report_imports_next_to_nothing(kept: list[str]) -> None:
    code = (
        "import sys; from opsctl.cli.root import run; run(sys.argv[1:]);"
        "print(' '.join(sys.modules), file=sys.stderr)"
    )
    argv = [sys.executable, "-c", code, "bundle-check", *kept]

    first, second = (
        subprocess.run(argv, capture_output=True, text=True, check=True) for _ in range(2)
    )

    assert "opsctl.areas.bundle_check.work" in first.stderr.split()
    assert second.stdout == first.stdout
    assert not {"dataclasses", "pathlib", "hyperscan"} & set(second.stderr.split())


def test_a_kept_report_is_not_answered_from_after_a_change(
    kept: list[str], project: Project
) -> None:
    rewrite(project.folder / "dist" / "assets" / "home.js")

    answer = quick(*kept)

    assert answer is not None
    assert answer[1] != "as kept\n"


def rewrite(path: Path) -> None:
    """Write as many bytes into a file and set its time back: only the system knows."""
    before = path.stat()
    path.write_bytes(path.read_bytes()[::-1])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


CHANGES: tuple[Callable[[Path], object], ...] = (
    lambda folder: rewrite(folder / "dist" / "assets" / "home.js"),
    lambda folder: (folder / "dist" / "more.html").write_text("<!doctype html>"),
    lambda folder: (folder / "dist" / "about.html").unlink(),
    lambda folder: (folder / "dist" / "assets" / "home.js.map").write_text("{}"),
    lambda folder: (folder / ".env").write_text("A=1"),
    lambda folder: rewrite(folder / ".env"),
    lambda folder: rewrite(folder / "package.json"),
    lambda folder: (folder / ".next").mkdir(),
    lambda folder: (folder / ".next" / "build-manifest.json").write_text("{}"),
    lambda folder: (folder / "stats.json").write_text("{}"),
    lambda folder: (folder / "known.json").write_text("{}"),
    lambda folder: (folder / ".gitleaksignore").write_text(""),
)
"""What a report may depend on, changed one after the other."""


def test_every_change_that_a_report_may_depend_on_is_seen(project: Project) -> None:
    place = str(project.folder)
    settings = SimpleNamespace(
        root=place,
        bundle=SimpleNamespace(build=None, stats="stats.json"),
        secrets_scan=SimpleNamespace(baseline="known.json"),
    )
    build = str(project.folder / "dist")
    looks = [stamps(place, build, settings)[0]]

    for change in CHANGES:
        change(project.folder)
        looks.append(stamps(place, build, settings)[0])

    assert len(set(looks)) == 1 + len(CHANGES)


@pytest.mark.parametrize("words", [("--no-cache",), ("--format", "markdown"), ("--html", "x.html")])
def test_a_kept_report_is_that_of_one_way_to_ask(kept: list[str], words: tuple[str, ...]) -> None:
    answer = quick(*kept, *words)

    assert answer is not None
    assert answer[1] != "as kept\n"


@pytest.mark.parametrize("what", ["secret", "unknown", "fresh"])
def test_a_report_that_is_not_plain_is_not_kept(
    project: Project, tmp_path: Path, what: str
) -> None:
    words = [str(project.folder), "--config", str(project.folder / "opsctl.yaml")]
    value = "-".join(["sk", "live", "9f8e7d6c5b4a"])
    if what == "secret":
        project.write(".env", f"API_TOKEN={value}\n")
        project.write("dist/assets/home.js", f'let key="{value}"')
    if what == "unknown":
        (project.folder / "dist" / "assets" / "home.js").unlink()
    project.check()
    if what != "fresh":
        time.sleep(2.1)

    assert quick(*words) is not None
    assert list((tmp_path / "cache" / "opsctl").glob("bundle-*.json")) == []
