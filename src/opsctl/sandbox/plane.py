"""What the vendors' control planes have in common: HTTP on loopback, a token, a record, faults.

Two more pages belong to the sandbox alone and need its own name in `x-sandbox`: GET /.sandbox
says who answers, POST /.sandbox/ACT does something to the plane: `fault`, `calm`, and what the
plane itself offers.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import struct
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from opsctl.sandbox.faults import BEFORE, Fault, Kind, fault_from_json

_MOST_BODY_BYTES = 1 << 20
_MOST_ASKED = 10_000


@dataclass(frozen=True)
class Asked:
    """One request as it came in."""

    method: str
    path: str
    """Still percent-encoded, without the query."""
    query: Mapping[str, str]
    body: Any
    """Parsed JSON; None where there was none."""
    headers: Mapping[str, str]
    """Names in lower case."""

    @property
    def parts(self) -> tuple[str, ...]:
        """The path's segments, decoded."""
        return tuple(unquote(part) for part in self.path.strip("/").split("/"))


@dataclass(frozen=True)
class Answered:
    """One answer: JSON data, or bytes as they are."""

    status: int = 200
    data: Any = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False
    """Whether the connection breaks in the middle of the body."""
    reset: bool = False
    """Whether the connection is reset instead of any answer."""


@dataclass
class _Instead:
    """An answer that is given instead of the plane's own."""

    path: str
    answer: Answered
    times: int
    delay_s: float


class ControlPlane:
    """A vendor's API on loopback. Use it as a context manager, then `url`.

    Its state is in memory; with `keep_in` it is also in that file after every change, and read
    from there at the start.
    """

    KIND: ClassVar[str] = ""
    KEPT: ClassVar[tuple[str, ...]] = ()
    """The attributes, of JSON data, that its state consists of."""

    def __init__(self, *, token: str) -> None:
        self.token = token
        self.asked: list[Asked] = []
        self.lock = threading.RLock()
        self.name = secrets.token_hex(8)
        """What the sandbox's own pages are asked with."""
        self._instead: list[_Instead] = []
        self._faults: list[Fault] = []
        self._kept_in: Path | None = None
        self._kept_text = ""
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        """Its address; raises RuntimeError unless it serves."""
        if self._server is None:
            raise RuntimeError("the control plane does not serve")
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self.serve(0)
        return self

    def serve(self, port: int) -> None:
        """Begin to answer on a port of loopback; 0 is any."""
        plane: ControlPlane = self

        class Handler(_Handler):
            """Knows its plane."""

            control = plane

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        ).start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def fail(self, path: str, answer: Answered, *, times: int = 1, delay_s: float = 0.0) -> None:
        """Answer the next requests whose path holds this text in this way instead."""
        with self.lock:
            self._instead.append(_Instead(path, answer, times, delay_s))

    def inject(self, kind: Kind, path: str = "", **how: Any) -> None:
        """Let something go wrong with the next requests; see `opsctl.sandbox.faults.Fault`."""
        with self.lock:
            self._faults.append(Fault(kind, path, **how))

    def calm(self) -> None:
        """Let nothing go wrong any more."""
        with self.lock:
            self._faults.clear()
            self._instead.clear()

    def keep_in(self, path: Path) -> None:
        """Read the state from a file, if it is there, and write every change to it."""
        self._kept_in = path
        with contextlib.suppress(FileNotFoundError):
            for name, value in json.loads(path.read_text(encoding="utf-8")).items():
                if name in self.KEPT:
                    setattr(self, name, value)
        self.save()

    def save(self) -> None:
        """Write the state, where it is kept and has changed; the file is nobody else's to read."""
        if self._kept_in is None:
            return
        with self.lock:
            text = json.dumps({name: getattr(self, name) for name in self.KEPT})
            if text == self._kept_text:
                return
            new = self._kept_in.with_suffix(".new")
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                file.write(text)
            new.replace(self._kept_in)
            self._kept_text = text

    def answer(self, asked: Asked) -> Answered:
        """Answer one request that showed the token; called with the lock held."""
        raise NotImplementedError

    def refuse(self, asked: Asked) -> Answered:
        """Answer a request that did not show the token."""
        raise NotImplementedError

    def shows_token(self, asked: Asked) -> bool:
        """Whether a request shows the token as this vendor wants it."""
        return asked.headers.get("authorization", "").split(" ")[1:] == [self.token]

    def too_many(self, asked: Asked) -> Answered:
        """Answer as the vendor does to too many requests, without its headers."""
        return Answered(429, {"message": "Too many requests"})

    def act(self, name: str, data: Mapping[str, Any]) -> Any:
        """Do what the sandbox asks of a plane; raises KeyError for what it cannot."""
        raise KeyError(name)

    def handle(self, asked: Asked) -> Answered:
        """Answer one request."""
        if asked.path.startswith("/.sandbox"):
            return self._own_page(asked)
        with self.lock:
            self.asked.append(asked)
            del self.asked[:-_MOST_ASKED]
            instead = next(
                (each for each in self._instead if each.times and each.path in asked.path), None
            )
            if instead is not None:
                instead.times -= 1
                delay_s, answer = instead.delay_s, instead.answer
            else:
                delay_s, answer = self._answer_or_fail(asked)
            self.save()
        time.sleep(delay_s)
        return answer

    def count(self, method: str, path: str) -> int:
        """Return how many requests had this method and this text in their path."""
        with self.lock:
            return sum(each.method == method and path in each.path for each in self.asked)

    def _answer_or_fail(self, asked: Asked) -> tuple[float, Answered]:
        fault = next((each for each in self._faults if each.fits(asked.method, asked.path)), None)
        if fault is None:
            return 0.0, self._allowed(asked)
        fault.times -= 1
        if fault.kind in BEFORE:
            return fault.delay_s, self._instead_of_effect(fault, asked)
        answer = self._allowed(asked)
        if answer.status < 400:
            match fault.kind:
                case "error-after":
                    answer = Answered(fault.status or 500, {"message": "Internal Server Error"})
                case "empty":
                    answer = replace(answer, data=b"")
                case "truncated":
                    answer = replace(answer, cut=True)
                case "reset-after":
                    answer = replace(answer, reset=True)
        return fault.delay_s, answer

    def _instead_of_effect(self, fault: Fault, asked: Asked) -> Answered:
        match fault.kind:
            case "rate-limit":
                answer = self.too_many(asked)
                return replace(answer, headers={"Retry-After": str(fault.retry_after_s)})
            case "refused":
                return Answered(fault.status or 403, {"message": "Forbidden"})
            case "expired-token":
                return self.refuse(asked)
            case "reset-before":
                return Answered(reset=True)
        return Answered(fault.status or 500, {"message": "Internal Server Error"})

    def _allowed(self, asked: Asked) -> Answered:
        return self.answer(asked) if self.shows_token(asked) else self.refuse(asked)

    def _own_page(self, asked: Asked) -> Answered:
        if asked.headers.get("x-sandbox") != self.name:
            return Answered(404, {"message": "Not Found"})
        act = asked.parts[1] if len(asked.parts) > 1 else ""
        data = asked.body if isinstance(asked.body, dict) else {}
        if asked.method == "GET" and not act:
            return Answered(data={"name": self.name, "pid": os.getpid(), "kind": self.KIND})
        with self.lock:
            try:
                if act == "fault":
                    self._faults.append(fault_from_json(data))
                    return Answered(data={})
                if act == "calm":
                    self.calm()
                    return Answered(data={})
                found = self.act(act, data)
                self.save()
                return Answered(data=found)
            except (KeyError, ValueError, TypeError) as error:
                return Answered(400, {"message": str(error)})


