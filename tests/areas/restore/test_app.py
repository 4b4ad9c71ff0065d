"""The application brought back: planned from a backup, carried out by the engine, watched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyrage
import pytest

from opsctl.areas.backup.app import back_up_app
from opsctl.areas.restore.app import check_serving, plan_restore_app, watch_health
from opsctl.core.action import Command, Manual, Request
from opsctl.core.errors import Exit, OpsError
from opsctl.core.plan import Irreversible, Plan, Step, Undo, plan_from_json, plan_to_json
from opsctl.core.report import Status
from opsctl.engine.lock import FileLocks
from opsctl.engine.run import Engine
from opsctl.engine.store import SqliteJournal
from opsctl.sandbox.plane import Answered


class Person:
    """Answers for manual steps as told, and watches nothing."""

    def __init__(self, does: Any = None) -> None:
        self.does = does

    def confirm_manual(self, step: Step) -> bool:
        if self.does is None:
            return False
        self.does()
        return True

    def step_started(self, step: Step, index: int, total: int) -> None: ...

    def step_ended(self, step: Step, status: str, took_ms: float, detail: str) -> None: ...

    def waiting(self, step: Step, message: str) -> None: ...


def engine(world: Any, person: Person | None = None) -> Engine:
    journal = SqliteJournal(world.root / "state" / "state.db")
    person = person or Person()
    return Engine(
        journal,
        FileLocks(world.root / "state" / "locks"),
        actor="test",
        person=person,
        watcher=person,
    )


def backed_up(world: Any, **changes: Any) -> str:
    return str(back_up_app(world.call(**changes), values=False, to=None).data["backup"])


def quick(plan: Plan) -> Plan:
    """Return the plan with shorter pauses: the plane moves at once."""
    data = plan_to_json(plan)
    for step in data["steps"]:
        for probe in (step["check"], (step["undo"] or {}).get("check")):
            if probe:
                probe["pause_s"] = 0.01
    return plan_from_json(data)


def step_of(plan: Plan, id: str) -> Step:
    return next(step for step in plan.steps if step.id == id)


def test_what_was_live_is_promoted_and_can_be_undone(app_world: Any) -> None:
    backed_up(app_world)
    before = app_world.vercel.live
    broken = app_world.vercel.add_deployment("b" * 40, live=True)

    plan = quick(plan_restore_app(app_world.call(), backup=None, watch_s=0))
    outcome = engine(app_world).start(plan, approval={"how": "test"})

    assert ["promote", "domain-web.vercel.example", "health-health"] == [s.id for s in plan.steps]
    assert (Status.OK, before) == (outcome.status, app_world.vercel.live)
    assert {before} == set(app_world.vercel.aliases.values())

    undo = quick(engine(app_world).undo_plan(outcome.run))
    assert Status.OK == engine(app_world).start(undo, approval={"how": "test"}).status
    assert broken == app_world.vercel.live


def test_promoting_builds_nothing(app_world: Any) -> None:
    backed_up(app_world)
    app_world.vercel.add_deployment("b" * 40, live=True)
    count = len(app_world.vercel.deployments)

    engine(app_world).start(
        quick(plan_restore_app(app_world.call(), backup=None, watch_s=0)), approval={}
    )

    assert (count, 0) == (
        len(app_world.vercel.deployments), app_world.vercel.count("POST", "/v13/deployments")
    )  # fmt: skip


def test_a_promotion_that_takes_a_while_is_waited_for(app_world: Any) -> None:
    backed_up(app_world)
    before = app_world.vercel.live
    app_world.vercel.add_deployment("b" * 40, live=True)
    app_world.vercel.takes_s = 0.05

    plan = quick(plan_restore_app(app_world.call(), backup=None, watch_s=0))

    assert Status.OK == engine(app_world).start(plan, approval={}).status
    assert before == app_world.vercel.live


def test_a_promotion_that_is_queued_is_not_taken_for_done(app_world: Any) -> None:
    backed_up(app_world)
    app_world.vercel.add_deployment("b" * 40, live=True)
    app_world.vercel.queues_promotions = True

    plan = quick(plan_restore_app(app_world.call(), backup=None, watch_s=0))
    outcome = engine(app_world).start(plan, approval={})

    assert (Status.PARTIAL, Exit.PARTIAL) == (outcome.status, outcome.exit)
    assert "failed" == outcome.steps[0].status


def test_a_promotion_whose_answer_was_lost_is_not_sent_twice(app_world: Any) -> None:
    backed_up(app_world)
    before = app_world.vercel.live
    app_world.vercel.add_deployment("b" * 40, live=True)
    plan = quick(plan_restore_app(app_world.call(), backup=None, watch_s=0))

    original = app_world.vercel.answer

    def answer(asked: Any) -> Answered:
        found = original(asked)
        return Answered(502, {}) if asked.method == "POST" else found

    app_world.vercel.answer = answer
    outcome = engine(app_world).start(plan, approval={})

    assert (Status.OK, before) == (outcome.status, app_world.vercel.live)
    assert 1 == app_world.vercel.count("POST", "/promote/")


def test_a_refused_promotion_changes_nothing(app_world: Any) -> None:
    backed_up(app_world)
    broken = app_world.vercel.add_deployment("b" * 40, live=True)
    plan = quick(plan_restore_app(app_world.call(), backup=None, watch_s=0))
    app_world.vercel.fail("/promote/", Answered(403, {}))

    outcome = engine(app_world).start(plan, approval={})

    assert (Exit.UNKNOWN, broken) == (outcome.exit, app_world.vercel.live)


def test_without_the_recorded_deployment_the_newest_of_its_commit_is_taken(app_world: Any) -> None:
    backed_up(app_world)
    commit = app_world.git("rev-parse", "HEAD")
    app_world.vercel.deployments.pop(app_world.vercel.live)
    app_world.vercel.add_deployment(commit)
    newest = app_world.vercel.add_deployment(commit)
    app_world.vercel.add_deployment(commit, target=None)
    app_world.vercel.add_deployment(commit, state="ERROR")
    app_world.vercel.add_deployment("b" * 40, live=True)

    plan = plan_restore_app(app_world.call(), backup=None, watch_s=0)

    action = step_of(plan, "promote").action
    assert isinstance(action, Request)
    assert action.url.endswith(f"/promote/{newest}?teamId=team_sandbox")
    assert "is gone" in plan.notes[0]


def test_without_any_deployment_a_person_builds_the_commit(app_world: Any) -> None:
    backed_up(app_world)
    commit = app_world.git("rev-parse", "HEAD")
    app_world.vercel.deployments.pop(app_world.vercel.live)
    app_world.vercel.add_deployment("b" * 40, live=True)

    plan = plan_restore_app(app_world.call(), backup=None, watch_s=0)

    step = plan.steps[0]
    assert ("deploy", "manual") == (step.id, step.safety)
    assert isinstance(step.action, Manual)
    assert commit in step.action.instruction
    assert isinstance(step.undo, Irreversible)
    assert step.check is not None
    assert isinstance(step.check.action, Command)
    assert ("restore", "serving", commit) == step.check.action.argv[1:4]


def test_what_is_live_already_is_only_looked_at(app_world: Any) -> None:
    backed_up(app_world)

    plan = plan_restore_app(app_world.call(), backup=None, watch_s=0)
    outcome = engine(app_world).start(quick(plan), approval={})

    assert (Status.OK, 0) == (outcome.status, app_world.vercel.count("POST", ""))
    assert all(step.action is None for step in plan.steps)


def test_a_domain_that_was_left_behind_is_moved_too(app_world: Any) -> None:
    backed_up(app_world)
    live = app_world.vercel.live
    app_world.vercel.aliases["web.vercel.example"] = app_world.vercel.add_deployment("b" * 40)

    plan = plan_restore_app(app_world.call(), backup=None, watch_s=0)

    step = step_of(plan, "promote")
    assert step.check is not None
    assert isinstance(step.check.action, Request)
    assert "web.vercel.example" in step.check.action.url
    assert isinstance(step.undo, Irreversible)
    assert any("different deployments" in note for note in plan.notes)
    assert live == app_world.vercel.live


def test_an_undo_promotes_what_is_live_now(app_world: Any) -> None:
    backed_up(app_world)
    live = app_world.vercel.add_deployment("b" * 40, live=True)

    undo = step_of(plan_restore_app(app_world.call(), backup=None, watch_s=0), "promote").undo

    assert isinstance(undo, Undo)
    assert isinstance(undo.action, Request)
    assert f"/promote/{live}?" in undo.action.url


def test_what_is_missing_or_changed_is_told_without_values(app_world: Any) -> None:
    vercel, github = app_world.vercel, app_world.github
    vercel.add_variable("GONE", "v", "production", "preview")
    vercel.add_variable("PART", "v", "production", "preview")
    github.put_variable("OLD", "x")
    backed_up(app_world)
    both, sealed, gone, part = vercel.variables
    vercel.change_variable(both["id"], "canary-other")
    vercel.change_variable(sealed["id"], "canary-other")
    vercel.variables.remove(gone)
    part["target"] = ["preview"]
    vercel.add_variable("FRESH", "v", "preview", branch="x")
    github.remove("secrets", "DEPLOY_KEY")
    github.put_secret("OWN_KEY", environment="production")
    github.put_variable("REGION", "canary-us")
    github.remove("variables", "OLD")

    plan = plan_restore_app(app_world.call(), backup=None, watch_s=0)

    assert [
        "Missing on Vercel: GONE (preview, production), PART (production).",
        "Changed on Vercel since the backup: BOTH (preview, production).",
        "Written on Vercel since the backup, unreadable, so perhaps changed: SEALED (production).",
        "New on Vercel since the backup: FRESH (preview of x).",
        "Missing among the secrets on GitHub: DEPLOY_KEY.",
        "Missing among the variables on GitHub: OLD.",
        "Written since the backup among the variables on GitHub: REGION.",
        "Written since the backup among the secrets of the environment production on GitHub: "
        "OWN_KEY.",
    ] == plan.facts["differences"]
    assert "canary" not in json.dumps(plan_to_json(plan))


def test_one_record_that_was_split_for_its_targets_is_no_difference(app_world: Any) -> None:
    backed_up(app_world)
    both = app_world.vercel.variables[0]
    both["target"] = ["production"]
    app_world.vercel.add_variable("BOTH", "canary-both-value", "preview")

    plan = plan_restore_app(app_world.call(), backup=None, watch_s=0)

    assert [] == plan.facts["differences"]


def test_what_could_not_be_compared_is_told_and_stops_nothing(app_world: Any) -> None:
    backed_up(app_world)
    app_world.vercel.fail("/env", Answered(403, {}), times=99)
    app_world.github.fail("/secrets", Answered(403, {}), times=99)

    notes = plan_restore_app(app_world.call(), backup=None, watch_s=0).notes

    assert 3 == len([note for note in notes if "could not be compared" in note])


def test_the_plan_survives_the_journal_and_holds_no_token(app_world: Any) -> None:
    backed_up(app_world)
    app_world.vercel.add_deployment("b" * 40, live=True)

    plan = plan_restore_app(app_world.call(), backup=None, watch_s=30)

    text = json.dumps(plan_to_json(plan))
    assert plan == plan_from_json(json.loads(text))
    assert app_world.vercel.token not in text
    assert app_world.github.token not in text


def test_an_encrypted_backup_needs_its_identity(
    app_world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = pyrage.x25519.Identity.generate()
    backup = {"encrypt_to": [str(identity.to_public())]}
    name = backed_up(app_world, backup=backup)

    with pytest.raises(OpsError) as caught:
        plan_restore_app(app_world.call(backup=backup), backup=None, watch_s=0)
    monkeypatch.setenv("T_IDENTITY", str(identity))
    call = app_world.call(backup={**backup, "identity": "env:T_IDENTITY"})

    assert "backup-encrypted" == caught.value.code
    assert name == plan_restore_app(call, backup=None, watch_s=0).facts["backup"]


def test_a_backup_elsewhere_is_found_where_it_was_put(app_world: Any) -> None:
    name = back_up_app(app_world.call(), values=False, to="elsewhere").data["backup"]

    plan = plan_restore_app(app_world.call(), backup=None, watch_s=0, from_="elsewhere")

    assert name == plan.facts["backup"]


def test_a_changed_backup_is_not_used(app_world: Any) -> None:
    name = backed_up(app_world)
    path = Path(app_world.root / ".opsctl/backups/production/app" / name / "app.json")
    path.write_bytes(path.read_bytes().replace(b"READY", b"ready"))

    with pytest.raises(OpsError) as caught:
        plan_restore_app(app_world.call(), backup=None, watch_s=0)

    assert ("backup-damaged", Exit.FAILED) == (caught.value.code, caught.value.exit)


def test_a_backup_is_named_by_how_it_begins(app_world: Any) -> None:
    first = backed_up(app_world)
    app_world.vercel.add_deployment("b" * 40, live=True)
    backed_up(app_world)

    plan = plan_restore_app(app_world.call(), backup=first, watch_s=0)
    with pytest.raises(OpsError) as caught:
        plan_restore_app(app_world.call(), backup="1999", watch_s=0)

    assert first == plan.facts["backup"]
    assert ("no-such-backup", Exit.USAGE) == (caught.value.code, caught.value.exit)


def test_a_commit_that_is_none_becomes_no_argument(app_world: Any) -> None:
    app_world.vercel.add_deployment("--env=other", live=True)
    backed_up(app_world)
    app_world.vercel.deployments.pop(app_world.vercel.live)
    app_world.vercel.add_deployment("b" * 40, live=True)

    with pytest.raises(OpsError) as caught:
        plan_restore_app(app_world.call(), backup=None, watch_s=0)

    assert "backup-incomplete" == caught.value.code


def test_without_vercel_there_is_no_plan(app_world: Any) -> None:
    with pytest.raises(OpsError) as caught:
        plan_restore_app(app_world.call(vercel=None), backup=None, watch_s=0)

    assert "no-vercel" == caught.value.code


def test_the_watch_is_a_look_with_time_enough(app_world: Any) -> None:
    backed_up(app_world)

    plan = plan_restore_app(app_world.call(), backup=None, watch_s=90)

    step = plan.steps[-1]
    assert step.check is not None
    assert isinstance(step.check.action, Command)
    assert ("restore", "watch", "--for", "90", "--env", "production", "--quiet") == (
        step.check.action.argv[1:]
    )
    assert (1, True) == (step.check.attempts, step.check.action.timeout_s > 90)


def test_a_watch_without_endpoints_is_told(app_world: Any) -> None:
    backed_up(app_world)

    plan = plan_restore_app(app_world.call(health=[]), backup=None, watch_s=90)

    assert "watch" not in {step.id for step in plan.steps}
    assert any("nobody watches" in note for note in plan.notes)


def test_production_serves_a_commit_or_not(app_world: Any) -> None:
    commit = app_world.git("rev-parse", "HEAD")

    exits = [check_serving(app_world.call(), commit=each).exit for each in (commit, "b" * 40)]
    app_world.vercel.aliases["web.vercel.example"] = app_world.vercel.add_deployment("b" * 40)
    exits.append(check_serving(app_world.call(), commit=commit).exit)

    assert [Exit.OK, Exit.FAILED, Exit.FAILED] == exits


@pytest.mark.parametrize(
    ("statuses", "expected", "rules", "polls"),
    [
        ([200], Exit.OK, [], None),
        ([200, 500, 500], Exit.FAILED, ["health-watch"], 3),
        ([200, 500, 200, 500, 200], Exit.OK, ["health-flaky"], None),
    ],
)
def test_a_watch_ends_at_the_second_failure_in_a_row(
    app_world: Any, statuses: list[int], expected: Exit, rules: list[str], polls: int | None
) -> None:
    app_world.statuses = statuses

    # Long enough for five answers on a machine that has much else to do.
    report = watch_health(app_world.call(), seconds=3, pause_s=0.02)

    assert expected == report.exit
    assert rules == [each.rule for each in report.findings]
    assert polls in (None, report.data["polls"])
    if expected is Exit.FAILED:
        assert "health failed twice in a row" in report.title


def test_a_failure_at_the_end_is_looked_into_once_more(app_world: Any) -> None:
    app_world.statuses = [500, 500]

    report = watch_health(app_world.call(), seconds=0, pause_s=0.01)

    assert (Exit.FAILED, 2) == (report.exit, report.data["polls"])


def test_what_could_not_be_asked_is_unknown(app_world: Any) -> None:
    headers = {"x-key": "env:T_NOT_SET"}
    health = [{"name": "health", "url": app_world.health_url, "headers": headers}]

    report = watch_health(app_world.call(health=health), seconds=0, pause_s=0.01)

    assert Exit.UNKNOWN == report.exit


def test_nothing_to_watch_is_said(app_world: Any) -> None:
    with pytest.raises(OpsError) as caught:
        watch_health(app_world.call(health=[]), seconds=1)

    assert "no-health-endpoint" == caught.value.code


def test_the_run_watches_what_it_brought_back(app_world: Any) -> None:
    app_world.write_settings()
    backed_up(app_world)
    before = app_world.vercel.live
    app_world.vercel.add_deployment("b" * 40, live=True)

    plan = quick(plan_restore_app(app_world.call(), backup=None, watch_s=1))
    outcome = engine(app_world).start(plan, approval={})

    journal = b"".join(path.read_bytes() for path in app_world.root.glob("state/state.db*"))
    for secret in ("canary-vercel-7731", "canary-github-7732", "canary-both-value"):
        assert secret.encode() not in journal
    assert [("watch", "done")] == [(each.id, each.status) for each in outcome.steps[-1:]]
    assert (Status.OK, before) == (outcome.status, app_world.vercel.live)


def test_a_run_whose_watch_fails_names_the_endpoint_and_can_be_undone(app_world: Any) -> None:
    app_world.write_settings()
    backed_up(app_world)
    live = app_world.vercel.add_deployment("b" * 40, live=True)
    app_world.statuses = [200, 503]

    plan = quick(plan_restore_app(app_world.call(), backup=None, watch_s=1))
    outcome = engine(app_world).start(plan, approval={})

    assert (Exit.PARTIAL, "failed") == (outcome.exit, outcome.steps[-1].status)
    assert "health failed twice in a row: status 503 instead of 200" in outcome.steps[-1].detail
    engine(app_world).start(quick(engine(app_world).undo_plan(outcome.run)), approval={})
    assert live == app_world.vercel.live


@pytest.mark.parametrize("built", [True, False])
def test_what_a_person_says_was_built_is_asked_of_vercel(app_world: Any, built: bool) -> None:
    app_world.write_settings()
    backed_up(app_world)
    commit = app_world.git("rev-parse", "HEAD")
    app_world.vercel.deployments.pop(app_world.vercel.live)
    app_world.vercel.add_deployment("b" * 40, live=True)
    plan = quick(plan_restore_app(app_world.call(), backup=None, watch_s=0))

    def build() -> None:
        app_world.vercel.add_deployment(commit, live=built)

    outcome = engine(app_world, Person(build)).start(plan, approval={})

    assert (Exit.OK if built else Exit.PARTIAL) == outcome.exit
    assert ("done" if built else "failed") == outcome.steps[0].status
