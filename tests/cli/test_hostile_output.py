"""Where stdout is a pipe, full or closed, and where nobody wants colour."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

COMMANDS = {
    "no words": ([], 2),
    "help": (["--help"], 0),
    "version": (["--version"], 0),
    "help of a room": (["runs", "--help"], 0),
    "help of a command": (["runs", "resume", "--help"], 0),
    "unknown command": (["nope"], 2),
    "unknown option": (["runs", "list", "--nope"], 2),
    "error as JSON": (["runs", "list", "--nope", "--format", "json"], 2),
    "error as text": (["runs", "list", "--format", "nope"], 2),
}
"""Name -> arguments and the exit code where all is well with stdout."""
ON_STDOUT = ("help", "version", "help of a room", "help of a command")

CASES = pytest.mark.parametrize("name", COMMANDS)
BUFFERING = pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])


@CASES
@pytest.mark.parametrize(
    "environ", [{}, {"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=["plain", "no-color", "dumb"]
)
def test_pipe_gets_no_escape_sequence(name: str, environ: Mapping[str, str]) -> None:
    argv, code = COMMANDS[name]
    done = subprocess.run(
        _argv(argv), capture_output=True, env=_environ(**environ), timeout=30, check=False
    )

    assert (done.returncode, done.stdout.count(b"\x1b"), done.stderr.count(b"\x1b")) == (code, 0, 0)
    assert done.stdout or done.stderr


@CASES
@pytest.mark.parametrize("environ", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=["no-color", "dumb"])
def test_terminal_that_wants_no_color_gets_none(name: str, environ: Mapping[str, str]) -> None:
    argv, code = COMMANDS[name]
    shown, exit_code = _in_a_terminal(argv, {"TERM": "xterm-256color", **environ})

    assert (exit_code, shown.count(b"\x1b")) == (code, 0)
    assert shown


def test_terminal_gets_color() -> None:
    """Or the tests above would hold for a program that has no colour at all."""
    shown, _ = _in_a_terminal(["nope"], {"TERM": "xterm-256color"})

    assert b"\x1b[1;31m" in shown


@pytest.mark.parametrize("name", ON_STDOUT)
@BUFFERING
def test_full_disk_is_one_line_and_exit_3(name: str, unbuffered: str) -> None:
    with Path("/dev/full").open("wb") as full:
        done = _run(name, full.fileno(), unbuffered)

    assert done.stderr == b"opsctl: the result could not be written: No space left on device\n"
    assert done.returncode == 3


@pytest.mark.parametrize("name", ON_STDOUT)
@BUFFERING
def test_closed_pipe_is_silence_and_exit_0(name: str, unbuffered: str) -> None:
    done = _run(name, None, unbuffered)

    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("name", ["error as JSON", "error as text", "unknown command"])
@BUFFERING
def test_error_keeps_its_exit_code_when_nobody_reads(name: str, unbuffered: str) -> None:
    done = _run(name, None, unbuffered)

    assert done.returncode == COMMANDS[name][1]
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr


@CASES
def test_terminal_that_knows_only_ascii_gets_ascii(name: str) -> None:
    argv, code = COMMANDS[name]
    environ = _environ(PYTHONIOENCODING="ascii")
    done = subprocess.run(_argv(argv), capture_output=True, env=environ, timeout=30, check=False)

    assert done.returncode == code
    assert (done.stdout + done.stderr).isascii()


def _argv(argv: list[str]) -> list[str]:
    return [sys.executable, "-m", "opsctl", *argv]


def _environ(**extra: str) -> dict[str, str]:
    left_out = ("NO_COLOR", "FORCE_COLOR", "TERM", "PYTHONUNBUFFERED", "COLUMNS")
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in left_out and not name.startswith("OPSCTL_")
    }
    return {**kept, "TERM": "xterm", **extra}


def _run(name: str, stdout: int | None, unbuffered: str) -> subprocess.CompletedProcess[bytes]:
    """Run a command whose stdout is `stdout`, or a pipe whose reader has gone."""
    write = None
    if stdout is None:
        read, write = os.pipe()
        os.close(read)
    try:
        return subprocess.run(
            _argv(COMMANDS[name][0]),
            stdout=write if stdout is None else stdout,
            stderr=subprocess.PIPE,
            env=_environ(PYTHONUNBUFFERED=unbuffered),
            timeout=30,
            check=False,
        )
    finally:
        if write is not None:
            os.close(write)


def _in_a_terminal(argv: list[str], environ: Mapping[str, str]) -> tuple[bytes, int]:
    """Run with stdout and stderr on one terminal; return what it showed, and the exit code."""
    main, terminal = pty.openpty()
    child = subprocess.Popen(
        _argv(argv),
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=terminal,
        env=_environ(**environ),
    )
    os.close(terminal)
    shown = b""
    try:
        while block := os.read(main, 4096):
            shown += block
    except OSError:
        # Linux says so when the last writer has closed the terminal.
        pass
    finally:
        os.close(main)
    return shown, child.wait(timeout=30)
