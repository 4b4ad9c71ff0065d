"""A real pgbouncer before a test's database, as Supabase's pooler is one."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from opsctl.adapters.scratch import free_port


@contextmanager
def bouncer(
    url: str, *, mode: str = "transaction", sessions: int = 2, settings: str = ""
) -> Iterator[str]:
    """Yield the address of a database behind pgbouncer, in one of its pool modes.

    Without the program the test is left out, and never so in CI.
    """
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        why = "pgbouncer is not installed (Debian and Ubuntu: apt install pgbouncer)"
        if os.environ.get("CI", "").lower() in ("1", "true"):
            pytest.fail(why)
        pytest.skip(why)
    parts = urlsplit(url)
    folder = Path(tempfile.mkdtemp(prefix="opsctl-pooler-", dir="/tmp"))
    folder.chmod(0o755)
    port = free_port()
    users, file = folder / "users", folder / "pgbouncer.ini"
    users.write_text(f'"{parts.username}" "{parts.password}"\n')
    file.write_text(
        f"[databases]\n* = host=127.0.0.1 port={parts.port}\n[pgbouncer]\n"
        f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = scram-sha-256\nauth_file = {users}\npool_mode = {mode}\n"
        f"default_pool_size = {sessions}\nserver_reset_query_always = 0\n{settings}\n"
    )
    argv, become = [program, "-q", str(file)], {}
    if os.geteuid() == 0:  # it refuses to be root
        nobody = pwd.getpwnam("nobody")
        become = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        shutil.chown(users, nobody.pw_uid)
    users.chmod(0o600)
    running = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, **become)  # type: ignore[call-overload]
    address = f"postgresql://{parts.username}:{parts.password}@127.0.0.1:{port}{parts.path}"
    try:
        _wait_for(address)
        yield address
    finally:
        running.send_signal(signal.SIGTERM)
        running.communicate(timeout=20)
        shutil.rmtree(folder)


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            psycopg.connect(url, connect_timeout=2).close()
            return
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
