"""A Report is what a command found or did; every renderer prints it and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from opsctl.core.errors import Exit


class Status(StrEnum):
    """How a check, a step or a whole command ended."""

    OK = "ok"
    FAILED = "failed"
    UNKNOWN = "unknown"
    REFUSED = "refused"
    PARTIAL = "partial"


class Severity(StrEnum):
    """How much a finding matters: only an error makes a report fail."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True)
class Location:
    """Where a finding lies: a file with a line, or an object of the world by its name."""

    path: str | None = None
    line: int | None = None
    column: int | None = None
    object: str | None = None
    """A URL, a table, a deployment."""

    def __str__(self) -> str:
        if self.path is None:
            return self.object or ""
        return ":".join(str(part) for part in (self.path, self.line, self.column) if part)


@dataclass(frozen=True)
class Finding:
    """One judgement. `status` ok is a check that passed; unknown is one that could not look."""

    rule: str
    """Stable, kebab-case, for machines: `health-endpoint`."""
    title: str
    status: Status
    severity: Severity = Severity.ERROR
    evidence: str = ""
    location: Location | None = None
    hint: str = ""
    took_ms: float | None = None
    key: str = ""
    """What tells it from others of its rule in its file, the same from run to run: a hash."""


@dataclass(frozen=True)
class Table:
    """Rows to be shown under a heading; cells are text from anywhere, never markup."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    folded: bool = False
    """Detail that is folded away where a format can do that."""


@dataclass(frozen=True)
class Metric:
    """One number of what was found, for other systems: a gauge."""

    name: str
    """As in OpenMetrics, with its unit last: `opsctl_health_duration_seconds`."""
    help: str
    value: float
    labels: tuple[tuple[str, str], ...] = ()
    warn_above: float | None = None
    """What is well up to here, in the metric's own unit; it does not decide the status."""


@dataclass(frozen=True)
class Report:
    """The result of one command.

    `status` follows from the findings unless it is given: failed if an error was found, else
    unknown if something could not be looked at, else ok. `data` is the JSON of the result;
    `tables` and `notes` are the same for a person.
    """

    command: str
    title: str
    environment: str | None = None
    findings: tuple[Finding, ...] = ()
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)
    metrics: tuple[Metric, ...] = ()
    """Numbers for the formats of monitoring systems; those of one name stand together."""
    text: str | None = None
    """Shown as it is by the text format, in the place of everything else."""
    own: Mapping[str, Callable[[], str]] = field(default_factory=dict)
    """Formats that the room writes itself, by name, each made when it is asked for: `html`.
    What comes from outside is escaped there. The row of the room in the table names them, too."""
    links: Mapping[str, str] = field(default_factory=dict)
    """Names that stand in the report -> their http address: where a terminal follows links."""
    given_status: Status | None = None
    given_exit: Exit | None = None

    @property
    def status(self) -> Status:
        """The status given, or the one that the findings add up to."""
        if self.given_status is not None:
            return self.given_status
        errors = [finding for finding in self.findings if finding.severity is Severity.ERROR]
        for status in (Status.FAILED, Status.UNKNOWN):
            if any(finding.status is status for finding in errors):
                return status
        return Status.OK

    @property
    def exit(self) -> Exit:
        """The exit code that follows from the status, unless it was given."""
        if self.given_exit is not None:
            return self.given_exit
        return {
            Status.OK: Exit.OK,
            Status.FAILED: Exit.FAILED,
            Status.UNKNOWN: Exit.UNKNOWN,
            Status.REFUSED: Exit.REFUSED,
            Status.PARTIAL: Exit.PARTIAL,
        }[self.status]
