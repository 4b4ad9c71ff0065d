"""The plan of a pruning: which backups stay, which go; a pure function of what there is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from opsctl.areas.backup.facts import Known
from opsctl.core.action import Command
from opsctl.core.plan import Irreversible, Loss, Plan, Step
from opsctl.core.progress import size
from opsctl.core.settings import Keep

_TIMEOUT_S = 3600.0


@dataclass(frozen=True)
class Verdict:
    """What becomes of one backup, and why."""

    known: Known
    keeps: tuple[str, ...]
    """Why it stays; empty where it goes."""


def judge(backups: Sequence[Known], keep: Keep) -> tuple[Verdict, ...]:
    """Return a verdict on every backup, newest first.

    The newest of each period stays, and the newest verified one always. What is damaged or was
    cut off goes; what is being made stays.
    """
    whole = sorted(
        (each for each in backups if each.manifest is not None), key=_taken_at, reverse=True
    )
    reasons: dict[str, list[str]] = {each.id: [] for each in backups}
    for known in whole[: keep.last]:
        reasons[known.id].append("last")
    periods: tuple[tuple[str, int, Callable[[datetime], object]], ...] = (
        ("daily", keep.daily, lambda at: at.date()),
        ("weekly", keep.weekly, lambda at: at.isocalendar()[:2]),
        ("monthly", keep.monthly, lambda at: (at.year, at.month)),
    )
    for name, count, period in periods:
        seen: list[object] = []
        for known in whole:
            of = period(_taken_at(known))
            if of not in seen and len(seen) < count:
                seen.append(of)
                reasons[known.id].append(name)
    verified = next((each for each in whole if each.verified), None)
    if verified is not None:
        reasons[verified.id].append("last verified")
    for known in backups:
        if known.state == "being made":
            reasons[known.id].append("being made")
    return tuple(Verdict(known, tuple(reasons[known.id])) for known in backups)


def prune_plan(
    verdicts: Sequence[Verdict],
    *,
    environment: str,
    protected: bool,
    root: str,
    where: str,
    from_: str | None,
) -> Plan:
    """Return the plan that removes what no rule keeps; without steps where nothing goes."""
    gone = [each.known for each in verdicts if not each.keeps]
    kept = [each for each in verdicts if each.keeps]
    ids = tuple(known.id for known in gone)
    steps = (
        Step(
            id="remove",
            title=f"Remove {_count(len(ids), 'backup')} from {where}",
            safety="idempotent",
            action=Command(
                ("opsctl", "backup", "remove", *ids, "--env", environment,
                 "--quiet", *(("--from", from_) if from_ else ())),
                cwd=root,
                timeout_s=_TIMEOUT_S,
            ),
            undo=Irreversible("what is removed from the store is gone"),
            detail=tuple(f"{known.id}  {_about(known)}" for known in gone),
        ),
    )  # fmt: skip
    return Plan(
        command="backup prune",
        environment=environment,
        protected=protected,
        title=f"Prune the backups: {len(kept)} stay, {len(ids)} go",
        steps=steps if ids else (),
        losses=tuple(
            Loss("backup", known.id, known.manifest.rows if known.manifest else None, None, "")
            for known in gone
        ),
        notes=tuple(f"{each.known.id} stays: {', '.join(each.keeps)}." for each in kept),
        facts={"keep": {each.known.id: list(each.keeps) for each in kept}, "remove": list(ids)},
        estimate_s=float(len(ids)),
    )


def _taken_at(known: Known) -> datetime:
    if known.manifest is None:
        raise TypeError("only a backup with a manifest has a time")
    return known.manifest.snapshot_at


def _about(known: Known) -> str:
    if known.manifest is None:
        return known.state
    words = [size(known.manifest.bytes), "verified" if known.verified else "not verified"]
    return ", ".join([*words, known.manifest.label] if known.manifest.label else words)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
