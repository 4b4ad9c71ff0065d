"""The proxies that the environment asks for: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from opsctl.core.errors import OpsError

_NAMES = ("http_proxy", "https_proxy", "all_proxy")


@dataclass(frozen=True)
class Proxy:
    """One proxy."""

    host: str
    port: int
    authorization: str = field(default="", repr=False)
    """Value of the header Proxy-Authorization; for the proxy alone."""

    @property
    def shown(self) -> str:
        """Its address, without a name or a password."""
        return f"http://{self.host}:{self.port}"


def any_proxy() -> bool:
    """Whether a proxy is asked for at all."""
    return any(os.environ.get(name) or os.environ.get(name.upper()) for name in _NAMES)


def proxy_for(scheme: str, host: str, *, port: int) -> Proxy | None:
    """Return the proxy through which a host is to be asked, or None for none.

    In a CGI program HTTP_PROXY is the client's header and not obeyed, as elsewhere. Raises
    OpsError `proxy-unusable` (exit 2) for one that does not speak HTTP in the clear; its
    address is not repeated, for it may hold a password.
    """
    import urllib.request
    from urllib.parse import unquote, urlsplit

    proxies = urllib.request.getproxies_environment()
    url = proxies.get(scheme) or proxies.get("all")
    if not url or _bypassed(f"{host}:{port}", proxies):
        return None
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        proxy_host, proxy_port = parts.hostname, parts.port
    except ValueError:
        parts, proxy_host, proxy_port = urlsplit(""), None, None
    if parts.scheme != "http" or not proxy_host:
        raise OpsError(
            f"The proxy for {scheme}:// cannot be used",
            why="only proxies that speak HTTP in the clear are known: http://HOST:PORT",
            hint=f"set {scheme}_proxy to such a one, or name the host in no_proxy",
            code="proxy-unusable",
        )
    authorization = ""
    if parts.username is not None:
        from base64 import b64encode

        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = f"Basic {b64encode(pair.encode()).decode()}"
    return Proxy(proxy_host, proxy_port or 80, authorization)


def _bypassed(place: str, proxies: dict[str, str]) -> bool:
    import urllib.request

    # Typeshed knows it on some systems only.
    return bool(urllib.request.proxy_bypass_environment(place, proxies))  # type: ignore[attr-defined]
