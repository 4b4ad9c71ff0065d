"""Read a generic plan: what stands out in it, and which index might mend it; pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from opsctl.adapters.indexes import TableFacts
from opsctl.adapters.sql import quote_identifier
from opsctl.adapters.statements import Key

Node = Mapping[str, Any]
_LARGE_ROWS = 5000
_LARGE_BYTES = 2_000_000
"""Of a table that was never analysed."""
_SELECTIVE = 0.2
"""Share of a table's rows that an index may lead to and still be worth it."""
_MISJUDGED = 10
_CONDITIONS = ("Index Cond", "Recheck Cond", "Filter", "Hash Cond", "Merge Cond", "Join Filter")
_IDENT = r'(?:[A-Za-z_\x80-\uffff][\w$\x80-\uffff]*|"(?:[^"]|"")+")'
_COLUMN = rf"(?P<table>{_IDENT})\.(?P<column>{_IDENT})"
_TERM = re.compile(
    rf"^\(?\(?{_COLUMN}\)?(?:::[\w\s\[\]]+?)? (?P<op>=|<=|>=|<|>|IS NULL|~~)(?P<rest>.*?)\)?$",
    re.DOTALL,
)
_JOIN = re.compile(
    rf"\(?\(?(?P<a>{_IDENT})\.(?P<x>{_IDENT})\)?(?:::\w+)? = "
    rf"\(?(?P<b>{_IDENT})\.(?P<y>{_IDENT})\)?(?:::\w+)?\)?"
)


@dataclass(frozen=True)
class Candidate:
    """An index that might help, not tried yet."""

    schema: str
    table: str
    columns: tuple[str, ...]
    """Column names, `name DESC` where the order matters."""
    because: str
    selective: bool
    """Whether the planner's own numbers say that it leads to few rows."""

    @property
    def create(self) -> str:
        """The statement that makes it, without locking the table for writers."""
        return f"create index concurrently on {self._what};"

    @property
    def pretend(self) -> str:
        """The statement that hypopg takes."""
        return f"CREATE INDEX ON {self._what}"

    @property
    def _what(self) -> str:
        parts = [each.partition(" ") for each in self.columns]
        keys = ", ".join(_plain(name) + space + order.lower() for name, space, order in parts)
        return f"{_plain(self.schema)}.{_plain(self.table)} ({keys})"


@dataclass(frozen=True)
class Advice:
    """An index that is suggested."""

    key: Key
    candidate: Candidate
    proven: bool
    """Whether the planner chose it and its cost fell; else it is reasoned and not tried."""
    cost_before: float
    cost_after: float = 0.0


def walk(plan: Node) -> Iterator[tuple[Node, tuple[Node, ...]]]:
    """Return each node with those above it, the nearest first; parents before children."""
    pending: list[tuple[Node, tuple[Node, ...]]] = [(plan, ())]
    while pending:
        node, above = pending.pop()
        yield node, above
        children = [(child, (node, *above)) for child in node.get("Plans", ())]
        pending += reversed(children)


def lines(plan: Node) -> tuple[str, ...]:
    """Return the plan as text, a line for each node and each of its conditions."""
    found = []
    for node, above in walk(plan):
        indent = "   " * len(above)
        arrow = "-> " if above else ""
        name = node["Node Type"]
        if node.get("Parallel Aware"):
            name = f"Parallel {name}"
        if "Join Type" in node and node["Join Type"] != "Inner":
            name += f" {node['Join Type']}"
        if node.get("Operation"):
            name = f"{node['Operation']} ({name})"
        if "Index Name" in node:
            name += f" using {node['Index Name']}"
        if "Relation Name" in node:
            name += f" on {node['Relation Name']}"
            if node.get("Alias") not in (None, node["Relation Name"]):
                name += f" {node['Alias']}"
        cost = f"cost {node['Total Cost']:,.0f}, rows {node['Plan Rows']:,}"
        found.append(f"{indent}{arrow}{name}  ({cost})")
        indent += "      " if above else "   "
        found += [f"{indent}{what}: {node[what]}" for what in _CONDITIONS if what in node]
        if "Sort Key" in node:
            found.append(f"{indent}Sort Key: {', '.join(node['Sort Key'])}")
    return tuple(found)


def tables_of(plan: Node) -> set[tuple[str, str]]:
    """Return the (schema, name) of every table in a plan."""
    return {
        (node["Schema"], node["Relation Name"])
        for node, _ in walk(plan)
        if "Relation Name" in node and "Schema" in node
    }


