"""Carry a plan out: check, run, verify, record, undo.

Per step: ask its check (already done, go, or blocked), write the intent, act, write the effect,
ask again, write that it is verified. A step that was cut off between intent and effect is
never run again unasked: its check tells, and where it cannot, the person does.
"""

from __future__ import annotations

import secrets
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

from opsctl.core.action import Command, Manual
from opsctl.core.approval import (
    HOW,
    approvals_need_team,
    needs_approval,
    not_requested,
    refuse_approving,
    refuse_unapproved,
    standing,
)
from opsctl.core.errors import Exit, OpsError
from opsctl.core.journal import Event, Journal
from opsctl.core.lease import Held, Holder, Locks
from opsctl.core.plan import Plan, Step, plan_from_json, plan_to_json, undo_plan
from opsctl.core.report import Status
from opsctl.engine.interruption import gently_interrupted
from opsctl.engine.perform import ActionFailed, OutcomeUnknown, ask, perform
from opsctl.engine.progress import Progress, RunState, state_of
from opsctl.engine.time_limit import time_limit_s

StepState = Literal["done", "already", "found", "failed", "unknown", "blocked", "pending"]
"""found: it is done, and what it looked at is not well."""
_OVER = ("done", "already", "found")


class Person(Protocol):
    """Whoever can answer for a manual step."""

    def confirm_manual(self, step: Step) -> bool:
        """Return whether the person says the step is done; False where nobody is there."""


class Watcher(Protocol):
    """Whoever is told how it goes."""

    def step_started(self, step: Step, index: int, total: int) -> None:
        """A step begins; `index` counts from 1."""

    def step_ended(self, step: Step, status: str, took_ms: float, detail: str) -> None:
        """A step ended."""

    def waiting(self, step: Step, message: str) -> None:
        """Something is waited for."""


@dataclass(frozen=True)
class StepOutcome:
    """How one step ended."""

    id: str
    title: str
    status: StepState
    detail: str = ""
    took_ms: float | None = None


@dataclass(frozen=True)
class Outcome:
    """How a run ended, for now."""

    run: str
    plan: Plan
    status: Status
    exit: Exit
    steps: tuple[StepOutcome, ...]
    error: OpsError | None = None


@dataclass(frozen=True)
class RunSummary:
    """One run in a list."""

    run: str
    command: str
    environment: str
    title: str
    state: RunState
    started_at: str
    ended_at: str | None
    actor: str
    plan_hash: str
    undoes: str | None


