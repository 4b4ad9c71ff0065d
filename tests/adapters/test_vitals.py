"""Every question is answered by every version there is, and none spoils another."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from opsctl.adapters.network import open_connection
from opsctl.adapters.pg_startup import SignIn, sign_in
from opsctl.adapters.pg_target import read_target
from opsctl.adapters.postgres_programs import Provider, providers
from opsctl.adapters.scratch import ScratchServer, scratch_server
from opsctl.adapters.vitals import ask_questions, questions, read_vitals
from opsctl.core.errors import OpsError


def signed_in_to(url: str) -> SignIn:
    """Sign in to the server of a URL on loopback."""
    target = read_target(url)
    opened = open_connection(("127.0.0.1",), target.port, timeout_s=10).socket
    assert opened is not None
    return sign_in(target, opened, timeout_s=10)


@pytest.fixture(scope="module", params=providers(), ids=lambda each: f"{each.name}-{each.version}")
def server(request: pytest.FixtureRequest) -> Iterator[ScratchServer]:
    provider: Provider = request.param
    with scratch_server(at_least=provider.major, prefer=provider.name) as server:
        assert server.provider == provider
        yield server


@pytest.fixture
def signed_in(server: ScratchServer) -> Iterator[SignIn]:
    signed_in = signed_in_to(server.url())
    assert signed_in.wire is not None
    yield signed_in
    signed_in.wire.close()


def test_every_question_is_answered(server: ScratchServer, signed_in: SignIn) -> None:
    assert signed_in.wire is not None
    vitals = read_vitals(signed_in.wire, major=signed_in.major)

    assert {name: vitals.why(name) for name in questions(signed_in.major)} == dict.fromkeys(
        questions(signed_in.major), ""
    )
    assert vitals.one("server")["number"] // 10000 == server.provider.major
    assert signed_in.backend_pid == vitals.one("server")["pid"]


def test_a_refused_question_spoils_no_other(signed_in: SignIn) -> None:
    assert signed_in.wire is not None
    asked = {
        "good": "SELECT 1 AS a",
        "wrong": "SELECT 1/0 AS a",
        "nonsense": "SELEC",
        "writing": "WITH x AS (DELETE FROM pg_class RETURNING 1) SELECT * FROM x",
        "quoted": "SELECT '$q$ ''; $$ \\' AS a -- the end",
        "none": "SELECT 1 WHERE false",
        "late": "SELECT 2 AS a",
    }
    vitals = ask_questions(signed_in.wire, asked, major=signed_in.major)

    assert vitals.one("good") == {"a": 1}
    assert vitals.one("late") == {"a": 2}
    assert vitals.one("quoted") == {"a": "$q$ '; $$ \\"}
    assert vitals.rows("none") == ()
    assert vitals.why("none") == ""
    assert vitals.answers["wrong"].sqlstate == "22012"
    assert vitals.answers["nonsense"].sqlstate == "42601"
    assert vitals.answers["writing"].sqlstate
    assert vitals.why("other") == "it was not asked"


def test_of_a_role_the_settings_that_win_are_told(server: ScratchServer) -> None:
    with psycopg.connect(server.url(), autocommit=True) as connection:
        for statement in (
            "CREATE ROLE worker",
            "ALTER DATABASE postgres SET statement_timeout = '1s'",
            "ALTER ROLE worker SET statement_timeout = '2s'",
            "ALTER ROLE worker SET idle_in_transaction_session_timeout = '3s'",
            "ALTER ROLE worker IN DATABASE postgres SET idle_in_transaction_session_timeout = '4s'",
        ):
            connection.execute(statement.encode())
    signed_in = signed_in_to(server.url())
    assert signed_in.wire is not None
    rows = read_vitals(signed_in.wire, major=signed_in.major).rows("roles")
    signed_in.wire.close()
    (row,) = [each for each in rows if each["name"] == "worker"]

    assert row["settings"] == {
        "statement_timeout": "2s", "idle_in_transaction_session_timeout": "4s"
    }  # fmt: skip
    assert row["here"] == {"idle_in_transaction_session_timeout": "4s"}


def test_nothing_is_left_behind(server: ScratchServer, signed_in: SignIn) -> None:
    assert signed_in.wire is not None
    read_vitals(signed_in.wire, major=signed_in.major)
    with psycopg.connect(server.url()) as other:
        row = other.execute(
            "SELECT state FROM pg_stat_activity WHERE pid = %s", [signed_in.backend_pid]
        ).fetchone()
        locks = other.execute(
            "SELECT count(*) FROM pg_locks WHERE pid = %s", [signed_in.backend_pid]
        ).fetchone()

    assert row == ("idle",)
    assert locks == (0,)


def test_a_slow_question_is_cut_off_and_what_comes_after_is_said_not_to_be_asked(
    postgres: ScratchServer,
) -> None:
    signed_in = signed_in_to(postgres.url())
    assert signed_in.wire is not None
    asked = {"first": "SELECT 1 AS a", "slow": "SELECT pg_sleep(60)", "last": "SELECT 1 AS a"}
    vitals = ask_questions(signed_in.wire, asked, major=signed_in.major)

    signed_in.wire.close()

    assert vitals.one("first") == {"a": 1}
    assert "longer than" in vitals.why("slow")
    assert vitals.why("last")
    assert vitals.took_ms < 12_000


def test_a_server_that_goes_away_is_an_error(server: ScratchServer, signed_in: SignIn) -> None:
    with psycopg.connect(server.url(), autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s)", [signed_in.backend_pid])
    assert signed_in.wire is not None
    with pytest.raises(OpsError) as caught:
        read_vitals(signed_in.wire, major=signed_in.major)

    assert caught.value.code == "database-lost"
