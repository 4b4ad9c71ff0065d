"""Runbooks are carried out on a real sandbox: asked, resumed, killed, taken back."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from opsctl.adapters.runbook_files import read_runbook
from opsctl.cli.change import step_of_a_runbook
from opsctl.cli.own_commands import understand
from opsctl.cli.runbook_plan import line_for, outcome_of, plan_runbook
from opsctl.core.action import Command, Manual
from opsctl.core.errors import OpsError
from opsctl.core.plan import Plan, plan_from_json, plan_to_json

MEND = """---
title: Mend what the last migration broke
when: When the self-test fails after a migration.
owner: the on-call engineer
---

# Mend

## Look

```opsctl
opsctl healthcheck run --env sandbox --only selftest --retries 0
```

## Change

```bash
opsctl rollback db --env sandbox --yes   # proven first
git push origin HEAD
opsctl runs undo RUN
```

## Verify

```opsctl
opsctl healthcheck run --env sandbox --only selftest --retries 0
```

- [ ] Tell the **customers**
"""


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a sandbox that is up, and the runbook `mend`."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "runbooks").mkdir()
    (folder / "runbooks" / "mend.md").write_text(MEND)
    done = opsctl(folder, "sandbox", "up")
    assert 0 == done.returncode, done.stderr
    yield folder
    opsctl(folder, "sandbox", "down")


def opsctl(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command line where nobody can be asked."""
    argv = [sys.executable, "-m", "opsctl", *words]
    return subprocess.run(
        argv, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )


