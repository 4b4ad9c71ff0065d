"""What a person sees beside the result: progress and questions, all of it on stderr."""

from __future__ import annotations

import os
import sys

from opsctl.core.errors import Exit, OpsError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import TextIO


def write_result(text: str, *, output: Path | None) -> None:
    """Write a command's result to stdout, or atomically to the file `output`.

    What is no regular file is written into and stays what it is: a new file in the place of
    /dev/null or of a pipe would break every other program. A link stays, too.

    Raises OpsError `output-failed` (exit 2) where the file cannot be written. A closed or full
    stdout raises OSError, which the front door turns into an exit code.
    """
    if not text.endswith("\n"):
        text += "\n"
    if output is None:
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    import tempfile

    try:
        if output.exists() and not output.is_file():
            # A device or a pipe is written to: for root, a file would take the place of /dev/null.
            with output.open("w", encoding="utf-8") as file:
                file.write(text)
            return
        if output.is_symlink():
            output = output.resolve()
        descriptor, name = tempfile.mkstemp(dir=output.parent, prefix=f".{output.name}.")
        temporary = output.with_name(os.path.basename(name))  # noqa: PTH119 - a plain word
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(output)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise OpsError(
            f"The file {output} was not written",
            why=error.strerror or type(error).__name__,
            hint="give another --output FILE; the command itself had already ended",
            code="output-failed",
        ) from None


def give_up_on_stdout() -> int:
    """Return the exit code for a stdout that takes no more, after one line on stderr.

    A closed pipe is silent: its reader has seen enough. The descriptor is pointed at the null
    device, or the interpreter would complain again while it shuts down.
    """
    error = sys.exc_info()[1]
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    if isinstance(error, BrokenPipeError):
        return int(Exit.OK)
    why = error.strerror if isinstance(error, OSError) else type(error).__name__
    say_plainly(f"opsctl: the result could not be written: {why}")
    return int(Exit.UNKNOWN)


def say_plainly(line: str) -> None:
    """Write one line to stderr; a stderr that takes no more is nobody's news."""
    try:
        sys.stderr.write(line + "\n")
        sys.stderr.flush()
    except OSError:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 2)


def colored(stream: TextIO) -> bool:
    """Whether escape sequences may be written to `stream`."""
    return (
        stream.isatty()
        and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM", "dumb") != "dumb"
    )


def width_of(stream: TextIO) -> int:
    """Columns of `stream`: its terminal's, `COLUMNS` if that is set, or 80."""
    given = os.environ.get("COLUMNS", "")
    if given.isdecimal() and int(given) > 0:
        return min(max(int(given), 40), 200)
    try:
        return min(max(os.get_terminal_size(stream.fileno()).columns, 40), 200)
    except (OSError, ValueError):
        return 80


def can_ask(*, no_input: bool) -> bool:
    """Whether a person is there to answer: stdin and stderr are terminals."""
    no_input = no_input or os.environ.get("OPSCTL_NO_INPUT", "") not in ("", "0")
    return not no_input and sys.stdin.isatty() and sys.stderr.isatty()


def ask(question: str) -> str:
    """Ask on stderr and return the answer without surrounding space; end of input is empty."""
    sys.stderr.write(question)
    sys.stderr.flush()
    return sys.stdin.readline().strip()


def _umask() -> int:
    current = os.umask(0o077)
    os.umask(current)
    return current
