"""Which reviews are due: each so many days after it was done last. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opsctl.adapters.maintenance_events import MaintenanceEvent
from opsctl.core.report import Finding, Severity, Status
from opsctl.core.times import format_moment

if TYPE_CHECKING:
    from opsctl.core.maintenance import Review

_DAY_S = 86400.0
_SOON = 0.1
"""It is said that a review is due soon when so much of its time is left."""


@dataclass(frozen=True)
class ReviewDone:
    """When a review was done, by whom, and what shows it."""

    name: str
    at: float
    by: str
    evidence: tuple[str, ...]
    note: str = ""


def reviews_done(events: Sequence[MaintenanceEvent]) -> list[ReviewDone]:
    """Return what was done, the latest first: by when it was done, not by when that was said."""
    found = [
        ReviewDone(
            name=event.about,
            at=float(event.data["done_at"]),
            by=event.actor,
            evidence=tuple(str(each) for each in event.data["evidence"]),
            note=str(event.data.get("note", "")),
        )
        for event in events
        if event.kind == "review"
    ]
    return sorted(found, key=lambda each: each.at, reverse=True)


def last_of(done: Sequence[ReviewDone]) -> Mapping[str, ReviewDone]:
    """Return by name when each review was done last."""
    found: dict[str, ReviewDone] = {}
    for each in done:
        found.setdefault(each.name, each)
    return found


def due_at(review: Review, last: ReviewDone | None) -> float | None:
    """Return when a review is due; None where it was never done: then it is due now."""
    return None if last is None else last.at + review.every_days * _DAY_S


def judge_reviews(
    reviews: Sequence[Review], done: Sequence[ReviewDone], *, now: float
) -> list[Finding]:
    """Return a finding for each review; an overdue one is an error."""
    last = last_of(done)
    return [_judge(review, last.get(review.name), now) for review in reviews]


def _judge(review: Review, last: ReviewDone | None, now: float) -> Finding:
    due = due_at(review, last)
    hint = f"{review.about} Then: opsctl maintenance review done {review.name} --evidence WHAT"
    if last is None or due is None:
        return Finding("review", f"{review.name} was never done", Status.FAILED, hint=hint)
    evidence = f"last {format_moment(last.at)} by {last.by}"
    if now >= due:
        title = f"{review.name} is overdue by {(now - due) / _DAY_S:.0f} days"
        return Finding("review", title, Status.FAILED, evidence=evidence, hint=hint)
    title = f"{review.name} is due {format_moment(due)}"
    if due - now < review.every_days * _DAY_S * _SOON:
        return Finding(
            "review", title, Status.FAILED, Severity.WARNING, evidence=evidence, hint=hint
        )
    return Finding("review", title, Status.OK, evidence=evidence)
