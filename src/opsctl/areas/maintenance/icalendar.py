"""Windows as a calendar file (RFC 5545): pure text, with ids that stay and numbers that grow."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opsctl.areas.maintenance.facts import Planned

_LONGEST = 75
"""Octets of a line, without its end (RFC 5545, 3.1)."""


def calendar(windows: Iterable[Planned], *, environment: str) -> str:
    """Return a calendar of all windows. The same windows make the same text."""
    lines = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//opsctl//maintenance//EN",
        "CALSCALE:GREGORIAN",
        "METHOD:PUBLISH",
    ]
    for window in windows:
        lines += _event(window, environment)
    lines.append("END:VCALENDAR")
    return "".join(f"{_folded(line)}\r\n" for line in lines)


def _event(window: Planned, environment: str) -> list[str]:
    said = f"{window.reason}\n{window.id}, by {window.planned_by}"
    return [
        "BEGIN:VEVENT",
        f"UID:{window.uid}",
        f"DTSTAMP:{_moment(window.changed_at)}",
        f"LAST-MODIFIED:{_moment(window.changed_at)}",
        f"SEQUENCE:{window.sequence}",
        f"DTSTART:{_moment(window.begins_at)}",
        f"DTEND:{_moment(window.ends_at)}",
        f"SUMMARY:{_text(f'Maintenance of {environment}')}",
        f"DESCRIPTION:{_text(said)}",
        f"STATUS:{'CANCELLED' if window.state == 'cancelled' else 'CONFIRMED'}",
        "TRANSP:TRANSPARENT",
        "END:VEVENT",
    ]


def _moment(at: float) -> str:
    return f"{datetime.fromtimestamp(round(at), UTC):%Y%m%dT%H%M%SZ}"


def _text(said: str) -> str:
    for sign in ("\\", ";", ","):
        said = said.replace(sign, f"\\{sign}")
    said = "\\n".join(said.splitlines())
    return "".join(sign for sign in said if sign.isprintable())


def _folded(line: str) -> str:
    """Return a line in pieces of 75 octets, none of which ends within a character."""
    pieces, piece, size = [], "", 0
    for sign in line:
        octets = len(sign.encode())
        if size + octets > _LONGEST:
            pieces.append(piece)
            piece, size = "", 1  # the space that a further piece begins with
        piece += sign
        size += octets
    return "\r\n ".join([*pieces, piece])
