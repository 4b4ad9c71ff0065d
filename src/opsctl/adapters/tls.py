"""Whom this machine trusts, and in which way a TLS handshake failed."""

from __future__ import annotations

import contextlib
import os
import ssl
from functools import lru_cache

from opsctl.adapters.dialing import Failed


def tls_context() -> ssl.SSLContext:
    """Return a context that trusts what this machine trusts, or else what certifi lists.

    It is read once: that takes longer than many a request. Nobody changes it.
    """
    return _read(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@lru_cache(maxsize=4)
def _read(file: str | None, folder: str | None) -> ssl.SSLContext:
    """Read what OpenSSL reads; it looks at these two variables itself."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    paths = ssl.get_default_verify_paths()
    known = context.cert_store_stats()["x509_ca"] > 0
    with contextlib.suppress(OSError):
        known = known or (paths.capath is not None and bool(os.listdir(paths.capath)))  # noqa: PTH208
    if not known:
        import certifi

        context.load_verify_locations(certifi.where())
    return context


def tls_failure(error: Exception) -> Failed:
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = _CERTIFICATE_REASONS.get(error.verify_code, "tls-untrusted")
        return Failed(reason, f"its certificate is not accepted: {error.verify_message}")
    if isinstance(error, ssl.SSLEOFError | ConnectionError):
        return Failed("tls", "the connection ended during the TLS handshake")
    said = getattr(error, "reason", None) or type(error).__name__
    return Failed("tls", f"the TLS handshake failed: {str(said).replace('_', ' ').lower()}")


_CERTIFICATE_REASONS = {
    9: "tls-not-yet-valid",
    10: "tls-expired",
    18: "tls-self-signed",
    19: "tls-self-signed",
    62: "tls-wrong-host",
    64: "tls-wrong-host",
}
"""OpenSSL's X509_V_ERR codes."""
