"""A status page of one file, for teams without Statuspage: HTML that asks for nothing else."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from html import escape
from pathlib import Path

from opsctl.areas.incident.facts import Incident, Message
from opsctl.core.errors import Exit, OpsError

_MARK = re.compile(r'<article data-incident="([^"]*)">.*?</article>', re.DOTALL)
_KEY = re.compile(r'data-message="([^"]*)"')
_MOST = 20
_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 44rem; margin: 0 auto; padding: 2rem 1rem;
  overflow-wrap: anywhere; }
article { border: 1px solid #8886; border-radius: 12px; padding: 0 1.2rem; margin: 1rem 0; }
time { color: #767676; font-size: .9em; } b { text-transform: capitalize; }
"""


def read_status_file(path: Path) -> tuple[str, ...]:
    """Return the messages that are on the page, by their references; none where there is none.

    Raises OpsError `status-file` (exit 3) where it cannot be read.
    """
    return tuple(_KEY.findall(_read(path)))


def write_status_file(path: Path, incident: Incident, messages: Sequence[Message]) -> None:
    """Put an incident's messages on the page, in the place of what stood there of it."""
    others = [
        found.group(0) for found in _MARK.finditer(_read(path)) if found.group(1) != incident.id
    ]
    articles = [_article(incident, messages), *others][:_MOST]
    open_ = any('data-state="resolved"' not in each for each in articles)
    head = "There is a problem" if open_ else "All is well"
    text = (
        "<!doctype html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>\n"
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
        "style-src 'unsafe-inline'; img-src data:\">\n"
        f"<link rel='icon' href='data:,'>\n<title>Status</title>\n<style>{_STYLE}</style>\n"
        f"</head>\n<body>\n<main>\n<h1>{head}</h1>\n" + "\n".join(articles)
        + "\n</main>\n</body>\n</html>\n"
    )  # fmt: skip
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f".{path.name}.{os.getpid()}")
        new.write_text(text, encoding="utf-8")
        new.replace(path)
    except OSError as error:
        raise _failed(path, error) from None


def _article(incident: Incident, messages: Sequence[Message]) -> str:
    state = escape(messages[-1].state) if messages else ""
    items = "".join(
        f'<p data-message="{escape(each.key)}"><b>{escape(each.state)}</b> '
        f"<time>{time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime(each.at))}</time><br>"
        f"{escape(each.public)}</p>"
        for each in reversed(messages)
    )
    return (
        f'<article data-incident="{escape(incident.id)}">'
        f'<h2 data-state="{state}">{escape(incident.title)}</h2>{items}</article>'
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise _failed(path, error) from None


def _failed(path: Path, error: Exception) -> OpsError:
    return OpsError(
        "The status file could not be used",
        why=f"{path}: {getattr(error, 'strerror', None) or type(error).__name__}",
        hint="check channels.status_file",
        code="status-file",
        exit=Exit.UNKNOWN,
    )
