"""Carry a plan out: show it, have it agreed to, run it, report it."""

from __future__ import annotations

import contextlib
import getpass
import io
import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from opsctl.cli.freeze import override_of, told_to_override
from opsctl.cli.screen import (
    ask,
    can_ask,
    colored,
    linked,
    say,
    say_plainly,
    width_of,
    write_result,
)
from opsctl.cli.session import emit
from opsctl.core.action import Manual
from opsctl.core.errors import Exit, OpsError
from opsctl.core.plan import Plan, Step
from opsctl.core.process import Finished, looking_by
from opsctl.core.report import Finding, Report, Severity, Status
from opsctl.render import FORMATS, SPOKEN
from opsctl.render.report import render_plan
from opsctl.render.safe import safe

if TYPE_CHECKING:
    from opsctl.cli.shared import Shared
    from opsctl.core.call import Call
    from opsctl.engine.run import Engine, Outcome


@dataclass(frozen=True)
class Resume:
    """The rest of a run that stopped."""

    run: str
    plan: Plan


def change(wanted: Plan | Resume, *, call: Call, shared: Shared) -> int:
    """Show a plan, have it agreed to and carry it out; return the exit code.

    With `--dry-run` the plan itself is the result.
    """
    plan = wanted.plan if isinstance(wanted, Resume) else wanted
    if shared.dry_run:
        text = render_plan(
            plan,
            shared.shown,
            width=width_of(sys.stdout),
            color=shared.output is None and colored(sys.stdout),
            links=shared.output is None and linked(sys.stdout),
            verbose=shared.verbose,
        )
        if shared.also:
            from opsctl.cli.also import parse_also, write_also

            write_also(parse_also(shared.also, formats=FORMATS), partial(render_plan, plan))
        write_result(text, output=shared.output)
        return int(Exit.OK)
    if not plan.steps:
        return emit(_nothing_to_do(plan), shared)
    if not (shared.quiet and shared.yes):
        say_plainly(
            render_plan(
                plan,
                SPOKEN if shared.plain else FORMATS[0],
                width=width_of(sys.stderr),
                color=colored(sys.stderr),
                links=linked(sys.stderr),
                verbose=shared.verbose,
            )
        )
    again = f"runs resume {wanted.run}" if isinstance(wanted, Resume) else plan.command
    engine = open_engine(call, no_input=shared.no_input, quiet=shared.quiet)
    begun = isinstance(wanted, Resume) and engine.has_begun(wanted.run)
    override = {} if begun else override_of(plan, call, shared, again=again)
    if isinstance(wanted, Resume):
        engine.refuse_unapproved(wanted.run)
    elif engine.awaits_approval(plan):
        engine.refuse_unshared(plan)
    approval = {**_agree(plan, shared, again), **override}
    if isinstance(wanted, Plan) and engine.awaits_approval(plan):
        return emit(_requested(engine.request(plan, approval=approval), plan), shared)
    with told_to_children(shared):
        if isinstance(wanted, Resume):
            outcome = engine.resume(wanted.run, approval=approval if override else None)
        else:
            outcome = engine.start(plan, approval={**approval, **step_of_a_runbook()})
    return emit(outcome_report(outcome), shared)


def open_engine(call: Call, *, no_input: bool = True, quiet: bool = True) -> Engine:
    """Return the engine on the settings' journal and locks; opening it makes nothing."""
    from opsctl.cli.state_seam import open_journal, open_locks
    from opsctl.engine.run import Engine

    return Engine(
        open_journal(call.state),
        open_locks(call.state),
        actor=actor(),
        person=_Terminal(no_input=no_input),
        watcher=_Progress(quiet=quiet),
        approvals={name: each.approvals for name, each in call.settings.environments.items()},
    )


def refuse_if_locked(call: Call) -> None:
    """Raise OpsError `locked` at once where a run is under way, before a plan is worked out.

    The lock itself is taken by the run; this only spares the wait.
    """
    if call.environment_name is None:
        return
    from opsctl.cli.state_seam import open_locks

    open_locks(call.state).refuse_if_held(call.name)


_SEVERITIES = {"pending": Severity.NOTE, "found": Severity.WARNING}


