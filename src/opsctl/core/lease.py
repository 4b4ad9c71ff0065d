"""Who holds an environment, and how whoever holds it makes sure that he still does."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from opsctl.core.errors import Exit, OpsError


@dataclass(frozen=True)
class Fence:
    """A number that only grows: what an older one's holder writes is turned away."""

    environment: str
    number: int


@dataclass(frozen=True)
class Holder:
    """Who holds an environment's lock, since when, doing what."""

    id: str
    actor: str
    pid: int
    since: str
    """UTC, ISO 8601."""
    run: str
    command: str

    def __str__(self) -> str:
        return f"{self.actor} (process {self.pid}) since {self.since}: opsctl {self.command}"


class Held(Protocol):
    """An environment that is held."""

    holder: Holder
    """Who holds it: this process."""

    @property
    def fence(self) -> Fence | None:
        """What the journal's writes carry; None where a lock cannot be lost while one lives."""

    def ensure(self, for_s: float) -> None:
        """See to it that it stays held for so long, in s. Raises OpsError `lease-lost`."""

    @property
    def latest_start(self) -> float | None:
        """Until when something may begin that takes as long as was ensured; None: at any time.

        In seconds on the boot's clock, which also runs while the machine sleeps.
        """

    def check(self) -> None:
        """Raise OpsError `lease-lost` where it may not last for what was ensured; asks nobody."""


class Locks(Protocol):
    """One run per environment at a time: files on one machine, or leases of a team."""

    def hold(
        self, environment: str, *, actor: str, run: str, command: str
    ) -> AbstractContextManager[Held]:
        """Hold an environment; raises OpsError `locked` (exit 5) where another does."""

    def holder_of(self, environment: str) -> Holder | None:
        """Return who is written down as its holder."""

    def is_alive(self, holder: Holder) -> bool:
        """Whether that holder still holds it."""

    def refuse_if_held(self, environment: str) -> None:
        """Raise OpsError `locked` where another holds it now."""

    def unlock(self, environment: str, lock_id: str) -> Holder:
        """Free what a dead holder left and return who it was.

        Raises OpsError: `not-locked` or `wrong-lock` (exit 2), `lock-held` (exit 5) while the
        holder lives.
        """


def lease_lost(environment: str, why: str) -> OpsError:
    """Return the error of a holder whose lease is another's, or may be."""
    return OpsError(
        f"The lease on {environment} was lost",
        why=why,
        hint="another run may be at work there: opsctl runs list",
        code="lease-lost",
        exit=Exit.PARTIAL,
    )


def not_locked(environment: str) -> OpsError:
    """Return the error for freeing what nobody holds."""
    return OpsError(
        f"The environment {environment} is not locked",
        why="nobody is written down as its holder",
        hint="opsctl runs list",
        code="not-locked",
    )


def wrong_lock(environment: str, lock_id: str, holder: Holder) -> OpsError:
    """Return the error for freeing another lock than the one that is held."""
    return OpsError(
        f"The lock {lock_id!r} is not the one on {environment}",
        why=f"it is held by {holder}",
        hint=f"if that process is gone: opsctl runs unlock {holder.id} --env {environment}",
        code="wrong-lock",
    )
