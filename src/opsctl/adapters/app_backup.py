"""The backup of an application: what it is called, holds and looks like in a store.

A folder of `app.json`, `values.json.age` if values were asked for, and `manifest.json`. With age
recipients the first is `app.json.age`. Values are never written but encrypted, and pass from
memory to the encryption through a pipe, so that no disk sees them.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from opsctl.adapters.stores import MANIFEST, Store, damaged, write_atomically
from opsctl.adapters.vercel import Variable, VercelApi
from opsctl.core.errors import Exit, OpsError
from opsctl.core.secrets import resolve_secret

APP = "app.json"
VALUES = "values.json"
SEALED = ".age"
_MOST_BYTES = 64 << 20
_AT_ONCE = 8


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class StoredFile(_Model):
    """One file as it is stored."""

    bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class AppManifest(_Model):
    """What is known of a backup without opening it; it holds nothing secret."""

    format: Literal[1] = 1
    kind: Literal["app"] = "app"
    id: str
    environment: str
    made_at: str
    """RFC 3339, UTC."""
    made_by: str
    commit: str
    """What production was built from; the checkout's commit where that is not known."""
    encrypted: bool
    holds_values: bool
    complete: bool
    """Whether everything that the settings name could be read."""
    files: Mapping[str, StoredFile]


class StoredGit(_Model):
    """The checkout that the backup was made beside."""

    commit: str
    branch: str
    dirty: int
    on_remote: tuple[str, ...]
    tags: tuple[str, ...]
    remotes: Mapping[str, str]


class StoredDeployment(_Model):
    """A deployment on Vercel."""

    id: str
    name: str
    url: str
    state: str
    target: str
    created_ms: int
    commit: str
    ref: str
    message: str


class StoredVariable(_Model):
    """One record of a variable on Vercel. Without a fingerprint it could not be read."""

    id: str
    name: str
    targets: tuple[str, ...]
    custom: tuple[str, ...]
    type: str
    branch: str
    updated_ms: int | None
    fingerprint: str | None


class StoredVercel(_Model):
    """The project on Vercel; a part that could not be read is None."""

    project: str
    name: str
    repository: str
    production_branch: str
    auto_assign: bool | None
    domains: Mapping[str, str | None] | None
    production: StoredDeployment | None
    deployments: tuple[StoredDeployment, ...] | None
    """The newest ones that were made for production, newest first."""
    deployments_complete: bool
    variables: tuple[StoredVariable, ...] | None
    hidden_variables: int


class StoredGithubVariable(_Model):
    """A variable of GitHub Actions, which is no secret."""

    name: str
    value: str
    updated_at: str


class StoredGithub(_Model):
    """The repository on GitHub; a part that could not be read, or does not apply, is None."""

    repository: str
    environment: str | None
    default_branch: str | None
    head: str | None
    secrets: Mapping[str, str] | None
    """Name and when it was last written; values can never be read."""
    environment_secrets: Mapping[str, str] | None
    variables: tuple[StoredGithubVariable, ...] | None
    environment_variables: tuple[StoredGithubVariable, ...] | None


class AppBackup(_Model):
    """What a backup of an application holds, apart from values."""

    format: Literal[1] = 1
    id: str
    environment: str
    made_at: str
    fingerprint_key: str
    """Hexadecimal; of this backup alone, so that fingerprints of two cannot be compared."""
    git: StoredGit | None
    vercel: StoredVercel | None
    github: StoredGithub | None
    unread: tuple[str, ...]
    """What the settings name and could not be read, and why."""


def fingerprint(value: str, *, key: str) -> str:
    """Return 16 hexadecimal digits that tell equal values from others, for one backup's key."""
    return hmac.new(bytes.fromhex(key), value.encode(), hashlib.sha256).hexdigest()[:16]


def read_values(
    api: VercelApi, variables: Sequence[Variable]
) -> tuple[dict[str, str], dict[str, OpsError]]:
    """Return the values that Vercel decrypts, by record id, and the errors of the others.

    An id in neither is that of a value which the API never gives out.
    """

    def one(variable: Variable) -> str | OpsError | None:
        try:
            return api.value(variable)
        except OpsError as error:
            return error

    readable = [each for each in variables if each.readable]
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        found = list(zip(readable, pool.map(one, readable), strict=True))
    values = {each.id: value for each, value in found if isinstance(value, str)}
    errors = {each.id: value for each, value in found if isinstance(value, OpsError)}
    return values, errors


