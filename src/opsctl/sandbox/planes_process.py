"""The process of the control planes: started, found again, stopped, told what to do wrong."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from opsctl.adapters.scratch import write_private
from opsctl.core.errors import Exit, OpsError
from opsctl.core.process import start_daemon
from opsctl.sandbox.app_process import ask_page
from opsctl.sandbox.planes import new_tokens, read_ports, read_token
from opsctl.sandbox.waiting import end, wait_until_up

_NAME, _CODE = "The process of the control planes", "sandbox-planes"
_KIND = "vercel"
"""Whichever: one process serves them all."""


class PlanesProcess:
    """The control planes of one sandbox folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "planes"

    @property
    def ports(self) -> dict[str, int]:
        """The port of each, by kind; they keep it from start to start."""
        return read_ports(self.folder)

    @property
    def pid(self) -> int | None:
        """The process, as it says itself, or None where it does not answer."""
        said = self._ask(_KIND, "/.sandbox")
        return int(said["pid"]) if said is not None and "pid" in said else None

    def prepare(self) -> None:
        """Make the folder and its tokens, where they are missing."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        for kind, token in new_tokens().items():
            path = self.folder / f"{kind}.token"
            if not path.exists():
                write_private(path, token + "\n")

    def begin(self) -> None:
        """Start it; `wait` says when it answers."""
        self.prepare()
        start_daemon(
            [sys.executable, "-m", "opsctl.sandbox.planes", str(self.folder)],
            log=str(self.folder / "planes.log"),
            cwd=str(self.folder),
        )

    def wait(self) -> None:
        """Wait until it answers; raises OpsError `sandbox-planes` (exit 3)."""
        log = self.folder / "planes.log"
        wait_until_up(lambda: self.pid, name=_NAME, log=log, code=_CODE)

    def stop(self) -> bool:
        """Stop it and wait until it is gone; return whether it ran."""
        return end(lambda: self.pid, name=_NAME, code=_CODE)

    def act(self, kind: str, act: str, data: Mapping[str, Any]) -> dict[str, Any]:
        """Do something to a plane: `fault`, `calm`, or what it offers itself.

        Raises OpsError `no-such-plane`, `plane-refused` (exit 2) or `sandbox-planes` (exit 3).
        """
        if kind not in self.ports:
            raise OpsError(
                f"The control plane {kind!r} is not known",
                why=f"there are {', '.join(sorted(self.ports)) or 'none'}",
                hint="opsctl sandbox up",
                code="no-such-plane",
            )
        said = self._ask(kind, f"/.sandbox/{act}", body=data)
        if said is None:
            raise OpsError(
                "The control planes do not answer",
                why="nobody answered at their port",
                hint="opsctl sandbox up",
                code=_CODE,
                exit=Exit.UNKNOWN,
            )
        if "message" in said:
            raise OpsError(
                f"The control plane {kind} did not do that",
                why=str(said["message"]),
                hint="opsctl sandbox fault --help",
                code="plane-refused",
            )
        return said

    def _ask(
        self, kind: str, path: str, *, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any] | None:
        port = self.ports.get(kind)
        try:
            name = read_token(self.folder, "name")
        except FileNotFoundError:
            return None
        if port is None:
            return None
        return ask_page(port, path, headers={"x-sandbox": name}, body=body)
