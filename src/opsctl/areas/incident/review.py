"""What a post-mortem can say of itself: measured where it was measured, else a question."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from opsctl.areas.incident import clock, timeline
from opsctl.areas.incident.facts import Incident
from opsctl.areas.incident.plan import delivered

if TYPE_CHECKING:
    from opsctl.areas.incident.timeline import Failing, Surroundings
    from opsctl.core.call import Call


@dataclass(frozen=True)
class Question:
    """Something that nothing opsctl has seen can answer."""

    name: str
    """What --answer calls it."""
    text: str
    needed: bool = False
    """Whether the post-mortem is not finished without it."""


QUESTIONS = (
    Question("cause", "What was the root cause?", needed=True),
    Question("impact", "Who was affected, and how?", needed=True),
    Question("detection", "How was it noticed, and how could it have been noticed sooner?"),
    Question("well", "What went well?"),
    Question("badly", "What went badly?"),
    Question("luck", "Where was there luck?"),
)


@dataclass(frozen=True)
class Moment:
    """A moment that times are counted from, and how it is known."""

    at: float | None
    known_by: str


@dataclass(frozen=True)
class CheckImpact:
    """What one check says of the time of the incident."""

    check: str
    failed: int
    seconds: float
    reasons: tuple[str, ...]
    over: bool
    """Whether it was seen to be well again."""


@dataclass(frozen=True)
class Done:
    """One thing that opsctl did."""

    run: str
    title: str
    command: str
    at: float
    by: str
    state: str
    """finished, stopped or aborted."""
    undone_by: str
    """The run that took it back; empty where none did."""


@dataclass(frozen=True)
class Review:
    """Everything that a post-mortem is made of."""

    incident: Incident
    around: Surroundings
    began: Moment
    recovered: Moment
    impact: tuple[CheckImpact, ...]
    done: tuple[Done, ...]
    told: int
    """Messages that arrived, over all channels."""
    to_tell: int
    late_updates: int | None
    """Spans between updates that were longer than promised; None where none were promised."""
    longest_gap_s: float | None
    promised_s: float
    questions: tuple[Question, ...]
    """Those that nobody has answered."""

    @property
    def detection_s(self) -> float | None:
        """From the beginning until it was opened; None where the beginning is not known."""
        return None if self.began.at is None else self.incident.opened_at - self.began.at

    @property
    def response_s(self) -> float | None:
        """From then until somebody was on it."""
        at = self.incident.responded_at
        return None if at is None else at - self.incident.opened_at

    @property
    def recovery_s(self) -> float | None:
        """From the beginning until it was well again; from the opening where that is not known."""
        if self.recovered.at is None:
            return None
        begin = self.incident.opened_at if self.began.at is None else self.began.at
        return max(self.recovered.at - begin, 0.0)

    @property
    def missing(self) -> tuple[str, ...]:
        """What it lacks to be finished, a clause each."""
        lacks = [f"not answered: {each.text}" for each in self.questions if each.needed]
        if not self.incident.actions:
            lacks.append("there is no action item")
        lacks += [
            f"nobody has the action item {each.what!r}"
            for each in self.incident.actions
            if not each.owner
        ]
        return tuple(lacks)


def review(call: Call, incident: Incident, *, now: float) -> Review:
    """Gather what is known of an incident."""
    around = timeline.gather(call, incident, now=now)
    end = incident.resolved_at or now
    concerned = [
        each
        for each in around.failing
        if each.begin <= end and (not each.over or each.end >= incident.opened_at)
    ]
    told = delivered(call, incident)
    rules = call.environment.incidents
    promised = [each for each in (incident,) if each.severity in rules.update_for]
    gaps = _gaps(incident, end) if promised else []
    every_s = rules.update_every_min * 60
    return Review(
        incident=incident,
        around=around,
        began=_began(incident, concerned),
        recovered=_recovered(incident, concerned),
        impact=tuple(_impact(concerned)),
        done=tuple(_done(around)),
        told=len(told),
        to_tell=sum(len(each.channels) for each in incident.messages),
        late_updates=sum(gap > every_s + 1 for gap in gaps) if promised else None,
        longest_gap_s=max(gaps, default=None),
        promised_s=every_s,
        questions=tuple(each for each in QUESTIONS if each.name not in (incident.answers or {})),
    )


def due_text(call: Call, incident: Incident) -> float | None:
    """Return when the post-mortem is due."""
    return clock.postmortem_due(incident, call.environment.incidents)


def _began(incident: Incident, failing: list[Failing]) -> Moment:
    if incident.began_at is not None:
        return Moment(incident.began_at, "said when it was opened")
    if failing:
        first = min(failing, key=lambda each: each.begin)
        if first.begin > incident.opened_at:
            return Moment(None, "nobody said, and the first look that failed came after it")
        return Moment(first.begin, f"the first look at which {first.check} failed")
    return Moment(None, "nobody said, and no health check failed")


def _recovered(incident: Incident, failing: list[Failing]) -> Moment:
    if incident.recovered_at is not None:
        return Moment(incident.recovered_at, "said when it was resolved")
    if failing and all(each.over for each in failing):
        last = max(failing, key=lambda each: each.end)
        return Moment(last.end, f"the first look at which {last.check} was well again")
    if failing:
        return Moment(None, "a check was not seen to be well again")
    if incident.resolved_at is not None:
        return Moment(incident.resolved_at, "when it was resolved; no health check measured it")
    return Moment(None, "it is still open")


def _gaps(incident: Incident, end: float) -> list[float]:
    moments = [incident.opened_at]
    moments += [each.at for each in incident.events if each.kind == "updated"]
    return [after - before for before, after in zip(moments, [*moments[1:], end], strict=True)]


def _impact(failing: list[Failing]) -> list[CheckImpact]:
    found = []
    for name in dict.fromkeys(each.check for each in failing):
        mine = [each for each in failing if each.check == name]
        found.append(
            CheckImpact(
                name,
                sum(each.failed for each in mine),
                sum(each.end - each.begin for each in mine),
                tuple(dict.fromkeys(each.reason for each in mine if each.reason)),
                all(each.over for each in mine),
            )
        )
    return found


def _done(around: Surroundings) -> list[Done]:
    undone = {str(each.facts.get("undoes")): each.id for each in around.runs}
    return [
        Done(
            each.id, each.title, each.command, each.began_at, each.actor, each.state,
            undone.get(each.id, ""),
        )
        for each in around.runs
    ]  # fmt: skip
