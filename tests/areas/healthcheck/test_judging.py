"""What a body, headers and a certificate say; facts in, words out."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from opsctl.adapters.http_request import Ask
from opsctl.adapters.patterns import compile_pattern
from opsctl.adapters.probed import Answer, Times
from opsctl.areas.healthcheck.body import MISSING, at_pointer, read_health, utilization
from opsctl.areas.healthcheck.checks import Judging, judge_endpoint
from opsctl.areas.healthcheck.signs import phases
from opsctl.core.errors import OpsError
from opsctl.core.report import Severity
from opsctl.core.settings import HealthEndpoint, Limits

NOW = 1_800_000_000.0


def judged(body: bytes = b"", *, kind: str = "application/health+json", took_s: float = 0.1,
           whole: bool = True, status: int = 200, headers: dict[str, str] | None = None,
           pattern: Any = None, **settings: Any) -> Any:  # fmt: skip
    """Return the verdict on one answer."""
    endpoint = HealthEndpoint(name="it", url="https://example.com/api/health", **settings)
    answer = Answer(
        Ask("it", endpoint.url), 0.0, 0.0, took_s, status=status, body=body, whole=whole,
        headers={"content-type": kind, **(headers or {})}, times=Times(1.0, 2.0, 3.0, 4.0),
    )  # fmt: skip
    return judge_endpoint(Judging(endpoint, Limits(), pattern), answer, now=NOW)


@pytest.mark.parametrize(
    ("document", "status"),
    [
        ({"status": "pass"}, "pass"),
        ({"status": "ok"}, "pass"),
        ({"status": "UP"}, "pass"),
        ({"status": "warn"}, "warn"),
        ({"status": "fail"}, "fail"),
        ({"status": "down"}, "fail"),
        ({"status": "something else"}, "fail"),
        ({"checks": {"db": [{"status": "pass"}]}}, "pass"),
        ({"checks": {"db": [{"status": "fail"}]}}, "fail"),
        ({"checks": {"db": {"status": "warn"}}}, "warn"),
        ({"status": "pass", "checks": {"db": [{"status": "fail"}]}}, "warn"),
        ({"status": 5}, "pass"),
        ([1, 2], "pass"),
    ],
)
def test_health_json_is_understood(document: Any, status: str) -> None:
    assert judged(json.dumps(document).encode()).sample.status == status


def test_a_word_that_is_not_of_health_is_no_fault_of_plain_json() -> None:
    body = b'{"status": "active"}'

    assert judged(body, kind="application/json").sample.status == "pass"
    assert judged(b'{"status": "error"}', kind="application/json").sample.status == "fail"


def test_components_carry_the_latency_of_the_database_and_what_is_in_use() -> None:
    document = {
        "status": "pass",
        "checks": {
            "database:responseTime": [{"observedValue": 4.2, "observedUnit": "ms"}],
            "memory:utilization": [{"observedValue": 91, "observedUnit": "percent"}],
            "disk:utilization": [{"observedValue": 0.4}, {"observedValue": 0.7}],
            "cpu:utilization": [{"observedValue": 85, "observedUnit": "percent"}],
        },
    }
    verdict = judged(json.dumps(document).encode())

    assert verdict.metrics == {"memory": 0.91, "disk": 0.7}
    assert verdict.data["components"]["database:responseTime"]["value"] == 4.2


@pytest.mark.parametrize("value", [True, "9", None, float("nan"), 1e300, -3, 250])
def test_a_value_that_is_no_share_is_not_taken_for_one(value: Any) -> None:
    health = read_health(
        {"status": "ok", "checks": {"memory:utilization": [{"observedValue": value}]}},
        declared=True,
    )

    assert health is not None
    assert utilization(health) == {}


@pytest.mark.parametrize(
    ("pointer", "value"),
    [("", {"a/b": [1, {"~": None}]}), ("/a~1b/0", 1), ("/a~1b/1/~0", None), ("/a~1b/2", MISSING),
     ("/a~1b/-", MISSING), ("/a~1b/01", MISSING), ("/x", MISSING), ("a", MISSING)],
)  # fmt: skip
def test_a_pointer_leads_where_the_standard_says(pointer: str, value: Any) -> None:
    assert at_pointer({"a/b": [1, {"~": None}]}, pointer) == value


@pytest.mark.parametrize(
    ("expect", "reason", "said"),
    [
        ({"/status": "pass", "/n": 1, "/list/0": True}, "", ""),
        ({"/n": 1.0}, "", ""),
        ({"/status": "ok"}, "wrong-json", 'at /status stands "pass" instead of "ok"'),
        ({"/n": True}, "wrong-json", "at /n stands 1 instead of true"),
        ({"/list/0": 1}, "wrong-json", "at /list/0 stands true instead of 1"),
        ({"/nothing": None}, "wrong-json", "nothing stands at /nothing"),
    ],
)
def test_values_are_compared_by_kind(expect: Any, reason: str, said: str) -> None:
    verdict = judged(b'{"status": "pass", "n": 1, "list": [true]}', expect=expect)

    assert (verdict.sample.reason, verdict.findings[0].evidence) == (reason, said)


@pytest.mark.parametrize(
    ("body", "more", "said"),
    [
        (b"<html>", {}, "its body is no JSON"),
        (b'{"a": ' * 5000, {}, "its body is no JSON"),
        (b'{"a": 1', {"whole": False}, "too large to be read as JSON"),
        (b"\x1f\x8b", {"headers": {"content-encoding": "gzip"}}, "sent as gzip"),
    ],
)
def test_what_is_no_json_holds_no_value(body: bytes, more: Any, said: str) -> None:
    verdict = judged(body, expect={"/status": "pass"}, **more)

    assert verdict.sample.reason == "wrong-json"
    assert said in verdict.findings[0].evidence


def test_texts_and_patterns_are_looked_for() -> None:
    pattern = compile_pattern(r"version\W+[0-9]+", where="it")
    body = b'{"status": "pass", "version": 12}'

    def reason(**settings: Any) -> str:
        return str(judged(body, **settings).sample.reason)

    assert reason(contains=("pass", "12")) == ""
    assert reason(contains=("pass", "13")) == "wrong-body"
    assert reason(matches="x", pattern=pattern) == ""
    assert reason(matches="x", pattern=compile_pattern("^12$", where="it")) == "wrong-body"


def test_a_pattern_made_to_run_for_hours_does_not() -> None:
    pattern = compile_pattern(r"(a*)*$|(a|a)*b", where="it")
    began = time.monotonic()

    judged(b"a" * 200_000 + b"!", kind="text/plain", matches="x", pattern=pattern)

    assert time.monotonic() - began < 2


@pytest.mark.parametrize("text", ["(", "a{99999}", r"(?=a)", r"(a)\1"])
def test_a_pattern_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(OpsError) as caught:
        compile_pattern(text, where="it")

    assert (caught.value.code, int(caught.value.exit)) == ("bad-pattern", 2)


def test_a_slow_answer_says_where_the_time_went() -> None:
    verdict = judged(took_s=0.612)
    slow = next(each for each in verdict.findings if each.rule == "health-latency")

    assert (verdict.sample.status, verdict.sample.reason) == ("warn", "slow")
    assert slow.severity is Severity.WARNING
    assert slow.evidence == (
        "612 ms; the limit is 500 ms (dns 1, connect 1, tls 1, first byte 1, rest 608)"
    )
    assert judged(took_s=0.612, response_ms=700.0).sample.status == "pass"


def test_a_late_start_counts_and_is_named() -> None:
    answer = Answer(Ask("it", "http://example.com"), 0.0, 2.0, 2.5, status=200)

    assert (answer.took_ms, answer.own_ms) == (2500.0, 500.0)
    assert phases(answer).startswith("late here 2000")


@pytest.mark.parametrize(
    ("made", "served", "cached"),
    [
        ("2027-01-15T07:59:00Z", "Fri, 15 Jan 2027 08:00:30 GMT", True),
        ("2027-01-15T08:00:00Z", "Fri, 15 Jan 2027 08:00:30 GMT", False),
        ("2027-01-15T09:00:00+01:00", "Fri, 15 Jan 2027 08:00:30 GMT", False),
        ("2027-01-15T07:50:00Z", "", True),
        ("2020-01-01T00:00:00", "", False),
        ("yesterday", "", False),
    ],
)
def test_a_frozen_time_stamp_gives_a_cached_route_away(
    made: str, served: str, cached: bool
) -> None:
    """By the server's own clock where it says what that is, for ours may be wrong."""
    body = json.dumps({"status": "pass", "time": made}).encode()
    verdict = judged(body, headers={"date": served} if served else {})

    assert (verdict.sample.reason == "cached") is cached


