"""The database, Supabase's services and machine, and Vercel: asked as they are in the world."""

from __future__ import annotations

import json
import time
from base64 import b64encode
from typing import Any

import psycopg
import pytest

from opsctl.adapters.supabase_health import METRICS_PATH, read_machine
from opsctl.adapters.vercel import Deployment, Domain, Production
from opsctl.areas.healthcheck.facts import gather
from opsctl.areas.healthcheck.platform import (
    DatabaseFacts,
    judge_database,
    judge_deployment,
    judge_machine,
)
from opsctl.areas.healthcheck.verdict import Moment, Verdict
from opsctl.core.call import Call
from opsctl.core.report import Status
from opsctl.core.settings import Limits, Settings

KEY = "-".join(["sb", "secret", "canary", "6612"])
NOW = Moment(0.0, 0.0, 0.1)
METRICS = """
# HELP node_memory_MemTotal_bytes Memory.
node_memory_MemTotal_bytes{supabase_project_ref="x"} 1.0e+09
node_memory_MemAvailable_bytes{supabase_project_ref="x"} 2.5e+08
node_filesystem_size_bytes{device="/dev/a",fstype="ext4",mountpoint="/data"} 1e+10
node_filesystem_avail_bytes{device="/dev/a",fstype="ext4",mountpoint="/data"} 1e+09
node_filesystem_size_bytes{device="tmp",fstype="tmpfs",mountpoint="/tmp"} 100
node_filesystem_avail_bytes{device="tmp",fstype="tmpfs",mountpoint="/tmp"} 0
pg_up 1 1700000000000
broken{ 1
"""


def looked(tmp_path: Any, **environment: Any) -> dict[str, Verdict]:
    """Return the verdicts on an environment by check."""
    document = json.dumps({"environments": {"t": environment}})
    settings = Settings.model_validate_json(document)
    call = Call(settings=settings, root=tmp_path, environment_name="t", say=lambda line: None)
    return {verdict.sample.check: verdict for verdict in gather(call)}


