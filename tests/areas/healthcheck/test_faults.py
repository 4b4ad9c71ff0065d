"""Every way in which a server, a network or this machine can fail: the right word for each."""

from __future__ import annotations

import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from opsctl.adapters.dialing import Failed
from opsctl.adapters.event_loop import EventLoop
from opsctl.adapters.http_request import Ask
from opsctl.adapters.probed import Answer
from opsctl.adapters.scratch import free_port
from opsctl.areas.healthcheck.checks import Judging, judge_endpoint
from opsctl.areas.healthcheck.surroundings import Surroundings
from opsctl.areas.healthcheck.verdict import Verdict
from opsctl.core.settings import HealthEndpoint, Limits

Look = Callable[..., Verdict]


@pytest.mark.parametrize(
    ("page", "status", "reason", "said"),
    [
        ("ok", "pass", "", ""),
        ("up", "pass", "", ""),
        ("huge", "pass", "", ""),
        ("deep", "pass", "", ""),
        ("broken", "fail", "wrong-status", "status 500 instead of 200"),
        ("fail", "fail", "wrong-status", "status 503 instead of 200: disk"),
        ("ill", "fail", "unhealthy", "it says fail: disk full"),
        ("warn", "warn", "degraded", "it says warn"),
        ("cached", "warn", "cached", "x-nextjs-cache: HIT"),
        ("aged", "warn", "cached", "age: 77"),
        ("protected", "unknown", "protected", "from the platform"),
        ("sso", "unknown", "protected", "log-in page"),
        ("here", "fail", "wrong-status", "redirects are not followed"),
        ("no-http", "fail", "protocol", "no HTTP/1.1 answer"),
        ("garbage", "fail", "protocol", "no HTTP/1.1 answer"),
        ("two-lengths", "fail", "protocol", "two different lengths"),
        ("short", "fail", "closed", "ended before the answer did"),
        ("bad-chunk", "fail", "protocol", "has no size"),
        ("many-headers", "fail", "protocol", "more than 200 headers"),
        ("endless-headers", "fail", "protocol", "larger than 64 KiB"),
        ("informs", "fail", "protocol", "never comes to its answer"),
        ("endless", "fail", "too-large", "larger than 32 MiB"),
        ("endless-chunks", "fail", "too-large", "larger than 32 MiB"),
        ("gigabyte", "fail", "too-large", "larger than 32 MiB"),
        ("reset", "fail", "reset", "broken off"),
        ("hang-up", "fail", "closed", "ended before the answer did"),
    ],
)
def test_an_answer_gets_the_right_word(
    server: Any, look: Look, page: str, status: str, reason: str, said: str
) -> None:
    verdict = look(f"{server.url}/{page}")

    assert (status, reason) == (verdict.sample.status, verdict.sample.reason)
    assert any(said in finding.evidence for finding in verdict.findings)


@pytest.mark.parametrize(
    ("page", "phase"),
    [
        ("drip", "in the middle of the answer"),
        ("slow-headers", "in the middle of the answer"),
        ("slow", "waiting for the first byte"),
    ],
)
def test_the_time_out_is_for_the_whole_answer(
    server: Any, look: Look, page: str, phase: str
) -> None:
    began = time.monotonic()

    verdict = look(f"{server.url}/{page}", timeout_s=0.6)

    assert time.monotonic() - began < 1.2
    assert (verdict.sample.status, verdict.sample.reason) == ("fail", "timeout")
    assert phase in verdict.findings[0].evidence


def test_memory_stays_bounded_whatever_is_sent(server: Any, look: Look) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    for page in ("endless", "endless-chunks", "endless-headers", "gigabyte"):
        look(f"{server.url}/{page}")

    grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kb < 16_000


def test_a_refused_connection_is_ill_and_nothing_to_resolve_it_with_is_unknown(look: Look) -> None:
    refused = look(f"http://127.0.0.1:{free_port()}/")
    nameless = look("http://no-such-host.invalid/")

    assert (refused.sample.status, refused.sample.reason) == ("fail", "refused")
    # Where no resolver answers, nobody can say that there is no such host.
    assert (nameless.sample.status, nameless.sample.reason) in (
        ("fail", "dns"), ("unknown", "resolver"),
    )  # fmt: skip
    assert refused.sample.took_ms is not None


