"""What the sample application's developers do: migrate, commit, push, deploy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from opsctl.core.errors import Exit, OpsError
from opsctl.core.process import find_program, run_program
from opsctl.sandbox.contents import migrate

if TYPE_CHECKING:
    from opsctl.sandbox.world import World

_GIT = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null", "LC_ALL": "C"}
_FIX = "20260902090000_show_unpaid_invoices"
_FIX_SQL = """\
-- People see their invoices again, paid or not.
drop policy invoices_state_visible on public.invoices;
"""


def make_well(world: World) -> None:
    """Mend the sandbox's own bad migration as its developers would: with another, deployed.

    Raises OpsError `sandbox-ill` (exit 3) where the application is ill all the same.
    """
    folder = world.app_folder / "supabase" / "migrations"
    with psycopg.connect(world.database_url, autocommit=True) as connection:
        known = "SELECT version FROM supabase_migrations.schema_migrations"
        applied = {row[0] for row in connection.execute(known)}
        for path in sorted(folder.glob("*.sql")):
            if path.stem.partition("_")[0] not in applied:
                migrate(connection, path)
    if _FIX.partition("_")[0] not in applied:
        add_migration(world, _FIX, _FIX_SQL)
        push(world, "Show unpaid invoices again")
    ills = world.state().ills
    if ills:
        raise OpsError(
            "The sandbox is ill before the drill has begun",
            why="; ".join(ills),
            hint="opsctl sandbox reset",
            code="sandbox-ill",
            exit=Exit.UNKNOWN,
        )


def add_migration(world: World, name: str, text: str) -> None:
    """Write a migration as both tools keep it, apply it and record it."""
    path = world.app_folder / "supabase" / "migrations" / f"{name}.sql"
    twin = world.app_folder / "prisma" / "migrations" / name / "migration.sql"
    twin.parent.mkdir(parents=True, exist_ok=True)
    for each in (path, twin):
        each.write_text(text, encoding="utf-8")
    with psycopg.connect(world.database_url, autocommit=True) as connection:
        migrate(connection, path)


def commit(world: World, message: str, files: Mapping[str, str] | None = None) -> str:
    """Write files of the application, commit everything, and return the commit."""
    for name, text in (files or {}).items():
        path = world.app_folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    git(world.app_folder, "add", "--all")
    git(world.app_folder, "commit", "--quiet", "--no-gpg-sign", "--message", message)
    return git(world.app_folder, "rev-parse", "HEAD").strip()


def push(world: World, message: str, files: Mapping[str, str] | None = None) -> str:
    """Commit and push to the production branch; the platform builds it, and it goes live."""
    made = commit(world, message, files)
    git(world.app_folder, "push", "--quiet", "origin", "main")
    world.planes.act("vercel", "look", {})
    return made


def head(world: World) -> str:
    """Return the newest commit."""
    return git(world.app_folder, "rev-parse", "HEAD").strip()


def git(folder: Path, *words: str) -> str:
    """Run git in a folder and return what it said; raises OpsError `sandbox-git` (exit 3)."""
    program = find_program("git", hint="install git")
    done = run_program([program, *words], env=_GIT, cwd=str(folder))
    if done.exit_code != 0:
        raise OpsError(
            f"git {words[0]} failed in the sandbox's application",
            why=done.last_line,
            hint="opsctl sandbox reset",
            code="sandbox-git",
            exit=Exit.UNKNOWN,
        )
    return done.stdout
