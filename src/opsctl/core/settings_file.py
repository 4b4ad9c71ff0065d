"""Where the settings file is. Importing this imports neither YAML nor pydantic."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from opsctl.core.errors import OpsError

_NAMES = ("opsctl.yaml", "config/opsctl.yaml")
_OTHERS = ".opsctl/*/environment.yaml"


def settings_given(*, config: str | None, start: Path, environ: Mapping[str, str]) -> bool:
    """Whether a file or a variable sets anything at all; raises what `find_settings` does."""
    path, root = find_settings(config=config, start=start, environ=environ)
    if path is not None or made_environments(root):
        return True
    return any(name.startswith("OPSCTL_") and not name.startswith(_NO_SETTINGS) for name in environ)


_NO_SETTINGS = ("OPSCTL_FORMAT", "OPSCTL_SOAK", "OPSCTL_NO_INPUT", "OPSCTL_TEST_")


def find_settings(
    *, config: str | None, start: Path, environ: Mapping[str, str]
) -> tuple[Path | None, Path]:
    """Return (settings file or None, root), as `load_settings` tells.

    Raises OpsError `settings-missing` or `settings-ambiguous` (exit 2).
    """
    given = config or environ.get("OPSCTL_CONFIG")
    if given:
        # Links are not followed: where a link lies is where its project is.
        path = Path(os.path.abspath(start / given))  # noqa: PTH100
        if not _is_file(path):
            raise OpsError(
                f"The settings file {given} was not found",
                why=f"{path} is a directory" if os.path.isdir(path) else f"{path} is no file",  # noqa: PTH112
                hint="give another --config FILE, or unset OPSCTL_CONFIG to have it found",
                code="settings-missing",
            )
        return path, _root_of(path)
    folders = (start, *start.parents)
    for folder in folders:
        found = [folder / name for name in _NAMES if _is_file(folder / name)]
        if len(found) > 1:
            raise OpsError(
                "Two settings files were found",
                why=f"{found[0]} and {found[1]}",
                hint=f"remove one, or say which: --config {found[0]}",
                code="settings-ambiguous",
            )
        if found:
            return found[0], _root_of(found[0])
    return None, next((folder for folder in folders if made_environments(folder)), start)


def _is_file(path: Path) -> bool:
    # Not Path.is_file, which raises where a directory above may not be looked into.
    return os.path.isfile(path)  # noqa: PTH113


def _root_of(path: Path) -> Path:
    return path.parent.parent if path.parent.name == "config" else path.parent


def made_environments(root: Path) -> list[Path]:
    """Return the files of the environments that opsctl made itself, such as the sandbox."""
    return sorted(path for path in root.glob(_OTHERS) if _is_file(path))
