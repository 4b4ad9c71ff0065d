"""`opsctl init`, through the front door, in repositories of every shape."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from first_run import World, first_run_world
from opsctl.adapters.project_signs import VercelLink, find_sign_ins, read_signs
from opsctl.cli.root import run
from opsctl.core.sources import load_settings

REF = "abcdefghijklmnopqrst"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Next.js application on Supabase, Prisma, Vercel and GitHub."""
    files = {
        "package.json": json.dumps({"name": "web"}),
        "next.config.mjs": "export default {}",
        "src/app/api/health/route.ts": "",
        "supabase/config.toml": "",
        "supabase/.temp/project-ref": f"{REF}\n",
        "prisma/schema.prisma": 'datasource db {\n  url = env("DATABASE_URL")\n'
        '  directUrl = env("DIRECT_URL")\n}\n',
        "prisma/migrations/migration_lock.toml": "",
        ".vercel/project.json": json.dumps({"projectId": "prj_1", "orgId": "team_2"}),
        ".github/workflows/ci.yml": "",
        ".env.example": "NEXT_PUBLIC_SUPABASE_ANON_KEY=\nexport SUPABASE_SECRET_KEY=\n",
        ".git/config": '[remote "origin"]\n\turl = git@github.com:acme/web.git\n',
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for name in ("VERCEL_TOKEN", "GITHUB_TOKEN", "GH_TOKEN", "SUPABASE_ACCESS_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def opsctl(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    """Run a command through the front door, as JSON."""
    capsys.readouterr()
    code = run([*words, "--format", "json"])
    return code, json.loads(capsys.readouterr().out)


def test_what_is_written_loads_and_says_what_was_found(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, told = opsctl(capsys, "init", "--yes", "--url", "https://app.example.com/")
    loaded = load_settings(config=None, start=repository, environ={}).settings
    found = loaded.environments["production"]

    assert code == 0
    assert told["data"]["written"] is True
    assert loaded.default_environment == "production"
    assert found.protected
    assert found.database is not None
    assert (found.database.url, found.database.pooler_url) == ("env:DIRECT_URL", "env:DATABASE_URL")
    assert found.supabase is not None
    assert (found.supabase.ref, found.supabase.url) == (REF, f"https://{REF}.supabase.co")
    assert found.supabase.publishable_key == "env:NEXT_PUBLIC_SUPABASE_ANON_KEY"
    assert found.supabase.secret_key == "env:SUPABASE_SECRET_KEY"
    assert found.vercel is not None
    assert (found.vercel.project, found.vercel.team) == ("prj_1", "team_2")
    assert found.github is not None
    assert found.github.repository == "acme/web"
    assert [each.url for each in found.health] == ["https://app.example.com/api/health"]


def test_every_section_has_a_comment(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["init", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()

    assert not (repository / "opsctl.yaml").exists()
    for index, line in enumerate(lines):
        if line.startswith("    ") and line.strip().endswith(":") and not line.startswith("     "):
            assert lines[index - 1].strip().startswith("#"), line


def test_twice_is_no_harm_and_shows_what_would_differ(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert opsctl(capsys, "init", "--yes")[0] == 0
    path = repository / "opsctl.yaml"
    own = path.read_text().replace("prj_1", "prj_own") + "bundle: {total_js_kb: 900.0}\n"
    path.write_text(own)
    code, told = opsctl(capsys, "init", "--yes")

    assert code == 0
    assert path.read_text() == own
    assert told["data"]["written"] is False
    assert told["data"]["differences"] == [
        ["environments.production.vercel.project", "prj_own", "prj_1"]
    ]


def test_settings_in_the_config_folder_count_too(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (repository / "config").mkdir()
    (repository / "config" / "opsctl.yaml").write_text("environments: {live: {}}\n")
    code, told = opsctl(capsys, "init", "--yes")

    assert code == 0
    assert told["data"]["written"] is False
    assert not (repository / "opsctl.yaml").exists()


def test_git_is_told_to_ignore_the_state_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "-q", "."], check=True)
    (tmp_path / ".gitignore").write_text("node_modules")
    assert opsctl(capsys, "init", "--yes", "--offline")[0] == 0
    (tmp_path / "opsctl.yaml").unlink()
    assert opsctl(capsys, "init", "--yes", "--offline")[0] == 0

    assert (tmp_path / ".gitignore").read_text() == "node_modules\n.opsctl/\n"


def test_without_a_terminal_and_without_yes_nothing_is_written(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, told = opsctl(capsys, "init")

    assert code == 5
    assert told["error"]["code"] == "not-confirmed"
    assert not (repository / "opsctl.yaml").exists()


@pytest.mark.parametrize(("answer", "written"), [("y", True), ("n", False), ("", False)])
def test_a_person_sees_the_file_before_it_is_written(
    repository: Path, answer: str, written: bool
) -> None:
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "opsctl", "init", "--offline"],
        stdin=child, stderr=child, stdout=subprocess.PIPE, cwd=repository,
    )  # fmt: skip
    os.close(child)
    seen = b""
    while b"[y/N]" not in seen:
        seen += os.read(parent, 4096)
    os.write(parent, f"{answer}\n".encode())
    process.communicate(timeout=30)
    os.close(parent)

    assert b"environments:" in seen
    assert process.returncode == (0 if written else 5)
    assert written == (repository / "opsctl.yaml").exists()


def test_of_many_at_once_one_writes(repository: Path) -> None:
    argv = [sys.executable, "-m", "opsctl", "init", "--yes", "--offline", "--format", "json"]
    running = [
        subprocess.Popen(argv, cwd=repository, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    told = [json.loads(each.communicate(timeout=60)[0]) for each in running]
    wrote = [each for each in told if each["data"] and each["data"].get("written")]

    assert len(wrote) == 1
    assert not list(repository.glob(".opsctl.yaml.*"))
    load_settings(config=None, start=repository, environ={})


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--name", "a b"), "bad-name"),
        (("--name", ""), "bad-name"),
        (("--name", "x: {y"), "bad-name"),
        (("--url", "app.example.com"), "bad-url"),
        (("--url", "https://me:pass@h"), "bad-url"),
    ],
)
def test_what_does_not_fit_is_a_wrong_call(
    repository: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], code: str
) -> None:
    exit_code, told = opsctl(capsys, "init", "--yes", *words)

    assert exit_code == 2
    assert told["error"]["code"] == code
    assert not (repository / "opsctl.yaml").exists()


HOSTILE = {
    ".vercel/project.json": [
        json.dumps({"projectId": "a: b\n- c #\t\x1b[2J", "orgId": 'team_"\\'}),
        json.dumps({"projectId": "yes"}), json.dumps({"projectId": 7}), "[1]", "{", "[" * 90_000,
    ],
    "package.json": ["\x00", "null", '{"name": {}}'],
    ".env": ["A=" + "b" * 2_000_000, "NEXT_PUBLIC_SUPABASE_URL=https://x: {y.supabase.co\n"],
    ".git/config": [
        '[remote "origin"]\nurl = https://me:secret@github.com/acme/web.git',
        '[remote "o"]\nurl = ssh://git@github.com:22/a/b', "[remote", "url = x",
        '[remote "origin"]\nurl = https://evil.example/github.com/a/b',
    ],
    "prisma/schema.prisma": ['url = env("A B")', 'url = env("X")' * 1000],
    "supabase/.temp/project-ref": ["../../etc/passwd", "ABC", "a" * 20 + "\n- x"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text"),
    [(name, text) for name, texts in HOSTILE.items() for text in texts],
    ids=lambda value: repr(value)[:30],
)
def test_whatever_a_repository_holds_the_settings_load(
    repository: Path, capsys: pytest.CaptureFixture[str], name: str, text: str
) -> None:
    path = repository / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    code, _ = opsctl(capsys, "init", "--yes", "--offline")

    assert code == 0
    load_settings(config=None, start=repository, environ={})
    assert "secret@" not in (repository / "opsctl.yaml").read_text()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("git@github.com:acme/web.git", "acme/web"),
        ("https://github.com/acme/web", "acme/web"),
        ("https://me:pass@github.com/acme/web.git", "acme/web"),
        ("ssh://git@github.com:22/acme/we.b.git", "acme/we.b"),
        ("https://gitlab.com/acme/web.git", None),
        ("https://evil.example/github.com/a/b", None),
    ],
)
def test_remotes_are_told_apart(repository: Path, url: str, expected: str | None) -> None:
    (repository / ".git" / "config").write_text(f'[remote "origin"]\n  url = {url}\n')

    assert expected == read_signs(repository).repository


def test_a_monorepo_is_looked_through(repository: Path) -> None:
    for name in ("next.config.mjs", ".vercel", "prisma"):
        target = repository / "apps" / "web" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (repository / name).rename(target)
    signs = read_signs(repository)

    assert signs.next_app == "apps/web"
    assert signs.prisma_migrations == "apps/web/prisma/migrations"
    assert signs.supabase_migrations == "supabase/migrations"
    assert signs.vercel == VercelLink("prj_1", "team_2")


def test_where_one_is_signed_in_is_found_without_reading_it(tmp_path: Path) -> None:
    nobody = find_sign_ins({}, tmp_path)
    (tmp_path / ".supabase").mkdir()
    (tmp_path / ".supabase" / "access-token").write_text("canary-token")
    somebody = find_sign_ins({"GH_TOKEN": "canary", "VERCEL_TOKEN": "canary"}, tmp_path)

    assert nobody.here == frozenset()
    assert somebody.here == {"supabase", "vercel", "github"}
    assert somebody.github == "env:GH_TOKEN"
    assert somebody.supabase == "file:~/.supabase/access-token"
    assert "canary" not in repr(somebody)


@pytest.fixture
def world(
    tmp_path: Path,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[World]:
    with first_run_world(tmp_path, database_url, monkeypatch, capsys) as world:
        yield world


def test_the_address_is_that_of_production(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from opsctl.cli.init import live_address

    link = VercelLink("web", "team_sandbox")
    domain = live_address(link, "env:FR_VERCEL", api=world.vercel.url)
    monkeypatch.setenv("FR_VERCEL", "-".join(["another", "token"]))
    refused = live_address(link, "env:FR_VERCEL", api=world.vercel.url)

    assert domain is not None
    assert domain.startswith("https://")
    assert refused is None
