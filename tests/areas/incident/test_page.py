"""The post-mortem of a night, opened in a real browser."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from browser import Browser
from opsctl.adapters.health_history import HealthHistory
from opsctl.adapters.incidents import IncidentEvent, IncidentStore
from opsctl.areas.incident.document import markdown
from opsctl.areas.incident.facts import chosen
from opsctl.areas.incident.page import page
from opsctl.areas.incident.review import Review, review
from opsctl.core.call import Call
from opsctl.core.plan import Plan, Step, plan_to_json
from opsctl.core.sample import Sample
from opsctl.core.settings import Settings
from opsctl.core.times import parse_moment
from opsctl.engine.store import SqliteJournal

PICTURE = Path(__file__).parents[3] / "docs" / "postmortem.png"
ID = "INC-20261126-k7p2"


def at(clock: str) -> float:
    """Return a moment of the night in question."""
    return parse_moment(f"2026-11-26T{clock}", "--at", now=0.0)


class Night:
    """A state file with what opsctl and people wrote down that night."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.path = root / ".opsctl" / "state.db"
        self.path.parent.mkdir(parents=True)
        self.store = IncidentStore(self.path)
        self.seen: list[tuple[str, str]] = []

    def event(self, clock: str, kind: str, actor: str = "ann@laptop", **data: Any) -> None:
        key = f"{kind}-{clock}"
        if data.pop("say", False):
            data["message"] = {
                "state": data.get("state") or "investigating", "severity": "P1", "subject": "s",
                "internal": "i", "public": "p", "channels": ["slack", "statuspage"],
            }  # fmt: skip
            self.seen += [("slack", key), ("statuspage", key)]
        self.store.add(
            IncidentEvent(ID, key, "production", kind, round(at(clock) * 1000), actor, data)
        )

    def health(self) -> None:
        samples = []
        for minute in range(90, 160):
            ill = 112 <= minute < 143
            due = at("00:00") + minute * 60
            for check in ("checkout", "api"):
                failed = ill and (check == "checkout" or minute > 120)
                samples.append(
                    Sample(check, due, due, 80.0, 80.0, "fail" if failed else "pass",
                           "wrong-status" if failed else "", 500 if failed else 200)
                )  # fmt: skip
        HealthHistory(self.path).append("production", samples)

    def run(self, id: str, clock: str, command: str, title: str, **facts: Any) -> None:
        steps = tuple(Step(name, title, "idempotent", check=None, action=_LOOK)
                      for name, title in facts.pop("steps"))  # fmt: skip
        plan = Plan(command, "production", True, title, steps, facts=facts)
        journal = SqliteJournal(self.path)
        journal.append(id, "planned", step=None, actor="ann@laptop",
                       data={"plan": plan_to_json(plan), "sha256": plan.hash})  # fmt: skip
        for step in steps:
            journal.append(id, "verified", step=step.id, actor="ann@laptop", data={})
        journal.append(id, "finished", step=None, actor="ann@laptop", data={})
        journal.close()
        self._date(id, clock)

    def _date(self, run: str, clock: str) -> None:
        """Set when a run was: the journal takes no time but its own."""
        with sqlite3.connect(self.path) as connection:
            connection.execute("DROP TRIGGER IF EXISTS event_no_update")
            connection.execute(
                "UPDATE event SET at = ? WHERE run = ?",
                (f"2026-11-26T{clock}:00.000+00:00", run),
            )
        connection.close()

    def review(self, now: str) -> Review:
        document: Mapping[str, Any] = {"environments": {"production": {}}}
        settings = Settings.model_validate_json(json.dumps(document))
        call = Call(settings, self.root, "production", lambda line: None)
        return review(call, chosen(call, ID), now=at(now))


def _look() -> Any:
    from opsctl.core.action import Command

    return Command(("true",))


_LOOK = _look()


