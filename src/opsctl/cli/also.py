"""`--also FORMAT=FILE`: the same result in further formats, so that nothing is run twice for it.

A CI job wants its log, a page of the run and a file for code scanning, all of one look.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from opsctl.core.errors import OpsError


@dataclass(frozen=True)
class Also:
    """One more format and where it goes."""

    format: str
    path: Path


def parse_also(given: Sequence[str] | None, *, formats: Sequence[str]) -> tuple[Also, ...]:
    """Return what `--also` asked for; raises OpsError `bad-also` or `unknown-format` (exit 2)."""
    found = []
    for text in given or ():
        format_, equals, path = text.partition("=")
        if not equals or not path:
            raise OpsError(
                f"--also {text} was not understood",
                why="it is FORMAT=FILE",
                hint="--also markdown=report.md",
                code="bad-also",
            )
        if format_ not in formats:
            from opsctl.core.misfits import did_you_mean

            raise OpsError(
                f"The format {format_!r} is not one of this command",
                why=f"it can print {', '.join(formats)}",
                hint=did_you_mean(format_, formats) or f"--also json={path}",
                code="unknown-format",
            )
        found.append(Also(format_, Path(path)))
    return tuple(found)


def write_also(wanted: Sequence[Also], render: Callable[[str], str]) -> None:
    """Write each file; raises OpsError `output-failed` (exit 2)."""
    from opsctl.cli.screen import write_result

    for each in wanted:
        write_result(render(each.format), output=each.path)


def also_in(argv: Sequence[str], *, formats: Sequence[str]) -> tuple[Also, ...]:
    """Return what a command line asks for that may not have been understood; nothing is raised."""
    given = [word.partition("=")[2] for word in argv if word.startswith("--also=")]
    given += [argv[i + 1] for i, word in enumerate(argv[:-1]) if word == "--also"]
    try:
        return parse_also(given, formats=formats)
    except OpsError:
        # It is what the error that is about to be shown may be about.
        return ()
