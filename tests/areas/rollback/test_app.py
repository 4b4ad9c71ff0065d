"""The application rolled back: chosen, judged, moved, watched, and brought forward again."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from opsctl.adapters.health_history import HealthHistory
from opsctl.adapters.vercel_release import held_back
from opsctl.areas.rollback.app import plan_app
from opsctl.areas.rollback.app_forward import plan_forward
from opsctl.areas.rollback.app_status import check_held, check_serves, report_app_status, watch_app
from opsctl.cli.root import run
from opsctl.core.action import Command
from opsctl.core.errors import Exit, OpsError
from opsctl.core.plan import Plan, Step, plan_from_json, plan_to_json
from opsctl.core.report import Severity, Status
from opsctl.core.sample import Sample
from opsctl.engine.lock import FileLocks
from opsctl.engine.run import Engine
from opsctl.engine.store import SqliteJournal
from opsctl.sandbox.plane import Answered
from opsctl.sandbox.supabase_plane import SupabasePlane


class Person:
    """Nobody."""

    def confirm_manual(self, step: Step) -> bool:
        return False

    def step_started(self, step: Step, index: int, total: int) -> None: ...

    def step_ended(self, step: Step, status: str, took_ms: float, detail: str) -> None: ...

    def waiting(self, step: Step, message: str) -> None: ...


def engine(world: Any) -> Engine:
    journal = SqliteJournal(world.root / "state" / "state.db")
    person = Person()
    return Engine(
        journal,
        FileLocks(world.root / "state" / "locks"),
        actor="test",
        person=person,
        watcher=person,
    )


def quick(plan: Plan) -> Plan:
    """Return the plan with shorter pauses: the plane answers at once."""
    data = plan_to_json(plan)
    for step in data["steps"]:
        for probe in (step["check"], (step["undo"] or {}).get("check")):
            if probe:
                probe["pause_s"] = 0.01
                probe["attempts"] = min(probe["attempts"], 2)
    return plan_from_json(data)


def rolled(world: Any, **choices: Any) -> Plan:
    """Return the plan of a roll-back, as asked for."""
    given: dict[str, Any] = {
        "to": "previous", "reason": "", "watch_s": 0, "accept_schema": False,
        "accept_credentials": False, "accept_ill": False, **choices,
    }  # fmt: skip
    changes = given.pop("settings", {})
    return plan_app(world.call(**changes), **given)


def roll_back(world: Any, reason: str = "") -> None:
    """Roll back to the second release as somebody else would."""
    world.vercel._request("rollback", world.second, reason)


def refused(world: Any, **choices: Any) -> OpsError:
    with pytest.raises(OpsError) as caught:
        rolled(world, **choices)
    return caught.value


@pytest.fixture
def world(app_world: Any) -> Any:
    """Three releases, the newest of them live; the settings written for the plan's own looks."""
    plane = app_world.vercel
    plane.variables.clear()
    app_world.first = plane.live
    app_world.second = plane.add_deployment("b" * 40, live=True, message="Second", author="Ada")
    app_world.third = plane.add_deployment("c" * 40, live=True, message="Third")
    app_world.write_settings()
    return app_world


def test_production_goes_back_to_the_one_before_and_stays_there(world: Any) -> None:
    plan = rolled(world, reason="checkout is broken", watch_s=1)

    outcome = engine(world).start(quick(plan), approval={})

    assert Status.OK == outcome.status, outcome.steps
    assert ["assignment", "rollback", "health-health", "watch", "afterwards"] == [
        step.id for step in plan.steps
    ]
    assert {world.second} == set(world.vercel.aliases.values())
    assert (1, 0) == (
        world.vercel.count("POST", "/rollback/"), world.vercel.count("POST", "/v13/deployments")
    )  # fmt: skip
    assert "checkout is broken" == world.vercel.reason["description"]
    told = {step.id: step.detail for step in outcome.steps}
    assert told["watch"].startswith("Error rate: 0 % before (0 of 3), 0 % now (0 of ")
    assert "pushes build, and do NOT go live by themselves" in told["afterwards"]
    assert "opsctl rollback app forward" in told["afterwards"]


def test_undoing_promotes_again_and_gives_automatic_assignment_back(world: Any) -> None:
    outcome = engine(world).start(quick(rolled(world)), approval={})
    assert (world.second, False) == (world.vercel.live, world.vercel.auto_assign)

    undo = quick(engine(world).undo_plan(outcome.run))
    undone = engine(world).start(undo, approval={})

    assert Status.OK == undone.status, undone.steps
    assert ["undo-rollback", "undo-assignment"] == [step.id for step in undo.steps]
    assert (world.third, True) == (world.vercel.live, world.vercel.auto_assign)


