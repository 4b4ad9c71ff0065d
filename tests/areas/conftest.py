"""An application on the vendors' control planes, with a git checkout, called as the door does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from opsctl.core.call import Call
from opsctl.core.process import run_program
from opsctl.core.settings import Settings
from opsctl.sandbox.github_plane import GithubPlane
from opsctl.sandbox.vercel_plane import VercelPlane

GIT = {
    "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.com", "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.com", "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
}  # fmt: skip


@dataclass
class World:
    """The planes, the checkout, and what was said."""

    vercel: VercelPlane
    github: GithubPlane
    root: Path
    statuses: list[int] = field(default_factory=list)
    """What the health endpoint answers next; the last one for ever."""
    health_url: str = ""
    said: list[str] = field(default_factory=list)

    def git(self, *words: str) -> str:
        """Run git in the checkout."""
        done = run_program(["git", *words], env=GIT, cwd=str(self.root / "app"))
        assert done.exit_code == 0, done.stderr
        return done.stdout.strip()

    def settings(self, **changes: Any) -> dict[str, Any]:
        """Return the environment's settings as in the file."""
        return {
            "project": "app",
            "vercel": {"project": "web", "team": "team_sandbox", "token": "env:T_VERCEL",
                       "api": self.vercel.url},
            "github": {"repository": "example/web", "token": "env:T_GITHUB",
                       "environment": "production", "api": self.github.url},
            "health": [{"name": "health", "url": self.health_url}],
            **changes,
        }  # fmt: skip

    def write_settings(self) -> None:
        """Write the settings file, for steps that start opsctl again."""
        document = {"environments": {"production": self.settings()}}
        (self.root / "opsctl.yaml").write_text(json.dumps(document))

    def call(self, **changes: Any) -> Call:
        """Return a call for the environment; a change to None leaves a setting out."""
        chosen = {
            key: value for key, value in self.settings(**changes).items() if value is not None
        }
        settings = Settings.model_validate_json(
            json.dumps({"environments": {"production": chosen}})
        )
        return Call(settings, self.root, "production", self.said.append)


@pytest.fixture
def app_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """One commit that is pushed and live, some variables and secrets."""
    vercel_token = "-".join(["canary", "vercel", "7731"])
    github_token = "-".join(["canary", "github", "7732"])
    monkeypatch.setenv("T_VERCEL", vercel_token)
    monkeypatch.setenv("T_GITHUB", github_token)
    with VercelPlane(token=vercel_token) as vercel, GithubPlane(token=github_token) as github:
        world = World(vercel, github, tmp_path)
        (tmp_path / "app").mkdir()
        world.git("init", "-q", "-b", "main")
        world.git("remote", "add", "origin", "https://me:pass-canary@git.example.com/x.git?a=b")
        world.git("commit", "-q", "--allow-empty", "-m", "One")
        commit = world.git("rev-parse", "HEAD")
        world.git("update-ref", "refs/remotes/origin/main", commit)
        github.head = commit
        vercel.add_deployment(commit, live=True)
        vercel.add_variable("BOTH", "canary-both-value", "production", "preview")
        vercel.add_variable("SEALED", "canary-sealed-value", "production", type="sensitive")
        github.put_secret("DEPLOY_KEY")
        github.put_secret("OWN_KEY", environment="production")
        github.put_variable("REGION", "eu")

        class Health(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status = world.statuses[0] if world.statuses else 200
                if len(world.statuses) > 1:
                    world.statuses.pop(0)
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None: ...

        server = ThreadingHTTPServer(("127.0.0.1", 0), Health)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        world.health_url = f"http://127.0.0.1:{server.server_address[1]}/health"
        yield world
        server.shutdown()
        server.server_close()
