"""`healthcheck run` through the front door: what it asks, what it keeps, how it ends."""

from __future__ import annotations

import io
import json
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

from opsctl.adapters.scratch import free_port
from opsctl.cli.root import run
from opsctl.core.errors import OpsError
from opsctl.core.report import Finding, Metric, Report, Severity, Status
from opsctl.render.report import exit_code, render_error, render_report

Go = Callable[..., tuple[int, str]]


@pytest.fixture
def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Go:
    """Run a command line in a directory with the settings given: (exit code, stdout)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path.parent / f"{tmp_path.name}-cache"))

    def go(settings: dict[str, Any] | None, *words: str) -> tuple[int, str]:
        if settings is not None:
            document = json.dumps({"environments": {"test": settings}})
            (tmp_path / "opsctl.yaml").write_text(document)
        out = io.StringIO()
        with redirect_stdout(out), redirect_stderr(io.StringIO()):
            code = run(["healthcheck", *words])
        return code, out.getvalue()

    return go


def samples(folder: Path) -> list[tuple[Any, ...]]:
    """Return what the history keeps: check, status, reason, HTTP status."""
    with closing(sqlite3.connect(folder / ".opsctl" / "state.db")) as connection:
        return connection.execute(
            "SELECT name, status, reason, http_status FROM health_sample ORDER BY 1"
        ).fetchall()


@pytest.mark.parametrize("format_", ["text", "json", "junit", "github", "markdown", "sarif"])
def test_the_command_ends_as_it_found(
    go: Go, server: Any, database_url: str, monkeypatch: pytest.MonkeyPatch, format_: str
) -> None:
    monkeypatch.setenv("DATABASE_FOR_TEST", database_url)
    settings = {
        "database": {"url": "env:DATABASE_FOR_TEST"},
        "health": [
            {"name": "one", "url": f"{server.url}/ok"},
            {"name": "two", "url": f"{server.url}/fail"},
        ],
    }

    code, out = go(settings, "run", "--format", format_)

    assert code == 1
    assert "\x1b" not in out
    if format_ == "json":
        document = json.loads(out)
        found = {f["title"]: f["status"] for f in document["findings"]}
        assert (document["status"], document["exit_code"]) == ("failed", 1)
        assert found["one is well"] == "ok"
        assert found["two is ill"] == "failed"
        assert document["data"]["database"]["max_connections"] == 100
        assert [each["result"] for each in document["data"]["endpoints"]] == ["pass", "fail"]
    if format_ == "junit":
        assert ElementTree.fromstring(out).get("failures") == "1"


def test_run_is_what_is_meant_and_its_samples_are_kept(go: Go, server: Any, tmp_path: Path) -> None:
    health = [
        {"name": "a", "url": f"{server.url}/ok"},
        {"name": "b", "url": f"{server.url}/broken"},
        {"name": "c", "url": f"{server.url}/protected"},
        {"name": "d", "url": f"{server.url}/cached"},
    ]

    assert go({"health": health})[0] == 1
    assert samples(tmp_path) == [
        ("a", "pass", "", 200),
        ("b", "fail", "wrong-status", 500),
        ("c", "unknown", "protected", 401),
        ("d", "warn", "cached", 200),
    ]


def test_nothing_is_kept_where_that_is_not_wanted(go: Go, server: Any, tmp_path: Path) -> None:
    code, _ = go({"health": [{"name": "a", "url": f"{server.url}/ok"}]}, "run", "--no-record")

    assert code == 0
    assert not (tmp_path / ".opsctl").exists()


def test_a_history_that_cannot_be_written_does_not_hide_what_was_seen(
    go: Go, server: Any, tmp_path: Path
) -> None:
    (tmp_path / ".opsctl").write_text("in the way")

    code, out = go({"health": [{"name": "a", "url": f"{server.url}/broken"}]}, "run")

    assert code == 1
    assert "a is ill" in out
    assert "Not kept in the history" in out


@pytest.mark.parametrize(
    ("page", "code"), [("ok", 0), ("cached", 0), ("broken", 1), ("protected", 3)]
)
def test_the_exit_code_tells_ill_from_not_to_be_told(
    go: Go, server: Any, page: str, code: int
) -> None:
    assert go({"health": [{"name": "a", "url": f"{server.url}/{page}"}]}, "run")[0] == code


@pytest.mark.parametrize(
    ("page", "more", "reason", "code"),
    [
        ("reset", {}, "reset", 1),
        ("hang-up", {}, "closed", 1),
        ("slow-headers", {"timeout_s": 0.6}, "timeout", 1),
        ("drip", {"timeout_s": 0.6}, "timeout", 1),
        ("endless", {}, "too-large", 1),
        ("gigabyte", {}, "too-large", 1),
        ("no-json", {"expect": {"/status": "ok"}}, "wrong-json", 1),
        ("loop", {"redirects": 5}, "redirect-loop", 1),
        ("redirect", {"redirects": 5}, "redirect-elsewhere", 1),
        ("sso", {}, "protected", 3),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_every_fault_of_a_server_ends_with_its_exit_code(
    go: Go, server: Any, other: Any, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, page: str, more: dict[str, Any], reason: str, code: int,
) -> None:  # fmt: skip
    monkeypatch.setenv("TOKEN_FOR_TEST", "-".join(["a", "harmless", "value"]))
    server.elsewhere = f"{other.url}/ok"
    endpoint = {
        "name": "a",
        "url": f"{server.url}/{page}",
        "headers": {"authorization": "env:TOKEN_FOR_TEST"},
        **more,
    }

    assert go({"health": [endpoint]}, "run")[0] == code
    assert samples(tmp_path)[0][2] == reason
    assert server.seen[0][1]["authorization"] == "a-harmless-value"
    assert other.seen == []


@pytest.mark.parametrize(
    ("kind", "reason", "code"),
    [
        ("good", "", 0),
        ("soon", "certificate-ends", 0),
        ("expired", "tls-expired", 1),
        ("other", "tls-wrong-host", 1),
        ("self", "tls-self-signed", 1),
    ],
)
def test_every_certificate_ends_with_its_exit_code(
    go: Go, server: Any, authority: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    kind: str, reason: str, code: int,
) -> None:  # fmt: skip
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.root))
    server.tls = authority.context(kind)

    endpoint = {"name": "a", "url": f"{server.url}/ok", "response_ms": 30_000}

    assert go({"health": [endpoint]}, "run")[0] == code
    assert samples(tmp_path)[0][2] == reason


def test_a_port_that_nobody_listens_at_is_ill(go: Go, tmp_path: Path) -> None:
    health = [{"name": "a", "url": f"http://127.0.0.1:{free_port()}/"}]

    assert go({"health": health}, "run")[0] == 1
    assert samples(tmp_path) == [("a", "fail", "refused", None)]


def test_nothing_to_check_is_unknown_not_well(go: Go) -> None:
    assert go({}, "run")[0] == 3


def test_a_missing_secret_is_unknown_and_the_others_are_still_asked(go: Go, server: Any) -> None:
    health = [
        {"name": "a", "url": f"{server.url}/ok", "headers": {"x-key": "env:NOT_SET_ANYWHERE"}},
        {"name": "b", "url": f"{server.url}/ok"},
    ]
    code, out = go({"health": health}, "run", "--format", "json")

    assert code == 3
    assert [each["result"] for each in json.loads(out)["data"]["endpoints"]] == ["unknown", "pass"]
    assert "NOT_SET_ANYWHERE" in out
    assert len(server.seen) == 1


def test_headers_methods_and_assertions_of_the_settings_are_used(
    go: Go, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY_FOR_TEST", "some-value")
    health = [
        {
            "name": "a",
            "url": f"{server.url}/up",
            "method": "POST",
            "headers": {"X-Key": "env:KEY_FOR_TEST"},
            "expect": {"/status": "UP"},
            "contains": ["status"],
            "matches": '"status": *"[A-Z]+"',
        },
        {"name": "b", "url": f"{server.url}/up", "expect": {"/status": "down"}},
    ]
    code, out = go({"health": health}, "run", "--format", "json")

    assert code == 1
    assert [each["reason"] for each in json.loads(out)["data"]["endpoints"]] == ["", "wrong-json"]
    assert [headers.get("x-key") for _, headers in server.seen].count("some-value") == 1


def test_a_failed_check_is_repeated_only_if_asked_and_it_is_said(go: Go, server: Any) -> None:
    answers = iter([b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"])
    fine = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    server.pages["flaky"] = lambda client: client.sendall(next(answers, fine))
    settings = {"health": [{"name": "a", "url": f"{server.url}/flaky"}]}

    assert go(settings, "run")[0] == 1
    answers = iter([b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"])
    code, out = go(settings, "run", "--retries", "1")

    assert code == 0
    assert "at attempt 2" in out
    settings = {"health": [{"name": "a", "url": f"{server.url}/broken"}]}
    code, out = go(settings, "run", "--retries", "1")
    assert code == 1
    assert "2 attempts, all failed" in out


def test_only_the_checks_that_are_named_are_run(go: Go, server: Any) -> None:
    health = [{"name": name, "url": f"{server.url}/{name}"} for name in ("ok", "broken")]

    assert go({"health": health}, "run", "--only", "ok")[0] == 0
    assert [path for path, _ in server.seen] == ["/ok"]
    assert go({"health": health}, "run", "--only", "nothing")[0] == 2


def test_an_endpoint_cannot_take_the_name_of_a_platforms_check(go: Go, server: Any) -> None:
    settings = {
        "database": {"url": "env:NOT_SET_ANYWHERE"},
        "health": [{"name": "database", "url": f"{server.url}/ok"}],
    }
    code, out = go(settings, "run", "--format", "json")

    assert (code, json.loads(out)["error"]["code"]) == (2, "check-name-taken")


def test_a_database_that_does_not_answer_is_ill(go: Go, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"postgresql://u@127.0.0.1:{free_port()}/x"
    monkeypatch.setenv("DATABASE_FOR_TEST", url)

    code, out = go({"database": {"url": "env:DATABASE_FOR_TEST"}}, "run")

    assert code == 1
    assert "The database does not answer" in out
    assert go({"database": {"url": "env:NOT_SET_ANYWHERE"}}, "run")[0] == 3


def test_openmetrics_is_read_by_others(go: Go, server: Any) -> None:
    health = [
        {"name": 'quo"ted\\ name', "url": f"{server.url}/ok"},
        {"name": "ill", "url": f"{server.url}/broken"},
        {"name": "hidden", "url": f"{server.url}/protected"},
    ]
    code, out = go({"health": health}, "run", "--format", "openmetrics")

    assert code == 1
    for parse in (openmetrics, prometheus):
        families = {family.name: family for family in parse(out)}
        up = {each.labels["check"]: each.value for each in families["opsctl_health_up"].samples}
        assert up == {'quo"ted\\ name': 1.0, "ill": 0.0}
        assert all(each.timestamp is None for each in families["opsctl_health_up"].samples)
        checked = families["opsctl_health_checked_at_seconds"].samples[0].value
        assert abs(checked - time.time()) < 60
        phases = {each.labels["phase"] for each in
                  families["opsctl_health_duration_seconds"].samples}  # fmt: skip
        assert phases == {"dns", "connect", "first_byte", "total"}
    assert out.endswith("# EOF\n")


def test_a_metrics_file_is_there_whole_or_not_at_all(go: Go, server: Any, tmp_path: Path) -> None:
    target = tmp_path / "opsctl.prom"
    target.write_text("old\n")
    settings = {"health": [{"name": "a", "url": f"{server.url}/ok"}]}
    before = target.stat().st_ino

    code, out = go(settings, "run", "--format", "openmetrics", "--output", str(target))

    assert (code, out) == (0, "")
    assert target.stat().st_ino != before
    assert target.read_text().endswith("# EOF\n")
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".prom"] == ["opsctl.prom"]


@pytest.mark.parametrize(
    ("page", "code", "word"),
    [("ok", 0, "OK"), ("cached", 1, "WARNING"), ("broken", 2, "CRITICAL"),
     ("protected", 3, "UNKNOWN")],
)  # fmt: skip
def test_nagios_gets_its_own_codes_and_one_line_with_numbers(
    go: Go, server: Any, page: str, code: int, word: str
) -> None:
    settings = {"health": [{"name": "a|b", "url": f"{server.url}/{page}"}]}

    found, out = go(settings, "run", "--format", "nagios")

    assert found == code
    first = out.splitlines()[0]
    assert first.startswith(f"HEALTHCHECK {word} - ")
    text, _, numbers = first.partition(" | ")
    assert "|" not in text
    assert numbers == "" if word == "UNKNOWN" else "'health_duration_seconds_a_b'=" in numbers


def test_nagios_hears_of_a_wrong_call_as_unknown(go: Go) -> None:
    code, out = go({}, "run", "--only", "x", "--format", "nagios")

    assert code == 3
    assert out.startswith("HEALTHCHECK UNKNOWN - There is no check named 'x'")


def test_hostile_names_break_no_format() -> None:
    report = Report(
        command="healthcheck run", title="T", environment='e"\n\x1b',
        findings=(Finding("r", "a\nb | c\x1b[31m", Status.FAILED, Severity.ERROR, "x\ny"),),
        metrics=(Metric("opsctl_x_seconds", "h\n\\", float("nan"), (("l", 'v"\n\\'),)),
                 Metric("opsctl_x_seconds", "h", 1.0, (("l", 'v"\n\\'),))),
    )  # fmt: skip

    text = render_report(report, "openmetrics")
    line = render_report(report, "nagios").splitlines()

    assert len(list(openmetrics(text))) == 3
    assert "\x1b" not in text + "".join(line)
    assert len(line) == 2
    assert exit_code(report, "nagios") == 2
    error = OpsError("a\nb", why="c", hint="d", code="e-f")
    assert list(openmetrics(render_error(error, "openmetrics", command="x")))
    assert render_error(error, "nagios", command="x").count("\n") == 1
