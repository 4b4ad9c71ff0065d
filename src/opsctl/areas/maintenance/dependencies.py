"""`opsctl maintenance dependencies`: what is behind, and what is known against what is in use."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from opsctl.adapters.packages import Advisory, Outdated, advisories, outdated, package_tool
from opsctl.core.errors import OpsError
from opsctl.core.report import Finding, Location, Report, Severity, Status

if TYPE_CHECKING:
    from opsctl.core.call import Call

_GRAVE = ("critical", "high")
_WORTH = ("moderate",)


def look(call: Call) -> Report:
    """Ask the project's own package manager; what it could not find out is unknown."""
    project = call.project
    findings: list[Finding] = []
    data: dict[str, object] = {}
    try:
        tool = package_tool(project)
    except OpsError as error:
        return _report(call, [_unknown("dependencies", error)], data)
    data["tool"] = tool
    call.say(f"{tool} is asked in {project}")
    try:
        behind = outdated(project, tool)
        findings += judge_outdated(behind)
        data["outdated"] = [vars(each) for each in behind]
    except OpsError as error:
        findings.append(_unknown("outdated", error))
    try:
        known = advisories(project, tool)
        findings += judge_advisories(known, project)
        data["advisories"] = [vars(each) for each in known]
    except OpsError as error:
        findings.append(_unknown("advisory", error))
    return _report(call, findings, data)


def judge_outdated(behind: Sequence[Outdated]) -> list[Finding]:
    """Return a finding for each package; what the project's own range allows is worth a look."""
    if not behind:
        return [Finding("outdated", "Every package is the latest", Status.OK)]
    return [
        Finding(
            "outdated",
            f"{each.name} {each.current or 'not installed'}: there is {each.latest}",
            Status.FAILED,
            Severity.NOTE if each.current == each.wanted else Severity.WARNING,
            evidence=f"{each.wanted} is within the project's range"
            if each.wanted not in (each.current, "")
            else "the project's range allows nothing newer",
        )
        for each in behind
    ]


def judge_advisories(known: Sequence[Advisory], project: Path) -> list[Finding]:
    """Return a finding for each advisory; critical and high ones are errors."""
    if not known:
        return [Finding("advisory", "Nothing is known against what production gets", Status.OK)]
    return [
        Finding(
            "advisory",
            f"{each.package}: {each.title} ({each.severity})",
            Status.FAILED,
            _severity(each.severity),
            evidence=f"versions {each.versions}" if each.versions else "",
            location=Location(object=each.url) if each.url else None,
            hint=each.fix or "no mended version is known: is it reached, and can it go?",
        )
        for each in known
    ]


def _severity(word: str) -> Severity:
    if word in _GRAVE:
        return Severity.ERROR
    return Severity.WARNING if word in _WORTH else Severity.NOTE


def _unknown(rule: str, error: OpsError) -> Finding:
    return Finding(rule, error.what, Status.UNKNOWN, evidence=error.why, hint=error.hint)


def _report(call: Call, findings: Sequence[Finding], data: dict[str, object]) -> Report:
    return Report(
        command="maintenance dependencies",
        title=f"Packages of {call.project.name}",
        environment=call.name,
        findings=tuple(findings),
        notes=("Looked at: opsctl maintenance task done dependencies, and security-patches",),
        data=data,
    )
