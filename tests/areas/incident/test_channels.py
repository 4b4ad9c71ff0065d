"""Mail and the rest, which cannot be asked; the status file; and what Slack is not made to do."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from opsctl.areas.incident import plan as plans
from opsctl.areas.incident import tell, work
from opsctl.areas.incident.facts import all_incidents, chosen, new_event, store_of
from opsctl.core.errors import OpsError

from .conftest import World
from .driving import carry_out

# Of the library for messages, about Python's own modules.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


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


def keep(world: World, **data: Any) -> tuple[str, str]:
    """Keep an open incident with one message for the web hook; return both ids."""
    message = {
        "state": "investigating", "severity": "P1", "subject": "S", "internal": "for the team",
        "public": "for all", "channels": ["page", "url-1"], **data,
    }  # fmt: skip
    call = world.call()
    event = new_event(call, "INC-20261126-test", "opened",
                      {"title": "<b>Down</b>", "severity": "P1", "message": message})  # fmt: skip
    store_of(call).add(event)
    return event.incident, event.event


@pytest.fixture
def told(world: World, hook: Hook, monkeypatch: pytest.MonkeyPatch) -> World:
    """An environment with a web hook and a status file."""
    monkeypatch.setenv("T_HOOK", f"json://127.0.0.1:{hook.port}/")
    world.write(channels={"urls": ["env:T_HOOK"], "status_file": "public/status.html"})
    return world


def is_told(world: World, channel: str, incident: str, message: str) -> int:
    """Return the exit code of the look."""
    try:
        return int(tell.told(world.call(), channel, incident=incident, message=message).exit)
    except OpsError as error:
        return int(error.exit)


def test_what_was_handed_over_is_not_handed_over_again(told: World, hook: Hook) -> None:
    incident, message = keep(told)

    before = is_told(told, "url-1", incident, message)
    for _ in range(2):
        tell.tell(told.call(), "url-1", incident=incident, message=message)

    assert (1, 0) == (before, is_told(told, "url-1", incident, message))
    assert ["for the team"] == [each["message"].splitlines()[0] for each in hook.heard]


def test_what_was_refused_is_tried_again(told: World, hook: Hook) -> None:
    incident, message = keep(told)
    hook.refuse = 1

    with pytest.raises(OpsError, match="did not take the message"):
        tell.tell(told.call(), "url-1", incident=incident, message=message)
    refused = is_told(told, "url-1", incident, message)
    tell.tell(told.call(), "url-1", incident=incident, message=message)

    assert (1, 0) == (refused, is_told(told, "url-1", incident, message))
    assert 1 == len(hook.heard)


def test_what_was_cut_off_is_not_known_and_not_sent_again_unasked(told: World, hook: Hook) -> None:
    incident, message = keep(told)
    data = {"channel": "url-1", "of": message}
    store_of(told.call()).add(new_event(told.call(), incident, "handing", data))

    unknown = is_told(told, "url-1", incident, message)
    code, document = told.opsctl("update", "--retry", "--yes")
    unasked = list(hook.heard)
    # What the engine does once a person has said: opsctl runs resolve RUN STEP --redo
    tell.tell(told.call(), "url-1", incident=incident, message=message)

    assert (3, 4) == (unknown, code)
    assert ["done", "failed"] == [each["status"] for each in document["data"]["steps"]]
    assert [] == unasked
    assert 1 == len(hook.heard)


def test_the_status_file_says_what_the_public_is_told_and_no_more(told: World) -> None:
    incident, message = keep(told)
    path = told.root / "public" / "status.html"

    before = is_told(told, "page", incident, message)
    for _ in range(2):
        tell.tell(told.call(), "page", incident=incident, message=message)
    text = path.read_text()

    assert (1, 0) == (before, is_told(told, "page", incident, message))
    assert 1 == text.count("for all")
    assert "for the team" not in text
    assert "<b>Down" not in text
    assert "&lt;b&gt;Down" in text
    assert "There is a problem" in text


def test_a_plan_has_one_step_for_each_channel_and_the_journal_says_which_were_told(
    told: World, hook: Hook
) -> None:
    hook.refuse = 1

    code, document = told.opsctl("open", "--title", "Down", "--severity", "P1", "--yes")
    (incident,) = all_incidents(told.call())
    missing = [channel for _, channel in plans.undelivered(told.call(), incident)]
    again, _ = told.opsctl("update", "--retry", "--yes")

    assert (4, 0) == (code, again)
    assert ["done", "done", "failed"] == [each["status"] for each in document["data"]["steps"]]
    assert ["url-1"] == missing
    assert [] == plans.undelivered(told.call(), chosen(told.call(), incident.id))
    assert 1 == len(hook.heard)


def test_slack_is_made_to_mention_nobody_by_what_people_write(world: World) -> None:
    world.write("slack")

    opening = work.Opening("<!channel> & <@U1>", "P2", {})
    carry_out(world.call(), work.open_incident(world.call(), opening, work.Saying()), "run")

    said = "\n".join(each["text"] for each in world.slack.messages)
    assert "<!channel>" not in said
    assert "<@U1>" not in said
    assert "&lt;!channel&gt; &amp; &lt;@U1&gt;" in said
