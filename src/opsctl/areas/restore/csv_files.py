"""CSV files with a header, checked line by line before a database sees them."""

from __future__ import annotations

import codecs
import csv
import re
from collections import Counter
from collections.abc import Iterator, Set
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from opsctl.core.errors import OpsError

_CHUNK = 1 << 18
_MOST_ERRORS = 20
_LONGEST_FIELD = 16 << 20
_SHOWN = 40


@dataclass(frozen=True)
class CsvFile:
    """One file for one table."""

    table: str
    path: Path
    delimiter: str
    columns: tuple[str, ...]
    skip: int
    """Bytes of a byte order mark."""

    def check(self, known: tuple[str, ...], required: Set[str], generated: Set[str]) -> None:
        """Refuse columns that the table does not have or that are missing, and ragged lines."""
        unknown = [name for name in self.columns if name not in known]
        if unknown:
            raise self._error(f"line 1: the table {self.table} has no column "
                              f"{_short(unknown[0])}; it has {', '.join(known)}")  # fmt: skip
        made = [name for name in self.columns if name in generated]
        if made:
            raise self._error(f"line 1: the column {made[0]} is generated and takes no values")
        missing = sorted(required - set(self.columns))
        if missing:
            raise self._error(f"line 1: the column {missing[0]} is missing: it must have a value "
                              "and has no default")  # fmt: skip
        wrong = list(self._ragged())
        if wrong:
            raise self._error("; ".join(wrong))

    def chunks(self) -> Iterator[bytes]:
        """Yield the file without its byte order mark."""
        with self.path.open("rb") as file:
            file.seek(self.skip)
            while chunk := file.read(_CHUNK):
                yield chunk

    def wrong(self, message: str, context: str) -> OpsError:
        """Return the error for a value that the database refused, by line and column."""
        match = re.search(r"line (\d+)(?:, column ([^:]+))?(?:: (.*))?", context, re.DOTALL)
        where = "" if match is None else f"line {match.group(1)}" + (
            f", column {match.group(2)}" if match.group(2) else ""
        )  # fmt: skip
        value = f": {_short(match.group(3))}" if match is not None and match.group(3) else ""
        return self._error(f"{where or 'somewhere'}{value}: {message}")

    def _ragged(self) -> Iterator[str]:
        csv.field_size_limit(_LONGEST_FIELD)
        found = 0
        with self.path.open("r", encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=self.delimiter, strict=True)
            before = 0
            try:
                for row in reader:
                    at, before = before + 1, reader.line_num
                    if not row:
                        yield f"line {at}: it is empty"
                        found += 1
                    elif len(row) != len(self.columns):
                        yield (f"line {at}: it has {len(row)} fields instead of "
                               f"{len(self.columns)}")  # fmt: skip
                        found += 1
                    elif any("\0" in field for field in row):
                        column = next(name for name, field in zip(self.columns, row, strict=True)
                                      if "\0" in field)  # fmt: skip
                        yield f"line {at}, column {column}: it holds a NUL byte"
                        found += 1
                    if found >= _MOST_ERRORS:
                        return
            except csv.Error as error:
                yield f"line {before + 1}: {error}"

    def _error(self, why: str) -> OpsError:
        return _error(self.path, why)


def read_csv(text: str, *, root: Path) -> CsvFile:
    """Return the file of a `table=path` and its header; raises OpsError `csv` (exit 2)."""
    table, equals, name = text.partition("=")
    if not equals or not table or not name:
        raise OpsError(
            f"The CSV file {_short(text)} has no table",
            why="it looks like table=file.csv",
            hint="opsctl restore tables --csv profiles=profiles.csv",
            code="csv",
        )
    path = (root / Path(name).expanduser()).resolve()
    try:
        with path.open("rb") as file:
            start = file.read(4)
            _check_encoding(path, start)
            skip = 3 if start.startswith(codecs.BOM_UTF8) else 0
            file.seek(skip)
            _check_text(path, file)
    except OSError as error:
        raise _error(path, error.strerror or type(error).__name__) from None
    with path.open("r", encoding="utf-8-sig", newline="") as lines:
        header = lines.readline()
    if not header.strip():
        raise _error(path, "line 1: there is no header")
    delimiter = max(",;\t", key=header.count) if any(c in header for c in ",;\t") else ","
    try:
        columns = tuple(next(csv.reader([header.rstrip("\r\n")], delimiter=delimiter, strict=True)))
    except (csv.Error, StopIteration) as error:
        raise _error(path, f"line 1: {error}") from None
    doubled = next((name for name, times in Counter(columns).items() if times > 1), None)
    if doubled is not None:
        raise _error(path, f"line 1: the column {_short(doubled)} is there twice")
    if any(not name.strip() for name in columns):
        raise _error(path, "line 1: a column has no name")
    return CsvFile(table, path, delimiter, columns, skip)


def _check_encoding(path: Path, start: bytes) -> None:
    for mark in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        if start.startswith(mark):
            raise _error(path, "line 1: it is UTF-16; save it as UTF-8")


def _check_text(path: Path, file: IO[bytes]) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")()
    line = 1
    while chunk := file.read(_CHUNK):
        try:
            decoder.decode(chunk)
        except UnicodeDecodeError as error:
            at = line + chunk[: error.start].count(b"\n")
            raise _error(path, f"line {at}: byte {chunk[error.start]:#04x} is not UTF-8") from None
        line += chunk.count(b"\n")
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        raise _error(path, f"line {line}: it ends within a character") from None


def _error(path: Path, why: str) -> OpsError:
    return OpsError(
        f"The file {path.name} cannot be restored",
        why=why,
        hint="mend the file; nothing was changed",
        code="csv",
    )


def _short(text: str) -> str:
    line = " ".join(text.split())
    return repr(line if len(line) <= _SHOWN else line[: _SHOWN - 3] + "...")
