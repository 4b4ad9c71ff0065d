"""`opsctl doctor`: is everything here that opsctl needs, and what is to be done where it is not?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from opsctl.core.errors import OpsError

if TYPE_CHECKING:
    from opsctl.cli.at_once import Answer
    from opsctl.core.call import Call
    from opsctl.core.report import Finding, Report
    from opsctl.core.start import Start

app = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True)


@app.command()
def check(
    call: Start,
    within: Annotated[
        float,
        typer.Option(metavar="SECONDS", min=1, max=600, help="Longest that it may take."),
    ] = 20.0,
    offline: Annotated[
        bool, typer.Option("--offline", help="Look at this machine alone; ask nobody.")
    ] = False,
) -> Report:
    """Look at this machine, the settings, the credentials and the ways to the platforms.

    Everything is looked at at once. Each finding that is not well says what to do about it.

    Exit 0 all well, 1 something is wrong, 3 something could not be looked at.
    """
    return examine(call, within_s=within, offline=offline)


def examine(start: Start, *, within_s: float, offline: bool) -> Report:
    """Return what was found; whoever is late is unknown."""
    from dataclasses import replace
    from pathlib import Path

    from opsctl.cli.at_once import at_once
    from opsctl.cli.doctor_findings import Patient
    from opsctl.cli.doctor_machine import machine_looks
    from opsctl.cli.doctor_records import record_looks
    from opsctl.cli.doctor_world import world_looks
    from opsctl.core.report import Report, Status

    findings, call = _settings(start)
    if call is not None:
        call = replace(call, patient=False)
    patient = Patient(call.root if call is not None else Path.cwd(), call)
    looks = machine_looks(patient) | record_looks(patient)
    if not offline:
        looks |= world_looks(patient)
    for name, answer in at_once(looks, within_s=within_s).items():
        findings += _judged(name, answer, within_s)
    open_ones = [each for each in findings if each.status is not Status.OK]
    title = f"{len(findings)} checks: " + (f"{len(open_ones)} to look at" if open_ones else "well")
    return Report(
        command="doctor check",
        title=title,
        environment=patient.chosen.name if patient.chosen is not None else None,
        findings=tuple(findings),
        data={
            "checks": [
                {
                    "rule": each.rule,
                    "status": each.status.value,
                    "severity": each.severity.value,
                    "title": each.title,
                    "evidence": each.evidence,
                    "remedy": each.hint,
                }
                for each in findings
            ]
        },
    )


def _settings(start: Start) -> tuple[list[Finding], Call | None]:
    """Load the settings; a file that cannot be read is a finding, and the rest is looked at."""
    from opsctl.cli.doctor_findings import doubtful, well, wrong

    try:
        call = start.load()
    except OpsError as error:
        if error.code == "unknown-environment":
            raise
        evidence = f"{error.what}: {error.why}"
        return [wrong("settings", "The settings are not valid", evidence=evidence,
                      remedy=error.hint)], None  # fmt: skip
    if not call.settings.environments:
        return [
            doubtful(
                "settings",
                "There are no settings here",
                evidence=f"no opsctl.yaml in {call.root} or above",
                remedy="opsctl init; or try things in: opsctl sandbox up",
            )
        ], call
    findings = [well("settings", "The settings are valid", str(call.root))]
    names = ", ".join(call.settings.environments)
    if call.environment_name is None:
        findings.append(
            doubtful(
                "environment",
                "No environment is chosen, so none was looked at",
                evidence=f"there are {names}",
                remedy="opsctl doctor --env NAME, or set default_environment",
            )
        )
    else:
        findings.append(
            well("environment", f"The environment is {call.name}", call.environment_origin)
        )
    return findings, call


def _judged(name: str, answer: Answer[tuple[Finding, ...]], within_s: float) -> tuple[Finding, ...]:
    from opsctl.cli.doctor_findings import of_error, unseen

    if answer.value is not None:
        return answer.value
    if isinstance(answer.error, OpsError):
        return (of_error(name, f"{name} could not be looked at", answer.error),)
    if answer.error is not None:
        # The message of an unknown exception may quote a secret; its type may not.
        return (
            unseen(
                name,
                f"{name} could not be looked at",
                evidence=type(answer.error).__name__,
                remedy="report it, with what opsctl --version says",
            ),
        )
    return (
        unseen(
            name,
            f"{name} was not looked at in time",
            evidence=f"no answer within {within_s:g} s",
            remedy=f"opsctl doctor --within {within_s * 3:g}",
        ),
    )
