"""Render as SARIF 2.1.0, which code scanning shows: GitHub's, editors', sarif-tools.

A finding that passed is left out: viewers show every result as an alert. What could not be
looked at is no result either; it is a notification of the invocation.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from opsctl import __version__
from opsctl.core.errors import OpsError
from opsctl.core.plan import Plan
from opsctl.core.report import Finding, Location, Report, Severity, Status
from opsctl.render.safe import safe
from opsctl.render.words import sort_findings

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "note"}
_MOST_RESULTS = 5_000
"""What GitHub keeps of an upload; it refuses one of more than 25,000."""
_LINK = re.compile(r"\[([^\[\]]*)\](?=\()")
_OBJECTS = "database"
"""The folder that stands for the database: GitHub refuses a result without a file's address."""


def report(report: Report, *, width: int, color: bool) -> str:
    """Return a run with a result per finding that failed, and a rule per kind of it.

    What a rule is for is taken from `rules` in the report's data, where there is such a mapping.
    """
    rest, passed = sort_findings(report)
    failed = [finding for finding in rest if finding.status is not Status.UNKNOWN]
    unknown = [finding for finding in rest if finding.status is Status.UNKNOWN]
    whys = report.data.get("rules")
    rules = _rules((*rest, *passed), whys if isinstance(whys, Mapping) else {})
    index = {rule["id"]: number for number, rule in enumerate(rules)}
    notes = [
        _notification(
            f"could not look: {_sentence(finding)}",
            level=_LEVELS[finding.severity],
            rule=_name(finding.rule),
            place=finding.location,
        )
        for finding in unknown
    ]
    notes += [_notification(note, level="note") for note in report.notes]
    if len(failed) > _MOST_RESULTS:
        more = f"{len(failed) - _MOST_RESULTS:,} more findings are left out: viewers take no more"
        notes.append(_notification(more, level="warning"))
    return _document(
        command=report.command,
        environment=report.environment,
        rules=rules,
        results=list(_results(failed[:_MOST_RESULTS], index)),
        notifications=notes,
        successful=report.status is not Status.UNKNOWN,
        exit_code=int(report.exit),
    )


def plan(plan: Plan, *, width: int, color: bool, verbose: bool) -> str:
    """Return a run without results, with a note per step: a plan has found nothing."""
    notes = [_notification(f"planned: {step.title}", level="note") for step in plan.steps]
    notes += [
        _notification(
            f"would be lost: {loss.kind} {loss.name}; kept: {loss.kept or 'nowhere'}",
            level="warning",
        )
        for loss in plan.losses
    ]
    notes += [_notification(note, level="note") for note in plan.notes]
    return _document(
        command=plan.command, environment=plan.environment, notifications=notes, exit_code=0
    )


def error(
    error: OpsError, *, command: str, environment: str | None, width: int, color: bool
) -> str:
    """Return a run that did not succeed, with the error as its notification."""
    text = f"{error.what}: {error.why}\nnext: {error.hint}"
    return _document(
        command=command,
        environment=environment,
        notifications=[_notification(text, level="error", code=error.code)],
        successful=False,
        exit_code=int(error.exit),
    )


def _results(findings: Sequence[Finding], index: Mapping[str, int]) -> Iterable[dict[str, Any]]:
    seen: dict[str, int] = {}
    for finding in findings:
        rule = _name(finding.rule)
        print_ = _fingerprint(finding)
        seen[print_] = seen.get(print_, 0) + 1
        result: dict[str, Any] = {
            "ruleId": rule,
            "ruleIndex": index[rule],
            "level": _LEVELS[finding.severity],
            "message": {"text": _text(_sentence(finding))},
            # The name ends in the version of how it is made.
            "partialFingerprints": {"opsctlFinding/v1": f"{print_}:{seen[print_]}"},
        }
        if finding.location is not None:
            result["locations"] = [_location(finding.location)]
        yield result


def _fingerprint(finding: Finding) -> str:
    """Return what stays the same from run to run; lines move and evidence counts."""
    place = finding.location
    where = "" if place is None else place.path or place.object or ""
    parts = [finding.rule, where or finding.title]
    if finding.key:
        parts.append(finding.key)
    return sha256("\0".join(parts).encode("utf-8", "backslashreplace")).hexdigest()[:32]


def _location(place: Location) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if place.path is not None:
        found["physicalLocation"] = {"artifactLocation": {"uri": _uri(place.path)}}
        region = {"startLine": place.line, "startColumn": place.column}
        if place.line:
            found["physicalLocation"]["region"] = {k: v for k, v in region.items() if v}
    if place.object:
        name = safe(place.object)
        found["logicalLocations"] = [{"fullyQualifiedName": name, "kind": "resource"}]
        if place.path is None:
            uri = f"{_OBJECTS}/{_uri(place.object)}"
            found["physicalLocation"] = {
                "artifactLocation": {"uri": uri},
                "region": {"startLine": 1},
            }
    return found


def _rules(findings: Iterable[Finding], whys: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a descriptor of each rule, in the order of the findings, the gravest level first."""
    rules: dict[str, dict[str, Any]] = {}
    for finding in findings:
        name = _name(finding.rule)
        if name in rules:
            continue
        why = whys.get(finding.rule)
        text = _text(why) if isinstance(why, str) and why else name.replace("-", " ")
        rules[name] = {
            "id": name,
            "shortDescription": {"text": name.replace("-", " ")},
            "fullDescription": {"text": text},
            "help": {"text": text},
            "defaultConfiguration": {"level": _LEVELS[finding.severity]},
        }
    return list(rules.values())


def _notification(
    message: str,
    *,
    level: str,
    rule: str | None = None,
    code: str | None = None,
    place: Location | None = None,
) -> dict[str, Any]:
    found: dict[str, Any] = {"level": level, "message": {"text": _text(message)}}
    if rule is not None:
        found["associatedRule"] = {"id": rule}
    if code is not None:
        found["descriptor"] = {"id": _name(code)}
    if place is not None:
        found["locations"] = [_location(place)]
    return found


def _document(
    *,
    command: str,
    environment: str | None,
    rules: Sequence[dict[str, Any]] = (),
    results: Sequence[dict[str, Any]] = (),
    notifications: Sequence[dict[str, Any]] = (),
    successful: bool = True,
    exit_code: int,
) -> str:
    driver = {"name": "opsctl", "version": __version__, "rules": list(rules)}
    invocation = {
        "executionSuccessful": successful,
        "exitCode": exit_code,
        "toolExecutionNotifications": list(notifications),
    }
    category = "/".join(quote(safe(part), safe="") for part in (command, environment) if part)
    run = {
        "tool": {"driver": driver},
        # Code scanning keeps one category's alerts apart from another's.
        "automationDetails": {"id": f"opsctl/{category}/"},
        "invocations": [invocation],
        "columnKind": "unicodeCodePoints",
        "results": list(results),
    }
    document = {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(document, indent=2, ensure_ascii=True, allow_nan=False) + "\n"


def _sentence(finding: Finding) -> str:
    parts = [finding.title]
    if finding.evidence:
        parts.append(finding.evidence)
    if finding.hint:
        parts.append(f"next: {finding.hint}")
    return "\n".join(parts)


def _text(text: str) -> str:
    """Return text for a message: where brackets would make a link of it, they are escaped."""
    shown = safe(text, multiline=True) or "-"
    return _LINK.sub(r"\\[\1\\]", shown)


def _name(text: str) -> str:
    return safe(text) or "-"


def _uri(path: str) -> str:
    return quote(safe(path.replace("\\", "/")), safe="/")
