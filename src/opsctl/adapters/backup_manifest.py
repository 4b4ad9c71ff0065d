"""The manifest: what a backup holds, by name, count and hash; a backup without one is none.

It is written last. Its own digest is within it, so that a changed manifest is noticed, too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from opsctl.adapters.stores import MAKING, damaged

MOST_BYTES = 64 << 20
"""No manifest is larger: a thousand tables take about 300 kB."""

_CHUNK = 1 << 20

# What becomes SQL on the way back is held to what PostgreSQL itself prints: whoever can write
# a manifest could otherwise write statements.
_IDENTIFIER = r'([a-z_][a-z0-9_$]*|"([^"\x00]|"")+")'
Attribute = Annotated[
    str,
    Field(
        pattern=r"^(SUPERUSER|NOINHERIT|CREATEROLE|CREATEDB|LOGIN|REPLICATION|BYPASSRLS"
        r"|CONNECTION LIMIT [0-9]{1,9})$"
    ),
]
Assignment = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.]{0,120}=")]
"""`name=value`: the value is always quoted, the name never holds anything odd."""
QualifiedName = Annotated[str, Field(pattern=rf"^{_IDENTIFIER}\.{_IDENTIFIER}$")]
Signature = Annotated[str, Field(pattern=r"^[\w ,.\"\[\]]*$")]
Result = Annotated[str, Field(pattern=r"^[\w ,.\"\[\]()]*$")]
Privilege = Literal["CREATE", "CONNECT", "TEMPORARY"]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class StoredFile(_Model):
    """One file of a backup, as it is stored: encrypted, if it is."""

    bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class StoredTable(_Model):
    """One table: rows, their order-independent hash, and its size on the server in bytes."""

    schema_name: str
    name: str
    rows: int = Field(ge=0)
    hash: str
    bytes: int = Field(ge=0)


class Role(_Model):
    """One role, without its password."""

    name: str
    attributes: tuple[Attribute, ...]
    """As CREATE ROLE takes them: LOGIN, BYPASSRLS, ..."""
    settings: tuple[Assignment, ...]
    member_of: tuple[str, ...]


class ExtensionInfo(_Model):
    """One installed extension, and what a server without it needs in its place."""

    name: str
    version: str
    schema_name: str
    types: tuple[QualifiedName, ...]
    """Base types it made."""
    functions: tuple[tuple[QualifiedName, Signature, Result], ...]
    """(name, arguments, result) of its functions, as PostgreSQL prints them."""


class DatabaseInfo(_Model):
    """The database itself, which a dump leaves out."""

    name: str
    owner: str
    encoding: str
    provider: str
    """Locale provider: `c` libc, `i` ICU, `b` built-in."""
    collate: str
    ctype: str
    locale: str | None
    connection_limit: int
    acl: tuple[tuple[Privilege, str, bool], ...]
    """(privilege, role or empty for everybody, with grant option)."""
    settings: tuple[tuple[str, Assignment], ...]
    """(role or empty, `name=value`)."""


class Tool(_Model):
    """The pg_dump that made it."""

    name: str
    version: str
    major: int
    compression: str


class Manifest(_Model):
    """Everything about one backup."""

    opsctl: Literal[1] = 1
    """Version of this format."""
    kind: Literal["database"] = "database"
    id: str
    environment: str
    label: str
    made_by: str
    """opsctl's version."""
    tool: Tool
    server_version: str
    server_major: int = Field(ge=9)
    hosted: bool
    """Whether the server is Supabase's, where roles and databases are not ours to make."""
    snapshot_at: datetime
    """When the snapshot was taken, by the server's clock, UTC."""
    lsn: str
    began_at: datetime
    took_s: float
    dump_s: float
    hash_s: float
    database: DatabaseInfo
    database_bytes: int = Field(ge=0)
    """Its size on the server."""
    partial: tuple[str, ...]
    """The tables it is limited to; empty for a whole backup."""
    left_out: tuple[str, ...]
    """Tables that our role may not read: they are NOT in the backup."""
    migrations: Mapping[str, tuple[str, ...]]
    """Tool -> versions that were applied, oldest first."""
    roles: tuple[Role, ...]
    extensions: tuple[ExtensionInfo, ...]
    tables: tuple[StoredTable, ...]
    sequences: Mapping[str, int]
    large_objects: tuple[int, str]
    """How many, and their hash."""
    objects: int
    """How many objects the catalog has."""
    encrypted: bool
    recipients: tuple[str, ...]
    files: Mapping[str, StoredFile]
    """Relative POSIX path -> file."""

    @property
    def bytes(self) -> int:
        """What it takes in the store."""
        return sum(file.bytes for file in self.files.values())

    @property
    def rows(self) -> int:
        """Rows of all tables."""
        return sum(table.rows for table in self.tables)


