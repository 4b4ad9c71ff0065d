"""Turn a reference to a secret into the secret, as late as possible."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import SplitResult, quote, unquote, urlsplit

from opsctl.core.errors import Exit, OpsError
from opsctl.core.process import LOOK, run_program

_CMD_TIMEOUT_S = 30.0
_OWN_TIMEOUT_S = 180.0
"""A vendor's API that asks to wait is waited for."""
_SHORTEST_SCRUBBED = 4


def resolve_secret(reference: str) -> str:
    """Return the secret that `reference` names, without its trailing newline.

    `file:` paths are absolute by the time they get here. `cmd:` splits as a shell would, and
    no shell is started. Raises OpsError `secret-missing` (exit 3); the message holds the
    reference, never a value. `url-password:REFERENCE` is the password within a URL; opsctl
    makes such references itself, for programs that take the password apart. In the same way
    `url-database:NAME:REFERENCE` is the URL of the server's database NAME, percent-encoded, and
    `bearer:REFERENCE` is the value of an Authorization header, and `own:WORDS` is what this opsctl
    prints when it is called with these words.
    """
    kind, _, rest = reference.partition(":")
    if kind == "bearer":
        return f"Bearer {resolve_secret(rest)}"
    if kind == "url-database":
        name, _, inner = rest.partition(":")
        return url_with_database(resolve_secret(inner), unquote(name))
    if kind == "url-password":
        return _password_of(resolve_secret(rest))
    reader = {"env": _from_env, "file": _from_file, "keyring": _from_keyring, "cmd": _from_cmd,
              "own": _from_own}  # fmt: skip
    if kind not in reader:
        raise OpsError(
            "A secret was not given by reference",
            why="it does not begin with env:, file:, keyring: or cmd:",
            hint="name the secret by reference in the settings, for example env:DATABASE_URL",
            code="secret-not-a-reference",
        )
    secret = reader[kind](rest).rstrip("\r\n")
    if not secret:
        raise _missing(reference, "it is empty")
    return secret


def in_database(reference: str, database: str) -> str:
    """Return the reference to the URL of another database on the same server."""
    return f"url-database:{quote(database, safe='')}:{reference}"


def url_with_database(url: str, database: str) -> str:
    """Return the URL of another database on the same server; also of the key=value form.

    Raises OpsError `database-url` (exit 2).
    """
    if "://" not in url:
        escaped = database.replace("\\", "\\\\").replace("'", "\\'")
        return f"{url} dbname='{escaped}'"
    return _split(url)._replace(path="/" + quote(database, safe="")).geturl()


def without_secrets(text: str, secrets: Iterable[str]) -> str:
    """Return text that came from outside without our secrets, should somebody repeat them.

    Of a URL its password is taken out, too, as written and decoded; of an Authorization header
    its token.
    """
    found: set[str] = set()
    for secret in secrets:
        found |= {secret, secret.removeprefix("Bearer ")}
        if "://" in secret:
            with contextlib.suppress(ValueError):
                password = urlsplit(secret).password or ""
                found |= {password, unquote(password)}
    for each in sorted(found, key=len, reverse=True):
        if len(each) >= _SHORTEST_SCRUBBED:
            text = text.replace(each, "***")
    return text


def _password_of(url: str) -> str:
    return unquote(_split(url).password or "")


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:
        raise OpsError(
            "The database URL was not understood",
            why="its host is no name and no address",
            hint="it looks like postgresql://USER:PASSWORD@HOST:5432/DATABASE; "
            "encode special characters of the password",
            code="database-url",
        ) from None


def _missing(reference: str, why: str) -> OpsError:
    return OpsError(
        f"The secret {reference} could not be read",
        why=why,
        hint=f"set it, or change the reference in the settings: {reference}",
        code="secret-missing",
        exit=Exit.UNKNOWN,
    )


def _from_env(name: str) -> str:
    if name not in os.environ:
        raise _missing(f"env:{name}", "the environment variable is not set")
    return os.environ[name]


def _from_file(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise _missing(f"file:{path}", why or type(error).__name__) from None


def _from_keyring(rest: str) -> str:
    service, _, name = rest.partition("/")
    try:
        import keyring
        import keyring.errors
    except ImportError:
        raise _missing(
            f"keyring:{rest}", "the keyring extra is not installed: pip install 'opsctl[keyring]'"
        ) from None
    try:
        secret = keyring.get_password(service, name)
    except keyring.errors.KeyringError as error:
        raise _missing(f"keyring:{rest}", f"the keyring said {type(error).__name__}") from None
    if secret is None:
        raise _missing(f"keyring:{rest}", "the keyring has no such entry")
    return str(secret)


def _from_own(words: str) -> str:
    done = run_program([LOOK, *shlex.split(words)], timeout_s=_OWN_TIMEOUT_S)
    if done.exit_code != 0:
        raise OpsError(
            "What the step needs could not be read",
            why=done.last_line or f"opsctl {words} ended with exit code {done.exit_code}",
            hint=f"opsctl {words.partition(' ')[0]} status",
            code="secret-missing",
            exit=Exit.UNKNOWN,
        )
    return done.stdout


def _from_cmd(line: str) -> str:
    try:
        argv = shlex.split(line)
    except ValueError:
        argv = []
    if not argv:
        raise _missing(f"cmd:{line}", "it is not a command line")
    done = run_program(argv, timeout_s=_CMD_TIMEOUT_S)
    if done.exit_code != 0:
        raise _missing(f"cmd:{line}", f"the command ended with exit code {done.exit_code}")
    return done.stdout
