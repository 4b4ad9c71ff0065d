"""Where a key's value is read: by its name at Supabase, or by a reference of the settings.

A source is a line of text that a plan may hold; the value is read just before it is needed and
kept nowhere.
"""

from __future__ import annotations

import hashlib
import shlex
from typing import TYPE_CHECKING

from opsctl.adapters.github import GithubApi
from opsctl.adapters.sealed_box import seal
from opsctl.adapters.supabase_keys import SupabaseKeys
from opsctl.core.errors import Exit, OpsError
from opsctl.core.secrets import resolve_secret

if TYPE_CHECKING:
    from opsctl.core.call import Call
    from opsctl.core.rotation import OwnKey
    from opsctl.core.settings import Github, Supabase

DATABASE_PASSWORD = "database-password"  # noqa: S105 - a name
_PLAIN = "{value}"


def supabase_source(kind: str, name: str) -> str:
    """Return the source of a key of the Supabase project."""
    return f"supabase:{kind}:{name}"


def own_source(name: str) -> str:
    """Return the source of the new value of a key of another provider."""
    return f"own:{name}"


def reference_source(reference: str) -> str:
    """Return the source of what a secret reference names."""
    return f"reference:{reference}"


def read_source(call: Call, source: str) -> str:
    """Return the value: a secret. Raises OpsError where it cannot be read."""
    kind, _, rest = source.partition(":")
    if kind == "supabase":
        of, _, name = rest.partition(":")
        return SupabaseKeys(supabase_of(call)).value(of, name)
    if kind == "own":
        return resolve_secret(own_key(call, rest).new)
    if kind == "reference":
        return resolve_secret(rest)
    raise OpsError(
        f"The source {source!r} is not known",
        why="it begins with supabase:, own: or reference:",
        hint="opsctl rotate-keys status",
        code="usage",
    )


def written(value: str, template: str) -> str:
    """Return what a sink holds of a value."""
    return template.replace(_PLAIN, value)


def digest(text: str) -> str:
    """Return the SHA-256, hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def value_reference(
    call: Call, source: str, *, template: str = _PLAIN, seal_for: str | None = None
) -> str:
    """Return the reference by which the engine has a value read, and sealed for a scope."""
    words = ["rotate-keys", "value", "--env", call.name, "--quiet", "--source", source]
    if template != _PLAIN:
        words += ["--in", template]
    if seal_for is not None:
        words += ["--seal-for", seal_for]
    return f"own:{shlex.join(words)}"


def print_value(call: Call, source: str, *, template: str, seal_for: str | None) -> str:
    """Return what `value_reference` stands for."""
    text = written(read_source(call, source), template)
    if seal_for is None:
        return text
    key = GithubApi(github_of(call)).public_key(seal_for or None)
    return seal(text, key.key)


def own_key(call: Call, name: str) -> OwnKey:
    """Return a key of another provider; raises OpsError `no-such-key` (exit 2)."""
    for each in call.environment.rotation.keys:
        if each.name == name:
            return each
    known = ", ".join(each.name for each in call.environment.rotation.keys) or "none"
    raise OpsError(
        f"The key {name!r} is not in the settings",
        why=f"environments.{call.name}.rotation.keys has: {known}",
        hint="add it there; opsctl config schema says how",
        code="no-such-key",
    )


def supabase_of(call: Call) -> Supabase:
    """Return the settings of Supabase; raises OpsError `no-supabase` (exit 2)."""
    settings = call.environment.supabase
    if settings is None or not settings.ref or settings.access_token is None:
        raise _not_set(call, "supabase", "ref and access_token")
    return settings


def github_of(call: Call) -> Github:
    """Return the settings of GitHub; raises OpsError `no-github` (exit 2)."""
    settings = call.environment.github
    if settings is None or settings.token is None:
        raise _not_set(call, "github", "repository and token")
    return settings


def _not_set(call: Call, what: str, keys: str) -> OpsError:
    return OpsError(
        f"The environment {call.name} has no {what} settings to rotate keys with",
        why=f"environments.{call.name}.{what} lacks {keys}",
        hint="add them; opsctl config schema says how",
        code=f"no-{what}",
        exit=Exit.USAGE,
    )
