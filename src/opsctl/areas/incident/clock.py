"""When something is due: a response, an update, a post-mortem. Pure, but for the file it writes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from opsctl.adapters.incident_clock import write_clock
from opsctl.areas.incident.facts import Incident, all_incidents
from opsctl.core.errors import OpsError

if TYPE_CHECKING:
    from opsctl.core.call import Call
    from opsctl.core.settings import BusinessHours, Incidents

_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_LOOK_AHEAD_DAYS = 14


@dataclass(frozen=True)
class Due:
    """Something that somebody waits for."""

    what: Literal["response", "update", "post-mortem"]
    at: float
    hint: str
    """The command that does it."""


def what_is_due(incident: Incident, rules: Incidents) -> list[Due]:
    """Return what is due of an incident, overdue or not, the earliest first."""
    found = []
    if incident.open:
        if incident.responded_at is None:
            at = response_due(incident.severity, rules, since=incident.opened_at)
            found.append(
                Due("response", at, f"opsctl incident assign YOUR_NAME --incident {incident.id}")
            )
        at_ = update_due(incident, rules)
        if at_ is not None:
            found.append(
                Due(
                    "update",
                    at_,
                    f"opsctl incident update 'How it stands' --incident {incident.id}",
                )
            )
    elif incident.written_at is None:
        at_ = postmortem_due(incident, rules)
        if at_ is not None:
            found.append(Due("post-mortem", at_, f"opsctl incident postmortem {incident.id}"))
    return sorted(found, key=lambda each: each.at)


def update_due(incident: Incident, rules: Incidents) -> float | None:
    """Return when the next update is due; None where none is."""
    if not incident.open or incident.severity not in rules.update_for:
        return None
    return incident.updated_at + rules.update_every_min * 60


def postmortem_due(incident: Incident, rules: Incidents) -> float | None:
    """Return when the post-mortem is due; None where it needs none, or is not over."""
    needs = incident.security or incident.severity in rules.postmortem_for
    if incident.resolved_at is None or not needs:
        return None
    return incident.resolved_at + rules.postmortem_h * 3600


def response_due(severity: str, rules: Incidents, *, since: float) -> float:
    """Return by when somebody must be on it: at once for P0 and P1, else in business hours.

    In business hours means: before they end, today, or, where they are over, on the next day
    of work.
    """
    if severity in ("P0", "P1"):
        return since + rules.respond_min * 60
    return _end_of_work(rules.business_hours, since)


def refresh(call: Call) -> None:
    """Write what is due where every command looks, for the environment of this call."""
    rules = call.environment.incidents
    lines = []
    for incident in all_incidents(call):
        for due in what_is_due(incident, rules):
            text = f"{due.what} of {incident.id} {incident.severity} ({incident.title})"
            lines.append((due.at, f"{text}: {due.hint} --env {call.name}"))
    write_clock(call.root, call.name, lines)


def _end_of_work(hours: BusinessHours, since: float) -> float:
    try:
        zone = ZoneInfo(hours.timezone)
    except (ZoneInfoNotFoundError, ValueError):
        raise OpsError(
            f"The time zone {hours.timezone!r} is not known",
            why="incidents.business_hours.timezone names none of this system's zones",
            hint="write a name such as Europe/Berlin, or UTC",
            code="no-such-timezone",
        ) from None
    begin = datetime.fromtimestamp(since, UTC).astimezone(zone)
    hour, minute = map(int, hours.end.split(":"))
    for ahead in range(_LOOK_AHEAD_DAYS):
        day = begin + timedelta(days=ahead)
        end = day.replace(hour=hour, minute=minute, second=0, microsecond=0)
        if _DAYS[day.weekday()] in hours.days and end > begin:
            return end.timestamp()
    return since + _LOOK_AHEAD_DAYS * 86400
