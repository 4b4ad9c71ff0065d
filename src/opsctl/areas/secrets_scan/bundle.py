"""Scan what browsers download: for secrets of every kind, and for the project's own values."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from opsctl.adapters.secret_scanner.patterns import Patterns
from opsctl.adapters.secret_scanner.public_names import PUBLIC_PREFIXES
from opsctl.adapters.secret_scanner.reading import NotScanned, read_file
from opsctl.adapters.secret_scanner.scanner import Found
from opsctl.adapters.secret_scanner.variables import private_values, variables
from opsctl.areas.secrets_scan.crew import Work, scan_files
from opsctl.areas.secrets_scan.facts import Asked, Facts
from opsctl.areas.secrets_scan.tree import Target, list_targets
from opsctl.core.errors import OpsError

if TYPE_CHECKING:
    from opsctl.core.call import Call

_CLIENT_PARTS = (".next/static", "out/_next", "dist", "build", "public", ".output/public",
                 ".vercel/output/static", "storybook-static")  # fmt: skip
_ENV_FILES = (".env", ".env.local", ".env.production", ".env.production.local",
              ".env.development.local", ".env.development")  # fmt: skip
_SHORTEST = 8


def scan_bundle(patterns: Patterns, asked: Asked, *, folder: Path, call: Call | None) -> Facts:
    """Scan a built client bundle; raises OpsError `no-such-path` (exit 2).

    The values are those of the variables in the project's .env files and, of the names in them
    and in the settings, in the environment.
    """
    if not folder.is_dir():
        raise OpsError(
            f"There is no directory {folder}",
            why="a bundle is what a build wrote: .next/static, dist, build",
            hint="build the application first, then opsctl secrets-scan --bundle .next/static",
            code="no-such-path",
        )
    listing = list_targets((folder,), ignored=True)
    work = Work(patterns, listing.targets, client=True, ignored=True)
    scanned = scan_files(work, jobs=asked.workers)
    project = call.project if call is not None and call.environment_name else Path()
    values, unread = _values(project, call)
    exact = list(_exact(listing.targets, values)) if values else []
    # The exact value says more than what it looks like.
    places = {(found.path, found.line, found.column) for found in exact}
    kept = [f for f in scanned.found if (f.path, f.line, f.column) not in places]
    note = (
        f"{len(values)} private values of {project.resolve().name or '/'} were searched for, too"
        if values
        else "no values of private variables were found to search for"
    )
    found = sorted((*exact, *kept), key=lambda each: (each.path, each.line, each.column))
    return Facts(
        f"the bundle {folder}",
        tuple(found),
        (*listing.not_scanned, *scanned.not_scanned, *unread),
        files=scanned.files,
        bytes=scanned.bytes,
        engine=patterns.engine,
        notes=(note,),
        rules=len(patterns.rules),
    )


def _values(project: Path, call: Call | None) -> tuple[dict[str, str], tuple[tuple[str, str], ...]]:
    """Return value -> name of the variables that are to stay private, and which files are unread.

    Those are (path, why): what stands in them was not searched for.
    """
    found: dict[str, str] = {}
    unread: list[tuple[str, str]] = []
    public: set[str] = set()
    for name in _ENV_FILES:
        path = project / name
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            continue
        except OSError as error:
            unread.append((name, error.strerror or type(error).__name__))
            continue
        for key, value in variables(text):
            if key.startswith(PUBLIC_PREFIXES):
                public.add(value)
            elif key in os.environ and len(os.environ[key]) >= _SHORTEST:
                found.setdefault(os.environ[key], key)
        for key, value in private_values(text).items():
            found.setdefault(value, key)
    for key in _referenced(call):
        value = os.environ.get(key, "")
        if private_values(f"{key}={value}"):
            found.setdefault(value, key)
    return {value: key for value, key in found.items() if value not in public}, tuple(unread)


def _referenced(call: Call | None) -> set[str]:
    """Return the variables that the settings name as secrets, but for the public key."""
    if call is None:
        return set()
    text = call.settings.model_dump_json(exclude={"secrets_scan"})
    names = set(re.findall(r'"env:([A-Za-z_][A-Za-z0-9_]*)"', text))
    for environment in call.settings.environments.values():
        supabase = environment.supabase
        if supabase is not None and supabase.publishable_key is not None:
            names.discard(supabase.publishable_key.removeprefix("env:"))
    return names


def _exact(targets: list[Target], values: Mapping[str, str]) -> Iterator[Found]:
    """Yield where a value stands: as it is, escaped for JSON, percent-encoded, or in base64."""
    forms: dict[bytes, str] = {}
    for value in values:
        for form in _forms(value):
            forms.setdefault(form, value)
    pattern = re.compile(b"|".join(map(re.escape, sorted(forms, key=len, reverse=True))))
    least = [form[:_SHORTEST] for form in forms]
    for target in targets:
        try:
            for piece in read_file(target.path):
                data = bytes(piece.data)
                if not any(start in data for start in least):
                    continue
                for match in pattern.finditer(data):
                    if match.end() <= piece.skip:
                        continue
                    value = forms[match[0]]
                    before = data[: match.start()]
                    yield Found(
                        rule="private-variable-in-bundle",
                        title=f"Value of the private variable {values[value]}",
                        severity="critical",
                        confidence="high",
                        next=f"replace it, and read {values[value]} on the server alone",
                        path=target.shown,
                        line=piece.lines_before + before.count(b"\n") + 1,
                        column=len(before) - before.rfind(b"\n"),
                        secret=value,
                        public="client",
                    )
        except NotScanned:
            # Named already by the scan for other secrets.
            continue


def _forms(value: str) -> set[bytes]:
    import json
    from urllib.parse import quote

    raw = value.encode()
    forms = {raw, json.dumps(value)[1:-1].encode(), quote(value, safe="").encode()}
    if len(raw) >= 16:
        # The middle of it in base64, wherever in the text it began.
        for shift in range(3):
            encoded = base64.b64encode(b"\0" * shift + raw)
            forms.add(encoded[4 if shift else 0 :].rstrip(b"=")[:-2])
    return {form for form in forms if len(form) >= _SHORTEST}
