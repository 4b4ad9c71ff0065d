"""`opsctl diagnose`: what is wrong, in the order an engineer would look?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from opsctl.core.call import Call
    from opsctl.core.plan import Plan
    from opsctl.core.report import Report

app = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True)


@app.command()
def db(
    call: Call,
    fix: Annotated[
        bool, typer.Option("--fix", help="Plan what can be mended safely, and ask.")
    ] = False,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="RULE", help="With --fix: mend findings of this rule; repeatable."),
    ] = None,
) -> Report | Plan:
    """Find out what is wrong with the database: the way to it, then the server.

    Exit 0 nothing red, 1 something is wrong, 3 could not tell.
    """
    from opsctl.areas.diagnose.work import diagnose_database

    return diagnose_database(call, fix=fix, only=tuple(only or ()))


@app.command()
def auth(call: Call) -> Report:
    """Find out what is wrong with sign-in: Auth, its keys, users, CORS, redirects and policies.

    Test users sign in and out. Exit 0 nothing red, 1 something is wrong, 3 could not tell.
    """
    from opsctl.areas.diagnose.work import diagnose_auth

    return diagnose_auth(call)


@app.command()
def performance(
    call: Call,
    since: Annotated[
        str, typer.Option("--since", metavar="DURATION", help="How far back: 3d, 14d, 8w.")
    ] = "14d",
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="CHECK", help="A check's name; may be given again."),
    ] = None,
) -> Report:
    """Find out when it became slow, and what happened just before.

    Health history, deployments, bundles, slow queries and the providers' incidents, side by
    side in time. Exit 0 not slower, 1 slower, 3 not enough data.
    """
    from opsctl.areas.diagnose.performance import diagnose_performance

    return diagnose_performance(call, since=since, only=tuple(only or ()))