@pytest.mark.parametrize(
    "reason", ["resolver", "no-route", "own-limit", "secret", "proxy", "bad-url"]
)
def test_what_lies_with_this_machine_is_unknown(reason: str) -> None:
    endpoint = HealthEndpoint(name="it", url="http://example.com/")
    answer = Answer(Ask("it", endpoint.url), 0.0, 0.0, 1.0, failure=Failed(reason, "no"))

    verdict = judge_endpoint(Judging(endpoint, Limits()), answer, now=0.0)

    assert (verdict.sample.status, verdict.sample.took_ms) == ("unknown", None)


@pytest.mark.parametrize("reason", ["dns", "timeout", "unreachable", "connect"])
def test_while_this_machine_is_offline_a_way_that_failed_is_unknown(reason: str) -> None:
    endpoint = HealthEndpoint(name="it", url="http://example.com/")
    answer = Answer(Ask("it", endpoint.url), 0.0, 0.0, 1.0, failure=Failed(reason, "no"))
    judging = Judging(endpoint, Limits())

    online, offline = (
        judge_endpoint(judging, answer, now=0.0, offline=offline) for offline in (False, True)
    )

    assert (online.sample.status, online.sample.reason) == ("fail", reason)
    assert (offline.sample.status, offline.sample.reason) == ("unknown", "offline")


@pytest.mark.parametrize(
    ("witnesses", "offline"),
    [(["127.0.0.1:{open}"], False), (["127.0.0.1:{closed}"], False), (["no.invalid:1"], True),
     (["no.invalid:1", "127.0.0.1:{open}"], False), ([], False)],
)  # fmt: skip
def test_witnesses_tell_whether_it_is_this_machine(
    server: Any, witnesses: list[str], offline: bool
) -> None:
    """Who refuses a connection is there, too."""
    places = [each.format(open=server.port, closed=free_port()) for each in witnesses]
    heard: list[bool] = []
    loop = EventLoop()

    Surroundings(loop, witnesses=places).ask(heard.append)
    loop.run(lambda: len(heard) > 0)
    loop.close()

    assert heard == [offline]


def test_a_redirect_to_another_host_takes_no_secret_along(
    server: Any, other: Any, ask: Callable[..., list[Answer]]
) -> None:
    secret = "-".join(["canary", "7719"])
    server.elsewhere = f"{other.url}/ok"
    headers = {"x-vercel-protection-bypass": secret, "apikey": secret, "Authorization": secret}

    for redirects in (0, 5):
        answer = ask(Ask("it", f"{server.url}/redirect", headers=headers, redirects=redirects))[0]
        assert answer.location == f"{other.url}/ok"
        assert (answer.failure.reason if answer.failure else "") == (
            "redirect-elsewhere" if redirects else ""
        )

    assert other.seen == []
    assert [headers["apikey"] for _, headers in server.seen] == [secret, secret]


@pytest.mark.parametrize(
    "where", ["https://127.0.0.1:{port}/ok", "http://localhost:{port}/ok", "//127.0.0.2:{port}/ok",
              "http://127.0.0.1:{port}@127.0.0.2:{port}/ok", "file:///etc/passwd", "http://[::1/"]
)  # fmt: skip
def test_only_the_very_same_origin_is_followed(
    server: Any, ask: Callable[..., list[Answer]], where: str
) -> None:
    server.elsewhere = where.format(port=server.port)

    answer = ask(Ask("it", f"{server.url}/redirect", redirects=5))[0]

    assert answer.failure is None or answer.failure.reason == "redirect-elsewhere"
    assert [path for path, _ in server.seen] == ["/redirect"]


def test_a_redirect_within_the_origin_is_followed_as_often_as_allowed(
    server: Any, look: Look
) -> None:
    assert look(f"{server.url}/here", redirects=1).sample.status == "pass"
    looped = look(f"{server.url}/loop", redirects=10)

    assert (looped.sample.status, looped.sample.reason) == ("fail", "redirect-loop")
    assert len(server.seen) == 2 + 11


