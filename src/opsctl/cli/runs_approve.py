"""What a person approves: the plan is shown, and its hash is what he gives back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opsctl.core.errors import Exit, OpsError
from opsctl.core.report import Report, Status, Table

if TYPE_CHECKING:
    from opsctl.core.plan import Plan
    from opsctl.engine.run import Engine

_DIGITS = 12


def approval_report(engine: Engine, run: str, given: str | None) -> Report:
    """Approve a run's plan if its hash is given; else show it, refused (exit 5)."""
    run = engine.full_id(run)
    plan = engine.plan_of(run)
    if given is None:
        return _shown(run, plan)
    if len(given) < _DIGITS or not plan.hash.startswith(given.lower()):
        raise OpsError(
            f"The run {run} was not approved",
            why=f"its plan's hash begins with {plan.hash[:_DIGITS]}, not with {given!r}",
            hint=f"look at it: opsctl runs approve {run}",
            code="wrong-hash",
            exit=Exit.REFUSED,
        )
    engine.approve(run)
    return Report(
        command="runs approve",
        title=f"The plan of run {run} is approved",
        environment=plan.environment,
        notes=(f"Next, whoever it may be: opsctl runs resume {run}",),
        data={"run": run, "plan_hash": plan.hash},
    )


def _shown(run: str, plan: Plan) -> Report:
    steps = tuple(
        (str(number), step.title, "\n".join(step.detail))
        for number, step in enumerate(plan.steps, start=1)
    )
    tables = [Table(plan.title, ("", "step", "detail"), steps)]
    if plan.losses:
        losses = tuple((each.kind, each.name, each.kept or "not kept") for each in plan.losses)
        tables.append(Table("What it takes away", ("kind", "name", "kept"), losses))
    data: dict[str, Any] = {
        "run": run,
        "plan_hash": plan.hash,
        "steps": [{"id": step.id, "title": step.title} for step in plan.steps],
    }
    return Report(
        command="runs approve",
        title=f"Not approved yet: {plan.command} on {plan.environment}",
        environment=plan.environment,
        tables=tuple(tables),
        notes=(*plan.notes,
               f"To approve exactly this: opsctl runs approve {run} --hash {plan.hash[:_DIGITS]}"),
        data=data,
        given_status=Status.REFUSED,
        given_exit=Exit.REFUSED,
    )  # fmt: skip
