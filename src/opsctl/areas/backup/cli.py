"""`opsctl backup`: take backups, prove them, watch their age, prune them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from opsctl.core.call import Call
    from opsctl.core.plan import Plan
    from opsctl.core.report import Report

app = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True)

From = Annotated[
    str | None,
    typer.Option("--from", metavar="DIR|s3://...", help="Where the backups are; the settings'."),
]
Backup = Annotated[
    str | None,
    typer.Argument(metavar="[BACKUP]", help="Its name or how it begins; the newest otherwise."),
]


@app.command()
def create(
    call: Call,
    tables: Annotated[
        str | None,
        typer.Option("--tables", metavar="A,B", help="The rows of these tables alone."),
    ] = None,
    label: Annotated[
        str, typer.Option("--label", metavar="TEXT", help="A word for the list.")
    ] = "",
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="DIR|s3://...", help="Where it goes; the settings'."),
    ] = None,
    encrypt_to: Annotated[
        list[str] | None,
        typer.Option(
            "--encrypt-to", metavar="RECIPIENT", help="An age recipient; may be repeated."
        ),
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Restore it into a scratch server, too.")
    ] = False,
) -> Report:
    """Back up the database: roles, schema and rows, in one snapshot, hashed row by row."""
    from opsctl.areas.backup import work

    return work.create(
        call,
        tables=[name.strip() for name in (tables or "").split(",") if name.strip()],
        label=label,
        to=to,
        encrypt_to=encrypt_to or (),
        verify=verify,
    )


@app.command("list")
def list_(call: Call, from_: From = None) -> Report:
    """List the backups, newest first, and the platform's own beside them."""
    from opsctl.areas.backup import work

    return work.report_list(call, from_=from_)


@app.command()
def show(call: Call, backup: Backup = None, from_: From = None) -> Report:
    """Show what is in a backup, where it comes from and whether it is proven."""
    from opsctl.areas.backup import work

    return work.report_show(call, backup=backup, from_=from_)


@app.command()
def verify(
    call: Call,
    backup: Backup = None,
    latest: Annotated[bool, typer.Option("--latest", help="The newest one.")] = False,
    every: Annotated[bool, typer.Option("--all", help="Every one.")] = False,
    from_: From = None,
) -> Report:
    """Prove a backup: restore it into a scratch server and compare every row and object."""
    from opsctl.areas.backup import work

    _only_one(backup, latest, every)
    return work.verify(call, backup=backup, every=every, from_=from_)


@app.command()
def status(
    call: Call,
    max_age: Annotated[
        float | None,
        typer.Option("--max-age", metavar="HOURS", min=0, help="Instead of the settings' limits."),
    ] = None,
    from_: From = None,
) -> Report:
    """Check the age of the newest backup and of the newest verified one."""
    from opsctl.areas.backup import work

    return work.report_status(call, from_=from_, max_age_h=max_age)


@app.command()
def prune(
    call: Call,
    last: Annotated[int | None, typer.Option("--keep-last", metavar="N", min=1,
                                             help="The newest ones.")] = None,
    daily: Annotated[int | None, typer.Option("--keep-daily", metavar="N", min=0,
                                              help="The newest of each day.")] = None,
    weekly: Annotated[int | None, typer.Option("--keep-weekly", metavar="N", min=0,
                                               help="The newest of each week.")] = None,
    monthly: Annotated[int | None, typer.Option("--keep-monthly", metavar="N", min=0,
                                                help="The newest of each month.")] = None,
    from_: From = None,
) -> Plan:  # fmt: skip
    """Remove what no rule keeps; never the newest verified backup."""
    from opsctl.areas.backup import work

    rules = {"last": last, "daily": daily, "weekly": weekly, "monthly": monthly}
    return work.plan_prune(call, from_=from_, keep=rules)


@app.command("app")
def app_(
    call: Call,
    values: Annotated[
        bool,
        typer.Option("--values", help="With the readable values, encrypted to backup.encrypt_to."),
    ] = False,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="DIR|s3://...", help="Where it goes; the settings'."),
    ] = None,
) -> Report:
    """Back up the application: commit, deployments, variables and secrets by name."""
    from opsctl.areas.backup.app import back_up_app

    return back_up_app(call, values=values, to=to)


@app.command(hidden=True)
def remove(
    call: Call,
    backups: Annotated[
        list[str], typer.Argument(metavar="BACKUP...", help="Whole names, from backup list.")
    ],
    from_: From = None,
) -> Report:
    """Remove backups at once, as the plan of backup prune does."""
    from opsctl.areas.backup import work

    return work.remove(call, ids=backups, from_=from_)


def _only_one(backup: str | None, latest: bool, every: bool) -> None:
    if sum((backup is not None, latest, every)) > 1:
        from opsctl.core.errors import OpsError

        raise OpsError(
            "Which backup is meant is not clear",
            why="a name, --latest and --all exclude each other",
            hint="opsctl backup verify --latest",
            code="usage",
        )
