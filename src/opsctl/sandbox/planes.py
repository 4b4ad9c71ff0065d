"""The control planes of one sandbox, served by one process; what they know stays on disk.

Run as `python -m opsctl.sandbox.planes FOLDER`. The folder has a file `KIND.token` for each, and
`ports.json` once they were served: each keeps its port where nobody else has it meanwhile.
"""

from __future__ import annotations

import json
import secrets
import sys
import threading
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from urllib.parse import quote, urlsplit

from opsctl.adapters.scratch import write_private
from opsctl.sandbox.github_plane import GithubPlane
from opsctl.sandbox.plane import ControlPlane
from opsctl.sandbox.slack_plane import SlackPlane
from opsctl.sandbox.statuspage_plane import StatuspagePlane
from opsctl.sandbox.supabase_plane import SupabasePlane
from opsctl.sandbox.vercel_plane import VercelPlane

REF = "sandboxsandboxsandbo"
REPOSITORY = "example/sandbox"
PROJECT = "sandbox"


def new_tokens() -> dict[str, str]:
    """Return a token for each plane, and the name that the sandbox's own pages are asked with.

    Supabase's program takes no token that looks otherwise than `sbp_` and 40 hex digits.
    """
    kinds = ("vercel", "github", "slack", "statuspage", "name")
    return {
        "supabase": f"sbp_{secrets.token_hex(20)}",
        **{kind: secrets.token_hex(20) for kind in kinds},
    }


def read_token(folder: Path, kind: str) -> str:
    """Return one of them; raises FileNotFoundError."""
    return (folder / f"{kind}.token").read_text(encoding="utf-8").strip()


def make_planes(tokens: Mapping[str, str]) -> tuple[ControlPlane, ...]:
    """Return the planes, not yet served."""
    vercel = VercelPlane(token=tokens["vercel"], project=PROJECT)
    vercel.repository = REPOSITORY
    return (
        vercel,
        SupabasePlane(token=tokens["supabase"], ref=REF),
        GithubPlane(token=tokens["github"], repository=REPOSITORY),
        SlackPlane(token=tokens["slack"]),
        StatuspagePlane(token=tokens["statuspage"]),
    )


def serve(folder: Path) -> None:
    """Serve every plane until killed; `ports.json` is written last, so it says that all do."""
    kinds = ("vercel", "supabase", "github", "slack", "statuspage")
    tokens = {kind: read_token(folder, kind) for kind in kinds}
    name = read_token(folder, "name")
    before = read_ports(folder)
    after = {}
    for plane in make_planes(tokens):
        if isinstance(plane, SupabasePlane):
            plane.set_password = partial(set_database_password, folder.parent / "database-url")
        plane.name = name
        plane.keep_in(folder / f"{plane.KIND}.json")
        try:
            plane.serve(before.get(plane.KIND, 0))
        except OSError:
            plane.serve(0)  # somebody else has it now
        after[plane.KIND] = int(plane.url.rpartition(":")[2])
    new = folder / "ports.new"
    new.write_text(json.dumps(after), encoding="utf-8")
    new.replace(folder / "ports.json")
    threading.Event().wait()


def set_database_password(file: Path, password: str) -> None:
    """Give the sandbox's role another password, and write its URL anew."""
    import psycopg
    from psycopg import sql

    url = file.read_text(encoding="utf-8").strip()
    parts = urlsplit(url)
    role = sql.Identifier(parts.username or "postgres")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(role, password))
    kept = file.parent / "postgres" / "postgres.password"
    write_private(kept, password + "\n")
    place = f"{parts.username}:{quote(password, safe='')}@{parts.hostname}:{parts.port}"
    write_private(file, parts._replace(netloc=place).geturl() + "\n")


def read_ports(folder: Path) -> dict[str, int]:
    """Return the port of each plane that was served once, by kind."""
    try:
        return dict(json.loads((folder / "ports.json").read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError):
        return {}


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
