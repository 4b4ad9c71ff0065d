"""Whose a row is: tenants, users and the columns that lead to them, found from names and keys.

Pure, and independent of the policies but for one thing: a column that a policy compares with
`auth.uid()` holds users. That says what a column means, not who may see the row.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass

from opsctl.adapters.sql import quote_identifier
from opsctl.areas.rls_smoke.facts import Relation, Schema

USERS = "auth.users"

_TENANT_WORD = (
    r"(tenant|org|organi[sz]ation|team|workspace|company|account|group|club|household|school|"
    r"clinic|shop|store|merchant|agency|community)"
)
_TENANT_COLUMN = re.compile(rf"^{_TENANT_WORD}(_?(id|uuid|slug|key))?$", re.IGNORECASE)
_TENANT_TABLE = re.compile(rf"^(app_)?{_TENANT_WORD}(s|es)?$|^companies$|^agencies$", re.IGNORECASE)
_USER_COLUMN = re.compile(
    r"^(user|owner|author|creator|profile|member|uid|auth_user|assignee|customer_user)(_?(id|uuid))?$"
    r"|^(created|owned|uploaded|posted|added|submitted)_by(_id)?$",
    re.IGNORECASE,
)
_OWNER_FIRST = re.compile(r"^(owner|user|created_by|author|creator)", re.IGNORECASE)
_UID = r"(?:\( ?SELECT )?auth\.uid\(\)(?: AS uid\))?(?:\)?::text)?"


@dataclass(frozen=True)
class Links:
    """How the rows of one relation lead to users and tenants."""

    user: tuple[str, ...]
    """Columns that hold a user's id, the likeliest owner first."""
    tenant: str | None
    """Column that holds a tenant's id; `id` for the tenants themselves."""
    rows: Mapping[str, str]
    """Name -> condition with :user and :tenants; `own` and `tenant`, where there are such."""


@dataclass(frozen=True)
class Model:
    """Who owns what, as far as names and keys tell."""

    tenants: str | None
    members: tuple[str, str, str] | None
    """Table, user's column, tenant's column."""
    links: Mapping[str, Links]
    """By relation."""

    @property
    def has_tenants(self) -> bool:
        """Whether anything here belongs to tenants."""
        return any(each.tenant for each in self.links.values())


def infer(schema: Schema) -> Model:
    """Return the tenancy model of a schema."""
    tables = {k: r for k, r in schema.relations.items() if r.kind in ("r", "p", "v", "m")}
    roots = _tenant_roots(tables)
    user_tables = _user_tables(tables)
    users = {key: _user_columns(each, user_tables) for key, each in tables.items()}
    tenant_of = {key: _tenant_column(each, roots) for key, each in tables.items()}
    if roots is not None and tables[roots].primary_key:
        tenant_of[roots] = tables[roots].primary_key[0]
    links = {}
    for key, each in tables.items():
        rows = {}
        own = _own(each, users[key])
        if own is not None:
            rows["own"] = f"{quote(own)} = :user"
        if (column := tenant_of[key]) is not None:
            rows["tenant"] = f"{quote(column)} in (:tenants)"
        elif (path := _path_to_tenant(each, tables, tenant_of)) is not None:
            rows["tenant"] = path
        if "own" not in rows and "tenant" not in rows:
            parent = _path_to_owner(each, tables, users)
            if parent is not None:
                rows["own"] = parent
        links[key] = Links(users[key], tenant_of[key], rows)
    return Model(roots, _members(tables, users, tenant_of, roots), links)


def is_tenant_name(name: str) -> bool:
    """Whether a column or claim of this name holds a tenant."""
    return bool(_TENANT_COLUMN.match(name))


def quote(name: str) -> str:
    """Return a column's name for a person to read: quoted only where it must be."""
    return name if re.fullmatch(r"[a-z_][a-z0-9_]*", name) else quote_identifier(name)


def _tenant_roots(tables: Mapping[str, Relation]) -> str | None:
    votes: Counter[str] = Counter()
    for each in tables.values():
        for key in each.foreign_keys:
            if len(key.columns) == 1 and _TENANT_COLUMN.match(key.columns[0]):
                votes[key.target] += 2
            elif _TENANT_TABLE.match(key.target.partition(".")[2]):
                votes[key.target] += 1
    for each in tables.values():
        if _TENANT_TABLE.match(each.name) and each.kind in ("r", "p") and votes[each.key]:
            votes[each.key] += 1
    best = [key for key, _ in votes.most_common() if key in tables and key != USERS]
    return best[0] if best else None


