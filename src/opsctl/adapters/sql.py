"""PostgreSQL's lexical rules, as far as scripts must be cut into statements and names quoted.

Nothing here understands SQL: what a statement does is found out by running it in a scratch
database. The splitter knows quotes, dollar quotes, comments and `BEGIN ATOMIC` bodies.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_TOKEN = re.compile(
    r"""
    (?P<comment>--[^\n]*|/\*)
    |(?P<string>(?:(?<![\w$])[eE])?')
    |(?P<ident>")
    |(?P<dollar>(?<![\w$])\$(?:[A-Za-z_\x80-\uffff][\w\x80-\uffff]*)?\$)
    |(?P<word>[A-Za-z_\x80-\uffff][\w$\x80-\uffff]*)
    |(?P<semicolon>;)
    """,
    re.VERBOSE,
)


_ENDS = {
    "'": re.compile(r"[^']*(?:''[^']*)*'"),
    '"': re.compile(r'[^"]*(?:""[^"]*)*"'),
}
_ESCAPED_END = re.compile(r"[^'\\]*(?:(?:''|\\.)[^'\\]*)*'", re.DOTALL)


def quote_identifier(name: str) -> str:
    """Return `name` as a quoted identifier."""
    return '"' + name.replace('"', '""') + '"'


def qualified(schema: str, name: str) -> str:
    """Return `"schema"."name"`."""
    return f"{quote_identifier(schema)}.{quote_identifier(name)}"


def quote_literal(text: str) -> str:
    """Return `text` as a literal that means the same whatever standard_conforming_strings is."""
    escaped = text.replace("'", "''")
    return " E'" + escaped.replace("\\", "\\\\") + "'" if "\\" in text else f"'{escaped}'"


def split_statements(script: str) -> tuple[str, ...]:
    """Return the statements of a script in order, without their semicolons.

    Comments before a statement stay with it; a part that holds comments alone is left out.
    An unterminated quote runs to the end of the script: PostgreSQL will say so itself.
    """
    statements: list[str] = []
    start = position = 0
    atomic = 0
    words = 0
    previous = ""
    while match := _TOKEN.search(script, position):
        kind = match.lastgroup
        position = match.end()
        if kind == "comment":
            position = _end_of_comment(script, match)
        elif kind in ("string", "ident", "dollar"):
            position = _end_of_quote(script, match)
            words += 1
        elif kind == "word":
            words += 1
            word = match.group().lower()
            if word == "atomic" and previous == "begin":
                atomic = 1
            elif atomic and word == "case":
                atomic += 1
            elif atomic and word == "end":
                atomic -= 1
            previous = word
        elif not atomic:
            if words:
                statements.append(script[start : match.start()].strip())
            start, words, previous = position, 0, ""
    if words:
        statements.append(script[start:].strip())
    return tuple(statements)


def without_comments(statement: str) -> str:
    """Return a statement with each comment replaced by a space, quotes left as they are."""
    parts: list[str] = []
    start = position = 0
    while match := _TOKEN.search(statement, position):
        position = match.end()
        if match.lastgroup == "comment":
            parts += [statement[start : match.start()], " "]
            start = position = _end_of_comment(statement, match)
        elif match.lastgroup in ("string", "ident", "dollar"):
            position = _end_of_quote(statement, match)
    return ("".join(parts) + statement[start:]).strip()


_CONCURRENTLY = re.compile(
    r"^((?:CREATE\s+(?:UNIQUE\s+)?INDEX|DROP\s+INDEX|REFRESH\s+MATERIALIZED\s+VIEW|"
    r"REINDEX\s+(?:INDEX|TABLE|SCHEMA))\s+)CONCURRENTLY\s+",
    re.IGNORECASE,
)
_ALTER_TABLE = re.compile(r"ALTER\s+TABLE\s", re.IGNORECASE)
_DETACH = re.compile(r"\sDETACH\s+PARTITION\s", re.IGNORECASE)
_ENDS_CONCURRENTLY = re.compile(r"\sCONCURRENTLY\Z", re.IGNORECASE)
_NEVER_IN_TRANSACTION = re.compile(
    r"^(VACUUM|CREATE\s+DATABASE|DROP\s+DATABASE|CREATE\s+TABLESPACE|DROP\s+TABLESPACE|"
    r"ALTER\s+SYSTEM|CREATE\s+SUBSCRIPTION|DROP\s+SUBSCRIPTION|REINDEX\s+(DATABASE|SYSTEM))\b",
    re.IGNORECASE,
)
_TRANSACTION_CONTROL = re.compile(
    r"^(BEGIN|START\s+TRANSACTION|COMMIT|END|ROLLBACK|ABORT)"
    r"(\s+(WORK|TRANSACTION))?\s*$",
    re.IGNORECASE,
)


def in_one_transaction(script: str) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Return (statements, changed, impossible) for running a script in one transaction.

    `CONCURRENTLY` is taken out and a script's own BEGIN and COMMIT are dropped: `changed` holds
    those statements as they were. `impossible` holds statements that no transaction can run.
    """
    statements: list[str] = []
    changed: list[str] = []
    impossible: list[str] = []
    for statement in split_statements(script):
        bare = without_comments(statement)
        if _TRANSACTION_CONTROL.match(bare):
            changed.append(bare)
            continue
        plain = _detached_at_once(_CONCURRENTLY.sub(r"\1", bare))
        if plain != bare:
            changed.append(bare)
            statements.append(plain)
            continue
        if _NEVER_IN_TRANSACTION.match(bare):
            impossible.append(bare)
        statements.append(statement)
    return tuple(statements), tuple(changed), tuple(impossible)


def needs_no_transaction(script: str) -> bool:
    """Whether a script holds a statement that PostgreSQL refuses within a transaction."""
    _, changed, impossible = in_one_transaction(script)
    return bool(impossible) or any("CONCURRENTLY" in each.upper() for each in changed)


def _detached_at_once(statement: str) -> str:
    """Return a statement that detaches a partition without its CONCURRENTLY; others as they are.

    Three looks, for one expression of them all takes the cube of the statement's length.
    """
    end = _ENDS_CONCURRENTLY.search(statement)
    if end is None or _ALTER_TABLE.match(statement) is None:
        return statement
    head = statement[: end.start()].rstrip()
    return head if _DETACH.search(head) else statement


_DROP_TABLE = re.compile(r"DROP\s+TABLE\s+(?:IF\s+EXISTS\s+)?", re.IGNORECASE)
_ENDS_RESTRICT = re.compile(r"\sRESTRICT\Z", re.IGNORECASE)


def plainly_dropped_tables(statement: str) -> tuple[str, ...]:
    """Return the table names, as written, of a DROP TABLE without CASCADE; empty for others."""
    bare = without_comments(statement)
    match = _DROP_TABLE.match(bare)
    names = "" if match is None else _ENDS_RESTRICT.sub("", bare[match.end() :]).strip()
    if not names or re.search(r"\bCASCADE\Z", names, re.IGNORECASE):
        return ()
    if '"' in names and "," in re.sub(r"[^\",]", "", names).replace('""', ""):
        return ()  # a comma may stand inside a quoted name
    return tuple(name.strip() for name in names.split(","))


def join_script(statements: Iterable[str]) -> str:
    """Return statements as one script."""
    return "".join(f"{statement};\n" for statement in statements)


def _end_of_comment(script: str, match: re.Match[str]) -> int:
    if match.group() != "/*":
        return match.end()
    depth, position = 1, match.end()
    for inner in re.compile(r"/\*|\*/").finditer(script, position):
        depth += 1 if inner.group() == "/*" else -1
        if depth == 0:
            return inner.end()
    return len(script)


def _end_of_quote(script: str, match: re.Match[str]) -> int:
    opening = match.group()
    if match.lastgroup == "dollar":
        end = script.find(opening, match.end())
        return len(script) if end < 0 else end + len(opening)
    closing = _ESCAPED_END if opening[0] in "eE" else _ENDS[opening]
    closed = closing.match(script, match.end())
    return len(script) if closed is None else closed.end()
