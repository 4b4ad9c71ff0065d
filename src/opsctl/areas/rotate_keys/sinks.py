"""The places that a key is kept in, and what each holds now, as far as that can be read."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from opsctl.adapters.env_file import read_variable
from opsctl.adapters.github import DEPENDABOT, GithubApi
from opsctl.adapters.supabase_secrets import FunctionSecrets
from opsctl.adapters.vercel import Variable, VercelApi
from opsctl.areas.rotate_keys.sources import (
    digest,
    github_of,
    supabase_of,
)
from opsctl.core.errors import Exit, OpsError
from opsctl.core.process import run_program

if TYPE_CHECKING:
    from opsctl.core.call import Call
    from opsctl.core.rotation import Sink
    from opsctl.core.settings import Vercel

_NAMES = {
    "github": "GitHub's repository secret",
    "dependabot": "GitHub's Dependabot secret",
    "edge-functions": "the edge functions' secret",
    "command": "what the settings' command keeps as",
}
VALUE = "OPSCTL_VALUE"


@dataclass(frozen=True)
class Place:
    """One sink; of Vercel, for one target."""

    sink: Sink
    target: str = ""

    @property
    def id(self) -> str:
        """What a hidden command is told: it stays the same while the settings do."""
        where = self.target or self.sink.path or ""
        return ":".join(each for each in (self.sink.kind, where, self.sink.variable) if each)

    @property
    def title(self) -> str:
        """For a person."""
        kind, variable = self.sink.kind, self.sink.variable
        if kind == "vercel":
            return f"Vercel's {variable} for {self.target}"
        if kind == "env-file":
            return f"{variable} in {self.sink.path}"
        if kind == "github-environment":
            return f"GitHub's environment secret {variable}"
        return f"{_NAMES[kind]} {variable}"

    @property
    def sensitive(self) -> bool:
        """Of Vercel: whether it is written so that it cannot be read again."""
        if self.target == "development":
            return False  # Vercel has no sensitive ones there
        if self.sink.sensitive is not None:
            return self.sink.sensitive
        return self.sink.key != "publishable"


@dataclass(frozen=True)
class Held:
    """What a place holds, as far as it can be read."""

    there: bool
    digest: str = ""
    """SHA-256 of what it holds; empty where that cannot be read."""
    stamp: str = ""
    """When it was last written, as the place says it; empty where it does not."""
    record: Variable | None = None
    """Of Vercel: the record that holds for the target."""


def places_of(call: Call, key: str) -> tuple[Place, ...]:
    """Return every place that a key is kept in, in the settings' order.

    Raises OpsError `sink-twice`, `sink-incomplete` (exit 2).
    """
    found: list[Place] = []
    for sink in call.environment.rotation.sinks:
        if sink.key != key:
            continue
        _refuse_incomplete(call, sink)
        targets = sink.targets if sink.kind == "vercel" else ("",)
        found += [Place(sink, target) for target in targets]
    ids = [each.id for each in found]
    if twice := sorted({each for each in ids if ids.count(each) > 1}):
        raise OpsError(
            f"A place is named twice: {twice[0]}",
            why=f"environments.{call.name}.rotation.sinks has it more than once for {key}",
            hint="take one of them out",
            code="sink-twice",
        )
    return tuple(found)


def place_by_id(call: Call, id: str) -> Place:
    """Return the place of this id; raises OpsError `no-such-sink` (exit 2)."""
    for sink in call.environment.rotation.sinks:
        for place in places_of(call, sink.key):
            if place.id == id:
                return place
    raise OpsError(
        f"The place {id!r} is not in the settings",
        why=f"environments.{call.name}.rotation.sinks has no such one any more",
        hint="put the settings back as they were when the run began, then resume it",
        code="no-such-sink",
    )


def read_place(call: Call, place: Place, *, value: str | None = None) -> Held:
    """Return what a place holds now; `value` is what a command's own check is asked about.

    Raises OpsError (exit 3) where it cannot be asked: that is never the same as empty.
    """
    variable = place.sink.variable
    match place.sink.kind:
        case "vercel":
            return _read_vercel(VercelApi(vercel_of(call)), place)
        case "env-file":
            found = read_variable(path_of(call, place), variable)
            return Held(found is not None, digest(found) if found is not None else "")
        case "edge-functions":
            known = FunctionSecrets(supabase_of(call)).digests().get(variable)
            return Held(known is not None, known or "")
        case "command":
            return _read_command(call, place, value)
    api, scope = GithubApi(github_of(call)), scope_of(call, place)
    secrets = api.dependabot_secrets() if scope == DEPENDABOT else api.secrets(scope)
    stamp = next((each.updated_at for each in secrets if each.name == variable), None)
    return Held(stamp is not None, stamp=stamp or "")


def scope_of(call: Call, place: Place) -> str | None:
    """Return GitHub's scope; raises OpsError `sink-incomplete` for an environment without name."""
    if place.sink.kind == "github-environment":
        environment = github_of(call).environment
        if environment is None:
            raise _incomplete(call, place.sink, f"environments.{call.name}.github.environment")
        return environment
    return DEPENDABOT if place.sink.kind == "dependabot" else None


def vercel_of(call: Call) -> Vercel:
    """Return the settings of Vercel; raises OpsError `no-vercel` (exit 2)."""
    settings = call.environment.vercel
    if settings is None or settings.token is None:
        raise OpsError(
            f"The environment {call.name} has no vercel settings to rotate keys with",
            why=f"environments.{call.name}.vercel lacks project and token",
            hint="add them; opsctl config schema says how",
            code="no-vercel",
        )
    return settings


def shares_record(held: Held, place: Place) -> bool:
    """Whether the record of Vercel that holds for a place holds for other targets, too."""
    return held.record is not None and held.record.targets != (place.target,)


def _read_vercel(api: VercelApi, place: Place) -> Held:
    found = [
        each
        for each in api.variables().variables
        if each.name == place.sink.variable and place.target in each.targets and not each.branch
    ]
    if not found:
        return Held(False)
    record = found[0]
    value = api.value(record)
    stamp = "" if record.updated_ms is None else str(record.updated_ms)
    return Held(True, digest(value) if value is not None else "", stamp, record)


def _read_command(call: Call, place: Place, value: str | None) -> Held:
    if not place.sink.check or value is None:
        return Held(True)
    env = {VALUE: value}
    done = run_program(place.sink.check, env=env, cwd=str(call.project))
    if done.exit_code not in (0, 1):
        raise OpsError(
            f"Whether {place.title} is kept could not be asked",
            why=f"its check ended with exit code {done.exit_code}",
            hint=f"run it by hand: {shlex.join(place.sink.check)}",
            code="sink-unread",
            exit=Exit.UNKNOWN,
        )
    return Held(done.exit_code == 0, digest(value) if done.exit_code == 0 else "")


def path_of(call: Call, place: Place) -> Path:
    """Return where a .env file lies."""
    return call.project / (place.sink.path or "")


def _refuse_incomplete(call: Call, sink: Sink) -> None:
    if sink.kind == "env-file" and not sink.path:
        raise _incomplete(call, sink, "path")
    if sink.kind == "command" and not sink.command:
        raise _incomplete(call, sink, "command")


def _incomplete(call: Call, sink: Sink, what: str) -> OpsError:
    return OpsError(
        f"A place of {sink.variable} is not described whole",
        why=f"the {sink.kind} one lacks {what}",
        hint=f"add it to environments.{call.name}.rotation.sinks",
        code="sink-incomplete",
    )
