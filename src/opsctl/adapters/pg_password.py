"""Whether a database lets in who shows another password than that of its URL."""

from __future__ import annotations

import socket
from dataclasses import replace
from typing import Literal

from opsctl.adapters.pg_startup import sign_in
from opsctl.adapters.pg_target import read_target

_TIMEOUT_S = 15.0
_WRONG_PASSWORD = ("28P01", "28000")


def try_password(url: str, password: str) -> Literal["taken", "refused", "unknown"]:
    """Sign in with the URL's user and this password, and hang up. Raises as `read_target`."""
    target = replace(read_target(url), password=password)
    try:
        if target.local:
            opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            opened.settimeout(_TIMEOUT_S)
            opened.connect(f"{target.host}/.s.PGSQL.{target.port}")
        else:
            where = (target.host_address or target.host, target.port)
            opened = socket.create_connection(where, timeout=_TIMEOUT_S)
    except OSError:
        return "unknown"
    found = sign_in(target, opened, timeout_s=_TIMEOUT_S)
    if found.wire is not None:
        found.wire.close()
    if found.ending == "ready":
        # A server that asks for no password has not taken this one.
        return "taken" if found.method not in ("", "none") else "unknown"
    wrong = found.refusal is not None and found.refusal.sqlstate in _WRONG_PASSWORD
    return "refused" if wrong or found.ending == "impostor" else "unknown"
