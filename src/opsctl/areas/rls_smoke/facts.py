"""What the catalog says of relations, columns, keys, policies, functions and triggers.

Read in one round trip. Nothing here is judged; what a policy or a function says is used to make
up rows that tell policies apart, never to decide what is right.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from opsctl.adapters import postgres
from opsctl.adapters.sql import qualified, quote_literal
from opsctl.core.errors import Exit, OpsError

API_ROLES = ("anon", "authenticated", "service_role")
_LOCK_TIMEOUT_MS = 2000
_WRITABLE_KINDS = frozenset("rpv")


@dataclass(frozen=True)
class Column:
    """A column of a relation."""

    name: str
    type: str
    """As PostgreSQL prints it: `character varying(20)`."""
    base: str
    """Name of the type below domains: `uuid`, `varchar`, `_text` for an array."""
    category: str
    """pg_type.typcategory of that type: S text, N number, B boolean, D date, A array, E enum."""
    nullable: bool
    default: str
    identity: bool
    generated: bool
    labels: tuple[str, ...] = ()
    """Values of an enum."""


@dataclass(frozen=True)
class ForeignKey:
    """Columns that refer to another relation's."""

    columns: tuple[str, ...]
    target: str
    target_columns: tuple[str, ...]


@dataclass(frozen=True)
class Policy:
    """A row-level security policy."""

    name: str
    permissive: bool
    roles: tuple[str, ...]
    """Empty for PUBLIC."""
    command: str
    """`*`, or the first letter of the command: r a w d."""
    using: str
    check: str


@dataclass(frozen=True)
class Trigger:
    """A trigger that people made."""

    name: str
    function: str
    outside: bool
    """Whether its function could reach something outside the database."""


@dataclass(frozen=True)
class Relation:
    """A table, view, materialised view or foreign table."""

    schema: str
    name: str
    kind: str
    """pg_class.relkind: r p v m f."""
    oid: int
    row_security: bool
    columns: tuple[Column, ...]
    partition_of: str | None = None
    partition_bound: str = ""
    partition_key: tuple[str, ...] = ()
    primary_key: tuple[str, ...] = ()
    uniques: tuple[tuple[str, ...], ...] = ()
    """Columns of every unique index without expressions, the primary key's too."""
    foreign_keys: tuple[ForeignKey, ...] = ()
    checks: tuple[str, ...] = ()
    policies: tuple[Policy, ...] = ()
    triggers: tuple[Trigger, ...] = ()
    grants: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Role -> privileges on the whole: SELECT INSERT UPDATE DELETE."""
    column_grants: Mapping[str, Mapping[str, frozenset[str]]] = field(default_factory=dict)
    """Role -> privilege -> columns; also what follows from a grant on the whole."""
    reads: tuple[str, ...] = ()
    """For a view, the relations that it reads."""
    definition: str = ""
    """A view's query."""
    insertable: bool = True
    updatable: bool = True

    @property
    def key(self) -> str:
        """`schema.name`, unquoted: what the policy file calls it."""
        return f"{self.schema}.{self.name}"

    @property
    def sql(self) -> str:
        """The quoted name."""
        return qualified(self.schema, self.name)

    @property
    def sql_name(self) -> str:
        """The name for a person to read: quoted only where it must be."""
        plain = all(re.fullmatch(r"[a-z_][a-z0-9_]*", part) for part in (self.schema, self.name))
        return self.key if plain else self.sql

    @property
    def has_ctid(self) -> bool:
        """Whether a row is known by its place; a partitioned table's rows lie in many."""
        return self.kind in ("r", "m")

    @property
    def grouped_by(self) -> tuple[str, ...]:
        """The columns that a view with aggregates groups by: whose a row of it is, they tell."""
        found = re.search(r"\bGROUP BY ([^()]*?)(?: HAVING| ORDER| LIMIT|;|$)", self.definition)
        if self.kind != "v" or found is None:
            return ()
        names = [each.strip().rpartition(".")[2].strip('"') for each in found[1].split(",")]
        return tuple(each.name for each in self.columns if each.name in names)

    @property
    def writable(self) -> bool:
        """Whether rows might be written through it at all."""
        return self.kind in _WRITABLE_KINDS

    def column(self, name: str) -> Column | None:
        """Return a column by its name."""
        return next((each for each in self.columns if each.name == name), None)

    def readable(self, role: str) -> tuple[str, ...]:
        """Return the columns that a role may read, in the relation's order."""
        allowed = self.column_grants.get(role, {}).get("SELECT", frozenset())
        return tuple(each.name for each in self.columns if each.name in allowed)