def test_what_was_never_live_cannot_be_rolled_back_to(world: Any) -> None:
    preview = world.vercel.add_deployment("d" * 40, target=None)
    staged = world.vercel.add_deployment("e" * 40)
    failed = world.vercel.add_deployment("f" * 40, state="ERROR")

    whys = {}
    for id in (preview, staged, failed):
        error = refused(world, to=id)
        assert ("never-live", Exit.REFUSED) == (error.code, error.exit)
        whys[id] = error.why.partition(";")[0]

    assert [
        "it was built for preview", "it never served production", "it is ERROR"
    ] == list(whys.values())  # fmt: skip
    assert 0 == world.vercel.count("POST", "")


@pytest.mark.parametrize("how", ["id", "commit", "address", "url"])
def test_a_target_is_named_by_id_address_or_commit(world: Any, how: str) -> None:
    deployment = world.vercel.deployments[world.second]
    wanted = {
        "id": world.second,
        "commit": "b" * 8,
        "address": deployment["url"],
        "url": f"https://{deployment['url']}/",
    }[how]

    assert world.second == rolled(world, to=wanted).facts["target"]["id"]


def test_of_two_builds_of_a_commit_the_one_that_was_live_is_meant(world: Any) -> None:
    world.vercel.add_deployment("b" * 40)  # built again, never promoted

    assert world.second == rolled(world, to="b" * 40).facts["target"]["id"]


@pytest.mark.parametrize("wanted", ["dpl_nothing", "abcdef0", "--env=other", "x/../y", ""])
def test_an_unknown_target_is_a_wrong_call(world: Any, wanted: str) -> None:
    error = refused(world, to=wanted)

    assert ("no-such-deployment", Exit.USAGE) == (error.code, error.exit)


def test_after_a_roll_back_the_one_before_that_is_meant(world: Any) -> None:
    first = world.vercel.deployments[world.first]["meta"]["githubCommitSha"]
    roll_back(world)

    plan = rolled(world)

    assert first == plan.facts["target"]["commit"]
    assert any(
        "held back already; undoing this does not change that" in note for note in plan.notes
    )


def test_before_the_first_there_is_nothing(world: Any) -> None:
    world.vercel.deployments[world.second]["promoted"] = False
    world.vercel.deployments[world.first]["promoted"] = False

    assert ("nothing-before", Exit.REFUSED) == (refused(world).code, refused(world).exit)


def test_what_is_live_already_moves_nothing(world: Any) -> None:
    assert () == rolled(world, to=world.third).steps


def test_what_vercel_has_let_go_is_refused(world: Any) -> None:
    original = world.vercel._row

    def row(deployment: dict[str, Any]) -> dict[str, Any]:
        return {**original(deployment), "isRollbackCandidate": False}

    world.vercel._row = row

    assert "no-candidate" == refused(world).code


def test_while_production_is_being_moved_nothing_is_begun(world: Any) -> None:
    world.vercel.queues_promotions = True
    roll_back(world)

    error = refused(world, to=world.first)

    assert ("move-under-way", Exit.REFUSED) == (error.code, error.exit)


def test_a_target_with_old_credentials_is_refused_with_their_names(world: Any) -> None:
    world.vercel.add_variable("STRIPE_SECRET_KEY", "canary-stripe")
    world.vercel.add_variable("FEATURE_COLOR", "blue")
    world.vercel.add_variable("PREVIEW_TOKEN", "x", "preview")

    error = refused(world)

    assert ("credentials-changed", Exit.REFUSED) == (error.code, error.exit)
    assert "STRIPE_SECRET_KEY, changed " in error.why
    assert "FEATURE_COLOR" not in error.why
    assert "PREVIEW_TOKEN" not in error.why
    assert "--accept-credentials" in error.hint
    notes = rolled(world, accept_credentials=True).notes
    assert any("OLD credentials: STRIPE_SECRET_KEY" in note for note in notes)
    assert any("old variables: FEATURE_COLOR" in note for note in notes)


