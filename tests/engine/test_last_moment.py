"""A program, a request and a transaction begin only while the lease lasts, at the last moment."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import psycopg
import pytest

from opsctl.core.action import Action, Command, Query, Request
from opsctl.core.errors import OpsError
from opsctl.core.lease import Fence, Holder, lease_lost
from opsctl.engine.perform import ActionFailed, OutcomeUnknown, perform


class Held:
    """A lease that lasts for a while on the boot's clock, or is lost at once."""

    holder = Holder("id", "a", 1, "", "r", "c")
    fence = Fence("prod", 1)

    def __init__(self, for_s: float, *, lost: bool = False) -> None:
        self.latest_start = time.clock_gettime(time.CLOCK_BOOTTIME) + for_s
        self._lost = lost

    def ensure(self, for_s: float) -> None: ...

    def check(self) -> None:
        if self._lost:
            raise lease_lost("prod", "it is a test")


def act(action: Action, held: Held) -> str:
    try:
        perform(action, waiting=lambda text: None, held=held)
    except OpsError as error:
        return error.code
    except ActionFailed as error:
        return str(error)
    return "done"


def test_a_program_begins_before_its_time_is_over_and_not_after(tmp_path: Path) -> None:
    path = tmp_path / "effect"
    command = Command(("/bin/sh", "-c", f'echo "$0" "$1" >> {path}', "a b", "*"))

    # As the process that was stopped between its look and the start.
    assert act(command, Held(-0.05)) == "the lease was over before the program began"
    assert not path.exists()
    assert act(command, Held(0.0, lost=True)) == "lease-lost"
    assert act(command, Held(5.0)) == "done"
    assert path.read_text() == "a b *\n"


def test_a_missing_program_and_its_own_codes_stay_what_they_are() -> None:
    with pytest.raises(ActionFailed, match="could not be started"):
        perform(Command(("no-such-program",)), waiting=lambda text: None, held=Held(5.0))
    with pytest.raises(OutcomeUnknown, match="exit code 97"):
        perform(Command(("/bin/sh", "-c", "exit 97")), waiting=lambda text: None, held=Held(5.0))


def test_a_transaction_is_not_committed_once_the_lease_is_lost(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HELD_DATABASE", database_url)
    make = Query("env:HELD_DATABASE", ("CREATE TABLE made ()",))

    assert act(make, Held(5.0, lost=True)) == "lease-lost"
    assert act(Query(make.database, make.statements, transaction=False), Held(5.0, lost=True)) == (
        "lease-lost"
    )
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT to_regclass('made')").fetchone()
    assert row == (None,)
    assert act(make, Held(5.0)) == "done"


def test_a_request_is_not_sent_once_the_lease_is_lost() -> None:
    heard: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    request = Request("POST", f"http://127.0.0.1:{server.server_port}/effect")

    lost, done = act(request, Held(5.0, lost=True)), act(request, Held(5.0))

    server.shutdown()
    thread.join()
    server.server_close()
    assert (lost, done, heard) == ("lease-lost", "done", ["/effect"])
