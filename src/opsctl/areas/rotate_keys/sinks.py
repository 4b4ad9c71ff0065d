"""The places that a key is kept in: what each holds now, writing it, and reading it back.

What cannot be read again (GitHub's secrets, Vercel's sensitive variables) is told by when it was
last written: another time than the plan saw means that it was written since. That it holds the
right key is then for the proof to show.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from opsctl.adapters.env_file import read_variable, write_variable
from opsctl.adapters.github import DEPENDABOT, GithubApi
from opsctl.adapters.journal_runs import JournalRuns
from opsctl.adapters.supabase_secrets import FunctionSecrets
from opsctl.adapters.vercel import Variable, VercelApi
from opsctl.areas.rotate_keys.looks import looked, own_probe, word_for
from opsctl.areas.rotate_keys.sources import (
    digest,
    github_of,
    read_source,
    supabase_of,
    value_reference,
    written,
)
from opsctl.core.action import Action, Command
from opsctl.core.errors import Exit, OpsError
from opsctl.core.plan import Irreversible, Step, Undo
from opsctl.core.process import LOOK, run_program

if TYPE_CHECKING:
    from opsctl.core.call import Call
    from opsctl.core.report import Report
    from opsctl.core.rotation import Sink
    from opsctl.core.settings import Vercel

_NAMES = {
    "github": "GitHub's repository secret",
    "dependabot": "GitHub's Dependabot secret",
    "edge-functions": "the edge functions' secret",
    "command": "what the settings' command keeps as",
}
_VALUE = "OPSCTL_VALUE"
_STAMP = "stamp "


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
            found = read_variable(_path(call, place), variable)
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


def stage_steps(
    call: Call,
    place: Place,
    held: Held,
    *,
    new: str,
    old: str | None,
    token: str,
    touched: tuple[str, ...] = (),
) -> list[Step]:
    """Return the steps that write the new key into a place.

    `new` and `old` are sources; `old` is None where the old value cannot be read again. `token`
    is the rotation's, by which the journal is found; `touched` are steps before these that
    write to the same record and leave its value.
    """
    step = f"stage-{place.id}"
    split = _split_step(call, place, held)
    words: tuple[str, ...] = ("staged", "--sink", place.id, "--token", token)
    for each in touched:
        words += ("--after", each)
    return [
        *split,
        Step(
            id=step,
            title=f"Write the new key into {place.title}",
            safety="verify",
            action=_write(call, place, new),
            check=own_probe(call, *words, "--source", new, "--before", held.stamp),
            undo=_undo(call, place, held, old=old, split=bool(split), words=words, step=step),
        ),
    ]


def check_staged(
    call: Call, *, sink: str, source: str | None, before: str, token: str, after: tuple[str, ...]
) -> Report:
    """Say whether a place holds a source's value.

    Without a source: whether it holds nothing. `before` is when it was written as the plan saw
    it; `after` are steps of the rotation whose writing does not count.
    """
    place = place_by_id(call, sink)
    if source is None:
        held = read_place(call, place)
        word = word_for(not held.there or _shared(held, place))
        return looked(call, "staged", word, f"{place.title} is {'not ' * (not held.there)}there")
    value = written(read_source(call, source), place.sink.value)
    held = read_place(call, place, value=value)
    if held.digest:
        same = held.digest == digest(value) and not _shared(held, place)
        return looked(
            call, "staged", word_for(same),
            f"{place.title} holds {'the' if same else 'another'} key",
        )  # fmt: skip
    if not held.there or _shared(held, place):
        return looked(call, "staged", "absent", f"{place.title} is not there")
    if not held.stamp:
        return looked(call, "staged", "unknown", f"{place.title} cannot be read")
    known = {before, *_stamps(call, token, after)}
    return looked(
        call,
        "staged",
        word_for(held.stamp not in known),
        f"{place.title} was written, {_STAMP}{held.stamp}",
    )


def write_env_file(call: Call, *, sink: str, source: str | None) -> str:
    """Write a source's value into a `.env` file, or take the variable away."""
    place = place_by_id(call, sink)
    value = None if source is None else written(read_source(call, source), place.sink.value)
    write_variable(_path(call, place), place.sink.variable, value)
    return place.title


def record_of(call: Call, sink: str) -> str:
    """Return the id of the record of Vercel that is this place's alone."""
    place = place_by_id(call, sink)
    held = read_place(call, place)
    if held.record is None or _shared(held, place):
        raise OpsError(
            f"{place.title} has no record of its own",
            why="it was taken away already",
            hint="opsctl rotate-keys status",
            code="no-such-record",
            exit=Exit.UNKNOWN,
        )
    return held.record.id


