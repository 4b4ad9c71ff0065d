"""The control planes by themselves: faults on demand, state on disk, Slack and Statuspage."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from opsctl.sandbox.faults import BEFORE, KINDS, fault_from_json
from opsctl.sandbox.plane import ControlPlane
from opsctl.sandbox.slack_plane import SlackPlane
from opsctl.sandbox.statuspage_plane import StatuspagePlane
from opsctl.sandbox.supabase_plane import SupabasePlane
from opsctl.sandbox.vercel_plane import VercelPlane

TOKEN = "-".join(["plane", "token", "9901"])


def ask(plane: ControlPlane, method: str, path: str, **how: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {how.pop('token', TOKEN)}", **how.pop("headers", {})}
    return httpx.request(method, plane.url + path, headers=headers, timeout=5, **how)


@pytest.mark.parametrize("kind", KINDS)
def test_each_fault_happens_once_and_its_effect_is_as_it_says(kind: Any) -> None:
    with VercelPlane(token=TOKEN) as plane:
        old = plane.add_deployment("a" * 40, live=True)
        new = plane.add_deployment("b" * 40, live=True)
        plane.inject(kind, "/rollback/", method="POST", delay_s=0.05)
        path = f"/v1/projects/prj_web/rollback/{old}"
        began = time.monotonic()

        try:
            status: int | None = ask(plane, "POST", path).status_code
        except httpx.HTTPError:
            status = None

        assert (new if kind in BEFORE else old) == plane.live
        expected = {
            "rate-limit": 429, "error-before": 500, "error-after": 500, "refused": 403,
            "expired-token": 403, "truncated": None, "reset-before": None, "reset-after": None,
        }  # fmt: skip
        assert expected.get(kind, 201) == status
        assert time.monotonic() - began >= 0.05
        assert ask(plane, "POST", path).status_code == (201 if kind in BEFORE else 409)


def test_a_rate_limit_says_how_long_to_wait() -> None:
    with SlackPlane(token=TOKEN) as plane:
        plane.inject("rate-limit", retry_after_s=7)

        answer = ask(plane, "POST", "/api/chat.postMessage", json={})

    assert (429, "7", "ratelimited") == (
        answer.status_code, answer.headers["retry-after"], answer.json()["error"]
    )  # fmt: skip


@pytest.mark.parametrize("data", [{}, {"kind": "nothing"}, {"kind": "empty", "what": 1}])
def test_a_fault_that_is_none_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"kind|unknown"):
        fault_from_json(data)


def test_the_state_is_on_disk_before_the_answer_and_is_nobody_elses(tmp_path: Path) -> None:
    path = tmp_path / "supabase.json"
    with SupabasePlane(token=TOKEN, ref="abcdefghijklmnopqrst") as plane:
        plane.keep_in(path)
        made = ask(plane, "POST", "/v1/projects/abcdefghijklmnopqrst/api-keys",
                   json={"type": "secret", "name": "fresh_key"}).json()  # fmt: skip
        assert made["id"] in path.read_text()
    assert 0 == path.stat().st_mode & 0o077

    again = SupabasePlane(token=TOKEN, ref="abcdefghijklmnopqrst")
    again.keep_in(path)

    assert made["id"] in {key["id"] for key in again.keys}


def test_the_sandbox_s_own_pages_need_its_name() -> None:
    with VercelPlane(token=TOKEN) as plane:
        own = {"x-sandbox": plane.name}

        assert 404 == ask(plane, "GET", "/.sandbox").status_code
        assert "vercel" == ask(plane, "GET", "/.sandbox", headers=own).json()["kind"]
        fault = {"kind": "error-before"}
        assert 404 == ask(plane, "POST", "/.sandbox/fault", json=fault).status_code
        assert 200 == ask(plane, "GET", "/v2/user").status_code
        assert 200 == ask(plane, "POST", "/.sandbox/fault", json=fault, headers=own).status_code
        assert 500 == ask(plane, "GET", "/v2/user").status_code
        assert 400 == ask(plane, "POST", "/.sandbox/nothing", headers=own).status_code


def test_supabase_keys_are_made_masked_read_again_and_removed() -> None:
    base = "/v1/projects/abcdefghijklmnopqrst/api-keys"
    with SupabasePlane(token=TOKEN, ref="abcdefghijklmnopqrst") as plane:

        def call(method: str, path: str = "", **how: Any) -> httpx.Response:
            return ask(plane, method, base + path, **how)

        made = call("POST", "?reveal=true", json={"type": "secret", "name": "second"})
        id, value = made.json()["id"], made.json()["api_key"]
        assert (201, True) == (made.status_code, value.startswith(made.json()["prefix"]))
        assert value not in call("GET").text
        assert value == call("GET", f"/{id}?reveal=true").json()["api_key"]
        again = call("POST", json={"type": "secret", "name": "second"})
        assert 409 == again.status_code
        assert 400 == call("POST", json={"type": "secret", "name": "No Name"}).status_code
        assert {"enabled": False} == call("PUT", "/legacy?enabled=false").json()
        assert {"enabled": False} == call("GET", "/legacy").json()
        assert 200 == call("DELETE", f"/{id}?was_compromised=false").status_code
        assert 404 == call("GET", f"/{id}").status_code
        assert 401 == call("GET", token="-".join(["not", "it"])).status_code


def test_signing_keys_go_from_state_to_state_as_the_platform_lets_them() -> None:
    base = "/v1/projects/abcdefghijklmnopqrst/config/auth/signing-keys"
    with SupabasePlane(token=TOKEN, ref="abcdefghijklmnopqrst") as plane:

        def call(method: str, path: str = "", **how: Any) -> httpx.Response:
            return ask(plane, method, base + path, **how)

        def states() -> dict[str, str]:
            return {each["id"]: each["status"] for each in call("GET").json()["keys"]}

        old = next(id for id, status in states().items() if status == "in_use")
        new = call("POST", json={"algorithm": "ES256"}).json()["id"]
        assert "standby" == states()[new]
        assert 400 == call("PATCH", f"/{old}", json={"status": "revoked"}).status_code
        assert 200 == call("PATCH", f"/{new}", json={"status": "in_use"}).status_code
        assert ("in_use", "previously_used") == (states()[new], states()[old])
        assert 200 == call("PATCH", f"/{old}", json={"status": "revoked"}).status_code
        assert 400 == call("DELETE", f"/{new}").status_code


def test_slack_keeps_threads_and_sends_reminders_when_they_are_due() -> None:
    with SlackPlane(token=TOKEN) as plane:

        def call(method: str, **body: Any) -> dict[str, Any]:
            return dict(ask(plane, "POST", f"/api/{method}", json=body).json())

        first = call("chat.postMessage", channel="#incidents", text="It is down")
        reply = call("chat.postMessage", channel=first["channel"], text="Looking",
                     thread_ts=first["ts"])  # fmt: skip
        assert call("chat.update", channel=first["channel"], ts=first["ts"], text="It is up")["ok"]
        soon = int(time.time()) + 600
        due = call("chat.scheduleMessage", channel=first["channel"], text="Update?",
                   post_at=soon, thread_ts=first["ts"])  # fmt: skip
        later = call("chat.scheduleMessage", channel=first["channel"], text="Never",
                     post_at=soon + 900)  # fmt: skip
        gone = call("chat.deleteScheduledMessage", channel=first["channel"],
                    scheduled_message_id=later["scheduled_message_id"])  # fmt: skip
        plane.scheduled[0]["post_at"] = time.time()
        thread = call("conversations.replies", channel=first["channel"], ts=first["ts"])

        assert (True, True, True) == (reply["ok"], due["ok"], gone["ok"])
        assert ["It is up", "Looking", "Update?"] == [each["text"] for each in thread["messages"]]
        errors = {
            "channel_not_found": call("chat.postMessage", channel="#nowhere", text="x"),
            "no_text": call("chat.postMessage", channel="#incidents"),
            "thread_not_found": call("chat.postMessage", channel="#incidents", text="x",
                                     thread_ts="1.2"),
            "time_in_past": call("chat.scheduleMessage", channel="#incidents", text="x", post_at=1),
            "unknown_method": call("chat.nothing"),
        }  # fmt: skip
        assert set(errors) == {each["error"] for each in errors.values()}
        refused = ask(plane, "POST", "/api/auth.test", token="-".join(["not", "it"])).json()
        assert {"ok": False, "error": "invalid_auth"} == refused


def test_statuspage_follows_an_incident_from_beginning_to_end() -> None:
    with StatuspagePlane(token=TOKEN) as plane:
        base = f"/v1/pages/{plane.page}"

        def call(method: str, path: str, **how: Any) -> httpx.Response:
            headers = {"Authorization": f"OAuth {TOKEN}"}
            return httpx.request(method, plane.url + path, headers=headers, **how)

        component = call("GET", f"{base}/components").json()[0]["id"]
        incident = {"name": "Slow", "status": "investigating", "body": "We look",
                    "components": {component: "degraded_performance"}}  # fmt: skip
        made = call("POST", f"{base}/incidents", json={"incident": incident})
        id = made.json()["id"]
        summary = httpx.get(f"{plane.url}/api/v2/summary.json").json()
        assert (201, "minor", ["Slow"]) == (
            made.status_code, summary["status"]["indicator"],
            [each["name"] for each in summary["incidents"]],
        )  # fmt: skip
        over = {"incident": {"status": "resolved", "body": "Done",
                             "components": {component: "operational"}}}  # fmt: skip
        done = call("PATCH", f"{base}/incidents/{id}", json=over).json()
        assert ["resolved", "investigating"] == [
            each["status"] for each in done["incident_updates"]
        ]
        assert [] == call("GET", f"{base}/incidents/unresolved").json()
        assert "none" == httpx.get(f"{plane.url}/api/v2/summary.json").json()["status"]["indicator"]
        assert 422 == call("POST", f"{base}/incidents", json={"incident": {}}).status_code
        wrong = {"incident": {"status": "exploded"}}
        assert 422 == call("PATCH", f"{base}/incidents/{id}", json=wrong).status_code
        assert 401 == httpx.get(f"{plane.url}{base}/incidents").status_code


def test_a_push_is_built_and_goes_live_unless_releases_are_held_back(tmp_path: Path) -> None:
    with VercelPlane(token=TOKEN) as plane:
        plane.remote = str(tmp_path)
        head = tmp_path / "refs" / "heads" / "main"
        head.parent.mkdir(parents=True)
        lives = []
        for commit, assign in (("a" * 40, True), ("b" * 40, True), ("c" * 40, False)):
            head.write_text(f"{commit}\n")
            plane.auto_assign = assign
            ask(plane, "GET", "/v2/user")
            live = plane.live
            lives.append(plane.deployments[live]["meta"]["githubCommitSha"] if live else None)

    assert [None, "b" * 40, "b" * 40] == lives  # what was there at first is no push
    assert json.dumps(plane.aliases)
