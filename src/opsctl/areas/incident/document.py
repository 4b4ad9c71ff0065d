"""The post-mortem as Markdown."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence

from opsctl.areas.incident.review import QUESTIONS, Review
from opsctl.areas.incident.severity import MEANINGS
from opsctl.core.progress import duration
from opsctl.core.times import format_moment

_SPECIAL = re.compile(r"([\\`*_\[\]<>|#~])")
NOT_KNOWN = "**not known**"


def markdown(review: Review) -> str:
    """Return the whole document; text from outside is escaped."""
    incident = review.incident
    parts = [
        f"# Post-mortem: {plain(incident.title)}",
        _facts(review),
        "## Times",
        _times(review),
        "## Impact",
        _impact(review),
        "## Timeline",
        _table(
            ("at (UTC)", "what", "from", "by"),
            ((second(each.at), each.text, each.source, each.by)
             for each in review.around.entries),
        ),
        "## What was done",
        _done(review),
        "## Questions",
        *_answers(review),
        "## Action items",
        _actions(review),
    ]  # fmt: skip
    if incident.evidence:
        parts += [
            "## Evidence",
            _table(
                ("name", "bytes", "sha256", "kept at"),
                ((each.name, str(each.bytes), each.sha256, each.kept)
                 for each in incident.evidence),
            ),
        ]  # fmt: skip
    if review.around.unknown:
        parts += ["## Not known", "\n".join(f"- {plain(each)}" for each in review.around.unknown)]
    return "\n\n".join(parts) + "\n"


def times_of(review: Review) -> tuple[tuple[str, str, str], ...]:
    """Return (what, how long or empty, how it is known) of each time that counts."""
    known = review.began.at is not None
    began = f"from {review.began.known_by}" if known else review.began.known_by
    since = "the beginning" if known else "opened: the beginning is not known"
    return (
        ("detection", _span(review.detection_s), f"{began}, until opened" if known else began),
        ("response", _span(review.response_s),
         "from opened, until the first word of somebody who is on it"),
        ("recovery", _span(review.recovery_s),
         f"from {since}, until {review.recovered.known_by}"),
    )  # fmt: skip


def updates_text(review: Review) -> str:
    """Return how the promise of updates was kept."""
    if review.late_updates is None:
        return f"{review.told} of {review.to_tell} messages arrived"
    gap = duration(review.longest_gap_s or 0)
    kept = "none was late" if not review.late_updates else f"{review.late_updates} came late"
    return (
        f"{review.told} of {review.to_tell} messages arrived; an update every "
        f"{duration(review.promised_s)} was promised, {kept}, the longest silence was {gap}"
    )


def _facts(review: Review) -> str:
    incident = review.incident
    roles = ", ".join(f"{role} {who}" for role, who in (incident.roles or {}).items())
    resolved = format_moment(incident.resolved_at) if incident.resolved_at else "still open"
    kind = "security incident, " if incident.security else ""
    rows = [
        ("incident", f"{incident.id}, {kind}{incident.environment}"),
        ("severity", f"{incident.severity}, {MEANINGS[incident.severity]}"),
        ("opened", f"{format_moment(incident.opened_at)} by {incident.opened_by}"),
        ("resolved", resolved),
        ("people", roles or "nobody was assigned"),
        ("systems", ", ".join(incident.systems) or "not said"),
        ("noticed by", incident.found_by or "not said"),
        ("communication", updates_text(review)),
    ]
    lines = _table(("what", "how it was"), rows)
    return f"{plain(incident.summary)}\n\n{lines}" if incident.summary else lines


def _times(review: Review) -> str:
    rows = [(what, span or "not known", how) for what, span, how in times_of(review)]
    moments = [
        ("began", _moment(review.began.at), review.began.known_by),
        ("opened", _moment(review.incident.opened_at), ""),
        ("somebody was on it", _moment(review.incident.responded_at), ""),
        ("well again", _moment(review.recovered.at), review.recovered.known_by),
        ("resolved", _moment(review.incident.resolved_at), ""),
    ]
    return _table(("what", "how long or when", "how it is known"), [*rows, *moments])


def _impact(review: Review) -> str:
    if not review.impact:
        looks = review.around.samples
        seen = f"{looks} looks were recorded and none failed" if looks else "nobody looked"
        return f"The health history shows none: {seen} in that time."
    return _table(
        ("check", "failed looks", "failed for", "why", "seen well again"),
        ((each.check, str(each.failed), duration(each.seconds), ", ".join(each.reasons),
          "yes" if each.over else "no")
         for each in review.impact),
    )  # fmt: skip


def _done(review: Review) -> str:
    if not review.done:
        return "opsctl changed nothing in that time."
    return _table(
        ("at (UTC)", "what", "command", "run", "how it ended", "by"),
        ((second(each.at), each.title, f"opsctl {each.command}", each.run, ended(each), each.by)
         for each in review.done),
    )  # fmt: skip


def ended(done: object) -> str:
    """Return how a run ended, and whether it was taken back."""
    state = str(getattr(done, "state", ""))
    by = str(getattr(done, "undone_by", ""))
    return f"{state}, undone by {by}" if by else state


def _answers(review: Review) -> Iterable[str]:
    answers = review.incident.answers or {}
    for question in QUESTIONS:
        said = answers.get(question.name)
        yield f"### {question.text}\n\n{plain(said) if said else NOT_KNOWN}"


def _actions(review: Review) -> str:
    if not review.incident.actions:
        return f"{NOT_KNOWN}: what keeps it from coming back?"
    return _table(
        ("what", "owner", "due"),
        ((each.what, each.owner or "who?", each.due or "when?")
         for each in review.incident.actions),
    )  # fmt: skip


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns)]
    lines += [[plain(cell) for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def plain(text: str) -> str:
    """Return outside text as one line of Markdown that is no markup."""
    shown = "".join(sign if sign.isprintable() else " " for sign in text)
    return _SPECIAL.sub(r"\\\1", " ".join(shown.split()))


def second(at: float) -> str:
    """Return a moment to the second, in UTC."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at))


def _span(seconds: float | None) -> str:
    return "" if seconds is None else duration(seconds)


def _moment(at: float | None) -> str:
    return "not known" if at is None else second(at)
