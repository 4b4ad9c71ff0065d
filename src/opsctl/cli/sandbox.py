"""`opsctl sandbox`: an embedded world to try things in."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from opsctl.core.errors import OpsError
from opsctl.core.report import Finding, Report, Status, Table

if TYPE_CHECKING:
    from opsctl.core.call import Call
    from opsctl.sandbox.world import State

app = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True)

Postgres = Annotated[
    Literal["embedded", "system"] | None,
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


@app.command(hidden=True)
def fault(
    call: Call,
    plane: Annotated[str, typer.Argument(metavar="PLANE", help="vercel, supabase, github, ...")],
    kind: Annotated[
        str, typer.Argument(metavar="KIND", help="What goes wrong, such as error-after.")
    ],
    path: Annotated[
        str, typer.Option("--path", metavar="TEXT", help="Only where the path holds this.")
    ] = "",
    method: Annotated[
        str, typer.Option("--method", metavar="METHOD", help="Only for this method.")
    ] = "",
    times: Annotated[int, typer.Option("--times", metavar="N", min=1, help="How often.")] = 1,
    delay: Annotated[
        float, typer.Option("--delay", metavar="SECONDS", min=0, help="How late it answers.")
    ] = 0.0,
) -> Report:
    """Let something go wrong with the next requests to a control plane, for a drill."""
    from opsctl.sandbox.world import World

    data = {"kind": kind, "path": path, "method": method, "times": times, "delay_s": delay}
    World(call.root).planes.act(plane, "fault", data)
    return Report(
        command="sandbox fault",
        title=f"{plane}: {kind}, {times} times",
        notes=("End all of them: opsctl sandbox plane vercel calm",),
        data=data,
    )


@app.command(hidden=True)
def plane(
    call: Call,
    plane: Annotated[str, typer.Argument(metavar="PLANE", help="vercel, supabase, github, ...")],
    act: Annotated[str, typer.Argument(metavar="ACT", help="push, set, calm, merge, ...")],
    data: Annotated[
        str, typer.Option("--data", metavar="JSON", help="What it needs, a JSON object.")
    ] = "{}",
) -> Report:
    """Do something in a control plane as a person or the platform would, for a drill."""
    from opsctl.sandbox.world import World

    try:
        given = json.loads(data)
    except ValueError:
        given = None
    if not isinstance(given, dict):
        raise OpsError(
            "--data is no JSON object",
            why="it could not be read as one",
            hint="opsctl sandbox plane vercel set --data '{\"queues_promotions\": true}'",
            code="not-json",
        )
    found = World(call.root).planes.act(plane, act, given)
    return Report(command="sandbox plane", title=f"{plane}: {act} was done", data=found)


def _report(command: str, title: str, state: State, *, next_: bool) -> Report:
    rows = (
        ("PostgreSQL", state.postgres, *_cells(state.postgres_port, state.postgres_pid),
         "running" if state.postgres_pid else "stopped"),
        ("sample application", "-", *_cells(state.app_port, state.app_pid), _health(state)),
        *(
            (f"control plane of {kind}", "-", *_cells(port, state.planes_pid),
             "running" if state.planes_pid else "stopped")
            for kind, port in state.planes.items()
        ),
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
        tables=(Table("", ("what", "version", "port", "process", "state"), rows),)
        if state.made
        else (),
        notes=notes,
        data={
            "running": state.running,
            "made": state.made,
            "postgres": state.postgres,
            "postgres_port": state.postgres_port,
            "postgres_pid": state.postgres_pid,
            "app_port": state.app_port,
            "app_pid": state.app_pid,
            "planes": dict(state.planes),
            "planes_pid": state.planes_pid,
            "healthy": not state.ills if state.running else None,
            "ills": list(state.ills),
        },
    )


def _cells(port: int | None, pid: int | None) -> tuple[str, str]:
    return (str(port or "-"), str(pid or "-"))


def _health(state: State) -> str:
    if state.app_pid is None:
        return "stopped"
    return "running, ill" if state.ills else "running, healthy"
