"""What a policy's expression says, from its stored tree: is it always true, what does it read?"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from opsctl.areas.rls_smoke.lint_bodies import METADATA, Bodies
from opsctl.areas.rls_smoke.lint_catalog import Catalog
from opsctl.areas.rls_smoke.lint_objects import PolicyRow
from opsctl.areas.rls_smoke.node_tree import Node, parse_node_tree, without_noise
from opsctl.areas.rls_smoke.tree_shapes import (
    ANY,
    BOOL,
    EXISTS,
    arms,
    bare,
    columns,
    escapes,
    mentions,
    never,
    no_filter,
)

# Of a body with one blank in the place of many: it is as long as somebody wants.
_TRUE_BODY = re.compile(
    r"(?:begin )?(?:select|return) ?\(? ?true ?\)? ?;?(?: ?end ?;?)?", re.IGNORECASE
)


def is_true_body(code: str) -> bool:
    """Whether a function's body is `SELECT true` or the like, and nothing else."""
    return _TRUE_BODY.fullmatch(" ".join(code.split())) is not None


_ITSELF = 0
"""Stands for the table whose policy it is."""


@dataclass(frozen=True)
class Call:
    """A call of a function in an expression."""

    function: int
    how_often: str
    """`row`: for each row of the table; `inner`: for each row of a sub-select that is run once;
    `once`."""
    of_columns: bool
    """Whether some argument is a column."""


@dataclass(frozen=True)
class Reading:
    """What one expression says."""

    always: bool = False
    """True for every row and everybody."""
    any_user: bool = False
    """Says no more than that somebody is signed in."""
    open_to_nobody: bool = False
    """True as soon as nobody is signed in: `auth.uid() IS NULL OR ...`."""
    own: frozenset[int] = frozenset()
    """Columns of the table itself."""
    compared: tuple[frozenset[int], ...] = ()
    """For each arm of OR, columns of the table that are compared with what is no column of it."""
    looked_up: tuple[tuple[int, frozenset[int]], ...] = ()
    """For each table that a correlated sub-select looks into, the columns that it looks up by."""
    reads: frozenset[int] = frozenset()
    """Relations of sub-selects."""
    calls: tuple[Call, ...] = ()
    identity: bool = False
    """Whether it asks who is asking: auth.uid(), auth.jwt(), current_setting()."""
    owners: frozenset[int] = frozenset()
    """Columns of the table that are compared with who is asking."""
    to_itself: frozenset[tuple[int, int]] = frozenset()
    """(relation, column) of each column that is compared with itself; 0 is the table itself."""
    metadata: bool = False
    """Reads what users write of themselves."""
    sub_selects: bool = False
    buckets: frozenset[str] | None = None
    """Where it says no more than which bucket (and that somebody is signed in): the buckets."""
    said: str = ""
    """Its constants, a line each."""
    claimed_roles: frozenset[str] = frozenset()
    """What the token's own `role` is compared with, which is a role of the database."""
    understood: bool = True
    """Whether the tree could be read; where not, all else is unknown."""


@dataclass
class _Seen:
    own: set[int] = field(default_factory=set)
    reads: set[int] = field(default_factory=set)
    calls: list[Call] = field(default_factory=list)
    to_itself: set[tuple[int, int]] = field(default_factory=set)
    looked_up: list[tuple[int, frozenset[int]]] = field(default_factory=list)
    metadata_column: bool = False
    sub_selects: bool = False
    texts: bytearray = field(default_factory=bytearray)


