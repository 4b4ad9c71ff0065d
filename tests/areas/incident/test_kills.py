"""Whoever tells is killed on the way: the run is resumed, and each message is there once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from opsctl.areas.incident.facts import all_incidents
from opsctl.cli.root import run

from .conftest import World

SOAK = os.environ.get("OPSCTL_SOAK") == "1"
DELAYS_S = [0.3 + 0.25 * step for step in range(24)] if SOAK else [2.0]
OPEN = ("incident", "open", "--title", "Payments fail", "--severity", "P1", "--yes")


@pytest.mark.parametrize("delay_s", DELAYS_S)
def test_a_run_that_was_killed_is_resumed_and_says_nothing_twice(
    world: World, delay_s: float
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "opsctl", *OPEN],
        cwd=world.root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    time.sleep(delay_s)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    time.sleep(1.5)  # a step that outlives it may be sending still
    world.capture.readouterr()
    run(["runs", "list", "--format", "json"])
    runs = json.loads(world.capture.readouterr().out)["data"]["runs"]
    if not runs:
        assert [] == [*world.slack.messages, *world.statuspage.incidents]
        return
    if runs[0]["state"] not in ("finished", "aborted"):
        assert run(["runs", "resume", runs[0]["run"], "--yes", "--format", "json"]) == 0
        world.capture.readouterr()

    (incident,) = all_incidents(world.call())
    assert 1 == len(world.said())
    assert 1 == len([each for each in world.slack.messages if "thread_ts" not in each])
    assert [("investigating", "We are looking into a problem with the service. "
             "We will say more soon.")] == world.on_page()  # fmt: skip
    assert 2 == len(world.slack.scheduled)
    assert "P1" == incident.severity
