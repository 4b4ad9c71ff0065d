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


def say(line: str) -> None:
    """Write one line of progress to stderr, folded at blanks where a terminal shows it.

    What is folded stands under itself; an address in it is a hyperlink where that is followed.
    """
    if not sys.stderr.isatty():
        say_plainly(line)
        return
    lines = _folded(line)
    if linked(sys.stderr):
        from opsctl.render.links import with_links

        lines = [with_links(each) for each in lines]
    say_plainly("\n".join(lines))


def _folded(line: str) -> list[str]:
    width = width_of(sys.stderr)
    if len(line) <= width:
        return [line]
    import textwrap

    under = " " * (len(line) - len(line.lstrip()) + 2)
    # An address stays in one piece: a terminal finds it by itself then.
    return textwrap.wrap(
        line, width, subsequent_indent=under, break_long_words=False, break_on_hyphens=False
    )


def colored(stream: TextIO) -> bool:
    """Whether colours may be written to `stream`.

    NO_COLOR says no. FORCE_COLOR says yes where nobody sees a terminal, such as in the log of a
    job, and no where it is 0 or false. Otherwise it takes a terminal that is not dumb.
    """
    if os.environ.get("NO_COLOR"):
        return False
    forced = os.environ.get("FORCE_COLOR")
    if forced and _is_our_own(stream):
        return forced.lower() not in _NO
    return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def linked(stream: TextIO) -> bool:
    """Whether hyperlinks may be written to `stream`: some terminals print them as rubbish.

    FORCE_HYPERLINK decides where it is set, 0 and false for no.
    """
    forced = os.environ.get("FORCE_HYPERLINK")
    if forced and _is_our_own(stream):
        return forced.lower() not in _NO
    if not stream.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        return False
    from opsctl.cli.terminals import follows_links

    return follows_links(os.environ)


_NO = ("0", "false")


def _is_our_own(stream: TextIO) -> bool:
    """Whether `stream` is this process's, not one that collects what a plan's look says."""
    return stream in (sys.__stdout__, sys.__stderr__)


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
    sys.stderr.write("\n".join(_folded(question.rstrip())) + " ")
    sys.stderr.flush()
    return sys.stdin.readline().strip()


def _umask() -> int:
    current = os.umask(0o077)
    os.umask(current)
    return current
