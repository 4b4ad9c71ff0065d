"""Every command line in the documents exists; those of runbooks on the sandbox are run."""

from __future__ import annotations

import functools
import io
import os
import re
import shlex
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import typer

from opsctl.cli.own_commands import understand
from opsctl.cli.rooms import ROOMS, Room
from opsctl.cli.root import load_room, run

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "runbooks").glob("*.md"))]
PAGES = [ROOT / "ARCHITECTURE.md", *sorted((ROOT / "docs").glob("*.md"))]


def command_lines(path: Path, *, inline: bool) -> list[str]:
    """Return the opsctl command lines of a document's bash blocks, and of its prose if asked."""
    text = path.read_text()
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    lines = [line.partition("#")[0].strip() for block in blocks for line in block.splitlines()]
    if inline:
        lines += re.findall(r"`(opsctl [^`]+)`", text)
        lines += re.findall(r"^\$ (opsctl .+)$", text, re.MULTILINE)
    return [line for line in lines if line.startswith("opsctl ")]


@functools.cache
def group_of(room: Room) -> Any:
    return typer.main.get_group(load_room(room))


@pytest.mark.parametrize("path", [*DOCUMENTS, *PAGES], ids=lambda path: path.name)
def test_every_command_line_exists(path: Path) -> None:
    rooms = {room.name: room for room in ROOMS}
    lines = command_lines(path, inline=True)

    assert lines or path not in DOCUMENTS
    for line in lines:
        words = shlex.split(line)[1:]
        if words[0] in ("--help", "--version", "COMMAND"):
            continue
        words = [word for word in words if word != "--help"]
        room = rooms[words[0]]
        command: Any = group_of(room)
        rest = words[1:]
        if room.alone or (room.default and not (rest and rest[0] in command.commands)):
            rest = [room.default, *rest]
        while rest and hasattr(command, "commands") and rest[0] in command.commands:
            command = command.commands[rest.pop(0)]
        if hasattr(command, "otherwise"):  # a group that is a command itself
            command = command.commands[command.otherwise]
        assert not hasattr(command, "commands") or not rest, line
        known = {option for each in command.params for option in (*each.opts, *each.secondary_opts)}
        options = {word.partition("=")[0] for word in rest if word.startswith("--")}
        assert options <= known, line


TOGETHER = ("README.md", "backup.md", "restore.md", "diagnose.md", "first-run.md", "game-day.md",
            "healthcheck.md", "rotate-keys.md")  # fmt: skip
"""A restore needs a backup; the others are put beside them so that both halves take as long."""


@pytest.mark.parametrize("half", ["with the README", "without"])
def test_the_runbooks_run_on_the_sandbox(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, soak: bool, half: str
) -> None:
    """A look is not looked again while nothing has changed, but with OPSCTL_SOAK."""
    monkeypatch.chdir(tmp_path)

    def opsctl(line: str) -> tuple[int, str]:
        said = io.StringIO()
        with redirect_stdout(said), redirect_stderr(said):
            code = run(shlex.split(line)[1:])
        return code, said.getvalue()

    up, said = opsctl("opsctl sandbox up")
    assert up == 0, said
    ran = 0
    looked: set[tuple[str, ...]] = set()
    try:
        for path in DOCUMENTS:
            if (path.name in TOGETHER) != (half == "with the README"):
                continue
            for line in command_lines(path, inline=False):
                if "--env sandbox" not in line and not line.startswith("opsctl runs list"):
                    continue
                if understand(shlex.split(line)[1:]).does != "looks":
                    looked.clear()
                look = (line, *sorted(each.name for each in tmp_path.iterdir()))
                if look in looked and not soak:
                    continue
                looked.add(look)
                code, said = opsctl(line)
                ran += 1
                # The sandbox's application is ill until its bad migration is rolled back.
                allowed = {
                    "healthcheck report": (0, 1, 3),
                    "--format nagios": (0, 1, 2, 3),
                    "healthcheck": (0, 1),
                    "restore db": (0, 4),
                    "rls-smoke": (0, 1, 3),
                    "slowquery": (0, 1, 3),
                    "diagnose": (0, 1, 3),
                    "opsctl status": (0, 1, 3),
                }
                codes = next((codes for what, codes in allowed.items() if what in line), (0,))
                assert code in codes, f"{line}: {said}"
            # What one runbook writes down of the schema does not fit once another changed it.
            (tmp_path / "rls.yaml").unlink(missing_ok=True)
    finally:
        opsctl("opsctl sandbox down")
    assert ran >= 6


def test_the_readme_names_exactly_two_set_up_commands() -> None:
    first = (ROOT / "README.md").read_text().partition("## ")[0]
    commands = [line for line in first.splitlines() if line.startswith("python3 ")]

    assert len(commands) == 2
    assert ".ci/setup.py test" in commands[1]
    assert ".ci/setup.py test" in (ROOT / ".ci" / "run").read_text()
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_the_comparison_says_what_the_benchmarks_say() -> None:
    """Each figure of a claim that was measured is one of the benchmarks', perhaps rounded."""
    benchmarks = (ROOT / "docs" / "benchmarks.md").read_text()
    found = [
        float(each.replace(",", "")) for each in re.findall(r"\d+(?:,\d{3})*\.?\d*", benchmarks)
    ]
    claims = [
        line
        for line in (ROOT / "docs" / "comparison.md").read_text().splitlines()
        if line.startswith("- ") and "*measured*" in line and not line.startswith("- *measured*")
    ]

    assert len(claims) > 8
    for line in claims:
        for figure in re.findall(r"(?<![\w.])\d+(?:,\d{3})*(?:\.\d+)*(?![\w.]*\d)", line):
            if figure.count(".") > 1:  # a version
                assert figure in benchmarks, line
                continue
            places = len(figure.partition(".")[2])
            value = float(figure.replace(",", ""))
            assert any(round(each, places) == value for each in found), f"{figure}: {line}"
