"""The certificates that this machine trusts, read once: that takes longer than many a request."""

from __future__ import annotations

import os
import ssl
from functools import lru_cache


def trusted() -> ssl.SSLContext:
    """Return the context that httpx would make itself, for its `verify`."""
    return _read(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@lru_cache(maxsize=4)
def _read(file: str | None, folder: str | None) -> ssl.SSLContext:
    import httpx

    return httpx.create_ssl_context()
