"""`opsctl restore`: bring back a database, tables or the application."""

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
def db(
    call: Call,
    backup: Backup = None,
    into: Annotated[
        str | None,
        typer.Option("--into", metavar="NAME", help="Only fill a new database of this name."),
    ] = None,
    swap: Annotated[
        bool, typer.Option("--swap", help="With --into: give it the old one's name afterwards.")
    ] = False,
    from_: From = None,
) -> Plan:
    """Restore a database beside the old one, compare everything, then swap the names.

    The old one is kept, so opsctl runs undo puts it back. Where databases cannot be made or
    renamed, as on Supabase, the schemas are swapped in one transaction instead.
    """
    from opsctl.areas.restore.work import plan_restore

    return plan_restore(call, backup=backup, into=into, swap=swap, from_=from_)


@app.command()
def platform(
    call: Call,
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="TIME", help="A moment: 2026-01-31T12:00:00Z; UTC."),
    ] = None,
    point: Annotated[
        str | None, typer.Option("--point", metavar="NAME", help="A restore point.")
    ] = None,
) -> Plan:
    """Let Supabase restore the whole project to a moment or a restore point.

    The project is away meanwhile, and the platform cannot take it back: a backup of our own is
    made first.
    """
    from opsctl.areas.restore.platform import plan_restore_platform

    return plan_restore_platform(call, at=at, point=point)


@app.command()
def point(
    call: Call,
    name: Annotated[str, typer.Argument(metavar="NAME", help="At most 20 characters.")],
) -> Plan:
    """Make a restore point of the whole Supabase project."""
    from opsctl.areas.restore.platform import plan_point

    return plan_point(call, name)


Tables = Annotated[
    str | None, typer.Option("--tables", metavar="A,B", help="Which tables of the backup.")
]
Csv = Annotated[
    list[str] | None,
    typer.Option("--csv", metavar="TABLE=FILE", help="Rows from a CSV file; may be repeated."),
]


@app.command()
def tables(
    call: Call,
    backup: Backup = None,
    tables: Tables = None,
    mode: Annotated[
        str | None,
        typer.Option(
            "--mode",
            metavar="replace|append|missing",
            help="Make them equal (default), add all (default of --csv), or add what is missing.",
        ),
    ] = None,
    csv: Csv = None,
    from_: From = None,
) -> Plan:
    """Restore the rows of some tables, counted first, in one transaction, with a way back."""
    from opsctl.areas.restore.tables import plan_restore_tables

    return plan_restore_tables(
        call, backup=backup, tables=_split(tables), mode=mode, csv=csv or (), from_=from_
    )


@app.command(hidden=True)
def stage(
    call: Call,
    token: Annotated[str, typer.Option("--token", metavar="HEX", help="Which restore it is.")],
    backup: Backup = None,
    tables: Tables = None,
    csv: Csv = None,
    from_: From = None,
) -> Report:
    """Stage rows, as the plan of restore tables does."""
    from opsctl.areas.restore.tables import stage as stage_

    return stage_(
        call, backup=backup, tables=_split(tables), csv=csv or (), token=token, from_=from_
    )


@app.command("app")
def app_(
    call: Call,
    backup: Backup = None,
    watch: Annotated[
        float,
        typer.Option("--watch", metavar="SECONDS", min=0, help="Watch its health so long after."),
    ] = 60.0,
) -> Plan:
    """Bring the application of a backup live again, and say which variables are missing."""
    from opsctl.areas.restore.app import plan_restore_app

    return plan_restore_app(call, backup=backup, watch_s=watch)


@app.command()
def watch(
    call: Call,
    for_: Annotated[
        float, typer.Option("--for", metavar="SECONDS", min=0, help="How long.")
    ] = 60.0,
) -> Report:
    """Watch the health endpoints: fails at the second failure in a row of one of them."""
    from opsctl.areas.restore.app import watch_health

    return watch_health(call, seconds=for_)


@app.command(hidden=True)
def serving(
    call: Call,
    commit: Annotated[str, typer.Argument(metavar="COMMIT", help="The whole commit.")],
) -> Report:
    """Check that production serves a commit, as the plan of restore app does."""
    from opsctl.areas.restore.app import check_serving

    return check_serving(call, commit=commit)


@app.command()
def status(call: Call) -> Report:
    """List the databases that restores have made and kept."""
    from opsctl.areas.restore.work import report_status

    return report_status(call)


@app.command()
def drop(
    call: Call,
    database: Annotated[
        str, typer.Argument(metavar="DATABASE", help="Its name, from restore status.")
    ],
) -> Plan:
    """Drop a database that a restore has kept; that restore cannot be undone any more."""
    from opsctl.areas.restore.work import plan_drop

    return plan_drop(call, database)


@app.command(hidden=True)
def fill(
    call: Call,
    backup: Annotated[str, typer.Argument(metavar="BACKUP", help="Its whole name.")],
    into: Annotated[str, typer.Option("--into", metavar="NAME", help="The new database.")],
    token: Annotated[str, typer.Option("--token", metavar="HEX", help="Which restore it is.")],
    from_: From = None,
) -> Report:
    """Fill a new database and compare it, as the plan of restore db does."""
    from opsctl.areas.restore.work import fill as fill_

    return fill_(call, backup=backup, into=into, token=token, from_=from_)


@app.command(hidden=True)
def schemas(
    call: Call,
    backup: Annotated[str, typer.Argument(metavar="BACKUP", help="Its whole name.")],
    token: Annotated[str, typer.Option("--token", metavar="HEX", help="Which restore it is.")],
    from_: From = None,
) -> Report:
    """Swap the application's schemas, as the plan of restore db does."""
    from opsctl.areas.restore.schemas import swap_schemas

    return swap_schemas(call, backup=backup, token=token, from_=from_)


@app.command()
def check(call: Call, backup: Backup = None, from_: From = None) -> Report:
    """Compare the application's schemas with a backup, where they are."""
    from opsctl.areas.restore.schemas import compare_schemas

    return compare_schemas(call, backup=backup, from_=from_)


def _split(text: str | None) -> list[str]:
    return [name.strip() for name in (text or "").split(",") if name.strip()]
