"""What `opsctl doctor` says of tokens' rights and of poolers: planes, PostgreSQL, pgbouncer."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bouncer import bouncer
from first_run import World, first_run_world
from opsctl.adapters.pg_pooler import End, look_at_end, only_ipv6
from opsctl.cli.doctor_world import judge_end
from opsctl.core.errors import OpsError
from opsctl.core.report import Status

WRITES = ("github-write-contents", "github-write-pulls", "github-write-secrets")


@pytest.fixture
def world(
    tmp_path: Path,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[World]:
    with first_run_world(tmp_path, database_url, monkeypatch, capsys) as world:
        yield world


def test_tokens_that_may_change_things_are_well(world: World) -> None:
    told = world.opsctl("doctor", "--env", "test")

    assert told.exit == 0, told.text
    for rule in (*WRITES, "vercel-write", "supabase-write"):
        assert told.checks[rule]["status"] == "ok", rule
    assert "vercel-expiry" not in told.checks


@pytest.mark.parametrize(
    ("scopes", "may_push", "expected"),
    [
        ("repo", True, "ok ok ok"),
        ("public_repo, read:org", True, "failed failed failed"),
        ("", True, "failed failed failed"),
        (None, True, "unknown unknown unknown"),
        (None, False, "failed failed failed"),
        ("repo", False, "failed failed failed"),
    ],
)
def test_what_a_github_token_may_write_is_told_or_said_to_be_unknown(
    world: World, scopes: str | None, may_push: bool, expected: str
) -> None:
    world.github.scopes, world.github.may_push = scopes, may_push
    told = world.opsctl("doctor", "--env", "test")
    found = [told.checks[rule] for rule in WRITES]

    assert expected == " ".join(each["status"] for each in found)
    # Whoever only checks needs no such right; and what nobody can tell is no reason to fail.
    assert told.exit == 0
    assert all(each["hint"].startswith(("a token", "look at")) for each in found
               if each["status"] != "ok")  # fmt: skip


@pytest.mark.parametrize(
    ("role", "status"),
    [("OWNER", "ok"), ("MEMBER", "ok"), ("VIEWER", "failed"), ("BILLING", "failed"),
     ("DEVELOPER", "unknown"), ("CONTRIBUTOR", "unknown"), ("NEW_ROLE", "unknown")],
)  # fmt: skip
def test_a_vercel_role_is_judged(world: World, role: str, status: str) -> None:
    world.vercel.role = role
    told = world.opsctl("doctor", "--env", "test")

    assert (told.exit, told.checks["vercel-write"]["status"]) == (0, status)
    assert role in told.checks["vercel-write"]["evidence"]


def test_a_vercel_token_that_ends_soon_is_named(world: World) -> None:
    world.vercel.token_ends_ms = round((time.time() + 3 * 86400) * 1000)
    told = world.opsctl("doctor", "--env", "test")
    assert told.checks["vercel-expiry"]["severity"] == "warning"
    assert told.checks["vercel-expiry"]["title"] == "Vercel: the token ends in 3.0 days"
    world.vercel.token_ends_ms = round((time.time() + 90 * 86400) * 1000)

    assert world.opsctl("doctor", "--env", "test").checks["vercel-expiry"]["status"] == "ok"


@pytest.mark.parametrize(
    ("role", "status"),
    [("Owner", "ok"), ("Administrator", "ok"), ("Developer", "failed"), ("Read-only", "failed"),
     (None, "unknown"), ("Auditor", "unknown")],
)  # fmt: skip
def test_a_supabase_role_is_judged(world: World, role: str | None, status: str) -> None:
    world.supabase.role = role
    told = world.opsctl("doctor", "--env", "test")

    assert (told.exit, told.checks["supabase-write"]["status"]) == (0, status)


def test_a_token_that_may_not_ask_for_its_own_rights_is_no_fault(world: World) -> None:
    world.supabase.inject("refused", "/v1/profile", times=9)
    world.vercel.inject("refused", "/v5/user/tokens/current", times=9)
    told = world.opsctl("doctor", "--env", "test")

    assert told.exit == 0
    for rule in ("supabase-write", "vercel-write"):
        assert (told.checks[rule]["status"], told.checks[rule]["severity"]) == ("unknown", "note")


def test_the_server_itself_is_told_from_poolers_in_either_mode(
    world: World, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = world.opsctl("doctor", "--env", "test")
    assert told.checks["pooler"]["title"] == "database.url leads to the server itself"
    parts = {"url": "env:FR_DATABASE", "pooler_url": "env:FR_POOLER"}
    world.settings(database=parts)
    with (
        bouncer(
            database_url, mode="session", settings="ignore_startup_parameters = options"
        ) as own,
        bouncer(database_url) as shared,
    ):
        monkeypatch.setenv("FR_DATABASE", own)
        monkeypatch.setenv("FR_POOLER", shared)
        told = world.opsctl("doctor", "--env", "test")
        assert told.exit == 0, told.text
        assert told.checks["pooler"]["title"] == "database.url leads to a pooler in session mode"
        assert told.checks["pooler-url"]["title"].endswith("a pooler in transaction mode")
        assert told.checks["pooler-url"]["status"] == "ok"
        monkeypatch.setenv("FR_DATABASE", shared)
        monkeypatch.setenv("FR_POOLER", database_url)
        told = world.opsctl("doctor", "--env", "test")

    assert told.exit == 1
    assert told.checks["pooler"]["status"] == "failed"
    assert "port 5432" in told.checks["pooler"]["hint"]
    assert told.checks["pooler-url"]["severity"] == "warning"


def test_the_transaction_poolers_port_is_refused_with_what_to_use(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "postgresql://postgres.ref@127.0.0.1:6543/postgres"
    monkeypatch.setenv("FR_DATABASE", url)
    told = world.opsctl("doctor", "--env", "test")

    assert told.exit == 1
    assert "6543" in told.checks["database"]["evidence"]
    assert "port 5432" in told.checks["database"]["hint"]


def test_a_host_with_ipv6_alone_is_named_whether_it_is_reached_or_not() -> None:
    def six(host: str, port: int) -> list[tuple[int, str]]:
        """Stand in for a resolver: no name with IPv6 alone is known to every machine."""
        return [(socket.AF_INET6, host)]

    with pytest.raises(OpsError) as caught:
        look_at_end("postgresql://postgres@localhost:1/postgres", resolve=six)

    assert (caught.value.code, int(caught.value.exit)) == ("ipv6-only", 3)
    assert "session pooler" in caught.value.hint
    assert not only_ipv6("::1", 1)
    reached = judge_end("pooler", "url", End("db.example.test:5432", "direct", only_ipv6=True))
    assert [each.status for each in reached] == [Status.OK, Status.FAILED]
    assert "Vercel" in reached[1].evidence
