"""`opsctl state`: where the record is kept, and how it is moved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from opsctl.core.report import Report

if TYPE_CHECKING:
    from opsctl.core.call import Call

app = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True)


@app.command()
def show(call: Call) -> Report:
    """Show where the state is kept, what is in it, and who holds what."""
    from opsctl.cli.state_report import show_state

    return show_state(call.state)


@app.command()
def schema() -> Report:
    """Print the SQL of a team's state: tables, functions, roles and grants."""
    from opsctl.adapters.team_schema import room_tables, schema_sql

    sql = f"BEGIN;\n{schema_sql()}COMMIT;\n"
    return Report(
        command="state schema",
        title="The SQL of a team's state",
        text=sql,
        data={"sql": sql, "tables": list(room_tables())},
    )


@app.command()
def prepare(call: Call) -> Report:
    """Make the tables and roles of a team's state, or bring older ones up to date.

    As the database's owner; twice is harmless, and what is there is kept.
    """
    from opsctl.cli.state_report import prepare_state

    return prepare_state(call.state)


@app.command()
def approvals(
    call: Call,
    others: Annotated[
        int,
        typer.Argument(metavar="N", min=0, max=5, help="How many others approve a change."),
    ],
    elsewhere: Annotated[
        bool,
        typer.Option("--elsewhere", help="For every environment without a number of its own."),
    ] = False,
) -> Report:
    """Demand in the team's state that others approve changes; for opsctl_keeper alone.

    It binds everybody: their settings can ask for more approvals, not for fewer.
    """
    from opsctl.cli.state_rules import demand_approvals

    return demand_approvals(call.state, "*" if elsewhere else call.name, others)


@app.command()
def migrate(
    call: Call,
    to: Annotated[
        str,
        typer.Option("--to", metavar="PLACE", help="A file, or a secret reference: env:NAME."),
    ],
) -> Report:
    """Copy the whole state to an empty place, file or PostgreSQL, and compare the two."""
    from opsctl.cli.state_move import move_state

    return move_state(call, to)
