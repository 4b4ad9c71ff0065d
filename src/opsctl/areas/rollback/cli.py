"""`opsctl rollback`: take database migrations back, look at both histories, mind the stash."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from opsctl.core.call import Call
    from opsctl.core.plan import Plan
    from opsctl.core.report import Report

app = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True)
stash_app = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    help="Show and free what rollbacks have kept.",
)
app.add_typer(stash_app, name="stash")

Tool = Annotated[
    str | None,
    typer.Option("--tool", metavar="supabase|prisma", help="Whose migrations; found otherwise."),
]


@app.command()
def db(
    call: Call,
    tool: Tool = None,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="VERSION", help="The version that stays the newest one."),
    ] = None,
    steps: Annotated[
        int, typer.Option("--steps", metavar="N", min=1, help="Migrations to roll back.")
    ] = 1,
    half_failed: Annotated[
        str | None,
        typer.Option(
            "--half-failed",
            metavar="finish|clean-up",
            help="What to do about a migration that stopped half-way.",
        ),
    ] = None,
    accept_drift: Annotated[
        bool,
        typer.Option("--accept-drift", help="Go on although the schema has drifted."),
    ] = False,
) -> Plan:
    """Roll back database migrations: proven first, in one transaction, with a way back.

    Nothing is ever reset. The down SQL is the team's, Prisma's or derived; it is tried on a
    scratch copy of the live schema and must lead to exactly what the migrations up to the
    target make. What it would drop is kept and put back by opsctl runs undo.
    """
    from opsctl.areas.rollback.work import plan_rollback

    return plan_rollback(
        call, tool=tool, to=to, steps=steps, half_failed=half_failed, accept_drift=accept_drift
    )


@app.command()
def status(
    call: Call,
    drift: Annotated[
        bool,
        typer.Option("--drift/--no-drift", help="Compare the schema with a replay, too."),
    ] = True,
) -> Report:
    """Show both migration histories: applied, pending, failed half-way, edited or drifted."""
    from opsctl.areas.rollback.work import report_status

    return report_status(call, drift=drift)


@app.command()
def backup(
    call: Call,
    newer_than: Annotated[
        float | None,
        typer.Option("--newer-than", metavar="SECONDS", help="Only ask for one this young."),
    ] = None,
) -> Report:
    """Make a backup and prove it: restore it into a scratch server and compare every row."""
    from opsctl.areas.rollback.backup import is_recent, make_backup
    from opsctl.areas.rollback.work import database_of

    if newer_than is not None:
        return is_recent(call, seconds=newer_than)
    return make_backup(call, reference=database_of(call).url)


@stash_app.command("list")
def list_stashes(call: Call) -> Report:
    """List what rollbacks have kept, newest first."""
    from opsctl.areas.rollback.work import report_stashes

    return report_stashes(call)


@stash_app.command("drop")
def drop_stash(
    call: Call,
    name: Annotated[str, typer.Argument(metavar="STASH", help="Its name, from stash list.")],
) -> Plan:
    """Free one stash for good; its rollback can then no longer be undone."""
    from opsctl.areas.rollback.work import plan_drop

    return plan_drop(call, name)
