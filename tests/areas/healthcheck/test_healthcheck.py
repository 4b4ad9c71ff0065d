"""Endpoints that are well, ill, slow, hostile or unreachable, and a real database."""

from __future__ import annotations

import io
import json
import os
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from opsctl.adapters.http import fetch_all
from opsctl.adapters.scratch import free_port
from opsctl.areas.healthcheck.checks import judge
from opsctl.areas.healthcheck.facts import DatabaseFacts, HealthFacts
from opsctl.cli.root import run
from opsctl.core.report import Status
from opsctl.core.settings import HealthEndpoint, Limits

HEALTH_JSON = "application/health+json"


class Handler(BaseHTTPRequestHandler):
    """A page for each way to answer."""

    seen: ClassVar[dict[str, str | None]] = {}
    elsewhere = ""

    def do_GET(self) -> None:
        page = self.path.strip("/")
        self.seen[page] = self.headers.get("x-key")
        answers: dict[str, tuple[int, str, str, dict[str, str]]] = {
            "ok": (200, "text/plain", "fine", {}),
            "broken": (500, "text/plain", "no", {}),
            "fail": (200, HEALTH_JSON, '{"status": "fail", "output": "disk \\u001b[31m full"}', {}),
            "warn": (200, HEALTH_JSON, '{"status": "warn"}', {}),
            "up": (200, HEALTH_JSON, '{"status": "UP"}', {}),
            "cached": (200, "text/plain", "old", {"x-nextjs-cache": "HIT"}),
            "protected": (401, "text/html", "log in", {"x-vercel-id": "fra1"}),
            "redirect": (302, "text/plain", "", {"location": self.elsewhere}),
            "huge": (200, "text/plain", "x" * 3_000_000, {}),
            "deep": (200, "application/json", "[" * 100_000, {}),
        }
        if page == "slow":
            time.sleep(1.5)
            page = "ok"
        if page == "drip":
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            for _ in range(40):
                time.sleep(0.1)
                try:
                    self.wfile.write(b"x")
                    self.wfile.flush()
                except OSError:
                    return
            return
        status, kind, body, headers = answers[page]
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        try:
            self.wfile.write(body.encode())
        except OSError:
            return

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    other = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Handler.elsewhere = f"http://127.0.0.1:{other.server_port}/ok"
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    for each in (server, other):
        threading.Thread(target=each.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    for each in (server, other):
        each.shutdown()
        each.server_close()


def check(base: str, page: str, **more: Any) -> Any:
    """Return the first finding on one page."""
    endpoint = HealthEndpoint(name=page, url=f"{base}/{page}", **more)
    facts = HealthFacts((_pair(endpoint),), None)
    return judge(facts, environment="test", limits=Limits())


def _pair(endpoint: HealthEndpoint) -> Any:
    from opsctl.areas.healthcheck.facts import Endpoint

    return Endpoint(endpoint, fetch_all([endpoint])[0])


@pytest.mark.parametrize(
    ("page", "status", "evidence"),
    [
        ("ok", Status.OK, ""),
        ("up", Status.OK, ""),
        ("huge", Status.OK, ""),
        ("deep", Status.OK, ""),
        ("broken", Status.FAILED, "status 500 instead of 200"),
        ("fail", Status.FAILED, "it says fail: disk"),
        ("redirect", Status.FAILED, "redirects are not followed"),
        ("protected", Status.UNKNOWN, "from the platform"),
    ],
)
def test_an_answer_is_judged(base: str, page: str, status: Status, evidence: str) -> None:
    report = check(base, page)

    assert report.status is status
    assert evidence in report.findings[0].evidence


def test_a_warning_does_not_fail_the_check(base: str) -> None:
    for page in ("warn", "cached"):
        report = check(base, page)

        assert report.status is Status.OK
        assert [f.status for f in report.findings if f.severity == "warning"] == [Status.FAILED]


def test_the_timeout_is_for_the_whole_answer(base: str) -> None:
    for page in ("slow", "drip"):
        began = time.monotonic()

        report = check(base, page, timeout_s=0.5)

        assert time.monotonic() - began < 1.2
        assert report.status is Status.FAILED
        assert "0.5 s" in report.findings[0].evidence


def test_a_redirect_to_another_host_gets_no_header(
    base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY_FOR_TEST", "se" + "cret")
    Handler.seen.clear()

    check(base, "redirect", headers={"x-key": "env:KEY_FOR_TEST"})

    assert Handler.seen == {"redirect": "secret"}


def test_nothing_listening_is_ill_and_no_name_is_unknown() -> None:
    closed = check(f"http://127.0.0.1:{free_port()}", "x")
    nameless = check("http://no-such-host.invalid", "x")

    assert (closed.status, int(closed.exit)) == (Status.FAILED, 1)
    assert "refused" in closed.findings[0].evidence
    assert (nameless.status, int(nameless.exit)) == (Status.UNKNOWN, 3)


def test_a_missing_secret_is_unknown(base: str) -> None:
    report = check(base, "ok", headers={"x-key": "env:NOT_SET_ANYWHERE"})

    assert report.status is Status.UNKNOWN
    assert "NOT_SET_ANYWHERE" in report.findings[0].evidence


def test_a_certificate_nobody_signed_is_ill(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj",
         "/CN=localhost", "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    report = check(f"https://127.0.0.1:{server.server_port}", "ok")

    server.shutdown()
    server.server_close()
    assert report.status is Status.FAILED
    assert "TLS" in report.findings[0].evidence


def test_a_crowded_or_read_only_database_is_ill() -> None:
    crowded = DatabaseFacts("db", 1.0, "18", connections=90, max_connections=100)
    standby = DatabaseFacts("db", 1.0, "18", connections=1, max_connections=100, read_only=True)

    for facts, rule in ((crowded, "database-connections"), (standby, "database-read-only")):
        report = judge(HealthFacts((), facts), environment="test", limits=Limits())
        assert [f.rule for f in report.findings if f.status is Status.FAILED] == [rule]


def test_nothing_to_check_is_unknown_not_well() -> None:
    report = judge(HealthFacts((), None), environment="test", limits=Limits())

    assert int(report.exit) == 3


@pytest.mark.parametrize("format_", ["text", "json", "junit", "github", "markdown"])
def test_the_command_ends_as_it_found(
    tmp_path: Path, base: str, database_url: str, monkeypatch: pytest.MonkeyPatch, format_: str
) -> None:
    monkeypatch.setenv("DATABASE_FOR_TEST", database_url)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "opsctl.yaml").write_text(
        "environments:\n  test:\n    database: {url: env:DATABASE_FOR_TEST}\n    health:\n"
        f"      - {{name: one, url: '{base}/ok'}}\n      - {{name: two, url: '{base}/fail'}}\n"
    )
    out = io.StringIO()
    with redirect_stdout(out), redirect_stderr(io.StringIO()):
        code = run(["healthcheck", "run", "--format", format_])

    assert code == 1
    assert "\x1b" not in out.getvalue()
    if format_ == "json":
        document = json.loads(out.getvalue())
        found = {f["title"]: f["status"] for f in document["findings"]}
        assert (document["status"], document["exit_code"]) == ("failed", 1)
        assert found["one is well"] == "ok"
        assert found["two is ill"] == "failed"
        assert document["data"]["database"]["max_connections"] == 100
    assert os.listdir(tmp_path) == ["opsctl.yaml"]  # noqa: PTH208 - names are enough