class _Handler(BaseHTTPRequestHandler):
    control: ControlPlane
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet: the record is `asked`."""

    def do_GET(self) -> None:
        """Answer."""
        self._handle()

    def do_POST(self) -> None:
        """Answer."""
        self._handle()

    def do_PATCH(self) -> None:
        """Answer."""
        self._handle()

    def do_PUT(self) -> None:
        """Answer."""
        self._handle()

    def do_DELETE(self) -> None:
        """Answer."""
        self._handle()

    def do_OPTIONS(self) -> None:
        """Answer a browser that asks whether it may."""
        self._handle()

    def _handle(self) -> None:
        raw = self._body()
        parts = urlsplit(self.path)
        asked = Asked(
            method=self.command,
            path=parts.path,
            query=dict(parse_qsl(parts.query, keep_blank_values=True)),
            body=_parsed(raw, self.headers.get("content-type", "")),
            headers={name.lower(): value for name, value in self.headers.items()},
        )
        answer = self.control.handle(asked)
        if answer.reset:
            self._reset()
            return
        data = answer.data
        # Compact and not escaped, as the vendors write it.
        payload = (
            data
            if isinstance(data, bytes)
            else json.dumps(data, separators=(",", ":"), ensure_ascii=False).encode()
        )
        self.send_response(answer.status)
        for name, value in {"Content-Type": "application/json", **answer.headers}.items():
            self.send_header(name, value)
        if answer.status != 204:
            self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        if answer.cut:
            self.wfile.write(payload[: max(len(payload) // 2, 1)])
            self.wfile.flush()
            self._reset()
            return
        if answer.status != 204:
            self.wfile.write(payload)

    def _body(self) -> bytes:
        """Return the request's body, of at most 1 MiB; Go's programs send it in chunks."""
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            length = min(int(self.headers.get("content-length") or 0), _MOST_BODY_BYTES)
            return self.rfile.read(length) if length else b""
        body = b""
        while len(body) < _MOST_BODY_BYTES:
            size = int(self.rfile.readline().partition(b";")[0].strip() or b"0", 16)
            body += self.rfile.read(size)
            self.rfile.readline()
            if not size:
                break
        return body

    def _reset(self) -> None:
        """End the connection with a reset, as a load balancer does that loses its server."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with contextlib.suppress(OSError):
            self.connection.close()


def _parsed(raw: bytes, content_type: str) -> Any:
    if not raw:
        return None
    if content_type.startswith("application/x-www-form-urlencoded"):
        return dict(parse_qsl(raw.decode(errors="replace"), keep_blank_values=True))
    try:
        return json.loads(raw)
    except ValueError:
        return None
