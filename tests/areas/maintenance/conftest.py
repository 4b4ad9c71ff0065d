"""An environment with monthly maintenance, called through the front door."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from opsctl.areas.maintenance.facts import new_event, store_of
from opsctl.cli.root import run
from opsctl.core.call import Call
from opsctl.core.settings import Settings
from opsctl.sandbox.slack_plane import SlackPlane

MONTHLY = {"name": "monthly maintenance", "on": "first sunday", "at": "02:00", "hours": 3.0}


@dataclass
class World:
    """The settings file, a Slack, and how opsctl is called."""

    slack: SlackPlane
    root: Path
    capture: pytest.CaptureFixture[str]
    settings: dict[str, Any] = field(default_factory=dict)
    stderr: str = ""

    def write(self, **settings: Any) -> None:
        """Write the settings of the environment."""
        self.settings = {"maintenance_windows": [MONTHLY], **settings}
        document = {"environments": {"production": self.settings}}
        (self.root / "opsctl.yaml").write_text(json.dumps(document))

    def call(self) -> Call:
        """Return a call as the front door makes it."""
        document = {"environments": {"production": self.settings}}
        settings = Settings.model_validate_json(json.dumps(document))
        return Call(settings, self.root, "production", lambda line: None)

    def opsctl(self, *words: str) -> tuple[int, dict[str, Any]]:
        """Run `opsctl maintenance ...` and return the exit code and the document."""
        return self.front_door("maintenance", *words)

    def front_door(self, *words: str) -> tuple[int, dict[str, Any]]:
        """Run any command and return the exit code and the document."""
        self.capture.readouterr()
        code = run([*words, "--env", "production", "--format", "json"])
        said = self.capture.readouterr()
        self.stderr = said.err
        return code, json.loads(said.out)

    def keep(self, about: str, kind: str, data: dict[str, Any], *, at: float) -> None:
        """Put something on record that happened at another time."""
        store_of(self.call()).add(new_event(self.call(), about, kind, data, at=at))


def typed(at: float) -> str:
    """Return a moment as it is typed, to the minute."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M}"


@pytest.fixture
def world(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[World]:
    """Slack on loopback, and a folder of its own."""
    token = "-".join(["xoxb", "canary", "7743"])
    monkeypatch.setenv("T_SLACK", token)
    monkeypatch.setenv("PYTHONPATH", str(Path(sys.modules["opsctl"].__path__[0]).parent))
    monkeypatch.chdir(tmp_path)
    with SlackPlane(token=token) as slack:
        found = World(slack, tmp_path, capsys)
        found.write()
        yield found
        kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
        assert token.encode() not in kept
