"""The rules as data: what a secret looks like, which check confirms it, what to do about it.

They lie in `rules/*.yaml`, in the order of precedence: `stack`, `providers`, `generic`. A rule
has either a `pattern`, with `more` for what may follow its shortest match, or a name that the
secret is `assigned` to and the form of its `value`. `pattern` is what the fast engine looks
for, so it has no look-around and ends where the shortest match ends; pattern and more together
are what `re` confirms, and their group `secret` is the secret, or the whole match where there
is none. `keywords`, in lower case, are what a match always holds, one of them at least.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from opsctl.core.errors import OpsError

FOLDER = os.path.join(os.path.dirname(__file__), "rules")  # noqa: PTH118, PTH120
FILES = ("stack", "providers", "generic")
SEVERITIES = ("critical", "high", "medium")

_MOST_REACH = 8192
_LEFT = r"(?:^|[^A-Za-z0-9_]|\\[nrt]|%[0-9A-Fa-f]{2})"
_RIGHT = r"(?![A-Za-z0-9])"
_BETWEEN = (
    r"[\w .\-]{0,40}[\s\\\"'`\])]{0,5}(?:\s?:\s?[A-Za-z&][\w<>|&?' ]{1,20})?\s{0,4}"
    r"(?:=>|->|[:=?+.|<!]{0,3}=|:{1,3}|>|,|\(|\|\|)[\s\"'`\\(\[{]{0,16}"
)
# What covers it and is compiled in a fraction of the time.
_BETWEEN_AT_LEAST = (
    r"[\w .\-]{0,40}[\s\\\"'`\])]{0,5}(?:\s?:\s?[\w<>|&?' ]{2,21})?\s{0,4}[:=?+.|<>,(!-]{0,3}"
    r"[=:>,(|][\s\"'`\\(\[{]{0,16}"
)
_AFTER = r"(?=[\s\"'`;,&<>\\)}\]|#]|\Z)"
_TRAILING_RANGE = re.compile(r"\{(\d+),\d*\}(?=\||\)|$)")


@dataclass(frozen=True)
class Rule:
    """One kind of secret."""

    id: str
    title: str
    next: str
    """What to do about it, in the imperative."""
    keywords: tuple[str, ...]
    pattern: str = ""
    more: str = ""
    assigned: str = ""
    value: str = ""
    severity: str = "high"
    check: str = ""
    """The name of a confirming check, in `judging.CHECKS`."""
    entropy: float = 2.8
    """Least entropy of the secret, in bits a character."""
    edges: bool = True
    """Whether letters and digits just before and after are no part of a match."""
    ignore_case: bool = False
    paths: str = ""
    """Only in files whose path matches."""
    user: bool = False
    """Whether it comes from the settings: matched by RE2, never by `re`."""
    reach: int = 0
    """How many bytes the longest of its shortest matches has; made with the rule, and kept."""

    def __post_init__(self) -> None:
        """Find the reach, which takes a third of making a rule ready, where it is not known."""
        if not self.reach:
            object.__setattr__(self, "reach", _reach(self.trigger))

    @property
    def trigger(self) -> str:
        """The expression for the fast engine; every match of `expression` ends one of its."""
        if self.assigned:
            value = _TRAILING_RANGE.sub(r"{\1}", self.value)
            return f"(?i:{self.assigned}){_BETWEEN_AT_LEAST}(?:{value})"
        opened = self.pattern.replace("(?P<secret>", "(?:")
        closed = opened + ")" * _open_groups(opened)
        return f"{_LEFT}(?:{closed})" if self.edges else closed

    @property
    def expression(self) -> str:
        """The whole expression, with a group `secret`."""
        if self.assigned:
            return f"(?i:{self.assigned}){_BETWEEN}(?P<secret>{self.value}){_AFTER}"
        whole = self.pattern + self.more
        if "(?P<secret>" not in whole:
            whole = f"(?P<secret>{whole})"
        return f"{_LEFT}{whole}{_RIGHT}" if self.edges else whole

    @property
    def rank(self) -> int:
        """0 for the gravest severity."""
        return SEVERITIES.index(self.severity)


@dataclass(frozen=True)
class Example:
    """Text that a rule must find, or must not. `{A24}` and the like become random text."""

    rule: str
    text: str
    found: bool
    path: str


def source_of_rules() -> dict[str, bytes]:
    """Return the files of rules as they were shipped, by name."""
    found = {}
    for name in FILES:
        # Not by importlib.resources, which takes a third of a small scan to import.
        with open(os.path.join(FOLDER, f"{name}.yaml"), "rb") as file:  # noqa: PTH118, PTH123
            found[name] = file.read()
    return found


def read_rules(source: Mapping[str, bytes]) -> tuple[Rule, ...]:
    """Return the shipped rules, in the order of precedence."""
    return tuple(_rule(data) for data in _entries(source))


def read_examples(source: Mapping[str, bytes]) -> tuple[Example, ...]:
    """Return the examples of all rules: those that must match and those that must not."""
    return tuple(
        Example(data["id"], text, kind == "match", data.get("in", "app.txt"))
        for data in _entries(source)
        for kind in ("match", "clean")
        for text in data[kind]
    )


def rules_to_data(rules: tuple[Rule, ...]) -> list[list[Any]]:
    """Return rules as plain data, for a cache."""
    return [[getattr(rule, field.name) for field in fields(Rule)] for rule in rules]


def rules_from_data(data: list[list[Any]]) -> tuple[Rule, ...]:
    """Return what `rules_to_data` was given."""
    names = [field.name for field in fields(Rule)]
    rules = []
    for each in data:
        given: dict[str, Any] = dict(zip(names, each, strict=True))
        given["keywords"] = tuple(given["keywords"])
        rules.append(Rule(**given))
    return tuple(rules)


def _entries(source: Mapping[str, bytes]) -> list[dict[str, Any]]:
    from opsctl.core.strict_yaml import load_yaml

    found: list[dict[str, Any]] = []
    for name in FILES:
        data, _ = load_yaml(source[name], source=f"rules/{name}.yaml")
        found += data
    return found


def _rule(data: Mapping[str, Any]) -> Rule:
    known = {field.name for field in fields(Rule)}
    given = {
        key: value for key, value in data.items() if key not in ("match", "clean", "in", "reach")
    }
    if unknown := given.keys() - known:
        raise OpsError(
            f"The rule {data.get('id')} has unknown keys",
            why=", ".join(sorted(unknown)),
            hint=f"a rule has {', '.join(sorted(known))}",
            code="bad-rule",
        )
    given["keywords"] = tuple(given["keywords"])
    return Rule(**given)


def _reach(trigger: str) -> int:
    parser: Any = re._parser  # type: ignore[attr-defined]
    try:
        with warnings.catch_warnings():
            # It is RE2 that will match: what a later `re` may read otherwise is no news.
            warnings.simplefilter("ignore")
            return min(int(parser.parse(trigger).getwidth()[1]), _MOST_REACH)
    except re.error:
        # RE2 and Hyperscan know what `re` does not, such as \Q...\E.
        return _MOST_REACH


def _open_groups(pattern: str) -> int:
    """Return how many groups of a pattern are not closed yet."""
    depth = 0
    escaped = in_class = False
    for sign in pattern:
        if escaped:
            escaped = False
        elif sign == "\\":
            escaped = True
        elif in_class:
            in_class = sign != "]"
        elif sign == "[":
            in_class = True
        elif sign in "()":
            depth += 1 if sign == "(" else -1
    return depth
