"""The disk and Auth's configuration, read of the control plane; odd answers are errors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from opsctl.adapters.supabase_project import AuthConfig, Disk, read_auth_config, read_disk
from opsctl.core.errors import OpsError
from opsctl.core.settings import Supabase
from opsctl.sandbox.plane import Answered
from opsctl.sandbox.supabase_plane import SupabasePlane

REF, TOKEN = "abcdefghijklmnopqrst", "-".join(["canary", "token"])


@pytest.fixture
def plane(monkeypatch: pytest.MonkeyPatch) -> Iterator[SupabasePlane]:
    monkeypatch.setenv("T_TOKEN", TOKEN)
    with SupabasePlane(token=TOKEN, ref=REF) as plane:
        yield plane


def project(plane: SupabasePlane) -> Supabase:
    return Supabase(ref=REF, access_token="env:T_TOKEN", api=plane.url)


def test_both_are_read(plane: SupabasePlane) -> None:
    plane.disk_bytes, plane.used_bytes = 1000, 930
    plane.auth_config = {"site_url": "https://a.example.com", "uri_allow_list": "https://b/**, c"}

    assert read_disk(project(plane)) == Disk(size=1000, used=930)
    assert read_auth_config(project(plane)) == AuthConfig(
        "https://a.example.com", ("https://b/**", "c")
    )


@pytest.mark.parametrize(
    "data", [[], {}, {"metrics": None}, {"metrics": {"fs_size_bytes": "x", "fs_used_bytes": 1}},
             {"metrics": {"fs_size_bytes": float("inf"), "fs_used_bytes": 1}}, b"<html>"],
)  # fmt: skip
def test_an_answer_of_another_form_is_an_error(plane: SupabasePlane, data: Any) -> None:
    plane.fail("/config/", Answered(200, data), times=2)
    for read in (read_disk, read_auth_config):
        with pytest.raises(OpsError) as caught:
            read(project(plane))
        assert caught.value.code == "supabase-answer"


def test_a_token_that_is_refused_is_not_repeated(
    plane: SupabasePlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("T_TOKEN", "-".join(["canary", "other"]))
    with pytest.raises(OpsError) as caught:
        read_disk(project(plane))

    error = caught.value
    assert error.code == "supabase-refused"
    assert "supabase.access_token" in error.hint
    assert "canary" not in f"{error.what}{error.why}{error.hint}"