def _look(argv: Sequence[str]) -> Finished:
    """Carry out one of opsctl's own commands here, and return what it said."""
    from opsctl.cli.root import run

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(list(argv))
    return Finished(code, out.getvalue(), err.getvalue())


def outcome_report(outcome: Outcome) -> Report:
    """Return how a run ended, as a report: a finding per step, and the error's four parts."""
    plan = outcome.plan
    well = ("done", "already")
    statuses = {**dict.fromkeys(well, Status.OK), "found": Status.FAILED, "failed": Status.FAILED}
    findings = [
        Finding(
            rule="step",
            title=step.title,
            status=statuses.get(step.status, Status.UNKNOWN),
            severity=_SEVERITIES.get(step.status, Severity.ERROR),
            evidence=step.detail if step.status != "pending" else "not started",
            took_ms=step.took_ms,
        )
        for step in outcome.steps
    ]
    data: dict[str, Any] = {
        "run": outcome.run,
        "plan_hash": plan.hash,
        "steps": [
            {"id": step.id, "title": step.title, "status": step.status, "detail": step.detail}
            for step in outcome.steps
        ],
        "losses": [
            {"kind": loss.kind, "name": loss.name, "rows": loss.rows, "kept": loss.kept}
            for loss in plan.losses
        ],
    }
    notes = [f"Run {outcome.run}. The record: opsctl runs show {outcome.run}"]
    if outcome.error is not None:
        error = outcome.error
        data["error"] = {
            "code": error.code, "what": error.what, "why": error.why, "hint": error.hint,
        }  # fmt: skip
        notes = [f"{error.what}: {error.why}.", f"Next: {error.hint}", *notes]
    else:
        # What a look found is part of the result; that a change was read back is not.
        looks = {step.id for step in plan.steps if step.action is None}
        told = [step.detail for step in outcome.steps
                if step.status == "done" and step.detail and step.id in looks]  # fmt: skip
        notes = [*told, *notes]
        if any(step.undo is not None and not _irreversible(step) for step in plan.steps):
            notes.append(f"To undo: opsctl runs undo {outcome.run}")
    return Report(
        command=plan.command,
        title=plan.title,
        environment=plan.environment,
        findings=tuple(findings),
        notes=tuple(notes),
        data=data,
        given_status=outcome.status,
        given_exit=outcome.exit,
    )


@contextlib.contextmanager
def told_to_children(shared: Shared) -> Iterator[None]:
    """Have the commands of opsctl's own that a plan starts find the same settings, and not ask.

    Its looks are done within this process.
    """
    given = {}
    if shared.config is not None:
        given["OPSCTL_CONFIG"] = str(shared.config.absolute())
    if shared.no_input:
        given["OPSCTL_NO_INPUT"] = "1"
    given.update(told_to_override(shared))
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        with looking_by(_look):
            yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def step_of_a_runbook() -> dict[str, str]:
    """Return which step of a runbook this is, to be recorded; nothing where it is none.

    Raises OpsError `left-alone` (exit 5) where the runbook's run is gone: it may be resumed
    already, and would begin the same step beside this one.
    """
    mark = os.environ.get("_OPSCTL_WITHIN")
    if mark is None:
        return {}
    parent = os.environ.get("_OPSCTL_PARENT", "")
    if sys.platform != "win32" and str(os.getppid()) != parent:
        raise OpsError(
            "Nothing was changed: the runbook that this is a step of is not being run any more",
            why=f"process {parent or 'nobody'} is gone",
            hint="opsctl runs list, and resume the runbook's run",
            code="left-alone",
            exit=Exit.REFUSED,
        )
    return {"within": mark}


def _irreversible(step: Step) -> bool:
    from opsctl.core.plan import Irreversible

    return isinstance(step.undo, Irreversible)


def _requested(run: str, plan: Plan) -> Report:
    return Report(
        command=plan.command,
        title="Nothing is changed yet: others approve it first",
        environment=plan.environment,
        notes=(
            f"Another person, with a database user of his own: opsctl runs approve {run}",
            f"Then, whoever it may be: opsctl runs resume {run}",
        ),
        data={"run": run, "plan_hash": plan.hash, "steps": []},
        given_status=Status.REFUSED,
        given_exit=Exit.REFUSED,
    )