def remarks(
    plan: Node,
    *,
    tables: Mapping[tuple[str, str], TableFacts],
    work_mem_bytes: int,
    rows_per_call: float | None,
) -> tuple[str, ...]:
    """Return what stands out, a sentence each.

    `rows_per_call` is what the statement really returned or changed; the top of the plan says
    what the planner expects of it.
    """
    found = []
    for node, above in walk(plan):
        kind, rows = node["Node Type"], node["Plan Rows"]
        table = _table(node, tables)
        if kind == "Seq Scan" and table is not None and _is_large(table):
            name = f"{table.schema}.{table.name}"
            if "Filter" in node and rows < table.rows * _SELECTIVE:
                found.append(f"It reads all {table.rows:,.0f} rows of {name} to keep {rows:,}.")
            elif table.rows < 0:
                found.append(f"It reads all of {name}, which was never analysed.")
            else:
                found.append(f"It reads all {table.rows:,.0f} rows of {name}.")
            if above and above[0]["Node Type"] == "Nested Loop" and _is_inner(node, above[0]):
                found.append(f"It does so once for each row of a nested loop: {name}.")
        if kind in ("Sort", "Hash") and rows * node.get("Plan Width", 0) > work_mem_bytes:
            size = rows * node["Plan Width"] / 1e6
            found.append(
                f"Its {kind.lower()} of about {size:,.0f} MB does not fit into work_mem "
                f"({work_mem_bytes / 1e6:,.0f} MB): it goes to disk."
            )
    expected = plan["Plan Rows"]
    if rows_per_call is not None and plan.get("Operation", "Select") == "Select":
        more, less = max(expected, rows_per_call), max(min(expected, rows_per_call), 1.0)
        if more >= 100 and more / less >= _MISJUDGED:
            found.append(f"The planner expects {expected:,} rows; a call returned "
                         f"{rows_per_call:,.0f} on average: analyse the tables.")  # fmt: skip
    return tuple(dict.fromkeys(found))


def candidates(
    plan: Node, *, tables: Mapping[tuple[str, str], TableFacts]
) -> tuple[Candidate, ...]:
    """Return indexes that might help and do not exist, the most promising first."""
    found: dict[tuple[str, str, tuple[str, ...]], Candidate] = {}
    for node, above in walk(plan):
        table = _table(node, tables)
        if node["Node Type"] != "Seq Scan" or table is None or not _is_large(table):
            continue
        for columns, because in _wanted(node, above, table):
            bare = tuple(each.partition(" ")[0] for each in columns)
            usable = all((column := table.column(each)) and column.indexable for each in bare)
            if not usable or _exists(bare, table):
                continue
            selective = _leads_to_few(bare[0], node, table)
            key = (table.schema, table.name, columns)
            found.setdefault(key, Candidate(table.schema, table.name, columns, because, selective))
    return tuple(found.values())


def _wanted(
    node: Node, above: Sequence[Node], table: TableFacts
) -> Iterator[tuple[tuple[str, ...], str]]:
    alias = node.get("Alias", node["Relation Name"])
    equal, ranged = _conditions(str(node.get("Filter", "")), alias)
    equal.sort(key=lambda name: -_distinct(name, table))
    sort = _sorted_by(above, alias) if any(each["Node Type"] == "Limit" for each in above) else ()
    if equal and sort:
        rest = tuple(each for each in sort if each.partition(" ")[0] not in equal)
        if rest:
            yield (*equal[:2], *rest[:2]), "it filters by the first and sorts by the rest"
    if equal and ranged:
        yield (*equal[:2], ranged[0]), "it filters by these"
    elif equal:
        yield tuple(equal[:3]), "it filters by these" if len(equal) > 1 else "it filters by this"
    elif ranged:
        yield (ranged[0],), "it filters by a range of this"
    if sort and not equal:
        yield sort[:2], "it sorts by this and takes the first rows"
    for name in _joined_by(above, alias):
        yield (name,), "it joins by this"


def _conditions(text: str, alias: str) -> tuple[list[str], list[str]]:
    """Return (columns compared with =, columns compared with a range) that all must hold."""
    equal: list[str] = []
    ranged: list[str] = []
    for term in _conjunction(text):
        match = _TERM.match(term)
        if match is None or _name(match["table"]) != _name(alias):
            continue
        if re.search(rf"(?<![\w.]){re.escape(match['table'])}\.", match["rest"]):
            continue  # compared with another column of the same row
        column = _name(match["column"])
        into = equal if match["op"] in ("=", "IS NULL") else ranged
        if match["op"] != "~~" and column not in equal + ranged:
            into.append(column)
    return equal, ranged


