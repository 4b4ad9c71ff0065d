"""What was released of the sample application: its git history and its deployments."""

from __future__ import annotations

import time
from pathlib import Path

from opsctl.core.errors import OpsError
from opsctl.core.process import find_program, run_program
from opsctl.sandbox.github_plane import GithubPlane
from opsctl.sandbox.planes import make_planes, read_token
from opsctl.sandbox.supabase_plane import SupabasePlane
from opsctl.sandbox.vercel_plane import VercelPlane

_AUTHORS = ("Ada Example", "Sam Example")
_HOURS_AGO = (26 * 24, 15 * 24, 8 * 24, 3 * 24, 5)
"""When each release went live: the bad one some hours ago."""
_ENV = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null", "LC_ALL": "C"}


def write_history(app: Path, remote: Path) -> list[str]:
    """Give the application a git history, a commit a migration, and return the commits.

    Without git there is none.
    """
    try:
        program = find_program("git", hint="install git")
    except OpsError:
        return []

    def git(folder: Path, *words: str, stdin: str | None = None) -> str:
        done = run_program([program, *words], env=_ENV, cwd=str(folder), stdin=stdin)
        if done.exit_code != 0:
            raise RuntimeError(f"git {words[0]}: {done.last_line}")
        return done.stdout

    (app / "VERSION").write_text(_version(len(_migrations(app)) - 1) + "\n", encoding="utf-8")
    remote.mkdir()
    git(remote, "init", "--quiet", "--bare", "--initial-branch=main")
    git(remote, "fast-import", "--quiet", stdin=_stream(app))
    git(app, "init", "--quiet", "--initial-branch=main")
    git(app, "config", "remote.origin.url", str(remote.resolve()))
    git(app, "config", "remote.origin.fetch", "+refs/heads/*:refs/remotes/origin/*")
    git(app, "config", "user.name", _AUTHORS[0])
    git(app, "config", "user.email", "ada@example.com")
    git(app, "fetch", "--quiet", "origin")
    git(app, "reset", "--quiet", "--mixed", "origin/main")
    return git(app, "rev-list", "--reverse", "main").split()


def seed_planes(folder: Path, *, commits: list[str], app: Path, remote: Path) -> None:
    """Write what Vercel and GitHub know of these commits: the newest is live."""
    kinds = ("vercel", "supabase", "github", "slack", "statuspage")
    tokens = {kind: read_token(folder, kind) for kind in kinds}
    now_ms = int(time.time() * 1000)
    names = [path.stem.partition("_")[2].replace("_", " ") for path in _migrations(app)]
    planes = make_planes(tokens)
    supabase = next(each for each in planes if isinstance(each, SupabasePlane))
    for plane in planes:
        if isinstance(plane, VercelPlane):
            _variables(plane, supabase, now_ms)
            for index, commit in enumerate(commits):
                plane.add_deployment(
                    commit,
                    live=True,
                    message=f"Add {names[index]}",
                    author=_AUTHORS[index % 2],
                    at_ms=now_ms - _HOURS_AGO[index] * 3_600_000,
                )
            plane.remote = str(remote.resolve()) if commits else None
            plane.seen = commits[-1] if commits else ""
        if isinstance(plane, GithubPlane):
            plane.remote = str(remote.resolve()) if commits else None
            plane.head = commits[-1] if commits else ""
            plane.environments.append("production")
        plane.keep_in(folder / f"{plane.KIND}.json")


def _variables(plane: VercelPlane, supabase: SupabasePlane, now_ms: int) -> None:
    """Give the project its variables, older than every release."""
    keys = {each["type"]: each["api_key"] for each in supabase.keys}
    for name, value, type in (
        ("NEXT_PUBLIC_SUPABASE_URL", "http://127.0.0.1", "plain"),
        ("NEXT_PUBLIC_SUPABASE_PUBLISHABLE_KEY", keys["publishable"], "encrypted"),
        ("SUPABASE_SECRET_KEY", keys["secret"], "sensitive"),
    ):
        plane.add_variable(name, value, "production", "preview", type=type)
    for record in plane.variables:
        record["createdAt"] = record["updatedAt"] = now_ms - 40 * 24 * 3_600_000


def _stream(app: Path) -> str:
    """Return a git fast-import stream: the project with its first migration, then one a commit."""
    migrations = _migrations(app)
    lines: list[str] = []
    for index, migration in enumerate(migrations):
        at = 1_767_600_000 + index * 86_400 * 7
        who = _AUTHORS[index % 2]
        mail = f"{who.split()[0].lower()}@example.com"
        message = f"Add {migration.stem.partition('_')[2].replace('_', ' ')}"
        lines += [
            "commit refs/heads/main",
            f"author {who} <{mail}> {at} +0000",
            f"committer {who} <{mail}> {at} +0000",
            f"data {len(message.encode())}",
            message,
        ]
        for path in _files(app, migration, first=index == 0):
            data = path.read_bytes()
            lines += [f"M 100644 inline {path.relative_to(app).as_posix()}", f"data {len(data)}"]
            lines.append(data.decode())
        lines += ["M 100644 inline VERSION", "data <<END", _version(index), "END", ""]
    return "\n".join(lines)


def _files(app: Path, migration: Path, *, first: bool) -> list[Path]:
    """Return what comes with one migration: both tools' copies, down SQL, and the rest at first."""
    own = [
        path
        for path in sorted(app.rglob("*"))
        if path.is_file() and ".git" not in path.parts and path.name != "VERSION"
    ]
    version = migration.stem.partition("_")[0]
    dated = [path for path in own if _version_of(path) is not None]
    return [path for path in own if _version_of(path) == version or (first and path not in dated)]


def _version(index: int) -> str:
    """Return the application's own version as a release has it."""
    return f"1.{index}.0"


def _version_of(path: Path) -> str | None:
    for part in path.parts[-2:]:
        head = part.partition("_")[0]
        if len(head) == 14 and head.isdecimal():
            return head
    return None


def _migrations(app: Path) -> list[Path]:
    return sorted(
        path
        for path in (app / "supabase" / "migrations").glob("*.sql")
        if ".down." not in path.name
    )
