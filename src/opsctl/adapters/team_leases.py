"""One run per environment at a time, in a team: leases by the server's clock, with a fence.

A lease ends when its holder gives no sign of life for `LEASE_S`, or, while a step is under way,
not before the step must be over. Whoever takes it over gets a higher number; the journal turns
away whoever writes with a lower one. What a holder reckons itself is a span on a clock of its
own that also runs while the machine sleeps, so clocks that differ do not matter.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from opsctl.adapters.team_server import TeamServer
from opsctl.core.errors import Exit, OpsError
from opsctl.core.lease import Fence, Holder, lease_lost, not_locked, wrong_lock

LEASE_S = 30.0
"""A third of it passes between two beats."""

_HOLDER = (
    "SELECT id, actor, pid, since, run, command, "
    "extract(epoch FROM clock_timestamp() - beat_at)::double precision, "
    "extract(epoch FROM expires_at - clock_timestamp())::double precision "
    "FROM opsctl.lease WHERE environment = %s AND id IS NOT NULL"
)


class TeamLeases:
    """The leases in a team's PostgreSQL. Raises OpsError as TeamServer does."""

    def __init__(self, server: TeamServer, *, lease_s: float = LEASE_S) -> None:
        self._server = server
        self._lease_s = lease_s

    @contextmanager
    def hold(self, environment: str, *, actor: str, run: str, command: str) -> Iterator[Lease]:
        """Hold an environment; raises OpsError `locked` (exit 5) where another does."""
        id = secrets.token_hex(4)
        sent = _clock()
        found = self._server.rows(
            "SELECT * FROM opsctl.take_lease(%s, %s, %s, %s, %s, %s, %s)",
            (environment, id, actor, os.getpid(), run, command, self._lease_s),
        )
        if not found:
            raise self._locked(environment)
        number, left_s, since = found[0]
        holder = Holder(id, actor, os.getpid(), _utc(since), run, command)
        lease = Lease(
            self._server, Fence(environment, number), holder, self._lease_s, sent + left_s
        )
        beats = threading.Thread(target=lease.beat, name="opsctl-lease", daemon=True)
        beats.start()
        try:
            yield lease
        finally:
            lease.stop.set()
            beats.join(timeout=1)
            try:
                self._server.rows(
                    "SELECT opsctl.end_lease(%s, %s, %s)", (environment, id, number), patience_s=0
                )
            except OpsError:
                # It ends by itself; that the server is gone is told by what could not be done.
                self._server.close()

    def holder_of(self, environment: str) -> Holder | None:
        """Return who holds an environment, or left it behind; nobody where it is free."""
        found = self._server.rows(_HOLDER, (environment,))
        if not found:
            return None
        id, actor, pid, since, run, command, _, _ = found[0]
        return Holder(id, actor, pid, _utc(since), run, command)

    def is_alive(self, holder: Holder) -> bool:
        """Whether a holder's lease lasts."""
        sql = "SELECT 1 FROM opsctl.lease WHERE id = %s AND expires_at >= clock_timestamp()"
        return bool(self._server.rows(sql, (holder.id,)))

    def refuse_if_held(self, environment: str) -> None:
        """Raise OpsError `locked` where somebody's lease lasts."""
        found = self._server.rows(_HOLDER, (environment,))
        if found and found[0][7] > 0:
            raise self._locked(environment)

    def unlock(self, environment: str, lock_id: str) -> Holder:
        """Free what a silent holder left, and return who it was; raises as `Locks.unlock` says.

        Whoever gave a sign within `LEASE_S` is not silent.
        """
        holder = self.holder_of(environment)
        if holder is None:
            raise not_locked(environment)
        if holder.id != lock_id:
            raise wrong_lock(environment, lock_id, holder)
        freed = self._server.rows(
            "SELECT * FROM opsctl.free_lease(%s, %s, %s)", (environment, lock_id, self._lease_s)
        )
        now = self.holder_of(environment)
        if not freed and now is not None and now.id == lock_id:
            raise OpsError(
                f"The lock on {environment} was not freed",
                why=f"its holder gave a sign within {self._lease_s:g} s: {holder}",
                hint=f"end that process first, then: opsctl runs resume {holder.run}",
                code="lock-held",
                exit=Exit.REFUSED,
            )
        return holder

    def _locked(self, environment: str) -> OpsError:
        found = self._server.rows(_HOLDER, (environment,))
        if not found:
            why, hint = "its holder just let go", "try again"
        else:
            id, actor, pid, since, run, command, silent_s, left_s = found[0]
            holder = Holder(id, actor, pid, _utc(since), run, command)
            why = f"held by {holder}; last sign of it {max(silent_s, 0):.0f} s ago"
            hint = f"wait for it to end; if it is gone, its lease ends in {max(left_s, 0):.0f} s"
            if silent_s > self._lease_s:
                hint += f", or at once by: opsctl runs unlock {id} --env {environment}"
            hint += f"; then: opsctl runs resume {run}"
        return OpsError(
            f"The environment {environment} is locked",
            why=why,
            hint=hint,
            code="locked",
            exit=Exit.REFUSED,
        )


class Lease:
    """A lease that is held: renewed by beats, made longer for a step."""

    def __init__(
        self, server: TeamServer, fence: Fence, holder: Holder, lease_s: float, ends_at: float
    ) -> None:
        self.fence = fence
        self.holder = holder
        self.stop = threading.Event()
        self._server = server
        self._lease_s = lease_s
        self._ends_at = ends_at
        """On this machine's own clock."""
        self._needed_s = 0.0
        self._ensured = 0
        """How often it was made longer: a beat sent before then says nothing of the end now."""
        self._lost = ""

    def ensure(self, for_s: float) -> None:
        """See to it that it lasts for so long, in s. Raises OpsError `lease-lost`."""
        self._needed_s = for_s
        self._ensured += 1
        if not self._renew(self._server, for_s + self._lease_s, beat=False):
            raise lease_lost(self.fence.environment, self._lost)

    @property
    def latest_start(self) -> float:
        """Until when something may begin that takes as long as was ensured, on `_clock`."""
        return self._ends_at - self._needed_s

    def check(self) -> None:
        """Raise OpsError `lease-lost` where it may not last as ensured; asks nobody."""
        if self._lost:
            raise lease_lost(self.fence.environment, self._lost)
        if _clock() > self.latest_start:
            raise lease_lost(
                self.fence.environment, "this process stood still for longer than it lasts"
            )

    def beat(self) -> None:
        """Renew it again and again, on a connection of its own, until it is over or lost."""
        server = TeamServer(self._server.place, patience_s=0)
        try:
            while not self.stop.wait(self._lease_s / 3):
                try:
                    if not self._renew(server, self._lease_s, beat=True):
                        return
                except OpsError:
                    # Not lost yet: it lasts until `_ends_at`, and the next beat tries again.
                    continue
        finally:
            server.close()

    def _renew(self, server: TeamServer, for_s: float, *, beat: bool) -> bool:
        sent, ensured = _clock(), self._ensured
        fence = self.fence
        found = server.rows(
            "SELECT * FROM opsctl.renew_lease(%s, %s, %s, %s, %s)",
            (fence.environment, self.holder.id, fence.number, for_s, beat),
        )
        if not found:
            self._lost = "somebody else took it over, or freed it"
            return False
        if not beat or ensured == self._ensured:
            self._ends_at = sent + found[0][0]
        return True


def _clock() -> float:
    """Return seconds on a clock that nobody sets and that runs while the machine sleeps."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


def _utc(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds")
