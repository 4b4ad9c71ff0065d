"""One HTTP/1.1 request as bytes: what is asked, of whom, and nothing that could be smuggled in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from opsctl import __version__

if TYPE_CHECKING:
    from opsctl.adapters.proxies import Proxy

_URL = re.compile(
    r"(https?)://(\[[0-9A-Fa-f:.%\w]+\]|[^/?#@:\s\[\]\x00-\x20\x7f<>\\^`{|}\"]+)"
    r"(?::([0-9]{1,5}))?([/?][^#]*)?(?:#.*)?",
    re.IGNORECASE | re.DOTALL,
)
_NOT_IN_TARGETS = re.compile(r"[^!$-;=?-Z_a-z~\[\]@&'()*+,%]")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


@dataclass(frozen=True, slots=True)
class Ask:
    """One request. `headers` hold values, not references: they are never shown."""

    name: str
    url: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout_s: float = 30.0
    redirects: int = 0
    """How many redirects within the same origin are followed; to another none ever is."""
    keep: int = 256 * 1024
    """Bytes of the body to keep."""


@dataclass(frozen=True, slots=True)
class Target:
    """A URL taken apart."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def origin(self) -> tuple[str, str, int]:
        """What must be the same for headers to go along."""
        return self.scheme, self.host, self.port

    @property
    def authority(self) -> str:
        """The value of the header Host."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


_PORTS = {"http": 80, "https": 443}


def parse_url(url: str) -> Target | None:
    """Return a URL taken apart, or None for what is none."""
    match = _URL.fullmatch(url.strip())
    if match is None:
        return None
    scheme, host = match[1].lower(), match[2].strip("[]").lower()
    port = int(match[3]) if match[3] else _PORTS[scheme]
    if not host.isascii():
        try:
            host = host.encode("idna").decode()
        except UnicodeError:
            return None
    path = match[4] or "/"
    if path.startswith("?"):
        path = "/" + path
    if _NOT_IN_TARGETS.search(path):
        from urllib.parse import quote

        path = quote(path, safe="!#$%&'()*+,/:;=?@[]~")
    return Target(scheme, host, port, path) if 0 < port < 65536 else None


def request_bytes(ask: Ask, target: Target, *, proxy: Proxy | None) -> bytes:
    path = target.path if proxy is None else f"http://{target.authority}{target.path}"
    headers = {
        "Host": target.authority,
        "User-Agent": f"opsctl/{__version__}",
        "Accept": "application/health+json, application/json, */*",
        "Accept-Encoding": "identity",
        "Connection": "close",
    }
    if ask.method not in ("GET", "HEAD"):
        headers["Content-Length"] = "0"
    if proxy is not None and proxy.authorization:
        headers["Proxy-Authorization"] = proxy.authorization
    given = {name.lower() for name in ask.headers}
    lines = [f"{ask.method} {path} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items() if name.lower() not in given]
    lines += [f"{name}: {value}" for name, value in ask.headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def connect_bytes(target: Target, proxy: Proxy) -> bytes:
    host = f"[{target.host}]" if ":" in target.host else target.host
    lines = [f"CONNECT {host}:{target.port} HTTP/1.1", f"Host: {host}:{target.port}"]
    if proxy.authorization:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


def wrong_header(headers: Mapping[str, str]) -> str:
    """Return the name of a header that cannot be sent as it is; empty where all can."""
    for name, value in headers.items():
        fits = all(" " <= sign <= "\xff" and sign != "\x7f" for sign in value)
        if not fits or _HEADER_NAME.fullmatch(name) is None:
            return name
    return ""
