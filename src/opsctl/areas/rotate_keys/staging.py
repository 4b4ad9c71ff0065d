"""Write a new key into a place, read it back, and put the old one back.

What cannot be read again (GitHub's secrets, Vercel's sensitive variables) is told by when it was
last written: another time than the plan saw means that it was written since. That it holds the
right key is then for the proof to show.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from opsctl.adapters.env_file import write_variable
from opsctl.adapters.github import GithubApi
from opsctl.adapters.journal_runs import JournalRuns
from opsctl.adapters.supabase_secrets import FunctionSecrets
from opsctl.adapters.vercel import VercelApi
from opsctl.areas.rotate_keys.looks import looked, own_probe, word_for
from opsctl.areas.rotate_keys.sinks import (
    VALUE,
    Held,
    Place,
    path_of,
    place_by_id,
    read_place,
    scope_of,
    shares_record,
    vercel_of,
)
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
from opsctl.core.process import LOOK

if TYPE_CHECKING:
    from opsctl.core.call import Call
    from opsctl.core.report import Report

_STAMP = "stamp "


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
        word = word_for(not held.there or shares_record(held, place))
        return looked(call, "staged", word, f"{place.title} is {'not ' * (not held.there)}there")
    value = written(read_source(call, source), place.sink.value)
    held = read_place(call, place, value=value)
    if held.digest:
        same = held.digest == digest(value) and not shares_record(held, place)
        return looked(
            call, "staged", word_for(same),
            f"{place.title} holds {'the' if same else 'another'} key",
        )  # fmt: skip
    if not held.there or shares_record(held, place):
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
    write_variable(path_of(call, place), place.sink.variable, value)
    return place.title


def record_of(call: Call, sink: str) -> str:
    """Return the id of the record of Vercel that is this place's alone."""
    place = place_by_id(call, sink)
    held = read_place(call, place)
    if held.record is None or shares_record(held, place):
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
            return Command(place.sink.command, secrets=((VALUE, reference),), cwd=str(call.project))
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
    if record is None or not shares_record(held, place):
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
