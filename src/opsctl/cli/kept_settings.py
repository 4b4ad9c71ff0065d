"""The settings as they were last found valid, for a start without pydantic.

Checking the settings takes longer than ten bare interpreters start. What is kept is in the
user's cache directory, for this user alone, and used only while no file that the settings came
from, or could now come from, has changed. It holds references to secrets, as the settings do,
and no secret.
"""

from __future__ import annotations

import binascii
import contextlib
import json
import os
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import opsctl

if TYPE_CHECKING:
    from collections.abc import Callable

    from opsctl.core.call import Call

_NAMES = ("opsctl.yaml", os.path.join("config", "opsctl.yaml"))  # noqa: PTH118 - a fast start
_MOST_BYTES = 16 << 20


def keep(call: Call, *, config: str | None, env: str | None) -> None:
    """Keep what a call was made of; where that cannot be written, it is not kept."""
    path = _path(config, env)
    if path is None:
        return
    root = str(call.root)
    document = {
        "key": _key(config, env),
        "root": root,
        "stamps": _stamps(config, root),
        "environment": call.environment_name,
        "state": call.settings.state,
        "settings": None if call.environment_name is None else _packed(call.environment),
        "bundle": _packed(call.settings.bundle),
        "secrets_scan": _packed(call.settings.secrets_scan),
    }
    write_privately(path, document)


def call_on(kept: SimpleNamespace, *, say: Callable[[str], None]) -> Call:
    """Return the call of a command that is started on kept settings."""
    from pathlib import Path

    from opsctl.core.call import Call

    settings: object = SimpleNamespace(
        state=kept.state,
        environments={} if kept.environment is None else {kept.environment: kept.settings},
        bundle=kept.bundle,
        secrets_scan=kept.secrets_scan,
    )
    return Call(
        settings=settings,  # type: ignore[arg-type] # read alike, and valid when it was kept
        root=Path(kept.root),
        environment_name=kept.environment,
        say=say,
    )


def recall(*, config: str | None, env: str | None) -> SimpleNamespace | None:
    """Return root, environment, state, settings and two rooms', or None where they may differ.

    `environment` is a name and `settings` its settings, or both are None where none was chosen.
    """
    path = _path(config, env)
    if path is None:
        return None
    try:
        document = read_privately(path)
        if document["key"] != _key(config, env):
            return None
        if document["stamps"] != _stamps(config, document["root"]):
            return None
        return SimpleNamespace(
            root=document["root"],
            environment=document["environment"],
            state=document["state"],
            settings=_unpacked(document["settings"]),
            bundle=_unpacked(document["bundle"]),
            secrets_scan=_unpacked(document["secrets_scan"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _path(config: str | None, env: str | None) -> str | None:
    return private_path("settings", json.dumps(_key(config, env)).encode())


def private_path(kind: str, of: bytes) -> str | None:
    """Return where something is kept in the user's cache directory.

    None where files have no owner, so that nobody could be trusted, and where there is no such
    directory.
    """
    if not hasattr(os, "getuid"):
        return None
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111
    if not os.path.isabs(home):  # noqa: PTH117
        return None
    return os.path.join(home, "opsctl", f"{kind}-{binascii.crc32(of):08x}.json")  # noqa: PTH118


def read_privately(path: str) -> Any:
    """Return what was kept; raises OSError, or ValueError for what somebody else may have put."""
    with open(path, "rb") as file:  # noqa: PTH123
        stat = os.fstat(file.fileno())
        if stat.st_uid != os.getuid() or stat.st_mode & 0o077 or stat.st_size > _MOST_BYTES:
            raise ValueError("it is not this user's alone, or too large")
        return json.loads(file.read())


def write_privately(path: str, document: Any) -> None:
    """Keep something for this user alone; where that cannot be written, it is not kept."""
    temporary = f"{path}.{os.getpid()}"
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)  # noqa: PTH103, PTH120
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
        with os.fdopen(os.open(temporary, flags, 0o600), "w", encoding="utf-8") as file:
            json.dump(document, file)
        os.replace(temporary, path)  # noqa: PTH105
    except OSError:
        return


def _key(config: str | None, env: str | None) -> list[Any]:
    """Return everything but files that the settings depend on."""
    variables = sorted(
        [name, value] for name, value in os.environ.items() if name.upper().startswith("OPSCTL_")
    )
    # In a checkout the models change without the version.
    models = os.path.join(opsctl.__path__[0], "core", "settings.py")  # noqa: PTH118
    return [opsctl.__version__, sys.version, _stamp(models), _here(), config, env, variables]


def _stamps(config: str | None, root: str) -> list[Any]:
    """Return what would be another if the settings were: every file they could come from."""
    given = config or os.environ.get("OPSCTL_CONFIG")
    files = [given] if given else []
    folder = _here()
    while not given:
        files += [os.path.join(folder, name) for name in _NAMES]  # noqa: PTH118
        above = os.path.dirname(folder)  # noqa: PTH120
        if folder == root or above == folder:
            break
        folder = above
    made = os.path.join(root, ".opsctl")  # noqa: PTH118
    with contextlib.suppress(OSError):
        names = sorted(os.listdir(made))  # noqa: PTH208
        found = [os.path.join(made, name, "environment.yaml") for name in names]  # noqa: PTH118
        files += [file for file in found if _stamp(file) is not None]
    return [[file, _stamp(file)] for file in files]


def _here() -> str:
    return os.getcwd()  # noqa: PTH109


def _stamp(path: str) -> list[int] | None:
    try:
        stat = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    return [stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino]


def _packed(value: Any) -> Any:
    """Return a model as JSON that tells models, mappings and tuples apart."""
    if hasattr(type(value), "model_fields"):
        return ["model", {name: _packed(getattr(value, name)) for name in type(value).model_fields}]
    if isinstance(value, dict):
        return ["dict", {key: _packed(each) for key, each in value.items()}]
    if isinstance(value, tuple):
        return ["tuple", [_packed(each) for each in value]]
    return value


def _unpacked(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    kind, parts = value
    if kind == "tuple":
        return tuple(_unpacked(each) for each in parts)
    found = {key: _unpacked(each) for key, each in parts.items()}
    return SimpleNamespace(**found) if kind == "model" else found
