"""Which backups stay, how old the newest may be, and backups of some tables."""

from __future__ import annotations

import random
import subprocess
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from opsctl.adapters.backup_list import Known
from opsctl.adapters.backup_manifest import Verification
from opsctl.adapters.postgres_programs import choose_clients
from opsctl.areas.backup.checks import judge_ages
from opsctl.areas.backup.plan import judge
from opsctl.core.settings import Keep, Limits

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory, postgres: Any, make_project: Any) -> Any:
    """A real manifest, to be dated otherwise."""
    project = make_project(tmp_path_factory.mktemp("keeping"), postgres.create_database())
    project.execute("create table public.t as select 1 as a")
    return project.manifest(project.back_up())


def known(manifest: Any, at: datetime, *, verified: bool = False, partial: bool = False) -> Known:
    """Return a backup of a time."""
    name = at.strftime("%Y%m%dT%H%M%SZ-aaaa")
    changed = manifest.model_copy(
        update={"id": name, "snapshot_at": at, "partial": ("public.t",) if partial else ()}
    )
    proof = Verification(
        manifest_sha256="", ok=True, at=at, server="", rto_s=1, restore_s=1, data_age_s=1,
        differences=(), unproven=(),
    )  # fmt: skip
    return Known(name, "whole", changed, proof if verified else None)


def kept(backups: list[Known], keep: Keep) -> dict[str, tuple[str, ...]]:
    return {each.known.id: each.keeps for each in judge(backups, keep) if each.keeps}


def test_the_newest_of_each_period_stays(manifest: Any) -> None:
    backups = [known(manifest, NOW - timedelta(hours=6 * n)) for n in range(400)]

    found = kept(backups, Keep(last=2, daily=3, weekly=2, monthly=3))

    assert {
        "20261120T120000Z-aaaa": ("last", "daily", "weekly", "monthly"),
        "20261120T060000Z-aaaa": ("last",),
        "20261119T180000Z-aaaa": ("daily",),
        "20261118T180000Z-aaaa": ("daily",),
        "20261115T180000Z-aaaa": ("weekly",),
        "20261031T180000Z-aaaa": ("monthly",),
        "20260930T180000Z-aaaa": ("monthly",),
    } == found


def test_the_newest_verified_one_always_stays(manifest: Any) -> None:
    chance = random.Random(11)
    for _ in range(200):
        backups = [
            known(manifest, NOW - timedelta(hours=chance.randrange(20_000)),
                  verified=chance.random() < 0.05)
            for _ in range(chance.randrange(1, 60))
        ]  # fmt: skip
        keep = Keep(last=1, daily=chance.randrange(3), weekly=0, monthly=chance.randrange(2))
        found = kept(backups, keep)

        verified = sorted(each.id for each in backups if each.verified)
        assert not verified or verified[-1] in found
        assert max(each.id for each in backups) in found


def test_keeping_more_never_removes_more(manifest: Any) -> None:
    backups = [known(manifest, NOW - timedelta(hours=7 * n)) for n in range(150)]
    before: set[str] = set()
    for number in range(1, 12):
        found = set(kept(backups, Keep(last=number, daily=number, weekly=number, monthly=number)))

        assert before <= found
        before = found


def test_pruning_shows_first_and_removes_what_it_showed(project: Any) -> None:
    project.execute("create table public.t as select 1 as a")
    ids = [project.back_up() for _ in range(3)]
    assert 0 == project.opsctl("backup", "verify", ids[0]).exit
    rules = ("--keep-last", "1", "--keep-daily", "0", "--keep-weekly", "0", "--keep-monthly", "0")

    shown = project.opsctl("backup", "prune", *rules, "--dry-run")
    unasked = project.opsctl("backup", "prune", *rules)
    listed = [each["id"] for each in project.opsctl("backup", "list").json["data"]["backups"]]
    done = project.opsctl("backup", "prune", *rules, "--yes")

    assert [ids[1]] == [each["name"] for each in shown.json["data"]["plan"]["losses"]]
    assert (5, 3) == (unasked.exit, len(listed))
    assert 0 == done.exit, done.stdout
    left = [each["id"] for each in project.opsctl("backup", "list").json["data"]["backups"]]
    assert [ids[2], ids[0]] == left
    assert 0 == project.opsctl("backup", "prune", *rules, "--yes").exit


def test_a_protected_environment_wants_its_name_to_prune(project: Any) -> None:
    project.settings("    protected: true\n")
    project.execute("create table public.t as select 1 as a")
    for _ in range(2):
        project.back_up()
    rules = ("--keep-last", "1", "--keep-daily", "0", "--keep-weekly", "0", "--keep-monthly", "0")

    refused = project.opsctl("backup", "prune", *rules, "--yes")
    done = project.opsctl("backup", "prune", *rules, "--confirm", "test")

    assert (5, 0) == (refused.exit, done.exit)


