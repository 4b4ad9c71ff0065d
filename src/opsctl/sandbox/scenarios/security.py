"""Scenarios of what others may see: a key that leaked, a policy that lets everybody in."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from opsctl.sandbox.scenarios.development import add_migration, commit
from opsctl.sandbox.scenarios.scenario import Look, Scenario

if TYPE_CHECKING:
    from opsctl.sandbox.world import World

_APP = ".opsctl/sandbox/app"


def _ignore(world: World) -> None:
    commit(world, "Leave local variables out", {".gitignore": ".env.local\n"})


def _leak(world: World) -> None:
    kept = json.loads((world.planes.folder / "supabase.json").read_text(encoding="utf-8"))
    key = next(each["api_key"] for each in kept["keys"] if each["type"] == "secret")
    commit(world, "Seed customers", {"scripts/seed.js": f'const supabaseKey = "{key}";\n'})


LEAKED_KEY = Scenario(
    name="leaked-key",
    title="A secret key lies in the source",
    told="A colleague thinks that a script with one of Supabase's keys in it was committed.",
    runbook="rotate-keys",
    hints=(
        f"Which key, and where? opsctl secrets-scan {_APP}",
        "Whoever has seen it can use it until it is ended: what keeps it? opsctl rotate-keys plan",
        "Replace it everywhere and end the old one: "
        "opsctl rotate-keys supabase --only secret --revoke --env sandbox",
        f"Take the script away: git -C {_APP} rm -r scripts",
    ),
    solution=(
        f"opsctl secrets-scan {_APP}",
        "opsctl rotate-keys supabase --only secret --revoke --env sandbox --yes",
        f"git -C {_APP} rm -r --quiet scripts",
    ),
    looks=(
        Look(f"opsctl secrets-scan {_APP}"),
        Look("opsctl rotate-keys status --env sandbox"),
        Look("opsctl healthcheck run --env sandbox", about="^(health|selftest) "),
    ),
    prepare=_ignore,
    strike=_leak,
)

_HOLE = "20260911090000_share_projects"
_HOLE_SQL = """\
-- Projects can be shared. The policy is the mistake: it shares all of them with everybody.
alter table public.projects add column shared boolean not null default false;
create policy projects_shared on public.projects for select to authenticated using (true);
"""


def _open(world: World) -> None:
    add_migration(world, _HOLE, _HOLE_SQL)


RLS_HOLE = Scenario(
    name="rls-hole",
    title="A policy lets everybody in",
    told="A customer has sent a picture of another company's projects. Every endpoint is well.",
    runbook="rls-smoke",
    hints=(
        "Who may see which rows? opsctl rls-smoke --env sandbox",
        "Which migration made that policy? opsctl rollback status",
        "Roll it back: opsctl rollback db --env sandbox",
    ),
    solution=(
        "opsctl rls-smoke check --env sandbox",
        "opsctl rollback db --env sandbox --yes",
    ),
    looks=(
        Look("opsctl rls-smoke check --env sandbox", known="public._prisma_migrations"),
        Look("opsctl healthcheck run --env sandbox", about="^(health|selftest) "),
    ),
    strike=_open,
)
