"""A runbook as a plan: each command line of opsctl's own a step, everything else a person's.

Only opsctl's lines are carried out. What other programs' lines do, opsctl can neither check nor
take back, and a shell in a document would be a program that nobody reviewed: they are shown, and
the person says when they are done.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from opsctl.adapters.command_line import has_hole, own_words
from opsctl.cli.own_commands import Own, understand
from opsctl.core.action import Command, Expect, Manual, Probe
from opsctl.core.errors import OpsError
from opsctl.core.plan import Irreversible, Plan, Step, Undo

if TYPE_CHECKING:
    from opsctl.adapters.runbook_files import Item, Runbook

WITHIN = "_OPSCTL_WITHIN"
"""The variable that tells a command which step of which runbook it is: a mark, TOKEN.STEP."""
PRACTICE = "sandbox"
"""The environment that runbooks name in their lines; it stands for the one of the run."""

_LONGEST_S = 4 * 3600.0
_REFUSES = (1, 2, 3, 5)
_ANY_OUTCOME = (0, 1)

Warn = Callable[[str], Sequence[str]]
"""What is known to be dangerous about another program's line, a sentence each."""


def plan_runbook(
    runbook: Runbook,
    *,
    environment: str,
    protected: bool,
    token: str,
    first: str | None,
    warn: Warn,
    contacts: Sequence[str] = (),
) -> Plan:
    """Return the plan of a runbook, from the step `first` on if that is given.

    Raises OpsError `runbook-wrong` where a line of opsctl's own does not exist, and
    `no-such-step` for an unknown `first`. Looks before the first change may find something and
    the run goes on; one after it must be well.
    """
    steps: list[Step] = []
    changed = False
    for number, item in enumerate(runbook.steps, start=1):
        id_ = f"{number}-{_slug(item.text)}"
        words = own_words(item.text) if item.kind == "line" else None
        if words is None:
            steps.append(_by_hand(item, id_, warn))
            continue
        own = _understood(runbook, item, words)
        steps.append(_step(item, id_, words, own, environment, token=token, strict=changed))
        changed = changed or own.does == "changes"
    start = 0 if first is None else _index_of(steps, runbook, first)
    notes = [f"{runbook.path.name}: {runbook.when}"] if runbook.when else []
    notes += contacts
    if start:
        notes.append(f"Left out: the {start} steps before {steps[start].id}.")
    return Plan(
        command=f"runbook run {runbook.name}" + (f" --from {first}" if first else ""),
        environment=environment,
        protected=protected,
        title=runbook.title,
        steps=tuple(steps[start:]),
        notes=tuple(notes),
        facts={"runbook": runbook.name, "token": token},
        # The lines' own runs hold the environment, one after the other.
        lock=f"runbooks of {environment}",
        resumable=True,
    )


def _understood(runbook: Runbook, item: Item, words: tuple[str, ...]) -> Own:
    try:
        return understand(words)
    except OpsError as error:
        raise OpsError(
            f"The runbook {runbook.name} has a line that does not exist: {item.text}",
            why=f"{runbook.path}:{item.line}: {error.why}",
            hint=f"opsctl runbook lint {runbook.path}",
            code="runbook-wrong",
        ) from None


def _by_hand(item: Item, id_: str, warn: Warn) -> Step:
    if item.kind == "tick":
        told = (_place(item), *((item.link,) if item.link else ()))
        action = Manual(item.text, link=item.link or None)
        return Step(id_, item.text, "idempotent", action, detail=told)
    warned = [f"Beware: {sentence}" for sentence in warn(item.text)]
    if has_hole(item.text):
        warned.append("Fill in what is open.")
    return Step(
        id_,
        f"By hand: {item.text}",
        "idempotent",
        Manual(" ".join([f"Run this yourself: {item.text}", *warned])),
        detail=(_place(item), *warned),
    )


