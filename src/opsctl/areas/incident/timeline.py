"""What happened while an incident was open, from everywhere opsctl writes things down."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from opsctl.adapters.health_day import DAY_MS, Row
from opsctl.adapters.health_history import HealthHistory
from opsctl.adapters.incidents import IncidentEvent
from opsctl.adapters.journal_runs import JournalRun, JournalRuns
from opsctl.areas.incident.facts import Incident, state_of
from opsctl.core.errors import OpsError
from opsctl.core.progress import duration

if TYPE_CHECKING:
    from opsctl.core.call import Call

_BEFORE_S = 6 * 3600.0
"""So long before it was opened the beginning is looked for, and deployments are shown."""
_MOST_DEPLOYMENTS = 100
_AROUND = re.compile(r"^exit code \d+: \S+ (unknown|failed|refused)\s+")


@dataclass(frozen=True)
class Entry:
    """One line of the timeline."""

    at: float
    source: str
    """incident, opsctl, health or deployment."""
    text: str
    by: str = ""
    good: bool = False
    """Whether something is well again."""


@dataclass(frozen=True)
class Failing:
    """A stretch in which a check failed, looked at without a gap."""

    check: str
    begin: float
    end: float
    """The next look that was well, or the last one known."""
    over: bool
    """Whether a look that was well ended it."""
    failed: int
    reason: str


@dataclass(frozen=True)
class Surroundings:
    """What is known beside the incident's own events."""

    entries: tuple[Entry, ...] = ()
    """In order."""
    failing: tuple[Failing, ...] = ()
    samples: int = 0
    """Looks of the health history in the time of the incident."""
    failed_samples: int = 0
    runs: tuple[JournalRun, ...] = ()
    """What opsctl did, without telling people."""
    unknown: tuple[str, ...] = field(default=())
    """What could not be looked at, and why."""


def gather(call: Call, incident: Incident, *, now: float, deployments: bool = True) -> Surroundings:
    """Look everywhere once: the journal, the health history, and Vercel where it is set."""
    begin, end = incident.opened_at - _BEFORE_S, incident.resolved_at or now
    if incident.began_at is not None:
        begin = min(begin, incident.began_at)
    entries = [entry for event in incident.events if (entry := _of_event(event))]
    journal = JournalRuns(state_of(call)).of(call.name)
    told = [run for run in journal if run.facts.get("incident") == incident.id]
    runs = [
        run
        for run in journal
        if not run.command.startswith("incident ")
        and run.began_at <= end
        and (run.ended_at or run.began_at) >= incident.opened_at
    ]
    entries += [entry for run in told for entry in _of_telling(run)]
    entries += [entry for run in runs for entry in _of_run(run)]
    failing, samples, failed = _health(call, begin, end, opened=incident.opened_at)
    entries += [entry for each in failing for entry in _of_failing(each)]
    unknown: list[str] = []
    if deployments and call.environment.vercel is not None:
        entries += _deployments(call, begin, end, unknown)
    if not samples:
        unknown.append("no health check was recorded in that time")
    ordered = sorted(entries, key=lambda each: each.at)
    return Surroundings(
        tuple(ordered), tuple(failing), samples, failed, tuple(runs), tuple(unknown)
    )


def _of_event(event: IncidentEvent) -> Entry | None:
    data = event.data
    at = event.at
    match event.kind:
        case "opened":
            found = f", noticed by {data['found_by']}" if data.get("found_by") else ""
            text = f"Opened as {data['severity']}: {data['title']}{found}"
        case "updated":
            state = f"{data['state']}: " if data.get("state") else ""
            text = f"Update: {state}{data['text']}"
        case "noted":
            at = float(data.get("noted_at") or at)
            text = str(data["text"])
        case "assigned":
            text = f"{data['who']} is {data['role']}"
        case "assessed":
            text = f"Assessed as {data['severity']}: {data.get('because', '')}"
        case "escalated":
            grave = f", now {data['severity']}" if data.get("severity") else ""
            text = f"Escalated to {', '.join(data['to'])}{grave}: {data['reason']}"
        case "resolved":
            text = f"Resolved: {data['text']}"
        case "step":
            text = f"Done: {data['text']}"
        case "evidence":
            text = f"Kept as evidence: {data['name']}, sha256 {data['sha256'][:16]}"
        case "written":
            text = "Post-mortem finished"
        case _:
            return None
    return Entry(at, "incident", text, event.actor)


