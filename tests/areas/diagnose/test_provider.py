"""The provider's pages: its status page and the disk that its API tells of."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from .conftest import Doctor

REF = "abcdefghijklmnopqrst"
CALM = {
    "page": {"id": "x", "name": "Provider"},
    "status": {"indicator": "none", "description": "All Systems Operational"},
    "components": [{"name": "Database", "status": "operational", "group": False}],
    "incidents": [],
    "scheduled_maintenances": [],
}


@contextmanager
def provider(pages: dict[str, tuple[int, Any]]) -> Iterator[str]:
    """Serve some pages: path -> (status, JSON or bytes)."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, data = pages.get(self.path, (404, {"message": "not found"}))
            body = data if isinstance(data, bytes) else json.dumps(data).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


SUMMARY = "/api/v2/summary.json"
INCIDENT = {
    "name": "Databases of eu-central-1 are \u001b[31munreachable",
    "impact": "critical",
    "status": "investigating",
    "shortlink": "https://stspg.io/x",
}


@pytest.mark.parametrize(
    ("status", "page", "red", "yellow", "unknown"),
    [
        (200, CALM, set(), set(), set()),
        (200, {**CALM, "status": {"indicator": "critical", "description": "Major Outage"},
               "incidents": [INCIDENT]}, {"provider"}, set(), set()),
        (200, {**CALM, "status": {"indicator": "minor", "description": "Partial"}},
         set(), {"provider"}, set()),
        (200, {**CALM, "components": [{"name": "API", "status": "degraded_performance"}]},
         set(), {"provider"}, set()),
        (200, {**CALM, "status": {"indicator": "of a new kind", "description": ""}},
         set(), {"provider"}, set()),
        (503, CALM, set(), set(), {"provider"}),
        (200, b"<html>", set(), set(), {"provider"}),
        (200, b"[" * 100_000, set(), set(), {"provider"}),
        (200, {"status": {"indicator": None}}, set(), set(), {"provider"}),
        (200, {**CALM, "incidents": ["nonsense"]}, set(), set(), {"provider"}),
    ],
    ids=["calm", "incident", "minor", "component", "new", "failing", "html", "deep", "null",
         "odd"],
)  # fmt: skip
def test_the_status_page_comes_first(
    diagnose: Doctor, url: str, status: int, page: Any, red: set[str], yellow: set[str],
    unknown: set[str],
) -> None:  # fmt: skip
    with provider({SUMMARY: (status, page)}) as address:
        said = diagnose(url, supabase={"status_page": address})

    assert (said.rules(), said.rules(red=False), said.unknowns()) == (red, yellow, unknown)
    assert said.document["data"]["parts"][0]["name"] == "provider"
    assert "\x1b" not in said.text
    assert said.exit == (1 if red else 3 if unknown else 0)


def test_the_disk_is_asked_of_the_management_api(
    diagnose: Doctor, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = "-".join(["canary", "token"])
    monkeypatch.setenv("T_TOKEN", token)
    path = f"/v1/projects/{REF}/config/disk/util"

    def ask(status: int, used: Any) -> Any:
        data = {"timestamp": "x", "metrics": {"fs_size_bytes": 1000, "fs_avail_bytes": 1,
                                              "fs_used_bytes": used}}  # fmt: skip
        with provider({SUMMARY: (200, CALM), path: (status, data)}) as address:
            return diagnose(
                url,
                supabase={"status_page": address, "api": address, "ref": REF,
                          "access_token": "env:T_TOKEN"},
            )  # fmt: skip

    assert not ask(200, 500).rules()
    full, refused, odd = ask(200, 930), ask(401, 0), ask(200, "many")
    assert full.rules() == {"disk"}
    assert "93%" in full.told("disk")
    assert refused.unknowns() == odd.unknowns() == {"disk"}
    assert "access_token" in refused.told("disk")
    assert token not in full.text + refused.text


def test_without_a_limit_and_a_token_the_disk_is_said_not_to_be_judged(
    diagnose: Doctor, url: str
) -> None:
    said = diagnose(url, limits={"database_size_gb": None})

    assert said.exit == 0
    assert "was not looked at" in said.told("disk")