@pytest.mark.parametrize(
    ("headers", "status", "reason"),
    [
        ({"server": "Vercel"}, 401, "protected"),
        ({"x-vercel-id": "a", "x-vercel-mitigated": "challenge"}, 403, "protected"),
        ({"x-vercel-id": "a"}, 403, "wrong-status"),
        ({"x-vercel-id": "a"}, 500, "wrong-status"),
        ({}, 401, "wrong-status"),
    ],
)
def test_protection_is_told_from_an_outage(
    headers: dict[str, str], status: int, reason: str
) -> None:
    assert judged(status=status, headers=headers).sample.reason == reason


def test_a_secret_that_comes_back_is_not_shown() -> None:
    secret = "-".join(["canary", "8823"])
    endpoint = HealthEndpoint(name="it", url="https://example.com/")
    body = json.dumps({"status": "fail", "output": f"bad key {secret}"}).encode()
    answer = Answer(Ask("it", endpoint.url), 0, 0, 1, status=200, body=body, whole=True,
                    headers={"content-type": "application/health+json"})  # fmt: skip

    verdict = judge_endpoint(Judging(endpoint, Limits(), secrets=(secret,)), answer, now=NOW)

    assert "bad key ***" in verdict.findings[0].evidence


def test_the_reader_agrees_with_h11(make_answers: Callable[[int], list[bytes]]) -> None:
    """Whole answers, cut anywhere, mean the same to both; what one refuses both do."""
    import h11

    from opsctl.adapters.http_answer import AnswerReader, Unreadable

    agreed = 0
    for seed, raw in enumerate(make_answers(400)):
        cut = seed % max(len(raw), 1)
        reader = AnswerReader(method="GET", keep=1 << 20, most=1 << 20)
        try:
            for piece in (raw[:cut], raw[cut:]):
                if piece and not reader.done:
                    reader.feed(piece)
            ours = (reader.status, bytes(reader.body)) if reader.done or reader.end() else None
        except Unreadable:
            ours = None
        client = h11.Connection(h11.CLIENT)
        client.send(h11.Request(method="GET", target="/", headers=[("host", "a")]))
        client.send(h11.EndOfMessage())
        theirs = None
        try:
            client.receive_data(raw)
            client.receive_data(b"")
            status, body = 0, b""
            while True:
                event = client.next_event()
                if isinstance(event, h11.Response):
                    status = event.status_code
                elif isinstance(event, h11.Data):
                    body += event.data
                elif isinstance(event, h11.EndOfMessage):
                    theirs = (status, body)
                    break
                elif isinstance(event, h11.InformationalResponse):
                    continue
                else:
                    break
        except h11.RemoteProtocolError:
            theirs = None
        assert ours == theirs, raw
        agreed += ours is not None
    assert agreed > 100


