"""What stands between is told: by behaviour, and on Supabase by the names of hosts and ports."""

from __future__ import annotations

import socket
import struct
from datetime import UTC, datetime

import pytest

from opsctl.adapters.network import Addresses, Attempt
from opsctl.adapters.pg_startup import SignIn
from opsctl.adapters.pg_target import Target
from opsctl.adapters.vitals import Answer, Vitals
from opsctl.areas.diagnose.facts import Way
from opsctl.areas.diagnose.overview import judge_mode, judge_server
from opsctl.areas.diagnose.refusals import refused
from opsctl.areas.diagnose.way import judge_way
from opsctl.core.report import Severity, Status
from opsctl.core.settings import Limits

from .conftest import Doctor, listener, signed_in_to


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


def pooler(url: str, talk: list[str]) -> object:
    """Return a pooler in transaction mode: it signs clients in itself, and lends them servers."""

    def serve(over: socket.socket) -> None:
        talk.append("client")
        over.recv(10_000)
        over.sendall(
            _message(b"R", struct.pack("!i", 0)) + _message(b"S", b"server_version\x0018.0\0")
            + _message(b"K", struct.pack("!ii", 7, 7)) + _message(b"Z", b"I")
        )  # fmt: skip
        while question := over.recv(1 << 20):
            while question[:1] == b"Q" and len(question) < struct.unpack_from("!i", question, 1)[0]:
                question += over.recv(1 << 20)
            if question[:1] == b"X":
                return
            lent = signed_in_to(url)
            assert lent.wire is not None
            talk.append("lent")
            lent.wire.allow(timeout_s=10, most_bytes=1 << 24)
            lent.wire.send(question)
            kind = b""
            while kind != b"Z":
                kind, body = lent.wire.message()
                over.sendall(_message(kind, body))
            lent.wire.close()

    return serve


def test_a_pooler_that_its_name_does_not_tell_is_found(diagnose: Doctor, url: str) -> None:
    talk: list[str] = []
    with listener(pooler(url, talk)) as port:  # type: ignore[arg-type]
        said = diagnose(f"postgresql://a:pw@127.0.0.1:{port}/x?sslmode=disable")

    assert not said.rules(), said.text
    assert said.rules(red=False) == {"pooler"}
    # One connection, and one round trip for all of it: a full server is not asked for more.
    assert talk == ["client", "lent"]


def test_the_pooler_of_the_settings_has_a_way_of_its_own(
    diagnose: Doctor, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listener(pooler(url, [])) as port:  # type: ignore[arg-type]
        monkeypatch.setenv("T_POOLER", f"postgresql://a:pw@127.0.0.1:{port}/x?sslmode=disable")
        well = diagnose(url, database={"pooler_url": "env:T_POOLER"})
    gone = diagnose(url, database={"pooler_url": "env:T_POOLER"})

    assert well.exit == 0, well.text
    assert "the pooler's way" in {each["name"] for each in well.document["data"]["parts"]}
    assert gone.rules() == {"tcp"}
    assert f"127.0.0.1:{port}" in gone.text


def way(host: str, port: int, *, name: str = "the database", **more: object) -> Way:
    """Return a way that was gone to its end."""
    target = Target(host=host, port=port, user="postgres", database="postgres", sslmode="require")
    vitals = Vitals({"server": Answer(({"pid": 7, "version": "14.1", "number": 140001,
                                        "up_s": 90000.0, "standby": False},))}, 14)  # fmt: skip
    return Way(name, target, signed_in=SignIn("ready", backend_pid=7), vitals=vitals, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("host", "port", "words", "yellow"),
    [
        ("db.abcdefghijklmnopqrst.supabase.co", 5432, "the server itself", False),
        ("db.abcdefghijklmnopqrst.supabase.co", 6543, "transaction mode", True),
        ("aws-0-eu-central-1.pooler.supabase.com", 5432, "session mode", False),
        ("aws-0-eu-central-1.pooler.supabase.com", 6543, "transaction mode", True),
        ("10.0.0.1", 5432, "the server itself", False),
    ],
)
def test_supabases_names_tell_the_mode(host: str, port: int, words: str, yellow: bool) -> None:
    (finding,) = judge_mode(way(host, port))

    assert words in finding.title
    assert (finding.status is Status.FAILED, finding.severity is Severity.WARNING) == (
        (True, True) if yellow else (False, False)
    )


def test_the_application_may_use_transaction_mode() -> None:
    (finding,) = judge_mode(way("aws-0-eu-central-1.pooler.supabase.com", 6543, name="the pooler"))

    assert finding.status is Status.OK


def test_a_version_without_support_is_yellow() -> None:
    old = judge_server(way("10.0.0.1", 5432), at=datetime(2026, 12, 1, tzinfo=UTC))
    new = judge_server(way("10.0.0.1", 5432), at=datetime(2026, 1, 1, tzinfo=UTC))

    assert old[0].severity is Severity.WARNING
    assert new[0].status is Status.OK


def test_a_host_with_ipv6_alone_is_named_and_the_way_out_with_it() -> None:
    host = "db.abcdefghijklmnopqrst.supabase.co"
    target = Target(host=host, port=5432, user="postgres", database="postgres")
    attempt = Attempt("2a05:d014::1", "no-route", 101, 0.1)
    facts = Way(
        "the database", target, addresses=Addresses(host, v6=("2a05:d014::1",)),
        attempts=(attempt,),
    )  # fmt: skip
    findings = judge_way(facts, limits=Limits(), at=datetime.now(UTC))
    red = [
        each for each in findings
        if each.status is Status.FAILED and each.severity is Severity.ERROR
    ]  # fmt: skip

    assert [each.rule for each in red] == ["tcp"]
    assert "this machine has no IPv6" in red[0].title
    assert "session pooler" in red[0].hint


def test_the_poolers_own_refusal_says_how_its_users_are_called() -> None:
    from opsctl.adapters.pg_wire import Refusal

    target = Target("aws-0-eu-central-1.pooler.supabase.com", 5432, "postgres", "postgres")
    said = SignIn("refused", refusal=Refusal("XX000", "", "Tenant or user not found"))
    finding = refused(Way("the database", target, signed_in=said))

    assert "ROLE.PROJECT_REF" in finding.hint
    assert "Tenant or user not found" in finding.evidence
