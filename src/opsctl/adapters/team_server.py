"""A team's PostgreSQL as its state needs it: one statement at a time, tried again when cut off.

It works through a transaction pooler: no session locks, no prepared statements, nothing set
outside a transaction, no start-up options. Unlike other adapters this one and those beside it
write at once: what they write is opsctl's own record, not the world that a plan changes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from psycopg import conninfo

from opsctl.adapters.postgres import unreachable
from opsctl.core.errors import Exit, OpsError
from opsctl.core.secrets import resolve_secret
from opsctl.core.state_place import TEAM_SCHEMA, TeamState

T = TypeVar("T")

Connection = psycopg.Connection[tuple[Any, ...]]

PATIENCE_S = 20.0
"""How long a server that is cut off or starts anew is waited for, once it was reached."""
_FIRST_PATIENCE_S = 3.0
"""How long it is waited for before that: nothing is under way yet."""
_CONNECT_S = 5
_SILENCE_MS = 10_000
"""After so long without a sign of the other side the connection is given up."""
_PAUSE_S = 0.2
_LEASE_LOST, _NOT_APPROVED, _TOO_NEW = "OC001", "OC002", "OC003"
_NOT_THERE = ("42P01", "3F000", "42883")
"""undefined_table, invalid_schema_name, undefined_function."""
_PASSING = ("40001", "40P01", "53300", "55P03")
"""serialization_failure, deadlock_detected, too_many_connections, lock_not_available."""


class LeaseLost(Exception):
    """The fence that a write carried is no longer the environment's."""


class NotApproved(Exception):
    """The run must be approved by others before its first step; says by how many it was."""