@pytest.fixture
def make_answers() -> Callable[[int], list[bytes]]:
    """Answers of every framing, some of them damaged; the same ones each time."""
    import random

    def make(count: int) -> list[bytes]:
        chance = random.Random(7)
        found = []
        for _ in range(count):
            body = bytes(chance.choices(b"abc{}\r\n", k=chance.randrange(0, 60)))
            head = b"HTTP/1.1 %d Said\r\n" % chance.choice([200, 204, 304, 404, 503])
            head += chance.choice([b"", b"Server: x\r\n", b"X-A:  padded \r\nX-A: b\r\n"])
            if chance.random() < 0.2:
                head = b"HTTP/1.1 103 Early\r\nLink: a\r\n\r\n" + head
            kind = chance.randrange(4)
            if kind == 0:
                raw = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
            elif kind == 1:
                raw = head + b"\r\n" + body
            else:
                raw = head + b"Transfer-Encoding: chunked\r\n\r\n"
                at = 0
                while at < len(body):
                    piece = body[at : at + chance.randrange(1, 20)]
                    raw += (
                        b"%x%s\r\n" % (len(piece), chance.choice([b"", b";a=b"])) + piece + b"\r\n"
                    )
                    at += len(piece)
                raw += b"0\r\n" + chance.choice([b"", b"X-Trailer: z\r\n"]) + b"\r\n"
            if chance.random() < 0.25:
                raw = raw[: chance.randrange(len(raw))]
            found.append(raw)
        return found

    return make