def write_backup(
    store: Store,
    backup: AppBackup,
    *,
    values: Mapping[str, str] | None,
    recipients: Sequence[str],
    made_by: str,
    commit: str,
) -> AppManifest:
    """Write a backup, its manifest last, and return the manifest.

    `values` are by record id; None leaves them out. Raises OpsError `values-need-encryption`
    (exit 2) for values without a recipient.
    """
    if values is not None and not recipients:
        raise need_encryption()
    with store.making(backup.id) as folder:
        files = {APP: backup.model_dump_json(indent=1).encode()}
        if values is not None:
            files[VALUES] = json.dumps(dict(values), sort_keys=True).encode()
        stored: dict[str, StoredFile] = {}
        for name, data in files.items():
            path = folder / (name + SEALED if recipients else name)
            if recipients:
                _seal(data, path, recipients)
            else:
                write_atomically(path, data)
            written = path.read_bytes()
            digest = hashlib.sha256(written).hexdigest()
            stored[path.name] = StoredFile(bytes=len(written), sha256=digest)
        manifest = AppManifest(
            id=backup.id,
            environment=backup.environment,
            made_at=backup.made_at,
            made_by=made_by,
            commit=commit,
            encrypted=bool(recipients),
            holds_values=values is not None,
            complete=not backup.unread,
            files=stored,
        )
        write_atomically(folder / MANIFEST, manifest.model_dump_json(indent=1).encode())
    return manifest


def choose_backup(store: Store, text: str | None) -> AppManifest:
    """Return the manifest of the whole backup that begins with `text`, or of the newest one.

    Raises OpsError `no-such-backup` (exit 2) or `backup-damaged` (exit 1).
    """
    ids = [each for each in reversed(store.ids()) if text is None or each.startswith(text)]
    if text in ids:
        ids = [text]
    whole = [each for each in ids if store.read(each, MANIFEST, most=_MOST_BYTES) is not None]
    if not whole or (text is not None and len(whole) > 1):
        why = f"{len(whole)} backups begin with {text!r}" if text else "none was made yet"
        raise OpsError(
            "There is no such backup of the application",
            why=f"{why}, in {store.where}",
            hint="opsctl backup app",
            code="no-such-backup",
        )
    data = store.read(whole[0], MANIFEST, most=_MOST_BYTES) or b""
    try:
        manifest = AppManifest.model_validate_json(data)
    except ValidationError:
        raise damaged(whole[0], "its manifest is not understood") from None
    if manifest.id != whole[0]:
        raise damaged(whole[0], f"its manifest is that of {manifest.id[:40]!r}")
    return manifest


def read_backup(store: Store, manifest: AppManifest, *, identity: str | None) -> AppBackup:
    """Return what a backup holds. `identity` is a secret reference, for an encrypted one.

    Raises OpsError `backup-damaged` (exit 1), `backup-encrypted` (exit 3) without an identity.
    """
    name = APP + SEALED if manifest.encrypted else APP
    stored = manifest.files.get(name)
    data = store.read(manifest.id, name, most=_MOST_BYTES)
    if stored is None or data is None:
        raise damaged(manifest.id, f"{name} is missing")
    if hashlib.sha256(data).hexdigest() != stored.sha256:
        raise damaged(manifest.id, f"{name} is not as it was written")
    if manifest.encrypted:
        data = _open(data, manifest.id, identity)
    try:
        backup = AppBackup.model_validate_json(data)
        bytes.fromhex(backup.fingerprint_key)
    except ValueError:
        raise damaged(manifest.id, f"{name} is not understood") from None
    if backup.id != manifest.id:
        raise damaged(manifest.id, f"{name} is that of {backup.id[:40]!r}")
    return backup


def need_encryption() -> OpsError:
    """Return the error for values that would be written for everybody to read."""
    return OpsError(
        "The values were not backed up",
        why="they are only ever written encrypted, and there is no age recipient",
        hint="set backup.encrypt_to in the settings, or leave the values out",
        code="values-need-encryption",
        exit=Exit.USAGE,
    )


def _seal(data: bytes, target: Path, recipients: Sequence[str]) -> None:
    from opsctl.adapters.age import encrypt_file

    with _as_file(data) as source:
        encrypt_file(source, target, recipients)


@contextmanager
def _as_file(data: bytes) -> Iterator[Path]:
    """Give a path that reads as these bytes, once; no disk sees them where pipes have names."""
    if not Path("/dev/fd").is_dir():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "plain"
            write_atomically(path, data)
            yield path
        return
    reading, writing = os.pipe()

    def write() -> None:
        # A reader that gives up is told of by its own error.
        with suppress(BrokenPipeError), os.fdopen(writing, "wb") as file:
            file.write(data)

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    try:
        yield Path(f"/dev/fd/{reading}")
    finally:
        os.close(reading)
        thread.join()


def _open(data: bytes, backup: str, identity: str | None) -> bytes:
    from opsctl.adapters.age import decrypt_file

    if identity is None:
        raise OpsError(
            f"The backup {backup} was not opened",
            why="it is encrypted, and the settings name no backup.identity",
            hint="set backup.identity in the settings",
            code="backup-encrypted",
            exit=Exit.UNKNOWN,
        )
    secret = resolve_secret(identity)
    # It holds fingerprints and names, no values.
    with tempfile.TemporaryDirectory() as folder:
        sealed, plain = Path(folder) / "sealed", Path(folder) / "plain"
        write_atomically(sealed, data)
        decrypt_file(sealed, plain, secret)
        return plain.read_bytes()
