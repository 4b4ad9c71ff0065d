"""Completion: what is offered where, and what real shells make of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tree_sitter_powershell
from tree_sitter import Language, Parser

from first_run import World, first_run_world
from opsctl.cli.candidates import FILES, candidates, joined
from opsctl.cli.completion import SCRIPTS
from opsctl.cli.rooms import ROOMS
from opsctl.cli.root import run
from opsctl.core.errors import OpsError
from opsctl.engine.store import SqliteJournal

SETTINGS = "environments:\n  staging: {}\n  production: {}\n  'a b;rm': {}\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with two environments, and one whose name no shell takes as a word."""
    (tmp_path / "opsctl.yaml").write_text(SETTINGS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def offered(*words: str) -> list[str]:
    """Return the words that are offered, or FILES alone."""
    found = candidates(words)
    return [found] if isinstance(found, str) else [each.word for each in found]


def test_the_first_word_is_a_room(project: Path) -> None:
    assert offered("") == [*(room.name for room in ROOMS), "--help", "--version"]
    assert offered("rollb") == ["rollback"]
    assert offered("x") == []
    assert offered() == offered("")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("rollback", "d"), ["db"]),
        (("runs", "un"), ["undo", "unlock"]),
        (("rollback", "db", "--half-failed", ""), ["finish", "clean-up"]),
        (("rollback", "db", "--half-failed", "f"), ["finish"]),
        (("rollback", "db", "--half-failed=c"), ["--half-failed=clean-up"]),
        (("rollback", "db", "--env", ""), ["staging", "production"]),
        (("rollback", "db", "--env", "p"), ["production"]),
        (("rollback", "db", "--env=p"), ["--env=production"]),
        (("rollback", "db", "--env", "=", "p"), ["--env=production"]),
        (("rollback", "db", "--confirm", "s"), ["staging"]),
        (("doctor", "--off"), ["--offline"]),
        (("healthcheck", "--env", "s"), ["staging"]),
        (("healthcheck", "--format", "na"), ["nagios"]),
        (("doctor", "--format", "na"), []),
        (("completion", "po"), ["powershell"]),
        (("doctor", "--config", ""), [FILES]),
        (("restore", "db", "--output", "x"), [FILES]),
        (("nonsense", "x", ""), []),
        (("rollback", "nonsense", ""), []),
        (("status", "word", ""), []),
    ],
)
def test_what_is_offered_where(project: Path, words: tuple[str, ...], expected: list[str]) -> None:
    assert expected == offered(*words)


def test_every_option_of_every_command_is_offered(project: Path) -> None:
    found = offered("rollback", "db", "--")

    assert {"--env", "--steps", "--dry-run", "--help"} <= set(found)
    assert len(found) == len(set(found))


def test_hidden_commands_are_not_offered(project: Path) -> None:
    assert "app-serves" not in offered("rollback", "")
    assert "plane" not in offered("sandbox", "")


def test_runs_are_offered_unfinished_ones_first(project: Path) -> None:
    (project / "opsctl.yaml").write_text("environments: {staging: {}, production: {}}\n")
    journal = SqliteJournal(project / ".opsctl" / "state.db")
    for run_id, kind in (("20260101-000000-aaaa", "started"), ("20260102-000000-bbbb", "finished")):
        plan = {"command": "rollback db", "environment": "staging", "title": "T", "facts": {}}
        journal.append(run_id, "planned", step=None, actor="a", data={"plan": plan})
        step = "one" if kind == "started" else None
        journal.append(run_id, kind, step=step, actor="a", data={})
    journal.close()

    assert offered("runs", "show", "") == ["20260101-000000-aaaa", "20260102-000000-bbbb"]
    assert offered("runs", "resume", "20260102") == ["20260102-000000-bbbb"]


