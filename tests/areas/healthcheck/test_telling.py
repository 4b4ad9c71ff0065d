"""Real messages to a Slack, a web hook and a mail server of our own."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from opsctl.adapters.event_loop import EventLoop
from opsctl.adapters.maintenance_windows import Window, WindowStore
from opsctl.adapters.notify import Message, tell
from opsctl.areas.healthcheck.alerts import Event
from opsctl.areas.healthcheck.telling import Outbox, message, sentence
from opsctl.areas.healthcheck.watch import Wanted, watch
from opsctl.core.call import Call
from opsctl.core.settings import AlertRule, Channels, Settings

# Of the library for messages, about Python's own modules.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

TOKEN = "-".join(["xoxb", "canary", "5521"])


@dataclass
class Listener:
    """An HTTP server that remembers what it was told; `fail` makes it refuse so many times."""

    heard: list[dict[str, Any]] = field(default_factory=list)
    fail: int = 0
    url: str = ""


@pytest.fixture
def listener() -> Iterator[Listener]:
    found = Listener()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.heard.append({"path": self.path, "auth": self.headers.get("Authorization"),
                                **json.loads(body)})  # fmt: skip
            found.fail -= 1
            answer = {"ok": True} if found.fail < 0 else {"ok": False, "error": "not " + TOKEN}
            if not self.path.endswith("chat.postMessage") and found.fail >= 0:
                self.send_response(500)
            else:
                self.send_response(200)
            out = json.dumps(answer).encode()
            self.send_header("Content-Length", str(len(out)))
            self.end_headers()
            self.wfile.write(out)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    found.url = f"http://127.0.0.1:{server.server_port}"
    yield found
    server.shutdown()
    server.server_close()


def channels(listener: Listener, **more: Any) -> Channels:
    return Channels(slack="env:SLACK_FOR_TEST", slack_api=listener.url, **more)


def test_slack_is_told_with_the_token_and_mentions_nobody(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLACK_FOR_TEST", TOKEN)

    failed = tell(channels(listener), Message("<!channel> a & b", "more"))

    assert failed == {}
    assert listener.heard[0]["auth"] == f"Bearer {TOKEN}"
    assert listener.heard[0]["channel"] == "#incidents"
    assert listener.heard[0]["text"] == "*&lt;!channel&gt; a &amp; b*\nmore"


def test_a_channel_that_fails_says_why_without_a_secret_and_keeps_no_other_back(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLACK_FOR_TEST", TOKEN)
    monkeypatch.setenv("HOOK_FOR_TEST", listener.url.replace("http", "json") + "/hook")
    monkeypatch.setenv("ODD_FOR_TEST", "no-such-service://" + TOKEN)
    urls = ("env:HOOK_FOR_TEST", "env:ODD_FOR_TEST", "env:NOT_SET_ANYWHERE")
    listener.fail = 1

    failed = tell(channels(listener, urls=urls), Message("title", "body"))

    assert sorted(failed) == ["slack", "url-2", "url-3"]
    assert TOKEN not in str(failed)
    assert "not ***" in failed["slack"]
    assert "NOT_SET_ANYWHERE" in failed["url-3"]
    hook = next(each for each in listener.heard if each["path"] == "/hook")
    assert (hook["title"], hook["message"]) == ("title", "body")


def test_mail_is_sent_to_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    letters: list[str] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                with client, client.makefile("rwb", buffering=0) as file:
                    file.write(b"220 hello\r\n")
                    while line := file.readline():
                        word = line.split()[0].upper() if line.split() else b""
                        letters.append(line.decode().strip())
                        if word == b"EHLO":
                            file.write(b"250-hello\r\n250 AUTH PLAIN LOGIN\r\n")
                        elif word == b"DATA":
                            file.write(b"354 go on\r\n")
                            while (line := file.readline()) not in (b".\r\n", b""):
                                letters.append(line.decode().strip())
                            file.write(b"250 kept\r\n")
                        elif word == b"AUTH":
                            file.write(b"235 welcome\r\n")
                        elif word == b"QUIT":
                            file.write(b"221 bye\r\n")
                            break
                        else:
                            file.write(b"250 fine\r\n")

    threading.Thread(target=serve, daemon=True).start()
    port = listener.getsockname()[1]
    server = f"me:{'-'.join(['pass', '3391'])}@127.0.0.1:{port}"
    monkeypatch.setenv("SMTP_FOR_TEST", f"mailto://{server}?from=ops@example.com&mode=insecure")
    to = ("one@example.com", "two@example.com")

    failed = tell(Channels(email=to, smtp="env:SMTP_FOR_TEST"), Message("It is ill", "very"))
    listener.close()

    assert failed == {}
    assert all(any("RCPT" in line.upper() and each in line for line in letters) for each in to)
    encoded = base64.b64encode(b"very").decode().rstrip("=")
    assert any("very" in letter or encoded in letter for letter in letters)


def event(kind: str, check: str = "api", **more: Any) -> Event:
    rule = AlertRule(name="slow", metric=more.pop("metric", "p95_ms"), above=500.0, for_s=60.0)
    values = {"at": 700.0, "since": 100.0, "value": 612.0, **more}
    return Event(kind, rule, check, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("began", "api: slow at 612 ms, above 500 ms, for 10 min"),
        ("lasts", "api: slow at 612 ms, above 500 ms, still, after 10 min"),
        ("ended", "api: slow is over after 10 min"),
        ("flapping", "api: slow comes and goes; nothing more is told until it keeps still"),
        ("still", "api: slow keeps still again: it lasts"),
    ],
)
def test_every_event_is_a_sentence(kind: str, said: str) -> None:
    assert sentence(event(kind)) == said


def test_an_outage_is_one_message() -> None:
    many = message([event("began", f"c{index}") for index in range(500)], environment="prod")

    assert many.title == "[prod] 500 alerts" or many.title == "[prod] 500 alert"
    assert "and 480 more" in many.body
    assert message([event("ended")], environment="prod").title == (
        "[prod] api: slow is over after 10 min"
    )


def test_a_message_that_was_not_taken_is_sent_again_to_those_alone(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLACK_FOR_TEST", TOKEN)
    monkeypatch.setenv("HOOK_FOR_TEST", listener.url.replace("http", "json") + "/hook")
    said: list[str] = []
    loop = EventLoop()
    listener.fail = 1
    both = channels(listener, urls=("env:HOOK_FOR_TEST",))
    outbox = Outbox(loop, both, environment="t", say=said.append, pause_s=0.1)

    outbox.add(event("began"))
    loop.run(lambda: outbox.empty)
    loop.close()

    paths = [each["path"] for each in listener.heard]
    assert sorted(paths) == ["/chat.postMessage", "/chat.postMessage", "/hook"]
    assert len(said) == 1
    assert TOKEN not in said[0]


@pytest.fixture
def make_call(tmp_path: Path, listener: Listener, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("SLACK_FOR_TEST", TOKEN)

    def make(**environment: Any) -> Call:
        told = {"slack": "env:SLACK_FOR_TEST", "slack_api": listener.url}
        document = {"environments": {"t": {"channels": told, **environment}}}
        settings = Settings.model_validate_json(json.dumps(document))
        return Call(settings=settings, root=tmp_path, environment_name="t", say=lambda line: None)

    return make


FAILING = [{"name": "failing", "metric": "failure", "above": 0, "for_s": 0.5}]


def test_a_failure_that_lasts_is_told_once_and_its_end_too(
    server: Any, listener: Listener, make_call: Callable[..., Call]
) -> None:
    began = time.monotonic()

    def page(client: socket.socket) -> None:
        ill = 0.5 < time.monotonic() - began < 2.5
        client.sendall(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % (500 if ill else 200))

    server.pages["page"] = page
    call = make_call(health=[{"name": "it", "url": f"{server.url}/page"}], alerts=FAILING)

    report = watch(call, Wanted(every_s=0.25, for_s=4))

    assert len(listener.heard) in (1, 2)  # what begins and ends within 2 s is one message
    text = "\n".join(each["text"] for each in listener.heard)
    assert text.count("it: failing") >= 2
    assert "is over after" in text
    assert int(report.exit) == 1
    assert "alert-failing" in {finding.rule for finding in report.findings}


@pytest.mark.parametrize("how", ["--no-notify", "window"])
def test_nobody_is_told_where_nobody_is_to_be(
    server: Any, listener: Listener, make_call: Callable[..., Call], tmp_path: Path, how: str
) -> None:
    call = make_call(health=[{"name": "it", "url": f"{server.url}/broken"}], alerts=FAILING)
    if how == "window":
        window = Window(time.time() - 60, time.time() + 600, "upgrade", "w1", time.time(), "me")
        WindowStore(call.root / call.settings.state).add("t", window)

    watch(call, Wanted(every_s=0.25, for_s=1.5, notify=how == "window"))

    assert listener.heard == []


def test_a_short_failure_is_not_told(
    server: Any, listener: Listener, make_call: Callable[..., Call]
) -> None:
    answers = iter([500])
    server.pages["page"] = lambda client: client.sendall(
        b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % next(answers, 200)
    )
    call = make_call(health=[{"name": "it", "url": f"{server.url}/page"}], alerts=FAILING)

    report = watch(call, Wanted(every_s=0.25, for_s=1.5))

    assert listener.heard == []
    assert int(report.exit) == 0
