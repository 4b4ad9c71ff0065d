"""The sample application's process: started, found again, stopped; never mistaken for another."""

from __future__ import annotations

import http.client
import json
import secrets
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from opsctl.adapters.scratch import free_port, port_is_free, write_private
from opsctl.core.process import start_daemon
from opsctl.sandbox.waiting import end, wait_until_up

_NAME, _CODE = "The sample application", "sandbox-app"
_ANSWER_TIMEOUT_S = 10.0
_ANSWER_BYTES = 65536


class AppProcess:
    """The application of one sandbox folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def port(self) -> int | None:
        """The port it listens on, which it keeps from start to start; None before the first."""
        try:
            return int((self.folder / "app.port").read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None

    @property
    def pid(self) -> int | None:
        """Its process, as it says itself, or None where it does not answer.

        After a reboot the number in `app.pid` and the port may both be somebody else's.
        """
        port, name = self.port, self._name()
        if port is None or name is None:
            return None
        said = ask_page(port, "/.sandbox")
        return int(said["pid"]) if said is not None and said.get("name") == name else None

    def ills(self) -> tuple[str, ...]:
        """Return what its endpoints say is wrong; nothing when it is healthy."""
        port = self.port
        found = []
        for path in ("/api/health", "/api/selftest") if port is not None else ():
            said = ask_page(port or 0, path)
            if said is None:
                found.append(f"{path} does not answer")
            elif said.get("status") != "pass":
                found.append(str(said.get("output")))
        return tuple(dict.fromkeys(found))

    def start(self) -> None:
        """Start it and wait until it answers; raises OpsError `sandbox-app` (exit 3)."""
        port = self.port
        if port is None or not port_is_free(port):
            port = free_port()
            write_private(self.folder / "app.port", f"{port}\n")
        write_private(self.folder / "app.name", secrets.token_hex(16) + "\n")
        log = self.folder / "app.log"
        started = start_daemon(
            [sys.executable, "-m", "opsctl.sandbox.app", str(self.folder), str(port)],
            log=str(log),
            cwd=str(self.folder),
        )
        write_private(self.folder / "app.pid", f"{started}\n")
        wait_until_up(lambda: self.pid, name=_NAME, log=log, code=_CODE)

    def stop(self) -> bool:
        """Stop it and wait until it is gone; return whether it ran."""
        ran = end(lambda: self.pid, name=_NAME, code=_CODE)
        (self.folder / "app.pid").unlink(missing_ok=True)
        return ran

    def _name(self) -> str | None:
        try:
            return (self.folder / "app.name").read_text(encoding="utf-8").strip() or None
        except FileNotFoundError:
            return None


def ask_page(
    port: int,
    path: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: Mapping[str, Any] | None = None,
) -> dict[str, Any] | None:
    """Return the JSON object that a page answers with, whatever its status; None if none.

    With a body it is a POST.
    """
    # Never through a proxy of the environment: this is loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        try:
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}{path}",
                data=None if body is None else json.dumps(body).encode(),
                headers={"Content-Type": "application/json", **(headers or {})},
            )
            answer = opener.open(request, timeout=_ANSWER_TIMEOUT_S)
        except urllib.error.HTTPError as error:
            answer = error  # its body is the answer
        with answer:
            said = json.loads(answer.read(_ANSWER_BYTES))
    except (OSError, ValueError, http.client.HTTPException):
        return None  # nobody there, or somebody who is not ours
    return said if isinstance(said, dict) else None
