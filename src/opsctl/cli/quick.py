"""A health check on kept settings, started without Typer, pydantic and Rich.

Schedules start it every minute, and what it does takes less than they take to import. It does
what the command does; of whatever is out of the ordinary it keeps its hands off.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

_FORMATS = ("text", "json", "nagios", "openmetrics")
_VALUES = {"--env": "env", "--config": "config", "--format": "format"}
_FLAGS = {"--no-record": ("record", False), "--record": ("record", True)}
_WITHOUT_EFFECT = frozenset({"--quiet", "-q", "--no-input"})


@dataclass
class Wanted:
    """The command line, understood."""

    env: str | None = None
    config: str | None = None
    format: str = "text"
    record: bool = True
    only: tuple[str, ...] = ()


def attempt(argv: list[str]) -> int | None:
    """Run `healthcheck run` and return its exit code, or None where it is not for here."""
    wanted = understood(argv)
    if wanted is None:
        return None
    if wanted.format == "text" and (sys.stdout.isatty() or _wants_a_terminal_s_text()):
        return None
    from opsctl.cli.kept_settings import call_on, recall

    kept = recall(config=wanted.config, env=wanted.env)
    if kept is None or kept.environment is None:
        return None
    from opsctl.areas.healthcheck.work import run_once
    from opsctl.cli.screen import say_plainly

    call = call_on(kept, say=say_plainly)
    report = run_once(call, only=wanted.only, retries=0, record=wanted.record)
    from opsctl.cli.session import show

    return show(report, wanted.format, output=None)


def _wants_a_terminal_s_text() -> bool:
    return any(os.environ.get(name) for name in ("FORCE_COLOR", "FORCE_HYPERLINK"))


def understood(argv: list[str]) -> Wanted | None:
    """Return what a command line asks for, or None where it holds anything unusual."""
    if not argv or argv[0] != "healthcheck":
        return None
    rest = argv[2:] if argv[1:2] == ["run"] else argv[1:]
    found = Wanted()
    while rest:
        word, *rest = rest
        name, given, value = word.partition("=")
        if name in _VALUES or name == "--only":
            if not given:
                if not rest or rest[0].startswith("-"):
                    return None
                value, *rest = rest
            if name == "--only":
                found.only += (value,)
            else:
                setattr(found, _VALUES[name], value)
        elif word in _FLAGS:
            setattr(found, *_FLAGS[word])
        elif word not in _WITHOUT_EFFECT:
            return None
    return found if found.format in _FORMATS else None
