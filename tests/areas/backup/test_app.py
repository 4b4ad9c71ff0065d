"""The backup of an application: whole, honest about what it lacks, and silent about values."""

from __future__ import annotations

import hashlib
import json
import stat
import sys
from pathlib import Path
from typing import Any

import pyrage
import pytest

from opsctl.adapters.age import decrypt_file
from opsctl.adapters.app_backup import fingerprint
from opsctl.areas.backup.app import back_up_app
from opsctl.core.errors import Exit, OpsError
from opsctl.core.process import run_program
from opsctl.core.report import Report
from opsctl.sandbox.plane import Answered

VALUES = ("canary-both-value", "canary-sealed-value")
TOKENS = ("canary-vercel-7731", "canary-github-7732", "pass-canary")


def folder_of(world: Any, report: Report) -> Path:
    return Path(world.root / ".opsctl/backups/production/app" / str(report.data["backup"]))


def content_of(world: Any, report: Report) -> dict[str, Any]:
    return dict(json.loads((folder_of(world, report) / "app.json").read_text()))


def recipients() -> tuple[str, str]:
    identity = pyrage.x25519.Identity.generate()
    return str(identity), str(identity.to_public())


def everything_in(path: Path) -> bytes:
    return b"".join(each.read_bytes() for each in sorted(path.rglob("*")) if each.is_file())


def test_it_holds_the_commit_the_deployments_and_the_names(app_world: Any) -> None:
    report = back_up_app(app_world.call(), values=False, to=None)

    commit = app_world.git("rev-parse", "HEAD")
    found = content_of(app_world, report)
    live = found["vercel"]["production"]
    assert Exit.OK == report.exit
    assert {
        "commit": commit, "branch": "main", "dirty": 0, "on_remote": ["origin/main"], "tags": [],
        "remotes": {"origin": "https://git.example.com/x.git"},
    } == found["git"]  # fmt: skip
    assert (commit, app_world.vercel.live) == (live["commit"], live["id"])
    assert [live["id"]] == [each["id"] for each in found["vercel"]["deployments"]]
    assert {
        "web.example.com": live["id"], "web.vercel.example": live["id"],
    } == found["vercel"]["domains"]  # fmt: skip
    assert [("BOTH", ["preview", "production"], "encrypted"),
            ("SEALED", ["production"], "sensitive")] == [
        (each["name"], each["targets"], each["type"]) for each in found["vercel"]["variables"]
    ]  # fmt: skip
    assert ["DEPLOY_KEY"] == list(found["github"]["secrets"])
    assert ["OWN_KEY"] == list(found["github"]["environment_secrets"])
    assert [("REGION", "eu")] == [
        (each["name"], each["value"]) for each in found["github"]["variables"]
    ]
    assert [] == found["unread"]


def test_the_manifest_names_every_file_and_its_hash(app_world: Any) -> None:
    report = back_up_app(app_world.call(), values=False, to=None)

    folder = folder_of(app_world, report)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert "app" == manifest["kind"]
    assert {"app.json", "manifest.json"} == {path.name for path in folder.iterdir()}
    digest = hashlib.sha256((folder / "app.json").read_bytes()).hexdigest()
    assert digest == manifest["files"]["app.json"]["sha256"]
    assert 0o600 == stat.S_IMODE((folder / "app.json").stat().st_mode)


def test_a_fingerprint_tells_equal_from_other_and_only_of_what_was_read(app_world: Any) -> None:
    one = content_of(app_world, back_up_app(app_world.call(), values=False, to=None))
    two = content_of(app_world, back_up_app(app_world.call(), values=False, to=None))

    marks = [
        {each["name"]: each["fingerprint"] for each in found["vercel"]["variables"]}
        for found in (one, two)
    ]
    assert fingerprint("canary-both-value", key=one["fingerprint_key"]) == marks[0]["BOTH"]
    assert fingerprint("another", key=one["fingerprint_key"]) != marks[0]["BOTH"]
    assert marks[0]["BOTH"] != marks[1]["BOTH"]
    assert marks[0]["SEALED"] is None


def test_what_can_never_be_read_is_named(app_world: Any) -> None:
    report = back_up_app(app_world.call(), values=False, to=None)

    assert any("SEALED" in note and "BOTH" not in note for note in report.notes)


def test_values_and_tokens_are_in_no_report_and_no_plain_file(app_world: Any) -> None:
    _, recipient = recipients()
    for values, backup in ((False, None), (True, {"encrypt_to": [recipient]})):
        report = back_up_app(app_world.call(backup=backup), values=values, to=None)

        kept = everything_in(app_world.root / ".opsctl")
        for secret in (*VALUES, *TOKENS):
            assert secret.encode() not in kept
            assert secret not in repr(report)
            assert secret not in repr(app_world.said)


def test_values_go_encrypted_into_a_file_of_their_own(app_world: Any, tmp_path: Path) -> None:
    identity, recipient = recipients()

    report = back_up_app(app_world.call(backup={"encrypt_to": [recipient]}), values=True, to=None)

    folder = folder_of(app_world, report)
    assert {"app.json.age", "values.json.age", "manifest.json"} == {
        path.name for path in folder.iterdir()
    }
    decrypt_file(folder / "values.json.age", tmp_path / "plain", identity)
    record = app_world.vercel.variables[0]["id"]
    assert {record: "canary-both-value"} == json.loads((tmp_path / "plain").read_text())
    assert report.data["holds_values"] is True


