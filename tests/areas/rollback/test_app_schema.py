"""Whether old code can run on a newer schema: by kind of change, and by real migrations in git."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest

from opsctl.adapters import catalog
from opsctl.areas.rollback.app_schema import SchemaFit, judge_schema, refusal, what_breaks
from opsctl.core.call import Call
from opsctl.core.errors import Exit
from opsctl.core.process import run_program
from opsctl.core.settings import Settings

ADDS = {
    "a table": "create table public.fresh (id int primary key, x text not null)",
    "a column that may be null": "alter table public.notes add column x text",
    "a column that fills itself": "alter table public.notes add column x int not null default 0",
    "a check of a new column": "alter table public.notes add column state text not null default "
    "'open'; alter table public.notes add constraint s check (state in ('open', 'done'))",
    "an index": "create index on public.notes (title)",
    "a function": "create function public.f() returns int language sql as 'select 1'",
    "a permissive policy": "create policy p on public.notes for insert with check (true)",
    "a grant": "grant insert on public.notes to anon",
    "a view": "create view public.v as select 1 as one",
    "unique on a new table": "create table public.fresh (id int primary key, x text unique)",
}
BREAKS = {
    "drop table public.logs": "table public.logs is gone",
    "alter table public.notes drop column body": "column public.notes.body is gone",
    "alter table public.notes rename body to text": "column public.notes.body is gone",
    "alter table public.notes alter price type numeric(12, 4)": "public.notes.price was changed",
    "alter table public.notes alter body set not null": "column public.notes.body was changed",
    "alter table public.notes add x int not null default 0; "
    "alter table public.notes alter x drop default": "public.notes.x is new and must be given",
    "alter table public.notes add constraint c check (price >= 0)": "constraint public.notes.c is",
    "alter table public.notes add constraint u unique (title)": "constraint public.notes.u is new",
    "create unique index only_one on public.notes (title)": "unique index public.only_one is new",
    "create policy p on public.notes as restrictive using (false)": "policy public.notes.p is new",
    "drop policy notes_read on public.notes": "policy public.notes.notes_read is gone",
    "revoke select on public.notes from anon": "grant TABLE public.notes to anon",
    "create or replace function public.shout(t text) returns text language sql immutable as "
    "$$ select t $$": "function public.shout(t text) was changed",
    "drop view public.titles": "view public.titles is gone",
    "alter type public.mood rename value 'sad' to 'low'": "enum public.mood was changed",
    "alter table public.logs enable row level security": "table public.logs was changed",
    "create function public.f() returns trigger language plpgsql as 'begin return new; end'; "
    "create trigger t before insert on public.notes for each row execute function public.f()":
    "trigger public.notes.t is new",
}  # fmt: skip


def test_what_only_adds_breaks_nothing_and_the_rest_is_named(project: Any) -> None:
    with psycopg.connect(project.url, autocommit=True) as connection:
        connection.execute("update public.notes set body = 'x' where body is null")
        then = catalog.read_catalog(connection)

        def breaks(script: str) -> tuple[str, ...]:
            with connection.transaction(force_rollback=True):
                connection.execute(script.encode())
                now = catalog.read_catalog(connection)
            return what_breaks(catalog.compare(now, then), then=then)

        assert dict.fromkeys(ADDS, ()) == {name: breaks(sql) for name, sql in ADDS.items()}
        for script, expected in BREAKS.items():
            found = breaks(script)
            assert any(expected in line for line in found), (script, found)


@pytest.fixture
def commits(project: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The project's first migration committed, then one that adds, then one that takes away."""
    who = {"NAME": "A", "EMAIL": "a@example.com"}
    for key, value in who.items():
        monkeypatch.setenv(f"GIT_AUTHOR_{key}", value)
        monkeypatch.setenv(f"GIT_COMMITTER_{key}", value)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")

    def git(*words: str) -> str:
        done = run_program(["git", *words], cwd=str(project.root))
        assert done.exit_code == 0, done.stderr
        return done.stdout.strip()

    def commit() -> str:
        git("add", "supabase", "prisma")
        git("commit", "-q", "-m", "A migration")
        return git("rev-parse", "HEAD")

    git("init", "-q")
    made = [commit()]
    project.migrate("20260201000000", "alter table public.notes add column mark text",
                    tools="supabase prisma")  # fmt: skip
    made.append(commit())
    return made


def judge(project: Any, commit: str) -> tuple[SchemaFit, Call]:
    environment = {"database": {"url": "env:OPSCTL_TEST_DATABASE"}}
    settings = Settings.model_validate_json(json.dumps({"environments": {"test": environment}}))
    call = Call(settings, project.root, "test", lambda line: None)
    return judge_schema(call, commit), call


def test_migrations_in_git_are_held_against_the_database(project: Any, commits: list[str]) -> None:
    same, call = judge(project, commits[1])
    fits, _ = judge(project, commits[0])
    project.migrate("20260301000000", "drop table public.logs", tools="supabase")
    breaks, _ = judge(project, commits[1])
    project.execute(
        "delete from supabase_migrations.schema_migrations where version >= '20260201000000';"
        "delete from public._prisma_migrations where migration_name like '20260201%'"
    )
    behind, _ = judge(project, commits[1])
    unknown, _ = judge(project, "f" * 40)

    assert ["same", "fits", "breaks", "breaks", "unknown"] == [
        each.word for each in (same, fits, breaks, behind, unknown)
    ]
    assert ("20260201000000_m0000",) == fits.ahead
    assert ("table public.logs is gone",) == breaks.breaks
    assert ("20260201000000_m0000",) == behind.behind
    assert "git -C" in unknown.said
    assert refusal(same, call) is None
    assert refusal(fits, call) is None
    stopped = refusal(breaks, call)
    assert stopped is not None
    assert ("schema-breaks", Exit.REFUSED) == (stopped.code, stopped.exit)
    assert "opsctl rollback db --to 20260201000000 --env test" in stopped.hint
    unsure = refusal(unknown, call)
    assert unsure is not None
    assert ("schema-unknown", Exit.UNKNOWN) == (unsure.code, unsure.exit)


def test_a_database_that_does_not_answer_leaves_it_unknown(
    project: Any, commits: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    password = "-".join(["canary", "password"])
    monkeypatch.setenv("OPSCTL_TEST_DATABASE", f"postgresql://me:{password}@127.0.0.1:1/x")

    found, _ = judge(project, commits[0])

    assert "unknown" == found.word
    assert password not in found.said
