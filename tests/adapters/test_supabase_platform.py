"""Supabase's own backups, asked over HTTP; every way the answer can be wrong."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from opsctl.adapters.supabase_platform import PlatformBackup, read_platform_backups
from opsctl.core.errors import OpsError
from opsctl.core.settings import Supabase
from opsctl.sandbox.plane import Answered
from opsctl.sandbox.supabase_plane import SupabasePlane

TOKEN = "sbp" + "_" + "0123456789" * 4
REF = "abcdefghijklmnopqrst"


@pytest.fixture
def plane(monkeypatch: pytest.MonkeyPatch) -> Iterator[SupabasePlane]:
    """The Management API with one project."""
    monkeypatch.setenv("OPSCTL_TEST_SUPABASE_TOKEN", TOKEN)
    with SupabasePlane(token=TOKEN, ref=REF) as plane:
        yield plane


def project(plane: SupabasePlane, *, ref: str = REF) -> Supabase:
    return Supabase(ref=ref, access_token="env:OPSCTL_TEST_SUPABASE_TOKEN", api=plane.url)


def test_backups_come_newest_first_with_the_recovery_window(plane: SupabasePlane) -> None:
    plane.put_backup("2026-11-20T03:00:00Z")
    plane.put_backup("2026-11-21T03:00:00Z", physical=False, status="FAILED")
    plane.pitr, plane.window = True, (1_795_000_000, 1_795_600_000)

    found = read_platform_backups(project(plane))

    assert (
        PlatformBackup("2026-11-21T03:00:00Z", "logical", "failed"),
        PlatformBackup("2026-11-20T03:00:00Z", "physical", "completed"),
    ) == found.backups
    assert (True, "2026-11-18 11:06 UTC", "2026-11-25 09:46 UTC") == (
        found.pitr, found.earliest, found.latest,
    )  # fmt: skip


def test_none_is_an_answer_and_not_an_error(plane: SupabasePlane) -> None:
    found = read_platform_backups(project(plane))

    assert ((), False, "") == (found.backups, found.pitr, found.earliest)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Answered(401, {"message": "Unauthorized"}), "supabase-refused"),
        (Answered(500, b"oops"), "supabase-failing"),
        (Answered(302, b"", {"Location": "http://127.0.0.1:9/"}), "supabase-answer"),
        (Answered(200, b"<html>"), "supabase-answer"),
        (Answered(200, []), "supabase-answer"),
        (Answered(200, {"backups": [{}], "pitr_enabled": False}), "supabase-answer"),
    ],
)
def test_every_other_answer_is_unknown_and_holds_no_token(
    plane: SupabasePlane, answer: Answered, code: str
) -> None:
    plane.fail("backups", answer, times=2)

    with pytest.raises(OpsError) as caught:
        read_platform_backups(project(plane))

    assert (code, 3) == (caught.value.code, int(caught.value.exit))
    assert TOKEN not in f"{caught.value.what}{caught.value.why}{caught.value.hint}"
