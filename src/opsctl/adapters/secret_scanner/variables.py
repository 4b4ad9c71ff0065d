"""Files of variables: names and values, and which of them are to stay private."""

from __future__ import annotations

import re
from collections.abc import Iterator

from opsctl.adapters.secret_scanner.placeholders import is_placeholder, is_weak
from opsctl.adapters.secret_scanner.public_names import PUBLIC_PREFIXES

_LINE = re.compile(r"^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_.]*)\s*=\s*(.*)$", re.MULTILINE)
_TELLING = re.compile(
    r"KEY|SECRET|TOKEN|PASS|PWD|AUTH|CRED|DATABASE_URL|DIRECT_URL|_DSN|PRIVATE|CONN|WEBHOOK|SALT",
    re.IGNORECASE,
)
_PUBLIC_NAME = re.compile(r"PUBLISHABLE|ANON|PUBLIC|SITE_KEY|CLIENT_ID", re.IGNORECASE)


def variables(text: str) -> Iterator[tuple[str, str]]:
    """Yield (name, value) of each assignment; quotes and comments behind a value are left out."""
    for match in _LINE.finditer(text):
        value = match[2].strip()
        if value[:1] in "\"'`" and (end := value.find(value[0], 1)) > 0:
            value = value[1:end]
        else:
            value = re.split(r"\s#", value, maxsplit=1)[0].strip()
        yield match[1], value


def private_values(text: str) -> dict[str, str]:
    """Return name -> value of what is named like a secret, and is one."""
    return {
        name: value
        for name, value in variables(text)
        if not name.startswith(PUBLIC_PREFIXES)
        and not _PUBLIC_NAME.search(name)
        and _TELLING.search(name)
        and len(value) >= 8
        and not is_placeholder(value)
        and not is_weak(value)
        and not re.search(r"//[^@\s]*@?(?:localhost|127\.0\.0\.1)", value)
    }
