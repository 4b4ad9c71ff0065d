"""Each message arrives once on each channel, whatever goes wrong on the way: 0 lost, 0 doubled."""

from __future__ import annotations

import os
from typing import Any

import pytest

from opsctl.sandbox.faults import KINDS

from .conftest import World

SLACK = (
    ("POST", "chat.postMessage"),
    ("POST", "chat.update"),
    ("POST", "chat.scheduleMessage"),
    ("POST", "chat.deleteScheduledMessage"),
    ("GET", "conversations.history"),
    ("GET", "conversations.replies"),
    ("GET", "chat.scheduledMessages.list"),
)
STATUSPAGE = (("POST", "/incidents"), ("PATCH", "/incidents"), ("GET", "/incidents"))
ALL = [
    (channel, method, path, kind)
    for channel, places in (("slack", SLACK), ("statuspage", STATUSPAGE))
    for method, path in places
    for kind in KINDS
]
SAMPLE = [("slack", "POST", "chat.postMessage", "reset-after")]
"""Each takes ten seconds; the story of one incident strikes the status page, too."""
SOAK = os.environ.get("OPSCTL_SOAK") == "1"
COMMANDS = (
    ("open", "--title", "Payments fail", "--severity", "P1", "--yes"),
    ("update", "The hook answers 500", "--state", "identified", "--yes"),
    ("resolve", "The hook is mended", "--yes"),
)
SUBJECTS = [
    f"[production] P1 {word}: Payments fail" for word in ("opened", "identified", "resolved")
]
STATES = ["investigating", "identified", "resolved"]


@pytest.mark.parametrize("place", ALL if SOAK else SAMPLE, ids=" ".join)
def test_every_message_arrives_once(world: World, place: tuple[str, str, str, Any]) -> None:
    """The fault strikes at each message anew: when it is opened, updated and resolved."""
    channel, method, path, kind = place
    world.write(channel)
    plane = world.slack if channel == "slack" else world.statuspage
    for command in COMMANDS:
        # Twice, so that where it strikes what is read first the writing is struck, too.
        plane.inject(kind, path, method=method, delay_s=0.02, times=2)
        code, document = world.opsctl(*command)
        assert code in (0, 3, 4), document
        plane.calm()
    for _ in range(3):
        code, document = world.opsctl("update", "--retry", "--yes")
        if not document["data"]["steps"]:
            break

    assert (code, document["data"]["steps"]) == (0, [])
    if channel == "slack":
        first_lines = [text.splitlines()[0].split("> ")[-1] for text in world.said()]
        assert sorted(f"*{each}*" for each in SUBJECTS) == sorted(first_lines)
        roots = [each for each in world.slack.messages if "thread_ts" not in each]
        assert len(roots) == 1
        assert "State: *resolved*" in roots[0]["text"]
        assert world.slack.scheduled == []
    else:
        assert sorted(STATES) == sorted(state for state, _ in world.on_page())
        assert len(world.statuspage.incidents) == 1
        assert world.statuspage.components["component001"]["status"] == "operational"


def test_one_channel_that_fails_keeps_none_of_the_others_and_is_tried_alone(
    world: World,
) -> None:
    world.slack.inject("error-before", "chat.postMessage", times=9)

    code, document = world.opsctl(*COMMANDS[0])
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
