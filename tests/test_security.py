"""Rules of safety that hold everywhere, each a walk over the program.

Bandit's rules run with the linter (`S` in pyproject.toml); here is what they do not know.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "opsctl"
_EXECUTING = {"eval", "exec", "compile", "__import__"}
_UNSAFE_MODULES = {"pickle", "marshal", "shelve", "dill", "tarfile", "xml", "lxml"}
"""What runs code that it reads, writes where an archive says, or follows an entity."""
_TO_A_SHELL = {"system", "popen", "getoutput", "getstatusoutput"}
_HOSTILE = "\x1b]0;x\x07\x1b[31mred\u202e\n::error::forged"
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def nodes() -> Iterator[tuple[Path, ast.AST]]:
    """Give every node of the program with the file that it stands in."""
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            yield path, node


def test_nothing_that_was_read_is_run() -> None:
    wrong = []
    for path, node in nodes():
        if isinstance(node, ast.Import):
            names = {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {(node.module or "").partition(".")[0]}
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            names = {node.func.id} & _EXECUTING
        elif isinstance(node, ast.Attribute):
            # A function of `yaml` that builds objects, or one that hands a line to a shell.
            of = node.value.id if isinstance(node.value, ast.Name) else ""
            builds = of == "yaml" and "load" in node.attr.lower() and node.attr != "SafeLoader"
            names = {node.attr} if builds or (of == "os" and node.attr in _TO_A_SHELL) else set()
        else:
            continue
        unsafe = names & (_UNSAFE_MODULES | _EXECUTING | _TO_A_SHELL)
        wrong += [f"{path}:{node.lineno}: {name}" for name in sorted(unsafe)]
        wrong += [f"{path}:{node.lineno}: yaml.{name}" for name in names if "load" in name]

    assert [] == wrong


def test_no_redirect_is_followed_no_certificate_passed_over_and_no_shell_asked() -> None:
    """A redirect would take the token along, and a shell takes names for orders."""
    wrong = []
    for path, node in nodes():
        if not isinstance(node, ast.Call):
            continue
        given = {each.arg: each.value for each in node.keywords}
        called = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        client = called in ("Client", "AsyncClient")
        forbidden = [("follow_redirects", True), ("shell", True)]
        for name, bad in [*forbidden, ("verify", False)] if client else forbidden:
            value = given.get(name)
            if isinstance(value, ast.Constant) and value.value is bad:
                wrong.append(f"{path}:{node.lineno}: {name}={bad}")
        if client and "follow_redirects" not in given:
            wrong.append(f"{path}:{node.lineno}: a client does not say that it follows none")

    assert [] == wrong


def test_what_is_passed_over_has_its_reason() -> None:
    """Each exception from a rule of safety says why, on its line or in the module's settings."""
    bare = [
        f"{path}:{number}"
        for path in SOURCE.rglob("*.py")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if re.search(r"noqa: [^#]*\bS\d{3}(?!.* - )", line)
    ]

    assert [] == bare


def opsctl(*argv: str, cwd: Path) -> str:
    """Return everything that a command line prints, to whichever stream."""
    environ = {**os.environ, "XDG_CACHE_HOME": str(cwd / "cache"), "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "opsctl", *argv],
        cwd=cwd, capture_output=True, text=True, env=environ, encoding="utf-8",
    )  # fmt: skip
    return done.stdout + done.stderr


@pytest.mark.parametrize("format", ["text", "github", "json"])
@pytest.mark.parametrize(
    "argv",
    [
        ("status", "--env", _HOSTILE),
        ("runbook", "show", _HOSTILE),
        ("runs", "show", _HOSTILE),
        ("config", "show", "--config", _HOSTILE),
        (_HOSTILE,),
        ("healthcheck", "run", f"--{_HOSTILE}"),
    ],
    ids=["environment", "runbook", "run", "settings", "command", "option"],
)
def test_what_is_typed_is_shown_and_not_obeyed(
    argv: tuple[str, ...], format: str, tmp_path: Path
) -> None:
    (tmp_path / "opsctl.yaml").write_text("environments:\n  staging: {}\n", encoding="utf-8")

    said = opsctl(*argv, "--format", format, cwd=tmp_path)

    assert said
    assert [] == _OBEYED.findall(said)
    assert [] == [line for line in said.splitlines() if line.startswith("::error::forged")]


def test_names_of_files_are_shown_and_not_obeyed(tmp_path: Path) -> None:
    """A repository's files may be called whatever a file system takes."""
    secret = "".join(("AK", "IA", "Q3EGRT7XWVNB5ZLK"))
    for name in ("a\x1b[31mb.env", "c\u202ed.env", "e\n::error::forged.env"):
        (tmp_path / name).write_text(f"aws_access_key_id = {secret}\n", encoding="utf-8")

    for format in ("text", "github", "markdown", "sarif"):
        said = opsctl("secrets-scan", "--format", format, ".", cwd=tmp_path)

        assert [] == _OBEYED.findall(said)
        assert [] == [line for line in said.splitlines() if line.startswith("::error::forged")]
