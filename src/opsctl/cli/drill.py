"""`opsctl drill`: practise in the sandbox what must work at night, and measure it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from opsctl.core.call import Call
    from opsctl.core.report import Report

app = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True)


@app.callback()
def drill() -> None:
    """Practise in the sandbox what must work at night, and measure it."""


@app.command()
def run(
    call: Call,
    scenario: Annotated[
        str, typer.Argument(metavar="[SCENARIO]", help="Its name; without, all are listed.")
    ] = "",
    auto: Annotated[
        bool, typer.Option("--auto", help="Solve it, too, by the lines of its runbook.")
    ] = False,
) -> Report:
    """Break the sandbox by a scenario, and start the clock; with --auto, solve it, too.

    Then solve it with opsctl's own commands. Other words: list, start SCENARIO, hint, check,
    report, stop; and restore, which measures a restore by itself.

    Exit 0 begun, or solved with --auto; 1 not solved.
    """
    from opsctl.cli.drill_game import list_scenarios, solve, start_drill

    if not scenario:
        return list_scenarios(call)
    return solve(call, scenario) if auto else start_drill(call, scenario)


@app.command("list")
def list_(call: Call) -> Report:
    """List the scenarios, and how long each took when it was solved last."""
    from opsctl.cli.drill_game import list_scenarios

    return list_scenarios(call)


@app.command()
def start(
    call: Call,
    scenario: Annotated[str, typer.Argument(metavar="SCENARIO", help="Its name.")],
) -> Report:
    """Break the sandbox by a scenario, and start the clock.

    A sandbox in which there was a drill already is made anew first.
    """
    from opsctl.cli.drill_game import start_drill

    return start_drill(call, scenario)


@app.command()
def hint(call: Call) -> Report:
    """Show one more hint; it is recorded."""
    from opsctl.cli.drill_game import next_hint

    return next_hint(call)


@app.command()
def check(call: Call) -> Report:
    """Look whether the drill is solved, and stop the clock if it is.

    Exit 0 solved, 1 not yet, 3 could not look.
    """
    from opsctl.cli.drill_check import check_drill

    return check_drill(call)


@app.command()
def report(
    call: Call,
    drill: Annotated[
        str, typer.Argument(metavar="[DRILL]", help="Its id, or how it begins; else the newest.")
    ] = "",
) -> Report:
    """Tell how long it took to detect, to decide and to recover, and what was typed.

    Exit 0 solved, 1 given up, 3 not over yet.
    """
    from opsctl.cli.drill_report import report_drill

    return report_drill(call, drill)


@app.command()
def stop(call: Call) -> Report:
    """Give the drill up, and show what would have solved it."""
    from opsctl.cli.drill_game import give_up

    return give_up(call)


@app.command()
def restore(call: Call) -> Report:
    """Back the sandbox up, destroy its data, restore it, and measure RTO and RPO."""
    from opsctl.cli.drill_restore import restore_and_measure

    return restore_and_measure(call)
