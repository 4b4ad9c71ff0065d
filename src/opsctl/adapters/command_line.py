"""Command lines as documents write them: a shell's words, never run by one."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

_INSTEAD = "PLACEHOLDER"
_SUBSTITUTION = re.compile(r"\$\([^()]*\)|`[^`]*`")
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=.*", re.DOTALL)
_ENDS = frozenset({"|", "||", "&&", ";", "&", "|&"})
_REDIRECTION = re.compile(r"[0-9]*(<|>|>>|>&|<&|>\||<<<|<<)")
_RUNNERS = {
    ("npx",): ("-y", "--yes", "--no-install", "--no", "--quiet", "-q"),
    ("pnpm", "exec"): (),
    ("pnpm", "dlx"): (),
    ("yarn", "exec"): (),
    ("yarn", "dlx"): (),
    ("bunx",): (),
    ("npm", "exec", "--"): (),
    ("sudo",): ("-n", "-E"),
    ("time",): (),
    ("env",): (),
}
"""What starts another program, and which of its own options may stand in between."""
_HOLE = re.compile(
    r"\[[^\]]*\]"  # [migration_name]
    r"|<[A-Za-z][^>]*>"  # <ref>
    r"|\.\.\.|…"
    r"|\b[A-Z][A-Z_]{2,}\b"  # RUN, DATABASE
    r"|\$"
)


@dataclass(frozen=True)
class Simple:
    """One program with its words, of a line that may start several."""

    program: str
    """Its name, without a directory and without what only starts it: `npx prisma` is `prisma`."""
    words: tuple[str, ...]
    reads_file: bool = False
    """Whether its standard input is a file."""


def split_line(text: str) -> tuple[Simple, ...]:
    """Return the programs that a line starts, in order; raises ValueError for an open quote.

    What the shell would put in the place of `$(...)` is one word here.
    """
    text = _SUBSTITUTION.sub(_INSTEAD, text)
    lexer = shlex.shlex(text, posix=True, punctuation_chars="<>|&;")
    lexer.whitespace_split = True
    lexer.commenters = ""
    parts: list[list[str]] = [[]]
    words = _without_comment(text, list(lexer))
    reads = [False]
    skip = False
    for index, word in enumerate(words):
        if skip:
            skip = False
        elif word in _ENDS:
            parts.append([])
            reads.append(False)
        elif _REDIRECTION.fullmatch(word):
            reads[-1] = reads[-1] or word == "<"
            skip = True
        elif word.isdigit() and index + 1 < len(words) and words[index + 1][:1] in "<>":
            continue  # the number of a descriptor
        else:
            parts[-1].append(word)
    found = (_simple(each, reads_file=file) for each, file in zip(parts, reads, strict=True))
    return tuple(each for each in found if each is not None)


def own_words(text: str) -> tuple[str, ...] | None:
    """Return the words after `opsctl`, if the line is that alone and says everything.

    None where a shell would be needed, and where a person has to fill something in.
    """
    if re.search(r"[|&;<>`*?~]|\$", _unquoted(text)) or has_hole(text):
        return None
    try:
        words = shlex.split(text, comments=True)
    except ValueError:
        return None
    return tuple(words[1:]) if words and words[0] == "opsctl" else None


def has_hole(text: str) -> bool:
    """Whether something in a line is to be filled in: `[name]`, `<name>`, `NAME`, `$NAME`."""
    return _HOLE.search(_unquoted(text)) is not None


def _unquoted(text: str) -> str:
    """Return a line without its comment and with quoted text left out."""
    text = re.sub(r"(?:^|\s)#.*", "", text)
    return re.sub(r"'[^']*'|\"[^\"$`]*\"", "", text)


def _without_comment(text: str, words: list[str]) -> list[str]:
    if not re.search(r"(?:^|\s)#", text):
        return words
    at = next((i for i, word in enumerate(words) if word.startswith("#")), len(words))
    return words[:at]


def _simple(words: list[str], *, reads_file: bool) -> Simple | None:
    rest = list(words)
    while rest and _ASSIGNMENT.fullmatch(rest[0]):
        rest.pop(0)
    for runner, options in _RUNNERS.items():
        if tuple(rest[: len(runner)]) == runner and len(rest) > len(runner):
            after = rest[len(runner) :]
            while after and after[0] in options:
                after.pop(0)
            return _simple(after, reads_file=reads_file)
    if not rest:
        return None
    name = rest[0].rpartition("/")[2]
    name = re.sub(r"@[0-9a-z.^~-]+$", "", name)  # prisma@7
    return Simple(name, tuple(rest[1:]), reads_file)
