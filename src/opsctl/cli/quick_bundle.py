"""A bundle check on kept settings, started without Typer and pydantic.

With remembered sizes it takes less than they take to import. It does what the command does; of
whatever is out of the ordinary it keeps its hands off.
"""

from __future__ import annotations

import os
import sys
import time
from types import SimpleNamespace

from opsctl.render import FORMATS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

_VALUES = {
    "--env": "env",
    "--config": "config",
    "--format": "format",
    "--output": "output",
    "--base": "base",
    "--html": "html",
}
_USUAL = {
    "directory": None, "env": None, "config": None, "format": FORMATS[0], "output": None,
    "base": "", "html": None, "cached": True, "quiet": False,
}  # fmt: skip
_QUIET = frozenset({"--quiet", "-q"})
_WITHOUT_EFFECT = frozenset({"--no-input"})


class Wanted(SimpleNamespace):
    """The command line, understood. No dataclass: that takes longer than the rest of a start."""

    directory: str | None
    env: str | None
    config: str | None
    format: str
    output: str | None
    base: str
    html: str | None
    cached: bool
    quiet: bool

    def __init__(self, **given: object) -> None:
        super().__init__(**{**_USUAL, **given})


def attempt(argv: list[str]) -> int | None:
    """Run `bundle-check` and return its exit code, or None where it is not for here."""
    wanted = understood(argv)
    if wanted is None:
        return None
    from opsctl.cli.kept_settings import recall

    kept = recall(config=wanted.config, env=wanted.env)
    if kept is None:
        return None
    remembers = wanted.cached and not wanted.base and not wanted.html
    if not remembers:
        return _checked(wanted, kept, key=None)
    from opsctl.cli.kept_report import recall as recall_report
    from opsctl.cli.screen import colored, width_of
    from opsctl.cli.session import write

    key = [wanted.format, wanted.output is None, width_of(sys.stdout), colored(sys.stdout)]
    before = recall_report(_place(wanted, kept), key, kept=kept)
    if before is None:
        return _checked(wanted, kept, key=key)
    return write(before[1], code=before[0], output=_path(wanted.output))


def _place(wanted: Wanted, kept: SimpleNamespace) -> str:
    """Return the directory that is looked at, absolute, as the check itself chooses it."""
    if wanted.directory is not None:
        return os.path.abspath(wanted.directory)  # noqa: PTH100 - pathlib costs what it would save
    return os.path.join(kept.root, kept.settings.project if kept.settings else ".")  # noqa: PTH118


def _checked(wanted: Wanted, kept: SimpleNamespace, *, key: list[object] | None) -> int:
    """Check, show what was found, and keep that under `key` for the next time."""
    from opsctl.areas.bundle_check.work import check_bundles
    from opsctl.cli.kept_settings import call_on
    from opsctl.cli.session import rendered, write

    call = call_on(kept, say=_drop if wanted.quiet else _say)
    began_ns = time.time_ns()
    report = check_bundles(
        call,
        directory=_path(wanted.directory),
        base=wanted.base,
        build_first=False,
        html=_path(wanted.html),
        cached=wanted.cached,
    )
    code, text = rendered(report, wanted.format, to_terminal=wanted.output is None)
    if key is not None:
        from opsctl.cli.kept_report import keep

        place = _place(wanted, kept)
        keep(place, key, kept=kept, report=report, began_ns=began_ns, answer=(code, text))
    return write(text, code=code, output=_path(wanted.output))


def _path(given: str | None) -> Path | None:
    if given is None:
        return None
    from pathlib import Path

    return Path(given)


def understood(argv: list[str]) -> Wanted | None:
    """Return what a command line asks for, or None where it holds anything unusual."""
    found = Wanted()
    rest = argv[1:]
    while rest:
        word, *rest = rest
        name, given, value = word.partition("=")
        if name in _VALUES:
            if not given:
                if not rest or rest[0].startswith("-"):
                    return None
                value, *rest = rest
            if not value:
                return None
            setattr(found, _VALUES[name], value)
        elif word in _QUIET:
            found.quiet = True
        elif word == "--no-cache":
            found.cached = False
        elif word in _WITHOUT_EFFECT:
            continue
        elif word.startswith("-") or not word or found.directory is not None:
            return None
        else:
            found.directory = word
    return found if found.format in (*FORMATS, "html") else None


def _say(line: str) -> None:
    from opsctl.cli.screen import say_plainly
    from opsctl.render.safe import safe

    say_plainly(safe(line))


def _drop(line: str) -> None:
    """Say nothing."""
