"""What backups a store holds: whole, verified, damaged, cut off or under way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from opsctl.adapters.backup_manifest import MOST_BYTES, Manifest, Verification, read_manifest
from opsctl.adapters.stores import MANIFEST, VERIFIED, Store
from opsctl.core.errors import Exit, OpsError

State = Literal["whole", "damaged", "interrupted", "being made"]


BEFORE_RESTORE = "before a restore"
"""The label of what a restore backs up first: the state that nobody wanted any more."""


@dataclass(frozen=True)
class Known:
    """One backup as its folder shows it."""

    id: str
    state: State
    manifest: Manifest | None
    verification: Verification | None
    """Of the manifest that is there now; that of another one does not count."""
    why: str = ""
    """What is wrong with a damaged one."""

    @property
    def verified(self) -> bool:
        """Whether it was restored, and nothing differed."""
        return self.verification is not None and self.verification.ok


def read_backups(store: Store) -> tuple[Known, ...]:
    """Return every backup of a store, newest first."""
    interrupted = set(store.interrupted())
    return tuple(_read(store, each, interrupted) for each in reversed(store.ids()))


def choose(backups: Sequence[Known], text: str | None) -> Known:
    """Return the whole backup that begins with `text`, or the newest one.

    Raises OpsError `no-such-backup` (exit 2), or `backup-damaged` (exit 1) for a damaged one.
    """
    whole = [each for each in backups if each.state == "whole"]
    if text is None:
        if whole:
            return whole[0]
        raise _none("no backup is whole" if backups else "none was made yet")
    matches = [each for each in backups if each.id == text] or [
        each for each in backups if each.id.startswith(text)
    ]
    if len(matches) != 1:
        raise _none(f"{len(matches)} backups begin with {text!r}")
    if matches[0].state == "damaged":
        raise OpsError(
            f"The backup {matches[0].id} is damaged",
            why=matches[0].why,
            hint="opsctl backup list",
            code="backup-damaged",
            exit=Exit.FAILED,
        )
    if matches[0].state != "whole":
        raise _none(f"{matches[0].id} has no manifest: it was {matches[0].state}")
    return matches[0]


def choose_to_restore(backups: Sequence[Known], text: str | None) -> Known:
    """Return the backup that begins with `text`, or the newest one worth restoring.

    By itself neither a partial one is taken, nor what an earlier restore has put aside. Raises
    OpsError as `choose` does.
    """
    if text is not None:
        return choose(backups, text)
    worth = [
        each
        for each in backups
        if each.manifest is None
        or (not each.manifest.partial and each.manifest.label != BEFORE_RESTORE)
    ]
    return choose(worth, None)


def age_h(manifest: Manifest, now: datetime) -> float:
    """Return the age of a backup's data in hours."""
    return (now - manifest.snapshot_at).total_seconds() / 3600


def utc_now() -> datetime:
    """Return the time, with its zone."""
    return datetime.now(UTC)


def _read(store: Store, backup: str, interrupted: set[str]) -> Known:
    try:
        data = store.read(backup, MANIFEST, most=MOST_BYTES)
        if data is None:
            state: State = "interrupted" if backup in interrupted else "being made"
            return Known(backup, state, None, None)
        manifest = read_manifest(data, backup=backup)
    except OpsError as error:
        if error.code != "backup-damaged":
            raise
        return Known(backup, "damaged", None, None, error.why)
    return Known(backup, "whole", manifest, _verification(store, backup, data))


def _verification(store: Store, backup: str, manifest: bytes) -> Verification | None:
    import hashlib

    from pydantic import ValidationError

    data = store.read(backup, VERIFIED, most=MOST_BYTES)
    if data is None:
        return None
    try:
        found = Verification.model_validate_json(data)
    except ValidationError:
        return None  # then it is not proven, which is the safe side
    return found if found.manifest_sha256 == hashlib.sha256(manifest).hexdigest() else None


def _none(why: str) -> OpsError:
    return OpsError(
        "There is no such backup",
        why=why,
        hint="opsctl backup list; opsctl backup create",
        code="no-such-backup",
    )
