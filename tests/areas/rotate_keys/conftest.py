"""A project on the control planes whose keys are kept in nine places, and its application."""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from opsctl.adapters.env_file import read_variable
from opsctl.cli.root import run
from opsctl.sandbox.github_plane import GithubPlane
from opsctl.sandbox.supabase_plane import SupabasePlane
from opsctl.sandbox.vercel_plane import VercelPlane

PUBLIC, SECRET = "NEXT_PUBLIC_SUPABASE_PUBLISHABLE_KEY", "SUPABASE_SECRET_KEY"
KEEPER = """
import os, pathlib, sys
kept, value = pathlib.Path("kept-by-command"), os.environ["OPSCTL_VALUE"]
if sys.argv[1:] == ["--check"]:
    sys.exit(0 if kept.exists() and kept.read_text() == value else 1)
kept.write_text(value)
"""


@dataclass
class Outcome:
    """What one opsctl command gave."""

    exit: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """The JSON document on stdout."""
        return json.loads(self.stdout)


class RotationWorld:
    """Planes, an application that runs with what is live, and a project's directory."""

    def __init__(self, root: Path, vercel: VercelPlane, supabase: SupabasePlane,
                 github: GithubPlane) -> None:  # fmt: skip
        self.root, self.vercel, self.supabase, self.github = root, vercel, supabase, github
        self.frozen: dict[str, str] | None = None
        """What the application runs with, where it is not what the live deployment was built
        with."""
        github.environments.append("production")
        for kind, name in (("publishable", PUBLIC), ("secret", SECRET)):
            type = "encrypted" if kind == "publishable" else "sensitive"
            vercel.add_variable(name, self.key(kind), "production", "preview", type=type)
        self.old = vercel.add_deployment("a" * 40, live=True)
        (root / "keep.py").write_text(KEEPER)
        (root / ".env.local").write_text(f"# mine\n{SECRET}={self.key('secret')}\nOTHER=1\n")

    def key(self, kind: str, name: str = "default") -> str:
        """Return a key's value."""
        return next(str(each["api_key"]) for each in self.supabase.keys
                    if each["type"] == kind and each["name"] == name)  # fmt: skip

    @property
    def new_name(self) -> str:
        """The name of the keys that a rotation has made; empty where there are none."""
        names = [str(each["name"]) for each in self.supabase.keys]
        return next((each for each in names if each.startswith("opsctl_")), "")

    def places(self) -> dict[str, str | None]:
        """Return what each place holds now."""
        found: dict[str, str | None] = {}
        for record in self.vercel.variables:
            for target in record["target"]:
                found[f"vercel {record['key']} {target}"] = record["value"]
        for scope in ("actions", "production", "dependabot"):
            found[f"github {scope}"] = self.github.secret(SECRET, scope)
        kept = self.supabase.function_secrets.get("OUR_SECRET_KEY")
        found["edge functions (SHA-256)"] = kept["value"] if kept else None
        for name in (PUBLIC, SECRET):
            found[f"file {name}"] = read_variable(self.root / ".env.local", name)
        kept_by = self.root / "kept-by-command"
        found["command"] = kept_by.read_text() if kept_by.exists() else None
        return found

    def records(self) -> list[tuple[str, tuple[str, ...], str, str]]:
        """Return Vercel's records: name, targets, type, value."""
        return sorted((each["key"], tuple(sorted(each["target"])), each["type"], each["value"])
                      for each in self.vercel.variables)  # fmt: skip

    def holds(self, publishable: str, secret: str) -> dict[str, str | None]:
        """Return what each place holds when these two keys are everywhere."""
        return {
            f"vercel {PUBLIC} production": publishable,
            f"vercel {PUBLIC} preview": publishable,
            f"vercel {SECRET} production": secret,
            f"vercel {SECRET} preview": secret,
            "github actions": secret,
            "github production": secret,
            "github dependabot": secret,
            "edge functions (SHA-256)": hashlib.sha256(secret.encode()).hexdigest(),
            f"file {PUBLIC}": publishable,
            f"file {SECRET}": secret,
            "command": secret,
        }

    def opsctl(self, *argv: str) -> Outcome:
        """Run one command line in this process, in the project's directory."""
        out, err = io.StringIO(), io.StringIO()
        here = Path.cwd()
        os.chdir(self.root)
        try:
            with redirect_stdout(out), redirect_stderr(err):
                code = run([*argv, "--env", "production"])
        finally:
            os.chdir(here)
        return Outcome(code, out.getvalue(), err.getvalue())

    def write_settings(self, app: str, *, sinks: list[dict[str, Any]], **more: Any) -> None:
        """Write the settings; `more` are further keys of `rotation`."""
        (self.root / "token").write_text("t0ken")
        token, url = "file:token", self.supabase.url
        production: dict[str, Any] = {
            "vercel": {"project": "web", "team": self.vercel.team, "token": token,
                       "api": self.vercel.url},
            "github": {"repository": self.github.repository, "environment": "production",
                       "token": token, "api": self.github.url},
            "supabase": {"ref": self.supabase.ref, "url": url, "access_token": token, "api": url},
            "health": [{"name": "health", "url": f"{app}/api/health"}],
            "rotation": {
                "drain_h": 0.0001, "page": f"{app}/", "jwks_s": 0.0, "token_grace_s": 0.0,
                "build_s": 5.0,
                "fingerprint": {"url": f"{app}/api/health", "pointer": f"/credentials/{SECRET}"},
                "sinks": sinks,
                **more,
            },
        }  # fmt: skip
        text = json.dumps({"environments": {"production": production}})
        (self.root / "opsctl.yaml").write_text(text)

    def runs_with(self) -> dict[str, str]:
        """Return the variables that the application has."""
        if self.frozen is not None:
            return self.frozen
        live = self.vercel.live
        return dict(self.vercel.deployments[live]["env"]) if live else {}


