"""Pull requests and what protects a branch: read through the API, written by the real `gh`.

`gh api` with a whole address sends the request there, with GH_TOKEN for github.com and
GH_ENTERPRISE_TOKEN for any other host; both are given, in the child's environment alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from opsctl.adapters.rest import MISFITS, PATIENCE, Patience, Rest
from opsctl.core.action import Command
from opsctl.core.process import find_program
from opsctl.core.settings import Github

T = TypeVar("T")

_BLOCKING_RULES = frozenset({"pull_request", "update", "required_status_checks", "merge_queue"})
"""Rules that a plain push to a branch does not pass."""


@dataclass(frozen=True)
class Pull:
    """One pull request."""

    number: int
    url: str
    state: str
    """open or closed."""
    merged_as: str
    """The commit that it was merged as; empty while it was not."""


class GithubPulls:
    """One repository. What it raises is described at `opsctl.adapters.rest.Rest`."""

    def __init__(self, settings: Github, *, patience: Patience = PATIENCE) -> None:
        self._settings = settings
        owner, name = settings.repository.split("/")
        self._owner = owner
        self._path = f"/repos/{quote(owner, safe='')}/{quote(name, safe='')}"
        self._rest = Rest(
            name="GitHub",
            code="github",
            api=settings.api,
            token=settings.token,
            setting="github",
            headers={
                "Accept": "application/vnd.github+json",
                "X-GitHub-Api-Version": "2022-11-28",
                "User-Agent": "opsctl",
            },
            patience=patience,
        )

    def protection(self, branch: str) -> str:
        """Return what keeps a plain push away from a branch, in words; nothing where it may."""
        name = quote(branch, safe="")
        path = f"{self._path}/rules/branches/{name}"
        rules = self._read(path, lambda data: {str(each["type"]) for each in data})
        found = sorted(rules & _BLOCKING_RULES)
        if found:
            return f"rules of the repository ({', '.join(found)})"
        path = f"{self._path}/branches/{name}"
        protected = self._read(path, lambda data: bool(data["protected"]))
        return "branch protection" if protected else ""

    def pulls_from(self, head: str) -> tuple[Pull, ...]:
        """Return the pull requests of a branch, newest first."""
        query = {"head": f"{self._owner}:{head}", "state": "all"}
        return self._read(
            f"{self._path}/pulls", lambda data: tuple(_pull(each) for each in data), query
        )

    def open_pull(self, *, head: str, base: str, title: str, body: str, cwd: str) -> Command:
        """Open a pull request with `gh`; raises OpsError `tool-missing` (exit 3)."""
        return self._gh(
            "POST",
            "pulls",
            {"title": title, "body": body, "head": head, "base": base},
            cwd=cwd,
        )

    def list_command(self, head: str, *, cwd: str) -> Command:
        """Return the look by `gh` at the open pull requests of a branch."""
        query = urlencode({"head": f"{self._owner}:{head}", "state": "all"})
        return self._gh("GET", f"pulls?{query}", None, cwd=cwd)

    def _gh(self, method: str, path: str, body: Any, *, cwd: str) -> Command:
        program = find_program("gh", hint="install gh: https://cli.github.com")
        address = f"{self._settings.api.rstrip('/')}{self._path}/{path}"
        token = self._settings.token
        if token is None:
            raise self._rest.failed("refused", "the settings have no github.token")
        given = () if body is None else ("--input", "-")
        return Command(
            (program, "api", "--method", method, *given, address),
            env=(
                ("GH_PROMPT_DISABLED", "1"),
                ("GH_NO_UPDATE_NOTIFIER", "1"),
                ("GH_TELEMETRY", "false"),
                ("NO_COLOR", "1"),
            ),
            secrets=(("GH_TOKEN", token), ("GH_ENTERPRISE_TOKEN", token)),
            cwd=cwd,
            stdin=None if body is None else json.dumps(body, sort_keys=True),
            timeout_s=60.0,
        )

    def _read(self, path: str, parse: Callable[[Any], T], query: dict[str, str] | None = None) -> T:
        data = self._rest.get(path, query).data
        try:
            return parse(data)
        except MISFITS:
            raise self._rest.not_understood(path) from None


def _pull(data: Any) -> Pull:
    merged = bool(data.get("merged_at") or data.get("merged"))
    return Pull(
        number=int(data["number"]),
        url=str(data["html_url"]),
        state=str(data["state"]),
        merged_as=str(data.get("merge_commit_sha") or "") if merged else "",
    )
