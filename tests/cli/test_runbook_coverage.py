"""The table of what does what the runbook document says is whole, and names what exists."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from opsctl.adapters.runbook_files import read_runbook
from opsctl.cli.own_commands import options_of

DOCUMENT = Path(__file__).parent / "runbook_document.md"
TABLE = Path(__file__).parents[2] / "docs" / "runbook-coverage.md"


def rows() -> list[tuple[str, str]]:
    """Return (what the document says, what does it), a row each."""
    found = re.findall(r"^\| (.*?) \| (.*) \|$", TABLE.read_text(), re.MULTILINE)
    return [row for row in found if row != ("in the document", "what does it")]


def headings_and_steps() -> list[str]:
    """Return every heading, command line and box of the document, in its order."""
    steps = {item.line: item for item in read_runbook(DOCUMENT).steps}
    found, in_block = [], False
    for number, line in enumerate(DOCUMENT.read_text().splitlines(), start=1):
        in_block ^= line.startswith("```")
        if number in steps:
            item = steps[number]
            found.append(f"☐ {item.text}" if item.kind == "tick" else f"`{item.text}`")
        elif line.startswith("#") and not in_block:
            found.append(f"**{line.lstrip('# ')}**")
    return found


def test_the_table_has_every_heading_command_and_box() -> None:
    assert headings_and_steps() == [said for said, _ in rows()]
    assert len(rows()) >= 90


def test_every_command_and_runbook_in_it_exists() -> None:
    commands = 0
    for said, does in rows():
        assert "`opsctl " in does or "](../runbooks/" in does or "manual" in does or (
            said == "**Debug Commands**"
        ), said  # fmt: skip
        for link in re.findall(r"\]\((\.\./runbooks/[^)]+)\)", does):
            assert (TABLE.parent / link).is_file(), link
        for line in re.findall(r"`opsctl ([^`]+)`", does):
            words = shlex.split(line)
            given = {word for word in words if word.startswith("--")}
            assert given <= options_of(words), line
            commands += 1
    assert commands >= 90
