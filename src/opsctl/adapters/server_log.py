"""Durations in PostgreSQL's own log: plain lines, csvlog or jsonlog, told apart by themselves.

They come from log_min_duration_statement, log_min_duration_sample or auto_explain. Lines that are
not understood are passed over: a log holds much else.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import NamedTuple, TextIO

from opsctl.core.errors import OpsError

_LONGEST_LINE = 1_000_000
_DURATION = re.compile(
    r"duration: (\d{1,12}\.\d{1,6}) ms  (?:(statement|execute|plan)\b[^:]{0,200}:\s?(.*))",
    re.DOTALL,
)
_PLAIN_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(\.\d{1,6})? ?(UTC|GMT|Z|[+-]\d\d(?::?\d\d)?)(?![\w:])"
)
_CSV_COLUMNS = 23
_AT, _DATABASE, _MESSAGE = 0, 2, 13


class Duration(NamedTuple):
    """One call that was logged."""

    at: float | None
    """When it ended, seconds since the epoch; None where the line's time zone is not known."""
    ms: float
    planned: bool
    """Whether auto_explain wrote it: the executor's time alone, as pg_stat_statements counts."""
    database: str | None
    text: str


@dataclass(frozen=True)
class ServerLog:
    """What was read of a log file."""

    format: str
    """`stderr`, `csvlog` or `jsonlog`."""
    durations: tuple[Duration, ...]


def read_server_log(path: Path) -> ServerLog:
    """Return the durations in a log file, in its order.

    Raises OpsError `log-unreadable` (exit 2) where the file cannot be read.
    """
    try:
        with path.open(encoding="utf-8", errors="replace", newline="") as file:
            first = file.readline(_LONGEST_LINE)
            file.seek(0)
            kind = _kind(first)
            read = {"stderr": _plain, "csvlog": _csv, "jsonlog": _json}[kind]
            return ServerLog(kind, tuple(read(file)))
    except OSError as error:
        raise OpsError(
            "The log was not read",
            why=f"{path}: {error.strerror or type(error).__name__}",
            hint="--log names one of the server's log files",
            code="log-unreadable",
        ) from None


def _kind(first: str) -> str:
    if first.startswith("{"):
        return "jsonlog"
    row = next(csv.reader([first]), [])
    return "csvlog" if len(row) >= _MESSAGE and _PLAIN_TIME.match(row[0]) else "stderr"


def _lines(file: TextIO) -> Iterator[str]:
    while line := file.readline(_LONGEST_LINE):
        yield line


def _plain(file: TextIO) -> Iterator[Duration]:
    plan: Duration | None = None
    for line in _lines(file):
        if plan is not None:
            # auto_explain's text stands in the line that follows, after a tab.
            text = line.strip()
            if text.startswith("Query Text:"):
                plan = plan._replace(text=text.removeprefix("Query Text:").strip())
            yield plan
            plan = None
        place = line.find("duration: ")
        if place < 0 or line[:1] in "\t ":
            continue
        found = _duration(line[place:], _time(line[:place]), None)
        if found is not None and found.planned:
            plan = found
        elif found is not None:
            yield found
    if plan is not None:
        yield plan


def _csv(file: TextIO) -> Iterator[Duration]:
    before = csv.field_size_limit(_LONGEST_LINE)
    try:
        yield from _csv_rows(csv.reader(_lines(file)))
    finally:
        csv.field_size_limit(before)


def _csv_rows(rows: Iterable[list[str]]) -> Iterator[Duration]:
    iterator = iter(rows)
    while True:
        try:
            row = next(iterator)
        except StopIteration:
            return
        except csv.Error:
            continue
        if len(row) >= _CSV_COLUMNS:
            found = _duration(row[_MESSAGE], _time(row[_AT]), row[_DATABASE])
            if found is not None:
                yield found


def _json(file: TextIO) -> Iterator[Duration]:
    for line in _lines(file):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if not isinstance(row, dict):
            continue
        message, at, database = (row.get(name) for name in ("message", "timestamp", "dbname"))
        if isinstance(message, str):
            found = _duration(message, _time(at) if isinstance(at, str) else None,
                              database if isinstance(database, str) else None)  # fmt: skip
            if found is not None:
                yield found


def _duration(message: str, at: float | None, database: str | None) -> Duration | None:
    match = _DURATION.match(message)
    if match is None:
        return None
    text = match[3].strip()
    if match[2] == "plan":
        # The text goes on until the plan begins; its start is all that is needed.
        text = text.removeprefix("Query Text:").strip()
        if text.startswith("{"):
            text = ""
    return Duration(at, float(match[1]), match[2] == "plan", database, text[:1000])


def _time(text: str) -> float | None:
    match = _PLAIN_TIME.search(text)
    if match is None:
        return None
    zone = match[3]
    offset = timedelta()
    if zone[0] in "+-":
        digits = zone[1:].replace(":", "")
        offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:] or 0))
        offset = -offset if zone[0] == "-" else offset
    try:
        moment = datetime.strptime(match[1], "%Y-%m-%d %H:%M:%S").replace(
            tzinfo=UTC if not offset else timezone(offset)
        )
    except ValueError:
        return None
    return moment.timestamp() + float(match[2] or 0)
