"""A screen on stderr that shows one report in the place of the last."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.text import Text

from opsctl.cli.screen import colored, width_of
from opsctl.render.report import render_report

if TYPE_CHECKING:
    from opsctl.core.report import Report


@contextmanager
def screen() -> Iterator[Callable[[Report], None]]:
    """Show reports until the context ends; the last one stays on the terminal."""
    console = Console(file=sys.stderr, markup=False, highlight=False, emoji=False)
    # What does not fit is cut off below: the headline and the gravest stand on top.
    with Live(console=console, auto_refresh=False, vertical_overflow="ellipsis") as live:

        def show(report: Report) -> None:
            text = render_report(
                report, "text", width=width_of(sys.stderr), color=colored(sys.stderr)
            )
            live.update(Text.from_ansi(text.rstrip("\n")), refresh=True)

        yield show
