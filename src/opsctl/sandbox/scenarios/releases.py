"""Scenarios of a release that went wrong: its migration, its variables, its size."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from opsctl.sandbox.scenarios.development import add_migration, head, push
from opsctl.sandbox.scenarios.scenario import Look, Scenario

if TYPE_CHECKING:
    from opsctl.sandbox.world import World

_HEALTH = Look("opsctl healthcheck run --env sandbox", about="^(health|selftest) ")
_APP = ".opsctl/sandbox/app"

_BAD = "20260910090000_tidy_invoices"
_BAD_SQL = """\
-- Notes on invoices. The policy is the mistake: it hides what is not paid.
alter table public.invoices add column note text;
create policy invoices_tidy on public.invoices
  as restrictive for select to authenticated using (paid_on is not null);
"""


def _migrate(world: World) -> None:
    add_migration(world, _BAD, _BAD_SQL)


BAD_MIGRATION = Scenario(
    name="bad-migration",
    title="A migration broke the application",
    told="Customers write that half of their invoices are gone. "
    "A migration was applied a few minutes ago.",
    runbook="rollback",
    hints=(
        "What do the health endpoints say? opsctl healthcheck run",
        "Is the newest migration to blame? opsctl rollback status shows what is applied.",
        "Roll it back; the plan proves itself on a copy first: opsctl rollback db --env sandbox",
    ),
    solution=(
        "opsctl healthcheck run --env sandbox",
        "opsctl rollback db --env sandbox --yes",
    ),
    looks=(_HEALTH,),
    strike=_migrate,
)


def _deploy(world: World) -> None:
    wrong = "_".join(("sb", "secret", "0" * 22, "0" * 8))
    world.planes.act("vercel", "change-variable", {"name": "SUPABASE_SECRET_KEY", "value": wrong})
    world.planes.act("vercel", "push", {"commit": head(world), "message": "Tidy the settings"})


BAD_DEPLOYMENT = Scenario(
    name="bad-deployment",
    title="A deployment broke the application",
    told="Since the last release the administrators' pages answer 500. The database is well.",
    runbook="rollback-app",
    hints=(
        "What do the health endpoints say? opsctl healthcheck run",
        "Which releases were live, and how well were they? opsctl rollback app status",
        "The release before was built with the old variables. Do they still work? "
        "opsctl rotate-keys status",
        "They do, so go back: opsctl rollback app --accept-credentials --env sandbox",
    ),
    solution=(
        "opsctl healthcheck run --env sandbox",
        "opsctl rollback app run --accept-credentials --watch 1 --env sandbox --yes",
    ),
    looks=(_HEALTH,),
    strike=_deploy,
)

_BUDGETS = """\
bundle:
  budgets:
    - routes: "*"
      js_kb: 50
"""
_PAGE = """\
<!doctype html>
<html lang="en"><head><title>Sample</title>
<script type="module" src="/assets/app.js"></script></head><body></body></html>
"""
_SCRIPT = 'document.title = "Sample";\n'
_LIBRARY_WORDS = 40_000


def _build(world: World) -> None:
    files = {
        "opsctl.yaml": _BUDGETS,
        "dist/index.html": _PAGE,
        "dist/assets/app.js": _SCRIPT,
        ".gitignore": ".opsctl/\n",
    }
    push(world, "Serve a page", files)


def _blow_up(world: World) -> None:
    chance = random.Random(8)  # noqa: S311 - it only has to be hard to compress
    words = ",".join(f'"{chance.getrandbits(48):012x}"' for _ in range(_LIBRARY_WORDS))
    push(world, "Draw charts", {"dist/assets/app.js": f"{_SCRIPT}const charts=[{words}];\n"})


BUNDLE_BLOW_UP = Scenario(
    name="bundle-blow-up",
    title="A release made the page heavy",
    told="On telephones the first page takes ten seconds since the last release. "
    "The endpoints are well.",
    runbook="bundle-check",
    hints=(
        f"What do browsers download? opsctl bundle-check {_APP} --config {_APP}/opsctl.yaml",
        "The release before was light. Bring the code back to it: "
        "opsctl rollback code --env sandbox",
        f"Fetch what was pushed, and measure again: git -C {_APP} pull --ff-only origin main",
    ),
    solution=(
        f"opsctl bundle-check {_APP} --config {_APP}/opsctl.yaml",
        "opsctl rollback code --watch 1 --env sandbox --yes",
        f"git -C {_APP} pull --quiet --ff-only origin main",
    ),
    looks=(
        Look(f"opsctl bundle-check {_APP} --config {_APP}/opsctl.yaml"),
        _HEALTH,
    ),
    prepare=_build,
    strike=_blow_up,
)
