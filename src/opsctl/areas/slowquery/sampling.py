"""Look at the statistics many times a second, and say what that costs."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from opsctl.adapters.postgres import Connection
from opsctl.adapters.statements import Session, Source, read_counts, read_sessions
from opsctl.areas.slowquery.window import Watch

_FASTEST_S = 0.05
_SLOWEST_S = 1.0
_SHARE = 0.1
"""Of the time that may go into looking: a look that takes long is made more seldom."""
_SESSIONS_EVERY_S = 0.5


@dataclass
class Sampling:
    """What was sampled, and its price."""

    looks: int = 0
    seconds: float = 0.0
    asked_ms: float = 0.0
    """Waiting for the server, all looks together."""
    slowest_ms: float = 0.0
    busy_ms: float = 0.0
    """Processor time of our own."""
    sessions: list[Session] = field(default_factory=list)

    @property
    def mean_ms(self) -> float:
        """What one look took, asking and fetching."""
        return self.asked_ms / self.looks if self.looks else 0.0

    @property
    def rate(self) -> float:
        """Looks a second."""
        return self.looks / self.seconds if self.seconds else 0.0


def sample(
    connection: Connection,
    source: Source,
    *,
    seconds: float,
    watches: tuple[Watch, ...],
    slower_than_ms: float,
) -> Sampling:
    """Look for so many seconds, up to twenty times a second, and hand each look to the watches.

    Only statements that ever took longer than `slower_than_ms` are looked at.
    """
    done = Sampling()
    began = sessions_at = time.monotonic()
    busy = time.process_time()
    while True:
        looked_at = time.monotonic()
        if looked_at - began >= seconds:
            break
        counts = read_counts(connection, source, slower_than_ms=slower_than_ms)
        for watch in watches:
            watch.look(counts)
        done.looks += 1
        done.asked_ms += counts.took_ms
        done.slowest_ms = max(done.slowest_ms, counts.took_ms)
        if looked_at >= sessions_at:
            done.sessions += read_sessions(connection)
            sessions_at = looked_at + _SESSIONS_EVERY_S
        spent = time.monotonic() - looked_at
        pause = min(max(_FASTEST_S, spent / _SHARE), _SLOWEST_S) - spent
        left = began + seconds - time.monotonic()
        if left <= 0:
            break
        time.sleep(max(min(pause, left), 0.0))
    done.seconds = time.monotonic() - began
    done.busy_ms = (time.process_time() - busy) * 1000
    return done
