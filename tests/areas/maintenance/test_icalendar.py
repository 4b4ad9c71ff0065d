"""The calendar file, read back by the rules of RFC 5545."""

from __future__ import annotations

import re
import time

from opsctl.areas.maintenance.facts import Planned
from opsctl.areas.maintenance.icalendar import calendar

from .conftest import World, typed


def events(text: str) -> list[dict[str, str]]:
    """Return the events of a calendar, unfolded and unescaped."""
    assert text.endswith("END:VCALENDAR\r\n")
    assert "\n" not in text.replace("\r\n", "")
    assert all(len(line.encode()) <= 75 for line in text.split("\r\n"))
    found: list[dict[str, str]] = []
    for line in text.replace("\r\n ", "").split("\r\n"):
        name, _, value = line.partition(":")
        if line == "BEGIN:VEVENT":
            found.append({})
        elif found and name not in ("END", ""):
            assert name not in found[-1]
            found[-1][name] = re.sub(
                r"\\(.)", lambda match: "\n" if match[1] == "n" else match[1], value
            )
    return found


def test_what_is_written_is_what_is_read() -> None:
    reason = "Größe; Ort, \\Pfad\\\nEND:VEVENT\nBEGIN:VEVENT \x1b]0;x\x07" + "ü" * 200
    window = Planned("MW-1", "u@opsctl", 1796781600.0, 1796792400.0, reason, 1.0, "me@here",
                     changed_at=1796000000.4)  # fmt: skip
    text = calendar([window], environment="production")
    (event,) = events(text)

    assert event["UID"] == "u@opsctl"
    assert (event["DTSTART"], event["DTEND"]) == ("20261209T020000Z", "20261209T050000Z")
    assert event["SUMMARY"] == "Maintenance of production"
    assert event["DESCRIPTION"].startswith("Größe; Ort, \\Pfad\\\nEND:VEVENT\nBEGIN:VEVENT ]0;xü")
    assert event["DESCRIPTION"].endswith("ü\nMW-1, by me@here")
    assert text.count("\r\nBEGIN:VEVENT\r\n") == 1
    assert text == calendar([window], environment="production")


def test_an_id_stays_and_the_sequence_grows_with_each_change(world: World) -> None:
    file = world.root / "maintenance.ics"
    begin = time.time() // 60 * 60 + 90 * 3600
    world.opsctl("plan", "--at", typed(begin), "--calendar", str(file))
    (first,) = events(file.read_bytes().decode())
    id = world.opsctl("list")[1]["data"]["windows"][0]["id"]
    world.opsctl("task", "done", "logs")
    world.opsctl("plan", "--move", id, "--at", typed(begin + 86400), "--calendar", str(file))
    (second,) = events(file.read_bytes().decode())
    world.opsctl("cancel", id, "--calendar", str(file))
    (third,) = events(file.read_bytes().decode())

    assert first["UID"] == second["UID"] == third["UID"]
    assert [each["SEQUENCE"] for each in (first, second, third)] == ["0", "1", "2"]
    assert [each["STATUS"] for each in (first, second, third)] == [
        "CONFIRMED", "CONFIRMED", "CANCELLED",
    ]  # fmt: skip
    assert first["DTSTART"] != second["DTSTART"]
    assert list(world.root.glob(".maintenance.ics.*")) == []
