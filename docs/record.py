"""Record the pictures of terminals in the README from the real program, in a new sandbox.

Run as `python docs/record.py`; it needs a terminal's width alone, and some minutes.
"""

from __future__ import annotations

import io
import os
import pty
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

HERE = Path(__file__).resolve().parent
WIDTH = 96
SESSIONS = {
    "rotate-keys": (
        "Rotating Supabase's keys",
        (
            "opsctl rotate-keys supabase --env sandbox --revoke --yes",
            "opsctl rotate-keys status --env sandbox",
        ),
    ),
    "rollback-app": (
        "Rolling the application back",
        (
            "opsctl rollback app --env sandbox --watch 5 --yes",
            "opsctl rollback app status --env sandbox",
        ),
    ),
}
"""By the picture's name: its title, and the command lines."""
BEFORE = ("opsctl sandbox up", "opsctl rollback db --env sandbox --yes")
"""What is done first, and not shown."""


def main() -> None:
    """Record every session, each in a sandbox of its own."""
    for name, (title, lines) in SESSIONS.items():
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            try:
                for line in BEFORE:
                    run(line, root)
                shown = [(line, run(line, root)) for line in lines]
            finally:
                run("opsctl sandbox down", root)
        (HERE / f"{name}.svg").write_text(draw(title, shown), encoding="utf-8")
        sys.stdout.write(f"{name}.svg\n")


def run(line: str, root: Path) -> str:
    """Run a command line on a terminal of our width, and return what stood on it."""
    argv = [sys.executable, "-m", *shlex.split(line)]
    ours, theirs = pty.openpty()
    os.environ["COLUMNS"] = str(WIDTH)
    child = subprocess.Popen(  # noqa: S603 - opsctl itself
        argv, cwd=root, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, close_fds=True,
        env={**os.environ, "TERM": "xterm-256color"},
    )  # fmt: skip
    os.close(theirs)
    said = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # its other end was closed
            break
        if not part:
            break
        said += part
    os.close(ours)
    if child.wait() not in (0, 1):
        raise SystemExit(f"{line} ended with {child.returncode}:\n{said.decode()}")
    return said.decode()


def draw(title: str, shown: list[tuple[str, str]]) -> str:
    """Return the picture; it loads nothing from anywhere."""
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    for line, said in shown:
        console.print(Text(f"$ {line}", style="bold"))
        console.print(Text.from_ansi(said.replace("\r\n", "\n").rstrip("\n")))
        console.print()
    svg = console.export_svg(title=title)
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)


if __name__ == "__main__":
    main()