class TeamServer:
    """One connection, opened when it is needed, and again when it was lost.

    Raises OpsError `state-unreachable`, `state-not-prepared`, `state-too-old`, `state-too-new`,
    `state-forbidden` or `state-unusable` (exit 3), `state-not-postgresql` (exit 2). The version
    of what is there is looked at with each connection, unless it is `to_prepare`.
    """

    def __init__(
        self, place: TeamState, *, patience_s: float | None = None, to_prepare: bool = False
    ) -> None:
        self.place = place
        usual_s = PATIENCE_S if place.patient else 0.0
        self._patience_s = usual_s if patience_s is None else patience_s
        self._to_prepare = to_prepare
        self._connection: Connection | None = None
        self._reached = False
        self._mutex = threading.Lock()

    def close(self) -> None:
        """Close the connection; it is opened again when it is needed."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __del__(self) -> None:
        self.close()

    def rows(
        self, sql: str, values: Sequence[Any] = (), *, patience_s: float | None = None
    ) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows; it must do no harm when it runs twice."""
        return self.repeat(
            lambda connection: connection.execute(sql.encode(), values).fetchall(),
            patience_s=patience_s,
        )

    def repeat(self, work: Callable[[Connection], T], *, patience_s: float | None = None) -> T:
        """Return what `work` does with a connection; where that is lost, it is done again."""
        wait_s = self._patience_s if patience_s is None else patience_s
        if not self._reached:
            wait_s = min(wait_s, _FIRST_PATIENCE_S)
        deadline = time.monotonic() + wait_s
        with self._mutex:
            while True:
                try:
                    return work(self._open())
                except psycopg.Error as error:
                    if not _is_passing(error) or time.monotonic() > deadline:
                        raise self._said(error) from None
                    if self._is_lost(error):
                        self.close()
                except BaseException:
                    self.close()
                    raise
                time.sleep(_PAUSE_S)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Within it one transaction in the team's schema; it is not repeated."""
        with self._mutex:
            try:
                connection = self._open()
                with connection.transaction():
                    # For this transaction alone: through a pooler the next may have another
                    # session.
                    connection.execute("SET LOCAL search_path = opsctl, pg_catalog, pg_temp")
                    yield connection
            except psycopg.Error as error:
                if self._is_lost(error):
                    self.close()
                raise self._said(error) from None

    def _open(self) -> Connection:
        if self._connection is not None and not self._connection.closed:
            return self._connection
        connection = psycopg.connect(
            self._address(),
            autocommit=True,
            connect_timeout=_CONNECT_S,
            application_name="opsctl",
            tcp_user_timeout=_SILENCE_MS,
            keepalives_idle=5,
            keepalives_interval=3,
            keepalives_count=2,
        )
        connection.prepare_threshold = None
        if not self._to_prepare:
            try:
                self._refuse_other_version(connection)
            except BaseException:
                connection.close()
                raise
        self._connection = connection
        self._reached = True
        return connection

    def _refuse_other_version(self, connection: Connection) -> None:
        row = connection.execute(b"SELECT max(version) FROM opsctl.opsctl_schema").fetchone()
        found = row[0] if row is not None and row[0] is not None else 0
        if found > TEAM_SCHEMA:
            raise _too_new(f"it has version {found}; this opsctl knows {TEAM_SCHEMA}")
        if found < TEAM_SCHEMA:
            raise OpsError(
                "The team's state was prepared by an older opsctl",
                why=f"it has version {found}; this opsctl needs {TEAM_SCHEMA}",
                hint="as the owner of the database, when everybody has this opsctl: "
                "opsctl state prepare; it keeps what is there. Older ones are refused from then on",
                code="state-too-old",
                exit=Exit.UNKNOWN,
            )

    def _address(self) -> str:
        reference = self.place.reference
        shown = reference.startswith(("postgres://", "postgresql://"))
        url = reference if shown else resolve_secret(reference)
        if not url.startswith(("postgres://", "postgresql://")):
            raise OpsError(
                "The state was not found",
                why=f"{self.place} is no PostgreSQL address: it begins with no postgresql://",
                hint="name a file, or a secret reference to postgresql://USER:PASSWORD@HOST/NAME",
                code="state-not-postgresql",
            )
        return url

    def _is_lost(self, error: psycopg.Error) -> bool:
        return error.sqlstate is None or error.sqlstate.startswith(("08", "57P"))

    def _said(self, error: psycopg.Error) -> Exception:
        """Return the error for a person; libpq's own repeats the address."""
        state = error.sqlstate
        if state == _LEASE_LOST:
            return LeaseLost()
        if state == _NOT_APPROVED:
            return NotApproved(error.diag.message_primary or "")
        if state == _TOO_NEW:
            return _too_new(error.diag.message_primary or "")
        if state is None or state.startswith(("08", "57P", "28", "3D", "53")):
            return self._not_reached(error)
        if state in _NOT_THERE:
            return OpsError(
                "The team's state is not prepared",
                why=f"the database of {self.place} has no tables of opsctl",
                hint="as the owner of the database: opsctl state prepare (or: opsctl state schema)",
                code="state-not-prepared",
                exit=Exit.UNKNOWN,
            )
        why = error.diag.message_primary or type(error).__name__
        if state == "42501":
            return OpsError(
                "The team's state is not yours to use so",
                why=why,
                hint="GRANT opsctl_operator TO the role, or opsctl_reader to read alone",
                code="state-forbidden",
                exit=Exit.UNKNOWN,
            )
        return OpsError(
            "The team's state could not be used",
            why=f"{why} [{state}]",
            hint="opsctl state show",
            code="state-unusable",
            exit=Exit.UNKNOWN,
        )

    def _not_reached(self, error: psycopg.Error) -> OpsError:
        try:
            parsed = conninfo.conninfo_to_dict(self._address())
        except psycopg.ProgrammingError:
            return OpsError(
                "The address of the team's state was not understood",
                why=f"{self.place} is not a PostgreSQL connection URL",
                hint="postgresql://USER:PASSWORD@HOST:5432/NAME; encode special characters",
                code="state-not-postgresql",
            )
        parts = {name: str(value) for name, value in parsed.items() if value is not None}
        said = unreachable(parts, error)
        return OpsError(
            said.what.replace("The database", "The team's state"),
            why=said.why,
            hint=f"check {self.place} and that the server is up. If that cannot wait and you "
            "are sure to be alone: OPSCTL_STATE=.opsctl/alone.db, and a record of its own",
            code="state-unreachable",
            exit=Exit.UNKNOWN,
        )


def _too_new(why: str) -> OpsError:
    return OpsError(
        "The team's state was prepared by a newer opsctl",
        why=why,
        hint="upgrade opsctl on this machine: pip install --upgrade opsctl",
        code="state-too-new",
        exit=Exit.UNKNOWN,
    )


def _is_passing(error: psycopg.Error) -> bool:
    """Whether it may go well when it is tried again."""
    if error.sqlstate is None:
        # Of a connection that was never made libpq gives no code: a wrong password and a wrong
        # name would stay wrong.
        text = str(error)
        lasting = ("authentication failed", "no password supplied", "does not exist",
                   "no pg_hba.conf entry", "missing \"=\"", "invalid")  # fmt: skip
        return isinstance(error, psycopg.OperationalError) and not any(
            part in text for part in lasting
        )
    return error.sqlstate in _PASSING or error.sqlstate.startswith(("08", "57P"))
