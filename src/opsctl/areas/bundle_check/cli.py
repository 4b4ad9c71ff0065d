"""`opsctl bundle-check`: what does each route make a browser download?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from opsctl.core.call import Call
    from opsctl.core.report import Report

app = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True)


@app.command()
def check(
    call: Call,
    directory: Annotated[
        Path | None,
        typer.Argument(metavar="[DIR]", help="The project, or its build; else the project."),
    ] = None,
    base: Annotated[
        str,
        typer.Option(
            metavar="FILE|REF",
            help="Compare with this JSON of an earlier check, or with that of a commit.",
        ),
    ] = "",
    build_first: Annotated[
        bool,
        typer.Option("--run", help="Run the project's own bundle:check or build script first."),
    ] = False,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a treemap there, too.")
    ] = None,
    record: Annotated[
        bool, typer.Option("--record", help="Keep the sizes under the commit, for --base REF.")
    ] = False,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Measure all files, remember nothing.")
    ] = False,
) -> Report:
    """Measure what each route loads first, and compare with the budgets and an earlier build.

    Reads what next build left (14 to 16, webpack and Turbopack, both routers), the HTML pages
    that Vite and others leave, or files by the globs of bundle.files. Source maps that would be
    served are found, too, and secrets: the values of .env files, and what is surely one by the
    rules of secrets-scan, which secrets_scan in the settings lets stay.

    Exit 0 within budget, 1 over it or a secret is served, 3 could not tell.
    """
    from opsctl.areas.bundle_check.work import check_bundles

    return check_bundles(
        call,
        directory=directory,
        base=base,
        build_first=build_first,
        html=html,
        cached=not no_cache,
        recorded=record,
    )
