"""Whether runbooks work: their lines carried out in a sandbox that is made for it and thrown away.

Each runbook gets a sandbox of its own, and what `before` in its front matter makes of it. Only
lines that name the sandbox are tried: the others are about a machine, a repository or a project
that it has not got.
"""

from __future__ import annotations

import shlex
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from opsctl.adapters.command_line import own_words
from opsctl.cli.own_commands import understand
from opsctl.cli.runbook_plan import PRACTICE
from opsctl.core.errors import Exit, OpsError
from opsctl.core.process import Finished, run_program
from opsctl.core.report import Finding, Location, Report, Severity, Status

if TYPE_CHECKING:
    from opsctl.adapters.runbook_files import Item, Runbook

_LONGEST_S = 1800.0
# The settings of whoever calls are not the sandbox's.
_OURS = {"OPSCTL_CONFIG": "", "OPSCTL_ENV": "", "OPSCTL_NO_INPUT": "1"}


def verify_runbooks(runbooks: Sequence[Runbook], say: Callable[[str], None]) -> Report:
    """Return a report with a finding for every line that was tried."""
    findings: list[Finding] = []
    left_out: list[str] = []
    for book in runbooks:
        lines = [item for item in book.items if item.kind == "line"]
        tried = [item for item in lines if _names_the_sandbox(item)]
        left_out += [f"{book.path.name}:{each.line}" for each in lines if each not in tried]
        if tried:
            say(f"Trying {len(tried)} lines of {book.name} in a sandbox")
            findings += _tried(book, tried, say)
    notes = [f"{len(findings)} lines of {len(runbooks)} runbooks were tried."]
    if found := sum(each.status is Status.OK and bool(each.evidence) for each in findings):
        notes.append(f"{found} looks found something, as a look may.")
    if left_out:
        notes.append(f"{len(left_out)} lines name no sandbox, and were not: runbook lint has them.")
    return Report(
        command="runbook verify",
        title="Runbooks in the sandbox",
        findings=tuple(findings),
        notes=tuple(notes),
        data={
            "runbooks": [str(book.path) for book in runbooks],
            "tried": len(findings),
            "left_out": left_out,
        },
    )


def _names_the_sandbox(item: Item) -> bool:
    words = own_words(item.text)
    if words is None:
        return False
    try:
        return understand(words).environment == PRACTICE
    except OpsError:
        return True  # trying it shows that it does not exist


def _tried(book: Runbook, items: Sequence[Item], say: Callable[[str], None]) -> Iterator[Finding]:
    with tempfile.TemporaryDirectory(prefix="opsctl-verify-") as folder:

        def opsctl(*words: str) -> Finished:
            argv = ("opsctl", *words)
            return run_program(argv, env=_OURS, cwd=folder, timeout_s=_LONGEST_S)

        try:
            for line in ("opsctl sandbox up", *book.before):
                words = tuple(shlex.split(line)[1:])
                done = opsctl(*words)
                if done.exit_code != Exit.OK:
                    raise _not_made(words, done)
            for item in items:
                words = own_words(item.text) or ()
                say(f"  {item.text}")
                began = time.monotonic()
                done = opsctl(*words)
                took_ms = (time.monotonic() - began) * 1000
                yield _judged(book, item, words, done, took_ms)
        finally:
            opsctl("sandbox", "down")


def _judged(
    book: Runbook, item: Item, words: Sequence[str], done: Finished, took_ms: float
) -> Finding:
    """Return what an exit code means: a look may find something, a change must be done."""
    status, severity = Status.FAILED, Severity.ERROR
    said = f"ended with {done.exit_code}: {_end_of(done)}"
    try:
        looks = understand(words).does in ("looks", "either")
    except OpsError:
        looks = False
    if done.exit_code == Exit.OK:
        status, said = Status.OK, ""
    elif looks and done.exit_code in ((1, 2, 3) if "nagios" in words else (1,)):
        status, said = Status.OK, "found something"
    elif looks and done.exit_code == Exit.UNKNOWN:
        status, severity = Status.UNKNOWN, Severity.WARNING
    return Finding(
        rule="runbook-line",
        title=item.text,
        status=status,
        severity=severity,
        evidence=said,
        location=Location(path=str(book.path), line=item.line),
        took_ms=took_ms,
    )


def _not_made(words: Sequence[str], done: Finished) -> OpsError:
    return OpsError(
        "The sandbox for verifying could not be made",
        why=f"opsctl {shlex.join(words)} ended with {done.exit_code}: {_end_of(done)}",
        hint="opsctl doctor",
        code="sandbox-failed",
        exit=Exit.UNKNOWN,
    )


def _end_of(done: Finished) -> str:
    text = done.stderr if done.stderr.strip() else done.stdout
    return " ".join(" ".join(text.splitlines()[-5:]).split())[:300]
