"""Machines of a team: network and time namespaces of their own, with clocks that differ.

Where namespaces are not permitted a machine is a plain process behind the relay, and the cut is
the relay's.
"""

from __future__ import annotations

import atexit
import os
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

_CHUNK = 65536


class Relay:
    """Carries bytes from an address of ours to the server's, while it is open."""

    def __init__(self, host: str, port: int) -> None:
        self._target = port
        self._flows = threading.Event()
        self._flows.set()
        self._over = False
        self._listener = socket.create_server((host, 0))
        self._listener.settimeout(0.1)
        self.port = int(self._listener.getsockname()[1])
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def cut(self) -> None:
        """Swallow nothing and carry nothing, as a cable that is pulled."""
        self._flows.clear()

    def mend(self) -> None:
        """Carry on where it was cut."""
        self._flows.set()

    def close(self) -> None:
        self._over = True
        self._flows.set()
        self._threads[0].join()
        self._listener.close()
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for each in self._sockets:
            each.close()

    def _accept(self) -> None:
        while not self._over:
            try:
                near, _ = self._listener.accept()
            except TimeoutError:
                continue
            self._sockets.append(near)
            try:
                far = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                near.shutdown(socket.SHUT_RDWR)
                continue
            self._sockets.append(far)
            for one, other in ((near, far), (far, near)):
                thread = threading.Thread(target=self._carry, args=(one, other), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _carry(self, one: socket.socket, other: socket.socket) -> None:
        try:
            while data := one.recv(_CHUNK):
                self._flows.wait()
                other.sendall(data)
        except OSError:
            pass  # cut off, or over
        for each in (one, other):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


class Machine:
    """Where a program of a team runs: what stands before its argv, and its way to the server."""

    def __init__(
        self, relay: Relay, url: str, host: str, prefix: tuple[str, ...], link: str
    ) -> None:
        self._relay = relay
        self._link = link
        self.prefix = prefix
        parts = urlsplit(url)
        user = parts.netloc.rpartition("@")[0]
        self.server = f"postgresql://{user}@{host}:{relay.port}"
        self.real = bool(link)
        """Whether it has a network and a clock of its own."""

    def url(self, database: str) -> str:
        return f"{self.server}/{database}"

    def cut(self) -> None:
        """Pull the cable: nothing gets through, and nobody is told."""
        if self._link:
            ip("link", "set", self._link, "down")
        else:
            self._relay.cut()

    def mend(self) -> None:
        if self._link:
            ip("link", "set", self._link, "up")
        else:
            self._relay.mend()


@contextmanager
def machine(number: int, url: str, *, boot_s: int, wall_s: int) -> Iterator[Machine]:
    """Make a machine whose clocks are ahead by so many seconds."""
    port = urlsplit(url).port or 5432
    if not may_make_namespaces():
        relay = Relay("127.0.0.1", port)
        try:
            yield Machine(relay, url, "127.0.0.1", (), "")
        finally:
            relay.close()
        return
    name = f"opsctl{os.getpid()}n{number}"
    near, far = f"ops{os.getpid() % 99999}a{number}", f"ops{os.getpid() % 99999}b{number}"
    net = f"10.{200 + number}.{os.getpid() % 250}"
    ip("netns", "add", name)
    try:
        ip("link", "add", near, "type", "veth", "peer", "name", far)
        ip("link", "set", far, "netns", name)
        ip("addr", "add", f"{net}.1/24", "dev", near)
        ip("link", "set", near, "up")
        for words in (("addr", "add", f"{net}.2/24", "dev", far), ("link", "set", far, "up"),
                      ("link", "set", "lo", "up")):  # fmt: skip
            ip("-n", name, *words)
        relay = Relay(f"{net}.1", port)
        prefix = ("ip", "netns", "exec", name,
                  "unshare", "--time", "--boottime", str(boot_s), "--fork",
                  "--kill-child")  # fmt: skip
        if library := wall_clock():
            prefix += ("env", f"LD_PRELOAD={library}", f"WALL_S={wall_s}")
        try:
            yield Machine(relay, url, f"{net}.1", prefix, near)
        finally:
            relay.close()
    finally:
        ip("netns", "del", name)
        subprocess.run(["ip", "link", "del", near], capture_output=True, check=False)


_WALL_CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
int clock_gettime(clockid_t clock, struct timespec *now) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
  int answer = real(clock, now);
  const char *ahead = getenv("WALL_S");
  if (clock == CLOCK_REALTIME && ahead) now->tv_sec += atoi(ahead);
  return answer;
}
"""
"""The wall clock has no namespace of its own; faketime makes Python's sleep fail."""


@cache
def wall_clock() -> str:
    """Return a library that puts the wall clock off, or "" where there is no compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return ""
    folder = Path(tempfile.mkdtemp(prefix="opsctl-clock-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    source, library = folder / "clock.c", folder / "clock.so"
    source.write_text(_WALL_CLOCK)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return str(library)


def may_make_namespaces() -> bool:
    """Whether this user may have network and time namespaces."""
    if not shutil.which("ip") or not shutil.which("unshare") or os.geteuid() != 0:
        return False
    done = subprocess.run(
        ["unshare", "--net", "--time", "--boottime", "1", "--fork", "true"],
        capture_output=True, check=False,
    )  # fmt: skip
    return done.returncode == 0


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], capture_output=True, check=True)