def test_an_endpoint_with_an_ipv6_address_alone_is_asked(look: Look, make_server: Any) -> None:
    server = make_server(family=socket.AF_INET6)

    assert look(f"{server.url}/ok").sample.status == "pass"
    assert server.seen[0][1]["host"] == f"[::1]:{server.port}"


@pytest.mark.parametrize(
    ("kind", "status", "reason"),
    [
        ("good", "pass", ""),
        ("expired", "fail", "tls-expired"),
        ("future", "fail", "tls-not-yet-valid"),
        ("other", "fail", "tls-wrong-host"),
        ("self", "fail", "tls-self-signed"),
        ("soon", "warn", "certificate-ends"),
    ],
)
def test_a_certificate_gets_the_right_word(
    server: Any,
    authority: Any,
    look: Look,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    status: str,
    reason: str,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.root))
    server.tls = authority.context(kind)

    verdict = look(f"{server.url}/ok")

    assert (status, reason) == (verdict.sample.status, verdict.sample.reason)


def test_a_certificate_of_a_root_that_nobody_knows_is_not_trusted(
    server: Any, authority: Any, look: Look
) -> None:
    server.tls = authority.context("good")

    verdict = look(f"{server.url}/ok")

    assert verdict.sample.status == "fail"
    assert verdict.sample.reason in ("tls-untrusted", "tls-self-signed")


def test_a_server_without_tls_is_told(server: Any, look: Look) -> None:
    verdict = look(server.url.replace("http:", "https:") + "/ok")

    assert (verdict.sample.status, verdict.sample.reason) == ("fail", "tls")


def test_every_phase_is_timed(server: Any, authority: Any, monkeypatch: pytest.MonkeyPatch,
                              ask: Callable[..., list[Answer]]) -> None:  # fmt: skip
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.root))
    server.tls = authority.context("good")
    server.pages["slow"] = lambda client: (time.sleep(0.2), client.sendall(_FINE))

    times = (answer := ask(Ask("it", f"https://localhost:{server.port}/slow"))[0]).times

    assert answer.failure is None
    assert times.dns_ms is not None
    assert times.connect_ms is not None
    assert times.tls_ms is not None
    assert times.first_byte_ms is not None
    assert 0 < times.dns_ms < times.connect_ms < times.tls_ms < times.first_byte_ms
    assert times.first_byte_ms - times.tls_ms >= 200
    assert times.first_byte_ms <= answer.own_ms <= answer.took_ms


_FINE = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def test_a_hang_delays_nobody_and_ends_on_time(
    server: Any, ask: Callable[..., list[Answer]]
) -> None:
    server.pages["slow"] = lambda client: time.sleep(6)
    asks = [Ask(str(index), f"{server.url}/ok") for index in range(50)]
    hang = Ask("hang", f"{server.url}/slow", timeout_s=4)
    began = time.monotonic()

    hung, *answers = ask(hang, *asks)

    assert time.monotonic() - began < 4 * 1.1
    assert hung.failure is not None
    assert hung.failure.reason == "timeout"
    assert max(each.ended for each in answers) < hung.ended - 1


def test_more_requests_than_may_be_under_way_wait_and_their_wait_is_counted(
    server: Any, ask: Callable[..., list[Answer]]
) -> None:
    server.pages["slow"] = lambda client: (time.sleep(0.2), client.sendall(_FINE))

    first, second, third = ask(
        *(Ask(str(index), f"{server.url}/slow") for index in range(3)), at_most=1
    )

    assert first.took_ms < second.took_ms < third.took_ms
    assert third.took_ms >= 600 > third.own_ms >= 200


