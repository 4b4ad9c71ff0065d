"""The room through the front door: formats, exit codes, the policy file's errors."""
# ruff: noqa: E501 - SQL

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from .designs import TENANTS

LEAK = "alter policy profiles_read on public.profiles using (tenant_id is not null)"


def opsctl(root: Path, url: str, *words: str) -> subprocess.CompletedProcess[str]:
    (root / "opsctl.yaml").write_text(
        "environments:\n  test:\n    database:\n      url: env:T_DATABASE_URL\n"
    )
    argv = [sys.executable, "-m", "opsctl", "rls-smoke", *words]
    return subprocess.run(
        argv, cwd=root, capture_output=True, text=True, check=False,
        env={**os.environ, "T_DATABASE_URL": url},
    )  # fmt: skip


def prepare(url: str, *scripts: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for script in (TENANTS, *scripts):
            connection.execute(script.encode())


def test_written_down_corrected_and_held_against(
    supabase_database_url: str, tmp_path: Path
) -> None:
    prepare(supabase_database_url)
    written = opsctl(tmp_path, supabase_database_url, "init", "--output", "rls.yaml")
    well = opsctl(tmp_path, supabase_database_url, "--format", "json")
    prepare_leak = psycopg.connect(supabase_database_url, autocommit=True)
    with prepare_leak as connection:
        connection.execute(LEAK.encode())
    leak = opsctl(tmp_path, supabase_database_url, "check", "--format", "json")

    assert 0 == written.returncode, written.stderr
    assert 0 == well.returncode, well.stdout
    assert 1 == leak.returncode
    document = json.loads(leak.stdout)
    assert [("rls-more", "public.profiles")] == [
        (each["rule"], each["location"]["object"])
        for each in document["findings"]
        if each["status"] == "failed" and each["severity"] == "error"
    ]
    cells = {(c["relation"], c["actor"], c["verb"]): c for c in document["data"]["cells"]}
    assert (4, 1, True) == tuple(
        cells["public.profiles", "b", "select"][name] for name in ("reached", "expected", "wrong")
    )


def test_nothing_is_written_to_the_live_database(
    supabase_database_url: str, tmp_path: Path
) -> None:
    prepare(supabase_database_url)

    def digest() -> object:
        with psycopg.connect(supabase_database_url) as connection:
            return connection.execute(
                "SELECT (SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_user_tables), "
                "(SELECT count(*) FROM public.profiles), (SELECT count(*) FROM pg_policy), "
                "(SELECT count(*) FROM pg_class)"
            ).fetchone()

    before = digest()
    opsctl(tmp_path, supabase_database_url, "init", "--output", "rls.yaml")
    done = opsctl(tmp_path, supabase_database_url, "check", "--mutate", "--live")

    # Unknown: the live tables are empty, so the isolation of tenants shows in nothing.
    assert 3 == done.returncode, done.stderr
    assert before == digest()


@pytest.mark.parametrize("format_", ["junit", "sarif", "github", "markdown", "json"])
def test_every_format_says_it(supabase_database_url: str, tmp_path: Path, format_: str) -> None:
    prepare(supabase_database_url, LEAK)
    done = opsctl(tmp_path, supabase_database_url, "--format", format_)

    assert 1 == done.returncode
    assert "public.profiles" in done.stdout


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("version: 1\nactors: {a: {role: nobody}}\n", "policy-file"),
        ("version: 1\nactors: {}\ntables: {public.x: {may: {somebody: all}}}\n", "policy-file"),
        ("version: 1\nactors: {a: {role: anon}}\ntables: {public.x: {mya: {}}}\n", "policy-file"),
        ("version: 1\nactors: [", "yaml-syntax"),
        (
            "version: 1\nactors: {a: {role: anon}}\ntables: {public.profiles: {may: {anon: {select: nonsense}}}}\n",
            "policy-rule",
        ),
        ("version: 1\nseed: missing.sql\nactors: {a: {role: anon}}\n", "rls-seed"),
    ],
)
def test_a_bad_policy_file_is_said_where(
    supabase_database_url: str, tmp_path: Path, text: str, code: str
) -> None:
    prepare(supabase_database_url)
    (tmp_path / "rls.yaml").write_text(text)
    done = opsctl(tmp_path, supabase_database_url, "--format", "json")

    assert (2, code) == (done.returncode, json.loads(done.stdout)["error"]["code"])


@pytest.mark.parametrize(("tenants", "code"), [(1, 3), (2, 0)])
def test_a_seed_of_one_tenant_alone_is_unknown(
    supabase_database_url: str, tmp_path: Path, tenants: int, code: int
) -> None:
    prepare(supabase_database_url)
    opsctl(tmp_path, supabase_database_url, "init", "--output", "rls.yaml")
    rows = ""
    for letter, people in (("a", 3), ("b", 1))[:tenants]:
        tenant = f"{letter * 8}-1111-4000-8000-000000000000"
        rows += f"insert into public.tenants values ('{tenant}', 'x');"
        for number in range(1, people + 1):
            user = f"{letter * 8}-0000-4000-8000-00000000000{number}"
            rows += f"insert into public.profiles values ('{user}', '{tenant}', 'x');"
    (tmp_path / "rows.sql").write_text(rows)
    with (tmp_path / "rls.yaml").open("a") as file:
        file.write("seed: rows.sql\n")
    done = opsctl(tmp_path, supabase_database_url, "--format", "json")
    document = json.loads(done.stdout)

    assert code == done.returncode, document["findings"]
    unknown = {each["title"] for each in document["findings"] if each["status"] == "unknown"}
    assert unknown == ({
        "Isolation of tenants is not known for public.profiles",
        "Isolation of tenants is not known for public.tenants",
    } if tenants == 1 else set())  # fmt: skip


def test_a_policy_file_that_was_named_must_be_there(
    supabase_database_url: str, tmp_path: Path
) -> None:
    done = opsctl(
        tmp_path, supabase_database_url, "check", "--policy", "other.yaml", "--format", "json"
    )

    assert (2, "no-policy-file") == (done.returncode, json.loads(done.stdout)["error"]["code"])


def test_a_database_without_the_roles_is_unknown(tmp_path: Path, database_url: str) -> None:
    done = opsctl(tmp_path, database_url, "--format", "json")
    document = json.loads(done.stdout)

    # Roles belong to the server: another test's baseline may have made them.
    assert (3, "no-api-roles") == (done.returncode, (document["error"] or {}).get("code")) or (
        "rls-unknown" in {each["rule"] for each in document["findings"]} and done.returncode == 3
    )
