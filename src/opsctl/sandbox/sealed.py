"""The key pair that GitHub keeps of each scope, and opening what was sealed for it."""

from __future__ import annotations

import base64
import hashlib
from typing import Any


class NoLibrary(Exception):
    """The library for sealed boxes is not installed; the text says how to get it."""


def new_pair() -> dict[str, str]:
    """Return a key pair as JSON data. Raises NoLibrary."""
    try:
        from nacl.public import PrivateKey
    except ImportError:
        raise NoLibrary("sealed boxes need PyNaCl: pip install 'opsctl[github]'") from None
    private = PrivateKey.generate()
    public = bytes(private.public_key)
    return {
        "key_id": str(int(hashlib.sha256(public).hexdigest()[:14], 16)),
        "key": base64.b64encode(public).decode(),
        "private": base64.b64encode(bytes(private)).decode(),
    }


def open_box(pair: dict[str, str], sealed: Any) -> str | None:
    """Return what was sealed, or None where it was not sealed for this key."""
    from nacl.exceptions import CryptoError
    from nacl.public import PrivateKey, SealedBox

    private = PrivateKey(base64.b64decode(pair["private"]))
    try:
        opened: bytes = SealedBox(private).decrypt(base64.b64decode(str(sealed), validate=True))
        return opened.decode()
    except (CryptoError, ValueError):
        return None
