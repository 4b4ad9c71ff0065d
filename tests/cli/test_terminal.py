"""What a terminal is shown: colours, hyperlinks, folded progress, and none of it for others."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping

import pytest

from opsctl.cli.terminals import follows_links
from opsctl.render.links import without_color, without_links

DOCTOR = ("doctor", "--offline", "--only", "settings", "--only", "git")
FORCED = {"FORCE_COLOR", "FORCE_HYPERLINK", "NO_COLOR", "CLICOLOR_FORCE"}
KNOWN = {
    *("TERM", "TERM_PROGRAM", "TERM_PROGRAM_VERSION", "VTE_VERSION", "WT_SESSION", "DOMTERM"),
    *("KITTY_WINDOW_ID", "TMUX", "STY", "INSIDE_EMACS", "CI", "TEAMCITY_VERSION", "COLUMNS"),
}


def environment(**more: str) -> dict[str, str]:
    left_out = FORCED | KNOWN
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in left_out and not name.startswith("OPSCTL_")
    }
    return {**kept, "TERM": "xterm-256color", **more}


def piped(*argv: str, **more: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "opsctl", *argv],
        env=environment(**more),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def shown(*argv: str, columns: int = 80, **more: str) -> str:
    """Return what a command shows on a terminal, escape sequences and all."""
    return on_a_terminal([sys.executable, "-m", "opsctl", *argv], columns=columns, **more)


def on_a_terminal(argv: list[str], *, columns: int, typed: bytes = b"", **more: str) -> str:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    child = subprocess.Popen(
        argv, stdin=theirs, stdout=theirs, stderr=theirs, env=environment(**more)
    )
    os.close(theirs)
    os.write(ours, typed)
    said = b""
    try:
        while block := os.read(ours, 65536):
            said += block
    except OSError:
        pass  # so Linux says that the last writer has closed the terminal
    finally:
        os.close(ours)
    child.wait(timeout=30)
    return said.decode().replace("\r\n", "\n")


FOLLOWS: Mapping[str, Mapping[str, str]] = {
    "iTerm": {"TERM_PROGRAM": "iTerm.app", "TERM_PROGRAM_VERSION": "3.4.1"},
    "WezTerm": {"TERM_PROGRAM": "WezTerm", "TERM_PROGRAM_VERSION": "20240203-1"},
    "VS Code": {"TERM_PROGRAM": "vscode", "TERM_PROGRAM_VERSION": "1.95.0"},
    "GNOME": {"VTE_VERSION": "7600"},
    "Windows Terminal": {"WT_SESSION": "0"},
    "kitty": {"TERM": "xterm-kitty"},
    "foot": {"TERM": "foot"},
    "tmux": {"TERM_PROGRAM": "tmux", "TERM_PROGRAM_VERSION": "3.5a", "TMUX": "/tmp/x"},
}
DOES_NOT: Mapping[str, Mapping[str, str]] = {
    "unknown": {},
    "the console of Linux": {"TERM": "linux"},
    "Apple's": {"TERM_PROGRAM": "Apple_Terminal", "TERM_PROGRAM_VERSION": "455"},
    "an old iTerm": {"TERM_PROGRAM": "iTerm.app", "TERM_PROGRAM_VERSION": "3.0.9"},
    "an old VTE": {"VTE_VERSION": "5000"},
    "an old tmux": {"TERM_PROGRAM": "tmux", "TERM_PROGRAM_VERSION": "3.3a"},
    "an old tmux without a name": {"TMUX": "/tmp/x", "VTE_VERSION": "7600"},
    "screen": {"STY": "1.pts", "VTE_VERSION": "7600"},
    "Emacs": {"INSIDE_EMACS": "29", "KITTY_WINDOW_ID": "1"},
    "a job": {"CI": "true", "VTE_VERSION": "7600"},
}


@pytest.mark.parametrize("name", FOLLOWS)
def test_terminals_that_follow_links(name: str) -> None:
    assert follows_links({"TERM": "xterm-256color", **FOLLOWS[name]})


@pytest.mark.parametrize("name", DOES_NOT)
def test_terminals_that_do_not_or_of_which_nothing_is_known(name: str) -> None:
    assert not follows_links({"TERM": "xterm-256color", **DOES_NOT[name]})


NAMES_AN_ADDRESS = ("doctor", "--env", "https://docs.example/a")


def test_links_are_for_terminals_that_follow_them() -> None:
    links = shown(*NAMES_AN_ADDRESS, VTE_VERSION="7600")
    others = [
        shown(*NAMES_AN_ADDRESS),
        shown(*NAMES_AN_ADDRESS, VTE_VERSION="7600", TERM="dumb"),
        shown(*NAMES_AN_ADDRESS, VTE_VERSION="7600", FORCE_HYPERLINK="0"),
        shown(*NAMES_AN_ADDRESS, "--plain", VTE_VERSION="7600"),
    ]

    assert "\x1b]8;id=1;https://docs.example/a\x1b\\" in links
    assert "\x1b]8;" in shown(*NAMES_AN_ADDRESS, FORCE_HYPERLINK="1")
    assert all("\x1b]8" not in each and "https://docs.example/a" in each for each in others)
    assert without_color(without_links(links)) == without_color(others[0]) == others[1]


def test_a_pipe_gets_links_and_colours_only_where_they_are_forced() -> None:
    argv = NAMES_AN_ADDRESS
    _, _, plain = piped(*argv, VTE_VERSION="7600")
    _, _, links = piped(*argv, FORCE_HYPERLINK="1")
    _, _, colors = piped(*argv, FORCE_COLOR="1")
    _, _, neither = piped(*argv, FORCE_COLOR="0", FORCE_HYPERLINK="false")
    _, _, said_plainly = piped(*argv, "--plain", FORCE_COLOR="1", FORCE_HYPERLINK="1")

    assert "\x1b" not in plain + neither + said_plainly
    assert without_links(links) == plain != links
    assert without_color(colors) == plain != colors


def test_no_color_is_stronger_than_forced_color() -> None:
    assert "\x1b" not in "".join(piped("nope", FORCE_COLOR="1", NO_COLOR="1")[1:])
    assert "\x1b" not in shown("nope", FORCE_COLOR="1", NO_COLOR="1")
    assert "\x1b" not in shown("nope", FORCE_COLOR="0")


def test_what_machines_read_is_never_coloured() -> None:
    for format in ("json", "sarif", "junit", "github", "markdown"):
        code, out, _ = piped("doctor", "--offline", "--format", format, FORCE_COLOR="1",
                             FORCE_HYPERLINK="1")  # fmt: skip
        assert code in (0, 1, 3)
        assert out
        assert "\x1b" not in out


def test_colours_are_those_that_are_read_on_light_and_dark() -> None:
    """Letters are in the terminal's own colour or in red; green, yellow and cyan are for signs."""
    said = shown("doctor", "--offline")
    pieces = re.findall(r"\x1b\[([\d;]+)m([^\x1b]*)\x1b\[0m", said)

    assert {code for code, _ in pieces} <= {"1", "2", "32", "36", "1;31", "1;33", "1;35"}
    for code, piece in pieces:
        if code in ("32", "36", "1;33", "1;35"):
            assert not re.search(r"\w", piece), (code, piece)
    assert any(code == "32" for code, _ in pieces)