@pytest.fixture
def world(
    tmp_path: Path,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[World]:
    with first_run_world(tmp_path, database_url, monkeypatch, capsys) as world:
        yield world


def test_deployments_are_offered(world: World) -> None:
    world.vercel.add_deployment("b" * 40, live=True)
    found = candidates(["rollback", "app", "--to", ""])

    assert not isinstance(found, str)
    assert found[0].word == "previous"
    assert {each.word[:4] for each in found[1:]} == {"dpl_"}
    assert any("bbbbbbb" in each.help for each in found)


def test_a_record_that_cannot_be_read_is_an_error_and_no_traceback(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "opsctl.yaml").write_text("environments: {a: {nonsense: 1}}\n")
    code = run(["completion", "words", "--", "runs", "show", ""])

    assert code == 2
    assert capsys.readouterr().out == ""
    with pytest.raises(OpsError):
        candidates(["runs", "show", ""])
    assert offered("doctor", "--env", "") == ["a"]


def test_bash_takes_words_apart_and_they_are_put_together() -> None:
    assert joined(["a", "--env", "=", "b", "--x", "="]) == ["a", "--env=b", "--x="]
    assert joined(["a", "=", "b"]) == ["a", "=", "b"]


def test_an_unknown_shell_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", "bashh"]) == 2
    assert "did you mean bash?" in capsys.readouterr().err


_ASK = {
    "bash": """
        source <(opsctl completion bash)
        COMP_WORDS=({words}); COMP_CWORD={last}; _opsctl; printf '%s\\n' "${{COMPREPLY[@]}}"
    """,
    "zsh": """
        compdef() {{ : }}; _describe() {{ print -l -- ${{(P)4}} }}; _files() {{ print FILES }}
        source <(opsctl completion zsh)
        words=({words}); CURRENT=$(( {last} + 1 )); _opsctl
    """,
    "fish": """
        opsctl completion fish | source
        complete -C "{line}"
    """,
}


@pytest.mark.parametrize(
    ("shell", "words", "expected"),
    [
        (shell, words, expected)
        for shell in _ASK
        if shutil.which(shell)
        for words, expected in (
            (["rollback", "db", "--env", "p"], "production"),
            (["completion", ""], "powershell"),
        )
    ],
)
def test_real_shells_complete(project: Path, shell: str, words: list[str], expected: str) -> None:
    quoted = " ".join(f"'{each}'" for each in ["opsctl", *words])
    line = " ".join(["opsctl", *words])
    script = _ASK[shell].format(words=quoted, last=len(words), line=line)
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    argv = {"bash": ["bash", "--norc"], "zsh": ["zsh", "-f"], "fish": ["fish", "--no-config"]}
    done = subprocess.run(
        [*argv[shell], "-c", script], cwd=project, capture_output=True, text=True, check=False,
        env={**os.environ, "PATH": path},
    )  # fmt: skip

    found = [line.partition("\t")[0].partition(":")[0] for line in done.stdout.splitlines()]
    assert expected in found, done.stdout + done.stderr
    assert done.stderr == ""


def test_bash_puts_in_what_stands_behind_the_equals_sign(project: Path) -> None:
    script = "source <(opsctl completion bash); " + (
        "COMP_WORDS=(opsctl doctor --env = p); COMP_CWORD=4; _opsctl; echo ${COMPREPLY[@]}"
    )
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    done = subprocess.run(
        ["bash", "--norc", "-c", script], cwd=project, capture_output=True, text=True, check=True,
        env={**os.environ, "PATH": path},
    )  # fmt: skip

    assert done.stdout.strip() == "production"


def test_every_script_asks_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    for shell, script in SCRIPTS.items():
        assert run(["completion", shell]) == 0
        assert capsys.readouterr().out.strip() == script.strip()
        assert "opsctl completion words" in script


def _nodes(node: Any) -> Iterator[Any]:
    yield node
    for child in node.children:
        yield from _nodes(child)


def _parsed(script: str) -> Any:
    return Parser(Language(tree_sitter_powershell.language())).parse(script.encode()).root_node


def test_powershell_s_script_is_one_that_its_grammar_knows() -> None:
    """No PowerShell is to be had where these tests run: the grammar stands for it."""
    script = SCRIPTS["powershell"]
    signs = [index for index, sign in enumerate(script) if sign in "{}"]

    assert not _parsed(script).has_error
    assert len(signs) > 8
    for index in signs:  # or the grammar would take anything
        assert _parsed(script[:index] + script[index + 1 :]).has_error


def test_powershell_asks_as_the_program_answers(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the script runs, its variables put in as PowerShell does, completes."""
    nodes = _nodes(_parsed(SCRIPTS["powershell"]))
    commands = [each.text.decode() for each in nodes if each.type == "command"]
    line = next(each for each in commands if each.startswith("opsctl "))
    line = line.partition(" 2>$null")[0]

    assert line == "opsctl completion words @how -- @typed"
    for how, typed, expected in (
        ((), ("rollback", "db", "--env", "p"), "production"),
        ((), ("runs", "un"), "undo"),
        (("--empty",), ("completion",), "powershell"),
    ):
        argv: list[str] = []
        for word in line.split()[1:]:
            argv += {"@how": how, "@typed": typed}.get(word, (word,))
        assert run(argv) == 0
        found = [each.partition(" ")[0] for each in capsys.readouterr().out.splitlines()]
        assert expected in found
