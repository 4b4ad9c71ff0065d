"""A throw-away PostgreSQL for proofs and drills."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from opsctl.adapters.postgres_programs import (
    Provider,
    choose_provider,
    pg_program,
    providers,
)
from opsctl.adapters.server import Server, free_port, port_is_free, write_private
from opsctl.adapters.server_user import is_root
from opsctl.core.errors import OpsError
from opsctl.core.process import alive

__all__ = [
    "Provider",
    "ScratchServer",
    "Server",
    "choose_provider",
    "free_port",
    "pg_program",
    "port_is_free",
    "providers",
    "scratch_server",
    "write_private",
]


class ScratchServer(Server):
    """A server that is removed with everything in it when its block ends."""

    def create_database(self, name: str | None = None, *, template: str | None = None) -> str:
        """Create a database, empty or as a copy of `template`, and return its URL."""
        import psycopg

        name = name or f"opsctl_{secrets.token_hex(6)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            source = f' TEMPLATE "{template}"' if template else " TEMPLATE template0"
            # FILE_COPY is several times as fast where nothing is flushed; it came with 15.
            copy = " STRATEGY file_copy" if self.provider.major >= 15 else ""
            connection.execute(f'CREATE DATABASE "{name}"{source}{copy}'.encode())
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Drop a database, and whoever is connected to it."""
        import psycopg

        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())


@contextmanager
def scratch_server(
    *,
    at_least: int = 0,
    extensions: Collection[str] = (),
    prefer: str | None = None,
    nearest: bool = False,
) -> Iterator[ScratchServer]:
    """Start a server in a temporary directory; stop and remove it afterwards.

    It is chosen as `choose_provider` says.
    """
    _sweep()
    provider = choose_provider(
        at_least=at_least, extensions=extensions, prefer=prefer, nearest=nearest
    )
    folder = Path(tempfile.mkdtemp(prefix="opsctl-scratch-"))
    (folder / "owner").write_text(str(os.getpid()), encoding="utf-8")
    if is_root():
        folder.chmod(0o711)
    server = ScratchServer(provider, folder / "data")
    try:
        server.create(durable=False)
        server.start()
        yield server
    finally:
        server.stop(mode="immediate")
        shutil.rmtree(folder, ignore_errors=True)


def _sweep() -> None:
    """Remove scratch servers whose owner was killed before it could."""
    for folder in Path(tempfile.gettempdir()).glob("opsctl-scratch-*"):
        if not _is_my_folder(folder):
            continue
        try:
            owner = int((folder / "owner").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if alive(owner):
            continue
        for provider in providers():
            server = ScratchServer(provider, folder / "data")
            with contextlib.suppress(OpsError):
                server.stop(mode="immediate")
                break
        shutil.rmtree(folder, ignore_errors=True)


def _is_my_folder(path: Path) -> bool:
    # Anybody may put a folder or a link of this name into the temporary directory.
    try:
        about = path.lstat()
    except FileNotFoundError:
        return False  # somebody else swept it
    mine = sys.platform == "win32" or about.st_uid == os.geteuid()
    return mine and path.is_dir() and not path.is_symlink()
