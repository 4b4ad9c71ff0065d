"""`opsctl healthcheck`: is the environment well?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from opsctl.core.call import Call
    from opsctl.core.report import Report

app = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True)


@app.command()
def run(call: Call) -> Report:
    """Check every endpoint and the database of an environment, all at once.

    Exit 0 well, 1 ill, 3 could not tell.
    """
    from opsctl.areas.healthcheck.checks import judge
    from opsctl.areas.healthcheck.facts import gather

    return judge(gather(call), environment=call.name, limits=call.environment.limits)
