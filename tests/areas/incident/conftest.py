"""An environment with a Slack and a status page, called through the front door."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from opsctl.cli.root import run
from opsctl.core.call import Call
from opsctl.core.settings import Settings
from opsctl.sandbox.slack_plane import SlackPlane
from opsctl.sandbox.statuspage_plane import StatuspagePlane

CONTACTS = [
    {"role": "on-call", "name": "Ann", "reach": "+49 30 1", "slack": "U0ANN0001"},
    {"role": "security", "name": "Sam", "reach": "sam@example.com"},
    {"role": "escalation", "name": "Eve", "reach": "+49 30 2"},
]


@dataclass
class World:
    """The planes, the settings file, and how opsctl is called."""

    slack: SlackPlane
    statuspage: StatuspagePlane
    root: Path
    capture: pytest.CaptureFixture[str]
    settings: dict[str, Any] = field(default_factory=dict)
    stderr: str = ""

    def write(self, *channels: str, **more: Any) -> None:
        """Write the settings with these channels."""
        made: dict[str, Any] = {}
        if "slack" in channels:
            made.update(slack="env:T_SLACK", slack_api=f"{self.slack.url}/api")
        if "statuspage" in channels:
            made.update(
                statuspage="env:T_STATUSPAGE",
                statuspage_page=self.statuspage.page,
                statuspage_api=self.statuspage.url,
                statuspage_components=["component001"],
            )
        made.update(more.pop("channels", {}))
        self.settings = {"channels": made, "incidents": {"contacts": CONTACTS}, **more}
        document = {"environments": {"production": self.settings}}
        (self.root / "opsctl.yaml").write_text(json.dumps(document))

    def call(self) -> Call:
        """Return a call as the front door makes it."""
        document = {"environments": {"production": self.settings}}
        settings = Settings.model_validate_json(json.dumps(document))
        return Call(settings, self.root, "production", lambda line: None)

    def opsctl(self, *words: str) -> tuple[int, dict[str, Any]]:
        """Run `opsctl incident ...` and return the exit code and the document."""
        self.capture.readouterr()
        code = run(["incident", *words, "--format", "json"])
        said = self.capture.readouterr()
        self.stderr = said.err
        return code, json.loads(said.out)

    def said(self) -> list[str]:
        """Return what stands in Slack, without the message that the thread hangs on."""
        return [each["text"] for each in self.slack.messages if "thread_ts" in each]

    def on_page(self) -> list[tuple[str, str]]:
        """Return the updates on the status page, the oldest first."""
        return [
            (update["status"], update["body"])
            for incident in self.statuspage.incidents
            for update in reversed(incident["incident_updates"])
        ]


@pytest.fixture
def world(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[World]:
    """Slack and Statuspage on loopback, and nothing else."""
    slack_token = "-".join(["xoxb", "canary", "7741"])
    page_token = "-".join(["page", "canary", "7742"])
    monkeypatch.setenv("T_SLACK", slack_token)
    monkeypatch.setenv("T_STATUSPAGE", page_token)
    monkeypatch.setenv("PYTHONPATH", str(Path(sys.modules["opsctl"].__path__[0]).parent))
    monkeypatch.chdir(tmp_path)
    with SlackPlane(token=slack_token) as slack, StatuspagePlane(token=page_token) as page:
        found = World(slack, page, tmp_path, capsys)
        found.write("slack", "statuspage")
        yield found
        kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
        for token in (slack_token, page_token):
            assert token.encode() not in kept
