"""Render a Report, a Plan or an error in the format asked for."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from opsctl.render import FORMATS, MONITORING_FORMATS, SPOKEN

if TYPE_CHECKING:
    from opsctl.core.errors import OpsError
    from opsctl.core.plan import Plan
    from opsctl.core.report import Report


def render_report(
    report: Report, format: str, *, width: int = 80, color: bool = False, links: bool = False
) -> str:
    """Return the report as one document that ends in a newline.

    `width`, `color` and `links` matter to text alone; without the last two it holds no escape
    sequence. With `links` what has an address is a hyperlink.
    Raises ValueError for a format that is neither in FORMATS nor the report's own.
    """
    if format in report.own:
        return report.own[format]()
    if format in ("text", SPOKEN) and report.text is not None:
        # Without the module of the format: it imports Rich, and such a text is to be quick.
        from opsctl.render.safe import safe

        return safe(report.text, multiline=True).rstrip("\n") + "\n"
    if format == "text" and not color and not links:
        from opsctl.render.plain import plain

        text = plain(report, width=width)
        if text is not None:
            return text
    return str(_module(format).report(report, width=width, color=color, **_linked(format, links)))


def render_plan(
    plan: Plan,
    format: str,
    *,
    width: int = 80,
    color: bool = False,
    links: bool = False,
    verbose: bool = False,
) -> str:
    """Return the plan as one document that ends in a newline.

    With `verbose` no detail is folded. Raises ValueError for a format that is not in FORMATS.
    """
    more = _linked(format, links)
    return str(_module(format).plan(plan, width=width, color=color, verbose=verbose, **more))


def render_error(
    error: OpsError,
    format: str,
    *,
    command: str,
    environment: str | None = None,
    width: int = 80,
    color: bool = False,
    links: bool = False,
) -> str:
    """Return the error as one document that ends in a newline.

    `command` is what was called, as typed. Raises ValueError for a format not in FORMATS.
    """
    return str(
        _module(format).error(
            error,
            command=command,
            environment=environment,
            width=width,
            color=color,
            **_linked(format, links),
        )
    )


def exit_code(what: Report | OpsError, format: str) -> int:
    """Return the exit code of a report or an error that is shown in `format`.

    It is the same for every format but one: Nagios knows the codes of its own plugins alone.
    """
    return int(_module(format).exit_code(what)) if format == "nagios" else int(what.exit)


def _linked(format: str, links: bool) -> dict[str, bool]:
    """Return the argument that the module of text alone takes."""
    return {"links": True} if links and format == "text" else {}


def _module(format: str) -> Any:
    if format == SPOKEN:
        return importlib.import_module("opsctl.render.spoken")
    if format not in FORMATS + MONITORING_FORMATS:
        raise ValueError(f"unknown format: {format!r}")
    return importlib.import_module(f"opsctl.render.{format}")