@dataclass(frozen=True)
class Function:
    """A function that the API exposes."""

    schema: str
    name: str
    oid: int
    arguments: tuple[tuple[str, str], ...]
    """(name or empty, type) of each argument that is passed in."""
    security_definer: bool
    volatile: bool
    body: str
    roles: tuple[str, ...]
    """API roles that may execute it."""
    returns_trigger: bool
    defaults: int

    @property
    def sql(self) -> str:
        """The quoted name, without arguments."""
        return qualified(self.schema, self.name)


@dataclass(frozen=True)
class Schema:
    """Everything that probes, rows and mutants are made from."""

    relations: Mapping[str, Relation]
    """By key; all but the system's and extensions' own."""
    functions: tuple[Function, ...]
    """Of the exposed schemas."""
    bodies: Mapping[str, str]
    """Name of each function of the project -> its source; for finding out what policies read."""
    exposed: tuple[str, ...]
    """Keys of relations that the API exposes, sorted."""
    roles: tuple[str, ...]
    """API roles that exist."""
    bypassing: frozenset[str]
    """Roles that no policy binds."""
    major: int


def read_schema(connection: postgres.Connection, *, schemas: tuple[str, ...]) -> Schema:
    """Read the catalog of a database; `schemas` are those that the API exposes.

    Raises OpsError `database-locked` (exit 3) where a table is locked exclusively.
    """
    import psycopg

    # Expressions are printed under a lock: who holds a stronger one is not waited for.
    connection.execute(f"SET lock_timeout = {_LOCK_TIMEOUT_MS}".encode())
    try:
        row = connection.execute(
            _QUESTION, {"schemas": list(schemas), "roles": list(API_ROLES)}
        ).fetchone()
    except psycopg.errors.LockNotAvailable:
        raise OpsError(
            "The catalog was not read",
            why="somebody holds an exclusive lock on a table, perhaps a migration",
            hint="opsctl diagnose db shows who blocks whom; then try again",
            code="database-locked",
            exit=Exit.UNKNOWN,
        ) from None
    finally:
        connection.execute(b"RESET lock_timeout")
    document: dict[str, Any] = row[0] if row else {}
    relations = {}
    for each in document["relations"] or ():
        relation = _relation(each)
        relations[relation.key] = relation
    functions = tuple(_function(each) for each in document["functions"] or ())
    exposed = sorted(key for key, each in relations.items() if each.schema in schemas)
    return Schema(
        relations=relations,
        functions=functions,
        bodies=document["bodies"] or {},
        exposed=tuple(exposed),
        roles=tuple(role for role in API_ROLES if role in (document["roles"] or {})),
        bypassing=frozenset(r for r, bypasses in (document["roles"] or {}).items() if bypasses),
        major=connection.info.server_version // 10000,
    )


