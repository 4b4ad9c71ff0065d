"""One look, several formats: `--also FORMAT=FILE`."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from first_run import World, first_run_world
from opsctl.cli.root import run
from opsctl.render import FORMATS


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_format_is_written_of_one_look(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["doctor", "--offline", "--format", "json"]
    for each in FORMATS:
        argv += ["--also", f"{each}={each}.out"]
    code = run(argv)
    printed = capsys.readouterr().out

    assert code == 0
    assert (folder / "json.out").read_text() == printed
    assert json.loads((folder / "sarif.out").read_text())["version"] == "2.1.0"
    assert (folder / "markdown.out").read_text().startswith("## ")
    assert "<testsuite" in (folder / "junit.out").read_text()
    assert all((folder / f"{each}.out").stat().st_size for each in FORMATS)


def test_an_error_is_written_too(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["rollback", "db", "--env", "x", "--also", "json=e.json", "--also=markdown=e.md"])
    document = json.loads((folder / "e.json").read_text())

    assert code == document["exit_code"] == 2
    assert document["error"]["code"] == "unknown-environment"
    assert "'x'" in (folder / "e.md").read_text()
    assert "unknown-environment" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("also", "code"),
    [("markdown", "bad-also"), ("markdown=", "bad-also"), ("markdwn=x", "unknown-format"),
     ("nagios=x", "unknown-format")],
)  # fmt: skip
def test_what_is_not_understood_is_a_wrong_call(
    folder: Path, capsys: pytest.CaptureFixture[str], also: str, code: str
) -> None:
    assert run(["doctor", "--offline", "--also", also, "--format", "json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == code
    assert not list(folder.iterdir())


def test_a_file_that_cannot_be_written_fails_what_was_well(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["doctor", "--offline", "--also", "json=no/such/x.json"]) == 2
    assert "output-failed" in capsys.readouterr().err


def test_a_file_that_cannot_be_written_does_not_hide_what_was_found(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "opsctl.yaml").write_text("nonsense: 1\n")

    assert run(["doctor", "--offline", "--also", "json=no/such/x.json"]) == 1
    assert "no/such" in capsys.readouterr().err


@pytest.fixture
def world(
    tmp_path: Path,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[World]:
    with first_run_world(tmp_path, database_url, monkeypatch, capsys) as world:
        yield world


def test_a_plan_that_is_only_shown_is_written_too(world: World) -> None:
    first = world.vercel.add_deployment("b" * 40, live=True)
    told = world.opsctl(
        "rollback",
        "app",
        "--env",
        "test",
        "--accept-schema",
        "--dry-run",
        "--also",
        "markdown=p.md",
    )

    assert first
    assert told.exit == 0, told.text
    assert told.document["data"]["plan"]["title"] in (world.root / "p.md").read_text()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")
@pytest.mark.parametrize("option", ["--output", "--also"])
def test_a_pipe_stays_a_pipe(folder: Path, option: str) -> None:
    """As root a new file would take the place of /dev/null itself, for every program there is."""
    os.mkfifo(folder / "pipe")
    heard: list[str] = []
    listener = threading.Thread(target=lambda: heard.append((folder / "pipe").read_text()))
    listener.start()
    given = ["--output", "pipe", "--format", "json"] if option == "--output" else [
        "--also", "json=pipe"]  # fmt: skip
    code = run(["doctor", "--offline", *given])
    listener.join(timeout=20)

    assert code == 0
    assert (folder / "pipe").is_fifo()
    assert json.loads(heard[0])["command"] == "doctor check"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")
def test_a_link_stays_a_link(folder: Path) -> None:
    (folder / "target").write_text("old")
    (folder / "link").symlink_to("target")
    code = run(["doctor", "--offline", "--also", "json=link"])

    assert code == 0
    assert (folder / "link").is_symlink()
    assert json.loads((folder / "target").read_text())["command"] == "doctor check"


def test_a_directory_is_no_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--offline", "--also", f"json={folder}"]) == 2
    assert "output-failed" in capsys.readouterr().err
