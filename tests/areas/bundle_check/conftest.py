"""A project with a small build, and opsctl called on it through the front door."""

from __future__ import annotations

import io
import json
import random
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from opsctl.cli.root import run


@dataclass
class Project:
    """A project whose build is made of HTML pages."""

    folder: Path

    def write(self, name: str, content: str | bytes) -> Path:
        """Write a file of it."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def script(self, name: str, size: int, *, seed: int = 0) -> None:
        """Write a script of a size that packs to about three quarters of it."""
        letters = random.Random(f"{name}{seed}").choices(
            "abcdefghijklmnopqrstuvwxyz0123456789", k=size
        )
        self.write(f"dist/{name}", "".join(letters))

    def page(self, name: str, *files: str) -> None:
        """Write a page that loads files."""
        tags = "".join(
            f'<link rel="stylesheet" href="/{file}">'
            if file.endswith(".css")
            else f'<script type="module" src="/{file}"></script>'
            for file in files
        )
        self.write(f"dist/{name}", f"<!doctype html><head>{tags}</head>")

    def settings(self, **bundle: Any) -> None:
        """Write the settings."""
        self.write("opsctl.yaml", json.dumps({"version": 1, "bundle": bundle}))

    def check(self, *words: str) -> tuple[int, str, str]:
        """Return (exit code, stdout, stderr) of opsctl bundle-check."""
        out, err = io.StringIO(), io.StringIO()
        config = ["--config", str(self.folder / "opsctl.yaml")]
        with redirect_stdout(out), redirect_stderr(err):
            code = run(["bundle-check", str(self.folder), *config, *words])
        return code, out.getvalue(), err.getvalue()

    def document(self, *words: str) -> dict[str, Any]:
        """Return the whole JSON document of a check."""
        found: dict[str, Any] = json.loads(self.check("--format", "json", *words)[1])
        return found


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Two pages: both load shared.js, and each its own script; one has a style sheet."""
    found = Project(tmp_path)
    found.write("package.json", json.dumps({"name": "site"}))
    found.settings()
    found.script("assets/shared.js", 20_000)
    found.script("assets/home.js", 5_000)
    found.script("assets/about.js", 1_000)
    found.script("assets/later.js", 3_000)
    found.write("dist/assets/site.css", "body { margin: 0 }\n")
    found.page("index.html", "assets/shared.js", "assets/home.js", "assets/site.css")
    found.page("about.html", "assets/shared.js", "assets/about.js")
    return found
