"""Faults on the way to a server: each layer's is named, once, and what lies behind is unknown."""

from __future__ import annotations

import os
import re
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
import trustme

from opsctl.adapters.scratch import ScratchServer, free_port
from opsctl.adapters.server_user import give

from .conftest import Doctor, Said, listener, own_server, tls_provider

BEHIND = ["dns", "tcp", "tls", "certificate", "sign-in", "server"]
NOW = datetime.now(UTC)
ODD = "p\u00e4\u00ad\u2168 \u00aa"
"""A password that both sides prepare before they use it (SASLprep)."""


def only_red(said: Said, rule: str) -> str:
    """Require one red finding, of `rule`, and that nothing behind it was reached."""
    assert said.exit == 1, said.text
    assert said.rules() == {rule}
    assert said.unknowns() == set(BEHIND[BEHIND.index(rule) + 1 :])
    assert [each["rule"] for each in said.document["findings"] if each["status"] == "failed"
            and each["severity"] == "error"] == [rule]  # fmt: skip
    return said.told(rule)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def server(authority: trustme.CA) -> Iterator[ScratchServer]:
    """A server with TLS, whose pg_hba.conf has lines for odd cases."""
    with own_server(tls_provider(), settings=("max_connections = 12",)) as server:
        present(server, authority.issue_cert("localhost"))
        hba = server.data / "pg_hba.conf"
        odd = ("host all ghost 127.0.0.1/32 trust\nhost all outcast 127.0.0.1/32 reject\n"
               "hostssl all plainly 127.0.0.1/32 reject\nhost all aged 127.0.0.1/32 md5\n"
               "host all open 127.0.0.1/32 password\n")  # fmt: skip
        hba.write_text(odd + hba.read_text())
        give(hba)
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute(
                "CREATE ROLE app LOGIN PASSWORD 'pw';CREATE ROLE outcast LOGIN PASSWORD 'pw';"
                "CREATE ROLE plainly LOGIN PASSWORD 'pw';CREATE ROLE open LOGIN PASSWORD 'pw';"
                f"CREATE ROLE odd LOGIN PASSWORD '{ODD}';"
                "CREATE ROLE narrow LOGIN PASSWORD 'pw' CONNECTION LIMIT 1;"
                "SET password_encryption = 'md5';CREATE ROLE aged LOGIN PASSWORD 'pw'"
            )
            connection.execute("CREATE DATABASE closed")
            connection.execute("REVOKE CONNECT ON DATABASE closed FROM public")
            connection.execute("CREATE DATABASE shut ALLOW_CONNECTIONS false")
        reload(server)
        yield server


def present(server: ScratchServer, certificate: trustme.LeafCert) -> None:
    """Have the server show a certificate from now on."""
    key, chain = server.data / "server.key", server.data / "server.crt"
    key.write_bytes(certificate.private_key_pem.bytes())
    key.chmod(0o600)
    chain.write_bytes(b"".join(each.bytes() for each in certificate.cert_chain_pems))
    give(key)
    give(chain)
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET ssl = on")
    reload(server)


def reload(server: ScratchServer) -> None:
    """Have the server read its files again, and wait until it has."""
    with psycopg.connect(server.url(), autocommit=True) as connection:
        row = connection.execute("SELECT pg_conf_load_time()").fetchone()
        connection.execute("SELECT pg_reload_conf()")
        for _ in range(100):
            time.sleep(0.05)
            if connection.execute("SELECT pg_conf_load_time()").fetchone() != row:
                break
    time.sleep(0.1)


def as_role(server: ScratchServer, role: str, password: str = "pw", database: str = "postgres",
            **more: str) -> str:  # fmt: skip
    """Return a URL of a role; the host is a name, as certificates want it."""
    query = "&".join(f"{name}={value}" for name, value in more.items())
    return f"postgresql://{role}:{password}@localhost:{server.port}/{database}?{query}"


@pytest.fixture
def roots(authority: trustme.CA, tmp_path: Path) -> str:
    path = tmp_path / "roots.pem"
    path.write_bytes(authority.cert_pem.bytes())
    return str(path)


def test_a_host_name_that_does_not_exist(diagnose: Doctor) -> None:
    told = only_red(diagnose("postgresql://a:pw@no-such-host.invalid/x"), "dns")

    assert "no-such-host.invalid" in told


def test_a_port_that_nobody_listens_on(diagnose: Doctor) -> None:
    told = only_red(diagnose(f"postgresql://a:pw@127.0.0.1:{free_port()}/x"), "tcp")

    assert "refused" in told


