"""Gather what is judged: the way to the database, layer by layer, then its vitals at once."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from opsctl.adapters.network import Addresses, Attempt, open_connection, resolve
from opsctl.adapters.pg_startup import SignIn, sign_in
from opsctl.adapters.pg_target import Target, read_target
from opsctl.adapters.pg_tls import Tls, Trust, see_certificate
from opsctl.adapters.statuspage import ProviderStatus, read_status_page
from opsctl.adapters.supabase_project import Disk, read_disk
from opsctl.adapters.vitals import Vitals, read_vitals
from opsctl.core.errors import OpsError
from opsctl.core.secrets import resolve_secret
from opsctl.core.settings import Supabase

if TYPE_CHECKING:
    from opsctl.core.call import Call

_CONNECT_S = 5.0
_SIGN_IN_S = 8.0
_TRANSACTION_PORT = 6543
_NOT_AUTHORIZED = "28000"
_SUPABASE = re.compile(
    r"(?P<direct>db\.[a-z0-9]{20}\.supabase\.co)|.*\.pooler\.supabase\.com", re.IGNORECASE
)


@dataclass(frozen=True)
class Way:
    """How far the way to one server leads. What was not reached is None."""

    name: str
    """`the database` or `the pooler`."""
    target: Target | None = None
    error: OpsError | None = None
    """Why there is no target."""
    addresses: Addresses | None = None
    attempts: tuple[Attempt, ...] = ()
    signed_in: SignIn | None = None
    let_in_plain: bool = False
    """Whether it was without TLS, because with it the server refuses."""
    vitals: Vitals | None = None
    lost: OpsError | None = None
    """Why there are no vitals, although somebody was signed in."""

    @property
    def tls(self) -> Tls | None:
        """None where the URL asks for none, or the socket is local, too."""
        return self.signed_in.tls if self.signed_in is not None else None

    @property
    def trust(self) -> Trust | None:
        """None where TLS did not come about."""
        return self.signed_in.trust if self.signed_in is not None else None

    @property
    def reached(self) -> bool:
        """Whether a connection was made."""
        return any(each.failure is None for each in self.attempts)

    @property
    def ready(self) -> bool:
        """Whether the sign-in succeeded."""
        return self.signed_in is not None and self.signed_in.ending == "ready"

    @property
    def pooled(self) -> bool:
        """Whether a pooler stands between: the server's process is not the one we were told."""
        if self.vitals is None or self.signed_in is None:
            return False
        pid = self.vitals.one("server").get("pid")
        return pid is not None and pid != self.signed_in.backend_pid

    @property
    def by_convention(self) -> str:
        """What Supabase's names say: `direct`, `session`, `transaction`; empty for others."""
        if self.target is None:
            return ""
        match = _SUPABASE.fullmatch(self.target.host)
        if self.target.port == _TRANSACTION_PORT:
            return "transaction"
        if match is None:
            return ""
        return "direct" if match["direct"] else "session"


@dataclass(frozen=True)
class DatabaseFacts:
    """Everything that `diagnose db` looks at."""

    provider: ProviderStatus | None
    """None where the environment is not on Supabase."""
    database: Way
    pooler: Way | None
    disk: Disk | None = None
    disk_error: OpsError | None = None


def gather(call: Call) -> DatabaseFacts:
    """Look at the provider's pages and at the ways to the database, all at the same time.

    Raises OpsError `no-database` where the environment has none.
    """
    database, supabase = call.environment.database, call.environment.supabase
    if database is None:
        raise OpsError(
            "There is no database to diagnose",
            why=f"environments.{call.name}.database is not in the settings",
            hint=f"set environments.{call.name}.database.url, by reference",
            code="no-database",
        )
    with ThreadPoolExecutor(max_workers=3) as pool:
        provider = (
            pool.submit(read_status_page, supabase.status_page) if supabase is not None else None
        )
        disk = pool.submit(_disk, supabase)
        pooler = (
            pool.submit(walk, database.pooler_url, name="the pooler", say=call.say)
            if database.pooler_url is not None
            else None
        )
        way = walk(database.url, name="the database", say=call.say)
        found, failed = disk.result()
        return DatabaseFacts(
            provider=provider.result() if provider is not None else None,
            database=way,
            pooler=pooler.result() if pooler is not None else None,
            disk=found,
            disk_error=failed,
        )


def walk(reference: str, *, name: str, say: Callable[[str], None]) -> Way:
    """Go the way to a server as far as it leads; `reference` names its URL."""
    try:
        target = read_target(resolve_secret(reference))
    except OpsError as error:
        return Way(name, error=error)
    say(f"{name}: {target.where}")
    addresses = resolve(target.host_address or target.host)
    if addresses.failure is not None:
        return Way(name, target, addresses=addresses)
    opened = open_connection(addresses.all, target.port, timeout_s=_CONNECT_S)
    way = Way(name, target, addresses=addresses, attempts=opened.attempts)
    if opened.socket is None:
        return way
    address = opened.attempts[-1].address
    signed_in = sign_in(target, opened.socket, timeout_s=_SIGN_IN_S)
    tls = signed_in.tls
    if tls is not None and tls.broken and not target.insists_on_tls:
        # A driver goes on without it, over a new connection.
        again = _sign_in_plain(target, address)
        signed_in = replace(again, tls=tls) if again is not None else signed_in
    elif signed_in.ending == "untrusted":
        signed_in = replace(signed_in, tls=_distrusted(target, address))
    plain = _let_in_plain(target, address, signed_in)
    if plain is not None:
        signed_in = replace(plain, tls=tls, trust=signed_in.trust)
    vitals, lost = _ask(signed_in)
    return replace(
        way, signed_in=signed_in, let_in_plain=plain is not None, vitals=vitals, lost=lost
    )


def _distrusted(target: Target, address: str) -> Tls:
    """Return the certificate that was not trusted: OpenSSL shows it over another connection."""
    opened = open_connection((address,), target.port, timeout_s=_CONNECT_S).socket
    if opened is None:
        return Tls("closed")
    return see_certificate(target, opened, timeout_s=_SIGN_IN_S)


def _sign_in_plain(target: Target, address: str) -> SignIn | None:
    opened = open_connection((address,), target.port, timeout_s=_CONNECT_S).socket
    if opened is None:
        return None
    return sign_in(target, opened, timeout_s=_SIGN_IN_S, encrypted=False)


def _let_in_plain(target: Target, address: str, signed_in: SignIn) -> SignIn | None:
    """Return a sign-in without TLS where the one with it was refused for that alone.

    libpq itself tries again so under `prefer`.
    """
    refusal = signed_in.refusal
    if not signed_in.encrypted or refusal is None or target.sslmode not in ("prefer", "allow"):
        return None
    if refusal.sqlstate != _NOT_AUTHORIZED:
        return None
    again = _sign_in_plain(target, address)
    return again if again is not None and again.ending == "ready" else None


def _ask(signed_in: SignIn) -> tuple[Vitals | None, OpsError | None]:
    if signed_in.wire is None:
        return None, None
    try:
        return read_vitals(signed_in.wire, major=signed_in.major), None
    except OpsError as error:
        return None, error
    finally:
        signed_in.wire.close()


def _disk(supabase: Supabase | None) -> tuple[Disk | None, OpsError | None]:
    if supabase is None or supabase.access_token is None or supabase.ref is None:
        return None, None
    try:
        return read_disk(supabase), None
    except OpsError as error:
        return None, error