def _relation(each: dict[str, Any]) -> Relation:
    columns = tuple(
        Column(
            name=c["name"],
            type=c["type"],
            base=c["base"],
            category="E" if c["labels"] else c["category"],
            nullable=c["nullable"],
            default=c["default"] or "",
            identity=c["identity"],
            generated=c["generated"],
            labels=tuple(c["labels"] or ()),
        )
        for c in each["columns"] or ()
    )
    return Relation(
        schema=each["schema"],
        name=each["name"],
        kind=each["kind"],
        oid=each["oid"],
        row_security=each["row_security"],
        columns=columns,
        partition_of=each["partition_of"],
        partition_bound=each["partition_bound"] or "",
        partition_key=tuple(each["partition_key"] or ()),
        primary_key=tuple(each["primary_key"] or ()),
        uniques=tuple(tuple(u) for u in each["uniques"] or ()),
        foreign_keys=tuple(
            ForeignKey(tuple(k["columns"]), k["target"], tuple(k["target_columns"]))
            for k in each["foreign_keys"] or ()
        ),
        checks=tuple(each["checks"] or ()),
        policies=tuple(
            Policy(
                p["name"],
                p["permissive"],
                tuple(p["roles"] or ()),
                p["command"],
                p["using"] or "",
                p["check"] or "",
            )
            for p in each["policies"] or ()
        ),
        triggers=tuple(
            Trigger(t["name"], t["function"], t["outside"]) for t in each["triggers"] or ()
        ),
        grants={role: frozenset(held) for role, held in (each["grants"] or {}).items()},
        column_grants={
            role: {privilege: frozenset(names) for privilege, names in held.items()}
            for role, held in (each["column_grants"] or {}).items()
        },
        reads=tuple(each["reads"] or ()),
        definition=each["definition"] or "",
        insertable=bool(each["events"] & 8) or each["kind"] != "v",
        updatable=bool(each["events"] & 4) or each["kind"] != "v",
    )


def _function(each: dict[str, Any]) -> Function:
    names = each["names"] or []
    arguments = tuple(
        (names[index] if index < len(names) else "", kind)
        for index, kind in enumerate(each["types"] or ())
    )
    return Function(
        schema=each["schema"],
        name=each["name"],
        oid=each["oid"],
        arguments=arguments,
        security_definer=each["definer"],
        volatile=each["volatile"],
        body=each["body"] or "",
        roles=tuple(each["roles"] or ()),
        returns_trigger=each["trigger"],
        defaults=each["defaults"],
    )


# Functions that reach out of the database: a request, another database, a program, a queue, a
# listener. Found in the source of a trigger's function; what that calls in turn is not followed.
_OUTSIDE = (
    r"(net\.http_|http_(get|post|put|delete|request)|\mhttp\s*\(|dblink|pg_notify|\mnotify\M|"
    r"copy\s.*\mprogram\M|lo_export|supabase_functions\.|pgmq\.|cron\.schedule|pg_background|"
    r"postgres_fdw)"
)