def test_disabled_legacy_keys_are_named_as_why(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    token = "sbp" + "_" + "0123456789abcdef" * 2 + "01234567"
    monkeypatch.setenv("T_SUPABASE", token)
    world.vercel.add_variable("NEXT_PUBLIC_SUPABASE_ANON_KEY", "new")
    with SupabasePlane(token=token, ref="abcdefghijklmnopqrst") as plane:
        plane.legacy_enabled = False
        supabase = {"ref": plane.ref, "access_token": "env:T_SUPABASE", "api": plane.url}

        error = refused(world, settings={"supabase": supabase})

    assert "legacy keys (anon, service_role) are DISABLED" in error.why


def test_variables_that_cannot_be_asked_are_not_taken_for_unchanged(world: Any) -> None:
    world.vercel.inject("refused", "/env", times=9)

    error = refused(world)

    assert ("credentials-unknown", Exit.UNKNOWN) == (error.code, error.exit)
    world.vercel.calm()
    world.vercel.inject("refused", "/env", times=9)
    assert rolled(world, accept_credentials=True).steps


def test_a_target_is_asked_at_its_own_address_first(world: Any) -> None:
    """The health endpoint stands at a production domain; the target's own answers 500."""
    host = world.health_url.removeprefix("http://").partition("/")[0]
    world.vercel.add_domain(host)
    world.vercel.aliases[host] = world.third
    world.vercel.deployments[world.second]["url"] = host

    assert any("is well: health" in note for note in rolled(world).notes)
    world.statuses = [500]
    error = refused(world)

    assert ("target-ill", Exit.REFUSED) == (error.code, error.exit)
    assert "status 500 instead of 200" in error.why
    world.statuses = [500]
    assert rolled(world, accept_ill=True).steps


def test_a_watch_that_fails_leaves_a_run_that_can_be_undone(world: Any) -> None:
    plan = quick(rolled(world, watch_s=1))
    world.statuses = [200, 503]

    outcome = engine(world).start(plan, approval={})

    assert (Exit.PARTIAL, "watch") == (
        outcome.exit, next(step.id for step in outcome.steps if step.status == "failed")
    )  # fmt: skip
    detail = next(step.detail for step in outcome.steps if step.status == "failed")
    assert "health failed twice in a row: status 503 instead of 200" in detail
    assert "0 % before (0 of 3), 100.0 % now" in detail
    engine(world).start(quick(engine(world).undo_plan(outcome.run)), approval={})
    assert world.third == world.vercel.live


def test_forward_takes_the_newest_build_and_gives_automatic_assignment_back(world: Any) -> None:
    roll_back(world)
    fix = world.vercel.push("d" * 40)
    assert world.second == world.vercel.live

    outcome = engine(world).start(
        quick(plan_forward(world.call(), to=None, watch_s=0)), approval={}
    )

    assert Status.OK == outcome.status, outcome.steps
    assert (fix, True) == (world.vercel.live, world.vercel.auto_assign)
    assert fix != world.vercel.push("e" * 40) == world.vercel.live


def test_forward_does_not_bring_back_what_was_rolled_back_from_unasked(world: Any) -> None:
    roll_back(world, "bad release")

    with pytest.raises(OpsError) as caught:
        plan_forward(world.call(), to=None, watch_s=0)

    assert ("nothing-newer", Exit.REFUSED) == (caught.value.code, caught.value.exit)
    assert "bad release" in caught.value.why
    named = plan_forward(world.call(), to=world.third, watch_s=0)
    assert Status.OK == engine(world).start(quick(named), approval={}).status
    assert world.third == world.vercel.live


def test_forward_can_be_undone(world: Any) -> None:
    roll_back(world)
    world.vercel.push("d" * 40)
    outcome = engine(world).start(
        quick(plan_forward(world.call(), to=None, watch_s=0)), approval={}
    )

    undo = quick(engine(world).undo_plan(outcome.run))

    assert Status.OK == engine(world).start(undo, approval={}).status
    assert (world.second, False) == (world.vercel.live, world.vercel.auto_assign)


def test_nothing_held_back_needs_no_forward(world: Any) -> None:
    plan = plan_forward(world.call(), to=None, watch_s=0)

    assert ((), ("Nothing is held back.",)) == (plan.steps, plan.notes)


def test_status_warns_until_it_is_undone(world: Any) -> None:
    def warned() -> list[str]:
        report = report_app_status(world.call())
        assert Exit.OK == report.exit
        return [
            f"{each.title}: {each.evidence}"
            for each in report.findings
            if each.severity is Severity.WARNING
        ]

    assert [] == warned()
    roll_back(world, "it is slow")
    newest = world.vercel.push("d" * 40)

    (warning,) = warned()

    assert "do NOT go live by themselves" in warning
    assert f"from {world.third}, because: it is slow, by sandbox, 1 newer" in warning
    world.vercel._request("promote", newest, "")
    assert [] == warned()


def test_status_lists_what_was_live_with_commit_and_author(world: Any) -> None:
    world.vercel.add_deployment("d" * 40)

    report = report_app_status(world.call())

    (table,) = report.tables
    assert [world.third, world.second, world.first] == [row[0] for row in table.rows]
    row = table.rows[1]
    assert ("was live", "bbbbbbbb", "Second (Ada)") == (row[1], row[2], row[4])


def test_domains_that_serve_different_deployments_are_found(world: Any) -> None:
    world.vercel.aliases["web.vercel.example"] = world.second

    report = report_app_status(world.call())

    assert Exit.FAILED == report.exit
    plan = rolled(world, to=world.third)
    assert ["rollback"] == [step.id for step in plan.steps if step.id == "rollback"]


@pytest.mark.parametrize("kind", ["failed", "pending", "elsewhere"])
def test_only_what_every_domain_serves_is_served(world: Any, kind: str) -> None:
    if kind == "pending":
        world.vercel.queues_promotions = True
    elif kind == "failed":
        world.vercel.fails_promotions = True
    if kind == "elsewhere":
        world.vercel.aliases["web.vercel.example"] = world.second
        report = check_serves(world.call(), world.third, wait_s=0)
    else:
        world.vercel._request("rollback", world.second, "")
        report = check_serves(world.call(), world.second, wait_s=0)

    expected = Exit.UNKNOWN if kind == "pending" else Exit.FAILED
    assert expected == report.exit


def test_a_move_is_waited_for(world: Any) -> None:
    world.vercel.takes_s = 0.4
    world.vercel._request("rollback", world.second, "")

    assert Exit.OK == check_serves(world.call(), world.second, wait_s=9).exit


def test_whether_releases_are_held_is_asked_of_vercel(world: Any) -> None:
    exits = [check_held(world.call(), expect=each).exit for each in (None, "free", "held")]
    world.vercel.auto_assign = False
    exits += [check_held(world.call(), expect=each).exit for each in (None, "free", "held")]

    assert [Exit.OK, Exit.OK, Exit.FAILED, Exit.OK, Exit.FAILED, Exit.OK] == exits


def test_a_watch_says_the_error_rate_before_and_now(world: Any) -> None:
    world.statuses = [200, 500, 200]

    report = watch_app(world.call(), seconds=0.1, before="2/4", pause_s=0.02)

    assert Exit.OK == report.exit
    assert "50.0 % before (2 of 4), " in (report.text or "")


def test_the_plan_survives_the_journal_and_holds_no_secret(world: Any) -> None:
    world.vercel.add_variable("API_KEY", "canary-api-key-value")

    plan = rolled(world, accept_credentials=True, watch_s=30)

    text = json.dumps(plan_to_json(plan))
    assert plan == plan_from_json(json.loads(text))
    for secret in (world.vercel.token, world.github.token, "canary-api-key-value"):
        assert secret not in text


def test_without_vercel_or_a_domain_there_is_no_plan(world: Any) -> None:
    codes = [refused(world, settings={"vercel": None}).code]
    world.vercel.domains.clear()
    codes.append(refused(world).code)

    assert ["no-vercel", "no-production-domain"] == codes


def test_the_health_check_warns_until_it_is_undone(world: Any) -> None:
    from opsctl.adapters.vercel import VercelApi
    from opsctl.areas.healthcheck.platform import judge_deployment
    from opsctl.areas.healthcheck.verdict import Moment

    def rules() -> list[str]:
        settings = world.call().environment.vercel
        api = VercelApi(settings)
        project = api.project()
        production = api.production(project)
        held = held_back(project, world.vercel.live)
        verdict = judge_deployment(production, None, Moment(0.0, 0.0, 1.0), held=held)
        return [each.rule for each in verdict.findings if each.status is Status.FAILED]

    assert [] == rules()
    world.vercel._request("rollback", world.second, "")
    assert ["vercel-held-back"] == rules()


def test_canaries_appear_nowhere(
    world: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tokens and variables' values: not in output, journal, argv, nor in files left behind."""
    values = ["-".join(["canary", word, "7744"]) for word in ("plain", "sealed", "changed")]
    world.vercel.add_variable("PLAIN_KEY", values[0])
    world.vercel.add_variable("SEALED_KEY", values[1], type="sensitive")
    world.vercel.change_variable(world.vercel.variables[0]["id"], values[2])
    canaries = [world.vercel.token, world.github.token, *values]
    temporary = world.root / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.chdir(world.root)
    stop, seen = threading.Event(), set()

    def spy() -> None:
        """Read the command line of every process, as `ps` does."""
        while not stop.is_set():
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    seen.add(path.read_bytes())
            time.sleep(0.01)

    thread = threading.Thread(target=spy)
    thread.start()
    said = []
    try:
        for words in (
            ("rollback", "app", "status", "--format", "json"),
            ("rollback", "app", "--watch", "0", "--yes"),
            ("rollback", "app", "--watch", "0", "--yes", "--accept-credentials", "--verbose"),
            ("runs", "list", "--format", "json"),
            ("rollback", "app", "forward", "--to", world.third, "--watch", "0", "--yes"),
        ):
            run([*words, "--env", "production"])
            captured = capsys.readouterr()
            said.append(captured.out + captured.err)
    finally:
        stop.set()
        thread.join()

    assert world.third == world.vercel.live  # it did go back and forth
    assert 2 == world.vercel.count("POST", "/projects/")
    files = [path.read_bytes() for path in world.root.rglob("*") if path.is_file()]
    everything = b"\n".join([*seen, *files, *(text.encode() for text in said)])
    assert 0 < len(seen)
    assert [] == [canary for canary in canaries if canary.encode() in everything]


def test_what_the_history_knows_of_a_release_is_shown(world: Any) -> None:
    """Two checks while it was live, one of them failed; what came before or after is not its."""
    began_ms = world.vercel.deployments[world.second]["createdAt"]
    world.vercel.deployments[world.third]["createdAt"] = began_ms + 10
    begin, end = began_ms / 1000, (began_ms + 10) / 1000
    middle = (begin + end) / 2
    samples = [
        Sample("health", at, at, 5.0, 5.0, status)
        for at, status in (
            (begin - 1, "fail"), (begin + 0.001, "pass"), (middle, "fail"), (end + 1, "fail"),
        )
    ]  # fmt: skip
    HealthHistory(world.root / ".opsctl" / "state.db").append("production", samples)

    (table,) = report_app_status(world.call()).tables

    assert "health when live" == table.columns[-1]
    assert "well in 50.0 % of 2 checks" == table.rows[1][-1]
    assert any("well in 50.0 % of 2 checks" in note for note in rolled(world).notes)


def test_what_vercel_has_let_go_is_passed_over(world: Any) -> None:
    original = world.vercel._row
    world.vercel._row = lambda each: {
        **original(each), "isRollbackCandidate": each["id"] != world.second
    }  # fmt: skip

    assert world.first == rolled(world).facts["target"]["id"]


def test_an_id_from_outside_is_no_option_of_the_looks(world: Any) -> None:
    world.vercel.deployments["--env=x"] = {
        **world.vercel.deployments[world.second], "id": "--env=x", "createdAt": 1,
    }  # fmt: skip

    plan = rolled(world, to="--env=x")

    (step,) = [step for step in plan.steps if step.id == "rollback"]
    assert step.check is not None
    assert isinstance(step.check.action, Command)
    assert ("--", "--env=x") == step.check.action.argv[-2:]


@pytest.mark.parametrize("flips", [True, False])
def test_it_works_whichever_field_a_rollback_changes(world: Any, flips: bool) -> None:
    """That a rollback turns `autoAssignCustomDomains` off is not documented: so both are tried."""
    if not flips:
        original = world.vercel._request

        def request(kind: str, id: str, description: str) -> Answered:
            found: Answered = original(kind, id, description)
            world.vercel.auto_assign = True
            return found

        world.vercel._request = request
    outcome = engine(world).start(quick(rolled(world)), approval={})
    assert Status.OK == outcome.status, outcome.steps
    warned = [each.rule for each in report_app_status(world.call()).findings]
    assert "releases-held-back" in warned

    again = engine(world).start(quick(rolled(world)), approval={})  # to the one before that

    assert Status.OK == again.status, again.steps
    assert world.first == world.vercel.live


def test_forward_to_what_is_live_gives_automatic_assignment_back_alone(world: Any) -> None:
    roll_back(world)
    del world.vercel.deployments[world.third]

    plan = plan_forward(world.call(), to=None, watch_s=0)
    outcome = engine(world).start(quick(plan), approval={})

    assert Status.OK == outcome.status, outcome.steps
    assert ["assignment", "health-health"] == [step.id for step in plan.steps]
    assert (world.second, True) == (world.vercel.live, world.vercel.auto_assign)
