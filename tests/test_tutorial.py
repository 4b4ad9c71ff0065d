"""The tutorial's screens are what the program prints, in a new sandbox, in the page's order."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

TUTORIAL = Path(__file__).parent.parent / "docs" / "tutorial.md"
DIFFERS = (
    (r"\b\d{8}T\d{6}Z-\w+", "BACKUP"),
    (r"\b\d{8}-\d{6}-\w+", "RUN"),
    (r"\b\d{4}-\d\d-\d\d \d\d:\d\d\b", "TIME"),
    (r"\b[\d.,]+ (ms|s|min)\b", "SPAN"),
    (r"\S+@\S+", "SOMEBODY"),
    (r"(?<=\s)\d{4,5}(?=\s)", "NUMBER"),
    (r"\s+", " "),
)
"""What is another one each time: ids, times, ports and processes, people, widths of columns."""


def screens() -> list[tuple[str, list[str]]]:
    """Return (command line, the lines shown beneath it) in the page's order."""
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"```console\n(.*?)```", TUTORIAL.read_text("utf-8"), re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            elif line.strip():
                found[-1][1].append(alike(line))
    return found


def alike(line: str) -> str:
    for pattern, word in DIFFERS:
        line = re.sub(pattern, word, line)
    return line.strip()


def follows(shown: list[str], printed: list[str]) -> str:
    """Return the first line that is not where the page shows it, or nothing.

    `...` stands for any lines; a page may end before the screen does.
    """
    at, free = 0, False
    for line in shown:
        if line == "...":
            free = True
            continue
        if free and line in printed[at:]:
            at = printed.index(line, at)
        if at >= len(printed) or printed[at] != line:
            return line
        at, free = at + 1, False
    return ""


def test_the_tutorial_shows_what_happens(tmp_path: Path) -> None:
    known = {"PATH", "HOME", "TMPDIR", "LANG"}
    environment = {name: value for name, value in os.environ.items() if name in known}
    environment |= {"COLUMNS": "80", "OPSCTL_NO_INPUT": "1", "PYTHONIOENCODING": "utf-8"}
    pages = screens()
    try:
        for line, shown in pages:
            done = subprocess.run(
                [sys.executable, "-m", *shlex.split(line)],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                encoding="utf-8",
                check=False,
            )
            printed = [alike(each) for each in done.stdout.splitlines() if each.strip()]

            assert shown, line
            assert follows(shown, printed) == "", f"{line}:\n{done.stdout}{done.stderr}"
            assert done.returncode == (1 if shown[0].startswith("✗") else 0), line
    finally:
        down = [sys.executable, "-m", "opsctl", "sandbox", "down"]
        subprocess.run(down, cwd=tmp_path, env=environment, capture_output=True, check=False)
    assert len(pages) >= 10


def test_a_screen_that_is_not_the_page_s_is_noticed() -> None:
    printed = ["first", "second", "third", "fourth"]

    assert follows(["first", "second"], printed) == ""
    assert follows(["first", "...", "fourth"], printed) == ""
    assert follows(["first", "third"], printed) == "third"
    assert follows(["...", "fourth", "...", "second"], printed) == "second"
    assert follows(["first", "fifth"], printed) == "fifth"
    assert alike("  5.0 s  it is") == alike("  650 ms it is")