_QUESTION = f"""
WITH rel AS (
  SELECT c.oid, n.nspname, c.relname, c.relkind, c.relrowsecurity, c.relispartition,
         c.relpartbound
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
    AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_class'::regclass
                    AND d.objid = c.oid AND d.deptype = 'e')
), api AS (
  SELECT oid, rolname FROM pg_catalog.pg_roles WHERE rolname = ANY (%(roles)s::text[])
), col AS (
  SELECT a.attrelid, jsonb_agg(jsonb_build_object(
    'name', a.attname, 'type', pg_catalog.format_type(a.atttypid, a.atttypmod),
    'base', coalesce(b.typname, t.typname), 'category', coalesce(b.typcategory, t.typcategory),
    'nullable', NOT (a.attnotnull OR t.typnotnull),
    'default', pg_catalog.pg_get_expr(ad.adbin, ad.adrelid),
    'identity', a.attidentity <> '', 'generated', a.attgenerated <> '',
    'labels', (SELECT jsonb_agg(e.enumlabel ORDER BY e.enumsortorder) FROM pg_catalog.pg_enum e
               WHERE e.enumtypid = coalesce(b.oid, t.oid))
  ) ORDER BY a.attnum) AS columns
  FROM pg_catalog.pg_attribute a JOIN rel ON rel.oid = a.attrelid
  JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
  LEFT JOIN pg_catalog.pg_type b ON t.typtype = 'd' AND b.oid = t.typbasetype
  LEFT JOIN pg_catalog.pg_attrdef ad ON ad.adrelid = a.attrelid AND ad.adnum = a.attnum
  WHERE a.attnum > 0 AND NOT a.attisdropped
  GROUP BY 1
), names AS (
  SELECT a.attrelid, a.attnum, a.attname FROM pg_catalog.pg_attribute a
  JOIN rel ON rel.oid = a.attrelid WHERE a.attnum > 0 AND NOT a.attisdropped
), idx AS (
  SELECT i.indrelid, i.indisprimary,
         (SELECT jsonb_agg(x.attname ORDER BY k.ord) FROM unnest(i.indkey::int2[])
          WITH ORDINALITY AS k(num, ord) JOIN names x ON x.attrelid = i.indrelid
          AND x.attnum = k.num WHERE k.ord <= i.indnkeyatts) AS columns
  FROM pg_catalog.pg_index i JOIN rel ON rel.oid = i.indrelid
  WHERE i.indisunique AND i.indisvalid AND i.indexprs IS NULL
), con AS (
  SELECT k.conrelid, k.contype, k.conkey, k.confkey, k.confrelid,
         pg_catalog.pg_get_constraintdef(k.oid) AS definition
  FROM pg_catalog.pg_constraint k JOIN rel ON rel.oid = k.conrelid
  WHERE k.contype IN ('f', 'c')
), fk AS (
  SELECT con.conrelid, jsonb_agg(jsonb_build_object(
    'columns', (SELECT jsonb_agg(x.attname ORDER BY u.ord) FROM unnest(con.conkey) WITH ORDINALITY
                AS u(num, ord) JOIN names x ON x.attrelid = con.conrelid AND x.attnum = u.num),
    'target', target.nspname || '.' || target.relname,
    'target_columns', (SELECT jsonb_agg(x.attname ORDER BY u.ord) FROM unnest(con.confkey)
                WITH ORDINALITY AS u(num, ord) JOIN names x ON x.attrelid = con.confrelid
                AND x.attnum = u.num)) ORDER BY con.definition) AS keys
  FROM con JOIN rel target ON target.oid = con.confrelid WHERE con.contype = 'f'
  GROUP BY 1
), pol AS (
  SELECT p.polrelid, jsonb_agg(jsonb_build_object(
    'name', p.polname, 'permissive', p.polpermissive, 'command', p.polcmd,
    'roles', (SELECT jsonb_agg(r.rolname ORDER BY 1) FROM pg_catalog.pg_roles r
              WHERE r.oid = ANY (p.polroles)),
    'using', pg_catalog.pg_get_expr(p.polqual, p.polrelid),
    'check', pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid)) ORDER BY p.polname) AS policies
  FROM pg_catalog.pg_policy p JOIN rel ON rel.oid = p.polrelid GROUP BY 1
), trg AS (
  SELECT t.tgrelid, jsonb_agg(jsonb_build_object(
    'name', t.tgname, 'function', p.oid::regproc::text, 'outside', p.prosrc ~* {quote_literal(_OUTSIDE)}
      OR l.lanname !~ '^(plpgsql|sql|internal)$') ORDER BY t.tgname) AS triggers
  FROM pg_catalog.pg_trigger t JOIN rel ON rel.oid = t.tgrelid
  JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid JOIN pg_catalog.pg_language l ON l.oid = p.prolang
  WHERE NOT t.tgisinternal GROUP BY 1
)
SELECT jsonb_build_object(
'relations', (SELECT jsonb_agg(jsonb_build_object(
  'schema', rel.nspname, 'name', rel.relname, 'kind', rel.relkind, 'oid', rel.oid::int8,
  'row_security', rel.relrowsecurity, 'columns', col.columns,
  'partition_of', CASE WHEN rel.relispartition THEN (SELECT p.nspname || '.' || p.relname
     FROM pg_catalog.pg_inherits i JOIN rel p ON p.oid = i.inhparent WHERE i.inhrelid = rel.oid) END,
  'partition_bound', pg_catalog.pg_get_expr(rel.relpartbound, rel.oid),
  'partition_key', (SELECT jsonb_agg(x.attname ORDER BY u.ord) FROM pg_catalog.pg_partitioned_table pt,
     unnest(pt.partattrs::int2[]) WITH ORDINALITY AS u(num, ord) JOIN names x ON x.attnum = u.num
     WHERE pt.partrelid = rel.oid AND x.attrelid = rel.oid),
  'primary_key', (SELECT idx.columns FROM idx WHERE idx.indrelid = rel.oid AND idx.indisprimary),
  'uniques', (SELECT jsonb_agg(idx.columns ORDER BY idx.columns) FROM idx WHERE idx.indrelid = rel.oid),
  'foreign_keys', fk.keys,
  'checks', (SELECT jsonb_agg(con.definition ORDER BY 1) FROM con
             WHERE con.conrelid = rel.oid AND con.contype = 'c'),
  'policies', pol.policies, 'triggers', trg.triggers,
  'grants', (SELECT jsonb_object_agg(g.rolname, g.held) FROM (
     SELECT api.rolname, jsonb_agg(v.privilege) AS held FROM api, (VALUES ('SELECT'), ('INSERT'),
       ('UPDATE'), ('DELETE')) AS v(privilege)
     WHERE pg_catalog.has_table_privilege(api.oid, rel.oid, v.privilege)
       AND pg_catalog.has_schema_privilege(api.oid, rel.nspname, 'USAGE') GROUP BY 1) g),
  'column_grants', (SELECT jsonb_object_agg(g.rolname, g.held) FROM (
     SELECT h.rolname, jsonb_object_agg(h.privilege, h.columns) AS held FROM (
       SELECT api.rolname, v.privilege, jsonb_agg(names.attname) AS columns
       FROM api, names, (VALUES ('SELECT'), ('INSERT'), ('UPDATE')) AS v(privilege)
       WHERE names.attrelid = rel.oid
         AND pg_catalog.has_column_privilege(api.oid, rel.oid, names.attnum, v.privilege)
         AND pg_catalog.has_schema_privilege(api.oid, rel.nspname, 'USAGE')
       GROUP BY 1, 2) h GROUP BY 1) g),
  'reads', (SELECT jsonb_agg(DISTINCT s.nspname || '.' || s.relname)
     FROM pg_catalog.pg_rewrite w JOIN pg_catalog.pg_depend d ON d.classid = 'pg_rewrite'::regclass
       AND d.objid = w.oid AND d.refclassid = 'pg_class'::regclass
     JOIN rel s ON s.oid = d.refobjid AND s.oid <> rel.oid WHERE w.ev_class = rel.oid),
  'definition', CASE WHEN rel.relkind IN ('v', 'm') THEN pg_catalog.pg_get_viewdef(rel.oid) END,
  'events', pg_catalog.pg_relation_is_updatable(rel.oid, false)
  ) ORDER BY rel.nspname, rel.relname)
  FROM rel LEFT JOIN col ON col.attrelid = rel.oid LEFT JOIN fk ON fk.conrelid = rel.oid
  LEFT JOIN pol ON pol.polrelid = rel.oid LEFT JOIN trg ON trg.tgrelid = rel.oid),
'functions', (SELECT jsonb_agg(jsonb_build_object(
  'schema', n.nspname, 'name', p.proname, 'oid', p.oid::int8, 'definer', p.prosecdef,
  'volatile', p.provolatile = 'v', 'body', p.prosrc, 'names', p.proargnames,
  'types', (SELECT jsonb_agg(pg_catalog.format_type(u.t, NULL) ORDER BY u.ord)
            FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY AS u(t, ord)),
  'trigger', p.prorettype IN ('trigger'::regtype, 'event_trigger'::regtype),
  'defaults', p.pronargdefaults,
  'roles', (SELECT jsonb_agg(api.rolname ORDER BY 1) FROM api
            WHERE pg_catalog.has_function_privilege(api.oid, p.oid, 'EXECUTE')
              AND pg_catalog.has_schema_privilege(api.oid, n.oid, 'USAGE'))
  ) ORDER BY n.nspname, p.proname, p.oid)
  FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
  WHERE n.nspname = ANY (%(schemas)s::text[]) AND p.prokind = 'f'
    AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_proc'::regclass
                    AND d.objid = p.oid AND d.deptype = 'e')),
'bodies', (SELECT jsonb_object_agg(p.proname, p.prosrc) FROM pg_catalog.pg_proc p
  JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
  JOIN pg_catalog.pg_language l ON l.oid = p.prolang
  WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND l.lanname IN ('sql', 'plpgsql')
    AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_proc'::regclass
                    AND d.objid = p.oid AND d.deptype = 'e')),
'roles', (SELECT jsonb_object_agg(r.rolname, r.rolsuper OR r.rolbypassrls) FROM pg_catalog.pg_roles r)
)
"""  # noqa: E501 - SQL