def test_ages_are_judged_by_the_data_and_partial_ones_do_not_count(manifest: Any) -> None:
    limits = Limits(backup_age_h=24, verified_backup_age_h=48)
    hours = timedelta(hours=1)

    def judged(*backups: Known) -> list[str]:
        return [str(each.status) for each in judge_ages(backups, limits, NOW)]

    assert ["failed", "failed"] == judged()
    young = known(manifest, NOW - 23 * hours)
    assert ["ok", "failed"] == judged(young)
    assert ["ok", "ok"] == judged(young, known(manifest, NOW - 47 * hours, verified=True))
    assert ["ok", "failed"] == judged(young, known(manifest, NOW - 49 * hours, verified=True))
    assert ["failed", "failed"] == judged(known(manifest, NOW, verified=True, partial=True))
    damaged = Known("20261120T110000Z-aaaa", "damaged", None, None, "its digest differs")
    assert ["ok", "failed", "failed"] == judged(young, damaged)


def test_a_proof_of_another_manifest_does_not_count(project: Any) -> None:
    project.execute("create table public.t as select 1 as a")
    first, second = project.back_up(), project.back_up()
    project.opsctl("backup", "verify", first)
    proof = project.folder(first) / "verified.json"
    (project.folder(second) / "verified.json").write_bytes(proof.read_bytes())

    listed = project.opsctl("backup", "list").json["data"]["backups"]

    assert {first: True, second: False} == {each["id"]: each["verified"] for each in listed}


def test_some_tables_hold_the_whole_schema_and_their_own_rows(project: Any) -> None:
    project.execute(
        "create table public.a (id int primary key); insert into public.a values (1), (2);"
        "create table public.b (id int references public.a); insert into public.b values (1);"
        "create table public.p (id int, at int) partition by range (at);"
        "create table public.p1 partition of public.p for values from (0) to (9);"
        "insert into public.p values (1, 1), (2, 2)"
    )

    made = project.opsctl("backup", "create", "--tables", "b,public.p", "--verify")

    assert 0 == made.exit, made.stdout
    assert ["public.b", "public.p1"] == sorted(made.json["data"]["partial"])
    assert 3 == made.json["data"]["rows"]
    partial = made.json["data"]["backup"]
    refused = project.opsctl("restore", "db", partial, "--confirm", "test")
    none = project.opsctl("restore", "db", "--confirm", "test")
    assert (2, "no-such-backup") == (none.exit, none.json["error"]["code"])
    assert (5, "backup-partial") == (refused.exit, refused.json["error"]["code"])


def test_a_table_that_is_not_there_is_named(project: Any) -> None:
    failed = project.opsctl("backup", "create", "--tables", "nothing")

    assert (2, "no-such-table") == (failed.exit, failed.json["error"]["code"])
    assert [] == project.opsctl("backup", "list").json["data"]["backups"]


def test_an_encrypted_backup_needs_its_identity(project: Any, monkeypatch: Any) -> None:
    import pyrage

    identity = pyrage.x25519.Identity.generate()
    project.execute("create table public.t as select 'very' || 'private' as a")
    backup = project.back_up("--encrypt-to", str(identity.to_public()))
    folder = project.folder(backup)

    closed = project.opsctl("backup", "verify")
    monkeypatch.setenv("OPSCTL_TEST_IDENTITY", str(identity))
    project.settings("    backup:\n      identity: env:OPSCTL_TEST_IDENTITY\n")
    opened = project.opsctl("backup", "verify")

    assert (3, "age-identity") == (closed.exit, closed.json["error"]["code"])
    assert 0 == opened.exit, opened.stdout
    assert {".age"} == {path.suffix for path in folder.glob("data/*")}
    for path in folder.rglob("*"):
        assert path.is_dir() or b"veryprivate" not in path.read_bytes()


def test_a_backup_can_be_restored_by_hand(project: Any, postgres: Any, rows_of: Any) -> None:
    project.execute("create table public.t as select n, md5(n::text) from generate_series(1, 99) n")
    before = rows_of(project.url)
    folder = project.folder(project.back_up())
    clients = choose_clients(at_least=postgres.provider.major, likes=("zstd",))
    url = postgres.create_database()

    subprocess.run([clients.program("psql"), "-q", "-f", folder / "roles.sql", "-d", url],
                   check=True, capture_output=True)  # fmt: skip
    subprocess.run([clients.program("pg_restore"), "-d", url, folder / "data"], check=True,
                   capture_output=True)  # fmt: skip

    assert before == rows_of(url)
