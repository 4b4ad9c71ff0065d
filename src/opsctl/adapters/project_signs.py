"""What a repository says of the platforms that it lives on: files are read, nobody is asked.

Of files with secrets the names of variables are read, and the value of one that is public.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_MOST_BYTES = 1 << 20
_FOLDERS = (".", "apps/*", "packages/*", "web", "app", "frontend")
"""Where applications lie: the repository itself, and the usual places of a monorepo."""
_ENV_FILES = (
    ".env.example", ".env.sample", ".env.template", ".env", ".env.local", ".env.production",
    ".env.production.local",
)  # fmt: skip
_HEALTH_ROUTES = (
    ("app/api/health/route", "/api/health"),
    ("app/api/healthz/route", "/api/healthz"),
    ("app/health/route", "/health"),
    ("app/healthz/route", "/healthz"),
    ("pages/api/health", "/api/health"),
    ("pages/api/health/index", "/api/health"),
    ("pages/api/healthz", "/api/healthz"),
)
_ENDINGS = (".ts", ".js", ".tsx", ".jsx", ".mjs")
_DIRECT = ("DIRECT_URL", "DATABASE_URL_UNPOOLED", "POSTGRES_URL_NON_POOLING", "DIRECT_DATABASE_URL")
"""Variables that by custom hold the URL that does not go through a transaction pooler."""
_POOLED = ("DATABASE_URL", "POSTGRES_PRISMA_URL", "POSTGRES_URL", "SUPABASE_DB_URL")
_VARIABLE = re.compile(r"^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=[ \t]*(.*)$", re.MULTILINE)
_PUBLIC_URL = re.compile(r"https://([a-z]{20})\.supabase\.(?:co|in)/?")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_REF = re.compile(r"[a-z]{20}")
_PRISMA_ENV = re.compile(r"^\s*(url|directUrl)\s*=\s*env\(\s*[\"'](\w+)[\"']\s*\)", re.MULTILINE)
_REMOTE = re.compile(
    r"(?:https?://|ssh://|git://)?(?:[^/@\s]+@)?(?:[\w-]+\.)?github\.com(?::\d+/|[:/])"
    r"([A-Za-z0-9-]+)/([A-Za-z0-9._-]+?)(?:\.git)?/?"
)


@dataclass(frozen=True)
class VercelLink:
    """What `vercel link` wrote."""

    project: str
    team: str | None
    """None for a personal account."""


@dataclass(frozen=True)
class Signs:
    """What was found; paths are relative to the repository."""

    name: str | None
    """Of package.json."""
    supabase: bool
    supabase_ref: str | None
    supabase_migrations: str | None
    prisma: bool
    prisma_migrations: str | None
    vercel: VercelLink | None
    repository: str | None
    """OWNER/NAME on GitHub, of the remote `origin`, else of the first there."""
    next_app: str | None
    """The directory of a Next.js application."""
    health_path: str | None
    direct_url: str | None
    """The variable with the database's URL that is not a pooler's, as far as names tell."""
    pooled_url: str | None
    variables: frozenset[str]
    """Every name in an .env file."""
    workflows: bool
    unread: tuple[str, ...]
    """Files that are there and could not be understood, each with why."""


@dataclass(frozen=True)
class SignIns:
    """How to come by the tokens: references, never values."""

    supabase: str
    vercel: str
    github: str
    here: frozenset[str]
    """Which of the three are there now."""


def read_signs(root: Path) -> Signs:
    """Look at a repository."""
    unread: list[str] = []
    folders = list(_folders(root))
    variables: dict[str, str] = {}
    for folder in folders:
        for file in _ENV_FILES:
            for variable, value in _VARIABLE.findall(_text(root, folder / file, unread)):
                variables.setdefault(variable, value.strip().strip("\"'"))
    prisma = _first(folder / "prisma" for folder in folders)
    direct, pooled = _database_variables(root, prisma, variables, unread)
    supabase = _first(folder / "supabase" for folder in folders)
    next_app = next((f for f in folders if any(f.glob("next.config.*"))), None)
    name = _json(root, root / "package.json", unread).get("name")
    return Signs(
        name=name if isinstance(name, str) else None,
        supabase=supabase is not None,
        supabase_ref=_supabase_ref(root, supabase, variables, unread),
        supabase_migrations=_relative(root, supabase, "migrations"),
        prisma=prisma is not None,
        prisma_migrations=_relative(root, prisma, "migrations"),
        vercel=_vercel_link(root, folders, unread),
        repository=_repository(root, unread),
        next_app=next_app.relative_to(root).as_posix() if next_app is not None else None,
        health_path=next((path for f in folders if (path := _health_path(f))), None),
        direct_url=direct,
        pooled_url=pooled,
        variables=frozenset(variables),
        workflows=(root / ".github" / "workflows").is_dir(),
        unread=tuple(unread),
    )


def find_sign_ins(environ: Mapping[str, str], home: Path) -> SignIns:
    """Return where the tokens of the three platforms are, or would be looked for first."""
    here = set()
    supabase = "env:SUPABASE_ACCESS_TOKEN"
    if environ.get("SUPABASE_ACCESS_TOKEN"):
        here.add("supabase")
    elif (home / ".supabase" / "access-token").is_file():
        supabase = "file:~/.supabase/access-token"
        here.add("supabase")
    if environ.get("VERCEL_TOKEN"):
        here.add("vercel")
    github = next((f"env:{name}" for name in ("GITHUB_TOKEN", "GH_TOKEN") if environ.get(name)), "")
    if github:
        here.add("github")
    elif (home / ".config" / "gh" / "hosts.yml").is_file() and shutil.which("gh"):
        github = "cmd:gh auth token"
        here.add("github")
    return SignIns(supabase, "env:VERCEL_TOKEN", github or "env:GITHUB_TOKEN", frozenset(here))


def _folders(root: Path) -> Iterator[Path]:
    for pattern in _FOLDERS:
        if pattern == ".":
            yield root
        else:
            yield from sorted(path for path in root.glob(pattern) if path.is_dir())


def _first(paths: Iterator[Path]) -> Path | None:
    return next((path for path in paths if path.is_dir()), None)


def _relative(root: Path, folder: Path | None, name: str) -> str | None:
    return None if folder is None else (folder / name).relative_to(root).as_posix()


def _supabase_ref(
    root: Path, folder: Path | None, variables: Mapping[str, str], unread: list[str]
) -> str | None:
    if folder is not None:
        linked = _text(root, folder / ".temp" / "project-ref", unread).strip()
        if _REF.fullmatch(linked):
            return linked
    for name in ("NEXT_PUBLIC_SUPABASE_URL", "SUPABASE_URL", "VITE_SUPABASE_URL"):
        match = _PUBLIC_URL.fullmatch(variables.get(name, ""))
        if match:
            return match.group(1)
    return None


def _database_variables(
    root: Path, prisma: Path | None, variables: Mapping[str, str], unread: list[str]
) -> tuple[str | None, str | None]:
    """Return the names of the variables with the direct URL and with the pooler's."""
    schema = _text(root, prisma / "schema.prisma", unread) if prisma is not None else ""
    named = dict(_PRISMA_ENV.findall(schema))
    direct = named.get("directUrl") or next((each for each in _DIRECT if each in variables), None)
    pooled = named.get("url") or next((each for each in _POOLED if each in variables), None)
    return (direct, pooled) if direct is not None else (pooled, None)