def answer(folder: Path, *words: str) -> tuple[int, str, str]:
    """Run a command line on a terminal, say yes to everything; return (exit, stdout, screen)."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "opsctl", *words],
        cwd=folder, stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, text=True,
    )  # fmt: skip
    os.close(theirs)
    screen, answered = "", 0
    while True:
        try:
            data = os.read(ours, 65536)
        except OSError:
            break
        if not data:
            break
        screen += data.decode(errors="replace")
        while answered < screen.count("[y/N]"):
            os.write(ours, b"y\n")
            answered += 1
    assert child.stdout is not None
    with child.stdout:
        told = child.stdout.read()
    code = child.wait()
    os.close(ours)
    return code, told, screen


def data_of(folder: Path, *words: str) -> Any:
    return json.loads(opsctl(folder, *words, "--format", "json").stdout)["data"]


def runs_of(folder: Path) -> list[Any]:
    """Return the runs, oldest first."""
    return data_of(folder, "runs", "list")["runs"][::-1]


def selftest(folder: Path) -> int:
    words = ("healthcheck", "run", "--env", "sandbox", "--only", "selftest", "--no-record")
    return opsctl(folder, *words).returncode


def planned(text: str, folder: Path, *, environment: str = "production", **more: Any) -> Plan:
    path = folder / "book.md"
    path.write_text(text)
    given = {"protected": False, "token": "abc", "first": None, "warn": lambda line: (), **more}
    return plan_runbook(read_runbook(path), environment=environment, **given)


def test_a_runbook_is_one_run_that_is_resumed_and_undone(sandbox: Path) -> None:
    stopped = opsctl(
        sandbox, "runbook", "run", "mend", "--env", "sandbox", "--yes", "--format", "json"
    )

    told = json.loads(stopped.stdout)
    assert (4, "partial") == (stopped.returncode, told["status"]), stopped.stderr
    states = [each["status"] for each in told["data"]["steps"]]
    assert ["found", "done", "failed", "pending", "pending", "pending"] == states
    book, inner = runs_of(sandbox)
    assert ("runbook run mend", "stopped") == (book["command"], book["state"])
    assert ("rollback db", "finished") == (inner["command"], inner["state"])
    # What the lines say is seen when they say it, on stderr.
    assert "selftest is ill" in stopped.stderr
    assert "selftest answers 200" in stopped.stderr

    code, _, screen = answer(sandbox, "runs", "resume", book["run"], "--env", "sandbox", "--yes")

    assert 0 == code, screen
    assert "Run this yourself: git push origin HEAD" in screen
    assert 2 == len(runs_of(sandbox))
    events = data_of(sandbox, "runs", "show", book["run"])["events"]
    ticked = [each for each in events if "confirmed_by" in each["data"]]
    assert ["3-git-push-origin", "4-runs-undo-run", "6-tell-the-customers"] == [
        each["step"] for each in ticked
    ]
    assert all("@" in each["data"]["confirmed_by"] and each["at"] for each in ticked)
    assert 0 == selftest(sandbox)

    undone = opsctl(sandbox, "runs", "undo", book["run"], "--env", "sandbox", "--yes")

    assert 0 == undone.returncode, undone.stderr
    last = runs_of(sandbox)[-1]
    assert (f"runs undo {inner['run']}", "finished") == (last["command"], last["state"])
    assert 1 == selftest(sandbox)


def test_a_runbook_that_is_killed_does_nothing_twice(sandbox: Path, soak: bool) -> None:
    """Killed while the line works its plan out, and while it changes the database.

    The line lives on: in the one case it must not begin, in the other it goes on to its end.
    """
    moments = [0.3 * n for n in range(1, 30)] + ["change"] if soak else [2.0]
    for moment in moments:
        before = len(runs_of(sandbox))
        argv = ["runbook", "run", "mend", "--from", "2", "--env", "sandbox", "--yes"]
        book = subprocess.Popen(
            [sys.executable, "-m", "opsctl", *argv],
            cwd=sandbox, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        if moment == "change":
            while len(runs_of(sandbox)) < before + 2 and book.poll() is None:
                time.sleep(0.05)
        else:
            assert isinstance(moment, float)
            time.sleep(moment)
        book.send_signal(signal.SIGKILL)
        book.communicate()  # until its line has ended, too: it has the same stderr
        left = runs_of(sandbox)[before:]
        if not left:
            continue  # killed before it began
        resumed = opsctl(sandbox, "runs", "resume", left[0]["run"], "--env", "sandbox", "--yes")
        assert 4 == resumed.returncode, resumed.stderr  # at what a person does
        runs = runs_of(sandbox)[before:]
        changes = [each for each in runs if each["command"] == "rollback db"]
        assert ["finished"] == [each["state"] for each in changes], (moment, runs)
        assert 0 == selftest(sandbox)
        if moment == moments[-1]:
            break
        undone = opsctl(sandbox, "runs", "undo", left[0]["run"], "--env", "sandbox", "--yes")
        assert 0 == undone.returncode, undone.stderr


def test_the_plan_survives_the_journal(tmp_path: Path) -> None:
    plan = planned(MEND, tmp_path)

    assert plan == plan_from_json(json.loads(json.dumps(plan_to_json(plan))))
    assert ["command", "command", "manual", "manual", "command", "manual"] == [
        "manual" if isinstance(step.action, Manual) else "command" for step in plan.steps
    ]
    assert "runbooks of production" == plan.holds
    assert ("Mend what the last migration broke", "production") == (plan.title, plan.environment)


def test_looks_before_the_first_change_may_find_something(tmp_path: Path) -> None:
    first, change, *_, last, _ = planned(MEND, tmp_path).steps

    assert isinstance(first.action, Command)
    assert isinstance(change.action, Command)
    assert isinstance(last.action, Command)
    assert [(0, 1), (0,), (0,)] == [
        first.action.accepts, change.action.accepts, last.action.accepts
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "environment", "expected"),
    [
        ("runs list", "staging", "runs list --env staging"),
        ("rollback db --env sandbox --yes", "sandbox", "rollback db --env sandbox --yes"),
        ("rollback db --env sandbox --yes", "staging", "rollback db --env staging"),
        ("rollback db -y --env=sandbox", "staging", "rollback db --env staging"),
        ("restore db --env sandbox --confirm sandbox", "staging", "restore db --env staging"),
        ("rollback db --yes", "staging", "rollback db --yes --env staging"),
        ("diagnose auth --env production", "staging", "diagnose auth --env production"),
    ],
)
def test_a_line_goes_to_the_environment_of_the_run(
    line: str, environment: str, expected: str
) -> None:
    """Who agreed in writing to a change of the sandbox did not agree to one of production."""
    words = line.split()

    assert expected.split() == list(line_for(words, understand(words), environment))


@pytest.mark.parametrize(
    ("kinds", "runs", "acts", "expected"),
    [
        ([], [], False, "absent"),
        (["started"], [], False, "absent"),
        (["started"], [], True, "unknown"),
        (["started", "failed"], [], True, "absent"),
        (["started", "done"], [], True, "applied"),
        (["started", "unknown"], ["stopped"], False, "unknown"),
        (["started", "unknown"], ["aborted"], False, "absent"),
        (["started", "unknown"], ["aborted", "finished"], False, "applied"),
        (["started"], ["running"], False, "unknown"),
    ],
)
def test_what_became_of_a_step_is_told_by_the_runs_it_began(
    kinds: list[str], runs: list[str], acts: bool, expected: str
) -> None:
    events = [{"kind": kind} for kind in kinds]

    assert expected == outcome_of("abc.2-x", events, runs, acts=acts)[0]


@pytest.mark.parametrize(("first", "expected"), [("3", 3), ("5-healthcheck-run-env", 5),
                                                 ("verify", 5), ("Change", 2)])  # fmt: skip
def test_it_begins_at_a_number_a_step_or_a_heading(
    tmp_path: Path, first: str, expected: int
) -> None:
    whole = planned(MEND, tmp_path)

    begun = planned(MEND, tmp_path, first=first)
    assert [step.id for step in whole.steps[expected - 1 :]] == [step.id for step in begun.steps]


def test_an_unknown_step_is_an_error_that_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(OpsError) as raised:
        planned(MEND, tmp_path, first="lunch")

    assert ("no-such-step", 2) == (raised.value.code, raised.value.exit)
    assert "Look, Change, Verify" in raised.value.why


def test_a_line_that_does_not_exist_stops_it_before_anything_is_done(tmp_path: Path) -> None:
    with pytest.raises(OpsError) as raised:
        planned("```bash\nopsctl runs list\nopsctl rollback db --too x\n```\n", tmp_path)

    assert ("runbook-wrong", 2) == (raised.value.code, raised.value.exit)
    assert "book.md:3: No such option: --too" in raised.value.why


def test_what_needs_a_shell_is_left_to_the_person(tmp_path: Path) -> None:
    lines = ["opsctl runs list | tee x", "opsctl runs show $RUN", "opsctl runs list; rm -rf x"]
    plan = planned("```bash\n" + "\n".join(lines) + "\n```\n", tmp_path)

    assert [f"By hand: {line}" for line in lines] == [step.title for step in plan.steps]


def test_list_and_show_name_what_is_there(sandbox: Path) -> None:
    books = data_of(sandbox, "runbook", "list")["runbooks"]
    names = [each["name"] for each in books]

    assert "mend" == names[0]
    assert {"rollback", "restore", "backup", "diagnose"} <= set(names)
    shown = data_of(sandbox, "runbook", "show", "mend")
    assert "the on-call engineer" == shown["owner"]
    assert ["opsctl", "opsctl", "you", "you", "opsctl", "you"] == [
        each["who"] for each in shown["steps"]
    ]


@pytest.mark.parametrize(
    ("text", "code", "exit_"),
    [
        ("---\ntitel: x\n---\n", "runbook-invalid", 2),
        ("---\n- x\n---\n", "runbook-invalid", 2),
        ("---\ntitle: [x]\n---\n", "runbook-invalid", 2),
        ("---\ntitle: &a x\n---\n", "yaml-alias", 2),
        (b"\xff\xfe", "runbook-unreadable", 3),
        (b"x" * 1024 * 1025, "runbook-unreadable", 3),
    ],
)
def test_a_broken_runbook_is_an_error_and_no_traceback(
    tmp_path: Path, text: str | bytes, code: str, exit_: int
) -> None:
    path = tmp_path / "broken.md"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())

    done = opsctl(tmp_path, "runbook", "show", str(path), "--format", "json")

    assert (exit_, code) == (done.returncode, json.loads(done.stdout)["error"]["code"])
    assert "Traceback" not in done.stderr


def test_a_name_that_is_none_is_answered_with_the_nearest(tmp_path: Path) -> None:
    done = opsctl(tmp_path, "runbook", "show", "rolback", "--format", "json")

    error = json.loads(done.stdout)["error"]
    assert (2, "no-such-runbook", "did you mean rollback?") == (
        done.returncode, error["code"], error["hint"]
    )  # fmt: skip


def test_a_line_whose_runbook_is_gone_begins_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runbook's run may be resumed already, and would begin the same step beside it."""
    monkeypatch.setenv("_OPSCTL_WITHIN", "abc.2-rollback-db")
    monkeypatch.setenv("_OPSCTL_PARENT", str(os.getppid()))

    assert {"within": "abc.2-rollback-db"} == step_of_a_runbook()

    monkeypatch.setenv("_OPSCTL_PARENT", "999999999")
    with pytest.raises(OpsError) as raised:
        step_of_a_runbook()

    assert ("left-alone", 5) == (raised.value.code, raised.value.exit)


