"""One variable of a `.env` file: read it, write it, and leave every other line as it is."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

from opsctl.core.errors import Exit, OpsError

_LINE = re.compile(
    r"^(?P<head>\s*(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)\s*=\s*)(?P<rest>.*)$"
)
_PLAIN = re.compile(r"[A-Za-z0-9_./:@%+=,-]*")


def read_variable(path: Path, name: str) -> str | None:
    """Return a variable's value, None where the file or the variable is missing.

    The last line of a name counts. Raises OpsError `env-file` (exit 3) where it cannot be read.
    """
    found = None
    for line in _lines(path) or ():
        match = _LINE.match(line)
        if match and match["name"] == name:
            found = _unquoted(match["rest"])
    return found


def write_variable(path: Path, name: str, value: str | None) -> None:
    """Give a variable a value, or with None take it away.

    Every line of the name is replaced in its place, or one is added at the end. The file is
    replaced as a whole; it keeps its mode, and a new one is nobody else's to read. Raises
    OpsError `env-file` (exit 3).
    """
    lines, done = [], False
    for line in _lines(path) or ():
        match = _LINE.match(line)
        if match is None or match["name"] != name:
            lines.append(line)
        elif value is not None:
            lines.append(match["head"] + _quoted(value))
            done = True
    if value is not None and not done:
        lines.append(f"{name}={_quoted(value)}")
    real = path.resolve()  # a link stays one
    try:
        mode = real.stat().st_mode & 0o777 if real.exists() else 0o600
        descriptor, new = tempfile.mkstemp(prefix=f".{real.name}.", dir=real.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
                file.write("".join(f"{line}\n" for line in lines))
                file.flush()
                os.fsync(file.fileno())
            Path(new).chmod(mode)
            Path(new).replace(real)
        except BaseException:
            Path(new).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise _failed(path, "written", error) from None


def _lines(path: Path) -> list[str] | None:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [line.rstrip("\n") for line in file]
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise _failed(path, "read", error) from None


def _unquoted(rest: str) -> str:
    rest = rest.strip()
    if rest[:1] in ("'", '"'):
        end = rest.find(rest[0], 1)
        inner = rest[1:end] if end > 0 else rest[1:]
        return inner.replace('\\"', '"').replace("\\\\", "\\") if rest[0] == '"' else inner
    return re.split(r"\s+#", rest, maxsplit=1)[0].rstrip()


def _quoted(value: str) -> str:
    if _PLAIN.fullmatch(value):
        return value
    if "'" not in value and "\n" not in value:
        return f"'{value}'"
    raise OpsError(
        "A value cannot be written into a .env file",
        why="it holds a quote or a line break, which programs read in different ways",
        hint="keep it elsewhere: in rotation.sinks of the settings",
        code="env-file",
        exit=Exit.UNKNOWN,
    )


def _failed(path: Path, what: str, error: Exception) -> OpsError:
    why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
    return OpsError(
        f"The file {path} could not be {what}",
        why=why or type(error).__name__,
        hint="may this user read and write it, and its directory?",
        code="env-file",
        exit=Exit.UNKNOWN,
    )