class Engine:
    """The engine on one journal and its locks: files of this machine, or a team's PostgreSQL."""

    def __init__(
        self,
        journal: Journal,
        locks: Locks,
        *,
        actor: str,
        person: Person,
        watcher: Watcher,
        approvals: Mapping[str, int] | None = None,
    ) -> None:
        self._journal = journal
        self._locks = locks
        self._held: Held | None = None
        self._begun = False
        """Whether a step's intent is on record: from then on the run is a part of something."""
        self._actor = actor
        self._person = person
        self._watcher = watcher
        self._approvals = dict(approvals or {})
        """How many other people approve a change of an environment by the settings."""

    def start(self, plan: Plan, *, approval: Mapping[str, Any]) -> Outcome:
        """Carry out a new plan; `approval` says how it was agreed to.

        Raises OpsError `locked`, and `not-approved` where others must approve it: `request` it.
        """
        run = _new_run_id()
        if self.awaits_approval(plan):
            raise not_requested(plan)
        with self._holding(plan, run):
            self._write(run, "planned", data={"plan": plan_to_json(plan), "sha256": plan.hash})
            self._write(run, "approved", data=approval)
            return self._carry_out(run, plan)

    def awaits_approval(self, plan: Plan) -> bool:
        """Whether others must approve a plan before it begins."""
        return needs_approval(plan) and self._needed(plan.environment) > 0

    def _needed(self, environment: str) -> int:
        """Return how many others approve: the settings ask for more than the team, never less."""
        return max(
            self._approvals.get(environment, 0), self._journal.approvals_demanded(environment)
        )

    def request(self, plan: Plan, *, approval: Mapping[str, Any]) -> str:
        """Put a plan on record for others to approve, and return its run.

        Raises OpsError `approvals-need-team` where the state is a file.
        """
        self.refuse_unshared(plan)
        run = _new_run_id()
        self._write(run, "planned", data={"plan": plan_to_json(plan), "sha256": plan.hash})
        self._write(run, "requested", data=approval)
        return run

    def refuse_unshared(self, plan: Plan) -> None:
        """Raise OpsError `approvals-need-team` where nobody else could approve a plan."""
        if self._journal.user() is None:
            raise approvals_need_team(plan.environment)

    def approve(self, run: str) -> None:
        """Approve a plan, as it is, in this person's name. Raises OpsError (exit 5)."""
        run = self.full_id(run)
        plan = self.plan_of(run)
        refuse_approving(
            run, self.events(run), plan,
            now=self._journal.now(), user=self._journal.user(), actor=self._actor,
        )  # fmt: skip
        self._write(run, "approved", data={"how": HOW, "plan_hash": plan.hash})

    def refuse_unapproved(self, run: str) -> None:
        """Raise OpsError `not-approved` where a run may not begin yet."""
        run = self.full_id(run)
        plan = self.plan_of(run)
        if self.awaits_approval(plan):
            needed = self._needed(plan.environment)
            refuse_unapproved(run, self.events(run), plan, now=self._journal.now(), needed=needed)

    def approvals_of(self, run: str) -> tuple[int, int, float]:
        """Return how many approvals a run has, how many it needs, and its age in s."""
        events, plan, now = self.events(run), self.plan_of(run), self._journal.now()
        given = len(standing(events, plan, now=now).approvers)
        age_s = (now - datetime.fromisoformat(events[0].at)).total_seconds()
        return given, self._needed(plan.environment), age_s

    def has_begun(self, run: str) -> bool:
        """Whether the intent of one of a run's steps is on record."""
        return any(event.kind == "started" for event in self.events(run))

    def resume(self, run: str, *, approval: Mapping[str, Any] | None = None) -> Outcome:
        """Finish a run that stopped, or begin one that was approved.

        `approval` says how it was agreed to, where that is to be kept. Raises OpsError
        `locked`, `run-over`, `step-unknown`, `not-approved`.
        """
        run = self.full_id(run)
        plan = self.plan_of(run)
        with self._holding(plan, run):
            state = state_of(self.events(run), running=False)
            if state in ("finished", "aborted"):
                raise OpsError(
                    f"The run {run} is over",
                    why=f"it is {state}",
                    hint=f"opsctl runs show {run}",
                    code="run-over",
                )
            self.refuse_unapproved(run)
            if approval is not None:
                self._write(run, "approved", data=approval)
            return self._carry_out(run, plan)

    def undo_plan(self, run: str) -> Plan:
        """Return the plan that takes a run back. Raises OpsError `nothing-to-undo`, ..."""
        run = self.full_id(run)
        plan = self.plan_of(run)
        for other in self.runs():
            if other.undoes == run and other.state == "finished":
                raise OpsError(
                    f"The run {run} is undone already",
                    why=f"by run {other.run}",
                    hint=f"opsctl runs show {other.run}",
                    code="already-undone",
                )
            if other.undoes == run and other.state in ("stopped", "unknown", "running"):
                raise OpsError(
                    f"The run {run} is being undone",
                    why=f"by run {other.run}, which is {other.state}",
                    hint=f"opsctl runs resume {other.run}",
                    code="undo-under-way",
                )
        progress = Progress(self.events(run))
        unsure = [step.id for step in plan.steps if progress.unsure(step.id)]
        done = [step.id for step in plan.steps if progress.effective(step.id)]
        for step in plan.steps:
            if step.id in unsure and step.check is not None:
                word, _ = ask(step.check)
                if word == "applied":
                    done.append(step.id)
                elif word != "absent":
                    raise _unknown_step(run, step, "its check cannot tell")
        undo = undo_plan(plan, run=run, done=tuple(done))
        if not undo.steps:
            raise OpsError(
                f"There is nothing to undo in run {run}",
                why="; ".join(undo.notes) or "none of its steps changed anything",
                hint=f"opsctl runs show {run}",
                code="nothing-to-undo",
            )
        return undo

    def resolve(self, run: str, step: str, *, how: Literal["done", "redo"]) -> None:
        """Record what a person says became of a step. Raises OpsError `step-not-unknown`."""
        run = self.full_id(run)
        plan = self.plan_of(run)
        progress = Progress(self.events(run))
        if step not in {each.id for each in plan.steps} or not progress.unsure(step):
            open_ = [each.id for each in plan.steps if progress.unsure(each.id)]
            raise OpsError(
                f"The step {step!r} of run {run} needs no answer",
                why=f"steps with an unknown outcome: {', '.join(open_) or 'none'}",
                hint=f"opsctl runs show {run}",
                code="step-not-unknown",
            )
        with self._holding(plan, run):
            self._write(run, "resolved", step=step, data={"how": how})

    def unlock(self, environment: str, lock_id: str) -> Holder:
        """Free a lock whose holder is gone, and return who it was.

        It is the environment's own, or one beside it that a run of the environment holds.
        """
        plans = [each.data["plan"] for each in self._journal.events() if each.kind == "planned"]
        beside = {
            str(plan["lock"])
            for plan in plans
            if plan.get("lock") and plan.get("environment") == environment
        }
        for name in sorted(beside):
            holder = self._locks.holder_of(name)
            if holder is not None and holder.id == lock_id:
                return self._locks.unlock(name, lock_id)
        return self._locks.unlock(environment, lock_id)

    def events(self, run: str) -> tuple[Event, ...]:
        """Return what happened in a run, in order. Raises OpsError `no-such-run`."""
        return self._journal.events(self.full_id(run))

    def plan_of(self, run: str) -> Plan:
        """Return a run's plan. Raises OpsError `plan-damaged` where its hash does not fit."""
        first = self.events(run)[0]
        try:
            plan = plan_from_json(first.data["plan"])
            intact = plan.hash == first.data["sha256"]
        except (KeyError, TypeError, ValueError):
            intact = False
        if not intact:
            raise OpsError(
                f"The plan of run {first.run} is damaged",
                why="its content does not fit its hash, or this opsctl cannot read it",
                hint="make a new plan: run the command again",
                code="plan-damaged",
                exit=Exit.UNKNOWN,
            )
        return plan

    def runs(self) -> tuple[RunSummary, ...]:
        """Return every run, oldest first."""
        grouped: dict[str, list[Event]] = {}
        for event in self._journal.events():
            grouped.setdefault(event.run, []).append(event)
        return tuple(self._summary(events) for events in grouped.values())

    def full_id(self, run: str) -> str:
        """Return the id of the run that begins like this. Raises OpsError `no-such-run`."""
        known = self._journal.runs()
        matches = [run] if run in known else [each for each in known if each.startswith(run)]
        if run and len(matches) == 1:
            return matches[0]
        raise OpsError(
            f"The run {run!r} was not found",
            why=f"{len(matches)} runs begin like this" if matches else "no run begins like this",
            hint="opsctl runs list",
            code="no-such-run",
        )

    def _carry_out(self, run: str, plan: Plan) -> Outcome:
        self._begun = any(event.kind == "started" for event in self._journal.events(run))
        try:
            return self._carry_on(run, plan)
        except OpsError as error:
            # Steps do not raise: the record could not be written, or the lease is another's.
            if not self._begun:
                raise
            raise _cut_off(run, error) from None

    def _carry_on(self, run: str, plan: Plan) -> Outcome:
        outcomes: list[StepOutcome] = []
        error: OpsError | None = None
        with gently_interrupted() as interruption:
            for index, step in enumerate(plan.steps, start=1):
                progress = Progress(self._journal.events(run))
                if progress.settled(step.id):
                    before: StepState = "found" if progress.exit_code(step.id) else "done"
                    outcomes.append(StepOutcome(step.id, step.title, before, "done before"))
                    continue
                if interruption.signal is not None:
                    error = _interrupted(run, interruption.signal)
                    break
                self._watcher.step_started(step, index, len(plan.steps))
                began = time.monotonic()
                outcome = self._step(run, step, progress)
                took_ms = (time.monotonic() - began) * 1000
                outcome = StepOutcome(
                    outcome.id, outcome.title, outcome.status, outcome.detail, took_ms
                )
                self._watcher.step_ended(step, outcome.status, took_ms, outcome.detail)
                outcomes.append(outcome)
                if outcome.status not in _OVER and not step.independent:
                    break
            if (
                error is None
                and interruption.signal is not None
                and len(outcomes) < len(plan.steps)
            ):
                error = _interrupted(run, interruption.signal)
        rest = plan.steps[len(outcomes) :]
        steps = (*outcomes, *(StepOutcome(step.id, step.title, "pending") for step in rest))
        return self._conclude(run, plan, steps, error)

    def _conclude(
        self, run: str, plan: Plan, steps: tuple[StepOutcome, ...], error: OpsError | None
    ) -> Outcome:
        last = next((step for step in steps if step.status not in _OVER), None)
        if last is None:
            self._write(run, "finished", data={})
            if Progress(self._journal.events(run)).found(plan):
                return Outcome(run, plan, Status.FAILED, Exit.FAILED, steps)
            return Outcome(run, plan, Status.OK, Exit.OK, steps)
        progress = Progress(self._journal.events(run))
        # Of a plan whose steps stand each for itself whatever was done counts: it is finished
        # by a resume, which repeats nothing.
        apart = plan.resumable or any(step.independent for step in plan.steps)
        changed = any(
            progress.effective(step.id) or progress.unsure(step.id)
            for step in plan.steps
            if step.action is not None and (step.undo is not None or apart)
        )
        if error is None:
            error = self._stopped(run, plan, last, changed=changed)
        if not changed:
            self._write(run, "aborted", data={"code": error.code})
        status = {Exit.REFUSED: Status.REFUSED, Exit.UNKNOWN: Status.UNKNOWN}.get(
            error.exit, Status.PARTIAL
        )
        return Outcome(run, plan, status, error.exit, steps, error)

    def _stopped(self, run: str, plan: Plan, last: StepOutcome, *, changed: bool) -> OpsError:
        step = next(each for each in plan.steps if each.id == last.id)
        if last.status == "unknown":
            return _unknown_step(run, step, last.detail)
        why = last.detail or "it did not answer as it should"
        if changed:
            return OpsError(
                f"The run stopped at: {step.title}",
                why=why,
                hint=f"opsctl runs resume {run}, or opsctl runs undo {run}",
                code=f"step-{last.status}",
                exit=Exit.PARTIAL,
            )
        return OpsError(
            f"Nothing was changed; the run stopped at: {step.title}",
            why=why,
            hint=f"mend that, then: opsctl {plan.command} --env {plan.environment}",
            code=f"step-{last.status}",
            exit=Exit.REFUSED if last.status == "blocked" else Exit.UNKNOWN,
        )

    def _step(self, run: str, step: Step, progress: Progress) -> StepOutcome:
        def ended(status: StepState, detail: str = "") -> StepOutcome:
            return StepOutcome(step.id, step.title, status, detail)

        if step.action is None:
            return self._look(run, step)
        if progress.acted(step.id):
            # The effect is recorded and was not verified: only the proof is missing.
            return self._verify(run, step)
        if isinstance(step.action, Manual):
            return self._manual(run, step)
        redo = progress.redo(step.id)
        if step.check is not None:
            # What was cut off may still be taking effect, and is worth waiting for.
            word, detail = ask(step.check, once=not progress.unsure(step.id))
            if word == "applied":
                self._write(
                    run, "verified", step=step.id, data={"by": "found done", **_said(step, detail)}
                )
                return ended("already")
            if word == "blocked":
                return ended("blocked", detail)
            if word == "unknown" and not redo:
                if progress.unsure(step.id):
                    self._write(run, "unknown", step=step.id, data={"detail": detail})
                    return ended("unknown", detail)
                return ended("failed", detail or "its check could not look")
        elif progress.unsure(step.id) and step.safety != "idempotent" and not redo:
            return ended("unknown", "it was cut off and has no check")
        return self._act(run, step)

    def _act(self, run: str, step: Step) -> StepOutcome:
        if step.action is None:
            raise TypeError(f"step {step.id} has no action")
        self._intend(run, step)
        try:
            answer = perform(
                step.action,
                waiting=lambda text: self._watcher.waiting(step, text),
                held=self._held,
            )
        except (ActionFailed, OpsError) as error:
            detail = f"{error.what}: {error.why}" if isinstance(error, OpsError) else str(error)
            self._write(run, "failed", step=step.id, data={"detail": detail})
            return StepOutcome(step.id, step.title, "failed", detail)
        except OutcomeUnknown as error:
            self._write(run, "unknown", step=step.id, data={"detail": str(error)})
            return self._find_out(run, step, str(error))
        found = isinstance(step.action, Command) and answer.code != 0
        self._write(run, "done", step=step.id, data={"exit_code": answer.code} if found else {})
        outcome = self._verify(run, step)
        if found and outcome.status == "done":
            return StepOutcome(step.id, step.title, "found", f"exit code {answer.code}")
        return outcome

    def _find_out(self, run: str, step: Step, detail: str) -> StepOutcome:
        """Contact was lost: the world tells what became of the step, if it can."""
        word, said = "unknown", ""
        if step.check is not None:
            word, said = ask(step.check)
            detail = f"{detail}; {said}" if said else detail
        if word == "applied":
            by = {"by": "check after lost contact", **_said(step, said)}
            self._write(run, "verified", step=step.id, data=by)
            return StepOutcome(step.id, step.title, "done", detail)
        if word == "absent" or (step.check is None and step.safety == "idempotent"):
            self._write(run, "failed", step=step.id, data={"detail": detail})
            return StepOutcome(step.id, step.title, "failed", detail)
        return StepOutcome(step.id, step.title, "unknown", detail)

    def _verify(self, run: str, step: Step) -> StepOutcome:
        said = ""
        if step.check is not None:
            word, detail = ask(step.check)
            if word != "applied":
                text = f"it ran, and its check says {word}" + (f": {detail}" if detail else "")
                return StepOutcome(step.id, step.title, "failed", text)
            said = detail if step.check.tells else ""
        self._write(run, "verified", step=step.id, data={"said": said} if said else {})
        return StepOutcome(step.id, step.title, "done", said)

    def _look(self, run: str, step: Step) -> StepOutcome:
        if step.check is None:
            raise TypeError(f"step {step.id} has no check")
        word, detail = ask(step.check)
        if word == "applied":
            said = detail if step.check.tells else ""
            self._write(run, "verified", step=step.id, data={"said": said} if said else {})
            return StepOutcome(step.id, step.title, "done", said)
        return StepOutcome(step.id, step.title, "failed", detail or f"the answer was {word}")

    def _manual(self, run: str, step: Step) -> StepOutcome:
        self._intend(run, step)
        if not self._person.confirm_manual(step):
            self._write(run, "failed", step=step.id, data={"detail": "not confirmed"})
            return StepOutcome(step.id, step.title, "failed", "nobody confirmed that it is done")
        self._write(run, "done", step=step.id, data={"confirmed_by": self._actor})
        return self._verify(run, step)

    def _intend(self, run: str, step: Step) -> None:
        """Write that a step begins, once its lease is sure to last until it must be over."""
        if step.action is None or self._held is None:
            raise TypeError(f"step {step.id} has no action, or nothing is held")
        self._held.ensure(time_limit_s(step.action))
        self._write(run, "started", step=step.id, data={})
        self._begun = True
        # Whoever was stopped for a while just now may hold nothing any more.
        self._held.check()

    def _write(
        self, run: str, kind: str, *, step: str | None = None, data: Mapping[str, Any]
    ) -> None:
        fence = self._held.fence if self._held is not None else None
        self._journal.append(run, kind, step=step, actor=self._actor, data=data, fence=fence)

    @contextmanager
    def _holding(self, plan: Plan, run: str) -> Iterator[None]:
        with self._locks.hold(plan.holds, actor=self._actor, run=run, command=plan.command) as held:
            self._held = held
            try:
                yield
            finally:
                self._held = None

    def _summary(self, events: list[Event]) -> RunSummary:
        first = events[0]
        plan = first.data.get("plan")
        plan = plan if isinstance(plan, dict) else {}
        facts = plan.get("facts")
        environment = str(plan.get("environment", ""))
        over = any(event.kind in ("finished", "aborted") for event in events)
        # Who holds it is asked of a server, where a team shares one.
        holder = None if over else self._locks.holder_of(str(plan.get("lock") or environment))
        running = holder is not None and holder.run == first.run and self._locks.is_alive(holder)
        state = state_of(tuple(events), running=running)
        return RunSummary(
            run=first.run,
            command=str(plan.get("command", "")),
            environment=environment,
            title=str(plan.get("title", "")),
            state=state,
            started_at=first.at,
            ended_at=events[-1].at if state in ("finished", "aborted") else None,
            actor=first.actor,
            plan_hash=str(first.data.get("sha256", "")),
            undoes=facts.get("undoes") if isinstance(facts, dict) else None,
        )


