"""The stable codes of errors, read from where the program raises them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import opsctl
from opsctl.core.errors import Exit


@dataclass
class Code:
    """What is known of one code: its exit codes, and what its errors say."""

    exits: set[int] = field(default_factory=set)
    says: dict[str, None] = field(default_factory=dict)
    """In the order of the source, without doubles."""


def codes() -> dict[str, Code]:
    """Return every code that the source spells out, sorted; computed ones are not seen."""
    found: dict[str, Code] = {}
    for path in sorted(Path(opsctl.__path__[0]).rglob("*.py")):
        for name, call in _calls(ast.parse(path.read_text("utf-8"))):
            given = {each.arg: each.value for each in call.keywords}
            if not _raises(call) and "-" not in name:  # a platform's name, say
                continue
            code = found.setdefault(name, Code())
            if not _raises(call):
                continue
            match given.get("exit"):
                case None:
                    code.exits.add(Exit.USAGE)
                case ast.Attribute(value=ast.Name(id="Exit"), attr=exit):
                    code.exits.add(Exit[exit])
                case _:
                    pass
            if call.args and (said := _text(call.args[0])):
                code.says[said] = None
    return dict(sorted(found.items()))


def _calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Yield (code, call) of every call that is given a code, an error's own or another's."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            given = {each.arg: each.value for each in node.keywords}
            choices: tuple[ast.expr | None, ...]
            match given.get("code"):
                case ast.IfExp(body=first, orelse=second):
                    choices = (first, second)
                case one:
                    choices = (one,)
            for choice in choices:
                match choice:
                    case ast.Constant(value=str(name)):
                        yield name, node


def _raises(call: ast.Call) -> bool:
    """Whether a call makes an error itself, so that its words are the error's."""
    return isinstance(call.func, ast.Name) and call.func.id == "OpsError"


def _text(node: ast.expr) -> str:
    """Return a message as it stands in the source, `…` for what is put in; or nothing."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(_text(part) or "…" for part in parts)
        case _:
            return ""
