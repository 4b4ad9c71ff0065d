"""Lints of roles, grants, schemas and extensions: what the API's roles hold beside policies."""

from __future__ import annotations

from collections.abc import Iterator

from opsctl.adapters.sql import quote_identifier
from opsctl.areas.rls_smoke.lint_catalog import Catalog
from opsctl.areas.rls_smoke.lint_hit import ERROR, NOTE, WARNING, Hit, joined
from opsctl.areas.rls_smoke.lint_objects import PLATFORM, READ, ROLES, WRITES, Role

_ALL = (READ, *WRITES)
_EXCESS = ("TRUNCATE", "REFERENCES", "TRIGGER")
_INTERNAL = frozenset(
    {"auth", "vault", "cron", "net", "pgsodium", "supabase_functions", "supabase_migrations"}
) | {"pgmq", "_analytics", "_realtime", "pgbouncer"}
_SECRET = frozenset({"auth", "vault", "cron", "pgsodium"})
_KINDS = {"r": "TABLES", "S": "SEQUENCES", "f": "FUNCTIONS"}


def lint_grants(catalog: Catalog) -> Iterator[Hit]:
    """Return what API roles hold that they should not."""
    yield from _roles(catalog)
    yield from _owners(catalog)
    yield from _schemas(catalog)
    yield from _tables(catalog)
    yield from _defaults(catalog)
    yield from _internal(catalog)
    yield from _extensions(catalog)


def _roles(catalog: Catalog) -> Iterator[Hit]:
    owners = {table.owner for table in catalog.our_tables}
    for role in catalog.roles.values():
        if role.name in catalog.api_roles or role.name == "authenticator":
            yield from _attributes(role)
        for api in sorted(role.member - {role.name}):
            why = _too_much(role, owners)
            if why:
                yield Hit(
                    "api-role-privileged",
                    f"role {api}",
                    f"{api} is a member of {role.name}",
                    ERROR,
                    why,
                    (f"REVOKE {quote_identifier(role.name)} FROM {api}",),
                )


def _too_much(role: Role, owners: set[int]) -> str:
    """Return why an API role must not be a member of a role; empty where it may."""
    if role.superuser or role.bypasses:
        return "no policy binds it"
    if role.oid in owners:
        return "it owns tables, and no policy binds an owner"
    if role.name in (*ROLES, "authenticator"):
        return "its policies bind both"
    return "it is one of PostgreSQL's own" if role.name.startswith("pg_") else ""


def _attributes(role: Role) -> Iterator[Hit]:
    may = {
        "SUPERUSER": role.superuser,
        "BYPASSRLS": role.bypasses,
        "LOGIN": role.logs_in and role.name != "authenticator",
        "CREATEROLE": role.creates_roles,
        "CREATEDB": role.creates_databases,
        "REPLICATION": role.replicates,
    }
    held = [word for word, yes in may.items() if yes]
    if held:
        yield Hit(
            "api-role-privileged",
            f"role {role.name}",
            f"{role.name} has {joined(held)}",
            ERROR,
            "a stranger's request runs as it"
            if role.name != "authenticator"
            else "every request logs in as it",
            (f"ALTER ROLE {role.name} {' '.join('NO' + word for word in held)}",),
        )
    if role.name == "authenticator" and role.inherits and role.logs_in:
        yield Hit(
            "authenticator-inherits",
            "role authenticator",
            "authenticator has the rights of service_role before it becomes anybody",
            WARNING,
            "it inherits",
            ("ALTER ROLE authenticator NOINHERIT",),
        )


def _owners(catalog: Catalog) -> Iterator[Hit]:
    """Find tables whose owner, whom no policy binds unless forced, is one of the API's roles."""
    for table in catalog.our_tables:
        owner = catalog.roles.get(table.owner)
        if owner is None or owner.name not in (*catalog.api_roles, "authenticator"):
            continue
        if table.row_security and not table.forced:
            yield Hit(
                "rls-not-forced",
                table.key,
                f"{owner.name} owns {table.key}, so that no policy binds it",
                ERROR,
                "the owner may also change the table",
                (f"ALTER TABLE {table.sql} FORCE ROW LEVEL SECURITY",),
                f"better: ALTER TABLE {table.sql} OWNER TO postgres",
            )


