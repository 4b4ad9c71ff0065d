"""Render as one JSON document, for machines; its shape is the contract of the command line."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any

from opsctl.core.errors import OpsError
from opsctl.core.report import Finding, Report, Status
from opsctl.render.words import error_status

if TYPE_CHECKING:
    from opsctl.core.plan import Plan

_SCHEMA_VERSION = 1
_ERROR_PARTS = {"code", "what", "why", "hint"}
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_COMMAND_WORD = re.compile(r"##(?=[\w.-]*\[)")


def report(report: Report, *, width: int, color: bool) -> str:
    """Return the report. An `error` in its data, of four parts, is the document's error."""
    data = dict(report.data)
    error = None
    if isinstance(data.get("error"), Mapping) and set(data["error"]) == _ERROR_PARTS:
        error = data.pop("error")
    return _document(
        command=report.command,
        environment=report.environment,
        status=report.status,
        exit_code=int(report.exit),
        data=data,
        findings=[_finding(finding) for finding in report.findings],
        error=error,
    )


def plan(plan: Plan, *, width: int, color: bool, verbose: bool) -> str:
    """Return the plan: whole, with its hash."""
    from opsctl.core.plan import plan_to_json

    return _document(
        command=plan.command,
        environment=plan.environment,
        status=Status.OK,
        exit_code=0,
        data={"plan_hash": plan.hash, "plan": plan_to_json(plan)},
    )


def error(
    error: OpsError, *, command: str, environment: str | None, width: int, color: bool
) -> str:
    """Return the error."""
    return _document(
        command=command,
        environment=environment,
        status=error_status(error),
        exit_code=int(error.exit),
        error={"code": error.code, "what": error.what, "why": error.why, "hint": error.hint},
    )


def _document(
    *,
    command: str,
    environment: str | None,
    status: Status,
    exit_code: int,
    data: Mapping[str, Any] | None = None,
    findings: list[dict[str, Any]] | None = None,
    error: Any = None,
) -> str:
    document = {
        "opsctl": _SCHEMA_VERSION,
        "command": command,
        "environment": environment,
        "status": status,
        "exit_code": exit_code,
        "data": data or {},
        "findings": findings or [],
        "error": error,
    }
    text = json.dumps(_plain(document), indent=2, ensure_ascii=True, allow_nan=False)
    # Both stand only inside strings, where JSON lets any sign be written by its number.
    text = text.replace("\x7f", "\\u007f")
    return _COMMAND_WORD.sub(r"#\\u0023", text) + "\n"


def _finding(finding: Finding) -> dict[str, Any]:
    place = finding.location
    return {
        "rule": finding.rule,
        "title": finding.title,
        "status": finding.status,
        "severity": finding.severity,
        "evidence": finding.evidence,
        "location": None
        if place is None
        else {
            "path": place.path,
            "line": place.line,
            "column": place.column,
            "object": place.object,
        },
        "hint": finding.hint,
        "took_ms": finding.took_ms,
    }


def _plain(value: Any) -> Any:
    """Return `value` as what JSON can say; not-a-number and the infinities are null."""
    if isinstance(value, Enum):
        return _plain(value.value)
    if isinstance(value, str):
        # Strict parsers refuse a lone surrogate even when it is escaped.
        return _LONE_SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", value)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {_plain(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    return _plain(str(value))
