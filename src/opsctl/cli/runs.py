"""`opsctl runs`: what was carried out, and what to do about a run that stopped."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from opsctl.core.errors import OpsError
from opsctl.core.report import Report, Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opsctl.cli.change import Resume
    from opsctl.core.call import Call
    from opsctl.core.journal import Journal
    from opsctl.core.plan import Plan
    from opsctl.engine.run import Engine

app = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True)

Run = Annotated[str, typer.Argument(metavar="RUN", help="Run id, or its beginning.")]
"""A run named on the command line."""


@app.command("list")
def list_(
    call: Call,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Newest runs to show.")] = 20,
) -> Report:
    """List the runs, newest first."""
    runs = _engine(call).runs()
    shown = sorted(runs, key=lambda run: run.started_at or "", reverse=True)[:limit]
    rows = tuple((run.run, run.state, run.environment, run.command, run.actor) for run in shown)
    columns = ("run", "state", "environment", "command", "by")
    return Report(
        command="runs list",
        title="Runs",
        tables=(Table("", columns, rows),) if rows else (),
        notes=() if rows else ("There are no runs yet.",),
        data={"runs": [asdict(run) for run in shown]},
    )


@app.command()
def show(call: Call, run: Run) -> Report:
    """Show one run: its plan, and everything that happened, in order."""
    engine = _engine(call)
    events = engine.events(run)
    plan = engine.plan_of(run)
    full = events[0].run
    undoes = plan.facts.get("undoes")
    rows = tuple(
        (event.at, event.step or "", event.kind, event.actor, _detail(event.data))
        for event in events
    )
    return Report(
        command="runs show",
        title=f"Run {full}: {plan.title}",
        environment=plan.environment,
        tables=(Table("What happened", ("at", "step", "event", "by", "detail"), rows),),
        notes=((f"It undoes run {undoes}.",) if undoes else ())
        + tuple(f"{loss.kind} {loss.name}: {loss.kept or 'not kept'}" for loss in plan.losses),
        data={
            "run": full,
            "plan_hash": plan.hash,
            "events": [
                {
                    "at": event.at,
                    "step": event.step,
                    "kind": event.kind,
                    "actor": event.actor,
                    "data": event.data if event.kind != "planned" else {},
                }
                for event in events
            ],
        },
    )


@app.command()
def resume(call: Call, run: Run) -> Resume:
    """Finish a run that stopped; steps that are done are not run again."""
    from opsctl.cli.change import Resume

    engine = _engine(call)
    return Resume(run=engine.full_id(run), plan=engine.plan_of(run))


@app.command()
def approve(
    call: Call,
    run: Run,
    plan_hash: Annotated[
        str | None,
        typer.Option("--hash", metavar="HASH", help="The plan's hash, or its first 12 digits."),
    ] = None,
) -> Report:
    """Approve another person's plan; without --hash it shows what that would be."""
    from opsctl.cli.runs_approve import approval_report

    return approval_report(_engine(call), run, plan_hash)


@app.command()
def undo(call: Call, run: Run) -> Plan:
    """Take back what a run did, last step first."""
    return _engine(call).undo_plan(run)


@app.command()
def resolve(
    call: Call,
    run: Run,
    step: Annotated[str, typer.Argument(metavar="STEP", help="Step id, from runs show.")],
    done: Annotated[bool, typer.Option("--done", help="It took effect.")] = False,
    redo: Annotated[bool, typer.Option("--redo", help="It did not; run it again.")] = False,
) -> Report:
    """Say what became of a step whose outcome opsctl cannot find out."""
    if done == redo:
        raise OpsError(
            "It was not said what became of the step",
            why="exactly one of --done and --redo is needed",
            hint=f"look at the world, then: opsctl runs resolve {run} {step} --done",
            code="usage",
        )
    _engine(call).resolve(run, step, how="done" if done else "redo")
    return Report(
        command="runs resolve",
        title=f"Step {step} of run {run} is recorded as {'done' if done else 'to be run again'}",
        notes=(f"Next: opsctl runs resume {run}",),
        data={"run": run, "step": step, "how": "done" if done else "redo"},
    )


@app.command()
def unlock(
    call: Call,
    lock: Annotated[str, typer.Argument(metavar="LOCK", help="The lock's id, as refused.")],
) -> Report:
    """Free an environment whose holder is gone; refused while the holder lives."""
    freed = _engine(call).unlock(call.name, lock)
    return Report(
        command="runs unlock",
        title=f"The lock on {call.name} was freed",
        environment=call.name,
        notes=(str(freed),),
        data={"lock": lock},
    )


@app.command("audit")
def audit_(
    call: Call,
    head: Annotated[
        str | None,
        typer.Option("--head", metavar="SEQ:HASH", help="Row that an earlier audit noted."),
    ] = None,
) -> Report:
    """Prove that no row of the journal was changed, or name the first that was (exit 1)."""
    from opsctl.cli.journal_audit import audit_report

    return audit_report(_journal(call), head=head)


@app.command()
def export(
    call: Call,
    run: Annotated[str | None, typer.Option("--run", help="This run alone.")] = None,
) -> Report:
    """Print the journal's rows with their hashes; as one JSON a line: --format ndjson."""
    from opsctl.cli.journal_audit import export_report

    full = None if run is None else _engine(call).full_id(run)
    return export_report(_journal(call), run=full)


def _journal(call: Call) -> Journal:
    from opsctl.cli.state_seam import open_journal

    return open_journal(call.state)


def _engine(call: Call) -> Engine:
    from opsctl.cli.change import open_engine

    return open_engine(call)


def _detail(data: Mapping[str, object]) -> str:
    if "plan" in data:
        return f"plan {str(data.get('sha256', ''))[:12]}"
    return ", ".join(f"{name} {value}" for name, value in data.items())