def test_a_host_that_no_route_leads_to(diagnose: Doctor) -> None:
    # An address for documentation. Where this machine has IPv6, it is silence that tells.
    told = only_red(diagnose("postgresql://a:pw@[2001:db8::1]:5432/x"), "tcp")

    assert "this machine has no IPv6" in told or "timed out" in told


def test_a_local_socket_that_is_not_there(diagnose: Doctor, tmp_path: Path) -> None:
    told = only_red(diagnose(f"postgresql://a:pw@/x?host={tmp_path}"), "tcp")

    assert "no such local socket" in told


def test_a_password_that_is_wrong(diagnose: Doctor, server: ScratchServer) -> None:
    told = only_red(diagnose(as_role(server, "app", "-".join(["canary", "pw"]))), "sign-in")

    assert "The password was refused" in told
    assert "28P01" in told
    assert "canary" not in told


@pytest.mark.parametrize(
    ("role", "password"), [("app", "pw"), ("aged", "pw"), ("open", "pw"), ("odd", quote(ODD))]
)
def test_each_way_to_prove_a_password(
    diagnose: Doctor, server: ScratchServer, role: str, password: str
) -> None:
    good = diagnose(as_role(server, role, password))
    bad = diagnose(as_role(server, role, "other"))

    assert good.rules() == set(), good.text
    assert "28P01" in only_red(bad, "sign-in")


@pytest.mark.parametrize(
    ("role", "database", "title", "state"),
    [
        ("ghost", "postgres", "no such role", "28000"),
        ("outcast", "postgres", "does not let this role in from here", "28000"),
        ("app", "nowhere", "no such database", "3D000"),
        ("app", "closed", "may not connect to this database", "42501"),
        ("app", "shut", "accepts no connections", "55000"),
    ],
)
def test_refusals_are_told_apart(
    diagnose: Doctor, server: ScratchServer, role: str, database: str, title: str, state: str
) -> None:
    told = only_red(diagnose(as_role(server, role, database=database)), "sign-in")

    assert title in told
    assert state in told


def test_a_role_that_is_let_in_without_tls_alone(diagnose: Doctor, server: ScratchServer) -> None:
    """libpq gets in, unencrypted; with `require` nobody does."""
    loose = diagnose(as_role(server, "plainly"))
    strict = diagnose(as_role(server, "plainly", sslmode="require"))

    assert loose.rules() == set(), loose.text
    assert "without it alone" in loose.told("tls")
    assert "28000" in only_red(strict, "sign-in")


def test_a_role_at_its_limit(diagnose: Doctor, server: ScratchServer) -> None:
    with psycopg.connect(as_role(server, "narrow")):
        told = only_red(diagnose(as_role(server, "narrow")), "sign-in")

    assert "its own limit" in told
    assert "53300" in told


def test_a_server_that_is_full(diagnose: Doctor, server: ScratchServer) -> None:
    with ExitStack() as held:
        # Until it is full: of an earlier test a process may still be ending.
        with suppress(psycopg.OperationalError):
            for _ in range(20):
                held.enter_context(psycopg.connect(as_role(server, "app")))
        told = only_red(diagnose(as_role(server, "app")), "sign-in")
        # An administrator still gets in, and is told who holds them.
        said = diagnose(server.url())

    assert "full" in told
    assert "53300" in told
    assert "connections" in said.rules()
    assert re.search(r"[5-9] app", said.told("connections"))


def test_a_url_without_its_password(diagnose: Doctor, server: ScratchServer) -> None:
    url = f"postgresql://app@localhost:{server.port}/postgres"

    assert "the URL has none" in only_red(diagnose(url), "sign-in")


def test_tls_with_everything_checked(
    diagnose: Doctor, server: ScratchServer, authority: trustme.CA, roots: str
) -> None:
    present(server, authority.issue_cert("localhost"))
    said = diagnose(as_role(server, "app", sslmode="verify-full", sslrootcert=roots))

    assert not said.rules(), said.text
    titles = [each["title"] for each in said.document["findings"]]
    assert any(re.fullmatch(r"TLS: TLSv1\.[23]", each) for each in titles)
    assert any("checked (chain and host)" in each for each in titles)


