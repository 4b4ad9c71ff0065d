"""The main screens at 40 and 80 columns, and the documents' pictures of them, in real sandboxes.

The tutorial's screens have a test of their own.
"""

from __future__ import annotations

import fcntl
import html
import json
import os
import pty
import re
import shlex
import shutil
import struct
import subprocess
import sys
import termios
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from test_tutorial import alike, follows

ROOT = Path(__file__).parent.parent
SCREENS = (
    "status",
    "doctor",
    "healthcheck run",
    "rollback status",
    "rollback db --dry-run",
    "rollback app status",
    "rollback app --dry-run --accept-schema",
    "backup create --verify --yes",
    "backup list",
    "restore db --dry-run",
    "slowquery check --since start",
    "rls-smoke",
    "rotate-keys plan",
    "rotate-keys status",
    "maintenance list",
    "maintenance review list",
    "incident list",
    "incident show",
    "diagnose db",
    "secrets-scan",
    "runs list",
    "runs audit",
    "drill list",
    "runbook list",
)
"""Looked at in this order; each of them in the sandbox."""


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Path]:
    """A directory with a new sandbox in it, and one incident that is over."""
    opened = 'incident open --severity P3 --title "A slow page" --yes'
    resolved = 'incident resolve "It was the cache" --yes'
    try:
        for line in ("sandbox up", f"{opened} --env sandbox", f"{resolved} --env sandbox"):
            done = on_a_terminal(f"opsctl {line}", tmp_path, columns=80)
            assert done[0] == 0, done[1]
        yield tmp_path
    finally:
        on_a_terminal("opsctl sandbox down", tmp_path, columns=80)


def on_a_terminal(line: str, folder: Path, *, columns: int, typed: str = "") -> tuple[int, str]:
    """Return the exit code and all that stood on a terminal that shows no colours."""
    known = ("PATH", "HOME", "TMPDIR", "LANG")
    environment = {name: os.environ[name] for name in known if name in os.environ}
    environment |= {"TERM": "xterm", "NO_COLOR": "1", "PYTHONIOENCODING": "utf-8"}
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 60, columns, 0, 0))
    argv = [sys.executable, "-m", *shlex.split(line)]
    child = subprocess.Popen(
        argv, cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    said = b""
    try:
        while block := os.read(ours, 65536):
            said += block
            if typed and said.endswith(b"] "):
                os.write(ours, typed.encode())
                typed = ""
    except OSError:
        pass  # so Linux says that the last writer has closed the terminal
    finally:
        os.close(ours)
    return child.wait(timeout=60), said.decode().replace("\r\n", "\n")


def bare(text: str) -> str:
    """Return text without blanks and without the marks that stand at folded lines."""
    return re.sub(r"[\s│]+", "", text)


def words_of(document: Any) -> Iterator[str]:
    """Yield what a person must be able to read of a result in JSON: findings, or a plan's steps."""
    plan = document["data"].get("plan")
    if plan is not None:
        yield from (step["title"] for step in plan["steps"])
        yield from (f"{loss['kind']} {loss['name']}" for loss in plan["losses"])
        yield from plan["notes"]
    for finding in document["findings"]:
        yield finding["title"]
        if finding["status"] != "ok":
            yield from (finding["evidence"], finding["hint"])


def cells_of(markdown: str) -> Iterator[str]:
    """Yield every word in the cells of a result in Markdown; the findings are left out."""
    for block in markdown.split("\n\n"):
        lines = [line for line in block.splitlines() if line.startswith("|")]
        if lines and "| finding |" not in lines[0]:
            for line in lines[2:]:
                text = html.unescape(re.sub(r"\\(.)", r"\1", line))
                yield from re.findall(r"[\w.:/-]*\w[\w.:/-]*", re.sub(r"<[a-z/]+>", " ", text))


@pytest.mark.parametrize("columns", [40, 80])
def test_main_screens_keep_to_the_width_and_lose_nothing(sandbox: Path, columns: int) -> None:
    also = " --also json=result.json --also markdown=result.md"
    for screen in SCREENS:
        line = f"opsctl {screen} --env sandbox"
        code, shown = on_a_terminal(line + also, sandbox, columns=columns)
        document = json.loads((sandbox / "result.json").read_text())

        assert code in (0, 1, 3), shown
        assert document["error"] is None, line
        for each in shown.splitlines():
            assert cell_len(each) <= columns, f"{line}: {each}"
            assert each == each.rstrip(), f"{line}: {each!r}"
        # A time stands at the right of a title's first line where there is room for it.
        joined = bare(re.sub(r"  +[\d.]+ (ms|s|min)$", "", shown, flags=re.MULTILINE))
        for said in words_of(document):
            assert bare(said) in joined or columns == 80, f"{line}: {said}"
            assert all(bare(word) in joined for word in said.split()), f"{line}: {said}"
        for word in cells_of((sandbox / "result.md").read_text()):
            assert bare(word) in bare(shown), f"{line}: {word}"


def test_the_readme_s_screen_is_the_program_s(sandbox: Path) -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    blocks = re.findall(r"```console\n\$ (.*?)\n(.*?)```", text, re.DOTALL)

    assert len(blocks) == 1
    line, screen = blocks[0]
    code, printed = on_a_terminal(line, sandbox, columns=80, typed="n\n")
    lines, shown = (
        [
            alike(re.sub(r":\d{4,5}\b", ":NUMBER", each))
            for each in text.splitlines()
            if each.strip()
        ]
        for text in (printed, screen)
    )
    begin = lines.index(shown[0])  # what is said of the work before it is not shown
    lines = [re.sub(r"(\[y/N\]).*", r"\1", each) for each in lines[begin:]]

    assert follows(shown, lines) == "", printed
    assert shown[-1].endswith("[y/N]")
    assert code == 5


def test_every_screen_of_the_documents_has_a_test() -> None:
    """One that is added to another page is to be compared, too."""
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "runbooks").glob("*.md")]
    with_screens = set()
    for page in pages:
        for block in re.findall(r"```console\n(.*?)```", page.read_text("utf-8"), re.DOTALL):
            if any(not line.startswith("$ ") for line in block.splitlines() if line.strip()):
                with_screens.add(page.name)
    pictures = {path.stem for path in (ROOT / "docs").glob("*.svg")}

    assert with_screens == {"README.md", "tutorial.md"}
    assert pictures == set(recorded().SESSIONS)


