"""Which versions of the outside tools opsctl knows, and what is wrong with those it does not.

Where a version is named here it was run, or the vendor's own issue tells of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from opsctl.adapters.node_tools import find_tool, tool_version

Fitness = Literal["fit", "doubtful", "unfit"]
"""doubtful: it is worked around, or was never tried; unfit: it loses data or fails."""


@dataclass(frozen=True)
class Judgement:
    """What is to be said of one version of one tool."""

    fitness: Fitness
    why: str
    remedy: str = ""


@dataclass(frozen=True)
class Tool:
    """One outside program and where its signs lie in a project."""

    name: str
    signs: tuple[str, ...]
    """Paths below the project that say it is used there; none: everywhere."""
    install: str
    purpose: str


TOOLS = (
    Tool("git", (), "install git: https://git-scm.com/downloads", "rollback code, secrets-scan"),
    Tool("node", ("package.json",), "install Node 20 or later: https://nodejs.org",
         "the command lines that come from npm, bundle-check --run"),
    Tool("supabase", ("supabase",), "npm install --save-dev supabase@3",
         "a second look at migrations; opsctl itself asks the API"),
    Tool("vercel", (".vercel", "vercel.json"), "npm install --save-dev vercel@60.1.3",
         "your own use; opsctl itself asks the API"),
    Tool("prisma", ("prisma",), "npm install --save-dev prisma",
         "a second look at migrations, and down SQL from the schema"),
    Tool("gh", (".github",), "install gh: https://cli.github.com",
         "your own use; opsctl itself asks the API"),
)  # fmt: skip
"""Every program that `doctor` looks for, but PostgreSQL's."""


@dataclass(frozen=True)
class FoundTool:
    """A tool as it is installed; `program` is None where it is not."""

    program: Path | None
    version: str | None


def look_for(project: Path, tool: Tool) -> FoundTool:
    """Return the project's own program, else the PATH's, and its version."""
    program = find_tool(project, tool.name)
    return FoundTool(program, tool_version(program, tool.name) if program else None)


def used_in(project: Path, tool: Tool) -> bool:
    """Whether a project shows signs that it uses a tool."""
    return not tool.signs or any((project / sign).exists() for sign in tool.signs)


def judge(name: str, version: str) -> Judgement:
    """Say what is known of a version `MAJOR.MINOR.PATCH` of a tool."""
    numbers = tuple(int(part) for part in version.split("."))
    return _JUDGES[name](numbers)


def _git(version: tuple[int, ...]) -> Judgement:
    if version < (2, 31):
        return Judgement(
            "unfit",
            "`rev-parse --path-format` and `ls-files --deduplicate` came with 2.31",
            "install git 2.31 or later",
        )
    return Judgement("fit", "2.31 or later")


def _node(version: tuple[int, ...]) -> Judgement:
    if version < (20,):
        return Judgement(
            "doubtful", "the vendors' command lines want Node 20 or later", "install Node 20"
        )
    return Judgement("fit", "20 or later")


def _supabase(version: tuple[int, ...]) -> Judgement:
    if version[0] == 3:
        return Judgement("fit", "version 3 is known; its default target is the local stack")
    if version[0] == 2:
        return Judgement(
            "doubtful",
            "version 2 has other flags (--linked, --db-url): opsctl does without its second look",
            "npm install --save-dev supabase@3",
        )
    return Judgement(
        "doubtful", "only versions 2 and 3 are known", "npm install --save-dev supabase@3"
    )


def _vercel(version: tuple[int, ...]) -> Judgement:
    keep = "npm install --save-dev vercel@60.1.3"
    if (50, 5) <= version < (54,):
        return Judgement(
            "unfit",
            "50.5 to 53 store empty environment variables and exit 0 (vercel/vercel #16160, "
            "#16232, #16289); opsctl writes them by the API",
            keep,
        )
    if (54,) <= version <= (54, 12, 999):
        return Judgement(
            "unfit",
            "54.12 deletes a variable for all targets when one is removed (vercel/vercel #16622); "
            "opsctl changes them by the API",
            keep,
        )
    if (61,) <= version < (65,):
        return Judgement(
            "doubtful", "61 to 64 did not install whole: a dependency was missing", keep
        )
    if version[0] == 60:
        return Judgement("fit", "60.1.3 was run")
    return Judgement("doubtful", "60 is the version that was tried", keep)


def _prisma(version: tuple[int, ...]) -> Judgement:
    if version[0] in (6, 7):
        return Judgement("fit", "6 and 7 are known")
    return Judgement("doubtful", "only 6 and 7 are known", "npm install --save-dev prisma@7")


def _gh(version: tuple[int, ...]) -> Judgement:
    if version[0] == 2:
        return Judgement("fit", "version 2 is known")
    return Judgement("doubtful", "only version 2 is known", "install gh 2")


_JUDGES = {
    "git": _git,
    "node": _node,
    "supabase": _supabase,
    "vercel": _vercel,
    "prisma": _prisma,
    "gh": _gh,
}
