"""`opsctl rollback`: take back migrations, releases and code; look at histories and stashes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

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


class _OrRun(TyperGroup):
    """A group that is a command itself where no other one of it is named."""

    otherwise = "run"

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put in the command that is meant."""
        if not args or (args[0] not in self.commands and args[0] not in ("--help", "-h")):
            args = [self.otherwise, *args]
        return super().parse_args(ctx, args)


release_app = typer.Typer(
    cls=_OrRun,
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=False,
    help="Point production back to an earlier deployment, and forward again.",
)
app.add_typer(release_app, name="app")

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


Watch = Annotated[
    float,
    typer.Option("--watch", metavar="SECONDS", min=0, help="Watch its health so long after."),
]


@release_app.command("run")
def run_app(
    call: Call,
    to: Annotated[
        str,
        typer.Option(
            "--to", metavar="DEPLOYMENT|SHA|previous", help="An id, an address or a commit."
        ),
    ] = "previous",
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why; Vercel keeps it, too.")
    ] = "",
    watch: Watch = 60.0,
    accept_schema: Annotated[
        bool,
        typer.Option("--accept-schema", help="Go on although the schema does not fit."),
    ] = False,
    accept_credentials: Annotated[
        bool,
        typer.Option("--accept-credentials", help="Go on although credentials were changed."),
    ] = False,
    accept_ill: Annotated[
        bool, typer.Option("--accept-ill", help="Go on although the target is not well itself.")
    ] = False,
) -> Plan:
    """Point production back to a deployment that was live: opsctl rollback app.

    Nothing is built. The target's migrations are held against the database, its credentials
    against what was changed since, and it is asked at its own address. It is done when every
    production domain points to it; then its health is watched.
    """
    from opsctl.areas.rollback.app import plan_app

    return plan_app(
        call,
        to=to,
        reason=reason,
        watch_s=watch,
        accept_schema=accept_schema,
        accept_credentials=accept_credentials,
        accept_ill=accept_ill,
    )


@release_app.command("status")
def app_status(call: Call) -> Report:
    """Show what is live, whether releases are held back, and what can be rolled back to."""
    from opsctl.areas.rollback.app_status import report_app_status

    return report_app_status(call)


@release_app.command("forward")
def app_forward(
    call: Call,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="DEPLOYMENT|SHA", help="The newest ready build otherwise."),
    ] = None,
    watch: Watch = 60.0,
) -> Plan:
    """Promote again, and let production builds go live by themselves as before."""
    from opsctl.areas.rollback.app_forward import plan_forward

    return plan_forward(call, to=to, watch_s=watch)


@app.command(hidden=True)
def app_serves(
    call: Call,
    deployment: Annotated[str, typer.Argument(metavar="DEPLOYMENT", help="Its id.")],
    wait: Annotated[
        float, typer.Option("--wait", metavar="SECONDS", min=0, help="For an open move.")
    ] = 0.0,
) -> Report:
    """Check that production serves a deployment, as the plan of rollback app does."""
    from opsctl.areas.rollback.app_status import check_serves

    return check_serves(call, deployment, wait_s=wait)


@app.command(hidden=True)
def app_held(
    call: Call,
    expect: Annotated[
        str | None,
        typer.Option("--expect", metavar="free|held|assigned", help="What it should be."),
    ] = None,
) -> Report:
    """Check whether releases are held back, as the plan of rollback app does."""
    from opsctl.areas.rollback.app_status import check_held

    return check_held(call, expect=expect)


@app.command(hidden=True)
def app_watch(
    call: Call,
    for_: Annotated[
        float, typer.Option("--for", metavar="SECONDS", min=0, help="How long.")
    ] = 60.0,
    before: Annotated[
        str, typer.Option("--before", metavar="FAILED/ASKED", help="How it was before.")
    ] = "",
) -> Report:
    """Watch the health endpoints, as the plan of rollback app does."""
    from opsctl.areas.rollback.app_status import watch_app

    return watch_app(call, seconds=for_, before=before)


@app.command()
def code(
    call: Call,
    to: Annotated[
        str,
        typer.Option("--to", metavar="COMMIT|previous", help="The commit whose tree comes back."),
    ] = "previous",
    branch: Annotated[
        str | None,
        typer.Option("--branch", metavar="NAME", help="The production branch otherwise."),
    ] = None,
    remote: Annotated[
        str, typer.Option("--remote", metavar="NAME", help="Where it is pushed to.")
    ] = "origin",
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why; it stands in the commit.")
    ] = "",
    pull_request: Annotated[
        bool, typer.Option("--pull-request", help="Open a pull request instead of pushing.")
    ] = False,
    keep_migrations: Annotated[
        bool,
        typer.Option(
            "--keep-migrations/--no-keep-migrations",
            help="Leave the migration files as they are: the database has them.",
        ),
    ] = True,
    accept_schema: Annotated[
        bool,
        typer.Option("--accept-schema", help="Go on although the schema does not fit."),
    ] = False,
    watch: Watch = 60.0,
) -> Plan:
    """Bring the production branch back to an older commit, push it, and watch it go live.

    One new commit with the old tree, on top of the branch: nothing is checked out and no push is
    forced. Where the branch takes no plain push, a pull request is opened.
    """
    from opsctl.areas.rollback.code import plan_code

    return plan_code(
        call,
        to=to,
        branch=branch,
        remote=remote,
        reason=reason,
        pull_request=pull_request,
        keep_migrations=keep_migrations,
        accept_schema=accept_schema,
        watch_s=watch,
    )


@app.command(hidden=True)
def code_commit(
    call: Call,
    parts: Annotated[
        str, typer.Option("--parts", metavar="FILE", help="What it is made of, JSON; -: stdin.")
    ],
) -> Report:
    """Write the commits of a plan of rollback code into the checkout."""
    from opsctl.areas.rollback.code import make_commits

    return make_commits(call, parts)


@app.command(hidden=True)
def code_merged(
    call: Call,
    head: Annotated[str, typer.Argument(metavar="BRANCH", help="Of the pull request.")],
) -> Report:
    """Check that a pull request was merged, as the plan of rollback code does."""
    from opsctl.areas.rollback.code_status import check_merged

    return check_merged(call, head)


@app.command(hidden=True)
def code_deployed(
    call: Call,
    commit: Annotated[str, typer.Argument(metavar="[COMMIT]", help="The whole commit.")] = "",
    pull: Annotated[
        str | None, typer.Option("--pull", metavar="BRANCH", help="What that was merged as.")
    ] = None,
    wait: Annotated[
        float, typer.Option("--wait", metavar="SECONDS", min=0, help="For the build.")
    ] = 0.0,
) -> Report:
    """Check that a commit is built and live, as the plan of rollback code does."""
    from opsctl.areas.rollback.code_status import check_deployed

    return check_deployed(call, commit=commit, pull=pull, wait_s=wait)