def test_a_real_database_is_well_and_measured(
    tmp_path: Any, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_FOR_TEST", database_url)

    verdict = looked(tmp_path, database={"url": "env:DATABASE_FOR_TEST"})["database"]

    assert verdict.sample.status == "pass"
    assert 0 < verdict.metrics["database_connections"] < 0.8
    assert verdict.data["size_bytes"] > 1_000_000


def test_a_database_that_hangs_is_cut_off(
    tmp_path: Any, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock on a catalog is as good as a server that does not answer."""
    monkeypatch.setenv("DATABASE_FOR_TEST", database_url)
    with psycopg.connect(database_url) as blocker:
        blocker.execute("LOCK TABLE pg_catalog.pg_database IN ACCESS EXCLUSIVE MODE")
        began = time.monotonic()

        verdict = looked(tmp_path, database={"url": "env:DATABASE_FOR_TEST"})["database"]

        assert time.monotonic() - began < 32
        assert verdict.sample.status == "fail"
        blocker.rollback()


@pytest.mark.parametrize(
    ("facts", "limits", "rule"),
    [
        ({"connections": 90}, {}, "database-connections"),
        ({"read_only": True}, {}, "database-read-only"),
        ({"size_bytes": 9_000_000_000}, {"database_size_gb": 10.0}, "database-size"),
        ({"size_bytes": 9_000_000_000}, {}, ""),
    ],
)
def test_a_crowded_full_or_read_only_database_is_told(
    facts: dict[str, Any], limits: dict[str, Any], rule: str
) -> None:
    made = DatabaseFacts(**{"where": "db", "version": "18", "connections": 1, "read_only": False,
                            "max_connections": 100, "size_bytes": 0, **facts})  # fmt: skip
    verdict = judge_database(made, NOW, limits=Limits(**limits))

    found = [each.rule for each in verdict.findings if each.status is Status.FAILED]
    assert found == ([rule] if rule else [])


def supabase(server: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setenv("TOKEN_FOR_TEST", "-".join(["sbp", "canary"]))
    monkeypatch.setenv("KEY_FOR_TEST", KEY)
    return {"ref": "abc", "url": server.url, "api": server.url,
            "access_token": "env:TOKEN_FOR_TEST", "secret_key": "env:KEY_FOR_TEST"}  # fmt: skip


def page(body: str, kind: str = "application/json", status: int = 200) -> bytes:
    head = f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return (head + body).encode()


def test_supabases_services_and_machine_are_asked(
    server: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = supabase(server, monkeypatch)
    server.pages["v1/projects/abc/health"] = page(json.dumps([
        {"name": "auth", "healthy": True, "status": "ACTIVE_HEALTHY"},
        {"name": "rest", "healthy": False, "status": "UNHEALTHY", "error": "upstream timed out"},
        {"name": "realtime", "healthy": False, "status": "COMING_UP"},
    ]))  # fmt: skip
    server.pages[METRICS_PATH.strip("/")] = page(METRICS, "text/plain")

    verdicts = looked(tmp_path, supabase=settings)

    assert verdicts["supabase"].sample.status == "fail"
    assert "Supabase's rest is unhealthy" in {f.title for f in verdicts["supabase"].findings}
    assert verdicts["machine"].metrics == {"memory": 0.75, "disk": 0.9}
    assert verdicts["machine"].sample.status == "warn"
    asked = {path.partition("?")[0]: headers for path, headers in server.seen}
    expected = b64encode(f"service_role:{KEY}".encode()).decode()
    assert asked[METRICS_PATH]["authorization"] == f"basic {expected}".lower()


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (page('{"message": "no"}', status=401), "unknown"),
        (page("[]"), "unknown"),
        (page('[{"name": 1}]'), "unknown"),
        (page("<html>"), "unknown"),
    ],
)
def test_an_api_that_does_not_tell_is_unknown(
    server: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, answer: bytes, status: str
) -> None:
    settings = supabase(server, monkeypatch)
    server.pages["v1/projects/abc/health"] = answer
    server.pages[METRICS_PATH.strip("/")] = answer

    verdicts = looked(tmp_path, supabase=settings)

    assert {verdict.sample.status for verdict in verdicts.values()} == {status}
    assert KEY not in str(verdicts)


@pytest.mark.parametrize(
    "text", ["", "node_memory_MemTotal_bytes 0\nnode_memory_MemAvailable_bytes 0", "x" * 100_000,
             "node_memory_MemTotal_bytes NaN\nnode_memory_MemAvailable_bytes 1"]
)  # fmt: skip
def test_metrics_that_say_nothing_say_nothing(text: str) -> None:
    assert read_machine(text) == {}
    assert judge_machine({}, NOW, limits=Limits()).sample.status == "unknown"


def test_a_machine_that_tells_too_much_is_read_in_bounds() -> None:
    text = METRICS + 'a{b="c"} 1\n' * 200_000
    began = time.monotonic()

    assert read_machine(text) == {"memory": 0.75, "disk": 0.9}
    assert time.monotonic() - began < 3


def test_what_production_serves_is_asked_of_vercel(app_world: Any, tmp_path: Any) -> None:
    def look() -> Verdict:
        call = app_world.call(health=None, github=None)
        return {each.sample.check: each for each in gather(call)}["vercel"]

    assert look().sample.status == "pass"
    assert look().findings[0].title.startswith("Production serves dpl_")


def deployment(state: str, id: str = "dpl_1") -> Deployment:
    return Deployment(
        id, "web", "web.vercel.app", state, "production", 0, "abcdef1234", "main", "m"
    )


@pytest.mark.parametrize(
    ("production", "newest", "status", "rules"),
    [
        (Production((), deployment("READY")), deployment("READY"), "pass", []),
        (Production((), deployment("ERROR")), None, "fail", ["vercel-deployment"]),
        (Production((), None), None, "unknown", ["vercel-deployment"]),
        (Production((), deployment("READY")), deployment("ERROR", "dpl_2"), "warn",
         ["vercel-build"]),
        (Production((), deployment("READY")), deployment("BUILDING", "dpl_2"), "pass", []),
        (Production((Domain("a", "dpl_1"), Domain("b", "dpl_2")), deployment("READY")), None,
         "warn", ["vercel-domains"]),
    ],
)  # fmt: skip
def test_a_deployment_gets_the_right_word(
    production: Production, newest: Deployment | None, status: str, rules: list[str]
) -> None:
    verdict = judge_deployment(production, newest, NOW)

    assert verdict.sample.status == status
    assert [each.rule for each in verdict.findings if each.status is not Status.OK] == rules


def test_several_platforms_are_asked_at_the_same_time(
    server: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = supabase(server, monkeypatch)

    def late(client: Any) -> None:
        time.sleep(2)
        client.sendall(page("[]"))

    server.pages["v1/projects/abc/health"] = late
    server.pages[METRICS_PATH.strip("/")] = late
    server.pages["late"] = late
    began = time.monotonic()

    verdicts = looked(
        tmp_path, supabase=settings, health=[{"name": "a", "url": f"{server.url}/late"}]
    )

    assert len(verdicts) == 3
    assert time.monotonic() - began < 5.5