def test_a_certificate_that_has_expired(
    diagnose: Doctor, server: ScratchServer, authority: trustme.CA, roots: str
) -> None:
    old = authority.issue_cert(
        "localhost", not_before=NOW - timedelta(30), not_after=NOW - timedelta(2)
    )
    present(server, old)
    strict = diagnose(as_role(server, "app", sslmode="verify-full", sslrootcert=roots))
    loose = diagnose(as_role(server, "app", sslmode="require"))

    assert "expired" in only_red(strict, "certificate")
    assert f"{NOW - timedelta(2):%Y-%m-%d}" in strict.told("certificate")
    assert loose.rules() == set()
    assert "certificate" in loose.rules(red=False)


def test_a_certificate_that_ends_soon(
    diagnose: Doctor, server: ScratchServer, authority: trustme.CA
) -> None:
    present(server, authority.issue_cert("localhost", not_after=NOW + timedelta(5)))
    said = diagnose(as_role(server, "app", sslmode="require"))

    assert "certificate" in said.rules(red=False)
    assert "ends in 4 days" in said.told("certificate")


def test_a_certificate_for_another_host(
    diagnose: Doctor, server: ScratchServer, authority: trustme.CA, roots: str
) -> None:
    present(server, authority.issue_cert("db.example.com", "*.pooler.example.com"))
    said = diagnose(as_role(server, "app", sslmode="verify-full", sslrootcert=roots))
    chain_alone = diagnose(as_role(server, "app", sslmode="verify-ca", sslrootcert=roots))

    told = only_red(said, "certificate")
    assert "another host" in told
    assert "db.example.com, *.pooler.example.com" in told
    assert chain_alone.rules() == set()


def test_a_certificate_that_nobody_vouches_for(
    diagnose: Doctor, server: ScratchServer, roots: str
) -> None:
    present(server, trustme.CA().issue_cert("localhost"))
    said = diagnose(as_role(server, "app", sslmode="verify-ca", sslrootcert=roots))
    rootless = diagnose(
        as_role(server, "app", sslmode="verify-ca", sslrootcert="/nowhere/roots.pem")
    )

    assert "not trusted" in only_red(said, "certificate")
    assert "no root certificates" in only_red(rootless, "certificate")


def test_a_server_without_tls(diagnose: Doctor, url: str) -> None:
    told = only_red(diagnose(f"{url}?sslmode=require"), "tls")

    assert "offers no TLS" in told


def test_where_a_url_cannot_be_read_nothing_was_looked_at(diagnose: Doctor) -> None:
    said = diagnose("postgresql://a:canary-pw@host:port:5432/x")

    assert said.exit == 3
    assert "canary" not in said.text
    assert said.unknowns() == {"url", *BEHIND}


HOSTILE: dict[str, tuple[Callable[[socket.socket], None], str, bool]] = {}
"""name -> (what it does, the rule that names it, whether TLS is asked for)."""


def hostile(rule: str, *, tls: bool = False) -> Callable[..., Callable[[socket.socket], None]]:
    def keep(talk: Callable[[socket.socket], None]) -> Callable[[socket.socket], None]:
        HOSTILE[talk.__name__] = (talk, rule, tls)
        return talk

    return keep


