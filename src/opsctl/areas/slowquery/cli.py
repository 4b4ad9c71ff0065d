"""`opsctl slowquery`: which queries are slow, and what would mend them?"""

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
    since: Annotated[
        str,
        typer.Option(
            metavar="MOMENT",
            help="Begin at the stored snapshot: last, or one so old (15m, 2h); or at the start "
            "of the statistics. Default: last, unless --sample is given.",
        ),
    ] = "",
    sample: Annotated[
        str,
        typer.Option(
            metavar="SPAN",
            help="Look many times a second for so long. Default: 10s where nothing is stored.",
        ),
    ] = "",
    top: Annotated[int, typer.Option(min=1, max=100_000, help="Statements shown.")] = 20,
    sort: Annotated[
        str, typer.Option(metavar="ORDER", help="total, mean, p95, calls, temp or wal.")
    ] = "total",
    explain: Annotated[
        bool, typer.Option("--explain", help="Plan what is shown, and suggest indexes.")
    ] = False,
    role: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this role's; repeatable.")
    ] = None,
    baseline: Annotated[
        str, typer.Option(metavar="NAME", help="Compare with this baseline, if it is there.")
    ] = "default",
    log: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Read durations from this server log, too."),
    ] = None,
    probe: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Time the queries of this file, read only."),
    ] = None,
    probe_calls: Annotated[
        int, typer.Option(min=1, max=10_000, help="Calls of each such query.")
    ] = 20,
) -> Report:
    """Judge the statements between two moments, each P95 by an interval that holds it.

    Exit 0 well, 1 too slow, 3 could not tell.
    """
    from opsctl.areas.slowquery.checks import judge
    from opsctl.areas.slowquery.facts import Asked, gather, span_s
    from opsctl.areas.slowquery.statements import ORDERS
    from opsctl.core.errors import OpsError

    if sort not in ORDERS:
        raise OpsError(
            f"The order {sort!r} is not one of opsctl slowquery check",
            why=f"it can sort by {', '.join(ORDERS)}",
            hint="opsctl slowquery check --sort total",
            code="unknown-order",
        )
    if since not in ("", "last", "start"):
        span_s(since, option="--since")
    asked = Asked(
        since=since,
        sample_s=span_s(sample, option="--sample") if sample else None,
        top=top,
        sort=sort,
        explain=explain,
        roles=tuple(role or ()),
        baseline=baseline,
        log=log,
        probe=probe,
        probe_calls=probe_calls,
    )
    facts = gather(call, asked)
    return judge(facts, environment=call.name, limits=call.environment.limits, top=top)


@app.command()
def baseline(
    call: Call,
    name: Annotated[str, typer.Option(metavar="NAME", help="Its name.")] = "default",
    since: Annotated[
        str,
        typer.Option(metavar="MOMENT", help="As of check; by default since the statistics began."),
    ] = "start",
) -> Report:
    """Keep what is usual now, for later checks to compare with."""
    from opsctl.areas.slowquery.facts import Asked, keep_baseline, span_s

    if since not in ("last", "start"):
        span_s(since, option="--since")
    return keep_baseline(call, Asked(since=since), name=name)
