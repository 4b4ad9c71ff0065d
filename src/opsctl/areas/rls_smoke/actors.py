"""Who acts where no policy file says so: two tenants' people, an admin, a guest, nobody."""

from __future__ import annotations

import re
from typing import Any

from opsctl.areas.rls_smoke.facts import Relation, Schema
from opsctl.areas.rls_smoke.policy_file import Actor, Members, PolicyFile, Tenancy
from opsctl.areas.rls_smoke.rows import role_values
from opsctl.areas.rls_smoke.tenancy import Model, is_tenant_name

_USERS = {
    "a": "aaaaaaaa-0000-4000-8000-000000000001",
    "peer": "aaaaaaaa-0000-4000-8000-000000000002",
    "admin": "aaaaaaaa-0000-4000-8000-000000000003",
    "b": "bbbbbbbb-0000-4000-8000-000000000001",
    "guest": "cccccccc-0000-4000-8000-000000000001",
}
_TENANTS: dict[str, tuple[str | int, str | int]] = {
    "N": (900_000_001, 900_000_002),
    "S": ("tenant-a", "tenant-b"),
    "U": ("aaaaaaaa-1111-4000-8000-000000000000", "bbbbbbbb-1111-4000-8000-000000000000"),
}
_TENANT_OF = {"a": 0, "peer": 0, "admin": 0, "b": 1}
_CLAIM = re.compile(
    r"(?:auth\.jwt\(\)(?: AS jwt\))?|current_setting\('request\.jwt\.claims?'::text[^)]*\)[^-]*|"
    r"current_setting\('request\.jwt\.claims?'[^)]*\)[^-]*)\)*"
    r"(?P<path>(?: *->>? *\(?'[^']+'(?:::text)?\)?\)*)+)"
)
_FORGED = ("user_metadata", "raw_user_meta_data")
_STANDARD_CLAIMS = ("sub", "email", "role", "aud", "exp", "iss", "is_anonymous")
_ROLE_CLAIM = re.compile(r"role|permission|access|admin", re.IGNORECASE)


def default_file(schema: Schema, model: Model) -> PolicyFile:
    """Return a policy file of actors alone, made for a schema."""
    kind = _tenant_kind(schema, model)
    tenants: tuple[str | int, str | int] | None = None
    if model.has_tenants or _tenant_claims(schema):
        tenants = _TENANTS.get(kind, _TENANTS["U"])
    numbers = _users_are_numbers(schema, model)
    actors: dict[str, Actor] = {"anon": Actor(role="anon")}
    words = role_values(schema, model)
    for index, (name, user) in enumerate(_USERS.items()):
        mine: tuple[str | int, ...] = ()
        if tenants is not None and name in _TENANT_OF:
            mine = (tenants[_TENANT_OF[name]],)
        actors[name] = Actor(
            role="authenticated",
            user=900_000_100 + index if numbers else user,
            tenants=mine,
            member_as=(words[1] if name == "admin" else words[0]) if words and mine else None,
            claims=default_claims(schema, name, mine[0] if mine else None, tenants),
        )
    actors["service"] = Actor(role="service_role")
    return PolicyFile(
        actors={n: a for n, a in actors.items() if a.role in schema.roles},
        tenancy=Tenancy(
            tenants=model.tenants,
            members=Members(table=model.members[0], user=model.members[1], tenant=model.members[2])
            if model.members
            else None,
        ),
    )


def default_claims(
    schema: Schema,
    name: str,
    tenant: str | int | None,
    tenants: tuple[str | int, str | int] | None,
) -> dict[str, Any]:
    """Return the claims that policies and functions look at, with this actor's values.

    What users may write themselves (`user_metadata`) says of b and of the guest what an attacker
    would have it say: that they are admins of the other tenant.
    """
    found: dict[str, Any] = {}
    for path, text in _claim_paths(schema):
        leaf = path[-1]
        forged = path[0] in _FORGED and name in ("b", "guest")
        mine = tenants[0] if forged and tenants else tenant
        value: Any = None
        if len(path) == 1 and leaf in _STANDARD_CLAIMS:
            continue
        if is_tenant_name(leaf):
            value = mine
        elif is_tenant_name(leaf.removesuffix("s")):
            value = [mine] if mine is not None else []
        elif leaf == "aal":
            value = "aal2"
        elif _ROLE_CLAIM.search(leaf):
            value = _role_claim(text, admin=name == "admin" or forged)
        if value is None:
            continue
        here = found
        for part in path[:-1]:
            here = here.setdefault(part, {})
        here[leaf] = value
    return found


def _role_claim(text: str, *, admin: bool) -> Any:
    """Return the value that a claim is compared with, for who has it; others are members."""
    words = re.findall(r"'([A-Za-z_-]+)'", text)
    if re.search(r"boolean|= true|IS TRUE", text) and not words:
        return admin
    if not admin:
        return "member"
    return next((w for w in words if re.search(r"admin|owner|manager", w, re.I)), "admin")


def _claim_paths(schema: Schema) -> list[tuple[tuple[str, ...], str]]:
    """Return (path of a claim, the text after it) wherever policies and functions read one."""
    texts = [
        text for each in schema.relations.values() for policy in each.policies
        for text in (policy.using, policy.check)
    ] + list(schema.bodies.values())  # fmt: skip
    found = []
    for text in texts:
        for match in _CLAIM.finditer(text):
            path = tuple(re.findall(r"'([^']+)'", match["path"]))
            found.append((path, text[match.end() : match.end() + 80]))
    return found


def _tenant_claims(schema: Schema) -> bool:
    return any(is_tenant_name(path[-1]) for path, _ in _claim_paths(schema))


def _tenant_kind(schema: Schema, model: Model) -> str:
    """Return the category of tenants' ids: N numbers, S text, U uuid."""
    if model.tenants is not None:
        links = model.links[model.tenants]
        column = schema.relations[model.tenants].column(links.tenant or "")
        if column is not None:
            return column.category
    for key, links in model.links.items():
        relation: Relation = schema.relations[key]
        column = relation.column(links.tenant) if links.tenant else None
        if column is not None:
            return column.category
    return "U"


def _users_are_numbers(schema: Schema, model: Model) -> bool:
    kinds = [
        column.category
        for key, links in model.links.items()
        for name in links.user
        if (column := schema.relations[key].column(name)) is not None
    ]
    return bool(kinds) and all(kind == "N" for kind in kinds)