def _frame(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


WELCOME = _frame(b"R", struct.pack("!i", 0)) + _frame(b"S", b"server_version\x0016.1\0") + _frame(
    b"Z", b"I"
)  # fmt: skip


@hostile("tls", tls=True)
def silent(over: socket.socket) -> None:
    """Say nothing."""
    over.recv(100)
    time.sleep(15)


@hostile("tls", tls=True)
def web(over: socket.socket) -> None:
    """Be a web server."""
    over.recv(100)
    over.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


@hostile("tls", tls=True)
def hanging_up(over: socket.socket) -> None:
    """Hang up at once."""


@hostile("sign-in", tls=True)
def no_handshake(over: socket.socket) -> None:
    """Offer TLS and then speak none."""
    over.recv(100)
    over.sendall(b"S" + os.urandom(4000))
    time.sleep(1)


@hostile("sign-in")
def garbage(over: socket.socket) -> None:
    """Answer the sign-in with noise."""
    over.recv(100)
    over.sendall(os.urandom(100_000))


@hostile("sign-in")
def huge(over: socket.socket) -> None:
    """Announce a message of two gigabytes, and send it."""
    over.recv(100)
    over.sendall(b"R" + struct.pack("!i", 0x7FFFFFFF))
    for _ in range(2000):
        over.sendall(bytes(1 << 20))


@hostile("sign-in")
def endless(over: socket.socket) -> None:
    """Send parameters for ever."""
    over.recv(100)
    message = _frame(b"S", b"a\0" + b"b" * 500 + b"\0")
    for _ in range(1_000_000):
        over.sendall(message)


@hostile("sign-in")
def dripping(over: socket.socket) -> None:
    """Send a byte now and then: no single read times out."""
    over.recv(100)
    for byte in _frame(b"S", b"a\0" + b"b" * 500 + b"\0"):
        over.sendall(bytes([byte]))
        time.sleep(0.3)


@hostile("sign-in")
def counting(over: socket.socket) -> None:
    """Have us count for hours: a SCRAM challenge of four thousand million rounds."""
    over.recv(100)
    over.sendall(_frame(b"R", struct.pack("!i", 10) + b"SCRAM-SHA-256\0\0"))
    nonce = over.recv(1000).partition(b"r=")[2]
    challenge = b"r=" + nonce + b"x,s=AAAA,i=4000000000"
    over.sendall(_frame(b"R", struct.pack("!i", 11) + challenge))


@hostile("sign-in")
def pretending(over: socket.socket) -> None:
    """Say that the proof was right without knowing the password."""
    over.recv(100)
    over.sendall(_frame(b"R", struct.pack("!i", 10) + b"SCRAM-SHA-256\0\0"))
    nonce = over.recv(1000).partition(b"r=")[2]
    over.sendall(_frame(b"R", struct.pack("!i", 11) + b"r=" + nonce + b"x,s=AAAA,i=4096"))
    over.recv(1000)
    over.sendall(_frame(b"R", struct.pack("!i", 12) + b"v=AAAA") + WELCOME)


@hostile("server")
def silent_inside(over: socket.socket) -> None:
    """Let us in and never answer."""
    over.recv(100)
    over.sendall(WELCOME)
    over.recv(100)
    time.sleep(20)


@hostile("server")
def endless_inside(over: socket.socket) -> None:
    """Answer with rows for ever."""
    over.recv(100)
    over.sendall(WELCOME)
    over.recv(100)
    row = _frame(b"D", struct.pack("!hi", 1, 1000) + b"x" * 1000)
    for _ in range(1_000_000):
        over.sendall(row)


@hostile("server")
def lying_inside(over: socket.socket) -> None:
    """Answer with something else than what was asked."""
    over.recv(100)
    over.sendall(WELCOME)
    over.recv(100)
    text = b"[" * 100_000
    over.sendall(_frame(b"D", struct.pack("!hi", 1, len(text)) + text) + _frame(b"Z", b"I"))
    time.sleep(1)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_server_is_cut_off(diagnose: Doctor, name: str) -> None:
    talk, rule, tls = HOSTILE[name]
    mode = "prefer" if tls else "disable"
    with listener(talk) as port:
        began = time.monotonic()
        said = diagnose(f"postgresql://a:pw@127.0.0.1:{port}/x?sslmode={mode}")
        took_s = time.monotonic() - began

    assert took_s < 25
    assert said.exit == (3 if rule == "server" else 1), said.text
    assert rule in said.rules() | said.unknowns()
    assert not said.rules() - {rule}


@pytest.mark.parametrize(
    ("state", "words"),
    [("57P03", "starting up"), ("57P01", "being shut down"), ("57P02", "has crashed"),
     ("53100", "disk is full"), ("53200", "out of memory"), ("08P01", "A pooler refused"),
     ("99999", "The server refused")],
)  # fmt: skip
def test_refusals_that_no_server_can_be_brought_to_here(
    diagnose: Doctor, state: str, words: str
) -> None:
    def refusing(over: socket.socket) -> None:
        over.recv(100)
        fields = f"SFATAL\0C{state}\0Mno \x1b[31m entry\0Rsomewhere\0\0"
        over.sendall(_frame(b"E", fields.encode()))

    with listener(refusing) as port:
        said = diagnose(f"postgresql://a:pw@127.0.0.1:{port}/x?sslmode=disable")

    assert words in only_red(said, "sign-in")
    assert state in said.told("sign-in")


def test_a_server_that_wants_the_password_in_the_clear_is_not_told(diagnose: Doctor) -> None:
    heard: list[bytes] = []

    def asking(over: socket.socket) -> None:
        over.recv(100)
        over.sendall(_frame(b"R", struct.pack("!i", 3)))
        heard.append(over.recv(100))

    with listener(asking) as port:
        # Not this machine by its name, so the rule for the network holds.
        url = f"postgresql://a:canary-pw@db.example.com:{port}/x"
        said = diagnose(f"{url}?hostaddr=127.0.0.1&sslmode=disable")

    assert "unencrypted" in only_red(said, "sign-in")
    assert not any(b"canary" in each for each in heard)
