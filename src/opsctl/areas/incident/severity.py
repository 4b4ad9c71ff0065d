"""How grave it is, by the runbook's 'Severity Levels', and who must be on it by when."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opsctl.core.settings import Contact, Incidents

MEANINGS = {
    "P0": "critical: the service is down, data is lost, or somebody broke in",
    "P1": "high: a major feature is broken, or it is much slower than usual",
    "P2": "medium: a minor feature does not work, or it is slower than usual",
    "P3": "low: cosmetic, or a minor bug",
}


@dataclass(frozen=True)
class Question:
    """One question, and what a yes means."""

    name: str
    """Its option: --NAME and --no-NAME."""
    text: str
    severity: str


QUESTIONS = (
    Question("down", "Is the service down for everybody?", "P0"),
    Question("data-lost", "Is data lost or wrong?", "P0"),
    Question("breach", "Has somebody got in, or did a secret get out?", "P0"),
    Question("major", "Is a major feature broken, or is it much slower than usual?", "P1"),
    Question("minor", "Does a minor feature not work, or is it somewhat slower?", "P2"),
)


@dataclass(frozen=True)
class Assessment:
    """What the answers add up to."""

    severity: str
    """Empty where an open question could still make it graver."""
    because: str
    open: tuple[Question, ...]
    breach: bool


def assess(answers: Mapping[str, bool | None]) -> Assessment:
    """Return the severity: that of the gravest question with a yes."""
    breach = answers.get("breach") is True
    unasked: list[Question] = []
    for question in QUESTIONS:
        answer = answers.get(question.name)
        if answer:
            graver = [each for each in unasked if each.severity < question.severity]
            if graver:
                return Assessment("", "", tuple(graver), breach)
            return Assessment(question.severity, question.text, (), breach)
        if answer is None:
            unasked.append(question)
    if unasked:
        return Assessment("", "", tuple(unasked), breach)
    return Assessment("P3", "none of the questions had a yes", (), breach)


def ask_all(
    answers: Mapping[str, bool | None], ask: Callable[[str], str]
) -> dict[str, bool | None]:
    """Ask what is open, the gravest first, until it is clear."""
    known = dict(answers)
    while True:
        found = assess(known)
        if not found.open:
            return known
        question = found.open[0]
        said = ask(f"{question.text} [y/N] ").strip().lower()
        known[question.name] = said in ("y", "yes")


def who_responds(severity: str, rules: Incidents, *, security: bool) -> list[Contact]:
    """Return who must be on it: on-call, beyond that for P0 and for security."""
    roles = ["on-call"]
    if security:
        roles.append("security")
    if severity == "P0":
        roles.append("escalation")
    if severity in ("P0", "P1"):
        roles.append("communication")
    return [each for role in roles for each in rules.contacts if each.role == role]
