"""Expressions as the catalog stores them: trees of resolved nodes, read without a lock.

PostgreSQL prints an expression under a lock on its table, and prints names, not objects. The
stored tree (`pg_node_tree`) names functions, operators and tables by their numbers. Its format
is the same from version to version; which fields a node has is not, so fields are read by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

_TOKEN = re.compile(r"[{}()]|(?:\\.|[^\s{}()\\])+", re.DOTALL)
_NOISE = re.compile(r"(?<!\\) :(?:location -?\d+|\w+ (?:<>|false|0|-1))(?=[ })])")
_OPENING = {"}": "{", ")": "("}


class Node(NamedTuple):
    """One node: `OPEXPR` with its fields by name."""

    kind: str
    fields: dict[str, Value]

    def node(self, name: str) -> Node | None:
        """Return a field that is a node, or None."""
        value = self.fields.get(name)
        return value if isinstance(value, Node) else None

    def nodes(self, name: str) -> tuple[Node, ...]:
        """Return a field that is a list of nodes."""
        value = self.fields.get(name)
        return tuple(v for v in value if isinstance(v, Node)) if isinstance(value, list) else ()

    def number(self, name: str) -> int:
        """Return a field that is a number; 0 where there is none."""
        value = self.fields.get(name)
        return int(value) if isinstance(value, str) and value.lstrip("-").isdigit() else 0

    def word(self, name: str) -> str:
        """Return a field that is a word."""
        value = self.fields.get(name)
        return value if isinstance(value, str) else ""

    def parts(self) -> Iterator[Node]:
        """Return the nodes right below."""
        for value in self.fields.values():
            if isinstance(value, Node):
                yield value
            elif isinstance(value, list):
                yield from _within(value)

    def all(self) -> Iterator[Node]:
        """Return this node and all below it."""
        stack = [self]
        while stack:
            node = stack.pop()
            yield node
            stack.extend(node.parts())


Value: TypeAlias = "Node | str | bytes | list[Value] | None"


def without_noise(text: str) -> str:
    """Return a stored tree without places in the source and fields that say nothing.

    A field that is missing reads as null, false and 0 do.
    """
    return _NOISE.sub("", text)


def parse_node_tree(text: str) -> Node:
    """Return the root of a stored tree. Raises ValueError where there is none."""
    stack: list[list[Value]] = [[]]
    opened: list[str] = []
    for piece in _TOKEN.findall(text):
        if piece in "{(":
            stack.append([])
            opened.append(piece)
        elif piece in "})":
            if not opened or opened.pop() != _OPENING[piece]:
                raise ValueError("a bracket closes nothing")
            items = stack.pop()
            stack[-1].append(_node(items) if piece == "}" else items)
        else:
            stack[-1].append(None if piece == "<>" else piece)
    if len(stack) != 1 or len(stack[0]) != 1 or not isinstance(stack[0][0], Node):
        raise ValueError("not one node")
    return stack[0][0]


def _within(values: list[Value]) -> Iterator[Node]:
    for value in values:
        if isinstance(value, Node):
            yield value
        elif isinstance(value, list):
            yield from _within(value)


def _node(items: list[Value]) -> Node:
    """Return the node of `NAME :field value :field value`; a field has at least one value."""
    fields: dict[str, Value] = {}
    index, count = 1, len(items)
    while index < count:
        name = items[index]
        value = items[index + 1] if index + 1 < count else None
        index += 2
        if index < count and items[index] == "[":
            # A constant: its length, then its bytes, which are signed or not by version.
            end = items.index("]", index)
            value = bytes(int(str(item)) & 0xFF for item in items[index + 1 : end])
            index = end + 1
        while index < count and not (isinstance(items[index], str) and str(items[index])[0] == ":"):
            index += 1
        fields[str(name)[1:]] = value
    return Node(str(items[0]) if items else "", fields)
