"""What was given on the command line, judged: a severity, a text, a time that is not ahead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from opsctl.areas.incident import severity
from opsctl.core.errors import OpsError
from opsctl.core.times import format_moment

if TYPE_CHECKING:
    from opsctl.areas.incident.facts import Incident
    from opsctl.core.call import Call

_LONGEST_TITLE = 200


def severity_of(
    call: Call, given: str | None, answers: Mapping[str, bool | None], *, security: bool
) -> tuple[str, bool]:
    """Return the severity that was given, or that the answers give, and whether it is a breach."""
    if given is not None:
        return known_severity(given), answers.get("breach") is True
    if security:
        answers = {**answers, "breach": True}
    if call.ask is not None:
        answers = severity.ask_all(answers, call.ask)
    found = severity.assess(answers)
    if found.severity:
        return found.severity, found.breach
    options = ", ".join(f"--{each.name} or --no-{each.name}" for each in found.open)
    raise OpsError(
        "It is not clear how grave it is",
        why=f"not answered: {' '.join(each.text for each in found.open)}",
        hint=f"give --severity P0 to P3, or answer with {options}",
        code="severity-unclear",
    )


def known_severity(word: str) -> str:
    """Return a severity as it is written; raises OpsError `no-such-severity`."""
    if word.upper() in severity.MEANINGS:
        return word.upper()
    raise OpsError(
        f"The severity {word!r} is not known",
        why="; ".join(f"{name} {meaning}" for name, meaning in severity.MEANINGS.items()),
        hint="give --severity P0, P1, P2 or P3, or answer: opsctl incident assess",
        code="no-such-severity",
    )


def still_open(incident: Incident) -> Incident:
    """Return the incident; raises OpsError `incident-over` where it is resolved."""
    if incident.open:
        return incident
    raise OpsError(
        f"The incident {incident.id} is over",
        why=f"it was resolved {format_moment(incident.resolved_at or 0)}",
        hint="opsctl incident open --title 'What is wrong now'",
        code="incident-over",
    )


def needed(text: str, option: str, why: str) -> str:
    """Return a text without space around it; raises OpsError `nothing-said` where it is empty."""
    said = text.strip()
    if said:
        return said
    raise OpsError(
        f"{option} is empty",
        why=why,
        hint="opsctl incident --help",
        code="nothing-said",
    )


def title_of(text: str) -> str:
    """Return a title in one line; raises OpsError `nothing-said`, `title-too-long`."""
    said = " ".join(needed(text, "--title", "a title tells people what is wrong").split())
    if len(said) <= _LONGEST_TITLE:
        return said
    raise OpsError(
        "The title is too long",
        why=f"it has {len(said)} signs; a status page takes {_LONGEST_TITLE}",
        hint="say what is wrong in a line, and the rest with --summary",
        code="title-too-long",
    )


def not_ahead(at: float | None, option: str, now: float) -> float | None:
    """Return a moment; raises OpsError `not-a-time` where it lies ahead."""
    if at is None or at <= now + 60:
        return at
    raise OpsError(
        f"{option} lies ahead",
        why=f"it is {format_moment(at)}",
        hint=f"write {option} 10m for ten minutes ago",
        code="not-a-time",
    )
