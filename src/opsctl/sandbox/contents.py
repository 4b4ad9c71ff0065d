"""What the embedded world holds: the sample application's files, its schema and its rows."""

from __future__ import annotations

import hashlib
import importlib.resources
from pathlib import Path

import psycopg

from opsctl.adapters.sql import split_statements

_PACKAGE = "opsctl.sandbox"


def write_project(app: Path) -> None:
    """Write the sample application's files: settings of both tools, migrations as twins."""
    source = importlib.resources.files(_PACKAGE) / "project"
    for entry in sorted(source.iterdir(), key=lambda each: each.name):
        if not entry.name.endswith(".sql"):
            continue
        data = entry.read_bytes()
        supabase = app / "supabase" / "migrations" / entry.name
        name, down = entry.name.removesuffix(".sql"), "migration.sql"
        if name.endswith(".down"):
            name, down = name.removesuffix(".down"), "down.sql"
            # Beside the migrations the real tool would take it for one.
            supabase = supabase.parent / "down" / entry.name
        for path in (supabase, app / "prisma" / "migrations" / name / down):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    for name, text in _PROJECT_FILES.items():
        (app / name).parent.mkdir(parents=True, exist_ok=True)
        (app / name).write_text(text, encoding="utf-8")


def fill(url: str, *, app: Path) -> None:
    """Fill an empty database: what Supabase brings, the application's migrations, its rows."""
    migrations = app / "supabase" / "migrations"
    files = [path for path in sorted(migrations.glob("*.sql")) if ".down." not in path.name]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.prepare_threshold = None
        # What fills the sandbox is not what its application does.
        connection.execute("SELECT set_config('pg_stat_statements.track', 'none', false)")
        connection.execute(_resource("baseline.sql"))
        connection.execute(_STATISTICS)
        connection.execute(_PRISMA_TABLE)
        for path in files:
            if path == files[-1]:
                connection.execute(_resource("rows.sql"))
            migrate(connection, path)
        connection.execute(_resource("rows_after.sql"))
        connection.execute("ANALYZE")
    _use(url)


def migrate(connection: psycopg.Connection[tuple[object, ...]], path: Path) -> None:
    """Apply one migration and record it as both tools do."""
    data = path.read_bytes()
    version, _, name = path.stem.partition("_")
    with connection.transaction():
        connection.execute(data)
        connection.execute(
            "INSERT INTO supabase_migrations.schema_migrations VALUES (%s, %s, %s)",
            (version, list(split_statements(data.decode())), name),
        )
        connection.execute(
            "INSERT INTO public._prisma_migrations (id, checksum, finished_at, "
            "migration_name, applied_steps_count) "
            "VALUES (gen_random_uuid()::text, %s, now(), %s, 1)",
            (hashlib.sha256(data).hexdigest(), path.stem),
        )


def _use(url: str) -> None:
    """Do what the application's people do on a quiet morning: statistics need statements."""
    with psycopg.connect(url, autocommit=True, application_name="web") as connection:
        connection.prepare_threshold = None
        for turn in range(_TURNS):
            tenant = 1 + turn % 40
            with connection.transaction():
                connection.execute("SET LOCAL ROLE authenticated")
                claims = f'{{"sub": "00000000-0000-4000-8000-{tenant:012}"}}'
                connection.execute("SELECT set_config('request.jwt.claims', %s, true)", (claims,))
                for query in _PAGES:
                    connection.execute(query)
            connection.execute(_REPORT, (tenant,))


def _resource(name: str) -> bytes:
    return (importlib.resources.files(_PACKAGE) / name).read_bytes()


_PRISMA_TABLE = """
CREATE TABLE public._prisma_migrations (
  id varchar(36) PRIMARY KEY,
  checksum varchar(64) NOT NULL,
  finished_at timestamptz,
  migration_name varchar(255) NOT NULL,
  logs text,
  rolled_back_at timestamptz,
  started_at timestamptz NOT NULL DEFAULT now(),
  applied_steps_count integer NOT NULL DEFAULT 0
)
"""

_STATISTICS = """
DO $$ BEGIN
  IF EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_stat_statements') THEN
    CREATE EXTENSION pg_stat_statements WITH SCHEMA extensions;
  END IF;
END $$
"""

_TURNS = 25
_PAGES = (
    "SELECT id, name FROM public.projects WHERE NOT archived ORDER BY name LIMIT 20",
    "SELECT number, amount, currency FROM public.invoices ORDER BY issued_on DESC LIMIT 20",
    "SELECT currency, amount FROM public.open_totals",
    "SELECT count(*) FROM public.reminders",
)
_REPORT = (
    "SELECT what, at FROM public.audit_log WHERE tenant_id = %s AND what LIKE '%%INVOICE%%' "
    "ORDER BY at DESC LIMIT 50"
)

_PROJECT_FILES = {
    "supabase/config.toml": 'project_id = "sandbox"\n\n[db]\nmajor_version = 17\n',
    "prisma/migrations/migration_lock.toml": 'provider = "postgresql"\n',
    "prisma/schema.prisma": (
        'generator client {\n  provider = "prisma-client-js"\n}\n\n'
        'datasource db {\n  provider = "postgresql"\n  url      = env("DATABASE_URL")\n}\n'
    ),
    "prisma.config.ts": (
        'import { PrismaPg } from "@prisma/adapter-pg";\n'
        'import { defineConfig } from "prisma/config";\n\n'
        "export default defineConfig({\n"
        '  schema: "prisma/schema.prisma",\n'
        "  experimental: { adapter: true },\n"
        '  engine: "js",\n'
        "  adapter: async () => new PrismaPg({ connectionString: process.env.DATABASE_URL }),\n"
        "});\n"
    ),
}