@pytest.fixture
def night(tmp_path: Path) -> Night:
    """A migration takes checkout down at 01:52; it is rolled back at 02:21."""
    made = Night(tmp_path)
    made.health()
    made.event("01:58", "opened", title="Checkout answers 500 after the evening release",
               severity="P1", security=False, found_by="healthcheck watch",
               systems=["checkout", "api"], say=True,
               summary="Orders are refused since the release of 01:50.")  # fmt: skip
    made.event("02:01", "assigned", role="lead", who="Ann")
    made.event("02:09", "updated", state="identified", say=True,
               text="The last migration took orders.state away")  # fmt: skip
    made.event("02:14", "noted", "bea@laptop", text="Support has 41 tickets", noted_at=at("02:12"))
    made.run("20261126-022100-a1b2", "02:21", "rollback db", "Roll back 20261125231500 drop_state",
             steps=[("sql", "In one transaction: bring orders.state back with what it held"),
                    ("health", "checkout answers 200")])  # fmt: skip
    made.event("02:24", "updated", state="monitoring", say=True, text="Rolled back, watching")
    made.event("02:31", "resolved", text="Well for eight minutes", recovered_at=None, say=True)
    made.event("09:10", "answered", answers={
        "cause": "The migration dropped a column that the release before still reads.",
        "impact": "Nobody could order for 31 minutes; 212 orders were refused.",
        "well": "The rollback was proven on a copy before it touched production."})  # fmt: skip
    made.event("09:12", "action", what="Refuse migrations that drop what the live release reads",
               owner="Ann", due="2026-12-03")  # fmt: skip
    made.event("09:13", "action", what="Alert on refused orders", owner="", due="")
    made.run("20261126-020000-told", "02:02", "incident update", "Tell", incident=ID,
             steps=[(f"tell:{channel}:{key}", channel) for channel, key in made.seen])  # fmt: skip
    return made


def test_times_and_impact_come_from_what_was_recorded(night: Night) -> None:
    found = night.review("10:00")

    assert (360.0, 180.0, 1860.0) == (found.detection_s, found.response_s, found.recovery_s)
    assert "the first look at which checkout failed" == found.began.known_by
    assert [("checkout", 31, 1860.0), ("api", 22, 1320.0)] == [
        (each.check, each.failed, each.seconds) for each in found.impact
    ]
    assert (8, 8, 0) == (found.told, found.to_tell, found.late_updates)
    assert ["detection", "badly", "luck"] == [each.name for each in found.questions]
    assert ("nobody has the action item 'Alert on refused orders'",) == found.missing
    assert [("rollback db", "finished")] == [(each.command, each.state) for each in found.done]
    text = markdown(found)
    assert "| recovery | 31 min | from the beginning, until" in text
    assert "| Alert on refused orders | who? | when? |" in text


def test_what_nobody_saw_is_left_as_a_question(tmp_path: Path) -> None:
    blank = Night(tmp_path)
    blank.event("01:58", "opened", title="x", severity="P1", security=False)

    found = blank.review("02:10")
    text = markdown(found)

    assert (None, None, None) == (found.detection_s, found.response_s, found.recovery_s)
    assert "nobody looked in that time" in text
    assert 6 == text.count("?\n\n**not known**")
    assert "no health check was recorded in that time" in text


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_page_asks_for_nothing_and_can_be_read(
    browser: Browser, night: Night, width: int, dark: bool
) -> None:
    path = night.root / "postmortem.html"
    path.write_text(page(night.review("10:00")))

    seen = browser.open(path.as_uri(), width=width, dark=dark)
    if os.environ.get("WRITE_PICTURE") == "1" and width == 1440 and not dark:
        browser.picture(PICTURE)
    smallest, outside, worst = browser.evaluate(_READABLE)

    assert seen.requests == [path.as_uri()]
    assert seen.errors == []
    assert seen.width == width
    assert browser.evaluate("document.scripts.length") == 0
    assert browser.evaluate("document.querySelectorAll('.line time').length") > 15
    assert smallest >= 13
    assert outside == []
    assert worst[0] >= 4.5, worst[1]


_READABLE = """(() => {
  const numbers = text => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map(v => (v /= 255) <= .04045 ? v / 12.92
      : ((v + .055) / 1.055) ** 2.4);
    return .2126 * x + .7152 * y + .0722 * z; };
  const ground = e => { for (; e; e = e.parentElement) {
    const c = numbers(getComputedStyle(e).backgroundColor);
    if (c.length === 3 || c[3] > 0) return c; } return [255, 255, 255]; };
  const shown = [...document.querySelectorAll('main *')].filter(e => e.offsetParent &&
    [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()));
  const outside = shown.filter(e => { const b = e.getBoundingClientRect();
    return b.right > innerWidth + 0.5 || b.left < -0.5 }).map(e => e.outerHTML.slice(0, 120));
  const contrast = shown.map(e => {
    const a = light(numbers(getComputedStyle(e).color)), b = light(ground(e));
    return [(Math.max(a, b) + .05) / (Math.min(a, b) + .05), e.outerHTML.slice(0, 120)];
  }).sort((a, b) => a[0] - b[0]);
  return [Math.min(...shown.map(e => parseFloat(getComputedStyle(e).fontSize))), outside,
    contrast[0]];
})()"""
"""The smallest letters, what sticks out, and the worst contrast (WCAG 2, AA: 4.5 for text)."""