def _step(
    item: Item,
    id_: str,
    words: tuple[str, ...],
    own: Own,
    environment: str,
    *,
    token: str,
    strict: bool,
) -> Step:
    argv = ("opsctl", *line_for(words, own, environment))
    accepts = (0,) if strict or own.does not in ("looks", "either") else _ANY_OUTCOME
    mark = f"{token}.{id_}"
    title = shlex.join(argv)
    if own.does == "looks":
        action = Command(argv, timeout_s=_LONGEST_S, terminal=True, accepts=accepts)
        return Step(id_, title, "idempotent", action, detail=(_place(item),))
    told = ("runbook", "outcome", mark, "--env", environment, "--quiet")
    asks = Command(("opsctl", *told, *(("--acts",) if own.does == "acts" else ())))
    expect = Expect(exit_code=0, unsure=(3,))
    undo: Undo | Irreversible = Irreversible(f"opsctl {own.command} has no undo")
    if own.does != "acts":
        undo = Undo(
            f"Undo: {title}",
            Command(
                # Who agreed to undo the runbook agreed to this; what needs the name still asks.
                ("opsctl", "runbook", "take-back", mark, "--env", environment, "--yes"),
                timeout_s=_LONGEST_S,
                terminal=True,
                refuses=_REFUSES,
            ),
            Probe(Command(("opsctl", *told, "--undone")), expect),
        )
    return Step(
        id_,
        title,
        "verify",
        Command(
            argv,
            env=((WITHIN, mark),),
            timeout_s=_LONGEST_S,
            terminal=True,
            accepts=accepts,
            refuses=tuple(code for code in _REFUSES if code not in accepts),
        ),
        check=Probe(asks, expect),
        undo=undo,
        detail=(_place(item),),
    )


def line_for(words: Sequence[str], own: Own, environment: str) -> tuple[str, ...]:
    """Return the words of a line for the environment of the run.

    A line that names no environment, or the sandbox, is carried out on the run's. Who agreed in
    writing to a change of the sandbox has not agreed to one of production: --yes and --confirm
    are taken off, and the line asks.
    """
    if own.environment is None:
        return (*words, "--env", environment)
    if own.environment in (environment,) or own.environment != PRACTICE:
        return tuple(words)
    kept: list[str] = []
    skip = False
    for word in words:
        name = word.partition("=")[0]
        if skip:
            skip = False
        elif name in ("--env", "--confirm"):
            skip = "=" not in word
        elif name not in ("--yes", "-y"):
            kept.append(word)
    return (*kept, "--env", environment)


def outcome_of(
    mark: str, events: Sequence[Mapping[str, object]], runs: Sequence[str], *, acts: bool
) -> tuple[str, str]:
    """Return (applied, absent or unknown; why) of a marked step.

    `events` are those of the step itself in the runbook's run, oldest first, each with its
    `kind`; `runs` the states of the runs that the step began. A change begins with a run: where
    there is none, nothing was changed. Of what acts without a plan nobody knows.
    """
    last = str(events[-1]["kind"]) if events else ""
    if last in ("done", "verified") or "finished" in runs:
        return "applied", f"{mark} was carried out"
    if any(state in ("running", "stopped", "unknown") for state in runs):
        return "unknown", f"the run that {mark} began is not over"
    if acts and last in ("started", "unknown"):
        return "unknown", f"{mark} was cut off, and changes something without a record"
    return "absent", f"{mark} was not carried out"


def _index_of(steps: Sequence[Step], runbook: Runbook, first: str) -> int:
    for index, step in enumerate(steps):
        if first in (step.id, step.id.partition("-")[0]):
            return index
    for index, item in enumerate(runbook.steps):
        if item.heading.lower() == first.lower():
            return index
    headings = dict.fromkeys(item.heading for item in runbook.steps)
    raise OpsError(
        f"The runbook {runbook.name} has no step {first!r}",
        why=f"its steps are 1 to {len(steps)}, under {', '.join(headings) or 'no heading'}",
        hint=f"opsctl runbook show {runbook.name}",
        code="no-such-step",
    )


def _place(item: Item) -> str:
    return f"{item.heading}, line {item.line}" if item.heading else f"line {item.line}"


def _slug(text: str) -> str:
    words = re.findall(r"[a-z0-9]+", text.lower().removeprefix("opsctl "))
    return "-".join(words[:3]) or "step"
