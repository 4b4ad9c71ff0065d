"""The step of action.yml: run one command of opsctl, and hand its result to GitHub.

It is called by the composite action with its inputs in ACTION_* and what GitHub gives to
every step. Needs nothing but Python.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

_USAGE, _UNKNOWN = 2, 3
_OURS = ("--format", "--also", "--output")
_MOST_BYTES = 1_000_000
"""GitHub takes 1 MiB of summary for a step, and shows nothing of a longer one."""


def main() -> int:
    """Run the command and return the step's exit code."""
    try:
        words = shlex.split(os.environ.get("ACTION_COMMAND", ""))
    except ValueError as error:
        return _wrong(f"the input `command` is not quoted as in a shell: {error}")
    if words[:1] == ["opsctl"]:
        words = words[1:]
    if not words:
        return _wrong("the input `command` is empty")
    if taken := [word for word in words if word.partition("=")[0] in _OURS]:
        return _wrong(f"{taken[0]} is the action's own; it has the inputs sarif, junit, summary")
    folder = Path(tempfile.mkdtemp(prefix="opsctl-", dir=os.environ.get("RUNNER_TEMP")))
    report, summary = folder / "report.json", folder / "summary.md"
    also = [f"json={report}", f"markdown={summary}"]
    also += [
        f"{format_}={path}"
        for format_ in ("sarif", "junit")
        if (path := os.environ.get(f"ACTION_{format_.upper()}"))
    ]
    options = ["--format", "github", "--no-input", *(f"--also={each}" for each in also)]
    head = words.index("--") if "--" in words else len(words)
    code = _run([*words[:head], *options, *words[head:]])
    if os.environ.get("ACTION_SUMMARY") == "true":
        _append("GITHUB_STEP_SUMMARY", _summary(summary))
    _append(
        "GITHUB_OUTPUT",
        f"exit-code={code}\nstatus={_status(report)}\nreport={report}\n",
    )
    if code == _UNKNOWN and os.environ.get("ACTION_FAIL_ON_UNKNOWN") == "false":
        _say("::warning title=opsctl could not look::The step goes on: fail-on-unknown is false")
        return 0
    return code


def _run(words: list[str]) -> int:
    sys.stdout.flush()
    try:
        done = subprocess.run(  # noqa: S603 - argv, no shell
            ["opsctl", *words],  # noqa: S607 - the step before put it on the PATH
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except OSError as error:
        _say(f"::error title=opsctl could not be started::{error.strerror}")
        return _UNKNOWN
    return done.returncode if done.returncode >= 0 else 128 - done.returncode


def _status(report: Path) -> str:
    """Return the status of the result; unknown where there is none."""
    try:
        status = json.loads(report.read_text(encoding="utf-8")).get("status")
    except (OSError, ValueError, AttributeError):
        return "unknown"
    return status if isinstance(status, str) and status.isalpha() else "unknown"


def _summary(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError:
        return "opsctl wrote no result.\n"
    if len(data) <= _MOST_BYTES:
        return data.decode(errors="replace")
    text = data[:_MOST_BYTES].decode(errors="ignore").rpartition("\n")[0]
    return f"{text}\n\nThe rest is left out here: GitHub shows 1 MiB. It is in the log.\n"


def _append(variable: str, text: str) -> None:
    """Append to the file that a variable of GitHub names."""
    if path := os.environ.get(variable):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(text)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _wrong(why: str) -> int:
    _append("GITHUB_OUTPUT", f"exit-code={_USAGE}\nstatus=failed\nreport=\n")
    _say(f"::error title=The action was not called rightly::{why}")
    return _USAGE


if __name__ == "__main__":
    sys.exit(main())
