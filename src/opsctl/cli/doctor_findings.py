"""How `opsctl doctor` says what it saw: every finding that is not well has a remedy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from opsctl.core.call import Call
from opsctl.core.errors import Exit, OpsError
from opsctl.core.report import Finding, Severity, Status


@dataclass(frozen=True)
class Patient:
    """What is looked at: the project, with its settings where they could be read."""

    root: Path
    call: Call | None

    @property
    def project(self) -> Path:
        """The application's directory; the root where no environment is chosen."""
        if self.call is None or self.call.environment_name is None:
            return self.root
        return self.call.project

    @property
    def chosen(self) -> Call | None:
        """The call, if it has an environment."""
        return self.call if self.call is not None and self.call.environment_name else None


Look = Callable[[], tuple[Finding, ...]]


def well(rule: str, title: str, evidence: str = "") -> Finding:
    """Return a check that passed."""
    return Finding(rule=rule, title=title, status=Status.OK, evidence=evidence)


def unneeded(rule: str, title: str, why: str) -> Finding:
    """Return a check that has nothing to look at here; it does not count."""
    return Finding(
        rule=rule, title=title, status=Status.OK, severity=Severity.NOTE, evidence=why
    )  # fmt: skip


def wrong(rule: str, title: str, *, evidence: str, remedy: str) -> Finding:
    """Return a fault: exit 1."""
    return Finding(rule=rule, title=title, status=Status.FAILED, evidence=evidence, hint=remedy)


def doubtful(rule: str, title: str, *, evidence: str, remedy: str) -> Finding:
    """Return what is worth a word and does not fail."""
    return Finding(
        rule=rule,
        title=title,
        status=Status.FAILED,
        severity=Severity.WARNING,
        evidence=evidence,
        hint=remedy,
    )


def unseen(rule: str, title: str, *, evidence: str, remedy: str) -> Finding:
    """Return what could not be looked at: exit 3, unless something is wrong."""
    return Finding(rule=rule, title=title, status=Status.UNKNOWN, evidence=evidence, hint=remedy)


def untold(rule: str, title: str, *, evidence: str, remedy: str) -> Finding:
    """Return what nobody tells who only reads: unknown, and no reason to fail."""
    return Finding(
        rule=rule,
        title=title,
        status=Status.UNKNOWN,
        severity=Severity.NOTE,
        evidence=evidence,
        hint=remedy,
    )


def of_error(rule: str, title: str, error: OpsError) -> Finding:
    """Return an error as a finding: what cannot be looked at is unknown, the rest is wrong."""
    status = Status.UNKNOWN if error.exit is Exit.UNKNOWN else Status.FAILED
    return Finding(
        rule=rule,
        title=title,
        status=status,
        evidence=f"{error.what}: {error.why}",
        hint=error.hint,
    )
