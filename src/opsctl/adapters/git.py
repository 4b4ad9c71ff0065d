"""The application's git checkout, through the git program: what is checked out, and is it pushed.

It only reads, asks nobody for a password, takes no lock and runs no hook.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from opsctl.core.errors import Exit, OpsError
from opsctl.core.process import Finished, find_program, run_program

_ENV = {
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}
# A repository's own settings can name programs to start; a look must not.
_HARMLESS = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null")
_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Remote:
    """A remote; its address holds no credentials."""

    name: str
    url: str


@dataclass(frozen=True)
class Checkout:
    """What is checked out in a directory."""

    commit: str
    """Empty where nothing was committed yet."""
    branch: str
    """Empty for a detached head."""
    dirty: int
    """Files that differ from the commit, or that git does not know and does not ignore."""
    remotes: tuple[Remote, ...]
    on_remote: tuple[str, ...]
    """Remote branches, as last fetched, that hold the commit: `origin/main`."""
    tags: tuple[str, ...]
    """Tags at the commit."""

    @property
    def pushed(self) -> bool:
        """Whether some remote branch holds the commit, as far as this checkout knows."""
        return bool(self.on_remote)


def read_checkout(folder: Path) -> Checkout:
    """Return what is checked out in a directory, or in one above it.

    Raises OpsError `tool-missing`, `not-a-checkout` or `git-failed` (exit 3).
    """
    program = find_program("git", hint="install git")
    if not folder.is_dir():
        raise _no_checkout(folder, "there is no such directory")

    def git(*words: str, codes: tuple[int, ...] = (0,)) -> Finished:
        argv = (program, *_HARMLESS, *words)
        done = run_program(argv, env=_ENV, cwd=str(folder), timeout_s=_TIMEOUT_S)
        if done.exit_code not in codes:
            why = without_credentials(done.last_line) or f"exit code {done.exit_code}"
            raise OpsError(
                f"git {words[0]} failed in {folder}",
                why=why,
                hint=f"git -C {folder} status",
                code="git-failed",
                exit=Exit.UNKNOWN,
            )
        return done

    inside = git("rev-parse", "--is-inside-work-tree", codes=(0, 128))
    if inside.exit_code != 0 or inside.stdout.strip() != "true":
        raise _no_checkout(folder, without_credentials(inside.last_line))
    head = git("rev-parse", "--verify", "--quiet", "HEAD^{commit}", codes=(0, 1)).stdout.strip()
    branch = git("symbolic-ref", "--quiet", "--short", "HEAD", codes=(0, 1)).stdout.strip()
    status = git("status", "--porcelain", "-z", "--untracked-files=all").stdout
    # Asked by pattern: `git remote get-url` rewrites, `git remote -v` mixes push and fetch.
    urls = git("config", "-z", "--get-regexp", r"^remote\..*\.url$", codes=(0, 1)).stdout
    on_remote: list[str] = []
    tags: list[str] = []
    if head:
        contains = ("for-each-ref", "--format=%(refname:lstrip=2)", "--contains", head)
        refs = git(*contains, "refs/remotes").stdout.splitlines()
        on_remote = [ref for ref in refs if not ref.endswith("/HEAD")]
        at = ("for-each-ref", "--format=%(refname:lstrip=2)", "--points-at", head, "refs/tags")
        tags = git(*at).stdout.splitlines()
    return Checkout(
        commit=head,
        branch=branch,
        dirty=_count(status),
        remotes=tuple(_remotes(urls)),
        on_remote=tuple(on_remote),
        tags=tuple(tags),
    )


def _count(status: str) -> int:
    """Count the entries of `git status -z`; one that was renamed or copied takes two."""
    fields = status.split("\0")
    count = at = 0
    while at < len(fields) and fields[at]:
        count += 1
        at += 2 if fields[at][:1] in "RC" or fields[at][1:2] in "RC" else 1
    return count


def _remotes(config: str) -> list[Remote]:
    found: dict[str, Remote] = {}
    for entry in config.split("\0"):
        key, _, url = entry.partition("\n")
        name = key.removeprefix("remote.").removesuffix(".url")
        if name and url:
            found.setdefault(name, Remote(name, without_credentials(url)))
    return [found[name] for name in sorted(found)]


def without_credentials(text: str) -> str:
    """Return text without the user, password and query of every address in it.

    `git@host:path` stays: it holds no password.
    """
    # Up to the last @: a password may hold a slash. A path with an @ loses its host instead.
    text = re.sub(r"([A-Za-z][A-Za-z0-9+.-]*://)[^\s'\"]*@", r"\1", text)
    text = re.sub(r"(?<![^\s'\"])[^\s'\"/@]*:[^\s'\"/@]*@", "", text)
    return re.sub(r"([A-Za-z][A-Za-z0-9+.-]*://[^\s'\"?#]*)[?#][^\s'\"]*", r"\1", text)


def _no_checkout(folder: Path, why: str) -> OpsError:
    return OpsError(
        f"The directory {folder} is no git checkout",
        why=why or "git knows no repository there",
        hint="is `project` in the settings the application's directory?",
        code="not-a-checkout",
        exit=Exit.UNKNOWN,
    )


def find_commit(folder: Path, name: str) -> str | None:
    """Return the full name of the commit that a branch, a tag or a short name means.

    None where git knows none. Raises OpsError `tool-missing` (exit 3).
    """
    program = find_program("git", hint="install git")
    words = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    done = run_program(
        (program, *_HARMLESS, *words), env=_ENV, cwd=str(folder), timeout_s=_TIMEOUT_S
    )
    return done.stdout.strip() if done.exit_code == 0 else None


def read_committed(folder: Path, *, commit: str, path: str, most: int) -> str | None:
    """Return a file as a commit has it, its path relative to `folder`.

    None where it is not there, or larger than `most` bytes.
    """
    program = find_program("git", hint="install git")
    which = f"{commit}:./{path}"
    for words in (("cat-file", "-s", which), ("cat-file", "blob", which)):
        done = run_program(
            (program, *_HARMLESS, *words), env=_ENV, cwd=str(folder), timeout_s=_TIMEOUT_S
        )
        if done.exit_code != 0 or (words[1] == "-s" and int(done.stdout) > most):
            return None
    return done.stdout
