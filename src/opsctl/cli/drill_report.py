"""How a drill went: the times to detect, to decide and to recover, from the record."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from opsctl.core.errors import OpsError
from opsctl.core.progress import duration
from opsctl.core.report import Finding, Report, Severity, Status, Table
from opsctl.core.times import format_moment
from opsctl.sandbox.drills import Drill, Drills, Typed

if TYPE_CHECKING:
    from opsctl.core.call import Call
    from opsctl.core.journal import Event

_LOOKS = (
    "status", "healthcheck", "diagnose", "rls-smoke", "slowquery", "secrets-scan",
    "bundle-check", "doctor", "rollback status", "rollback app status", "rotate-keys plan",
    "rotate-keys status", "restore status", "backup list", "backup status",
)  # fmt: skip
_WITHOUT_PLAN = ("sandbox up", "sandbox reset")
"""What mends something and makes no plan."""
_NEVER = "not measured"


@dataclass(frozen=True)
class Times:
    """Seconds from the strike; None where it never came to that."""

    looked_s: float | None
    """The first look of any kind."""
    detected_s: float | None
    """The end of the first look that found something."""
    decided_s: float | None
    """The first plan that was agreed to, or command that mends without one."""
    recovered_s: float | None


def report_drill(call: Call, id: str) -> Report:
    """Return how a drill went; raises OpsError `no-such-drill`."""
    drills = Drills(call.root)
    known = drills.all()
    found = [each for each in known if each.id.startswith(id)]
    if not found or (id and len(found) > 1 and found[-1].id != id):
        raise OpsError(
            f"There is no such drill: {id!r}" if id else "There was no drill yet",
            why=f"{len(found)} fit" if found else f"{len(known)} are kept",
            hint="opsctl drill list",
            code="no-such-drill",
        )
    return describe(call, found[-1], command="drill report")


def describe(
    call: Call, drill: Drill, *, command: str, findings: tuple[Finding, ...] = ()
) -> Report:
    """Return how a drill went, after what was found just now."""
    from opsctl.cli.state_seam import open_journal

    typed = Drills(call.root).typed(drill)
    times = times_of(drill, typed, open_journal(call.state).events())
    solved = drill.solved_at is not None
    over = drill.ended_at is not None
    ended = Finding(
        rule="drill-solved",
        title="It is solved" if solved else "It was given up" if over else "It is not over yet",
        status=Status.OK if solved else Status.FAILED if over else Status.UNKNOWN,
        hint="" if over else "opsctl drill check",
    )
    helped = Finding(
        rule="drill-hints",
        title=f"{len(drill.hinted_at)} hints were asked for",
        status=Status.FAILED,
        severity=Severity.NOTE,
    )
    rows = (
        ("detect: the first look that found something", _said(times.detected_s)),
        ("decide: the first plan agreed to", _said(times.decided_s)),
        ("recover: the check that says solved", _said(times.recovered_s)),
    )
    commands = tuple(
        (_said(each.began_at - drill.struck_at), f"opsctl {each.words}", str(each.exit_code))
        for each in typed
    )
    return Report(
        command=command,
        title=f"Drill {drill.scenario}, {drill.how}",
        environment="sandbox",
        findings=(*findings, ended, *((helped,) if drill.hinted_at else ())),
        tables=(
            Table("", ("from the strike on", "time"), rows),
            *((Table("What was typed", ("after", "command", "exit"), commands),)
              if commands else ()),
        ),
        notes=(f"Struck at {format_moment(drill.struck_at)}. {drill.id}",),
        data={
            "drill": drill.id,
            "scenario": drill.scenario,
            "how": drill.how,
            "solved": solved,
            "over": over,
            "struck_at": drill.struck_at,
            "look_s": _rounded(times.looked_s),
            "detect_s": _rounded(times.detected_s),
            "decide_s": _rounded(times.decided_s),
            "recover_s": _rounded(times.recovered_s),
            "hints": len(drill.hinted_at),
            "checks": drill.checks,
            "commands": [
                {
                    "after_s": round(each.began_at - drill.struck_at, 2),
                    "took_s": round(each.ended_at - each.began_at, 2),
                    "command": each.words,
                    "exit_code": each.exit_code,
                }
                for each in typed
            ],
        },
    )  # fmt: skip


def times_of(drill: Drill, typed: Iterable[Typed], events: Iterable[Event]) -> Times:
    """Return the times of a drill from what was typed and what the journal has; pure."""
    after = [each for each in typed if each.began_at >= drill.struck_at]
    looks = [each for each in after if _is_one_of(each.words, _LOOKS)]
    events = list(events)
    ours = {
        event.run
        for event in events
        if event.kind == "planned" and event.data.get("plan", {}).get("environment") == "sandbox"
    }
    until = drill.ended_at if drill.ended_at is not None else float("inf")
    agreed = [
        at
        for at in (
            datetime.fromisoformat(event.at).timestamp()
            for event in events
            if event.kind == "approved" and event.run in ours
        )
        if drill.struck_at <= at <= until
    ]
    agreed += [each.began_at for each in after if _is_one_of(each.words, _WITHOUT_PLAN)]

    def seconds(moments: Iterable[float]) -> float | None:
        first = min(moments, default=None)
        return None if first is None else first - drill.struck_at

    return Times(
        looked_s=seconds(each.began_at for each in looks),
        detected_s=seconds(each.ended_at for each in looks if each.exit_code != 0),
        decided_s=seconds(agreed),
        recovered_s=seconds(() if drill.solved_at is None else (drill.solved_at,)),
    )


def _is_one_of(words: str, commands: Iterable[str]) -> bool:
    return any(words == each or words.startswith(f"{each} ") for each in commands)


def _said(seconds: float | None) -> str:
    return _NEVER if seconds is None else duration(max(0.0, seconds))


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 2)
