"""The application's `.env` files: values that no browser may see, and where one is seen."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from opsctl.adapters.secret_scanner.public_names import PUBLIC_PREFIXES

# Compiled when there is such a file: that takes longer than to look for one.
_EXAMPLES = r"(?i)\.(example|sample|template|dist|test|vault)$"
# The expression of the npm package dotenv, which Next.js and Vite read these files with.
_LINE = (
    r"(?m)^[^\S\n]*(?:export\s+)?([\w.-]+)(?:\s*=\s*?|:\s+?)"
    r"(\s*'(?:\\'|[^'])*'|\s*\"(?:\\\"|[^\"])*\"|\s*`(?:\\`|[^`])*`|[^#\r\n]+)?\s*(?:#.*)?$"
)
_REFERENCE = r"(?<!\\)\$(?:\{(\w+)\}|(\w+))"
_SENSITIVE = (
    r"(?i)KEY|SECRET|TOKEN|PASS|PWD|CREDENTIAL|PRIVATE|DSN|SALT|SIGNING|DATABASE_URL|CONNECTION"
)
_FILE_BYTES = 1 << 20
_SHORTEST_SENSITIVE = 6
_SHORTEST = 12


@dataclass(frozen=True)
class PrivateValue:
    """A value that belongs to the server. It is never shown."""

    name: str
    file: str
    sensitive: bool
    """Whether its name says that it is a secret."""
    forms: tuple[bytes, ...]
    """As it may stand in a script."""

    def __repr__(self) -> str:
        """Leave the value out."""
        return f"PrivateValue({self.name!r}, {self.file!r})"


@dataclass(frozen=True)
class Exposure:
    """A private value that stands in something served. The value is not in it."""

    name: str
    env_file: str
    sensitive: bool
    file: str
    line: int
    column: int


def read_private_values(
    project: Path,
) -> tuple[tuple[PrivateValue, ...], tuple[tuple[str, str], ...]]:
    """Return the values of the `.env` files beside package.json that no browser may see.

    The second part are the files that could not be read, and why.

    Left out: names that bundlers publish, values that a public name has, too, and values that
    anything might hold, such as `true`, `production` or a URL without credentials.
    """
    given: dict[tuple[str, str], str] = {}
    closed = []
    for path in sorted(project.glob(".env*")):
        if not path.is_file() or re.search(_EXAMPLES, path.name):
            continue
        try:
            with path.open("rb") as file:
                text = file.read(_FILE_BYTES).decode("utf-8", errors="replace")
        except OSError as error:
            closed.append((path.name, error.strerror or type(error).__name__))
            continue
        for name, value in parse_env(text).items():
            given[name, value] = path.name
    public = {value for (name, value) in given if name.startswith(PUBLIC_PREFIXES)}
    found: dict[tuple[str, str], PrivateValue] = {}
    for (name, value), file_name in given.items():
        sensitive = bool(re.search(_SENSITIVE, name))
        if name.startswith(PUBLIC_PREFIXES) or value in public or not _telling(value, sensitive):
            continue
        forms = {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
        encoded = tuple(sorted(form.encode("utf-8", "replace") for form in forms))
        found[name, value] = PrivateValue(name, file_name, sensitive, encoded)
    return tuple(found.values()), tuple(closed)


def parse_env(text: str) -> dict[str, str]:
    """Return the variables of a `.env` file, with references to others of it filled in."""
    values: dict[str, str] = {}
    for name, raw in re.findall(_LINE, text.replace("\r\n", "\n")):
        value = raw.strip()
        quote = value[:1]
        quoted = len(value) > 1 and quote in "'\"`" and value[-1] == quote
        if quoted:
            value = value[1:-1]
        if quoted and quote == '"':
            value = value.replace("\\n", "\n").replace("\\r", "\r")
        if quote != "'":
            value = re.sub(
                _REFERENCE,
                lambda match: values.get(match.group(1) or match.group(2), match.group(0)),
                value,
            )
        values[name] = value
    return values


def _telling(value: str, sensitive: bool) -> bool:
    if sensitive:
        return len(value) >= _SHORTEST_SENSITIVE and value.lower() not in ("secret", "password")
    if len(value) < _SHORTEST or re.fullmatch(r"https?://[^@\s?#]+", value):
        return False
    return bool(re.search(r"\d", value) and re.search(r"[A-Za-z]", value))


class Lookout:
    """Looks for private values in whatever passes by; may be called from several threads."""

    def __init__(self, values: Iterable[PrivateValue]) -> None:
        self._values = tuple(values)
        self._found: dict[tuple[str, str], Exposure] = {}
        self._lock = threading.Lock()

    def __call__(self, file: str, data: bytes, digest: str) -> None:
        """Look at one file."""
        for each in self._values:
            at = next((at for form in each.forms if (at := data.find(form)) >= 0), None)
            if at is None:
                continue
            line = data.count(b"\n", 0, at) + 1
            column = at - (data.rfind(b"\n", 0, at) + 1) + 1
            exposure = Exposure(each.name, each.file, each.sensitive, file, line, column)
            with self._lock:
                self._found[each.name, file] = exposure

    def spares(self, digest: str) -> bool:
        """Whether there is nothing to look for: values are not remembered, so neither is where."""
        return not self._values

    @property
    def found(self) -> tuple[Exposure, ...]:
        """What was seen, sorted."""
        return tuple(self._found[key] for key in sorted(self._found))