def recorded() -> Any:
    """Return the module that records the pictures."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("record", ROOT / "docs" / "record.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


COLUMN_PX = 12.2
"""What Rich draws a sign as wide as."""


def drawn(svg: str) -> list[str]:
    """Return the lines of a picture of a terminal."""
    lines: dict[int, dict[int, str]] = defaultdict(dict)
    parts = r'<text [^>]*? x="([\d.]+)"[^>]*clip-path="url\(#[^)]*-line-(\d+)\)"[^>]*>(.*?)</text>'
    for x, line, text in re.findall(parts, svg):
        lines[int(line)][round(float(x) / COLUMN_PX)] = html.unescape(text).replace("\xa0", " ")
    found = []
    for _, pieces in sorted(lines.items()):
        text = ""
        for column, piece in sorted(pieces.items()):
            text = text.ljust(column) + piece
        found.append(text.rstrip())
    return found


@pytest.mark.parametrize("name", ["rotate-keys", "rollback-app"])
def test_the_pictures_show_what_happens(tmp_path: Path, name: str) -> None:
    """Drawn anew by `python docs/record.py`."""
    record = recorded()
    _, lines = record.SESSIONS[name]
    picture = drawn((ROOT / "docs" / f"{name}.svg").read_text("utf-8"))
    try:
        for line in record.BEFORE:
            record.run(line, tmp_path)
        shown = [(line, record.run(line, tmp_path)) for line in lines]
    finally:
        record.run("opsctl sandbox down", tmp_path)
        shutil.rmtree(tmp_path / ".opsctl", ignore_errors=True)
    now = drawn(record.draw("", shown))

    assert len(picture) > 20
    assert unlike(picture) == unlike(now)


def unlike(lines: list[str]) -> list[str]:
    """Return the words of lines, with what is another one each time left out.

    Where lines are folded does not count: that follows from how long a time or an id is.
    """
    text = " ".join(" ".join(lines).split())
    for pattern, word in (
        (r"\bopsctl_\d{8}_\w+", "KEY"),
        (r"\bsb_(publishable|secret)_[\w-]+", r"sb_\1_VALUE"),
        (r"\b\d{8}-\d{6}-\w+", "RUN"),
        (r"\bdpl_\w+", "DEPLOYMENT"),
        (r"\bsandbox-\w+\.vercel\b", "DEPLOYMENT.vercel"),
        (r"\b\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?\b", "TIME"),
        (r"\b[0-9a-f]{64}\b", "HASH"),
        (r"\b(plan )[0-9a-f]{12}\b", r"\1HASH"),
        (r"\bstamp \d{13}\b", "STAMP"),
        (r"127\.0\.0\.1:\d+", "ADDRESS"),
        (r"\b[\d.,]+ (ms|s|min|h)\b( \d+ s\b)?", "SPAN"),
        (r"\b\d+ of \d+\b", "COUNTS"),
    ):
        text = re.sub(pattern, word, text)
    return text.split()
