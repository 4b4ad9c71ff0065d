"""What is there before a rotation: the project's keys, what each place holds, what is live."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from opsctl.adapters.sealed_box import require_sealing
from opsctl.adapters.supabase_keys import ApiKey, SupabaseKeys
from opsctl.adapters.vercel import Deployment, Project, VercelApi
from opsctl.adapters.vercel_release import held_back
from opsctl.areas.rotate_keys.proofs import LEGACY
from opsctl.areas.rotate_keys.sinks import Held, Place, places_of, read_place, vercel_of
from opsctl.areas.rotate_keys.sources import supabase_of, supabase_source
from opsctl.core.errors import Exit, OpsError

if TYPE_CHECKING:
    from opsctl.core.call import Call

KINDS = ("publishable", "secret")
_LEGACY_OF = {"publishable": "anon", "secret": "service_role"}


@dataclass(frozen=True)
class Release:
    """What production serves before a rotation."""

    project: Project
    live: Deployment


@dataclass(frozen=True)
class Replaced:
    """One key that is to be replaced, and where it is kept."""

    kind: str
    """publishable or secret."""
    old: ApiKey
    places: tuple[tuple[Place, Held], ...]
    digest: str
    """SHA-256 of the old value, hexadecimal: by it leaks are found later."""

    @property
    def source(self) -> str:
        """Where the old value is read."""
        return supabase_source(self.old.kind, self.old.name)


def new_token() -> str:
    """Return the name of a rotation, which is also that of the keys that it makes.

    Supabase takes lower-case letters, digits and _, four to 64 of them.
    """
    return f"opsctl_{datetime.now(UTC):%Y%m%d}_{secrets.token_hex(3)}"


def choose_replaced(
    call: Call, kinds: Sequence[str], *, replace: Sequence[str], legacy: bool
) -> tuple[Replaced, ...]:
    """Return the keys that are to be replaced, one of each kind.

    `replace` are names, for a kind that has several; `legacy`: anon and service_role are.
    Raises OpsError `no-sinks`, `no-such-key`, `which-key` (exit 2).
    """
    api = SupabaseKeys(supabase_of(call))
    keys = api.keys()
    digests = {(key.kind, key.name): value for value, key in api.hashes().items()}
    found = []
    for kind in kinds:
        places = places_of(call, kind)
        if not places:
            raise OpsError(
                f"The settings do not say where the {kind} key is kept",
                why=f"environments.{call.name}.rotation.sinks has none for {kind}",
                hint="add every place that it is kept in; opsctl config schema says how",
                code="no-sinks",
            )
        old = _choose(keys, kind, replace, legacy=legacy)
        held = tuple((place, read_place(call, place)) for place in places)
        found.append(Replaced(kind, old, held, digests.get((old.kind, old.name), "")))
    return tuple(found)


def read_release(call: Call, places: Sequence[Place]) -> Release | None:
    """Return what production serves, where a rotation has to build it anew; None where not.

    Raises OpsError `rolled-back`, `move-under-way`, `no-production-domain` (exit 5, 3).
    """
    if not any(place.target == "production" for place in places):
        return None
    api = VercelApi(vercel_of(call))
    project = api.project()
    production = api.production_by_domain(project)
    if production.deployment is None:
        raise OpsError(
            "Production serves nothing that could be built again",
            why="its first domain points to no deployment",
            hint="opsctl rollback app status",
            code="nothing-live",
            exit=Exit.UNKNOWN,
        )
    if project.move is not None and project.move.under_way:
        raise OpsError(
            "Production is being moved",
            why=f"a {project.move.kind} to {project.move.deployment} is under way on Vercel",
            hint="wait for it: opsctl rollback app status",
            code="move-under-way",
            exit=Exit.REFUSED,
        )
    held = held_back(project, production.deployment.id)
    if held is not None:
        raise OpsError(
            "New builds would not go live, so the new key would not either",
            why=held.title,
            hint="opsctl rollback app forward, then again",
            code="rolled-back",
            exit=Exit.REFUSED,
        )
    return Release(project, production.deployment)


def require_programs(places: Sequence[Place]) -> None:
    """Raise OpsError (exit 3) where something is missing that a place needs."""
    if any(place.sink.kind in ("github", "github-environment", "dependabot") for place in places):
        require_sealing()


def _choose(keys: Sequence[ApiKey], kind: str, replace: Sequence[str], *, legacy: bool) -> ApiKey:
    if legacy:
        name = _LEGACY_OF[kind]
        for each in keys:
            if each.kind == "legacy" and each.name == name:
                return each
        raise OpsError(
            f"The project has no legacy key {name}",
            why="it lists none, so there is nothing to get rid of",
            hint="opsctl rotate-keys status",
            code="no-such-key",
        )
    of_kind = [each for each in keys if each.kind == kind]
    named = [each for each in of_kind if each.name in replace]
    candidates = named or of_kind
    if len(candidates) == 1:
        return candidates[0]
    known = ", ".join(each.name for each in of_kind) or "none"
    raise OpsError(
        f"It is not clear which {kind} key is to be replaced",
        why=f"the project has: {known}",
        hint="name it: --replace NAME"
        if of_kind
        else f"replace the legacy ones, {' and '.join(LEGACY)}: --legacy",
        code="which-key",
    )