def _conjunction(text: str) -> list[str]:
    """Return the terms of `((a) AND (b))`; a single condition is one term."""
    text = text.strip()
    if text.startswith("(") and _closing(text, 0) == len(text) - 1:
        inner = text[1:-1]
        parts, start, depth, quote = [], 0, 0, ""
        for index, sign in enumerate(inner):
            if quote:
                quote = "" if sign == quote else quote
            elif sign in "'\"":
                quote = sign
            elif sign in "()":
                depth += 1 if sign == "(" else -1
            elif not depth and inner.startswith(" AND ", index):
                parts.append(inner[start:index])
                start = index + 5
            elif not depth and inner.startswith(" OR ", index):
                return []
        parts.append(inner[start:])
        if len(parts) > 1:
            return [term for part in parts for term in _conjunction(part) or [part]]
    return [text] if text else []


def _closing(text: str, opening: int) -> int:
    """Return where the parenthesis at `opening` closes, or -1."""
    depth, quote = 0, ""
    for index in range(opening, len(text)):
        sign = text[index]
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "'\"":
            quote = sign
        elif sign == "(":
            depth += 1
        elif sign == ")":
            depth -= 1
            if not depth:
                return index
    return -1


def _sorted_by(above: Sequence[Node], alias: str) -> tuple[str, ...]:
    """Return the columns of one table that the nearest sort above sorts by."""
    for node in above:
        if node["Node Type"] in ("Sort", "Incremental Sort"):
            found = []
            for key in node.get("Sort Key", ()):
                match = re.match(rf"^\(?{_COLUMN}\)?(?P<order> DESC)?", key)
                if match is None or _name(match["table"]) != _name(alias):
                    return ()
                found.append((_name(match["column"]), match["order"] or ""))
            if len({order for _, order in found}) == 1:
                return tuple(name for name, _ in found)  # an index is read backwards as well
            return tuple(f"{name}{order}" for name, order in found)
        if node["Node Type"] not in ("Gather", "Gather Merge", "Subquery Scan", "Result"):
            return ()
    return ()


def _joined_by(above: Sequence[Node], alias: str) -> Iterator[str]:
    """Return columns of a table that a join above compares with another table's."""
    for node in above[:3]:
        for what in ("Hash Cond", "Merge Cond", "Join Filter"):
            for match in _JOIN.finditer(str(node.get(what, ""))):
                for table, column in ((match["a"], match["x"]), (match["b"], match["y"])):
                    if _name(table) == _name(alias):
                        yield _name(column)


def _table(node: Node, tables: Mapping[tuple[str, str], TableFacts]) -> TableFacts | None:
    return tables.get((node.get("Schema", ""), node.get("Relation Name", "")))


def _is_large(table: TableFacts) -> bool:
    return table.rows >= _LARGE_ROWS or (table.rows < 0 and table.bytes >= _LARGE_BYTES)


def _is_inner(node: Node, parent: Node) -> bool:
    return node.get("Parent Relationship") == "Inner" and node in parent.get("Plans", ())


def _exists(columns: tuple[str, ...], table: TableFacts) -> bool:
    """Whether an index begins with these columns; which of them comes first matters little."""
    for keys in table.indexes:
        leading = [_name(key) for key in keys[: len(columns)]]
        if len(leading) == len(columns) and set(leading) == set(columns):
            return True
    return False


def _leads_to_few(column: str, node: Node, table: TableFacts) -> bool:
    about = table.column(column)
    if about is None or table.rows <= 0:
        return False
    distinct = _distinct(column, table)
    return node["Plan Rows"] <= table.rows * _SELECTIVE and (distinct == 0 or distinct >= 5)


def _distinct(column: str, table: TableFacts) -> float:
    about = table.column(column)
    if about is None:
        return 0.0
    return about.distinct if about.distinct >= 0 else -about.distinct * max(table.rows, 0)


def _name(text: str) -> str:
    """Return an identifier as the catalog holds it."""
    return text[1:-1].replace('""', '"') if text.startswith('"') else text


def _plain(name: str) -> str:
    """Return a name quoted where it must be."""
    return name if re.fullmatch(r"[a-z_][a-z0-9_]*", name) else quote_identifier(name)
