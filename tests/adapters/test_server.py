"""A server's life on real PostgreSQL: crashes, lock files, ports, closed directories."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from opsctl.adapters.postgres_programs import choose_provider
from opsctl.adapters.server import Server, port_is_free
from opsctl.core.process import alive

LINUX = sys.platform == "linux"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(choose_provider(), tmp_path_factory.mktemp("cluster") / "postgres" / "data")
    server.create()
    try:
        yield server
    finally:
        server.stop(mode="immediate")


def the_data(server: Server) -> list[tuple[int]]:
    with psycopg.connect(server.url()) as connection:
        return connection.execute("SELECT n FROM kept ORDER BY n").fetchall()


@pytest.fixture
def running(server: Server) -> Server:
    server.start()
    with psycopg.connect(server.url()) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (n int PRIMARY KEY)")
        connection.execute("INSERT INTO kept SELECT generate_series(1, 100) ON CONFLICT DO NOTHING")
    return server


def test_it_starts_stops_and_keeps_its_port(running: Server) -> None:
    port, pid = running.port, running.pid

    running.start()  # harmless
    assert pid == running.pid
    running.stop()
    assert running.pid is None
    running.stop()  # harmless
    running.start()

    assert port == running.port
    assert len(the_data(running)) == 100


def test_it_moves_when_its_port_was_taken(running: Server) -> None:
    running.stop()
    with socket.socket() as other:
        # The port is just left: the kernel would keep it for a while.
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", running.port))
        other.listen()
        taken = running.port

        running.start()

        assert taken != running.port
        assert len(the_data(running)) == 100


def test_a_kill_does_not_block_the_next_start(running: Server) -> None:
    """At once, while children of the old server may still hold its memory."""
    pid = running.pid
    assert pid is not None
    with psycopg.connect(running.url()):
        os.kill(pid, signal.SIGKILL)
        while running.pid == pid:  # a signal takes a moment
            time.sleep(0.001)
        running.start()

    assert running.pid not in (None, pid)
    assert len(the_data(running)) == 100


def test_a_zombie_is_not_a_server(running: Server) -> None:
    """A killed server stays a zombie where no init reaps it, as in most containers."""
    running.stop()
    child = subprocess.Popen(["sleep", "0"])
    time.sleep(0.2)  # ended, and not waited for
    assert alive(child.pid)
    lock_file = running.data / "postmaster.pid"
    lock_file.write_text(f"{child.pid}\n{running.data}\n1\n{running.port}\n\n127.0.0.1\n")

    assert running.pid is None
    running.start()

    assert running.pid not in (None, child.pid)
    child.wait()


def test_somebody_elses_process_is_neither_believed_nor_ended(running: Server) -> None:
    """After a reboot the number in the lock file may be anybody's."""
    running.stop()
    lock_file = running.data / "postmaster.pid"
    user = {"user": os.stat(lock_file.parent).st_uid} if os.geteuid() == 0 else {}  # noqa: PTH116
    other = subprocess.Popen(["sleep", "60"], **user)  # type: ignore[call-overload]
    try:
        lock_file.write_text(f"{other.pid}\n{running.data}\n1\n{running.port}\n\n127.0.0.1\n")

        assert not running.is_running
        running.stop()
        running.start()

        assert running.pid not in (None, other.pid)
        running.stop()
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_why_it_did_not_start_is_in_the_error_and_the_last_time_is_not(running: Server) -> None:
    from opsctl.core.errors import OpsError

    running.stop()
    settings = running.data / "opsctl.conf"
    before = settings.read_text()
    with running.log.open("a") as log:
        log.write("FATAL:  something of yesterday\n")
    settings.write_text(before + "shared_buffers = 'nonsense'\n")

    with pytest.raises(OpsError) as raised:
        running.start()

    settings.write_text(before)
    assert "postgres-failed" == raised.value.code
    assert "yesterday" not in raised.value.why
    assert "FATAL" in raised.value.why


def test_the_password_is_private_and_in_no_command_line(running: Server) -> None:
    password = psycopg.conninfo.conninfo_to_dict(running.url())["password"]
    assert isinstance(password, str)
    assert len(password) >= 32
    assert (running.data.parent / "postgres.password").stat().st_mode & 0o077 == 0
    assert not [path for path in running.data.parent.iterdir() if path.name.startswith("pw-")]
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(running.url().replace(password, "wrong"))
    if LINUX:
        assert running.pid is not None
        assert password not in Path(f"/proc/{running.pid}/cmdline").read_text()


@pytest.mark.skipif(
    not LINUX or os.geteuid() != 0,
    reason="about root on Linux: a normal user's server runs as that user",
)
@pytest.mark.parametrize("without", ["nothing", "dac_read_search"])
def test_root_starts_it_where_only_root_may_enter(tmp_path: Path, without: str) -> None:
    """Containers withhold dac_read_search as a rule; their root's home is closed as well."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    code = (
        "import sys; from pathlib import Path\n"
        "from opsctl.adapters.postgres_programs import choose_provider\n"
        "from opsctl.adapters.server import Server\n"
        "server = Server(choose_provider(), Path(sys.argv[1]) / 'postgres' / 'data')\n"
        "server.create(durable=False); server.start()\n"
        "try:\n"
        "    status = Path(f'/proc/{server.pid}/status').read_text()\n"
        "    print(next(l for l in status.splitlines() if l.startswith('Uid')).split()[1])\n"
        "finally:\n    server.stop()\n"
    )
    setpriv = shutil.which("setpriv")
    assert setpriv, "util-linux's setpriv is missing"
    cut = (
        [setpriv, f"--bounding-set=-{without}", f"--inh-caps=-{without}"]
        if without != "nothing" else []
    )  # fmt: skip
    done = subprocess.run(
        [*cut, sys.executable, "-c", code, str(home)], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert "65534" == done.stdout.strip()


def test_a_port_that_is_listened_on_is_not_free() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        probe.listen()
        assert not port_is_free(probe.getsockname()[1])
    assert port_is_free(probe_port := _unused()), probe_port


def _unused() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
