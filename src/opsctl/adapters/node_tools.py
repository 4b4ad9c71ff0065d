"""Where the command lines that come from npm are found, and which version they have."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from opsctl.core.errors import OpsError
from opsctl.core.process import run_program

_VERSION = re.compile(r"(?<![\d.])(\d+\.\d+\.\d+)(?![\d.])", re.ASCII)
_VERSION_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Unavailable:
    """Something the tool could not be asked, and why."""

    why: str


def find_tool(project: Path, name: str) -> Path | None:
    """Return the project's own program, else the PATH's; None where there is neither."""
    own = shutil.which(name, path=str(project / "node_modules" / ".bin"))
    found = own or shutil.which(name)
    return Path(found).absolute() if found else None


def tool_version(program: Path, name: str) -> str | None:
    """Return `3.1.0`, from the package beside the program, else by asking it; None if unknown.

    The package is read first because prisma wants to download its engines even to say its
    version.
    """
    try:
        text = (program.parent.parent / name / "package.json").read_text(encoding="utf-8")
        version = json.loads(text).get("version")
    except (OSError, ValueError, AttributeError):
        version = None  # installed otherwise than by npm: ask
    if isinstance(version, str) and _VERSION.match(version):
        return version
    try:
        done = run_program([str(program), "--version"], timeout_s=_VERSION_TIMEOUT_S)
    except OpsError:
        return None
    match = _VERSION.search(done.stdout) if done.exit_code == 0 else None
    return match.group(1) if match else None


def require_major(program: Path, name: str, *, major: int) -> Unavailable | None:
    """Return why the program is not to be asked: its answers are known for one major version."""
    version = tool_version(program, name)
    if version is None:
        return Unavailable(f"{name} did not say its version")
    if version.partition(".")[0] != str(major):
        return Unavailable(f"{name} is version {version}; only version {major} is known")
    return None
