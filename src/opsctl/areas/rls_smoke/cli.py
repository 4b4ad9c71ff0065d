"""`opsctl rls-smoke`: who may see and change which rows?"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from opsctl.core.call import Call
    from opsctl.core.report import Report

app = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True)


class Only(StrEnum):
    """Half of the lints."""

    SECURITY = "security"
    PERFORMANCE = "performance"


Policy = Annotated[
    Path | None,
    typer.Option(
        "--policy", metavar="FILE", help="The policy file; else the settings' rls.policy."
    ),
]


@app.command()
def check(
    call: Call,
    policy: Policy = None,
    outside_triggers: Annotated[
        bool,
        typer.Option(
            "--outside-triggers", help="Fire triggers in the copy that could reach outside it, too."
        ),
    ] = False,
    live: Annotated[
        bool,
        typer.Option("--live", help="Read the live rows as real people, too; nothing is written."),
    ] = False,
    live_writes: Annotated[
        str,
        typer.Option(
            "--live-writes",
            metavar="ENVIRONMENT",
            help="Try writes on a few live rows, too, each undone at once; name the environment.",
        ),
    ] = "",
    mutate: Annotated[
        bool,
        typer.Option("--mutate", help="Weaken each policy and see whether the file notices."),
    ] = False,
) -> Report:
    """Try as every role what it can do to every table, and compare with the policy file.

    The schema is copied to a scratch server and filled with made-up rows: nothing is written to
    the live database and none of its rows is read. Without a policy file only the isolation of
    tenants is judged. --live reads samples of the live rows. --live-writes tries writes there as
    well, on a few rows of each table: each is undone at once, and nobody waits for it longer than
    100 ms.
    What the catalog alone tells is judged, too; `lint` shows all of it.

    Exit 0 well, 1 a hole or a broken right, 3 could not tell.
    """
    from opsctl.areas.rls_smoke.work import check_policies

    return check_policies(
        call,
        policy=policy,
        outside=outside_triggers,
        live=live,
        live_writes=live_writes,
        mutate=mutate,
    )


@app.command()
def lint(
    call: Call,
    only: Annotated[
        Only | None, typer.Option("--only", help="Security or performance; else both.")
    ] = None,
) -> Report:
    """Read the catalog of the live database and say what is wrong by definition alone.

    Tables without row-level security, policies that are always true, views and functions that run
    with their owner's rights, leaked grants, slow policies, missing indexes: each with why it
    matters and the SQL that mends it. No table is locked, no row is read but the list of buckets.

    Exit 0 without an error among the findings, 1 with one; warnings and notes do not count.
    """
    from opsctl.areas.rls_smoke.work import lint_catalog

    return lint_catalog(call, only=only)


@app.command()
def init(call: Call) -> Report:
    """Write a policy file from what the database does today, and mark what looks wrong.

    It is printed, or written with --output FILE: correct it, and it is the contract in CI.
    """
    from opsctl.areas.rls_smoke.work import write_down

    return write_down(call)
