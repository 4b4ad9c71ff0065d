"""The settings file that `opsctl init` writes: commented, and valid as it stands."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from opsctl.adapters.project_signs import SignIns, Signs

_HEAD = """\
# Settings of opsctl, written by `opsctl init` from what it found in this repository.
# Every key there is: opsctl config schema. What counts now: opsctl config show --origin.
#
# A secret is never written here, but named by reference: env:NAME, file:PATH,
# keyring:SERVICE/NAME, or cmd:COMMAND for what a command prints.
# Is everything there? opsctl doctor

version: 1
"""


def settings_text(signs: Signs, sign_ins: SignIns, *, name: str, address: str | None) -> str:
    """Return the file's text for one environment; `address` is where the application lives."""
    lines = [_HEAD.rstrip("\n"), "", f"default_environment: {_quoted(name)}", ""]
    if signs.next_app not in (None, "."):
        lines += [
            "# What browsers download: opsctl bundle-check.",
            "bundle:",
            f"  build: {_quoted(f'{signs.next_app}/.next')}",
            "",
        ]
    lines += ["environments:", f"  {_quoted(name)}:", *_environment(signs, sign_ins, name, address)]
    return "\n".join(lines) + "\n"


def _environment(signs: Signs, sign_ins: SignIns, name: str, address: str | None) -> Iterator[str]:
    production = name.lower().startswith("prod")
    yield "    # What cannot be undone here is agreed to by typing the environment's name."
    yield f"    protected: {'true' if production else 'false'}"
    yield ""
    yield from _database(signs)
    yield from _supabase(signs, sign_ins)
    yield from _vercel(signs, sign_ins)
    yield from _github(signs, sign_ins)
    yield from _migrations(signs)
    yield from _health(signs, address)
    yield "    # What is still well; there are more limits."
    yield "    limits:"
    yield "      # Slowest healthy answer, in ms."
    yield "      response_ms: 500.0"
    yield "      # Oldest acceptable newest backup, in hours: the target RPO."
    yield "      backup_age_h: 26.0"


def _database(signs: Signs) -> Iterator[str]:
    direct = signs.direct_url or "DATABASE_URL"
    lines = [
        "database:",
        "  # Connection URL in session mode: the direct host or the session pooler, never 6543.",
        f"  url: {_quoted(f'env:{direct}')}",
    ]
    if signs.pooled_url:
        lines += [
            "  # What the application connects to; only `diagnose` asks it.",
            f"  pooler_url: {_quoted(f'env:{signs.pooled_url}')}",
        ]
    there = bool(signs.supabase or signs.prisma or signs.direct_url)
    yield from _section("Its PostgreSQL.", lines, there=there)


def _supabase(signs: Signs, sign_ins: SignIns) -> Iterator[str]:
    ref = signs.supabase_ref or "abcdefghijklmnopqrst"
    lines = [
        "supabase:",
        f"  ref: {_quoted(ref)}",
        f"  url: {_quoted(f'https://{ref}.supabase.co')}",
        "  # Management API token: https://supabase.com/dashboard/account/tokens",
        f"  access_token: {_quoted(sign_ins.supabase)}",
    ]
    for key, names in _KEYS:
        variable = next((each for each in names if each in signs.variables), None)
        if variable is not None:
            lines.append(f"  {key}: {_quoted(f'env:{variable}')}")
    title = "Its Supabase project."
    if signs.supabase and not signs.supabase_ref:
        title += " Its reference was not found: `supabase link` writes it down."
    yield from _section(title, lines, there=signs.supabase_ref is not None)


_KEYS = (
    (
        "publishable_key",
        (
            "NEXT_PUBLIC_SUPABASE_PUBLISHABLE_KEY",
            "SUPABASE_PUBLISHABLE_KEY",
            "NEXT_PUBLIC_SUPABASE_ANON_KEY",
            "SUPABASE_ANON_KEY",
        ),
    ),
    ("secret_key", ("SUPABASE_SECRET_KEY", "SUPABASE_SERVICE_ROLE_KEY")),
)


def _vercel(signs: Signs, sign_ins: SignIns) -> Iterator[str]:
    link = signs.vercel
    lines = ["vercel:", f"  project: {_quoted(link.project if link else 'web')}"]
    if link is not None and link.team:
        lines.append(f"  team: {_quoted(link.team)}")
    lines += [
        "  # Access token: https://vercel.com/account/settings/tokens",
        f"  token: {_quoted(sign_ins.vercel)}",
    ]
    yield from _section("Its Vercel project.", lines, there=link is not None)


def _github(signs: Signs, sign_ins: SignIns) -> Iterator[str]:
    lines = [
        "github:",
        f"  repository: {_quoted(signs.repository or 'owner/name')}",
        f"  token: {_quoted(sign_ins.github)}",
    ]
    yield from _section("Its repository.", lines, there=signs.repository is not None)


def _migrations(signs: Signs) -> Iterator[str]:
    found = {"supabase": signs.supabase_migrations, "prisma": signs.prisma_migrations}
    elsewhere = {key: path for key, path in found.items() if path not in (None, _USUAL[key])}
    if elsewhere:
        lines = ["migrations:", *(f"  {key}: {_quoted(path)}" for key, path in elsewhere.items())]
        yield from _section("Where its migrations lie.", lines, there=True)


_USUAL = {"supabase": "supabase/migrations", "prisma": "prisma/migrations"}


def _health(signs: Signs, address: str | None) -> Iterator[str]:
    path = signs.health_path or "/"
    url = f"{(address or 'https://app.example.com').rstrip('/')}{path}"
    lines = ["health:", "  - name: app", f"    url: {_quoted(url)}"]
    title = "What tells whether the application is well."
    if address is None:
        title += " Where it lives was not found: opsctl init --url"
    yield from _section(title, lines, there=address is not None)


def _section(title: str, lines: list[str], *, there: bool) -> Iterator[str]:
    """Yield a section; one that is not there stays as a comment that can be taken in."""
    yield f"    # {title}"
    yield from (f"    {line}" if there else f"    # {line}" for line in lines)
    yield ""


def _quoted(text: object) -> str:
    """Return text as YAML: plain where that is safe, else as JSON, which YAML reads."""
    plain = str(text)
    return plain if _PLAIN.fullmatch(plain) and plain not in _WORDS else json.dumps(plain)


# Without a colon and a space, or a number's first sign: YAML has no other meaning for these.
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./:-]*[A-Za-z0-9_/]")
_WORDS = frozenset(
    each
    for word in ("true", "false", "yes", "no", "on", "off", "null")
    for each in (word, word.title(), word.upper())
)