def _schemas(catalog: Catalog) -> Iterator[Hit]:
    for schema in catalog.schemas.values():
        if schema.creatable and (catalog.is_ours(schema.name) or schema.name in catalog.exposed):
            who = joined(sorted(schema.creatable))
            yield Hit(
                "schema-create-granted",
                f"schema {schema.name}",
                f"{who} may create objects in {schema.name}",
                ERROR,
                "what they create can stand in for what functions mean",
                (
                    f"REVOKE CREATE ON SCHEMA {quote_identifier(schema.name)} FROM PUBLIC, "
                    f"{', '.join(sorted(schema.creatable))}",
                ),
            )
    for name in catalog.undeclared:
        yield Hit(
            "exposed-schema-undeclared",
            f"schema {name}",
            f"The API serves {name}, which the settings do not name",
            WARNING,
            "pgrst.db_schemas of authenticator names it; the lints took it in",
            advice="add it to rls.schemas, or take it out of the API's schemas",
        )


def _tables(catalog: Catalog) -> Iterator[Hit]:
    excess: dict[str, list[tuple[str, str]]] = {}
    sequences: dict[str, list[tuple[str, str]]] = {}
    for each in catalog.ours:
        if each.schema not in catalog.exposed:
            continue
        data = sorted(word for word in each.public if word in _ALL)
        if data and each.kind != "S":
            yield Hit(
                "table-granted-to-public",
                each.key,
                f"Every role, anon too, may {joined(data).lower()} {each.key}",
                WARNING,
                "the privilege was given to PUBLIC",
                (f"REVOKE ALL ON {each.sql} FROM PUBLIC",),
                "grant it to the roles that need it",
            )
        wanted = {"S": ("UPDATE",), "r": _EXCESS, "p": _EXCESS}.get(each.kind, ())
        words = [w for w in wanted if any(each.may(r, w) for r in catalog.api_roles)]
        if words and any(catalog.uses(role, each.schema) for role in catalog.api_roles):
            what = f"SEQUENCE {each.sql}" if each.kind == "S" else each.sql
            roles = ", ".join(catalog.api_roles)
            mend = f"REVOKE {', '.join(words)} ON {what} FROM PUBLIC, {roles}"
            group = sequences if each.kind == "S" else excess
            group.setdefault(each.schema, []).append((each.key, mend))
    for schema, found in excess.items():
        yield _grouped(
            "api-role-may-truncate",
            schema,
            f"API roles may truncate, or refer to, {len(found)} tables, whatever the policies say",
            "no request of the API can, SQL that runs as them can",
            found,
        )
    for schema, found in sequences.items():
        yield _grouped(
            "sequence-writable",
            schema,
            f"API roles may set {len(found)} sequences back",
            "an insert needs no more than USAGE",
            found,
        )


def _grouped(
    rule: str, schema: str, title: str, evidence: str, found: list[tuple[str, str]]
) -> Hit:
    keys = tuple(key for key, _ in found)
    mend = tuple(statement for _, statement in found)
    shown = f"{evidence}: {joined(keys, most=6)}"
    return Hit(rule, f"schema {schema}", title, NOTE, shown, mend, objects=keys)