def _of_telling(run: JournalRun) -> list[Entry]:
    found = []
    for step in run.steps.values():
        word, _, rest = step.id.partition(":")
        channel = rest.partition(":")[0]
        if word != "tell" or step.ended_at is None:
            continue
        if step.state == "done":
            found.append(Entry(step.ended_at, "incident", f"Told {channel}", run.actor))
        else:
            text = f"{channel} was not told: {_reason(step.detail)}"
            found.append(Entry(step.ended_at, "incident", text, run.actor))
    return found


def _reason(detail: str) -> str:
    """Return why a step failed without what its command prints around it."""
    said = _AROUND.sub("", detail.partition("; next ")[0])
    return said.replace("; why ", ": ")


def _of_run(run: JournalRun) -> list[Entry]:
    begun = Entry(run.began_at, "opsctl", f"{run.title} (opsctl {run.command}, run {run.id})",
                  run.actor)  # fmt: skip
    found = [begun]
    for step in run.steps.values():
        if step.ended_at is not None:
            word = "done" if step.state == "done" else f"{step.state}: {step.detail}"
            found.append(Entry(step.ended_at, "opsctl", f"{step.title}: {word}", run.actor))
    if run.ended_at is not None:
        said = {"finished": "Finished", "aborted": "Ended without a change"}.get(
            run.state, "Stopped part-way"
        )
        found.append(Entry(run.ended_at, "opsctl", f"{said}: {run.title}", run.actor))
    return found


def _of_failing(failing: Failing) -> list[Entry]:
    why = f": {failing.reason}" if failing.reason else ""
    found = [Entry(failing.begin, "health", f"{failing.check} fails{why}")]
    if failing.over:
        took = duration(failing.end - failing.begin)
        text = f"{failing.check} is well again, after {took}"
        found.append(Entry(failing.end, "health", text, good=True))
    return found


def _health(
    call: Call, begin: float, end: float, *, opened: float
) -> tuple[list[Failing], int, int]:
    store = HealthHistory(state_of(call))
    first, last = round(begin * 1000) // DAY_MS, round(end * 1000) // DAY_MS
    names = {day.check
             for day in store.days(call.name, first, last)}  # fmt: skip
    names |= {check for check, _ in store.loose(call.name, first, last)}
    stretches: list[Failing] = []
    samples = failed = 0
    for name in sorted(names):
        rows = [
            row
            for row in store.rows(call.name, name, range(first, last + 1))
            if begin * 1000 <= row.due_ms <= end * 1000
        ]
        stretches += _stretches(name, rows)
        within = [row for row in rows if row.due_ms >= opened * 1000]
        samples += sum(row.status != "unknown" for row in within)
        failed += sum(row.status == "fail" for row in within)
    return sorted(stretches, key=lambda each: each.begin), samples, failed


def _stretches(check: str, rows: list[Row]) -> list[Failing]:
    found: list[Failing] = []
    open_: list[Row] = []

    def close(end_ms: int, *, over: bool) -> None:
        if open_:
            first = open_[0]
            found.append(
                Failing(check, first.due_ms / 1000, end_ms / 1000, over, len(open_), first.reason)
            )
            open_.clear()

    for row in rows:
        if row.status == "fail":
            open_.append(row)
        elif row.status in ("pass", "warn"):
            close(row.due_ms, over=True)
    if open_:
        close(open_[-1].due_ms, over=False)
    return found


def _deployments(call: Call, begin: float, end: float, unknown: list[str]) -> list[Entry]:
    from opsctl.adapters.vercel import VercelApi

    vercel = call.environment.vercel
    if vercel is None:
        return []
    try:
        api = VercelApi(vercel)
        found, _ = api.deployments(api.project(), most=_MOST_DEPLOYMENTS, target="production")
    except OpsError as error:
        unknown.append(f"Vercel's deployments are not known: {error.what}: {error.why}")
        return []
    entries = []
    for each in found:
        at = (each.ready_ms or each.created_ms) / 1000
        if begin <= at <= end:
            commit = f" of {each.commit[:7]}" if each.commit else ""
            text = f"Deployment {each.id}{commit}: {each.state.lower()}"
            entries.append(Entry(at, "deployment", text))
    return entries
