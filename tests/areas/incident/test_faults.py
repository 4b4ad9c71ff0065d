"""Each message arrives once on each channel, whatever goes wrong on the way: 0 lost, 0 doubled.

Every fault strikes every request of every message, in this process, by the steps of the real
plans; the engine and the processes that it starts are tried with some of them, and with all in
a soak.
"""

from __future__ import annotations

import itertools
import os
from typing import Any

import pytest

from opsctl.areas.incident import work
from opsctl.core.call import Call
from opsctl.core.plan import Plan
from opsctl.sandbox.faults import KINDS

from .conftest import World
from .driving import carry_out

PLACES = {
    "slack": (
        ("POST", "chat.postMessage"),
        ("POST", "chat.update"),
        ("POST", "chat.scheduleMessage"),
        ("POST", "chat.deleteScheduledMessage"),
        ("GET", "conversations.list"),
        ("GET", "conversations.history"),
        ("GET", "conversations.replies"),
        ("GET", "chat.scheduledMessages.list"),
    ),
    "statuspage": (("POST", "/incidents"), ("PATCH", "/incidents"), ("GET", "/incidents")),
}
ALL = [
    (channel, method, path, kind)
    for channel, places in PLACES.items()
    for method, path in places
    for kind in KINDS
]
MESSAGES = ("opened", "identified", "resolved")
SOAK = os.environ.get("OPSCTL_SOAK") == "1"
EVERY = list(itertools.product(ALL, range(3), (1, 2)))
"""Each fault at each message, once and twice: the second strikes what finds out about the first."""
SAMPLE = [("slack", "POST", "chat.postMessage", "reset-after")]
"""Each takes ten seconds; the story of one incident strikes the status page, too."""


def name_of(case: tuple[tuple[str, ...], int, int]) -> str:
    (channel, method, path, kind), message, times = case
    return f"{channel} {method} {path} {kind} {MESSAGES[message]} {times}"


@pytest.mark.parametrize("case", EVERY if SOAK else EVERY[::37], ids=name_of)
def test_every_fault_at_every_message(
    world: World, case: tuple[tuple[str, str, str, Any], int, int]
) -> None:
    (channel, method, path, kind), struck, times = case
    world.write(channel)
    call = world.call()
    plane = world.slack if channel == "slack" else world.statuspage

    for number in range(len(MESSAGES)):
        if number == struck:
            plane.inject(kind, path, method=method, delay_s=0.01, times=times, retry_after_s=0)
        carry_out(call, plan_of(call, number), f"run-{number}")
        plane.calm()
    again = 0
    while (plan := work.retry(call, None)).steps and again < 3:
        again += 1
        carry_out(call, plan, f"again-{again}")

    assert not plan.steps
    prove(world, channel)


def plan_of(call: Call, number: int) -> Plan:
    """Return the plan of the first, the second or the third message."""
    saying = work.Saying()
    if number == 0:
        return work.open_incident(call, work.Opening("Payments fail", "P1", {}), saying)
    if number == 1:
        return work.update(call, None, "The hook answers 500", "identified", saying)
    return work.resolve(call, None, "The hook is mended", recovered=None, saying=saying)


def prove(world: World, channel: str) -> None:
    """Hold what arrived against what was said: nothing is lost, nothing is there twice."""
    if channel == "slack":
        subjects = [text.splitlines()[0].split("> ")[-1] for text in world.said()]
        expected = [f"*[production] P1 {word}: Payments fail*" for word in MESSAGES]
        roots = [each for each in world.slack.messages if "thread_ts" not in each]

        assert sorted(expected) == sorted(subjects)
        assert 1 == len(roots)
        return
    states = [state for state, _ in world.on_page()]

    assert sorted(["investigating", "identified", "resolved"]) == sorted(states)
    assert 1 == len(world.statuspage.incidents)


@pytest.mark.parametrize("place", ALL if SOAK else SAMPLE, ids=" ".join)
def test_every_message_arrives_once(world: World, place: tuple[str, str, str, Any]) -> None:
    """The fault strikes at each message anew: when it is opened, updated and resolved."""
    channel, method, path, kind = place
    world.write(channel)
    plane = world.slack if channel == "slack" else world.statuspage
    for command in (
        ("open", "--title", "Payments fail", "--severity", "P1", "--yes"),
        ("update", "The hook answers 500", "--state", "identified", "--yes"),
        ("resolve", "The hook is mended", "--yes"),
    ):
        plane.inject(kind, path, method=method, delay_s=0.02, times=2)
        code, document = world.opsctl(*command)
        assert code in (0, 3, 4), document
        plane.calm()
    for _ in range(3):
        code, document = world.opsctl("update", "--retry", "--yes")
        if not document["data"]["steps"]:
            break

    assert (code, document["data"]["steps"]) == (0, [])
    prove(world, channel)


def test_one_channel_that_fails_keeps_none_of_the_others_and_is_tried_alone(
    world: World,
) -> None:
    world.slack.inject("error-before", "chat.postMessage", times=9)

    code, document = world.opsctl("open", "--title", "Down", "--severity", "P1", "--yes")
    steps = {step["title"]: step["status"] for step in document["data"]["steps"]}
    _, status = world.opsctl("status")
    world.slack.calm()
    page_writes = world.statuspage.count("POST", "/incidents")
    again, retried = world.opsctl("update", "--retry", "--yes")

    assert (4, "failed", "done") == (code, steps["Tell Slack #incidents"], steps["Tell Statuspage"])
    assert "incident-not-told" in [each["rule"] for each in status["findings"]]
    assert again == 0
    assert retried["data"]["steps"][0]["id"].startswith("tell:slack:")
    assert page_writes == world.statuspage.count("POST", "/incidents")
    assert 1 == len(world.said())
