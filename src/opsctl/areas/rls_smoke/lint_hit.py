"""What a lint finds: one object, why it matters there, and the SQL that mends it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from opsctl.core.report import Severity, Status

ERROR, WARNING, NOTE = Severity.ERROR, Severity.WARNING, Severity.NOTE


@dataclass(frozen=True)
class Hit:
    """One finding of one lint."""

    rule: str
    object: str
    """`schema.table`, `schema.function(arguments)`, `role anon`."""
    title: str
    severity: Severity
    evidence: str = ""
    mend: tuple[str, ...] = ()
    """Statements, without semicolons, that end it when they are run in this order."""
    advice: str = ""
    """What a person should think of before running the mend."""
    policies: tuple[int, ...] = ()
    """Policies whose text the mend or the evidence wants."""
    objects: tuple[str, ...] = ()
    """Every object, where one finding speaks of many."""
    status: Status = Status.FAILED


def joined(names: Iterable[str], *, most: int = 0) -> str:
    """Return `a, b and c`; no more than `most` of them, if that is not 0."""
    names = list(dict.fromkeys(names))
    if most and len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return (
        names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""
    )
