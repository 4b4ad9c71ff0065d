"""The colours of a finding: red is an error, yellow a warning, green passed; and unknown."""

from __future__ import annotations

from opsctl.core.report import Finding, Location, Severity, Status


def red(rule: str, title: str, *, saw: str = "", next: str, where: str = "") -> Finding:
    """Return a finding that makes the report fail."""
    return _finding(rule, title, Status.FAILED, Severity.ERROR, saw, next, where)


def yellow(rule: str, title: str, *, saw: str = "", next: str, where: str = "") -> Finding:
    """Return a finding that is worth a look and does not make the report fail."""
    return _finding(rule, title, Status.FAILED, Severity.WARNING, saw, next, where)


def note(rule: str, title: str, *, saw: str = "", next: str = "", where: str = "") -> Finding:
    """Return something to know."""
    return _finding(rule, title, Status.FAILED, Severity.NOTE, saw, next, where)


def green(rule: str, title: str, *, saw: str = "", where: str = "") -> Finding:
    """Return a check that passed."""
    return _finding(rule, title, Status.OK, Severity.ERROR, saw, "", where)


def unknown(rule: str, title: str, *, saw: str, next: str = "", where: str = "") -> Finding:
    """Return a check that could not look."""
    return _finding(rule, title, Status.UNKNOWN, Severity.ERROR, saw, next, where)


def not_judged(rule: str, title: str, *, saw: str = "", next: str = "") -> Finding:
    """Return a check that was not asked for: its limit is not in the settings."""
    return _finding(rule, title, Status.UNKNOWN, Severity.NOTE, saw, next, "")


def not_reached(rule: str, title: str, *, ends: str) -> Finding:
    """Return a check that an earlier failure kept from looking; `ends` names that one."""
    return unknown(rule, f"{title}: not reached", saw=f"the way ends at {ends}")


def gravest(findings: list[Finding]) -> str:
    """Return the colour of some findings together: red, unknown, yellow, green, not judged."""
    for colour, status, severity in (
        ("red", Status.FAILED, Severity.ERROR),
        ("unknown", Status.UNKNOWN, Severity.ERROR),
        ("yellow", Status.FAILED, Severity.WARNING),
        ("green", Status.OK, Severity.ERROR),
        ("green", Status.FAILED, Severity.NOTE),
    ):
        if any(each.status is status and each.severity is severity for each in findings):
            return colour
    return "not judged"


def several(count: int, what: str) -> str:
    """Return `One table` or `7 tables`."""
    return f"One {what}" if count == 1 else f"{count} {what}s"


def _finding(
    rule: str, title: str, status: Status, severity: Severity, saw: str, next: str, where: str
) -> Finding:
    return Finding(
        rule=rule,
        title=title,
        status=status,
        severity=severity,
        evidence=saw,
        location=Location(object=where) if where else None,
        hint=next,
    )
