"""`opsctl sandbox`: an embedded world to try things in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from opsctl.core.report import Finding, Report, Status, Table

if TYPE_CHECKING:
    from opsctl.core.call import Call
    from opsctl.sandbox.world import State

app = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True)

Postgres = Annotated[
    str | None,
    typer.Option("--postgres", metavar="embedded|system", help="Whose PostgreSQL to use."),
]


@app.command()
def up(call: Call, postgres: Postgres = None) -> Report:
    """Make and start the sandbox: PostgreSQL, a sample application, a bad last migration."""
    from opsctl.sandbox.world import World

    world = World(call.root)
    started = world.up(postgres=postgres, say=call.say)
    title = "The sandbox is up" if started else "The sandbox was up already"
    return _report("sandbox up", title, world.state(), next_=True)


@app.command()
def status(call: Call) -> Report:
    """Show what the sandbox is doing."""
    from opsctl.sandbox.world import World

    state = World(call.root).state()
    title = "The sandbox is up" if state.running else "The sandbox is down"
    return _report("sandbox status", title, state, next_=state.running)


@app.command()
def down(call: Call) -> Report:
    """Stop the sandbox; its data stays."""
    from opsctl.sandbox.world import World

    stopped = World(call.root).down()
    return Report(
        command="sandbox down",
        title="The sandbox is down" if stopped else "The sandbox was down already",
        data={"stopped": stopped},
    )


@app.command()
def reset(call: Call, postgres: Postgres = None) -> Report:
    """Throw the sandbox away, make it anew and start it."""
    from opsctl.sandbox.world import World

    world = World(call.root)
    world.reset(postgres=postgres, say=call.say)
    return _report("sandbox reset", "The sandbox is new and up", world.state(), next_=True)


def _report(command: str, title: str, state: State, *, next_: bool) -> Report:
    rows = (
        ("PostgreSQL", state.postgres or "-", str(state.postgres_port or "-"),
         "running" if state.postgres_pid else "stopped"),
        ("sample application", "-", str(state.app_port or "-"),
         "running" if state.app_pid else "stopped"),
    )  # fmt: skip
    findings: tuple[Finding, ...] = ()
    if state.made and not state.running:
        findings = (
            Finding(
                rule="sandbox-running",
                title="The sandbox does not run",
                status=Status.FAILED,
                hint="opsctl sandbox up",
            ),
        )
    notes: tuple[str, ...] = ()
    if next_:
        notes = (
            "Its last migration is a bad one. See it: opsctl healthcheck run --env sandbox",
            "Roll it back: opsctl rollback db --env sandbox",
        )
    elif not state.made:
        notes = ("There is no sandbox here. Make one: opsctl sandbox up",)
    return Report(
        command=command,
        title=title,
        findings=findings,
        tables=(Table("", ("what", "version", "port", "state"), rows),) if state.made else (),
        notes=notes,
        data={
            "running": state.running,
            "made": state.made,
            "postgres": state.postgres,
            "postgres_port": state.postgres_port,
            "app_port": state.app_port,
        },
    )
