"""`opsctl secrets-scan`: is there a secret where others can read it?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from opsctl.core.report import Report
    from opsctl.core.start import Start

app = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True)
known = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    help="Keep what is known already, as hashes, so that only new findings are told.",
)
app.add_typer(known, name="baseline")

Paths = Annotated[
    list[Path] | None,
    typer.Argument(metavar="[PATH]...", help="Files and directories; without, the current one."),
]
History = Annotated[
    bool, typer.Option("--history", help="Every object of git: stashes and dangling ones, too.")
]
File = Annotated[
    Path | None,
    typer.Option("--file", metavar="FILE", help="The baseline; else that of the settings."),
]


@app.command()
def scan(
    call: Start,
    paths: Paths = None,
    staged: Annotated[
        bool, typer.Option("--staged", help="What the next commit would add, for a hook.")
    ] = False,
    since: Annotated[
        str, typer.Option(metavar="REF", help="What the commits after this one added.")
    ] = "",
    history: History = False,
    bundle: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="What browsers download; the values of private variables, too."
        ),
    ] = None,
    stdin: Annotated[bool, typer.Option("--stdin", help="Standard input.")] = False,
    ignored: Annotated[
        bool, typer.Option("--ignored", help="Also files that git ignores.")
    ] = False,
    baseline: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Leave out what this file knows already."),
    ] = None,
    live: Annotated[
        bool,
        typer.Option("--live", help="Ask the configured project whether its keys still work."),
    ] = False,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="sha256:HEX", help="This value alone, wherever it lies."),
    ] = None,
    jobs: Annotated[
        int, typer.Option(min=0, max=64, help="Processes; 0 is one for each core.")
    ] = 0,
) -> Report:
    """Find secrets in files, tracked or not; what git ignores is left out.

    Values are never shown, only their ends and a hash. A comment `opsctl:allow` on a line lets
    its secret stay. Known findings: opsctl secrets-scan baseline create.

    Exit 0 clean, 1 found, 3 not all of it could be scanned.
    """
    from opsctl.areas.secrets_scan.facts import Asked
    from opsctl.areas.secrets_scan.work import scan_for_secrets

    asked = Asked(
        paths=tuple(paths or ()),
        staged=staged,
        since=since,
        history=history,
        bundle=bundle,
        stdin=stdin,
        ignored=ignored,
        jobs=jobs,
    )
    return scan_for_secrets(call, asked, baseline=baseline, live=live, only=tuple(only or ()))


@known.command()
def create(call: Start, paths: Paths = None, history: History = False, file: File = None) -> Report:
    """Write what a scan finds now into a baseline, in the place of what it held."""
    from opsctl.areas.secrets_scan.facts import Asked
    from opsctl.areas.secrets_scan.work import create_baseline

    return create_baseline(call, Asked(paths=tuple(paths or ()), history=history), file=file)


@known.command()
def prune(call: Start, paths: Paths = None, history: History = False, file: File = None) -> Report:
    """Take out of a baseline what a scan no longer finds."""
    from opsctl.areas.secrets_scan.facts import Asked
    from opsctl.areas.secrets_scan.work import prune_baseline

    return prune_baseline(call, Asked(paths=tuple(paths or ()), history=history), file=file)
