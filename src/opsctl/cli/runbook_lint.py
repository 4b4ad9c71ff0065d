"""Whether the command lines of runbooks exist, and what is known to go wrong with them.

opsctl's own lines are held against its own commands, those of other programs against the
installed program's help, or against what is kept of a version of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from opsctl.adapters.command_dangers import Danger, dangers_of, dangers_said
from opsctl.adapters.command_help import TOOLS, Help, ask_help, ask_version, kept_help
from opsctl.adapters.command_line import Simple, has_hole, split_line
from opsctl.adapters.node_tools import find_tool
from opsctl.cli.own_commands import options_of, understand
from opsctl.core.errors import OpsError
from opsctl.core.misfits import did_you_mean
from opsctl.core.report import Finding, Location, Report, Severity, Status

if TYPE_CHECKING:
    from opsctl.adapters.command_help import Kept
    from opsctl.adapters.runbook_files import Item, Runbook

_ALIASES = {"vercel": {"ls": "list", "rm": "remove"}}
_GROUPS = ("supabase", "gh", "prisma")
"""Of these a word after a group of commands is one of them; others take arguments there, too."""
_BEFORE_COMMANDS = {"gh": {"-R": True, "--repo": True}}
"""Options that may stand before a command, and are named by its help alone."""
_PARTLY = ("log", "show", "diff", "blame", "rev-list", "rev-parse", "shortlog", "format-patch",
           "reflog", "diff-tree", "diff-index", "diff-files", "whatchanged")  # fmt: skip
"""git's commands whose short help leaves most of their options out."""
_SETTINGS_OF_NPM = ("--prefix", "--silent", "--loglevel", "--registry", "--workspace", "-w",
                    "--workspaces", "--yes", "-y", "--json", "--version", "--help")  # fmt: skip
"""Every setting of npm's is an option of its commands; its short help names few of them."""


@dataclass
class Programs:
    """The programs that lines are held against, each asked once."""

    project: Path
    sources: dict[str, str] = field(default_factory=dict)
    """Program -> what its lines were held against, for a person."""
    ask: Literal["if other", "never", "always"] = "if other"
    """Whether an installed program is asked for its help, or what is kept is taken for it. If
    other: it is asked where it has another version than the one that was recorded."""
    _kept: dict[str, Kept | None] = field(default_factory=dict)
    _asked: dict[tuple[str, tuple[str, ...]], Help | None] = field(default_factory=dict)
    _paths: dict[str, str | None] = field(default_factory=dict)

    def help_of(self, tool: str, words: tuple[str, ...]) -> Help | None:
        """Return what a command takes; None where it has no help.

        Raises OpsError where the program could not be asked, and nothing is kept of it.
        """
        path = self._path(tool)
        if path is None:
            kept = self._kept[tool]
            if kept is None:
                raise OpsError(
                    f"The command lines of {tool} could not be checked",
                    why=f"{tool} is not installed, and nothing is kept of it",
                    hint=f"install {tool}",
                    code="tool-missing",
                )
            return kept.helps.get(words)
        if (tool, words) not in self._asked:
            self._asked[tool, words] = ask_help(path, tool, words)
        return self._asked[tool, words]

    def options_anywhere(self, tool: str) -> set[str]:
        """Return the options of all commands that are kept of a program."""
        kept = kept_help(tool)
        return {name for each in kept.helps.values() for name in each.options} if kept else set()

    def _path(self, tool: str) -> str | None:
        """Return the program to ask; None where what is kept of it tells the same."""
        if tool in self._paths:
            return self._paths[tool]
        kept = self._kept[tool] = kept_help(tool)
        found = None if self.ask == "never" else find_tool(self.project, tool)
        version = ask_version(str(found), tool) if found else None
        same = self.ask != "always" and kept is not None and version == kept.version
        if found is None or same:
            self._paths[tool] = None
            self.sources[tool] = f"{tool} {kept.version}, as recorded" if kept else ""
        else:
            self._paths[tool] = str(found)
            self.sources[tool] = f"{tool} {version or 'of an unknown version'}, its own help"
        return self._paths[tool]


def lint_runbooks(runbooks: Sequence[Runbook], programs: Programs) -> Report:
    """Return a report with a finding for everything wrong in the runbooks' command lines."""
    findings: list[Finding] = []
    lines = 0
    unchecked: dict[str, int] = {}
    for book in runbooks:
        for item in book.items:
            lines += item.kind in ("line", "shown")
            for danger, status in lint_item(item, programs, unchecked):
                findings.append(_finding(book, item, danger, status))
    checked = ", ".join(sorted(each for each in programs.sources.values() if each))
    notes = [f"{lines} command lines in {len(runbooks)} runbooks."]
    if checked:
        notes.append(f"Held against {checked}.")
    if unchecked:
        notes.append(
            "Not checked, whatever they take: "
            + ", ".join(f"{name} ({count})" for name, count in sorted(unchecked.items()))
            + "."
        )
    return Report(
        command="runbook lint",
        title="Command lines of runbooks",
        findings=tuple(findings),
        notes=tuple(notes),
        data={
            "runbooks": [str(book.path) for book in runbooks],
            "command_lines": lines,
            "held_against": dict(programs.sources),
            "not_checked": dict(unchecked),
        },
    )


