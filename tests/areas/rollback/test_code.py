"""The code rolled back: one commit with the old tree, pushed by real git, watched on Vercel."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from opsctl.adapters import git_revert
from opsctl.adapters.git_revert import Branch, Revert
from opsctl.areas.rollback.code import plan_code
from opsctl.areas.rollback.code_status import check_deployed
from opsctl.core.errors import Exit, OpsError
from opsctl.core.plan import Plan, plan_from_json, plan_to_json
from opsctl.core.process import run_program
from opsctl.core.report import Status
from opsctl.engine.lock import FileLocks
from opsctl.engine.run import Engine
from opsctl.engine.store import SqliteJournal

GIT = {
    "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.com", "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.com", "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
}  # fmt: skip


class Person:
    """Confirms manual steps after doing what they say."""

    def __init__(self, does: Any = None) -> None:
        self.does = does

    def confirm_manual(self, step: Any) -> bool:
        if self.does is not None:
            self.does()
        return self.does is not None

    def step_started(self, step: Any, index: int, total: int) -> None: ...

    def step_ended(self, step: Any, status: str, took_ms: float, detail: str) -> None: ...

    def waiting(self, step: Any, message: str) -> None: ...


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


def remote(world: Any, *words: str) -> str:
    done = run_program(["git", *words], env=GIT, cwd=str(world.root / "remote.git"))
    return done.stdout.strip()


def commit(world: Any, message: str, **files: str) -> str:
    for name, text in files.items():
        path = world.root / "app" / name.replace("__", "/").replace("_sql", ".sql")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    world.git("add", ".")
    world.git("commit", "-q", "--allow-empty", "-m", message)
    return str(world.git("rev-parse", "HEAD"))


def planned(world: Any, **choices: Any) -> Plan:
    given: dict[str, Any] = {
        "to": "previous", "branch": None, "remote": "origin", "reason": "", "watch_s": 0,
        "pull_request": False, "keep_migrations": True, "accept_schema": False, **choices,
    }  # fmt: skip
    plan = plan_code(world.call(**given.pop("settings", {})), **given)
    data = plan_to_json(plan)
    for step in data["steps"]:
        for probe in (step["check"], (step["undo"] or {}).get("check")):
            if probe:
                probe["pause_s"], probe["attempts"] = 0.01, 1
                argv = probe["action"].get("argv", ())
                if "--wait" in argv:
                    argv = list(argv)
                    argv[argv.index("--wait") + 1] = "9"
                    probe["action"]["argv"] = argv
    return plan_from_json(data)


@pytest.fixture
def world(app_world: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Three commits on main of a bare remote, each built and live in turn."""
    for name, value in GIT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{__import__('os').environ['PATH']}")
    bare = app_world.root / "remote.git"
    bare.mkdir()
    run_program(["git", "init", "-q", "--bare", "-b", "main"], env=GIT, cwd=str(bare))
    app_world.git("remote", "set-url", "origin", str(bare))
    app_world.vercel.deployments.clear()
    app_world.vercel.variables.clear()
    app_world.commits = [
        commit(app_world, "One", page="one", supabase__migrations__1_a_sql="select 1"),
        commit(app_world, "Two", page="two"),
        commit(app_world, "Three", page="three", supabase__migrations__2_b_sql="select 2"),
    ]
    app_world.git("push", "-q", "origin", "main")
    for each in app_world.commits:
        app_world.vercel.add_deployment(each, live=True)
    app_world.vercel.remote = app_world.github.remote = str(bare)
    app_world.vercel.look_at_remote()
    app_world.write_settings()
    return app_world


def test_the_old_tree_comes_back_on_top_and_goes_live(world: Any) -> None:
    plan = planned(world, reason="page is broken")
    before = {path: path.read_bytes() for path in (world.root / "app").glob("*") if path.is_file()}

    outcome = engine(world).start(plan, approval={})

    assert Status.OK == outcome.status, outcome.steps
    assert ["commit", "push", "deployed", "health-health"] == [step.id for step in plan.steps]
    head = remote(world, "rev-parse", "main")
    assert plan.facts["commit"] == head
    assert [head, *reversed(world.commits)] == remote(world, "rev-list", "main").split()[:4]
    assert "two" == remote(world, "show", "main:page")
    assert "select 2" == remote(world, "show", "main:supabase/migrations/2_b.sql")
    text = remote(world, "log", "-1", "--format=%B", "main")
    assert "page is broken" in text
    assert f"- {world.commits[2][:12]} Three" in text
    live = world.vercel.deployments[world.vercel.live]["meta"]["githubCommitSha"]
    assert head == live
    now = {path: path.read_bytes() for path in (world.root / "app").glob("*") if path.is_file()}
    assert before == now


def test_undoing_pushes_what_was_there_on_top_again(world: Any) -> None:
    outcome = engine(world).start(planned(world), approval={})

    undo = engine(world).undo_plan(outcome.run)

    assert Status.OK == engine(world).start(undo, approval={}).status
    assert "three" == remote(world, "show", "main:page")
    assert "5" == remote(world, "rev-list", "--count", "main", f"^{world.commits[0]}^")


def test_migrations_go_back_too_when_asked(world: Any) -> None:
    engine(world).start(planned(world, keep_migrations=False), approval={})

    names = remote(world, "ls-tree", "-r", "--name-only", "main").split()
    assert "supabase/migrations/2_b.sql" not in names
    assert "supabase/migrations/1_a.sql" in names