def all_sinks() -> list[dict[str, Any]]:
    """Return the nine places of the settings."""
    targets = ["production", "preview"]
    keep = [sys.executable, "keep.py"]
    return [
        {"kind": "vercel", "key": "publishable", "variable": PUBLIC, "targets": targets},
        {"kind": "env-file", "key": "publishable", "variable": PUBLIC, "path": ".env.local"},
        {"kind": "vercel", "key": "secret", "variable": SECRET, "targets": targets},
        {"kind": "github", "key": "secret", "variable": SECRET},
        {"kind": "github-environment", "key": "secret", "variable": SECRET},
        {"kind": "dependabot", "key": "secret", "variable": SECRET},
        {"kind": "edge-functions", "key": "secret", "variable": "OUR_SECRET_KEY"},
        {"kind": "env-file", "key": "secret", "variable": SECRET, "path": ".env.local"},
        {"kind": "command", "key": "secret", "variable": SECRET, "command": keep,
         "check": [*keep, "--check"]},
    ]  # fmt: skip


@pytest.fixture
def bare_world(tmp_path: Path) -> Iterator[RotationWorld]:
    """Return the world without settings, its application's address in `app`."""
    with (
        VercelPlane(token="t0ken") as vercel,
        SupabasePlane(token="t0ken", ref="r" * 20) as supabase,
        GithubPlane(token="t0ken") as github,
    ):
        world = RotationWorld(tmp_path, vercel, supabase, github)

        class Handler(_App):
            """Knows its world."""

            of = world

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        world.app = f"http://127.0.0.1:{server.server_address[1]}"  # type: ignore[attr-defined]
        yield world
        server.shutdown()
        server.server_close()


@pytest.fixture
def world(bare_world: RotationWorld) -> RotationWorld:
    """Return the world with every place in its settings."""
    bare_world.write_settings(bare_world.app, sinks=all_sinks())  # type: ignore[attr-defined]
    return bare_world


class _App(BaseHTTPRequestHandler):
    of: RotationWorld

    def do_GET(self) -> None:
        """Answer the page, its script and the health endpoint."""
        built = self.of.runs_with()
        secret = built.get(SECRET, "")
        works = any(each["api_key"] == secret for each in self.of.supabase.keys)
        answers = {
            "/": (200, '<script src="/main.js"></script>'),
            "/main.js": (200, f"create({built.get(PUBLIC, '')!r})"),
            "/api/health": (
                200 if works else 503,
                json.dumps({"credentials": {
                    SECRET: hashlib.sha256(secret.encode()).hexdigest()[:16]
                }}),
            ),
        }  # fmt: skip
        status, text = answers.get(self.path, (404, ""))
        self.send_response(status)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""
