"""`opsctl status`: how does an environment stand, on one screen?"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from opsctl.core.errors import Exit, OpsError

if TYPE_CHECKING:
    from opsctl.cli.at_once import Answer
    from opsctl.cli.status_parts import Part
    from opsctl.core.call import Call
    from opsctl.core.report import Report

app = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True)


@app.command()
def show(
    call: Call,
    within: Annotated[
        float,
        typer.Option(metavar="SECONDS", min=0.1, max=300, help="Longest that a part may take."),
    ] = 5.0,
    watch: Annotated[
        bool, typer.Option("--watch", help="Look again and again, until Ctrl-C.")
    ] = False,
    every: Annotated[
        str, typer.Option(metavar="TIME", help="How often, with --watch: 10s, 1m.")
    ] = "10s",
    for_: Annotated[
        str | None, typer.Option("--for", metavar="TIME", help="Watch for so long: 1h.")
    ] = None,
) -> Report:
    """Show health, what is live, migrations, backups, runs, incidents and maintenance.

    All parts are asked at once; one that does not answer in time is marked unknown. Nothing is
    changed and nothing is kept.

    Exit 0 all well, 1 something is wrong, 3 a part could not be looked at.
    """
    if watch:
        return look_again(call, within_s=within, every=every, for_=for_)
    return look(call, within_s=within)


def look(call: Call, *, within_s: float) -> Report:
    """Return how everything stands now."""
    from dataclasses import replace

    from opsctl.cli.at_once import at_once
    from opsctl.cli.status_parts import parts_of
    from opsctl.core.report import Report, Status
    from opsctl.core.times import format_moment

    name = call.name
    at = time.time()
    began = time.monotonic()
    answers = at_once(parts_of(replace(call, patient=False)), within_s=within_s)
    took_ms = (time.monotonic() - began) * 1000
    parts = {each: _part(each, answer, within_s) for each, answer in answers.items()}
    findings = tuple(finding for part in parts.values() for finding in part.findings)
    unknown = [each for each, answer in answers.items() if answer.value is None]
    open_ones = sum(finding.status is not Status.OK for finding in findings)
    said = f"{open_ones} to look at" if open_ones else "all is well"
    return Report(
        command="status show",
        title=f"{name} at {format_moment(at)}: {said}",
        environment=name,
        findings=findings,
        links={key: to for part in parts.values() for key, to in part.links.items()},
        data={
            "at": at,
            "took_ms": round(took_ms, 1),
            "unknown": unknown,
            "part_ms": {each: round(answer.took_ms, 1) for each, answer in answers.items()},
            "parts": {each: part.data for each, part in parts.items()},
        },
    )


def look_again(call: Call, *, within_s: float, every: str, for_: str | None) -> Report:
    """Show how everything stands, again and again; return how it stood last.

    Ctrl-C ends it with exit code 130. Raises OpsError `bad-time` (exit 2).
    """
    from contextlib import nullcontext
    from dataclasses import replace

    from opsctl.core.times import parse_duration

    every_s = parse_duration(every, "--every")
    if every_s < 1:
        raise OpsError(
            f"--every {every} is too often",
            why="each look asks the platforms, and they count requests",
            hint="opsctl status --watch --every 10s",
            code="bad-time",
        )
    until = time.monotonic() + parse_duration(for_, "--for") if for_ is not None else None
    report = None
    with call.screen() if call.screen is not None else nullcontext(None) as screen:
        try:
            while True:
                due = time.monotonic() + every_s
                report = look(call, within_s=min(within_s, every_s))
                if screen is not None:
                    screen(report)
                else:
                    call.say(f"{report.status.value}: {report.title}")
                if until is not None and due > until:
                    return report
                time.sleep(max(due - time.monotonic(), 0.0))
        except KeyboardInterrupt:
            if report is None:
                raise
            return replace(report, given_exit=Exit.INTERRUPTED)


def _part(name: str, answer: Answer[Part], within_s: float) -> Part:
    from opsctl.cli.status_parts import Part
    from opsctl.core.report import Finding, Status

    if answer.value is not None:
        return answer.value
    title = f"{name.capitalize()}: not known"
    if isinstance(answer.error, OpsError):
        error = answer.error
        finding = Finding(
            name, title, Status.UNKNOWN, evidence=f"{error.what}: {error.why}", hint=error.hint
        )
    elif answer.error is not None:
        # The message of an unknown exception may quote a secret; its type may not.
        finding = Finding(name, title, Status.UNKNOWN, evidence=type(answer.error).__name__,
                          hint="opsctl doctor")  # fmt: skip
    else:
        finding = Finding(name, title, Status.UNKNOWN, evidence=f"no answer within {within_s:g} s",
                          hint=f"opsctl status --within {within_s * 3:g}")  # fmt: skip
    return Part((finding,), {})