def test_values_without_a_recipient_are_refused_before_anything_is_asked(app_world: Any) -> None:
    with pytest.raises(OpsError) as caught:
        back_up_app(app_world.call(), values=True, to=None)

    assert ("values-need-encryption", Exit.USAGE) == (caught.value.code, caught.value.exit)
    assert [] == app_world.vercel.asked
    assert not (app_world.root / ".opsctl").exists()


@pytest.mark.parametrize(
    ("path", "title", "key"),
    [
        ("/v10/projects/web/env", "The environment variables on Vercel", "variables"),
        ("/v6/deployments", "The deployments on Vercel", "deployments"),
        ("/v4/aliases", "What production on Vercel serves", "production"),
    ],
)
def test_a_part_that_could_not_be_read_is_told_and_the_rest_is_kept(
    app_world: Any, path: str, title: str, key: str
) -> None:
    app_world.vercel.fail(path, Answered(403, {"error": {"code": "forbidden", "message": "no"}}),
                          times=99)  # fmt: skip

    report = back_up_app(app_world.call(), values=False, to=None)

    found = content_of(app_world, report)
    assert Exit.UNKNOWN == report.exit
    assert [f"{title} could not be read"] == [
        each.title for each in report.findings if each.rule == "app-unread"
    ]
    assert found["vercel"][key] is None
    assert len(found["unread"]) == 1
    assert found["github"] is not None
    assert report.data["complete"] is False


def test_a_value_that_could_not_be_read_is_told_by_name(app_world: Any) -> None:
    app_world.vercel.fail("/v1/projects/web/env/", Answered(403, {}), times=99)

    report = back_up_app(app_world.call(), values=False, to=None)

    assert Exit.UNKNOWN == report.exit
    assert ["The value of BOTH on Vercel could not be read"] == [
        each.title for each in report.findings
    ]


def test_variables_that_vercel_hides_from_the_token_are_told(app_world: Any) -> None:
    app_world.vercel.hidden_variables = 3

    report = back_up_app(app_world.call(), values=False, to=None)

    assert Exit.UNKNOWN == report.exit
    assert ["3 production variables on Vercel are hidden"] == [
        each.title for each in report.findings
    ]


def test_what_is_not_configured_is_a_note(app_world: Any) -> None:
    report = back_up_app(app_world.call(vercel=None, github=None), values=False, to=None)

    found = content_of(app_world, report)
    assert Exit.OK == report.exit
    assert (None, None) == (found["vercel"], found["github"])
    assert len([note for note in report.notes if note.startswith("The settings have no")]) == 2


def test_without_anything_configured_it_is_a_wrong_call(app_world: Any) -> None:
    call = app_world.call(vercel=None, github=None, project=".")

    with pytest.raises(OpsError) as caught:
        back_up_app(call, values=False, to=None)

    assert ("nothing-to-back-up", Exit.USAGE) == (caught.value.code, caught.value.exit)


def test_when_nothing_could_be_read_no_backup_is_made(
    app_world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("T_VERCEL")
    monkeypatch.setenv("T_GITHUB", "wrong")

    report = back_up_app(app_world.call(project="."), values=False, to=None)

    assert (Exit.UNKNOWN, None) == (report.exit, report.data["backup"])
    assert 2 == len(report.findings)
    assert not (app_world.root / ".opsctl").exists()


def test_a_commit_that_nobody_else_has_is_warned_of(app_world: Any) -> None:
    (app_world.root / "app" / "new").write_text("x")
    app_world.git("commit", "-q", "--allow-empty", "-m", "Two")

    report = back_up_app(app_world.call(), values=False, to=None)

    assert ["git-dirty", "git-not-pushed", "git-not-live"] == [
        each.rule for each in report.findings
    ]
    assert Exit.OK == report.exit


def test_a_broken_checkout_is_not_taken_for_none(app_world: Any) -> None:
    (app_world.root / "app" / ".git" / "HEAD").write_text("rubbish")

    report = back_up_app(app_world.call(), values=False, to=None)

    assert Exit.UNKNOWN == report.exit
    assert ["The git checkout could not be read"] == [each.title for each in report.findings]


def test_domains_that_disagree_are_warned_of(app_world: Any) -> None:
    app_world.vercel.aliases["web.vercel.example"] = app_world.vercel.add_deployment("b" * 40)

    report = back_up_app(app_world.call(), values=False, to=None)

    assert ["production-split"] == [each.rule for each in report.findings]


def test_odd_names_are_kept_as_they_are(app_world: Any) -> None:
    odd = "A\x1b]52;c;x\x07\n\u202e"
    app_world.vercel.add_variable(odd, "v")

    report = back_up_app(app_world.call(), values=False, to=None)

    names = [each["name"] for each in content_of(app_world, report)["vercel"]["variables"]]
    assert odd in names


def test_through_the_front_door_nothing_secret_is_said(app_world: Any) -> None:
    app_world.write_settings()

    done = run_program(
        [sys.executable, "-m", "opsctl", "backup", "app", "--format", "json", "--verbose"],
        cwd=str(app_world.root),
    )

    document = json.loads(done.stdout)
    assert (0, "backup app", "ok") == (done.exit_code, document["command"], document["status"])
    for secret in (*VALUES, *TOKENS):
        assert secret not in done.stdout + done.stderr
