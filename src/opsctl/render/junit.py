"""Render as JUnit XML, which CI servers show as a list of tests."""

from __future__ import annotations

import math
from collections.abc import Iterable
from html import escape

from opsctl.core.errors import OpsError
from opsctl.core.plan import Plan
from opsctl.core.report import Finding, Report, Severity, Status
from opsctl.render.safe import safe
from opsctl.render.words import error_status, word


def report(report: Report, *, width: int, color: bool) -> str:
    """Return a suite with a case per finding.

    What fails the command fails here: an error that failed is a failure, one that could not
    look is an error. Warnings and notes pass, and say so in their output.
    """
    cases = [_case(report.command, finding) for finding in report.findings]
    if not report.findings or (report.status is not Status.OK and not any(map(_tag, cases))):
        cases.append(_whole(report))
    return _document(
        name=f"opsctl {report.command}",
        properties=[
            ("title", report.title),
            ("environment", report.environment or ""),
            ("status", str(report.status)),
            ("exit_code", str(int(report.exit))),
        ],
        cases=cases,
        said=report.notes,
        took_ms=sum(_finite(finding.took_ms) for finding in report.findings),
    )


def plan(plan: Plan, *, width: int, color: bool, verbose: bool) -> str:
    """Return a suite with a case per step, each skipped: a plan changes nothing."""
    cases = [
        _element(
            f"opsctl.{plan.command}",
            step.title,
            "skipped",
            message="planned, not carried out",
            body="",
            said="\n".join(step.detail),
        )
        for step in plan.steps
    ]
    losses = tuple(
        f"would be lost: {loss.kind} {loss.name}; kept: {loss.kept or 'nowhere'}"
        for loss in plan.losses
    )
    return _document(
        name=f"opsctl {plan.command}",
        properties=[
            ("title", plan.title),
            ("environment", plan.environment),
            ("plan_hash", plan.hash),
        ],
        cases=cases,
        said=(*losses, *plan.notes),
    )


def error(
    error: OpsError, *, command: str, environment: str | None, width: int, color: bool
) -> str:
    """Return a suite with one case, which is the error."""
    case = _element(
        f"opsctl.{command}",
        error.what,
        "error",
        message=error.why,
        body=f"{error.why}\nnext: {error.hint}",
        kind=error.code,
    )
    return _document(
        name=f"opsctl {command}".rstrip(),
        properties=[
            ("environment", environment or ""),
            ("status", str(error_status(error))),
            ("exit_code", str(int(error.exit))),
        ],
        cases=[case],
    )


def _case(command: str, finding: Finding) -> str:
    place = "" if finding.location is None else str(finding.location)
    lines = [
        finding.evidence,
        f"where: {place}" if place else "",
        f"next: {finding.hint}" if finding.hint else "",
    ]
    text = "\n".join(line for line in lines if line)
    tag = ""
    if finding.severity is Severity.ERROR and finding.status is not Status.OK:
        tag = "error" if finding.status is Status.UNKNOWN else "failure"
    said = "" if tag or not text else text
    if finding.status is not Status.OK and not tag:
        said = f"{word(finding)}: {text}"
    return _element(
        f"opsctl.{command}.{finding.rule}",
        finding.title,
        tag,
        message=finding.evidence or str(finding.status),
        body=text,
        kind=finding.rule,
        said=said,
        took_ms=finding.took_ms,
    )


def _whole(report: Report) -> str:
    """Return a case for the command itself, where no finding says how it ended."""
    tag = "" if report.status is Status.OK else "failure"
    if report.status is Status.UNKNOWN:
        tag = "error"
    return _element(
        f"opsctl.{report.command}",
        report.title,
        tag,
        message=str(report.status),
        body="\n".join(report.notes),
        kind=str(report.status),
    )


def _element(
    classname: str,
    name: str,
    tag: str,
    *,
    message: str,
    body: str,
    kind: str = "",
    said: str = "",
    took_ms: float | None = None,
) -> str:
    head = f"<testcase classname={_quoted(classname)} name={_quoted(name)}"
    head += f' time="{_finite(took_ms) / 1000:.3f}"'
    inner = ""
    if tag:
        inner += f"<{tag} message={_quoted(message)}"
        inner += f" type={_quoted(kind)}" if kind else ""
        inner += f">{_body(body)}</{tag}>" if body else "/>"
    if said:
        inner += f"<system-out>{_body(said)}</system-out>"
    return f"{head}>{inner}</testcase>" if inner else f"{head}/>"


def _tag(case: str) -> str:
    """Return what a case carries: `failure`, `error` or nothing."""
    return next((tag for tag in ("failure", "error") if f"><{tag} message=" in case), "")


def _document(
    *,
    name: str,
    properties: Iterable[tuple[str, str]],
    cases: Iterable[str],
    said: Iterable[str] = (),
    took_ms: float = 0.0,
) -> str:
    cases = list(cases)
    tags = [_tag(case) for case in cases]
    counts = (
        f'tests="{len(cases)}" failures="{tags.count("failure")}" errors="{tags.count("error")}" '
        f'skipped="{sum("><skipped message=" in case for case in cases)}" '
        f'time="{took_ms / 1000:.3f}"'
    )
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f"<testsuites {counts}>",
        f"  <testsuite name={_quoted(name)} {counts}>",
        "    <properties>",
    ]
    lines += [
        f"      <property name={_quoted(key)} value={_quoted(value)}/>"
        for key, value in properties
        if value
    ]
    lines += ["    </properties>", *(f"    {case}" for case in cases)]
    text = "\n".join(said)
    if text:
        lines.append(f"    <system-out>{_body(text)}</system-out>")
    return "\n".join([*lines, "  </testsuite>", "</testsuites>"]) + "\n"


def _quoted(text: str) -> str:
    return f'"{escape(safe(text), quote=True)}"'


def _body(text: str) -> str:
    return escape(safe(text, multiline=True), quote=True)


def _finite(took_ms: float | None) -> float:
    return took_ms if took_ms is not None and math.isfinite(took_ms) else 0.0
