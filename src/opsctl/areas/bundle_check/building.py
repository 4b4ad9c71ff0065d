"""Let the project's own script build, before what it built is looked at."""

from __future__ import annotations

from pathlib import Path

from opsctl.adapters.bundle_build import read_manifest, table
from opsctl.core.errors import Exit, OpsError
from opsctl.core.process import find_program, run_program

_SCRIPTS = ("bundle:check", "build")
"""The first that package.json has; the first is the runbook's 'Check bundle sizes'."""
_MANAGERS = (
    ("pnpm-lock.yaml", "pnpm"),
    ("yarn.lock", "yarn"),
    ("bun.lock", "bun"),
    ("bun.lockb", "bun"),
    ("package-lock.json", "npm"),
)


def run_script(project: Path, *, timeout_s: float) -> str:
    """Run the project's own script and return its command line, for a person.

    Raises OpsError `no-script`, `tool-missing`, `tool-timeout` or `build-failed` (exit 3).
    """
    manifest = read_manifest(project / "package.json") or {}
    scripts = table(manifest.get("scripts"))
    name = next((name for name in _SCRIPTS if isinstance(scripts.get(name), str)), None)
    if name is None:
        raise OpsError(
            f"{project} has no script to run",
            why=f"its package.json has none named {' or '.join(_SCRIPTS)}",
            hint="add one, or build another way and leave --run out",
            code="no-script",
            exit=Exit.UNKNOWN,
        )
    manager = _manager(project, manifest)
    program = find_program(manager, hint=f"install {manager}, or leave --run out")
    done = run_program([program, "run", name], cwd=str(project), timeout_s=timeout_s)
    if done.exit_code != 0:
        raise OpsError(
            f"{manager} run {name} failed with exit code {done.exit_code}",
            why=done.last_line or "it said nothing",
            hint=f"run it in {project} and see all that it says",
            code="build-failed",
            exit=Exit.UNKNOWN,
        )
    return f"{manager} run {name}"


def _manager(project: Path, manifest: dict[str, object]) -> str:
    """Return the package manager that package.json names, else that of the lock file."""
    named = str(manifest.get("packageManager") or "").partition("@")[0]
    if named in {name for _, name in _MANAGERS}:
        return named
    return next((name for lock, name in _MANAGERS if (project / lock).is_file()), "npm")