def test_a_branch_that_moved_meanwhile_refuses_it(world: Any) -> None:
    plan = planned(world)
    moved = commit(world, "Four", page="four")
    world.git("push", "-q", "origin", "main")

    outcome = engine(world).start(plan, approval={})

    assert (Exit.UNKNOWN, moved) == (outcome.exit, remote(world, "rev-parse", "main"))
    assert "push" == next(step.id for step in outcome.steps if step.status != "done")
    for step in plan.steps:
        if step.action is not None and hasattr(step.action, "argv"):
            assert not {"-f", "--force", "--force-with-lease"} & set(step.action.argv)


@pytest.mark.parametrize("state", ["ERROR", "CANCELED"])
def test_a_build_that_ends_otherwise_ends_the_run_and_says_so(world: Any, state: str) -> None:
    world.vercel.builds_end = state
    live = world.vercel.live

    outcome = engine(world).start(planned(world), approval={})

    assert (Exit.PARTIAL, live) == (outcome.exit, world.vercel.live)
    assert f"ended as {state}: production stays" in outcome.steps[2].detail


def test_while_releases_are_held_back_it_is_built_and_said_not_to_be_live(world: Any) -> None:
    world.vercel._request("rollback", next(iter(world.vercel.deployments)), "")
    live = world.vercel.live

    plan = planned(world, to=world.commits[1])
    outcome = engine(world).start(plan, approval={})

    assert (Status.OK, live) == (outcome.status, world.vercel.live), outcome.steps
    assert "rollback app forward" in outcome.steps[2].detail
    assert any("NOT go live" in note for note in plan.notes)


def test_a_protected_branch_gets_a_pull_request_through_the_real_gh(world: Any) -> None:
    world.github.protected.append("main")
    plan = planned(world)
    head = remote(world, "rev-parse", "main")

    def merge() -> None:
        assert head == remote(world, "rev-parse", "main")
        world.github.act("merge", {"number": 1})

    outcome = engine(world, Person(merge)).start(plan, approval={})

    assert Status.OK == outcome.status, outcome.steps
    assert ["commit", "push", "pull-request", "merge", "deployed", "health-health"] == [
        step.id for step in plan.steps
    ]
    (pull,) = world.github.pulls
    assert ("main", True) == (pull["base"]["ref"], pull["merged"])
    assert "This takes back" in pull["body"]
    assert "two" == remote(world, "show", "main:page")
    journal = b"".join(path.read_bytes() for path in world.root.glob("state/state.db*"))
    assert world.github.token.encode() not in journal


def test_a_pull_request_is_opened_once(world: Any) -> None:
    plan = planned(world, pull_request=True)

    first = engine(world).start(plan, approval={})
    second = engine(world).resume(first.run)

    assert [Exit.PARTIAL, Exit.PARTIAL] == [first.exit, second.exit]  # nobody merged it
    assert 1 == len(world.github.pulls)
    assert 1 == world.github.count("POST", "/pulls")


def test_what_is_there_already_pushes_nothing(world: Any) -> None:
    assert () == planned(world, to=world.commits[2]).steps
    engine(world).start(planned(world), approval={})
    assert () == planned(world, to=world.commits[1]).steps


@pytest.mark.parametrize(
    ("choices", "code"),
    [
        ({"to": "abcdef0"}, "no-such-commit"),
        ({"to": "--all"}, "no-such-commit"),
        ({"branch": "nowhere"}, "git-failed"),
        ({"branch": "--upload-pack=x"}, "usage"),
        ({"remote": "--exec=x"}, "usage"),
        ({"remote": "nowhere"}, "git-failed"),
    ],
)
def test_a_wrong_call_is_refused(world: Any, choices: dict[str, Any], code: str) -> None:
    with pytest.raises(OpsError) as caught:
        planned(world, **choices)

    assert code == caught.value.code


def test_a_commit_of_another_branch_is_no_target(world: Any) -> None:
    world.git("checkout", "-q", "-b", "other", world.commits[0])
    other = commit(world, "Elsewhere", page="x")

    with pytest.raises(OpsError) as caught:
        planned(world, to=other)

    assert "the branch was not built on it" == caught.value.why


def test_planning_writes_no_object_into_the_checkout(world: Any) -> None:
    before = world.git("count-objects", "-v")

    plan = planned(world)

    assert before == world.git("count-objects", "-v")
    assert plan == plan_from_json(json.loads(json.dumps(plan_to_json(plan))))


def test_a_commit_is_the_same_every_time(world: Any) -> None:
    revert = Revert(
        world.commits[2], world.commits[0], "Back", "A <a@example.com>", 1_800_000_000,
        ("supabase/migrations",),
    )  # fmt: skip
    folder = world.root / "app"

    pairs = {git_revert.make_pair(folder, revert, keep_it=keep) for keep in (False, True, True)}

    assert 1 == len(pairs)
    ((made, counter),) = pairs
    assert "one" == world.git("show", f"{made}:page")
    assert world.git("rev-parse", f"{counter}^{{tree}}") == world.git(
        "rev-parse", f"{world.commits[2]}^{{tree}}"
    )


def test_a_deployment_that_never_comes_is_unknown(world: Any) -> None:
    report = check_deployed(world.call(), commit="f" * 40, pull=None, wait_s=0)

    assert Exit.UNKNOWN == report.exit


def test_a_push_is_never_forced(world: Any) -> None:
    action = git_revert.push(world.root / "app", "a" * 40, Branch("origin", "main", "b" * 40))

    assert not any("force" in word or word.startswith("+") for word in action.argv)


def test_a_protection_that_cannot_be_asked_is_told_and_stops_nothing(world: Any) -> None:
    world.github.inject("refused", times=9)

    plan = planned(world)

    assert any("Whether main is protected is not known" in note for note in plan.notes)
    assert "push" in {step.id for step in plan.steps}
