"""Where a URL leads is completed as libpq completes it, and no error repeats it."""

from __future__ import annotations

from pathlib import Path

import pytest

from opsctl.adapters.pg_target import read_target
from opsctl.core.errors import OpsError


@pytest.fixture(autouse=True)
def nothing_around(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("PGHOST", "PGPORT", "PGUSER", "PGDATABASE", "PGPASSWORD", "PGSSLMODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("PGSERVICE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def test_everything_is_taken_from_the_url() -> None:
    target = read_target("postgresql://u%40x:p%3Aw@db.example.com:6543/a%20b?sslmode=require")

    assert (target.user, target.password, target.host) == ("u@x", "p:w", "db.example.com")
    assert (target.port, target.database, target.sslmode) == (6543, "a b", "require")
    assert target.where == "db.example.com:6543"
    assert "p:w" not in repr(target)


def test_variables_complete_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    monkeypatch.setenv("PGPORT", "5433")
    target = read_target("postgresql://u@[::1]")

    assert (target.sslmode, target.port, target.database) == ("verify-full", 5433, "u")
    assert target.where == "[::1]:5433"
    assert target.loopback


@pytest.mark.parametrize(
    ("mode", "root", "checks"),
    [("disable", "", "nothing"), ("prefer", "", "nothing"), ("require", "", "nothing"),
     ("require", "root.pem", "chain"), ("require", "system", "nothing"),
     ("verify-ca", "root.pem", "chain"), ("verify-full", "root.pem", "chain and host")],
)  # fmt: skip
def test_what_a_client_checks_follows_libpq(mode: str, root: str, checks: str) -> None:
    more = f"&sslrootcert={root}" if root else ""

    assert read_target(f"postgresql://u@h/x?sslmode={mode}{more}").checks == checks


def test_several_hosts_are_counted() -> None:
    target = read_target("host=a,b,c user=u")

    assert (target.host, target.more_hosts) == ("a", 2)


def test_a_password_file_is_read_as_libpq_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "passwords"
    file.write_text("# a:1:x:u:no\nother:*:*:*:no\nh:5432:*:u:pa\\:ss\\\\\n*:*:*:*:rest\n")
    file.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(file))

    assert read_target("postgresql://u@h/x").password == "pa:ss\\"
    assert read_target("postgresql://v@h/x").password == "rest"
    assert read_target("postgresql://u:own@h/x").password == "own"
    file.chmod(0o644)
    assert read_target("postgresql://u@h/x").password == ""


def test_a_service_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSERVICE", "mine")
    with pytest.raises(OpsError) as caught:
        read_target("postgresql://u@h/x")

    assert caught.value.code == "database-url"


@pytest.mark.parametrize(
    "url", ["postgresql://u:canary@h:x/d", "canary", "postgresql://u:canary@h/d?canary=1",
            "postgresql://u:canary%zz@h/d"],
)  # fmt: skip
def test_a_url_that_is_none_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(OpsError) as caught:
        read_target(url)

    error = caught.value
    assert error.code == "database-url"
    assert "canary" not in f"{error.what}{error.why}{error.hint}"
