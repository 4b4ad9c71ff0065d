"""A scan for secrets where nothing is set, started without Typer.

A hook runs it at every commit, and a small scan takes less than Typer takes to import. It does
what the command does; of whatever is out of the ordinary it keeps its hands off.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from opsctl.render import FORMATS

if TYPE_CHECKING:
    from opsctl.core.call import Call

_VALUES = {
    "--since": "since",
    "--bundle": "bundle",
    "--baseline": "baseline",
    "--format": "format",
    "--output": "output",
}
_FLAGS = {
    "--staged": "staged",
    "--history": "history",
    "--stdin": "stdin",
    "--ignored": "ignored",
    "--quiet": "quiet",
    "-q": "quiet",
}
_WITHOUT_EFFECT = frozenset({"--no-input"})


@dataclass
class Wanted:
    """The command line, understood."""

    paths: list[str] = field(default_factory=list)
    staged: bool = False
    since: str = ""
    history: bool = False
    bundle: str = ""
    stdin: bool = False
    ignored: bool = False
    baseline: str = ""
    format: str = FORMATS[0]
    output: str = ""
    quiet: bool = False


def attempt(argv: list[str]) -> int | None:
    """Run `secrets-scan` and return its exit code, or None where it is not for here."""
    wanted = understood(argv)
    if wanted is None or any(name.startswith("OPSCTL_") for name in os.environ):
        return None
    from pathlib import Path

    from opsctl.core.settings_file import settings_given

    if settings_given(config=None, start=Path.cwd(), environ=os.environ):
        return None
    from opsctl.areas.secrets_scan.facts import Asked
    from opsctl.areas.secrets_scan.work import scan_for_secrets
    from opsctl.cli.session import show
    from opsctl.core.start import Start

    asked = Asked(
        paths=tuple(map(Path, wanted.paths)),
        staged=wanted.staged,
        since=wanted.since,
        history=wanted.history,
        bundle=Path(wanted.bundle) if wanted.bundle else None,
        stdin=wanted.stdin,
        ignored=wanted.ignored,
    )
    start = Start(say=_drop if wanted.quiet else _say, configured=False, load=_nothing)
    report = scan_for_secrets(
        start, asked, baseline=Path(wanted.baseline) if wanted.baseline else None, live=False
    )
    return show(report, wanted.format, output=Path(wanted.output) if wanted.output else None)


def understood(argv: list[str]) -> Wanted | None:
    """Return what a command line asks for, or None where it holds anything unusual."""
    found = Wanted()
    rest = argv[1:]
    if rest[:1] == ["scan"]:
        rest = rest[1:]
    elif rest[:1] == ["baseline"]:
        return None
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
        elif word in _FLAGS:
            setattr(found, _FLAGS[word], True)
        elif word in _WITHOUT_EFFECT:
            continue
        elif word.startswith("-") or not word:
            return None
        else:
            found.paths.append(word)
    return found if found.format in FORMATS else None


def _nothing() -> Call:
    raise LookupError("there are no settings to load")


def _say(line: str) -> None:
    from opsctl.cli.screen import say_plainly
    from opsctl.render.safe import safe

    say_plainly(safe(line))


def _drop(line: str) -> None:
    """Say nothing."""