def _defaults(catalog: Catalog) -> Iterator[Hit]:
    groups: dict[tuple[str, str | None, str], dict[str, list[str]]] = {}
    for each in catalog.default_privileges:
        if each.kind in "rS" and (each.schema is None or catalog.is_ours(each.schema)):
            key = (each.owner, each.schema, each.kind)
            groups.setdefault(key, {}).setdefault(each.grantee, []).append(each.privilege)
    for (owner, schema, kind), grantees in groups.items():
        if kind == "S" and not any("UPDATE" in words for words in grantees.values()):
            continue
        where = f" IN SCHEMA {quote_identifier(schema)}" if schema else ""
        everybody = "PUBLIC" in grantees
        exposed = schema is None or schema in catalog.exposed
        yield Hit(
            "default-privileges-open",
            f"schema {schema}" if schema else f"role {owner}",
            f"{_KINDS[kind].capitalize()} that {owner} makes will be open to {joined(grantees)}",
            WARNING if everybody or not exposed else NOTE,
            "; ".join(
                f"{who}: {', '.join(sorted(words)).lower()}" for who, words in grantees.items()
            )
            + (
                "; Supabase's own default, safe only as long as each table gets its policies"
                if kind == "r"
                else ""
            ),
            tuple(
                f"ALTER DEFAULT PRIVILEGES FOR ROLE {quote_identifier(owner)}{where} REVOKE ALL ON "
                f"{_KINDS[kind]} FROM {who}"
                for who in grantees
            ),
            "then grant in each migration what is meant",
        )


def _internal(catalog: Catalog) -> Iterator[Hit]:
    for name in catalog.exposed:
        if name in _INTERNAL and name in catalog.schemas:
            yield Hit(
                "internal-schema-reachable",
                f"schema {name}",
                f"The API exposes the schema {name}",
                ERROR,
                "rls.schemas or pgrst.db_schemas names it",
                advice=f"take {name} out of the schemas that the API exposes",
            )
    for relation in catalog.relations.values():
        if relation.schema not in _INTERNAL or relation.kind == "S" or relation.schema == "pgmq":
            continue
        roles = [
            r
            for r in catalog.api_roles
            if catalog.uses(r, relation.schema) and any(relation.may(r, word) for word in _ALL)
        ]
        open_ = not relation.row_security or relation.kind not in "rp"
        if roles and open_ and relation.schema != "net":
            words = [w for w in _ALL if any(relation.may(r, w) for r in roles)]
            column = not any(w in relation.held.get(r, ()) for r in roles for w in _ALL)
            yield Hit(
                "internal-schema-reachable",
                relation.key,
                f"{joined(roles)} may {joined(words).lower()} "
                f"{'columns of ' if column else ''}{relation.key}",
                ERROR if relation.schema in _SECRET else NOTE,
                "a schema that is not the application's",
                (f"REVOKE ALL ON {relation.sql} FROM PUBLIC, {', '.join(roles)}",),
            )


def _extensions(catalog: Catalog) -> Iterator[Hit]:
    create = () if "extensions" in catalog.schemas else ("CREATE SCHEMA extensions",)
    for each in catalog.extensions:
        if each.schema in catalog.exposed and PLATFORM.fullmatch(each.schema) is None:
            move = f"ALTER EXTENSION {quote_identifier(each.name)} SET SCHEMA extensions"
            make = (
                f"DROP EXTENSION {quote_identifier(each.name)}",
                f"CREATE EXTENSION {quote_identifier(each.name)} SCHEMA extensions",
            )
            yield Hit(
                "extension-in-public",
                f"extension {each.name}",
                f"The extension {each.name} is in {each.schema}, so its functions are in the API",
                WARNING,
                f"version {each.version}",
                (*create, *((move,) if each.relocatable else make)),
                "what names its functions or types without a schema needs extensions in search_path"
                if each.relocatable
                else "it cannot be moved: what depends on it must be made anew",
            )
        if (
            each.available
            and each.available != each.version
            and _newer(each.available, each.version)
        ):
            yield Hit(
                "extension-versions-outdated",
                f"extension {each.name}",
                f"The extension {each.name} is at {each.version}, the server has {each.available}",
                WARNING,
                "security fixes of extensions come with their update scripts",
                (f"ALTER EXTENSION {quote_identifier(each.name)} UPDATE",),
            )


def _newer(one: str, other: str) -> bool:
    def parts(version: str) -> list[tuple[int, str]]:
        return [
            (int(p), "") if p.isdigit() else (-1, p) for p in version.replace("-", ".").split(".")
        ]

    return parts(one) > parts(other)
