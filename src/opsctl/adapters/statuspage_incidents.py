"""A status page's newest incidents with their times: Statuspage's /api/v2/incidents.json."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from opsctl.adapters.event_loop import EventLoop
from opsctl.adapters.http_request import Ask
from opsctl.adapters.probed import Answer
from opsctl.adapters.prober import Prober

_TIMEOUT_S = 10.0
_MOST_BYTES = 8 << 20
_MOST = 200
_SAID = 200


@dataclass(frozen=True)
class PastIncident:
    """One incident of a provider, over or not."""

    name: str
    impact: str
    """`none`, `minor`, `major` or `critical`."""
    began_at: float
    ended_at: float | None
    """None while it lasts."""
    link: str


@dataclass(frozen=True)
class IncidentList:
    """What the page says, or why nothing is known."""

    page: str
    incidents: tuple[PastIncident, ...] = ()
    """The page's newest, about 50, the newest first."""
    why: str = ""
    """Why nothing is known."""


def read_incidents(page: str) -> IncidentList:
    """Read a status page's incidents; it raises nothing."""
    answers: list[Answer] = []
    loop = EventLoop()
    try:
        prober = Prober(loop)
        url = f"{page.rstrip('/')}/api/v2/incidents.json"
        ask = Ask("incidents", url, timeout_s=_TIMEOUT_S, keep=_MOST_BYTES)
        prober.prepare(ask)
        prober.send(ask, due=time.monotonic(), done=answers.append)
        loop.run(lambda: bool(answers))
    finally:
        loop.close()
    (answer,) = answers
    if answer.failure is not None:
        return IncidentList(page, why=answer.failure.said)
    if answer.status != 200:
        return IncidentList(page, why=f"it answered {answer.status}")
    try:
        found = json.loads(answer.body)["incidents"]
        return IncidentList(page, tuple(_incident(each) for each in found[:_MOST]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return IncidentList(page, why="its answer is no list of Statuspage's incidents")


def _incident(data: Any) -> PastIncident:
    ended = data.get("resolved_at")
    return PastIncident(
        name=_text(data.get("name")),
        impact=_text(data.get("impact")),
        began_at=_moment(data.get("started_at") or data["created_at"]),
        ended_at=_moment(ended) if ended else None,
        link=_text(data.get("shortlink")),
    )


def _moment(text: Any) -> float:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time without a zone")
    return moment.timestamp()


def _text(value: Any) -> str:
    return value[:_SAID] if isinstance(value, str) else ""
