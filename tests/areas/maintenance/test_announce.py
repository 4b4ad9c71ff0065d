"""Announcements: shown first, each sent once to each channel, and failed ones sent again alone."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from opsctl.cli.root import run

from .conftest import World, typed

# Of the library for messages, about Python's own modules.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


WHOLE = os.environ.get("OPSCTL_SOAK") == "1"
KINDS = ("error-after", "truncated", "reset-after", "error-before")


@dataclass
class Hook:
    """A web hook that remembers what it was told, and refuses so many times."""

    heard: list[dict[str, Any]] = field(default_factory=list)
    refuse: int = 0
    port: int = 0


@pytest.fixture
def hook() -> Iterator[Hook]:
    found = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.refuse -= 1
            if found.refuse < 0:
                found.heard.append(json.loads(body))
            self.send_response(200 if found.refuse < 0 else 500)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    found.port = server.server_port
    yield found
    server.shutdown()
    server.server_close()


@pytest.fixture
def both(world: World, hook: Hook, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world with Slack and a web hook, and one window on record."""
    monkeypatch.setenv("T_HOOK", f"json://127.0.0.1:{hook.port}/")
    channels = {"slack": "env:T_SLACK", "slack_api": f"{world.slack.url}/api",
                "urls": ["env:T_HOOK"]}  # fmt: skip
    world.write(channels=channels)
    world.opsctl("plan", "--at", typed(time.time() + 600), "--short-notice", "certificate ends")
    return world


def said(world: World) -> list[str]:
    return [each["text"] for each in world.slack.messages]


def test_it_is_shown_first_and_nothing_is_sent_by_a_dry_run(both: World, hook: Hook) -> None:
    both.capture.readouterr()
    code = run(["maintenance", "announce", "--env", "production", "--dry-run"])
    shown = both.capture.readouterr().out
    refused, document = both.opsctl("announce", "--no-input")

    assert code == 0
    assert "Tell Slack #incidents" in shown
    assert "Maintenance of production: 20" in shown
    assert "certificate ends" in shown
    assert (refused, document["error"]["code"]) == (5, "not-confirmed")
    assert (said(both), hook.heard) == ([], [])


def test_each_channel_is_told_once_of_each_state(both: World, hook: Hook) -> None:
    first, _ = both.opsctl("announce", "--yes")
    again, nothing = both.opsctl("announce", "--yes")
    window = both.opsctl("list")[1]["data"]["windows"][0]

    assert (first, again) == (0, 0)
    assert nothing["data"]["steps"] == []
    assert (len(said(both)), len(hook.heard)) == (1, 1)
    assert {each["channel"] for each in window["told"]} == {"slack", "url-1"}

    both.opsctl("start")
    both.opsctl("announce", "--yes", "--only", "slack")
    both.opsctl("finish", "--note", "All <!channel> done.")
    code, _ = both.opsctl("announce", window["id"], "--yes")
    assert code == 0
    assert [text.splitlines()[0] for text in said(both)[1:]] == [
        "*Maintenance of production has begun*", "*Maintenance of production is over*",
    ]  # fmt: skip
    assert "All &lt;!channel&gt; done." in said(both)[2]
    assert len(hook.heard) == 2


def test_a_move_is_told_anew(both: World) -> None:
    both.opsctl("announce", "--yes")
    id = both.opsctl("list")[1]["data"]["windows"][0]["id"]
    both.opsctl("plan", "--move", id, "--at", typed(time.time() + 90 * 3600))
    both.opsctl("announce", "--yes")

    assert len(said(both)) == 2
    assert said(both)[1].startswith("*Maintenance of production was moved: now 20")


def test_a_channel_that_fails_keeps_no_other_and_is_told_again_alone(
    both: World, hook: Hook
) -> None:
    hook.refuse = 1
    code, document = both.opsctl("announce", "--yes")
    id = document["data"]["run"]
    resumed, _ = both.front_door("runs", "resume", id, "--yes")

    assert code == 4
    assert resumed == 0
    assert (len(said(both)), len(hook.heard)) == (1, 1)


@pytest.mark.parametrize("kind", KINDS if WHOLE else KINDS[:2])
def test_a_message_whose_answer_was_lost_is_not_sent_twice(both: World, kind: Any) -> None:
    both.slack.inject(kind, path="chat.postMessage")
    code, document = both.opsctl("announce", "--yes", "--only", "slack")
    if code != 0:
        both.front_door("runs", "resume", document["data"]["run"], "--yes")
        both.opsctl("announce", "--yes", "--only", "slack")

    assert len(said(both)) == 1
    assert [each["channel"] for each in both.opsctl("list")[1]["data"]["windows"][0]["told"]] == [
        "slack"
    ]


def test_of_what_was_cut_off_while_it_was_handed_over_a_person_is_asked(
    both: World, hook: Hook
) -> None:
    window = both.opsctl("list")[1]["data"]["windows"][0]
    key = f"{window['id']}/planned/0"
    both.keep(window["id"], "handing", {"channel": "url-1", "key": key}, at=time.time())
    code, document = both.opsctl("told", "url-1", "--window", window["id"], "--message", key)
    asked, _ = both.opsctl("tell", "url-1", "--window", window["id"], "--message", key)

    assert (code, document["error"]["code"]) == (3, "not-known-told")
    assert (asked, len(hook.heard)) == (0, 1)


def test_what_is_old_is_not_said_any_more(both: World, hook: Hook) -> None:
    hook.refuse = 1
    _, document = both.opsctl("announce", "--yes", "--only", "url-1")
    both.opsctl("start")
    both.front_door("runs", "resume", document["data"]["run"], "--yes")

    assert hook.heard == []


def test_a_message_is_not_frozen(both: World) -> None:
    both.settings["freezes"] = [
        {"name": "the sale", "days": ["monday"], "at": "00:00", "hours": 168.0}
    ]
    both.write(**both.settings)

    assert both.opsctl("announce", "--yes", "--only", "slack")[0] == 0


def test_without_a_channel_nobody_is_told(world: World) -> None:
    world.opsctl("plan")
    code, document = world.opsctl("announce", "--yes")

    assert (code, document["error"]["code"]) == (2, "no-channel")


def test_a_channel_that_is_none_is_named(both: World) -> None:
    code, document = both.opsctl("announce", "--only", "pigeon")

    assert (code, document["error"]["code"]) == (2, "no-such-channel")
    assert "slack, url-1" in document["error"]["why"]