def test_what_a_runbook_says_is_shown_and_never_obeyed(tmp_path: Path) -> None:
    esc = chr(27)
    hostile = f"{esc}]52;c;aGk={chr(7)}{chr(0x202E)} [/b] [link=x]"
    path = tmp_path / "hostile.md"
    path.write_text(f"# {hostile}\n\n- [ ] tick {hostile}\n\n```bash\ngit {hostile}\n```\n")

    for words in (("show", str(path)), ("lint", str(path))):
        done = opsctl(tmp_path, "runbook", *words)

        assert "Traceback" not in done.stderr
        assert not {esc, chr(7), chr(0x202E)} & set(done.stdout + done.stderr)
        assert "[link=x]" in done.stdout


def test_whom_to_call_and_where_to_click_stand_in_the_plan(tmp_path: Path) -> None:
    (tmp_path / "opsctl.yaml").write_text(
        "environments:\n  production:\n    incidents:\n      contacts:\n"
        "        - {role: on-call, name: Ann, reach: '+47 1'}\n"
    )
    (tmp_path / "book.md").write_text("- [ ] Press [Restart](https://x.example/r?a=1), [b](#c)\n")

    done = opsctl(tmp_path, "runbook", "run", "book.md", "--dry-run", "--format", "json")

    plan = json.loads(done.stdout)["data"]["plan"]
    assert ["Call on-call: Ann +47 1"] == plan["notes"]
    assert "https://x.example/r?a=1" == plan["steps"][0]["action"]["link"]
    assert "Press Restart, b" == plan["steps"][0]["title"]
