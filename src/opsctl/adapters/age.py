"""Encryption with age, through its library: streams, so that size does not matter."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from opsctl.core.errors import Exit, OpsError


def check_recipients(recipients: Sequence[str]) -> None:
    """Refuse what is no age recipient; raises OpsError `age-recipient` (exit 2)."""
    for text in recipients:
        _recipient(text)


def encrypt_file(source: Path, target: Path, recipients: Sequence[str]) -> None:
    """Encrypt a file to every recipient: `age1...` or an SSH public key.

    The target is private, and is there whole or not at all. Raises OpsError `age-recipient`
    (exit 2) or `extra-missing` (exit 3).
    """
    to = [_recipient(text) for text in recipients]
    library = _library()
    with source.open("rb") as plain, _Whole(target) as sealed:
        library.encrypt_io(plain, sealed, to)


def decrypt_file(source: Path, target: Path, identity: str) -> None:
    """Decrypt a file with an identity, `AGE-SECRET-KEY-...` or an SSH private key.

    Raises OpsError `age-identity` (exit 3) for what is none, `backup-not-decrypted` (exit 1)
    where the file is not for it or was changed. Nothing of a changed file is left.
    """
    own = _identity(identity)
    library = _library()
    try:
        with source.open("rb") as sealed, _Whole(target) as plain:
            library.decrypt_io(sealed, plain, [own])
    except (library.DecryptError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk, not the file
        raise OpsError(
            f"The file {source.name} was not decrypted",
            why="it is not encrypted to this identity, or it was changed or cut off",
            hint="is backup.identity the one that belongs to the recipients of the backup?",
            code="backup-not-decrypted",
            exit=Exit.FAILED,
        ) from None


class _Whole:
    """A private file that is flushed to the disk, or removed when its block fails."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> IO[bytes]:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        self._file = os.fdopen(descriptor, "wb")
        return self._file

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._file.flush()
                os.fsync(self._file.fileno())
        finally:
            self._file.close()
            if kind is not None:
                self._path.unlink(missing_ok=True)


def _recipient(text: str) -> Any:
    library = _library()
    kind = library.ssh if text.startswith("ssh-") else library.x25519
    try:
        return kind.Recipient.from_str(text.strip())
    except library.RecipientError:
        secret = text.strip().upper().startswith("AGE-SECRET")
        raise OpsError(
            "The age recipient was not understood" + ("" if secret else f": {text[:80]!r}"),
            why="it is a secret key, which is not repeated here"
            if secret
            else "a recipient is a public key: age1... or ssh-ed25519 ...",
            hint="make a pair with age-keygen, and give its public key",
            code="age-recipient",
        ) from None


def _identity(text: str) -> Any:
    library = _library()
    # The file that age-keygen writes has comments above the key.
    lines = [line.strip() for line in text.splitlines() if line.strip()[:1] not in ("", "#")]
    try:
        if text.lstrip().startswith("-----BEGIN"):
            return library.ssh.Identity.from_buffer(text.strip().encode() + b"\n")
        return library.x25519.Identity.from_str(lines[0] if lines else "")
    except library.IdentityError:
        raise OpsError(
            "The age identity was not understood",
            why="it is no AGE-SECRET-KEY-... and no SSH private key; it is not repeated here",
            hint="check what backup.identity of the settings refers to",
            code="age-identity",
            exit=Exit.UNKNOWN,
        ) from None


def _library() -> Any:
    try:
        import pyrage
    except ImportError:
        raise OpsError(
            "Encryption with age is not installed",
            why="the library pyrage is an extra of opsctl",
            hint="pip install 'opsctl[age]'",
            code="extra-missing",
            exit=Exit.UNKNOWN,
        ) from None
    return pyrage
