"""The way to a server: names and connections, on real sockets; failures told apart by number."""

from __future__ import annotations

import socket
import time

import pytest

from opsctl.adapters.network import open_connection, resolve
from opsctl.adapters.server import free_port


@pytest.mark.parametrize(
    ("host", "v4", "v6"),
    [("127.0.0.1", ("127.0.0.1",), ()), ("::1", (), ("::1",)), ("/run", ("/run",), ()),
     ("fe80::1%lo", (), ("fe80::1%lo",))],
)  # fmt: skip
def test_addresses_are_not_looked_up(host: str, v4: tuple[str, ...], v6: tuple[str, ...]) -> None:
    found = resolve(host)

    assert (found.literal, found.v4, found.v6, found.failure) == (True, v4, v6, None)


def test_names_are_looked_up() -> None:
    assert "127.0.0.1" in resolve("localhost").all or "::1" in resolve("localhost").all


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "x" * 300, "\u2028"])
def test_a_name_that_is_none_is_a_failure_and_no_exception(host: str) -> None:
    found = resolve(host)

    assert found.failure is not None
    assert found.all == ()


def test_the_first_address_that_accepts_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        opened = open_connection(["127.0.0.2", "127.0.0.1"], port, timeout_s=2)
        assert opened.socket is not None
        opened.socket.close()

    assert [(each.address, each.failure) for each in opened.attempts] == [
        ("127.0.0.2", "refused"), ("127.0.0.1", None)
    ]  # fmt: skip


def test_failures_are_told_apart(tmp_path: str) -> None:
    refused = open_connection(["127.0.0.1"], free_port(), timeout_s=2)
    missing = open_connection([str(tmp_path)], 5432, timeout_s=2)
    # A backlog of none, filled: the next one gets no answer.
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        held = [socket.socket() for _ in range(4)]
        for each in held:
            each.setblocking(False)
            each.connect_ex(full.getsockname())
        began = time.monotonic()
        silent = open_connection(["127.0.0.1"], full.getsockname()[1], timeout_s=0.5)
        took_s = time.monotonic() - began
        for each in held:
            each.close()

    assert [each.attempts[0].failure for each in (refused, missing, silent)] == [
        "refused", "no-socket", "timeout"
    ]  # fmt: skip
    assert took_s < 2
