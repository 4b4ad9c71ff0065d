"""A runbook is tried in a sandbox of its own: what works, what finds something, what fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from opsctl.adapters.runbook_files import read_runbook, runbook_paths
from opsctl.cli.runbook_verify import verify_runbooks
from opsctl.core.errors import Exit
from opsctl.core.report import Severity, Status

BOOK = """---
before: opsctl healthcheck window add --env sandbox --from 2h --to 1h --reason before
---
```bash
opsctl healthcheck run --env sandbox --only selftest --retries 0
opsctl healthcheck window list --env sandbox
opsctl rollback stash drop nothing --env sandbox --yes
opsctl runs lost --env sandbox
opsctl diagnose auth --env production
git push
```
"""


def test_a_line_works_finds_something_or_fails(tmp_path: Path) -> None:
    path = tmp_path / "book.md"
    path.write_text(BOOK)
    said: list[str] = []

    report = verify_runbooks([read_runbook(path)], said.append)

    assert [
        (Status.OK, "found something"),
        (Status.OK, ""),
        (Status.FAILED, "ended with 2: "),
        (Status.FAILED, "ended with 2: "),
    ] == [(each.status, each.evidence.split(": ")[0] + ": " if "ended" in each.evidence
           else each.evidence) for each in report.findings]  # fmt: skip
    assert Exit.FAILED is report.exit
    assert ["book.md:9", "book.md:10"] == report.data["left_out"]
    assert "Trying 4 lines of book in a sandbox" == said[0]
    assert [5, 6, 7, 8] == [each.location.line for each in report.findings if each.location]


ROOT = Path(__file__).parents[2]
SHIPPED = [path for path in runbook_paths(ROOT) if path.parent == ROOT / "runbooks"]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_runbook_of_ours_works(path: Path, soak: bool) -> None:
    """Without OPSCTL_SOAK the lines are looked at alone: the test of the documents runs them."""
    book = read_runbook(path)
    if not soak:
        assert all(line.startswith("opsctl ") for line in book.before)
        assert book.title
        assert book.when
        return

    report = verify_runbooks([book], lambda line: None)

    errors = [each for each in report.findings if each.severity is Severity.ERROR]
    assert [] == [each for each in errors if each.status is not Status.OK]
