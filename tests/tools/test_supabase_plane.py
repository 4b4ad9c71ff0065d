"""The Management API of the sandbox is spoken as Supabase's own program speaks it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from opsctl.core.process import Finished, run_program
from opsctl.sandbox.supabase_plane import SupabasePlane

pytestmark = pytest.mark.node

TOKEN = "sbp" + "_" + "0123456789abcdef" * 2 + "01234567"
REF = "abcdefghijklmnopqrst"


def supabase(plane: SupabasePlane, project: Path, node_modules: Path, *words: str) -> Finished:
    """Run the real program against the plane."""
    profile = project / "profile.yaml"
    profile.write_text(
        f"name: sandbox\napi_url: {plane.url}\ndashboard_url: {plane.url}\n"
        "project_host: localhost\n"
    )
    return run_program(
        [str(node_modules / ".bin" / "supabase"), "--profile", str(profile), *words,
         f"--remote={REF}", "-o", "json"],
        env={"SUPABASE_ACCESS_TOKEN": TOKEN},
        cwd=str(project),
    )  # fmt: skip


def test_the_real_program_restores_to_a_moment(project: Path, node_modules: Path) -> None:
    with SupabasePlane(token=TOKEN, ref=REF) as plane:
        plane.pitr, plane.window = True, (1_795_000_000, 1_795_600_000)
        done = supabase(plane, project, node_modules, "backups", "restore", "--yes",
                        "--timestamp", "1795000100")  # fmt: skip

        assert 0 == done.exit_code, done.stderr
        assert [1_795_000_100] == plane.restored


def test_the_real_program_lists_the_backups(project: Path, node_modules: Path) -> None:
    with SupabasePlane(token=TOKEN, ref=REF) as plane:
        plane.put_backup("2026-11-20T03:00:00.000Z")
        done = supabase(plane, project, node_modules, "backups", "list")

        assert 0 == done.exit_code, done.stderr
        listed = json.loads(done.stdout)
        assert ["2026-11-20T03:00:00.000Z"] == [each["inserted_at"] for each in listed["backups"]]
        assert 1 == plane.count("GET", "/database/backups")
