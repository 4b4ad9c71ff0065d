"""One environment of a team, driven by several machines, and the proof that nothing was lost."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from opsctl.adapters.team_journal import TeamJournal
from opsctl.adapters.team_server import TeamServer
from opsctl.core.journal import audit
from opsctl.core.state_place import TeamState

DRIVER = Path(__file__).parent / "driver.py"
SOURCE = Path(__file__).parent.parent.parent / "src"
STEPS = ["one", "two", "blind", "four", "five"]
LEASE_S = 0.6


class Lost(AssertionError):
    """A step was lost, done twice or beside another, or the journal is not whole."""


class World:
    """One environment: its effects in a folder, its record in a database."""

    def __init__(self, folder: Path, url: str, *, lease_s: float = LEASE_S) -> None:
        folder.mkdir()
        self.folder = folder
        self.url = url
        self.lease_s = lease_s

    def begin(
        self, verb: str, actor: str, *, prefix: tuple[str, ...] = (), url: str = ""
    ) -> subprocess.Popen[str]:
        env = {**os.environ, "PYTHONPATH": str(SOURCE), "TEAM_STATE": url or self.url}
        argv = [*prefix, sys.executable, str(DRIVER), str(self.folder), verb, actor]
        return subprocess.Popen([*argv, str(self.lease_s)], env=env, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True)  # fmt: skip

    def drive(self, verb: str, actor: str, *, prefix: tuple[str, ...] = ()) -> tuple[int, str]:
        running = self.begin(verb, actor, prefix=prefix)
        out, _ = running.communicate(timeout=120)
        return running.returncode, out.strip()

    def finish(self, actor: str = "bob@desk") -> None:
        """Finish the run as another machine does, answering for the step that has no check."""
        for _ in range(3):
            code, said = self.drive("resume", actor)
            if code == 0:
                return
            if said != "step-unknown":
                raise Lost(f"exit {code}: {said}")
            self.drive("resolve", actor)

    @property
    def effects(self) -> list[str]:
        path = self.folder / "effects"
        return path.read_text().split() if path.exists() else []

    def prove(self, about: object) -> None:
        """Raise Lost where an effect is missing, stands twice, met another, or a row is lost."""
        overlaps = self.folder / "overlaps"
        journal = TeamJournal(TeamServer(TeamState(self.url)))
        found = audit(journal.rows(), last_seq=journal.last_seq())
        kinds = [event.kind for event in journal.events()]
        settled = {event.step for event in journal.events()
                   if event.kind in ("verified", "resolved")}  # fmt: skip
        journal.close()
        if self.effects != STEPS or overlaps.exists():
            raise Lost(f"{about}: effects {self.effects}, overlapped: {overlaps.exists()}")
        if found.broken_seq is not None or kinds.count("finished") != 1 or settled != {*STEPS}:
            raise Lost(f"{about}: the journal says {kinds}, broken at {found.broken_seq}")


def wait_for_effects(world: World, count: int) -> None:
    deadline = time.monotonic() + 30
    while len(world.effects) < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def login(url: str, role: str, group: str | None) -> str:
    """Make a login role of a group and return its address."""
    word = "pw" + role
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute(f"DROP ROLE IF EXISTS {role}".encode())
        owner.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{word}'".encode())
        if group:
            owner.execute(f"GRANT {group} TO {role}".encode())
    parts = urlsplit(url)
    return parts._replace(netloc=f"{role}:{word}@{parts.netloc.rpartition('@')[2]}").geturl()
