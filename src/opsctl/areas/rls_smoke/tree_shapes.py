"""Shapes of stored trees: what AND joins, what a cast hides, which columns come from outside."""

from __future__ import annotations

import re
from collections.abc import Iterator

from opsctl.areas.rls_smoke.node_tree import Node

BOOL = 16
"""pg_type of boolean; the same everywhere."""
ANY, EXISTS, EXPRESSION = 2, 0, 4
"""Kinds of sub-selects: `x IN (SELECT ...)`, `EXISTS (...)`, `(SELECT ...)`."""


def bare(node: Node) -> Node:
    """Return what is below casts and below a `(SELECT ...)` that reads nothing."""
    while True:
        inner: Node | None = None
        if node.kind in ("RELABELTYPE", "COERCEVIAIO", "COERCETODOMAIN", "ARRAYCOERCEEXPR"):
            inner = node.node("arg")
        elif node.kind == "SUBLINK" and node.number("subLinkType") == EXPRESSION:
            query = node.node("subselect")
            if query is not None and not query.nodes("rtable") and no_filter(query):
                targets = query.nodes("targetList")
                inner = targets[0].node("expr") if len(targets) == 1 else None
        if inner is None:
            return node
        node = inner


def no_filter(query: Node) -> bool:
    """Whether a query has no condition, no limit and no other arm."""
    tree = query.node("jointree")
    bare = tree is None or tree.fields.get("quals") is None
    return bare and not any(
        query.fields.get(n) for n in ("havingQual", "limitCount", "setOperations")
    )


def never(node: Node) -> bool:
    """Whether a node is the constant false."""
    node = bare(node)
    value = node.fields.get("constvalue")
    return (
        node.kind == "CONST"
        and node.number("consttype") == BOOL
        and isinstance(value, bytes)
        and not value[0]
    )


def arms(node: Node, operator: str) -> tuple[Node, ...]:
    """Return what AND or OR joins; the node alone where it is neither."""
    if node.kind == "BOOLEXPR" and node.word("boolop") == operator:
        return tuple(arm for arg in node.nodes("args") for arm in arms(arg, operator))
    return (node,)


def levels(node: Node, depth: int = 0) -> Iterator[tuple[Node, int]]:
    """Return each column below a node, and how many queries lie between."""
    if node.kind == "VAR":
        yield node, depth
        return
    for part in node.parts():
        yield from levels(part, depth + (part.kind == "QUERY"))


def escapes(query: Node) -> int:
    """Return how many levels above itself a query reads columns of; 0: none."""
    return max((v.number("varlevelsup") - depth for v, depth in levels(query)), default=0)


def mentions(node: Node, position: int) -> bool:
    """Whether a node of a query reads a column of the query's n-th table."""
    return any(
        v.number("varlevelsup") == depth and v.number("varno") == position
        for v, depth in levels(node)
    )


def columns(node: Node) -> bool:
    """Whether some column is read below a node."""
    return any(each.kind == "VAR" for each in node.all())


def constants(text: str) -> str:
    """Return the constants of a tree, or of a list of trees, as text."""
    found = bytearray()
    for values in re.findall(r"\[((?: -?\d+)+) \]", text):
        found += bytes(int(each) & 0xFF for each in values.split()) + b"\n"
    return found.decode("utf-8", "replace")
