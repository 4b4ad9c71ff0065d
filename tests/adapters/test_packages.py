"""What npm says, from the real npm on a registry of its own; and what pnpm printed."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from opsctl.adapters.packages import (
    advisories,
    outdated,
    package_tool,
    read_advisories,
    read_outdated,
)
from opsctl.areas.maintenance.dependencies import judge_advisories, judge_outdated
from opsctl.core.errors import OpsError

PNPM_AUDIT = {
    "advisories": {
        "1097677": {
            "module_name": "minimist", "severity": "critical", "url": "https://example.com/a",
            "title": "Prototype Pollution in minimist", "vulnerable_versions": ">=1.0.0 <1.2.6",
            "patched_versions": ">=1.2.6",
        }
    },
    "metadata": {"vulnerabilities": {"critical": 1}},
}  # fmt: skip


@dataclass
class Registry:
    """A registry of npm packages that knows one, and perhaps something against it."""

    port: int = 0
    bulk_status: int = 200
    known: dict[str, Any] = field(default_factory=dict)


@pytest.fixture
def registry() -> Iterator[Registry]:
    found = Registry()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            versions = {
                each: {"name": "small", "version": each, "dist": {"tarball": "http://x/y.tgz",
                       "shasum": "0" * 40}}
                for each in ("1.0.0", "1.0.1", "2.0.0")
            }  # fmt: skip
            self.reply(200, {"name": "small", "dist-tags": {"latest": "2.0.0"},
                             "versions": versions})  # fmt: skip

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.reply(found.bulk_status, found.known)

        def reply(self, status: int, document: Any) -> None:
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    found.port = server.server_port
    yield found
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def npm() -> None:
    """Where npm is not, what drives it is left out, and never so in CI."""
    if shutil.which("npm") is None:
        if os.environ.get("CI", "").lower() in ("1", "true"):
            pytest.fail("CI must ask the real npm: it was not found on the PATH")
        pytest.skip("npm not found on the PATH")


@pytest.fixture
def project(npm: None, registry: Registry, tmp_path: Path) -> Path:
    """A project that has small 1.0.0, as npm would leave it."""
    package = {"name": "app", "version": "1.0.0", "dependencies": {"small": "^1.0.0"}}
    small = {"version": "1.0.0", "resolved": "http://x/y.tgz"}
    lock = {"name": "app", "version": "1.0.0", "lockfileVersion": 3, "requires": True,
            "packages": {"": package, "node_modules/small": small}}  # fmt: skip
    inner = tmp_path / "node_modules" / "small"
    inner.mkdir(parents=True)
    (inner / "package.json").write_text(json.dumps({"name": "small", "version": "1.0.0"}))
    (tmp_path / "package.json").write_text(json.dumps(package))
    (tmp_path / "package-lock.json").write_text(json.dumps(lock))
    (tmp_path / ".npmrc").write_text(
        f"registry=http://127.0.0.1:{registry.port}/\ncache={tmp_path / 'cache'}\n"
        "fetch-retries=0\nupdate-notifier=false\n"
    )
    return tmp_path


@pytest.mark.node
def test_npm_says_what_is_behind_and_what_is_known(project: Path, registry: Registry) -> None:
    registry.known = {
        "small": [{"id": 7, "url": "https://example.com/7", "title": "Reads any file",
                   "severity": "high", "vulnerable_versions": "<1.0.1", "cwe": [],
                   "cvss": {"score": 8, "vectorString": None}}]
    }  # fmt: skip
    tool = package_tool(project)
    behind, known = outdated(project, tool), advisories(project, tool)

    assert tool == "npm"
    assert [(each.name, each.current, each.wanted, each.latest) for each in behind] == [
        ("small", "1.0.0", "1.0.1", "2.0.0")
    ]
    assert [(each.package, each.severity, each.title, each.versions) for each in known] == [
        ("small", "high", "Reads any file", "<1.0.1")
    ]
    assert [finding.severity.value for finding in judge_outdated(behind)] == ["warning"]
    (finding,) = judge_advisories(known, project)
    assert (finding.severity.value, finding.status.value) == ("error", "failed")


@pytest.mark.node
def test_nothing_known_is_well_and_no_answer_is_not(project: Path, registry: Registry) -> None:
    assert advisories(project, "npm") == []

    registry.bulk_status = 405
    with pytest.raises(OpsError) as caught:
        advisories(project, "npm")
    assert (int(caught.value.exit), caught.value.code) == (3, "packages-unread")
    assert "405" in caught.value.why


def test_what_pnpm_prints_is_understood() -> None:
    behind = read_outdated(
        {"minimist": {"current": "1.2.5", "latest": "1.2.8", "wanted": "1.2.5",
                      "isDeprecated": False, "dependencyType": "dependencies"}}, "pnpm",
    )  # fmt: skip
    (known,) = read_advisories(PNPM_AUDIT, "pnpm")

    assert [(each.name, each.latest) for each in behind] == [("minimist", "1.2.8")]
    assert judge_outdated(behind)[0].severity.value == "note"
    assert (known.package, known.severity, known.fix) == (
        "minimist", "critical", "minimist >=1.2.6",
    )  # fmt: skip


@pytest.mark.parametrize("answer", [{}, {"metadata": {}}, {"vulnerabilities": []}], ids=str)
def test_an_audit_of_another_shape_is_not_well(answer: dict[str, Any]) -> None:
    with pytest.raises(OpsError, match="did not answer"):
        read_advisories(answer, "npm")


def test_without_a_lock_file_nobody_is_asked(tmp_path: Path) -> None:
    with pytest.raises(OpsError) as caught:
        package_tool(tmp_path)
    assert caught.value.code == "no-lock-file"