def lint_item(
    item: Item, programs: Programs, unchecked: dict[str, int]
) -> Iterator[tuple[Danger, Status]]:
    """Yield what is wrong about one item, each with whether that is certain or unknown."""
    if item.kind in ("prose", "tick"):
        for danger in dangers_said(item.text):
            yield danger, Status.FAILED
        return
    if item.kind == "inline":
        if item.text.startswith("opsctl "):
            yield from _mentioned(item.text)
        return
    try:
        parts = split_line(item.text)
    except ValueError:
        yield _danger("open-quote", "A quote is not closed", ""), Status.FAILED
        return
    for part in parts:
        if part.program == "opsctl":
            yield from _own(part)
        elif part.program in TOOLS:
            yield from _foreign(part, programs)
        else:
            unchecked[part.program] = unchecked.get(part.program, 0) + 1
        for danger in dangers_of(part):
            yield danger, Status.FAILED


def dangers_in(line: str) -> list[str]:
    """Return what is known to go wrong with a line, a sentence each; asks no program."""
    try:
        parts = split_line(line)
    except ValueError:
        return ["a quote is not closed."]
    return [f"{each.title} ({each.hint})." for part in parts for each in dangers_of(part)]


def _own(part: Simple) -> Iterator[tuple[Danger, Status]]:
    try:
        understand(part.words)
    except OpsError as error:
        yield _danger("own-command", error.why, error.hint), Status.FAILED


def _mentioned(text: str) -> Iterator[tuple[Danger, Status]]:
    """Look at a line within a sentence: it may leave out what the sentence says."""
    try:
        words = split_line(text)[0].words
        given = {word.partition("=")[0] for word in words if word.startswith("-") and word != "-"}
        for name in sorted(given - options_of(words)):
            yield _danger("own-command", f"No such option: {name}", ""), Status.FAILED
    except OpsError as error:
        yield _danger("own-command", error.why, error.hint), Status.FAILED
    except (ValueError, IndexError):
        yield _danger("open-quote", "A quote is not closed", ""), Status.FAILED


def _foreign(part: Simple, programs: Programs) -> Iterator[tuple[Danger, Status]]:
    try:
        yield from _held_against_help(part, programs)
    except OpsError as error:
        yield Danger("program-not-asked", "error", error.what, error.hint), Status.UNKNOWN


def _held_against_help(part: Simple, programs: Programs) -> Iterator[tuple[Danger, Status]]:
    tool = part.program
    path: tuple[str, ...] = ()
    known = programs.help_of(tool, ())
    if known is None:
        yield Danger("program-not-asked", "error", f"{tool} printed no help", ""), Status.UNKNOWN
        return
    everywhere = taken = {**known.options, **_BEFORE_COMMANDS.get(tool, {})}
    given: list[str] = []
    commands_end = False
    words = iter(part.words)
    for word in words:
        if word == "--":
            break
        if word.startswith("-") and word != "-":
            name, equals, _ = word.partition("=")
            given.append(name)
            if taken.get(name) and not equals:
                next(words, None)
            continue
        if commands_end or not known.commands or has_hole(word):
            commands_end = True
            continue
        name = word
        if name not in known.commands:
            name = _ALIASES.get(tool, {}).get(word, word)
        if name in known.commands:
            path = (*path, name)
            found = programs.help_of(tool, path)
            if found is None:
                return  # it has no help of its own, or none was recorded
            known = found
            taken = {**everywhere, **known.options}
            continue
        commands_end = True
        if tool == "pnpm" and not path:
            return  # a script of the project's
        if (not path and word[0] not in "./") or tool in _GROUPS:
            title = f"{' '.join((tool, *path))} has no command {word}"
            hint = did_you_mean(word, list(known.commands))
            yield _danger("unknown-command", title, hint or f"{tool} --help"), Status.FAILED
            return
    if tool == "git" and path[:1] and path[0] in _PARTLY:
        return
    if tool == "npm":
        taken |= dict.fromkeys((*programs.options_anywhere(tool), *_SETTINGS_OF_NPM), False)
    for name in given:
        if not _is_taken(name, taken, tool):
            title = f"{' '.join((tool, *path))} has no option {name}"
            hint = did_you_mean(name, sorted(taken)) or f"{' '.join((tool, *path))} --help"
            yield _danger("unknown-option", title, hint), Status.FAILED


def _is_taken(name: str, taken: dict[str, bool], tool: str) -> bool:
    if name in taken or name in ("--help", "-h"):
        return True
    if not name.startswith("--"):
        return name[:2] in taken  # -am, -Uuser
    # git takes the beginning of an option for the whole.
    return tool == "git" and any(each.startswith(name) for each in taken)


def _danger(rule: str, title: str, hint: str) -> Danger:
    return Danger(rule, "error", title, hint)


def _finding(book: Runbook, item: Item, danger: Danger, status: Status) -> Finding:
    key = hashlib.sha256(f"{danger.rule}\0{item.text}".encode()).hexdigest()[:16]
    return Finding(
        rule=danger.rule,
        title=danger.title,
        status=status,
        severity=Severity.ERROR if danger.severity == "error" else Severity.WARNING,
        evidence=item.text,
        location=Location(path=str(book.path), line=item.line),
        hint=danger.hint,
        key=key,
    )