def check_targets(call: Call, *, record: str, targets: str) -> Report:
    """Say whether a record of Vercel holds for these targets alone, which commas part."""
    found = [each for each in VercelApi(vercel_of(call)).variables().variables if each.id == record]
    if not found:
        return looked(call, "targets", "unknown", "the record is gone")
    same = set(found[0].targets) == set(targets.split(","))
    said = (
        f"{found[0].name} is one record for {', '.join(found[0].targets)}, "
        f"{_STAMP}{found[0].updated_ms or ''}"
    )
    return looked(call, "targets", word_for(same), said)


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


def _write(call: Call, place: Place, source: str) -> Action:
    variable, template = place.sink.variable, place.sink.value
    reference = value_reference(call, source, template=template)
    match place.sink.kind:
        case "vercel":
            return VercelApi(vercel_of(call)).put_variable(
                variable, place.target, "{{value}}", sensitive=place.sensitive,
                fill=(("value", reference),),
            )  # fmt: skip
        case "edge-functions":
            fill = (("value", reference),)
            return FunctionSecrets(supabase_of(call)).put(variable, "{{value}}", fill=fill)
        case "env-file":
            return _own(call, "write-env", "--sink", place.id, "--source", source)
        case "command":
            return Command(
                place.sink.command, secrets=((_VALUE, reference),), cwd=str(call.project)
            )
    api, scope = GithubApi(github_of(call)), scope_of(call, place)
    sealed = value_reference(call, source, template=template, seal_for=scope or "")
    return api.put_secret(scope, variable, key_id=api.public_key(scope).id, sealed=sealed)


def _take_away(call: Call, place: Place) -> Action | None:
    variable = place.sink.variable
    match place.sink.kind:
        case "vercel":
            words = ["rotate-keys", "record", "--env", call.name, "--quiet", "--sink", place.id]
            fill = (("id", f"own:{shlex.join(words)}"),)
            return VercelApi(vercel_of(call)).delete_variable("{{id}}", fill=fill)
        case "edge-functions":
            return FunctionSecrets(supabase_of(call)).delete(variable)
        case "env-file":
            return _own(call, "write-env", "--sink", place.id)
        case "command":
            return None
    return GithubApi(github_of(call)).delete_secret(scope_of(call, place), variable)


def _undo(
    call: Call,
    place: Place,
    held: Held,
    *,
    old: str | None,
    split: bool,
    words: tuple[str, ...],
    step: str,
) -> Undo | Irreversible:
    if not held.there or split:
        action = _take_away(call, place)
        if action is None:
            return Irreversible("the settings have no command that takes it away")
        return Undo(f"Take {place.title} away again", action, own_probe(call, *words))
    if old is None:
        return Irreversible("the value that was there cannot be read again")
    check = own_probe(
        call, *words, "--source", old, "--before", held.stamp, "--after", step
    )  # fmt: skip
    return Undo(f"Write the old key into {place.title} again", _write(call, place, old), check)


def _split_step(call: Call, place: Place, held: Held) -> list[Step]:
    """Return the step that leaves a shared record to the other targets, where there is one."""
    record = held.record
    if record is None or not _shared(held, place):
        return []
    rest = tuple(each for each in record.targets if each != place.target)
    api = VercelApi(vercel_of(call))

    def look(targets: tuple[str, ...]) -> tuple[str, ...]:
        return ("targets", "--record", record.id, "--targets", ",".join(targets))

    return [
        Step(
            id=f"split-{place.id}",
            title=f"Leave Vercel's record of {record.name} to {' and '.join(rest)}",
            safety="verify",
            action=api.set_targets(record, rest),
            check=own_probe(call, *look(rest)),
            undo=Undo(
                title=f"Let that record hold for {place.target}, too",
                action=api.set_targets(record, record.targets),
                check=own_probe(call, *look(record.targets)),
            ),
            detail=(f"it was one record for {', '.join(record.targets)}",),
        )
    ]


def after_split(held: Held, target: str) -> Held:
    """Return what a place's shared record is once it was left to others: without the target."""
    if held.record is None or target not in held.record.targets or len(held.record.targets) < 2:
        return held
    from dataclasses import replace

    rest = tuple(each for each in held.record.targets if each != target)
    return replace(held, record=replace(held.record, targets=rest))


def _shared(held: Held, place: Place) -> bool:
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
    env = {_VALUE: value}
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


def _stamps(call: Call, token: str, steps: tuple[str, ...]) -> list[str]:
    """Return the stamps that steps of this rotation have left, as the journal has them."""
    if not steps:
        return []
    return [
        run.steps[step].detail.rpartition(_STAMP)[2]
        for run in JournalRuns(call.state).of(call.name)
        if run.facts.get("token") == token
        for step in steps
        if step in run.steps and _STAMP in run.steps[step].detail
    ]


def _own(call: Call, *words: str) -> Command:
    return Command((LOOK, "rotate-keys", *words, "--env", call.name, "--quiet"))


def _path(call: Call, place: Place) -> Path:
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