def _vercel_link(root: Path, folders: list[Path], unread: list[str]) -> VercelLink | None:
    for folder in folders:
        data = _json(root, folder / ".vercel" / "project.json", unread)
        project, owner = data.get("projectId"), data.get("orgId")
        if isinstance(project, str) and _ID.fullmatch(project):
            team = isinstance(owner, str) and owner.startswith("team_") and _ID.fullmatch(owner)
            return VercelLink(project, str(owner) if team else None)
        if data:
            unread.append(f"{_shown(root, folder / '.vercel/project.json')}: it names no project")
    return None


def _repository(root: Path, unread: list[str]) -> str | None:
    """Return OWNER/NAME from git's config, also of a worktree."""
    config = root / ".git" / "config"
    pointer = root / ".git"
    if pointer.is_file():
        named = _text(root, pointer, unread).strip().removeprefix("gitdir: ")
        config = (root / named / ".." / ".." / "config").resolve()
    section = ""
    found: dict[str, str] = {}
    for raw in _text(root, config, unread).splitlines():
        line = raw.strip()
        if line.startswith("["):
            section = line
        elif section.startswith("[remote ") and line.startswith("url"):
            match = _REMOTE.fullmatch(line.partition("=")[2].strip())
            if match:
                found.setdefault(section, "/".join(match.groups()))
    return found.get('[remote "origin"]') or next(iter(found.values()), None)


def _health_path(folder: Path) -> str | None:
    for base in (folder, folder / "src"):
        for route, path in _HEALTH_ROUTES:
            if any((base / f"{route}{ending}").is_file() for ending in _ENDINGS):
                return path
    return None


def _json(root: Path, path: Path, unread: list[str]) -> dict[str, object]:
    text = _text(root, path, unread)
    if not text:
        return {}
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        unread.append(f"{_shown(root, path)}: it is no JSON object")
        return {}
    return data


def _text(root: Path, path: Path, unread: list[str]) -> str:
    """Return a file's text; empty where there is none."""
    try:
        if not path.is_file():
            return ""
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        unread.append(f"{_shown(root, path)}: {error.strerror or type(error).__name__}")
        return ""
    if len(data) > _MOST_BYTES:
        unread.append(f"{_shown(root, path)}: it is larger than 1 MiB")
        return ""
    return data.decode(errors="replace").removeprefix("\ufeff")


def _shown(root: Path, path: Path) -> str:
    return os.path.relpath(path, root)
