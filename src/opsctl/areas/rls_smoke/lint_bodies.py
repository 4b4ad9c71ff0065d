"""What functions' bodies say: whether they ask who calls, what they read, what they trust.

Bodies are text: names are looked for in it, without comments. Where a body was parsed when it
was made (`BEGIN ATOMIC`), its stored tree is asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from opsctl.areas.rls_smoke.lint_catalog import Catalog
from opsctl.areas.rls_smoke.lint_objects import FunctionRow
from opsctl.areas.rls_smoke.tree_shapes import constants

METADATA = re.compile(r"(?<![a-z_])(raw_)?user_meta_?data(?![a-z_])", re.IGNORECASE)
SETTINGS = frozenset({2077, 3294})
"""pg_proc of current_setting(text) and current_setting(text, boolean); the same everywhere."""
_IDENTITY = frozenset({"uid", "jwt", "role", "email"})
_ASKS = re.compile(r"\bauth\.(uid|jwt|role|email)\s*\(|request\.jwt|\bcurrent_setting\s*\(", re.I)
_ASKS_WHO = re.compile(r"\bauth\.(uid|jwt|role|email)\s*\(|request\.jwt", re.I)
_CALLED = re.compile(r'(?<![\w"])"?(\w+)"?\s*\(')
_READ = re.compile(
    r'\b(?:from|join)\s+(?:only\s+)?(?:"?([\w$]+)"?\s*\.\s*)?"?([\w$]+)"?(?!\s*[\w"]*\()', re.I
)
_DEEPEST = 3


class Bodies:
    """The bodies of one catalog's functions, each read once."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self.identity = frozenset(
            oid
            for oid, each in catalog.functions.items()
            if each.schema == "auth" and each.name in _IDENTITY
        )
        self._by_name: dict[str, list[FunctionRow]] = {}
        for each in catalog.our_functions:
            self._by_name.setdefault(each.name.lower(), []).append(each)
        self._tables: dict[str, list[int]] = {}
        for table in catalog.our_tables:
            self._tables.setdefault(table.name.lower(), []).append(table.oid)
        self._reads: dict[int, frozenset[int]] = {}
        self._metadata: dict[int, bool] = {}

    def is_identity(self, function: int) -> bool:
        """Whether a function tells who is asking: auth.uid(), auth.jwt(), current_setting()."""
        return function in self.identity or function in SETTINGS

    def is_called(self, function: int, name: str) -> bool:
        """Whether a function is Supabase's `auth.NAME()`."""
        return function in self.identity and self._catalog.functions[function].name == name

    def asks_who(self, function: int) -> bool:
        """Whether a function asks who is calling, itself or by what it calls."""
        row = self._catalog.functions[function]
        if row.body:
            return any(f":funcid {each} " in row.body for each in (*self.identity, *SETTINGS))
        if _ASKS.search(row.code):
            return True
        return any(
            _ASKS_WHO.search(each.code)
            for each in self._called(row)
            if not each.returns.endswith("trigger")
        )

    def trusts_metadata(self, function: int) -> bool:
        """Whether a function, or one that it calls, reads what users write of themselves."""
        found = self._metadata.get(function)
        if found is None:
            found = self._trusts(function, deep=_DEEPEST)
            self._metadata[function] = found
        return found

    def reads(self, function: int) -> frozenset[int]:
        """Return the project's tables that a function's body names."""
        found = self._reads.get(function)
        if found is None:
            row = self._catalog.functions[function]
            found = frozenset(self._tables_named(row.code))
            self._reads[function] = found
        return found

    def _trusts(self, function: int, *, deep: int) -> bool:
        row = self._catalog.functions.get(function)
        if row is None or row.schema == "auth":
            return False
        if METADATA.search(row.code) or (row.body and METADATA.search(constants(row.body))):
            return True
        return deep > 0 and any(self._trusts(each.oid, deep=deep - 1) for each in self._called(row))

    def _called(self, row: FunctionRow) -> Iterator[FunctionRow]:
        for name in {name.lower() for name in _CALLED.findall(row.code)}:
            yield from (each for each in self._by_name.get(name, ()) if each.oid != row.oid)

    def _tables_named(self, code: str) -> Iterator[int]:
        for schema, name in _READ.findall(code):
            for oid in self._tables.get(name.lower(), ()):
                if not schema or self._catalog.relations[oid].schema == schema.lower():
                    yield oid
