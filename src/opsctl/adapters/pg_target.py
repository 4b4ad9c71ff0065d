"""Where a PostgreSQL URL leads, completed as libpq completes it."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import psycopg
from psycopg import conninfo, pq

from opsctl.core.errors import OpsError

_DEFAULT_PORT = 5432
Checks = Literal["nothing", "chain", "chain and host"]
"""What a client checks of a certificate."""
_SOCKET_DIRECTORIES = ("/var/run/postgresql", "/tmp")  # noqa: S108 - where libpq looks, too


@dataclass(frozen=True)
class Target:
    """One server and who we are there. It holds the password, which its repr does not show."""

    host: str
    """A name, an address, or the directory of a local socket."""
    port: int
    user: str
    database: str
    password: str = field(default="", repr=False)
    sslmode: str = "prefer"
    root_certificate: str = ""
    """A file of trusted certificates, `system` for the system's, or empty: there is none."""
    client_certificate: str = ""
    client_key: str = ""
    options: str = field(default="", repr=False)
    host_address: str = ""
    """Where `host` is taken to be, whatever its name resolves to."""
    more_hosts: int = 0
    """Further hosts of the URL, which are not looked at."""

    @property
    def local(self) -> bool:
        """Whether it is a socket of this machine, which knows neither names nor TLS."""
        return self.host.startswith("/")

    @property
    def loopback(self) -> bool:
        """Whether what is sent there stays within this machine."""
        return self.local or self.host in ("localhost", "127.0.0.1", "::1")

    @property
    def checks(self) -> Checks:
        """What libpq would check of the server's certificate under this sslmode."""
        if self.sslmode == "verify-full":
            return "chain and host"
        # With a root certificate at hand, `require` behaves as `verify-ca`.
        rooted = self.sslmode == "require" and self.root_certificate not in ("", "system")
        return "chain" if self.sslmode == "verify-ca" or rooted else "nothing"

    @property
    def insists_on_tls(self) -> bool:
        """Whether a client with this URL connects with TLS or not at all."""
        return self.sslmode in ("require", "verify-ca", "verify-full")

    @property
    def where(self) -> str:
        """Host and port for a person."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def read_target(url: str) -> Target:
    """Read a connection URL; variables such as PGSSLMODE and a password file complete it.

    Raises OpsError `database-url` (exit 2); it does not repeat the URL. Service files are not
    read, and a URL that names one is refused.
    """
    try:
        given = conninfo.conninfo_to_dict(url)
        port_text = str(given.get("port") or _default("port") or _DEFAULT_PORT).split(",")[0]
        port = int(port_text or _DEFAULT_PORT)
    except (psycopg.Error, ValueError):
        raise OpsError(
            "The database URL was not understood",
            why="it is not a PostgreSQL connection URL",
            hint="it looks like postgresql://USER:PASSWORD@HOST:5432/DATABASE; "
            "encode special characters of the password",
            code="database-url",
        ) from None

    def value(name: str) -> str:
        found = given.get(name)
        return _default(name) if found in (None, "") else str(found)

    if value("service"):
        raise OpsError(
            "The database URL names a service, and service files are not read",
            why="its host, port and user stand elsewhere (pg_service.conf)",
            hint="write them into the URL, and unset PGSERVICE",
            code="database-url",
        )
    address = value("hostaddr").split(",")[0]
    hosts = (value("host") or address or _socket_directory()).split(",")
    host = hosts[0] or _socket_directory()
    user = value("user") or "postgres"
    database = value("dbname") or user
    sslmode = value("sslmode") or "prefer"
    filed = (host if not host.startswith("/") else "localhost", str(port), database, user)
    return Target(
        host=host,
        port=port,
        user=user,
        database=database,
        password=value("password") or _filed_password(value("passfile"), filed),
        sslmode=sslmode,
        root_certificate=_existing(value("sslrootcert"), "root.crt"),
        client_certificate=_existing(value("sslcert"), "postgresql.crt"),
        client_key=_existing(value("sslkey"), "postgresql.key"),
        options=value("options"),
        host_address=address,
        more_hosts=len(hosts) - 1,
    )


def _default(name: str) -> str:
    for option in pq.Conninfo.get_defaults():
        if option.keyword == name.encode():
            return option.val.decode() if option.val is not None else ""
    return ""


def _socket_directory() -> str:
    found = [each for each in _SOCKET_DIRECTORIES if Path(each).is_dir()]
    return found[0] if found else "localhost"


def _existing(given: str, name: str) -> str:
    """Return the file that libpq would use: the one given, or its own default if it is there."""
    if given:
        return given
    usual = Path(os.path.expanduser("~/.postgresql")) / name  # noqa: PTH111
    return str(usual) if usual.is_file() else ""


def _filed_password(file: str, wanted: tuple[str, ...]) -> str:
    """Return the password that libpq would find in its password file; empty where none fits."""
    path = Path(file) if file else Path("~/.pgpass").expanduser()
    try:
        # libpq does not read a file that others may read.
        if sys.platform != "win32" and path.stat().st_mode & 0o077:
            return ""
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError, RuntimeError):
        return ""
    for line in lines:
        parts = [re.sub(r"\\(.)", r"\1", each) for each in _FIELDS.findall(line)]
        if line.startswith("#") or len(parts) < 5:
            continue
        if all(part in ("*", want) for part, want in zip(parts, wanted, strict=False)):
            return parts[4]
    return ""


_FIELDS = re.compile(r"(?:^|(?<=:))((?:\\.|[^:\\])*)(?=:|$)")
