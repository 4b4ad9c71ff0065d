"""A real headless Chromium for tests, spoken to in its DevTools protocol through two pipes."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--disable-extensions", "--hide-scrollbars",
    "--remote-debugging-pipe",
)  # fmt: skip
_TIMEOUT_S = 60.0
# Chromium reads commands from descriptor 3 and writes to 4. An interpreter puts the pipes there:
# a preexec_fn would fork in a process that has threads.
_LAUNCHER = """
import os, sys
read, write = os.dup(int(sys.argv[1])), os.dup(int(sys.argv[2]))
read, write = os.dup2(read, 20), os.dup2(write, 21)
os.dup2(read, 3); os.dup2(write, 4)
os.set_inheritable(3, True); os.set_inheritable(4, True)
os.closerange(5, 64)
os.execv(sys.argv[3], sys.argv[3:])
"""


def find_browser() -> str | None:
    """Return the path of a browser of the Chromium family, or None."""
    return next((path for name in PROGRAMS if (path := shutil.which(name))), None)


@dataclass
class Page:
    """What became of one page that was opened."""

    requests: list[str] = field(default_factory=list)
    """Every address asked for, the page's own first."""
    errors: list[str] = field(default_factory=list)
    """Console errors and warnings, exceptions, and requests that failed."""
    received: dict[str, int] = field(default_factory=dict)
    """Bytes of each address as they came over the wire, headers included."""
    width: int = 0
    """Of the content, in CSS pixels; more than the window's is to be scrolled sideways."""


class Browser:
    """One browser; a page at a time, each in a fresh profile without cache."""

    def __init__(self, program: str, folder: Path) -> None:
        ours_read, theirs_write = os.pipe()
        theirs_read, ours_write = os.pipe()
        argv = [sys.executable, "-c", _LAUNCHER, str(theirs_read), str(theirs_write), program,
                *_FLAGS, f"--user-data-dir={folder}", "about:blank"]  # fmt: skip
        self._process = subprocess.Popen(
            argv,
            pass_fds=(theirs_read, theirs_write),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_read)
        os.close(theirs_write)
        self._read, self._write = ours_read, ours_write
        self._buffer = bytearray()
        self._next = 0
        self._session = ""
        self._page = Page()
        self._addresses: dict[str, str] = {}
        self._pending: set[str] = set()
        self._loaded = False

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._write)
        os.close(self._read)
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)

    def open(self, url: str, *, width: int = 1440, height: int = 900, dark: bool = False) -> Page:
        """Open an address in a window of a size and return when nothing is loading any more."""
        self._close_page()
        context = self._ask("Target.createBrowserContext")["browserContextId"]
        target = self._ask("Target.createTarget", url="about:blank", browserContextId=context)
        attached = self._ask("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        self._page, self._addresses, self._pending = Page(), {}, set()
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._ask(f"{domain}.enable")
        self._ask("Network.setCacheDisabled", cacheDisabled=True)
        self._ask(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._ask("Emulation.setEmulatedMedia", features=[scheme])
        self._loaded = False
        self._ask("Page.navigate", url=url)
        self._settle()
        self._page.width = int(self.evaluate("document.documentElement.scrollWidth"))
        return self._page

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression in the page."""
        answer = self._ask(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in answer:
            raise AssertionError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def picture(self, path: Path, *, whole: bool = False) -> None:
        """Write what is seen, or the whole page, as PNG."""
        answer = self._ask("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(answer["data"]))

    def _close_page(self) -> None:
        if self._session:
            self._ask("Page.close")
            self._session = ""

    def _settle(self) -> None:
        """Wait until the page has loaded and nothing was asked for during half a second."""
        quiet_from = time.monotonic()
        until = quiet_from + _TIMEOUT_S
        while time.monotonic() < until:
            message = self._message(0.1)
            if message is not None:
                self._note(message)
            if not self._loaded or self._pending:
                quiet_from = time.monotonic()
            elif time.monotonic() - quiet_from > 0.5:
                return
        raise AssertionError(f"the page did not settle: {sorted(self._pending)}")

    def _ask(self, method: str, **parameters: Any) -> Any:
        self._next += 1
        message = {"id": self._next, "method": method, "params": parameters}
        if self._session and not method.startswith("Target."):
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + _TIMEOUT_S
        while time.monotonic() < until:
            answer = self._message(1.0)
            if answer is None:
                continue
            if answer.get("id") != self._next:
                self._note(answer)
            elif "error" in answer:
                raise AssertionError(f"{method}: {answer['error']}")
            else:
                return answer["result"]
        raise AssertionError(f"the browser did not answer {method}")

    def _message(self, timeout_s: float) -> dict[str, Any] | None:
        while b"\0" not in self._buffer:
            if not select.select([self._read], [], [], timeout_s)[0]:
                return None
            data = os.read(self._read, 1 << 20)
            if not data:
                raise AssertionError(f"the browser ended with {self._process.wait(10)}")
            self._buffer += data
        text, _, rest = bytes(self._buffer).partition(b"\0")
        self._buffer = bytearray(rest)
        message: dict[str, Any] = json.loads(text)
        return message

    def _note(self, message: dict[str, Any]) -> None:
        if message.get("sessionId") != self._session:
            return
        method, given = message["method"], message["params"]
        match method:
            case "Page.loadEventFired":
                self._loaded = True
            case "Network.requestWillBeSent":
                address = given["request"]["url"]
                self._addresses[given["requestId"]] = address
                if not address.startswith("data:"):
                    self._page.requests.append(address)
                    # That a worker's script has come is told to the worker's own session alone.
                    if (given.get("type"), given["initiator"]["type"]) != ("Script", "other"):
                        self._pending.add(given["requestId"])
            case "Network.loadingFinished":
                self._pending.discard(given["requestId"])
                address = self._addresses[given["requestId"]]
                self._page.received[address] = int(given["encodedDataLength"])
            case "Network.loadingFailed":
                self._pending.discard(given["requestId"])
                self._page.errors.append(f"{given['errorText']} {given.get('blockedReason', '')}")
            case "Runtime.exceptionThrown":
                self._page.errors.append(str(given["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if given["type"] in ("error", "warning", "assert"):
                self._page.errors.append(str(given["args"]))
            case "Log.entryAdded" if given["entry"]["level"] in ("error", "warning"):
                self._page.errors.append(given["entry"]["text"])
