"""Names that a real resolver asks a real name server for, in a network of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.areas.healthcheck.name_server import SLOW_S
from tests.team.machines import may_make_namespaces

_OWN_NETWORK = """
ip link set lo up
ip link add d0 type veth peer name d1
ip addr add 198.51.100.9/24 dev d0
ip link set d0 up
ip link set d1 up
ip route add default via 198.51.100.1
mount --bind resolv.conf /etc/resolv.conf
mount --bind nsswitch.conf /etc/nsswitch.conf
exec "$@"
"""
"""A way to the world, so that the machine is not offline; nobody is at its end."""


@pytest.fixture
def look(tmp_path: Path) -> Any:
    """Return what checks hosts of a domain, each by what its name is to be answered with."""
    if not may_make_namespaces():
        pytest.skip("this user may not have a network of its own")

    def run(*names: str) -> dict[str, Any]:
        health = [{"name": name, "url": f"http://{name}.shop.test/"} for name in names]
        settings = {"version": 1, "environments": {"production": {"health": health}}}
        (tmp_path / "opsctl.yaml").write_text(json.dumps(settings))
        (tmp_path / "resolv.conf").write_text(
            "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"
        )
        (tmp_path / "nsswitch.conf").write_text("hosts: files dns\n")
        server = Path(__file__).with_name("name_server.py")
        argv = ["unshare", "--net", "--mount", "sh", "-ec", _OWN_NETWORK, "sh",
                sys.executable, str(server), sys.executable, "-m", "opsctl",
                "healthcheck", "run", "--format", "json"]  # fmt: skip
        done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.stdout, done.stderr
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    return run


def results(document: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {
        each["name"]: (each["result"], each["reason"]) for each in document["data"]["endpoints"]
    }


def test_each_answer_of_a_name_server_is_told_as_what_it_is(look: Any) -> None:
    document = look("up", "six", "gone", "empty", "circle", "broken", "refused", "silent")

    assert 1 == document["exit_code"]
    assert results(document) == {
        "up": ("pass", ""),
        "six": ("pass", ""),
        "gone": ("fail", "dns"),
        "empty": ("fail", "dns"),
        "circle": ("fail", "dns"),
        # Nobody said that there is no such host.
        "broken": ("unknown", "resolver"),
        "refused": ("unknown", "resolver"),
        "silent": ("unknown", "resolver"),
    }


def test_a_resolver_that_fails_is_no_illness_of_the_host(look: Any) -> None:
    document = look("up", "broken")

    assert 3 == document["exit_code"]


def test_a_slow_name_server_is_told_apart_from_a_slow_host(look: Any) -> None:
    document = look("slow")

    (slow,) = document["data"]["endpoints"]
    assert 0 == document["exit_code"]
    assert slow["dns_ms"] >= SLOW_S * 1000
    assert slow["took_ms"] - slow["dns_ms"] < SLOW_S * 1000
