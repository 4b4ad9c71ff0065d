"""The bare repository that stands for the one on GitHub: its heads, read without a program."""

from __future__ import annotations

from pathlib import Path

from opsctl.core.process import find_program, run_program


def read_head(bare: Path, branch: str) -> str:
    """Return the commit that a branch is at, or nothing."""
    ref = f"refs/heads/{branch}"
    if ".." in Path(ref).parts:
        return ""
    try:
        return (bare / ref).read_text(encoding="utf-8").strip()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        pass
    try:
        packed = (bare / "packed-refs").read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    return next(
        (line.partition(" ")[0] for line in packed.splitlines() if line.endswith(f" {ref}")), ""
    )


def update_head(bare: Path, branch: str, commit: str) -> None:
    """Point a branch to a commit that is there."""
    program = find_program("git", hint="install git")
    run_program([program, "update-ref", f"refs/heads/{branch}", commit], cwd=str(bare))