def _nothing_to_do(plan: Plan) -> Report:
    return Report(
        command=plan.command,
        title=plan.title,
        environment=plan.environment,
        notes=("There is nothing to do.", *plan.notes),
        data={"plan_hash": plan.hash, "steps": []},
    )


def _agree(plan: Plan, shared: Shared, again: str) -> Mapping[str, Any]:
    """Return how the plan was agreed to; raises OpsError (exit 5) where it was not.

    What cannot be undone on a protected environment is agreed to by its name alone, and so is
    what replaces a whole database.
    """
    hash_ = plan.hash
    if plan.agreed_by_name:
        if shared.confirm is not None:
            if shared.confirm == plan.environment:
                return {"how": "--confirm", "plan_hash": hash_}
            raise _refused(plan, again, f"--confirm said {shared.confirm!r}", code="wrong-name")
        if not can_ask(no_input=shared.no_input):
            raise _refused(
                plan,
                again,
                "it replaces what is there; --yes is not enough"
                if plan.needs_name
                else "a step cannot be undone and the environment is protected; "
                "--yes is not enough",
                code="name-required",
            )
        answer = ask(f"Type the environment's name to go on ({safe(plan.environment)}): ")
        if answer != plan.environment:
            raise _refused(plan, again, "the name typed was another one", code="wrong-name")
        return {"how": "typed the name", "plan_hash": hash_}
    if shared.yes or shared.confirm == plan.environment:
        return {"how": "--yes" if shared.yes else "--confirm", "plan_hash": hash_}
    if not can_ask(no_input=shared.no_input):
        raise _refused(
            plan, again, "nobody could be asked: there is no terminal", code="not-confirmed"
        )
    answer = ask(f"Carry this out on {safe(plan.environment)}? [y/N] ")
    if answer.lower() not in ("y", "yes"):
        raise _refused(plan, again, "the answer was no", code="not-confirmed")
    return {"how": "answered yes", "plan_hash": hash_}


def _refused(plan: Plan, again: str, why: str, *, code: str) -> OpsError:
    if plan.agreed_by_name:
        hint = f"opsctl {again} --env {plan.environment} --confirm {plan.environment}"
    else:
        hint = f"opsctl {again} --env {plan.environment} --yes"
    return OpsError(
        "Nothing was changed: the plan was not agreed to",
        why=why,
        hint=hint,
        code=code,
        exit=Exit.REFUSED,
    )


class _Terminal:
    """The person, asked on the terminal."""

    def __init__(self, *, no_input: bool) -> None:
        self._no_input = no_input

    def confirm_manual(self, step: Step) -> bool:
        """Show what a person must do and return whether they say it is done."""
        if not can_ask(no_input=self._no_input):
            return False
        if isinstance(step.action, Manual):
            say(f"    {safe(step.action.instruction)}")
            if step.action.link:
                say(f"    {safe(step.action.link)}")
        return ask("    Done? [y/N] ").lower() in ("y", "yes")


class _Progress:
    """One line a step on stderr."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._began = time.monotonic()

    def step_started(self, step: Step, index: int, total: int) -> None:
        """Say that a step begins; `index` counts from 1."""
        self._say(f"[{index}/{total}] {step.title} ...")

    def step_ended(self, step: Step, status: str, took_ms: float, detail: str) -> None:
        """Say how it ended."""
        words = {"done": "done", "already": "was already done", "failed": "FAILED",
                 "found": "found something"}  # fmt: skip
        tail = f": {detail}" if detail and status != "already" else ""
        self._say(f"      {words.get(status, status)} in {took_ms / 1000:.1f} s{tail}")

    def waiting(self, step: Step, message: str) -> None:
        """Say what is being waited for."""
        self._say(f"      {message}")

    def _say(self, line: str) -> None:
        if not self._quiet:
            say(safe(line))


def actor() -> str:
    """Return who does it: user@host. A user without a name is a number."""
    user = str(os.getuid()) if hasattr(os, "getuid") else "somebody"
    with contextlib.suppress(KeyError, OSError, ImportError):
        user = getpass.getuser()
    return f"{user}@{socket.gethostname()}"
