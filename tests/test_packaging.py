"""What is shipped says what it is built on, and what a release does."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def named(requirements: list[str]) -> set[str]:
    found = {re.split(r"[\[<>=;~ ]", each, maxsplit=1)[0].lower() for each in requirements}
    return found - {"opsctl"}


def test_every_dependency_stands_in_the_table_with_its_extra() -> None:
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in (ROOT / "docs" / "dependencies.md").read_text().splitlines()
        if line.startswith("| `")
    ]
    table = {row[0].strip("`").lower(): set(re.findall(r"`([^`]+)`", row[1])) for row in rows}
    extras = {name: named(each) for name, each in PROJECT["optional-dependencies"].items()}
    del extras["dev"]
    wanted: dict[str, set[str]] = {name: set() for name in named(PROJECT["dependencies"])}
    for extra, names in extras.items():
        for name in names:
            wanted.setdefault(name, set()).add(extra)

    assert wanted == table
    assert all(len(row) == 4 and all((row[0], row[2], row[3])) for row in rows)


def test_the_container_installs_every_extra_that_a_server_needs() -> None:
    text = (ROOT / "Dockerfile").read_text()
    match = re.search(r"opsctl\[([^\]]+)\]", text)

    assert match is not None
    assert set(match[1].split(",")) <= set(PROJECT["optional-dependencies"])
    for line in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE):
        assert all((ROOT / name).exists() for name in line.split())
