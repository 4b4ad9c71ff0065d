"""Where settings come from: flag > OPSCTL_* > file > default, and which environment is meant."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from opsctl.core.errors import OpsError
from opsctl.core.misfits import did_you_mean, dotted, invalid
from opsctl.core.settings import Settings
from opsctl.core.settings_file import find_settings, made_environments
from opsctl.core.strict_yaml import MAX_BYTES, load_yaml, shown_key
from opsctl.core.variables import add_variables


@dataclass(frozen=True)
class Loaded:
    """The settings, and where each given value came from."""

    settings: Settings
    root: Path
    """Absolute; relative paths of the settings start here."""
    path: Path | None
    origins: Mapping[str, str]
    """Dotted path of each value that was given -> `file:line` or the variable's name."""


def load_settings(*, config: str | None, start: Path, environ: Mapping[str, str]) -> Loaded:
    """Find, merge and check the settings; without a file there are only the defaults.

    The file is `config`, else `OPSCTL_CONFIG`, else the nearest above `start`; the root is its
    directory, or the parent of its `config/`. Raises OpsError (exit 2): `settings-missing`,
    `settings-ambiguous`, `settings-unreadable`, `settings-invalid`, `unknown-variable`, or
    what `strict_yaml.load_yaml` raises.
    """
    path, root = find_settings(config=config, start=Path(os.path.abspath(start)), environ=environ)  # noqa: PTH100
    data: dict[str, Any] = {}
    origins: dict[str, str] = {}
    if path is not None:
        data = _read_mapping(path, origins)
    _add_environments(data, origins, root)
    add_variables(data, origins, environ)
    try:
        settings = Settings.model_validate(_tuples(data), context={"root": root})
    except ValidationError as error:
        raise invalid(error, origins=origins, source=str(path or "settings")) from None
    _check(settings, origins)
    return Loaded(settings, root, path, origins)


def choose_environment(loaded: Loaded, flag: str | None, environ: Mapping[str, str]) -> str | None:
    """Return the environment meant: flag > OPSCTL_ENV > default > the only one > None.

    Raises OpsError `unknown-environment` (exit 2).
    """
    known = list(loaded.settings.environments)
    asked = flag or environ.get("OPSCTL_ENV") or loaded.settings.default_environment
    if asked is None:
        return known[0] if len(known) == 1 else None
    if asked in known:
        return asked
    raise OpsError(
        f"The environment {asked!r} is not in the settings",
        why=f"they have {', '.join(known) or 'none'}",
        hint=did_you_mean(asked, known) or "opsctl config show",
        code="unknown-environment",
    )


def environment_origin(loaded: Loaded, flag: str | None, environ: Mapping[str, str]) -> str:
    """Return what made `choose_environment` choose as it did, for a person."""
    if flag:
        return "--env"
    if environ.get("OPSCTL_ENV"):
        return "OPSCTL_ENV"
    if loaded.settings.default_environment is not None:
        return loaded.origins["default_environment"]
    return "the only one" if len(loaded.settings.environments) == 1 else "none was chosen"


def _read_mapping(path: Path, origins: dict[str, str]) -> dict[str, Any]:
    """Return the keys of a file, and put the line of each into `origins`."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise OpsError(
            f"The settings file {path} could not be read",
            why=error.strerror or type(error).__name__,
            hint=f"check its permissions: ls -l {path}",
            code="settings-unreadable",
        ) from None
    data, lines = load_yaml(text, source=str(path))
    origins |= {dotted(where): f"{path}:{line}" for where, line in lines.items() if where}
    if data is None:
        return {}
    if isinstance(data, dict):
        return data
    raise OpsError(
        f"The settings file {path} holds no settings",
        why=f"{path}:{lines[()]}: it is a list or a single value, and no mapping of keys",
        hint="start from the example: config/opsctl.example.yaml",
        code="settings-invalid",
    )


def _add_environments(data: dict[str, Any], origins: dict[str, str], root: Path) -> None:
    """Add the environments that live under .opsctl/; those of the settings file win."""
    environments = data.get("environments", {})
    if not isinstance(environments, dict):
        return  # the models will say so
    for path in made_environments(root):
        lines: dict[str, str] = {}
        found = _read_mapping(path, lines)
        name = found.get("name")
        if not isinstance(name, str) or found.keys() != {"name", "environment"}:
            raise OpsError(
                f"The file {path} describes no environment",
                why="it is to have the keys name and environment, and no others",
                hint="remove that file; for the sandbox's: opsctl sandbox reset",
                code="settings-invalid",
            )
        if name in environments:
            continue
        data["environments"] = environments
        environments[name] = found["environment"]
        for where, line in lines.items():
            if where.partition(".")[0] == "environment":
                origins[f"environments.{name}{where.removeprefix('environment')}"] = line


def _tuples(value: Any) -> Any:
    """Return the data with lists as tuples, which is what frozen models hold."""
    if isinstance(value, dict):
        return {key: _tuples(each) for key, each in value.items()}
    if isinstance(value, list):
        return tuple(_tuples(each) for each in value)
    return value


def _check(settings: Settings, origins: Mapping[str, str]) -> None:
    default = settings.default_environment
    if default is not None and default not in settings.environments:
        known = list(settings.environments)
        named = f" {default!r}" if shown_key(default) == default else ""
        raise OpsError(
            f"The default environment{named} is not in the settings",
            why=f"{origins['default_environment']}: they have {', '.join(known) or 'none'}",
            hint=did_you_mean(default, known) or "mend default_environment",
            code="settings-invalid",
        )
    for name, environment in settings.environments.items():
        seen: set[str] = set()
        for index, endpoint in enumerate(environment.health):
            if endpoint.name in seen:
                where = f"environments.{name}.health.{index}.name"
                raise OpsError(
                    f"Two health endpoints of {name} have the same name",
                    why=f"{origins[where]}: an endpoint above has it already",
                    hint="give each endpoint a name of its own",
                    code="settings-invalid",
                )
            seen.add(endpoint.name)
