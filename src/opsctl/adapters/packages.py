"""What npm or pnpm says of a project's packages: which are behind, and what is known against them.

Both exit 1 when they found something, and when they failed; what they printed tells which.
Advisories come from the registry: one that answers no such question is not "none".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from opsctl.core.errors import Exit, OpsError
from opsctl.core.process import find_program, run_program

Tool = Literal["npm", "pnpm"]

_LOCKS: tuple[tuple[str, Tool], ...] = (
    ("pnpm-lock.yaml", "pnpm"), ("package-lock.json", "npm"), ("npm-shrinkwrap.json", "npm"),
)  # fmt: skip
_TIMEOUT_S = 180.0
_LONGEST_WHY = 200


@dataclass(frozen=True)
class Outdated:
    """One package of which there is a newer version."""

    name: str
    current: str
    """Empty where it is not installed."""
    wanted: str
    """The newest that the project's own range allows."""
    latest: str


@dataclass(frozen=True)
class Advisory:
    """One thing known against a version of a package that the project has."""

    package: str
    severity: str
    """critical, high, moderate, low or info."""
    title: str
    url: str
    versions: str
    """Which versions it is about."""
    fix: str
    """What mends it, in words; empty where that is not said."""


def package_tool(project: Path) -> Tool:
    """Return the package manager whose lock file lies in a project.

    Raises OpsError `no-lock-file` (exit 3).
    """
    for name, tool in _LOCKS:
        if (project / name).is_file():
            return tool
    raise OpsError(
        "The project's packages could not be looked at",
        why=f"{project} has none of {', '.join(name for name, _ in _LOCKS)}",
        hint="is the setting project the application's directory?",
        code="no-lock-file",
        exit=Exit.UNKNOWN,
    )


def outdated(project: Path, tool: Tool) -> list[Outdated]:
    """Return the packages that are behind, by name. Raises OpsError (exit 3)."""
    return read_outdated(_ask(project, tool, "outdated", "--json"), tool)


def advisories(project: Path, tool: Tool) -> list[Advisory]:
    """Return what is known against the packages that production gets. Raises OpsError (exit 3)."""
    what = "--omit=dev" if tool == "npm" else "--prod"
    return read_advisories(_ask(project, tool, "audit", "--json", what), tool)


def read_outdated(answer: Mapping[str, Any], tool: Tool) -> list[Outdated]:
    """Return what `outdated --json` printed; raises OpsError `packages-unread`."""
    found = []
    for name, said in sorted(answer.items()):
        # npm lists a package once for each place where it is installed.
        for each in said if isinstance(said, list) else [said]:
            if not isinstance(each, dict) or "latest" not in each:
                raise _unread(tool, "outdated", f"what it says of {name} is not understood")
            words = (str(each.get(key) or "") for key in ("current", "wanted", "latest"))
            found.append(Outdated(name, *words))
    return found


def read_advisories(answer: Mapping[str, Any], tool: Tool) -> list[Advisory]:
    """Return what `audit --json` printed, of npm 7 and later or of pnpm.

    Raises OpsError `packages-unread`.
    """
    if isinstance(answer.get("vulnerabilities"), dict):
        found = _of_npm(answer["vulnerabilities"])
    elif isinstance(answer.get("advisories"), dict):
        found = [
            Advisory(
                package=str(each.get("module_name", "")),
                severity=str(each.get("severity", "")),
                title=str(each.get("title", "")),
                url=str(each.get("url", "")),
                versions=str(each.get("vulnerable_versions", "")),
                fix=f"{each.get('module_name')} {each['patched_versions']}"
                if each.get("patched_versions")
                else "",
            )
            for each in answer["advisories"].values()
            if isinstance(each, dict)
        ]
    else:
        raise _unread(tool, "audit", "its answer has neither vulnerabilities nor advisories")
    return sorted(found, key=lambda each: (each.package, each.title, each.url))


def _of_npm(packages: Mapping[str, Any]) -> list[Advisory]:
    found: dict[tuple[str, str, str], Advisory] = {}
    for said in packages.values():
        if not isinstance(said, dict):
            continue
        available = said.get("fixAvailable")
        fix = ""
        if isinstance(available, dict):
            major = ", a major change" if available.get("isSemVerMajor") else ""
            fix = f"{available.get('name')} {available.get('version')}{major}"
        elif available:
            fix = "npm audit fix"
        via = said.get("via")
        for each in via if isinstance(via, list) else ():
            # A text names another package of the list, which the advisory is about.
            if isinstance(each, dict):
                advisory = Advisory(
                    package=str(each.get("name", "")),
                    severity=str(each.get("severity", "")),
                    title=str(each.get("title", "")),
                    url=str(each.get("url", "")),
                    versions=str(each.get("range", "")),
                    fix=fix,
                )
                found.setdefault((advisory.package, advisory.title, advisory.url), advisory)
    return list(found.values())


def _ask(project: Path, tool: Tool, *words: str) -> dict[str, Any]:
    program = find_program(tool, hint=f"install {tool}, or put it on the PATH")
    done = run_program([program, *words], cwd=str(project), timeout_s=_TIMEOUT_S)
    try:
        answer = json.loads(done.stdout) if done.stdout.strip() else {}
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise _unread(tool, words[0], done.last_line or f"exit code {done.exit_code}")
    error = answer.get("error")
    # A package may be called error; then it has versions.
    if isinstance(error, dict) and "latest" not in error:
        said = answer.get("message") or error.get("summary") or error.get("message")
        raise _unread(tool, words[0], str(said or error.get("code") or "it gave no reason"))
    if done.exit_code not in (0, 1) or (done.exit_code == 1 and not answer):
        raise _unread(tool, words[0], done.last_line or f"exit code {done.exit_code}")
    return answer


def _unread(tool: Tool, what: str, why: str) -> OpsError:
    return OpsError(
        f"{tool} {what} did not answer",
        why=" ".join(why.split())[:_LONGEST_WHY],
        hint=f"in the project's directory: {tool} {what}",
        code="packages-unread",
        exit=Exit.UNKNOWN,
    )