@pytest.fixture
def proxy() -> Iterator[Any]:
    """A proxy that takes CONNECT and absolute requests, and remembers what it heard."""

    class Proxy:
        heard: list[str]

        def __init__(self) -> None:
            self.heard = []
            self.listener = socket.create_server(("127.0.0.1", 0))
            self.port = self.listener.getsockname()[1]
            self.refuse = False
            threading.Thread(target=self.serve, daemon=True).start()

        def serve(self) -> None:
            while True:
                try:
                    client, _ = self.listener.accept()
                except OSError:
                    return
                threading.Thread(target=self.one, args=(client,), daemon=True).start()

        def one(self, client: socket.socket) -> None:
            with suppress(OSError), client:
                head = client.recv(65536)
                self.heard.append(head.decode())
                method, target, _ = head.split(b"\r\n")[0].split(b" ")
                if self.refuse:
                    client.sendall(b"HTTP/1.1 407 Who?\r\nContent-Length: 0\r\n\r\n")
                    return
                place = target if method == b"CONNECT" else target.split(b"/")[2]
                host, _, port = place.decode().partition(":")
                with socket.create_connection((host, int(port))) as onward:
                    if method == b"CONNECT":
                        client.sendall(b"HTTP/1.1 200 Go\r\n\r\n")
                    else:
                        onward.sendall(head)
                    threading.Thread(target=pump, args=(client, onward), daemon=True).start()
                    pump(onward, client)

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)

    found = Proxy()
    yield found
    found.listener.close()


def test_the_proxy_of_the_environment_is_asked_and_named(
    server: Any, authority: Any, proxy: Any, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    password = "-".join(["pass", "4471"])
    monkeypatch.setenv("http_proxy", f"http://me:{password}@127.0.0.1:{proxy.port}")
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.port}")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.root))

    plain = look(f"{server.url}/broken")
    server.tls = authority.context("good")
    tunnelled = look(f"{server.url}/ok")

    assert plain.sample.reason == "wrong-status"
    assert f"through the proxy http://127.0.0.1:{proxy.port}" in plain.findings[0].evidence
    assert password not in plain.findings[0].evidence
    assert tunnelled.sample.status == "pass"
    assert proxy.heard[0].startswith(f"GET {server.url.replace('https', 'http')}/broken HTTP/1.1")
    assert "Proxy-Authorization: Basic " in proxy.heard[0]
    assert proxy.heard[1].startswith(f"CONNECT 127.0.0.1:{server.port} HTTP/1.1")
    assert all("proxy-authorization" not in headers for path, headers in server.seen[1:])


def test_a_host_that_no_proxy_names_is_asked_directly(
    server: Any, proxy: Any, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    assert look(f"{server.url}/ok").sample.status == "pass"
    assert proxy.heard == []


def test_a_proxy_that_does_not_let_through_is_unknown(
    server: Any, proxy: Any, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    proxy.refuse = True
    verdicts = []
    for name, port in (("http_proxy", proxy.port), ("https_proxy", proxy.port),
                       ("http_proxy", free_port())):  # fmt: skip
        monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
        scheme = name.partition("_")[0]
        verdicts.append(look(f"{server.url.replace('http', scheme, 1)}/ok"))

    assert [("unknown", "proxy")] * 3 == [(v.sample.status, v.sample.reason) for v in verdicts]
    assert server.seen == []


def test_a_proxy_of_another_kind_is_unknown(
    server: Any, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    password = "-".join(["pass", "4472"])
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("http_proxy", f"socks5://me:{password}@127.0.0.1:1080")

    verdict = look(f"{server.url}/ok")

    assert (verdict.sample.status, verdict.sample.reason) == ("unknown", "proxy")
    assert password not in verdict.findings[0].evidence


def test_a_header_that_would_make_another_request_is_not_sent(
    server: Any, ask: Callable[..., list[Answer]]
) -> None:
    headers = {"x-key": "a\r\nX-Evil: b"}
    answers = ask(
        Ask("it", f"{server.url}/ok", headers=headers),
        Ask("it", f"{server.url}/ok?a=b c\r\nX-Evil: b"),
        Ask("it", f"http://127.0.0.1:{server.port}\r\nX-Evil: b/ok"),
    )

    assert answers[0].failure is not None
    assert answers[0].failure.reason == "secret"
    assert answers[2].failure is not None
    assert answers[2].failure.reason == "bad-url"
    assert [("x-evil" in headers, path) for path, headers in server.seen] == [
        (False, "/ok?a=b%20c%0D%0AX-Evil:%20b")
    ]
