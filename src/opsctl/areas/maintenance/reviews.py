"""`opsctl maintenance review`: what is due again, and what shows that it was done."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from opsctl.areas.maintenance.checks import due_at, judge_reviews, last_of, reviews_done
from opsctl.areas.maintenance.facts import events_of, new_event, store_of
from opsctl.core.errors import OpsError
from opsctl.core.report import Report, Table
from opsctl.core.times import format_moment, parse_moment

if TYPE_CHECKING:
    from opsctl.core.call import Call

_SHOWN = 20


def list_reviews(call: Call) -> Report:
    """Say which reviews are due, and what was done; exit 1 where one is overdue."""
    now = time.time()
    reviews = call.environment.maintenance.reviews
    done = reviews_done(events_of(call))
    last = last_of(done)
    rows = tuple(
        (each.name, format_moment(each.at), each.by, ", ".join(each.evidence), each.note)
        for each in done[:_SHOWN]
    )
    columns = ("review", "done", "by", "evidence", "note")
    return Report(
        command="maintenance review list",
        title=f"Reviews of {call.name}",
        environment=call.name,
        findings=tuple(judge_reviews(reviews, done, now=now)),
        tables=(Table("What was done", columns, rows),) if rows else (),
        data={
            "reviews": [
                {
                    "name": each.name,
                    "every_days": each.every_days,
                    "about": each.about,
                    "last_at": last[each.name].at if each.name in last else None,
                    "due_at": due_at(each, last.get(each.name)),
                }
                for each in reviews
            ],
            "done": [
                {"name": each.name, "at": each.at, "by": each.by,
                 "evidence": list(each.evidence), "note": each.note}
                for each in done
            ],
        },
    )  # fmt: skip


def finish_review(call: Call, name: str, *, evidence: Sequence[str], note: str, at: str) -> Report:
    """Keep that a review was done, when, and what shows it."""
    now = time.time()
    review = next((e for e in call.environment.maintenance.reviews if e.name == name), None)
    done_at = parse_moment(at, "--at", now=now)
    shown = [" ".join(each.split()) for each in evidence if each.strip()]
    why = hint = ""
    if review is None:
        known = ", ".join(each.name for each in call.environment.maintenance.reviews)
        why, hint = f"the reviews are {known or 'none'}", "opsctl maintenance review list"
    elif not shown:
        why = "nothing shows that it was done"
        hint = "--evidence FILE, a link, a run of opsctl, or who can say so"
    elif done_at > now:
        why, hint = f"--at {at} is still ahead", "say when it was done"
    if review is None or why:
        raise OpsError(
            f"The review {name!r} was not kept",
            why=why,
            hint=hint,
            code="no-such-review" if review is None else "bad-review",
        )
    kept = [_kept(call, each) for each in shown]
    data = {"done_at": done_at, "evidence": kept, "note": note}
    store_of(call).add(new_event(call, name, "review", data))
    due = done_at + review.every_days * 86400
    return Report(
        command="maintenance review done",
        title=f"{name} was done at {format_moment(done_at)}; it is due again {format_moment(due)}",
        environment=call.name,
        notes=tuple(kept),
        data={"review": name, "done_at": done_at, "due_at": due, "evidence": kept},
    )


def _kept(call: Call, text: str) -> str:
    """Return what is kept of a piece of evidence: of a file its hash, so that it can be held to."""
    path = Path(text)
    try:
        if not path.is_file():
            return text
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError):
        return text  # a name that no file can have, or one that is not ours to read
    return f"{text} (SHA-256 {digest})"
