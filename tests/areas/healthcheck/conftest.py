"""A server for each way to fail, and certificates that nobody should trust."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from opsctl.adapters.event_loop import EventLoop
from opsctl.adapters.http_request import Ask
from opsctl.adapters.probed import Answer
from opsctl.adapters.prober import Prober
from opsctl.areas.healthcheck.checks import Judging, judge_endpoint
from opsctl.areas.healthcheck.verdict import Verdict
from opsctl.core.settings import HealthEndpoint, Limits

HEALTH_JSON = "application/health+json"


def answer(
    status: int = 200, body: bytes = b"fine", kind: str = "text/plain", **headers: str
) -> bytes:
    """Return a whole HTTP answer."""
    lines = [f"HTTP/1.1 {status} Said", f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


@dataclass
class FaultServer:
    """Answers each path in its own way; what was asked stands in `seen`."""

    tls: ssl.SSLContext | None = None
    family: socket.AddressFamily = socket.AF_INET
    seen: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    pages: dict[str, Callable[[socket.socket], None] | bytes] = field(default_factory=dict)
    elsewhere: str = ""

    def __post_init__(self) -> None:
        self._listener = socket.socket(self.family)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("::1" if self.family == socket.AF_INET6 else "127.0.0.1", 0))
        self._listener.listen(1024)
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """Where it is."""
        host = "[::1]" if self.family == socket.AF_INET6 else "127.0.0.1"
        return f"http{'s' if self.tls else ''}://{host}:{self.port}"

    def close(self) -> None:
        """Listen no more."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        client.settimeout(1)
        if self.tls is not None:
            try:
                client = self.tls.wrap_socket(client, server_side=True)
            except OSError:
                client.close()
                return
        with suppress(OSError), client:
            head = b""
            while b"\r\n\r\n" not in head:
                piece = client.recv(65536)
                if not piece:
                    return
                head += piece
            first, *lines = head.decode("latin-1").split("\r\n\r\n")[0].split("\r\n")
            path = first.split(" ")[1]
            headers = dict(line.lower().split(": ", 1) for line in lines)
            self.seen.append((path, headers))
            name = path.partition("://")[2].partition("/")[2] if "://" in path else path[1:]
            name = name.partition("?")[0]
            page = self.pages.get(name) or self._page(name)
            if callable(page):
                page(client)
            else:
                client.sendall(page)

    def _page(self, page: str) -> bytes | Callable[[socket.socket], None]:
        pages: dict[str, bytes | Callable[[socket.socket], None]] = {
            "ok": answer(),
            "broken": answer(500, b"no"),
            "fail": answer(
                503, b'{"status": "fail", "output": "disk \\u001b[31m full"}', HEALTH_JSON
            ),
            "ill": answer(200, b'{"status": "fail", "output": "disk full"}', HEALTH_JSON),
            "warn": answer(200, b'{"status": "warn"}', HEALTH_JSON),
            "up": answer(200, b'{"status": "UP"}', HEALTH_JSON),
            "cached": answer(x_nextjs_cache="HIT"),
            "aged": answer(age="77"),
            "protected": answer(401, b"log in", x_vercel_id="fra1"),
            "sso": answer(302, b"", location="https://vercel.com/sso-api?url=x"),
            "redirect": answer(302, b"", location=self.elsewhere),
            "here": answer(302, b"", location="/ok"),
            "loop": answer(302, b"", location="/loop"),
            "deep": answer(200, b"[" * 100_000, "application/json"),
            "huge": answer(200, b"x" * 3_000_000),
            "no-json": answer(200, b"<html>", "application/json"),
            "no-http": b"220 mail.example.com ESMTP\r\n",
            "garbage": bytes(range(256)) * 40,
            "two-lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            "short": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc",
            "bad-chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n",
            "many-headers": b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 500 + b"\r\n",
            "endless-headers": lambda client: _pour(
                client, b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 99
            ),
            "informs": lambda client: _pour(client, b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
            "endless": lambda client: _pour(client, b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536),
            "gigabyte": b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n",
            "endless-chunks": lambda client: _pour(
                client, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                b"10000\r\n" + b"x" * 65536 + b"\r\n",
            ),
            "drip": lambda client: _drip(client, b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"),
            "slow-headers": lambda client: _drip(client, b""),
            "slow": lambda client: _late(client, 1.5),
            "reset": _reset,
            "hang-up": lambda client: None,
        }  # fmt: skip
        return pages[page]


def _pour(client: socket.socket, head: bytes, piece: bytes) -> None:
    client.sendall(head)
    until = time.monotonic() + 20
    while time.monotonic() < until:
        client.sendall(piece)


def _drip(client: socket.socket, head: bytes) -> None:
    client.sendall(head)
    rest = b"x" * 99 if head else b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Padding: aaaaaaa\r\n"
    for sign in rest:
        time.sleep(0.1)
        client.sendall(bytes([sign]))


def _late(client: socket.socket, seconds: float) -> None:
    time.sleep(seconds)
    client.sendall(answer())


def _reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


@pytest.fixture
def make_server() -> Iterator[Callable[..., FaultServer]]:
    """Make servers; they are closed at the end."""
    made: list[FaultServer] = []

    def make(**how: Any) -> FaultServer:
        made.append(FaultServer(**how))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def server(make_server: Callable[..., FaultServer]) -> FaultServer:
    """One server."""
    return make_server()


@pytest.fixture
def other(make_server: Callable[..., FaultServer]) -> FaultServer:
    """A server at another origin."""
    return make_server()


def ask_all(*asks: Ask, at_most: int | None = None) -> list[Answer]:
    """Return the answers to some requests, sent at once, in order."""
    loop = EventLoop()
    prober = Prober(loop, at_most=at_most)
    found: dict[int, Answer] = {}
    for each in asks:
        prober.prepare(each)
    for index, each in enumerate(asks):
        prober.send(each, due=time.monotonic(), done=lambda got, at=index: found.update({at: got}))
    loop.run(lambda: len(found) == len(asks))
    loop.close()
    return [found[index] for index in range(len(asks))]


@pytest.fixture
def ask() -> Callable[..., list[Answer]]:
    """`ask_all`."""
    return ask_all


@pytest.fixture
def look() -> Callable[..., Verdict]:
    """Look at one URL once: `look(url, **settings of the endpoint)`."""

    def look(url: str, *, limits: Limits | None = None, **more: Any) -> Verdict:
        endpoint = HealthEndpoint(name="it", url=url, **more)
        asked = Ask(
            "it", url, method=endpoint.method, timeout_s=endpoint.timeout_s,
            redirects=endpoint.redirects,
        )  # fmt: skip
        judging = Judging(endpoint, limits or Limits(response_ms=5_000))
        return judge_endpoint(judging, ask_all(asked)[0], now=time.time())

    return look


@dataclass(frozen=True)
class Authority:
    """A certificate authority of our own, and certificates of every kind from it."""

    folder: Path

    @property
    def root(self) -> Path:
        """Its certificate, for SSL_CERT_FILE."""
        return self.folder / "root.pem"

    def context(self, kind: str) -> ssl.SSLContext:
        """Return a server's context: good, expired, other (another name), self, future, soon."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / f"{kind}.pem", self.folder / "key.pem")
        return context


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Made by openssl, once."""
    folder = tmp_path_factory.mktemp("authority")

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "root-key.pem", "-out",
            "root.pem", "-days", "3650", "-subj", "/CN=Test root",
            "-addext", "basicConstraints=critical,CA:TRUE")  # fmt: skip
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "request.pem",
            "-subj", "/CN=localhost")  # fmt: skip
    (folder / "index.txt").write_text("")
    (folder / "ca.cnf").write_text(
        "[ca]\ndefault_ca=own\n[own]\ndatabase=index.txt\nrand_serial=yes\nnew_certs_dir=.\n"
        "certificate=root.pem\nprivate_key=root-key.pem\ndefault_md=sha256\npolicy=any\n"
        "unique_subject=no\n[any]\ncommonName=supplied\n"
    )
    now = time.time()
    kinds = {
        "good": ("DNS:localhost,IP:127.0.0.1,IP:::1", -1, 365),
        "expired": ("DNS:localhost,IP:127.0.0.1", -30, -1),
        "future": ("DNS:localhost,IP:127.0.0.1", 10, 20),
        "soon": ("DNS:localhost,IP:127.0.0.1", -30, 3),
        "other": ("DNS:elsewhere.example", -1, 365),
    }
    for kind, (names, begins, ends) in kinds.items():
        (folder / "names.cnf").write_text(f"subjectAltName={names}\n")
        begin, end = (
            time.strftime("%Y%m%d%H%M%SZ", time.gmtime(now + days * 86400))
            for days in (begins, ends)
        )
        openssl("ca", "-batch", "-config", "ca.cnf", "-in", "request.pem", "-out", f"{kind}.pem",
                "-startdate", begin, "-enddate", end, "-extfile", "names.cnf",
                "-notext")  # fmt: skip
    openssl("req", "-x509", "-key", "key.pem", "-out", "self.pem", "-days", "30", "-subj",
            "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")  # fmt: skip
    return Authority(folder)
