"""A provider's status page in Atlassian Statuspage's format: /api/v2/summary.json."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from opsctl.adapters.http import fetch_all
from opsctl.core.settings import HealthEndpoint

_TIMEOUT_S = 8.0
_MOST = 20
_SAID = 200


@dataclass(frozen=True)
class Incident:
    """One incident that is not resolved."""

    name: str
    impact: str
    """`none`, `minor`, `major`, `critical` or `maintenance`."""
    status: str
    link: str


@dataclass(frozen=True)
class ProviderStatus:
    """What the page says, or why nothing is known."""

    page: str
    indicator: str = ""
    """`none` where all is well, else as an incident's impact; empty where it is not known."""
    description: str = ""
    incidents: tuple[Incident, ...] = ()
    components: tuple[tuple[str, str], ...] = ()
    """(name, status) of those that do not operate as usual."""
    why: str = ""
    """Why nothing is known."""


def read_status_page(page: str) -> ProviderStatus:
    """Read a status page; it raises nothing."""
    url = f"{page.rstrip('/')}/api/v2/summary.json"
    fetched = fetch_all([HealthEndpoint(name="status", url=url, status=200, timeout_s=_TIMEOUT_S)])
    answer = fetched[0]
    if answer.failure is not None:
        return ProviderStatus(page, why=answer.detail)
    if answer.status != 200:
        return ProviderStatus(page, why=f"it answered {answer.status}")
    try:
        return _read(page, json.loads(answer.body))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ProviderStatus(page, why="its answer is no summary of Statuspage's")


def _read(page: str, data: Any) -> ProviderStatus:
    indicator = data["status"]["indicator"]
    if not isinstance(indicator, str) or not indicator:
        raise TypeError
    return ProviderStatus(
        page=page,
        indicator=indicator[:_SAID],
        description=_text(data["status"].get("description")),
        incidents=tuple(
            Incident(
                name=_text(each.get("name")),
                impact=_text(each.get("impact")),
                status=_text(each.get("status")),
                link=_text(each.get("shortlink")),
            )
            for each in (data.get("incidents") or [])[:_MOST]
        ),
        components=tuple(
            (_text(each.get("name")), _text(each.get("status")))
            for each in data.get("components") or []
            if not each.get("group") and each.get("status") != "operational"
        )[:_MOST],
    )


def _text(value: Any) -> str:
    return value[:_SAID] if isinstance(value, str) else ""