class Reader:
    """Reads the expressions of one catalog, each once."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._seen: dict[tuple[int, str], Reading] = {}
        self._cache: dict[tuple[str, frozenset[int], int], Reading] = {}
        self.bodies = Bodies(catalog)
        users = catalog.by_name.get("auth.users")
        self._users = users.oid if users is not None else 0
        columns = users.columns.values() if users is not None else ()
        self._metadata_number = next(
            (each.number for each in columns if each.name == "raw_user_meta_data"), 0
        )

    def using(self, policy: PolicyRow) -> Reading | None:
        """Return what USING says; None where there is none."""
        return self._read(policy.relation, policy.using) if policy.using else None

    def check(self, policy: PolicyRow) -> Reading | None:
        """Return what WITH CHECK says, in its absence USING, as PostgreSQL does."""
        if policy.check:
            return self._read(policy.relation, policy.check)
        return self.using(policy) if policy.command in "w*" else None

    def both(self, policy: PolicyRow) -> list[Reading]:
        """Return what its expressions say."""
        return [r for r in (self.using(policy), self.check(policy)) if r is not None]

    def _read(self, relation: int, text: str) -> Reading:
        """Return what an expression says; the same text on a like table says the same."""
        found = self._seen.get((relation, text))
        if found is not None:
            return found
        bare_text = without_noise(text)
        table = self._catalog.relations[relation]
        required = frozenset(n for n, column in table.columns.items() if column.not_null)
        key = (bare_text, required, relation if table.schema == "storage" else 0)
        found = self._cache.get(key)
        if found is None:
            try:
                found = self._analyse(relation, parse_node_tree(bare_text))
            except (ValueError, RecursionError):
                found = Reading(understood=False)
            self._cache[key] = found
        self._seen[relation, text] = found
        return found

    def _analyse(self, relation: int, root: Node) -> Reading:
        seen = _Seen()
        self._visit(root, [[_ITSELF]], seen, how_often="row")
        parts = arms(root, "or")
        identity = any(self.bodies.is_identity(call.function) for call in seen.calls)
        said = seen.texts.decode("utf-8", "replace")
        return Reading(
            always=self._always(root, relation),
            any_user=self._any_user(root, relation),
            open_to_nobody=any(self._nobody(arm) for arm in parts),
            own=frozenset(seen.own),
            compared=tuple(self._compared(arm) for arm in parts),
            looked_up=tuple(seen.looked_up),
            reads=frozenset(seen.reads),
            calls=tuple(seen.calls),
            identity=identity,
            owners=self._owners(root),
            to_itself=frozenset(seen.to_itself),
            metadata=seen.metadata_column
            or (identity and METADATA.search(said) is not None)
            or any(self.bodies.trusts_metadata(call.function) for call in seen.calls),
            sub_selects=seen.sub_selects,
            buckets=self._buckets(root, relation),
            said=said,
            claimed_roles=self._claimed_roles(root),
        )

    # What is in it.

    def _visit(self, node: Node, tables: list[list[int]], seen: _Seen, *, how_often: str) -> None:
        kind = node.kind
        if kind == "VAR":
            depth = len(tables) - 1 - node.number("varlevelsup")
            table = _table(tables, depth, node.number("varno"))
            if depth == 0:
                seen.own.add(node.number("varattno"))
            if table == self._users and node.number("varattno") == self._metadata_number != 0:
                seen.metadata_column = True
            return
        if kind == "CONST":
            value = node.fields.get("constvalue")
            if isinstance(value, bytes):
                seen.texts += value + b"\n"
            return
        if kind == "FUNCEXPR":
            args = node.nodes("args")
            columns = any(part.kind == "VAR" for arg in args for part in arg.all())
            seen.calls.append(Call(node.number("funcid"), how_often, columns))
        elif kind == "OPEXPR" and node.number("opno") in self._catalog.equals:
            self._same(node, tables, seen)
        elif kind == "SUBLINK":
            seen.sub_selects = True
        elif kind == "QUERY":
            self._visit_query(node, tables, seen, how_often=how_often)
            return
        for part in node.parts():
            self._visit(part, tables, seen, how_often=how_often)

    def _visit_query(
        self, query: Node, tables: list[list[int]], seen: _Seen, *, how_often: str
    ) -> None:
        entries = query.nodes("rtable")
        own = [entry.number("relid") if entry.number("rtekind") == 0 else 0 for entry in entries]
        seen.reads |= {oid for oid in own if oid}
        correlated = escapes(query) > 0
        inside = how_often if correlated else ("inner" if any(own) else "once")
        if how_often != "row" and not correlated and not any(own):
            inside = "once"
        for position, table in enumerate(own, 1):
            columns = self._looks_up(query, position) if table else frozenset()
            if columns:
                seen.looked_up.append((table, columns))
        inner = [*tables, own]
        for part in query.parts():
            if part.kind != "RTEPERMISSIONINFO":
                self._visit(part, inner, seen, how_often=inside)

    def _same(self, node: Node, tables: list[list[int]], seen: _Seen) -> None:
        left, right = [bare(arg) for arg in node.nodes("args")][:2] or (None, None)
        if left is None or right is None or left.kind != "VAR" or right.kind != "VAR":
            return
        names = ("varno", "varattno", "varlevelsup")
        if all(left.number(name) == right.number(name) for name in names):
            depth = len(tables) - 1 - left.number("varlevelsup")
            table = _table(tables, depth, left.number("varno"))
            seen.to_itself.add((table, left.number("varattno")))

    def _looks_up(self, query: Node, position: int) -> frozenset[int]:
        """Return the columns of one table of a sub-select that are compared with others'."""
        found = set()
        tree = query.node("jointree")
        for node in tree.all() if tree is not None else ():
            if not self._is_equality(node):
                continue
            sides = [bare(arg) for arg in node.nodes("args")]
            for side, other in ((sides[0], sides[-1]), (sides[-1], sides[0])):
                mine = side.kind == "VAR" and not side.number("varlevelsup")
                if mine and side.number("varno") == position and not mentions(other, position):
                    found.add(side.number("varattno"))
        return frozenset(found)

    def _is_equality(self, node: Node) -> bool:
        return (
            node.kind in ("OPEXPR", "SCALARARRAYOPEXPR")
            and node.number("opno") in self._catalog.equals
            and len(node.nodes("args")) == 2
        )

    def _compared(self, arm: Node) -> frozenset[int]:
        found = set()
        for part in arms(arm, "and"):
            node = part
            if part.kind == "SUBLINK" and part.number("subLinkType") == ANY:
                test = part.node("testexpr")
                node = test if test is not None else part
            if not self._is_equality(node):
                continue
            sides = [bare(arg) for arg in node.nodes("args")]
            for side, other in ((sides[0], sides[-1]), (sides[-1], sides[0])):
                if side.kind == "VAR" and not mentions(other, 1):
                    found.add(side.number("varattno"))
        return frozenset(found)

    def _owners(self, root: Node) -> frozenset[int]:
        """Return the columns that are compared with who is asking."""
        found = set()
        for node in root.all():
            if self._is_equality(node):
                sides = [bare(arg) for arg in node.nodes("args")]
                for side, other in ((sides[0], sides[-1]), (sides[-1], sides[0])):
                    mine = side.kind == "VAR" and not side.number("varlevelsup")
                    if mine and side.number("varno") == 1 and self._asks(other):
                        found.add(side.number("varattno"))
        return frozenset(found)

    def _claimed_roles(self, root: Node) -> frozenset[str]:
        found = set()
        for node in root.all():
            if not self._is_equality(node):
                continue
            sides = [bare(arg) for arg in node.nodes("args")]
            for side, other in ((sides[0], sides[-1]), (sides[-1], sides[0])):
                if self._is_role_claim(side) and other.kind in ("CONST", "ARRAYEXPR"):
                    values = (each.fields.get("constvalue") for each in other.all())
                    found |= {
                        v[4:].decode("utf-8", "replace") for v in values if isinstance(v, bytes)
                    }
        return frozenset(found)

    def _is_role_claim(self, node: Node) -> bool:
        """Whether a node is `auth.role()` or `auth.jwt() ->> 'role'`."""
        args = [bare(arg) for arg in node.nodes("args")]
        if node.kind == "FUNCEXPR":
            return self.bodies.is_called(node.number("funcid"), "role")
        if node.kind != "OPEXPR" or len(args) != 2 or args[0].kind != "FUNCEXPR":
            return False
        key = args[1].fields.get("constvalue")
        jwt = self.bodies.is_called(args[0].number("funcid"), "jwt")
        return jwt and isinstance(key, bytes) and key[4:] == b"role"

    def _asks(self, node: Node) -> bool:
        return any(
            each.kind == "FUNCEXPR" and self.bodies.is_identity(each.number("funcid"))
            for each in node.all()
        )

    # What it comes to.

    def _always(self, node: Node, relation: int) -> bool:
        node = bare(node)
        if node.kind == "CONST":
            value = node.fields.get("constvalue")
            return node.number("consttype") == BOOL and isinstance(value, bytes) and value[0] == 1
        if node.kind == "BOOLEXPR":
            args = node.nodes("args")
            if node.word("boolop") == "not":
                return never(args[0])
            some = any if node.word("boolop") == "or" else all
            return some(self._always(arg, relation) for arg in args)
        if node.kind == "NULLTEST" and node.number("nulltesttype") == 1:
            arg = node.node("arg")
            return arg is not None and self._never_null(bare(arg), relation)
        if node.kind == "OPEXPR" and node.number("opno") in self._catalog.equals:
            left, right = (bare(arg) for arg in node.nodes("args"))
            if left.kind == right.kind == "CONST":
                return (
                    left.fields.get("constvalue") is not None
                    and left.fields.get("constvalue") == right.fields.get("constvalue")
                    and left.number("consttype") == right.number("consttype")
                )
            same = all(left.number(n) == right.number(n) for n in ("varno", "varattno"))
            return left.kind == right.kind == "VAR" and same and self._never_null(left, relation)
        if node.kind == "SUBLINK" and node.number("subLinkType") == EXISTS:
            query = node.node("subselect")
            return query is not None and not query.nodes("rtable") and no_filter(query)
        if node.kind == "FUNCEXPR":
            row = self._catalog.functions.get(node.number("funcid"))
            return row is not None and is_true_body(row.code)
        return False

    def _never_null(self, node: Node, relation: int) -> bool:
        if node.kind == "CONST":
            return node.word("constisnull") == "false"
        if (
            node.kind != "VAR"
            or node.number("varlevelsup")
            or relation not in self._catalog.relations
        ):
            return False
        column = self._catalog.relations[relation].columns.get(node.number("varattno"))
        return column is not None and column.not_null

    def _any_user(self, node: Node, relation: int) -> bool:
        """Whether an expression holds for whoever is signed in, and for nobody else's sake."""
        node = bare(node)
        if node.kind == "BOOLEXPR" and node.word("boolop") in ("and", "or"):
            parts = node.nodes("args")
            signed = [self._any_user(part, relation) for part in parts]
            if node.word("boolop") == "or":
                return any(signed)
            return any(signed) and all(
                yes or self._always(part, relation) for part, yes in zip(parts, signed, strict=True)
            )
        if node.kind == "NULLTEST" and node.number("nulltesttype") == 1:
            arg = node.node("arg")
            return arg is not None and self._asks(arg) and not columns(arg)
        if self._is_equality(node):
            left, right = (bare(arg) for arg in node.nodes("args"))
            if left.kind != "CONST":
                left, right = right, left
            value = left.fields.get("constvalue")
            names = (b"authenticated", b"anon")
            role = isinstance(value, bytes) and any(value.endswith(name) for name in names)
            return left.kind == "CONST" and role and self._asks(right) and not columns(right)
        return False

    def _nobody(self, arm: Node) -> bool:
        arm = bare(arm)
        if arm.kind != "NULLTEST" or arm.number("nulltesttype") != 0:
            return False
        arg = arm.node("arg")
        return arg is not None and self._asks(arg) and not columns(arg)

    def _buckets(self, root: Node, relation: int) -> frozenset[str] | None:
        """Return the buckets where the expression says no more than which bucket it is."""
        table = self._catalog.relations.get(relation)
        if table is None or table.key != "storage.objects":
            return None
        found: set[str] = set()
        for part in arms(root, "and"):
            if self._always(part, relation) or self._any_user(part, relation):
                continue
            names = self._bucket_names(part, relation)
            if not names:
                return None
            found |= names
        return frozenset(found)

    def _bucket_names(self, part: Node, relation: int) -> set[str]:
        found: set[str] = set()
        for arm in arms(part, "or"):
            if not self._is_equality(arm):
                return set()
            left, right = (bare(arg) for arg in arm.nodes("args"))
            var, value = (left, right) if left.kind == "VAR" else (right, left)
            column = self._catalog.relations[relation].columns.get(var.number("varattno"))
            if var.kind != "VAR" or column is None or column.name != "bucket_id":
                return set()
            if value.kind not in ("CONST", "ARRAYEXPR"):
                return set()
            for each in value.all():
                raw = each.fields.get("constvalue")
                if isinstance(raw, bytes):
                    found.add(raw[4:].decode("utf-8", "replace"))
        return found


def _table(tables: list[list[int]], depth: int, position: int) -> int:
    if 0 <= depth < len(tables) and 0 < position <= len(tables[depth]):
        return tables[depth][position - 1]
    return 0
