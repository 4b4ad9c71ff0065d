"""A freeze refuses what changes something, and nothing else; a reason goes with the approval."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from opsctl.cli.change import Resume, change, open_engine
from opsctl.cli.freeze import told_to_override
from opsctl.cli.root import run
from opsctl.cli.session import make_call
from opsctl.cli.shared import Shared
from opsctl.core.action import Command, Expect, Probe
from opsctl.core.errors import OpsError
from opsctl.core.plan import Irreversible, Plan, Step, Undo

ALWAYS = {"name": "the sale", "days": ["monday"], "at": "12:00", "hours": 168.0}
SHARED = Shared(yes=True, quiet=True, no_input=True, env="production")


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Write the settings; `freezes` are production's."""
    monkeypatch.chdir(tmp_path)

    def write(*freezes: dict[str, Any]) -> None:
        document = {"environments": {"production": {"freezes": list(freezes)}, "staging": {}}}
        (tmp_path / "opsctl.yaml").write_text(json.dumps(document))

    write(ALWAYS)
    return write


def touching(path: Path, *, undo: bool = True) -> Plan:
    """Return a plan that makes two files, of which the second has no directory yet."""

    def there(name: Path) -> Probe:
        look = "import pathlib,sys; sys.exit(not pathlib.Path(sys.argv[1]).exists())"
        return Probe(Command((sys.executable, "-c", look, str(name))), Expect(exit_code=0))

    def step(id: str, name: Path) -> Step:
        gone = "import pathlib,sys; sys.exit(pathlib.Path(sys.argv[1]).exists())"
        return Step(
            id, f"Make {name.name}", "verify",
            action=Command((sys.executable, "-c", "import sys; open(sys.argv[1],'w')", str(name))),
            check=there(name),
            undo=Undo(f"Remove {name.name}", Command((sys.executable, "-c",
                      "import os,sys; os.remove(sys.argv[1])", str(name))),
                      Probe(Command((sys.executable, "-c", gone, str(name))), Expect(exit_code=0)))
            if undo else Irreversible("it is a test"),
        )  # fmt: skip

    steps = (step("one", path / "one"), step("two", path / "later" / "two"))
    return Plan("rollback db", "production", False, "Make files", steps)


def refusal(plan: Plan | Resume, shared: Shared = SHARED) -> OpsError:
    with pytest.raises(OpsError) as caught:
        change(plan, call=make_call(shared), shared=shared)
    return caught.value


def journal() -> list[tuple[str, dict[str, Any]]]:
    engine = open_engine(make_call(SHARED))
    return [
        (event.kind, dict(event.data))
        for each in engine.runs()
        for event in engine.events(each.run)
        if event.kind != "planned"
    ]


def test_a_change_is_refused_and_nothing_is_written(
    settings: Callable[..., None], tmp_path: Path
) -> None:
    error = refusal(touching(tmp_path))

    assert (int(error.exit), error.code) == (5, "frozen")
    assert "the sale, until " in error.why
    assert "opsctl rollback db --env production --override-freeze REASON" in error.hint
    assert not (tmp_path / "one").exists()
    assert journal() == []


def test_with_a_reason_it_is_done_and_the_reason_is_kept(
    settings: Callable[..., None], tmp_path: Path
) -> None:
    (tmp_path / "later").mkdir()
    shared = replace(SHARED, override_freeze=" nobody \n can buy ")
    code = change(touching(tmp_path), call=make_call(shared), shared=shared)

    kept = next(data for kind, data in journal() if kind == "approved")
    assert code == 0
    assert (tmp_path / "one").exists()
    assert kept["override_freeze"]["reason"] == "nobody can buy"
    assert kept["override_freeze"]["freeze"]["name"] == "the sale"
    assert kept["how"] == "--yes"


def test_a_runbook_tells_its_commands_the_reason(
    settings: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "later").mkdir()
    told = told_to_override(replace(SHARED, override_freeze="it cannot wait"))
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    code = change(touching(tmp_path), call=make_call(SHARED), shared=SHARED)

    assert code == 0
    assert told_to_override(SHARED) == told
    assert any(
        data.get("override_freeze", {}).get("reason") == "it cannot wait" for _, data in journal()
    )