class Verification(_Model):
    """The result of restoring a backup into a scratch server and comparing everything."""

    opsctl: Literal[1] = 1
    manifest_sha256: str
    """Of the manifest it was done on."""
    ok: bool
    at: datetime
    server: str
    """Provider and version of the scratch server."""
    rto_s: float
    """From the order to a restored and compared database, measured."""
    restore_s: float
    data_age_s: float
    """Age of the data when it was verified."""
    differences: tuple[str, ...]
    unproven: tuple[str, ...]
    """What could not be looked at, and why."""


def write_manifest(manifest: Manifest) -> bytes:
    """Return the manifest as JSON with its digest."""
    data = manifest.model_dump(mode="json")
    return json.dumps({**data, "sha256": _digest(data)}, indent=1, sort_keys=True).encode()


def read_manifest(data: bytes, *, backup: str) -> Manifest:
    """Return a manifest that was read from a store.

    Raises OpsError `backup-damaged` (exit 1) where it is not what was written, is another
    backup's, or names files that lie outside it.
    """
    raw = _parse(data, backup)
    found = raw.pop("sha256", None)
    if found != _digest(raw):
        raise damaged(backup, "its manifest is not as it was written: the digest differs")
    try:
        manifest = Manifest.model_validate_json(json.dumps(raw))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise damaged(backup, f"its manifest is not understood at {where}") from None
    if manifest.id != backup:
        raise damaged(backup, f"its manifest is that of {manifest.id[:40]!r}")
    for name in manifest.files:
        check_name(name, backup)
    return manifest


def check_name(name: str, backup: str) -> None:
    """Refuse the name of a file that would lie outside its backup."""
    path = PurePosixPath(name)
    odd = any(ord(each) < 32 or each in '\\:*?"<>|' for each in name)
    if odd or not name or path.is_absolute() or str(path) != name or ".." in path.parts:
        raise damaged(backup, f"its manifest names the file {name[:80]!r}")


def describe_file(path: Path) -> StoredFile:
    """Return size and SHA-256 of a file."""
    digest = hashlib.sha256()
    size = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return StoredFile(bytes=size, sha256=digest.hexdigest())


def describe_folder(folder: Path) -> dict[str, StoredFile]:
    """Return every file of a folder by its relative POSIX path, two at a time."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / MAKING)
    with ThreadPoolExecutor(2) as pool:
        described = list(pool.map(describe_file, paths))
    names = [path.relative_to(folder).as_posix() for path in paths]
    return dict(zip(names, described, strict=True))


def check_files(
    folder: Path,
    files: Mapping[str, StoredFile],
    *,
    backup: str,
    besides: Iterable[str] = (),
    progress: Callable[[int], None] = lambda count: None,
) -> None:
    """Prove that a folder holds exactly these files, each as it was written.

    `besides` may be there, too. Links, pipes and devices are refused. `progress` hears of
    bytes. Raises OpsError `backup-damaged` (exit 1) at the first difference.
    """
    allowed = {*files, *besides}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise damaged(backup, f"{name!r} is no plain file")
        if path.is_file() and name not in allowed:
            raise damaged(backup, f"{name!r} does not belong to it")

    def check(item: tuple[str, StoredFile]) -> None:
        name, wanted = item
        path = folder / name
        if not path.is_file():
            raise damaged(backup, f"{name} is missing")
        if path.stat().st_size != wanted.bytes:
            raise damaged(backup, f"{name} has {path.stat().st_size} bytes instead of "
                                  f"{wanted.bytes}")  # fmt: skip
        if describe_file(path) != wanted:
            raise damaged(backup, f"{name} is not as it was written: its SHA-256 differs")
        progress(wanted.bytes)

    with ThreadPoolExecutor(2) as pool:
        for _ in pool.map(check, sorted(files.items(), key=lambda item: -item[1].bytes)):
            pass


def _parse(data: bytes, backup: str) -> dict[str, Any]:
    try:
        raw = json.loads(data)
    except (ValueError, RecursionError):
        raise damaged(backup, "its manifest is not JSON") from None
    if not isinstance(raw, dict):
        raise damaged(backup, "its manifest is not an object")
    return raw


def _digest(data: Mapping[str, Any]) -> str:
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