def _user_tables(tables: Mapping[str, Relation]) -> frozenset[str]:
    """Return the tables with a row per user: auth.users and what shares its key."""
    found = {USERS} & set(tables)
    for each in tables.values():
        own_key = each.primary_key[0] if len(each.primary_key) == 1 else None
        if own_key and _is_uid(each, own_key) and each.kind in ("r", "p"):
            found.add(each.key)
    grown = True
    while grown:
        more = {
            each.key
            for each in tables.values()
            for key in each.foreign_keys
            if key.target in found and key.columns == each.primary_key and len(key.columns) == 1
        }
        grown = not more <= found
        found |= more
    return frozenset(found)


def _user_columns(each: Relation, user_tables: frozenset[str]) -> tuple[str, ...]:
    found: list[str] = []
    if each.key in user_tables and len(each.primary_key) == 1:
        found.append(each.primary_key[0])
    for key in each.foreign_keys:
        if key.target in user_tables and len(key.columns) == 1:
            found.append(key.columns[0])
    referring = {name for key in each.foreign_keys for name in key.columns}
    for column in each.columns:
        if _is_uid(each, column.name) or (
            column.name not in referring
            and _USER_COLUMN.match(column.name)
            and column.base in ("uuid", "text", "varchar")
        ):
            found.append(column.name)
    return tuple(sorted(dict.fromkeys(found), key=lambda n: (not _OWNER_FIRST.match(n),)))


def _is_uid(each: Relation, column: str) -> bool:
    """Whether a policy of the relation compares a column with the caller's id."""
    name = re.escape(quote(column))
    pattern = re.compile(rf"{_UID}\)? = \(?{name}\b|(?<![.\w]){name}(?:\)?::text)?\)? = {_UID}")
    return any(pattern.search(text) for policy in each.policies
               for text in (policy.using, policy.check))  # fmt: skip


def _tenant_column(each: Relation, roots: str | None) -> str | None:
    for key in each.foreign_keys:
        if roots is not None and key.target == roots and len(key.columns) == 1:
            return key.columns[0]
    named = [c.name for c in each.columns if _TENANT_COLUMN.match(c.name)]
    tenant_named = [name for name in named if each.column(name) is not None]
    referring = {name for key in each.foreign_keys for name in key.columns}
    loose = [
        name for name in tenant_named if name not in referring and name.endswith(("id", "slug"))
    ]
    return loose[0] if loose and each.name != "tenants" else None


def _own(each: Relation, users: tuple[str, ...]) -> str | None:
    return users[0] if users else None


def _path_to_tenant(
    start: Relation, tables: Mapping[str, Relation], tenant_of: Mapping[str, str | None]
) -> str | None:
    """Return the condition that follows the shortest chain of keys to a tenant's column."""
    queue: deque[tuple[Relation, tuple[tuple[str, str, str], ...]]] = deque([(start, ())])
    seen = {start.key}
    while queue:
        here, chain = queue.popleft()
        column = tenant_of.get(here.key)
        if column is not None and chain:
            return _nested(chain, f"{quote(column)} in (:tenants)")
        for key in here.foreign_keys:
            target = tables.get(key.target)
            if target is None or len(key.columns) != 1 or target.key in seen:
                continue
            if target.key == USERS:
                continue
            seen.add(target.key)
            step = (key.columns[0], target.sql_name, key.target_columns[0])
            queue.append((target, (*chain, step)))
    return None


def _path_to_owner(
    start: Relation, tables: Mapping[str, Relation], users: Mapping[str, tuple[str, ...]]
) -> str | None:
    for key in start.foreign_keys:
        target = tables.get(key.target)
        if target is None or len(key.columns) != 1 or not users[target.key]:
            continue
        step = (key.columns[0], target.sql_name, key.target_columns[0])
        return _nested((step,), f"{quote(users[target.key][0])} = :user")
    return None


def _nested(chain: tuple[tuple[str, str, str], ...], last: str) -> str:
    text = last
    for column, table, target in reversed(chain):
        text = f"{quote(column)} in (select {quote(target)} from {table} where {text})"
    return text


def _members(
    tables: Mapping[str, Relation],
    users: Mapping[str, tuple[str, ...]],
    tenant_of: Mapping[str, str | None],
    roots: str | None,
) -> tuple[str, str, str] | None:
    found = []
    for key, each in tables.items():
        tenant = tenant_of[key]
        if key == roots or tenant is None or each.kind not in ("r", "p"):
            continue
        for user in users[key]:
            pair = {user, tenant}
            exact = any(set(unique) == pair for unique in each.uniques)
            by_user = any(set(unique) == {user} for unique in each.uniques)
            named = bool(re.search(r"member|user|profile|staff|people|role", each.name))
            score = 4 * exact + 2 * by_user + 2 * named
            if score >= 2:
                found.append((score, key, user, tenant))
    if not found:
        return None
    _, table, user, tenant = max(found, key=lambda each: (each[0], each[1]))
    return table, user, tenant