def test_an_empty_reason_is_none(settings: Callable[..., None], tmp_path: Path) -> None:
    error = refusal(touching(tmp_path), replace(SHARED, override_freeze="  "))

    assert (int(error.exit), error.code) == (2, "no-reason")


def test_a_reason_where_nothing_is_frozen_is_not_kept(
    settings: Callable[..., None], tmp_path: Path
) -> None:
    settings({"name": "long ago", "begin": "2001-01-01T00:00", "end": "2001-01-02T00:00"})
    (tmp_path / "later").mkdir()
    shared = replace(SHARED, override_freeze="to be sure")
    code = change(touching(tmp_path), call=make_call(shared), shared=shared)

    assert code == 0
    assert not any("override_freeze" in data for _, data in journal())


def test_a_run_that_has_begun_is_finished_and_taken_back(
    settings: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings()
    stopped = change(touching(tmp_path), call=make_call(SHARED), shared=SHARED)
    settings(ALWAYS)
    engine = open_engine(make_call(SHARED))
    name = engine.runs()[0].run
    (tmp_path / "later").mkdir()

    finished = change(Resume(name, engine.plan_of(name)), call=make_call(SHARED), shared=SHARED)
    undone = change(engine.undo_plan(name), call=make_call(SHARED), shared=SHARED)

    assert (stopped, finished, undone) == (4, 0, 0)
    capsys.readouterr()
    run(["runs", "undo", name, "--env", "production", "--no-input"])
    assert "is frozen" not in capsys.readouterr().err
    assert not (tmp_path / "one").exists()


def test_a_run_that_has_not_begun_is_not_begun(
    settings: Callable[..., None], tmp_path: Path
) -> None:
    (tmp_path / "later").mkdir()
    plan = touching(tmp_path)
    engine = open_engine(make_call(SHARED))
    name = "20260101-000000-aaaa"
    from opsctl.core.plan import plan_to_json

    engine._write(name, "planned", data={"plan": plan_to_json(plan), "sha256": plan.hash})

    error = refusal(Resume(name, plan))
    assert error.code == "frozen"
    assert f"opsctl runs resume {name} --env production --override-freeze" in error.hint

    shared = replace(SHARED, override_freeze="it cannot wait")
    code = change(Resume(name, plan), call=make_call(shared), shared=shared)
    kept = [data for kind, data in journal() if kind == "approved"]
    assert code == 0
    assert kept[0]["override_freeze"]["reason"] == "it cannot wait"


def test_a_look_a_dry_run_and_another_environment_are_not_frozen(
    settings: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "later").mkdir()
    (tmp_path / "one").touch()
    plan = touching(tmp_path)
    look = replace(plan, steps=(replace(plan.steps[0], action=None, undo=None),))
    elsewhere = replace(plan, environment="staging")
    dry = replace(SHARED, dry_run=True)

    assert change(look, call=make_call(SHARED), shared=SHARED) == 0
    assert change(plan, call=make_call(dry), shared=dry) == 0
    assert change(elsewhere, call=make_call(SHARED), shared=SHARED) == 0


def test_it_is_said_before_a_plan_is_worked_out(
    settings: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["maintenance", "clean", "--env", "production", "--no-input"]
    run(words)
    said = capsys.readouterr().err
    run([*words, "--override-freeze", "it cannot wait"])
    overridden = capsys.readouterr().err

    assert "(the sale): a change needs --override-freeze REASON" in said
    assert "the sale" not in overridden


def test_status_names_the_freeze(
    settings: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(["status", "--env", "production", "--format", "json"])
    document = json.loads(capsys.readouterr().out)
    found = next(each for each in document["findings"] if each["rule"] == "freeze")

    assert code == 0
    assert found["title"].startswith("Frozen until ")
    assert found["title"].endswith(": the sale")
    assert document["data"]["parts"]["maintenance"]["frozen"]["name"] == "the sale"

    settings({"name": "the year's end", "begin": "2999-12-20T00:00", "end": "2999-12-30T00:00"})
    run(["status", "--env", "production", "--format", "json"])
    document = json.loads(capsys.readouterr().out)
    assert "freeze" not in [each["rule"] for each in document["findings"]]
