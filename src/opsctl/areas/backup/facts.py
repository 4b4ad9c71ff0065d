"""Where the environment's backups are, and which there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsctl.adapters.backup_list import Known, age_h, choose, read_backups, utc_now
from opsctl.adapters.stores import Store, open_store

if TYPE_CHECKING:
    from opsctl.core.call import Call

__all__ = ["Known", "age_h", "choose", "read_backups", "store_of", "utc_now"]


def store_of(call: Call, *, to: str | None = None) -> Store:
    """Return the store of the environment's database backups."""
    settings = call.environment.backup
    return open_store(
        to or settings.to, root=call.root, environment=call.name, storage=settings.storage
    )
