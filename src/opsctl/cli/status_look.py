"""One look of `opsctl status`: every part asked at once, whoever is late unknown."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from opsctl.cli.at_once import at_once
from opsctl.cli.status_parts import Part, parts_of
from opsctl.core.errors import OpsError
from opsctl.core.report import Finding, Report, Status
from opsctl.core.times import format_moment

if TYPE_CHECKING:
    from opsctl.cli.at_once import Answer
    from opsctl.core.call import Call


def look(call: Call, *, within_s: float) -> Report:
    """Return how everything stands now."""
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


def _part(name: str, answer: Answer[Part], within_s: float) -> Part:
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
