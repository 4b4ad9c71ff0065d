"""A project on real PostgreSQL and the vendors' control planes, for doctor, status and init."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from opsctl.cli.root import run
from opsctl.sandbox.github_plane import GithubPlane
from opsctl.sandbox.supabase_plane import SupabasePlane
from opsctl.sandbox.vercel_plane import VercelPlane

REF = "abcdefghijklmnopqrst"


@dataclass
class Served:
    """What the health endpoint answers."""

    status: int = 200
    at: float | None = None
    """Its clock, where that is not this machine's."""
    hangs: threading.Event = field(default_factory=threading.Event)
    """Set: it answers; cleared: it waits until it is set."""


@contextmanager
def serve(served: Served) -> Iterator[str]:
    """Serve the health endpoint and yield its address."""

    class Health(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.hangs.wait(30)
            self.send_response_only(served.status)
            self.send_header("Date", formatdate(served.at, usegmt=True))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None: ...

    served.hangs.set()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Health)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/health"
    finally:
        served.hangs.set()
        server.shutdown()
        server.server_close()


@dataclass
class Told:
    """What a command said."""

    exit: int
    document: dict[str, Any]
    text: str

    @property
    def checks(self) -> dict[str, dict[str, Any]]:
        """The findings by rule; of a rule's the last."""
        return {each["rule"]: each for each in self.document["findings"]}


@dataclass
class World:
    """The planes, the endpoint and the directory."""

    root: Path
    vercel: VercelPlane
    supabase: SupabasePlane
    github: GithubPlane
    served: Served
    health: str
    secrets: tuple[str, ...]
    capsys: pytest.CaptureFixture[str]

    def settings(self, **changes: Any) -> None:
        """Write the settings of the environment `test`; a change to None leaves a part out."""
        parts = {
            "database": {"url": "env:FR_DATABASE"},
            "vercel": {"project": "web", "team": "team_sandbox", "token": "env:FR_VERCEL",
                       "api": self.vercel.url},
            "supabase": {"ref": REF, "url": self.supabase.url, "access_token": "env:FR_SUPABASE",
                         "api": self.supabase.url},
            "github": {"repository": "example/web", "token": "env:FR_GITHUB",
                       "environment": "production", "api": self.github.url},
            "health": [{"name": "app", "url": self.health}],
            **changes,
        }  # fmt: skip
        document = {
            "environments": {"test": {key: each for key, each in parts.items() if each is not None}}
        }
        (self.root / "opsctl.yaml").write_text(json.dumps(document))

    def opsctl(self, *words: str) -> Told:
        """Run a command through the front door, as JSON."""
        self.capsys.readouterr()
        code = run([*words, "--format", "json"])
        out = self.capsys.readouterr()
        for secret in self.secrets:
            assert secret not in out.out + out.err
        return Told(code, json.loads(out.out), out.out)


@contextmanager
def first_run_world(
    root: Path, url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[World]:
    """Start the planes; one release is live, and the settings are written."""
    tokens = {name: "-".join(["canary", name.lower(), "91"]) for name in ("VERCEL", "GITHUB")}
    tokens["SUPABASE"] = "sbp_" + "0a" * 20
    for name, token in tokens.items():
        monkeypatch.setenv(f"FR_{name}", token)
    monkeypatch.setenv("FR_DATABASE", url)
    monkeypatch.chdir(root)
    served = Served()
    with (
        VercelPlane(token=tokens["VERCEL"]) as vercel,
        SupabasePlane(token=tokens["SUPABASE"], ref=REF) as supabase,
        GithubPlane(token=tokens["GITHUB"]) as github,
        serve(served) as health,
    ):
        vercel.add_deployment("a" * 40, live=True)
        github.head = "a" * 40
        github.put_secret("KEY", environment="production")
        world = World(
            root, vercel, supabase, github, served, health, tuple(tokens.values()), capsys
        )
        world.settings()
        yield world
