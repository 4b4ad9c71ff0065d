"""What the settings of a file say otherwise than what was found in the repository."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from opsctl.core.settings import Settings
from opsctl.core.sources import load_settings


def differences(path: Path, proposed: Settings, root: Path) -> tuple[tuple[str, str, str], ...]:
    """Return (setting, theirs, proposed) of each value that was found and that they lack.

    An environment is compared with the one of the same name, else with their only one, else
    with nothing. What they have beyond what was found is theirs, and no difference. Raises
    OpsError as `load_settings` does.
    """
    environ = {key: value for key, value in os.environ.items() if not key.startswith("OPSCTL_")}
    theirs = load_settings(config=str(path), start=root, environ=environ).settings
    (name, wanted), *_ = proposed.environments.items()
    known = theirs.environments
    own = known.get(name) or (next(iter(known.values())) if len(known) == 1 else None)
    mine = wanted.model_dump(mode="json", exclude_unset=True)
    have = own.model_dump(mode="json") if own is not None else {}
    rows = []
    for key, value in _leaves(mine):
        if key.startswith(("limits.", "protected")):
            continue  # a choice, and nothing that was found
        there = _at(have, key)
        if there != value:
            rows.append((f"environments.{name}.{key}", _word(there), _word(value)))
    return tuple(rows)


def _leaves(value: Any, path: str = "") -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        parts = [(str(key), each) for key, each in value.items()]
    elif isinstance(value, list):
        parts = [(str(index), each) for index, each in enumerate(value)]
    else:
        return [(path, value)]
    return [leaf for key, each in parts for leaf in _leaves(each, f"{path}.{key}" if path else key)]


def _at(data: Any, path: str) -> Any:
    for key in path.split("."):
        if isinstance(data, list):
            data = data[int(key)] if int(key) < len(data) else None
        else:
            data = data.get(key) if isinstance(data, dict) else None
    return data


def _word(value: Any) -> str:
    return "-" if value is None else str(value)
