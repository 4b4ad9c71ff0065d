"""Seal a text for GitHub: libsodium's sealed box, by PyNaCl (the extra `github`)."""

from __future__ import annotations

import base64
import binascii

from opsctl.core.errors import Exit, OpsError


def require_sealing() -> None:
    """Raise OpsError `no-sealed-boxes` (exit 3) where the library is missing."""
    try:
        import nacl.public  # noqa: F401 - only whether it is there
    except ImportError:
        raise OpsError(
            "Secrets cannot be sealed for GitHub",
            why="the library PyNaCl is not installed",
            hint="pip install 'opsctl[github]'",
            code="no-sealed-boxes",
            exit=Exit.UNKNOWN,
        ) from None


def seal(value: str, public_key: str) -> str:
    """Return a text sealed for a public key; both are base64. Nobody without its twin reads it.

    Raises OpsError `no-sealed-boxes` or `github-answer` (exit 3), the latter for what is no key.
    """
    require_sealing()
    from nacl.exceptions import CryptoError
    from nacl.public import PublicKey, SealedBox

    try:
        key = PublicKey(base64.b64decode(public_key, validate=True))
        return base64.b64encode(SealedBox(key).encrypt(value.encode())).decode()
    except (binascii.Error, ValueError, TypeError, CryptoError):
        raise OpsError(
            "GitHub could not be asked",
            why="what it gave as its public key is none",
            hint="is github.api in the settings the API of GitHub?",
            code="github-answer",
            exit=Exit.UNKNOWN,
        ) from None