@pytest.mark.parametrize("columns", [40, 80])
def test_no_colour_alone_says_anything(columns: int) -> None:
    bare = shown("doctor", "--offline", columns=columns, NO_COLOR="1")
    colored = shown("doctor", "--offline", columns=columns)

    strip = re.compile(r"(in|after|of) [\d.,]+ ?\w+|\d[\d.]* (ms|s)\b")
    assert "\x1b" not in bare
    assert strip.sub("", without_color(colored)) == strip.sub("", bare)


BOXES = "".join(map(chr, range(0x2500, 0x2600)))
SPINNERS = "".join(map(chr, range(0x2800, 0x2900)))


def test_a_screen_reader_gets_no_boxes_no_spinners_and_no_escape_sequences() -> None:
    for argv in (("doctor", "--offline"), ("config", "show"), ("runs", "list"), ("nope",)):
        said = shown(*argv, "--plain", VTE_VERSION="7600")

        assert said.strip()
        assert not set(said) & (set(BOXES + SPINNERS) | set("\x1b\r\b✓✗·…"))
        assert all(not line.startswith(" ") and "  " not in line for line in said.splitlines())


SAYS = """
import sys
from opsctl.cli.screen import ask, say
say("    Comparing the schema, the credentials and https://docs.example/a-long-address/of-a-page")
ask("Type the environment's name to go on (production): ")
"""


def test_progress_and_questions_are_folded_at_blanks() -> None:
    argv = [sys.executable, "-c", SAYS]
    wide = on_a_terminal(argv, columns=200, typed=b"x\n").removeprefix("x\n")
    narrow = on_a_terminal(argv, columns=40, typed=b"x\n").removeprefix("x\n")
    lines = narrow.splitlines()

    assert len(wide.splitlines()) == 2
    assert wide.split() == narrow.split()
    assert lines[0] == "    Comparing the schema, the"
    assert lines[1] == "      credentials and"
    assert all(len(line) <= 40 or line.strip().startswith("https://") for line in lines)
