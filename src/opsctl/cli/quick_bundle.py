"""A bundle check on kept settings, started without Typer and pydantic.

With remembered sizes it takes less than they take to import. It does what the command does; of
whatever is out of the ordinary it keeps its hands off.
"""

from __future__ import annotations

from dataclasses import dataclass

from opsctl.render import FORMATS

_VALUES = {
    "--env": "env",
    "--config": "config",
    "--format": "format",
    "--output": "output",
    "--base": "base",
    "--html": "html",
}
_QUIET = frozenset({"--quiet", "-q"})
_WITHOUT_EFFECT = frozenset({"--no-input"})


@dataclass
class Wanted:
    """The command line, understood."""

    directory: str | None = None
    env: str | None = None
    config: str | None = None
    format: str = FORMATS[0]
    output: str | None = None
    base: str = ""
    html: str | None = None
    cached: bool = True
    quiet: bool = False


def attempt(argv: list[str]) -> int | None:
    """Run `bundle-check` and return its exit code, or None where it is not for here."""
    wanted = understood(argv)
    if wanted is None:
        return None
    from opsctl.cli.kept_settings import recall

    kept = recall(config=wanted.config, env=wanted.env)
    if kept is None:
        return None
    from pathlib import Path
    from types import SimpleNamespace

    from opsctl.areas.bundle_check.work import check_bundles
    from opsctl.cli.session import show
    from opsctl.core.call import Call

    environments = {} if kept.environment is None else {kept.environment: kept.settings}
    settings: object = SimpleNamespace(
        bundle=kept.bundle, secrets_scan=kept.secrets_scan, environments=environments
    )
    call = Call(
        settings=settings,  # type: ignore[arg-type] # read alike, and valid when it was kept
        root=Path(kept.root),
        environment_name=kept.environment,
        say=_drop if wanted.quiet else _say,
    )
    report = check_bundles(
        call,
        directory=Path(wanted.directory) if wanted.directory is not None else None,
        base=wanted.base,
        build_first=False,
        html=Path(wanted.html) if wanted.html is not None else None,
        cached=wanted.cached,
    )
    return show(report, wanted.format, output=Path(wanted.output) if wanted.output else None)


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