def _cut_off(run: str, error: OpsError) -> OpsError:
    return OpsError(
        error.what,
        why=error.why,
        hint=f"opsctl runs show {run}; once that is mended: opsctl runs resume {run}",
        code=error.code,
        exit=Exit.PARTIAL,
    )


def _said(step: Step, detail: str) -> dict[str, str]:
    """Return what a step's check said, to be kept, where it is one that tells."""
    tells = step.check is not None and step.check.tells
    return {"said": detail} if tells and detail else {}


def _interrupted(run: str, number: int) -> OpsError:
    return OpsError(
        "The run was interrupted",
        why=f"{signal.Signals(number).name} came; the step under way was finished first",
        hint=f"opsctl runs resume {run}, or opsctl runs undo {run}",
        code="interrupted",
        exit=Exit.INTERRUPTED if number == signal.SIGINT else Exit.TERMINATED,
    )


def _unknown_step(run: str, step: Step, detail: str) -> OpsError:
    return OpsError(
        f"It is not known whether this took effect: {step.title}",
        why=detail or "contact was lost while it ran",
        hint=f"look, then: opsctl runs resolve {run} {step.id} --done (or --redo), "
        f"then opsctl runs resume {run}",
        code="step-unknown",
        exit=Exit.PARTIAL,
    )


def _new_run_id() -> str:
    letters = "abcdefghjkmnpqrstuvwxyz23456789"
    tail = "".join(secrets.choice(letters) for _ in range(4))
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{tail}"
