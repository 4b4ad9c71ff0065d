"""Keys are replaced everywhere, seen live, and only then ended; until then all can be undone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from opsctl.engine.store import SqliteJournal
from opsctl.sandbox.plane import Asked

from .conftest import SECRET, RotationWorld


def rotate(world: RotationWorld, *words: str) -> Any:
    return world.opsctl("rotate-keys", "supabase", "--yes", "--quiet", "--format", "json", *words)


def test_keys_are_replaced_in_every_place_seen_live_and_ended(world: RotationWorld) -> None:
    before = {kind: world.key(kind) for kind in ("publishable", "secret")}

    done = rotate(world, "--revoke", "--reason", "quarterly")

    assert 0 == done.exit, done.stdout + done.stderr
    new = {kind: world.key(kind, world.new_name) for kind in before}
    assert world.holds(new["publishable"], new["secret"]) == world.places()
    assert [("default" in str(each["name"])) for each in world.supabase.keys].count(True) == 0
    assert new["secret"] == world.runs_with()[SECRET]
    assert {"production"} == {
        target for name, targets, _, _ in world.records() for target in targets
        if "production" in targets
    }  # fmt: skip
    status = world.opsctl("rotate-keys", "status", "--format", "json")
    assert 0 == status.exit, status.stdout
    back = world.opsctl("rollback", "app", "--to", world.old, "--accept-schema", "--yes",
                        "--format", "json")  # fmt: skip
    assert (5, "credentials-changed") == (back.exit, back.json["error"]["code"])
    assert "DEAD" in back.json["error"]["why"]
    assert "# mine" in (world.root / ".env.local").read_text()


def test_old_keys_are_ended_later_and_status_nags_until_then(world: RotationWorld) -> None:
    assert 0 == rotate(world).exit
    nagging = world.opsctl("rotate-keys", "status", "--format", "json")

    revoked = world.opsctl("rotate-keys", "revoke", "--yes", "--quiet", "--format", "json")

    assert 1 == nagging.exit
    assert ["default", "default"] == nagging.json["data"]["rotations"][0]["unended"]
    assert 0 == revoked.exit, revoked.stdout
    assert 0 == world.opsctl("rotate-keys", "status").exit
    assert "default" not in [
        each["name"] for each in world.supabase.keys if each["type"] != "legacy"
    ]
    nothing = world.opsctl("rotate-keys", "revoke", "--yes", "--format", "json")
    assert 0 == nothing.exit


def test_a_rotation_that_never_began_is_in_nobodys_way(world: RotationWorld) -> None:
    """It waits for an approval that may never come."""
    planned = world.opsctl("rotate-keys", "supabase", "--dry-run", "--format", "json").json["data"]
    journal = SqliteJournal(world.root / ".opsctl" / "state.db")
    journal.append("r1", "planned", step=None, actor="ann",
                   data={"plan": planned["plan"], "sha256": planned["plan_hash"]})  # fmt: skip

    status = world.opsctl("rotate-keys", "status")
    done = rotate(world, "--only", "secret")

    assert 0 == status.exit, status.stdout
    assert 0 == done.exit, done.stdout


def test_nothing_is_ended_whose_successor_is_gone(world: RotationWorld) -> None:
    assert 0 == rotate(world, "--only", "secret").exit
    world.supabase.keys = [each for each in world.supabase.keys if each["name"] != world.new_name]

    refused = world.opsctl("rotate-keys", "revoke", "--yes", "--format", "json")

    assert (5, "no-successor") == (refused.exit, refused.json["error"]["code"])
    assert world.key("secret")


def test_two_rotations_in_a_row_are_ended_by_one_revocation(world: RotationWorld) -> None:
    assert 0 == rotate(world, "--only", "secret").exit
    first = world.new_name
    again = rotate(world, "--only", "secret", "--replace", first)
    assert 0 == again.exit, again.stdout

    ended = world.opsctl("rotate-keys", "revoke", "--yes", "--quiet", "--format", "json")

    assert 0 == ended.exit, ended.stdout
    left = [each["name"] for each in world.supabase.keys if each["type"] == "secret"]
    assert [world.new_name] == left
    assert first != world.new_name
    assert world.key("secret", world.new_name) == world.runs_with()[SECRET]


def test_legacy_keys_are_not_turned_off_for_one_of_them(world: RotationWorld) -> None:
    assert 0 == rotate(world, "--legacy", "--only", "secret").exit

    refused = world.opsctl("rotate-keys", "revoke", "--yes", "--format", "json")

    assert (5, "legacy-together") == (refused.exit, refused.json["error"]["code"])
    assert world.supabase.legacy_enabled is True


def test_a_roll_back_while_the_old_key_drains_is_noticed(world: RotationWorld) -> None:
    """The window is over, and what is live has the old key again: nothing is ended."""
    text = (world.root / "opsctl.yaml").read_text()
    (world.root / "opsctl.yaml").write_text(text.replace('"drain_h": 0.0001', '"drain_h": 1.0'))
    prefix = next(each["prefix"] for each in world.supabase.keys if each["type"] == "secret")
    stamp = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
    world.supabase.gateway_log.append({"timestamp": stamp, "prefix": prefix})
    stopped = rotate(world, "--only", "secret", "--revoke")
    assert 4 == stopped.exit, stopped.stdout
    assert "was used" in stopped.stdout
    world.supabase.gateway_log[:] = [
        each for each in world.supabase.gateway_log if each["prefix"] != prefix
    ]
    world.vercel._point_to(world.old)

    resumed = world.opsctl("runs", "resume", stopped.json["data"]["run"], "--yes", "--quiet",
                           "--format", "json")  # fmt: skip

    assert 4 == resumed.exit, resumed.stdout
    assert "another key" in resumed.stdout
    assert world.key("secret")


def test_a_place_that_holds_another_key_is_named(world: RotationWorld) -> None:
    text = (world.root / ".env.local").read_text()
    (world.root / ".env.local").write_text(text.replace(world.key("secret"), "another"))

    plan = world.opsctl("rotate-keys", "supabase", "--dry-run", "--format", "json")

    notes = plan.json["data"]["plan"]["notes"]
    assert [f"{SECRET} in .env.local holds something else than the old key; undone, it would hold "
            "the old key."] == [each for each in notes if "something else" in each]  # fmt: skip
    assert 1 == sum("is assumed" in each for each in notes)


def test_there_is_no_way_back_to_keys_that_were_ended(world: RotationWorld) -> None:
    run = rotate(world).json["data"]["run"]
    assert 0 == world.opsctl("rotate-keys", "revoke", "--yes", "--quiet").exit
    live, places = world.vercel.live, world.places()

    aborted = world.opsctl("rotate-keys", "abort", run, "--yes", "--format", "json")
    undone = world.opsctl("runs", "undo", run, "--yes", "--quiet", "--format", "json")

    assert (5, "too-late") == (aborted.exit, aborted.json["error"]["code"])
    assert 3 == undone.exit, undone.stdout
    assert "was ended" in undone.stdout
    assert (live, places) == (world.vercel.live, world.places())


def test_an_aborted_rotation_leaves_everything_as_it_was(world: RotationWorld) -> None:
    places, records, keys = world.places(), world.records(), list(world.supabase.keys)
    assert 0 == rotate(world).exit
    assert places != world.places()

    aborted = world.opsctl("rotate-keys", "abort", "--yes", "--quiet", "--format", "json")

    assert 0 == aborted.exit, aborted.stdout + aborted.stderr
    # The user's own command cannot take anything away; what it kept was ours from the start.
    assert {**places, "command": world.places()["command"]} == world.places()
    assert records == world.records()
    assert keys == world.supabase.keys
    assert world.old == world.vercel.live
    assert 0 == world.opsctl("rotate-keys", "status").exit


def test_nothing_is_ended_while_the_application_has_the_old_key(world: RotationWorld) -> None:
    world.frozen = dict(world.runs_with())

    stopped = rotate(world, "--revoke", "--only", "secret")

    assert 4 == stopped.exit
    assert "another key" in stopped.stdout
    assert world.key("secret")
    assert 1 == world.opsctl("rotate-keys", "status").exit
    world.frozen = None
    run = stopped.json["data"]["run"]
    assert 0 == world.opsctl("runs", "resume", run, "--yes", "--quiet").exit
    assert 0 == world.opsctl("rotate-keys", "status").exit


def test_nothing_is_ended_while_somebody_uses_the_old_key(world: RotationWorld) -> None:
    assert 0 == rotate(world).exit
    prefix = next(each["prefix"] for each in world.supabase.keys if each["name"] == "default"
                  and each["type"] == "secret")  # fmt: skip
    text = (world.root / "opsctl.yaml").read_text()
    (world.root / "opsctl.yaml").write_text(text.replace('"drain_h": 0.0001', '"drain_h": 1.0'))
    world.supabase.gateway_log.append({"timestamp": "2999-01-01T00:00:00Z", "prefix": prefix})
    world.supabase.gateway_log[-1]["timestamp"] = world.supabase.gateway_log[-2]["timestamp"]

    refused = world.opsctl("rotate-keys", "revoke", "--yes", "--quiet", "--format", "json")

    assert 3 == refused.exit, refused.stdout
    assert "was used 1 times" in refused.stdout
    assert world.key("secret")


def test_an_empty_log_of_the_gateway_is_no_proof(world: RotationWorld) -> None:
    assert 0 == rotate(world).exit
    world.supabase.gateway_log.clear()

    refused = world.opsctl("rotate-keys", "revoke", "--yes", "--quiet", "--format", "json")

    assert 3 == refused.exit
    assert "cannot tell" in refused.stdout
    assert world.key("secret")


def test_a_cancelled_build_stops_it_and_the_abort_finishes(world: RotationWorld) -> None:
    places = world.places()
    world.vercel.builds_end = "CANCELED"

    stopped = rotate(world, "--revoke")

    assert 4 == stopped.exit
    assert "CANCELED" in stopped.stdout
    assert world.old == world.vercel.live
    assert 0 == world.opsctl("rotate-keys", "abort", "--yes", "--quiet").exit
    assert {**places, "command": world.places()["command"]} == world.places()
    assert "" == world.new_name


def test_an_emergency_ends_the_old_keys_first_and_says_what_breaks(world: RotationWorld) -> None:
    plan = world.opsctl("rotate-keys", "supabase", "--emergency", "--dry-run", "--format", "json")
    refused = rotate(world, "--emergency")
    done = world.opsctl("rotate-keys", "supabase", "--emergency", "--confirm", "production",
                        "--compromised", "--quiet")  # fmt: skip

    steps = [each["id"] for each in plan.json["data"]["plan"]["steps"]]
    assert steps.index("end-secret-default") < steps.index("stage-vercel:production:" + SECRET)
    assert any("FIRST" in note for note in plan.json["data"]["plan"]["notes"])
    assert 2 == len(plan.json["data"]["plan"]["losses"])
    assert (5, "name-required") == (refused.exit, refused.json["error"]["code"])
    assert 0 == done.exit, done.stderr
    assert {"default"} & {each["name"] for each in world.supabase.keys} == set()
    flags = [each.query["was_compromised"] for each in world.supabase.asked
             if each.method == "DELETE"]  # fmt: skip
    assert ["true", "true"] == flags


def test_the_legacy_keys_are_got_rid_of(world: RotationWorld) -> None:
    old = {name: world.key("legacy", name) for name in ("anon", "service_role")}
    for record in world.vercel.variables:
        record["value"] = old["anon" if record["type"] == "encrypted" else "service_role"]
    world.vercel._point_to(world.vercel.add_deployment("b" * 40))

    done = rotate(world, "--legacy", "--revoke")

    assert 0 == done.exit, done.stdout + done.stderr
    assert world.supabase.legacy_enabled is False
    new = {kind: world.key(kind, world.new_name) for kind in ("publishable", "secret")}
    assert world.holds(new["publishable"], new["secret"]) == world.places()


@pytest.mark.parametrize(
    ("change", "code", "exit"),
    [
        ("rolled back", "rolled-back", 5),
        ("two keys", "which-key", 2),
        ("no sinks", "no-sinks", 2),
        ("no url", "no-supabase-url", 2),
        ("stopped", "rotation-unfinished", 5),
        ("token", "supabase-refused", 3),
    ],
)
def test_it_is_refused_before_anything_is_changed(
    world: RotationWorld, change: str, code: str, exit: int
) -> None:
    path = world.root / "opsctl.yaml"
    match change:
        case "rolled back":
            newer = world.vercel.add_deployment("b" * 40, live=True)
            world.vercel._request("rollback", world.old, "")
            assert newer != world.vercel.live
        case "two keys":
            extra = {**world.supabase.keys[1], "name": "another", "id": "x"}
            world.supabase.keys.append(extra)
        case "no sinks":
            world.write_settings(world.app, sinks=[])  # type: ignore[attr-defined]
        case "no url":
            path.write_text(path.read_text().replace(f'"url": "{world.supabase.url}", ', "", 1))
        case "stopped":
            world.vercel.builds_end = "ERROR"
            assert 4 == rotate(world).exit
        case "token":
            (world.root / "token").write_text("other")
    writes = len(writes_of(world))

    refused = rotate(world)

    assert (exit, code) == (refused.exit, refused.json["error"]["code"])
    assert writes == len(writes_of(world))


def writes_of(world: RotationWorld) -> list[Asked]:
    planes = (world.vercel, world.supabase, world.github)
    return [each for plane in planes for each in plane.asked if each.method != "GET"]


def test_a_key_of_the_same_name_is_not_taken_for_ours(world: RotationWorld) -> None:
    """What was not made is not undone: a conflict stops the run, and nothing is lost."""
    world.supabase.inject("refused", "/api-keys", method="POST", status=409)

    stopped = rotate(world)

    assert 3 == stopped.exit
    assert "Nothing was changed" in stopped.json["error"]["what"]
    assert "" == world.new_name


def test_a_signing_key_is_published_used_and_the_old_one_ended(world: RotationWorld) -> None:
    world.supabase.auth_config["jwt_exp"] = 0
    old = next(each for each in world.supabase.signing_keys if each["status"] == "in_use")

    done = world.opsctl("rotate-keys", "jwt", "--yes", "--quiet", "--format", "json")
    nagging = world.opsctl("rotate-keys", "status")
    ended = world.opsctl("rotate-keys", "revoke", "--yes", "--quiet", "--format", "json")

    assert 0 == done.exit, done.stdout
    assert 1 == nagging.exit
    assert 0 == ended.exit, ended.stdout
    states = {each["id"]: each["status"] for each in world.supabase.signing_keys}
    assert "revoked" == states[old["id"]]
    assert ["in_use"] == [state for id, state in states.items() if state == "in_use"]
    assert 0 == world.opsctl("rotate-keys", "status").exit


def test_a_signing_key_is_taken_back(world: RotationWorld) -> None:
    before = {each["id"]: each["status"] for each in world.supabase.signing_keys}
    assert 0 == world.opsctl("rotate-keys", "jwt", "--yes", "--quiet").exit

    aborted = world.opsctl("rotate-keys", "abort", "--yes", "--quiet", "--format", "json")

    assert 0 == aborted.exit, aborted.stdout
    assert before == {each["id"]: each["status"] for each in world.supabase.signing_keys}
