"""What is kept of the vendors' command lines is what their pinned programs say themselves."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from opsctl.adapters.command_help import ask_help, ask_version, kept_help
from opsctl.adapters.runbook_files import read_runbook
from opsctl.cli.runbook_lint import Programs, lint_runbooks

pytestmark = pytest.mark.node
DOCUMENT = Path(__file__).parents[1] / "cli" / "runbook_document.md"


def program_of(tool: str, node_modules: Path) -> str:
    if tool == "gh":
        return str(Path(sys.executable).parent / "gh")
    return str(node_modules / ".bin" / tool)


@pytest.mark.parametrize(
    ("tool", "words"),
    [
        ("supabase", "db reset"),
        ("supabase", "db dump"),
        ("supabase", "migration list"),
        ("prisma", "migrate reset"),
        ("prisma", "migrate resolve"),
        ("vercel", "rollback"),
        ("vercel", "promote"),
        ("vercel", "env add"),
        ("gh", "pr create"),
    ],
)
def test_what_is_kept_is_what_the_program_says(tool: str, words: str, node_modules: Path) -> None:
    program = program_of(tool, node_modules)
    kept = kept_help(tool)

    assert kept is not None
    assert kept.version == ask_version(program, tool), "record it: .ci/record_options.py"
    assert kept.helps[tuple(words.split())] == ask_help(program, tool, words.split())


def test_the_programs_themselves_lead_to_the_same_findings(
    tmp_path: Path, node_modules: Path
) -> None:
    (tmp_path / "node_modules").symlink_to(node_modules)
    book = read_runbook(DOCUMENT)

    asked = Programs(tmp_path, ask="always")
    told = lint_runbooks([book], asked)

    assert told.findings == lint_runbooks([book], Programs(tmp_path, ask="never")).findings
    for tool in ("supabase", "prisma", "vercel"):
        assert asked.sources[tool].endswith("its own help")
    assert shutil.which("psql") is None or asked.sources["psql"].endswith("its own help")
