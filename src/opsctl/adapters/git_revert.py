"""Bring a branch back to an older commit without rewriting it: one new commit with the old tree.

The commit is worked out before anything is written (in a throw-away object directory), so a
plan can name it; made again later, from the same parts, it is the same. Nothing is checked out,
no hook runs, and no push is ever forced: its parent is the branch's head, so a branch that moved
meanwhile refuses it.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from opsctl.adapters.git import without_credentials
from opsctl.core.action import Command, Expect, Pairs, Probe
from opsctl.core.errors import Exit, OpsError
from opsctl.core.process import Finished, find_program, run_program

_ENV = {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
_HARMLESS = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null")
_TIMEOUT_S = 60.0
_FETCH_TIMEOUT_S = 120.0
_LISTED = 200
_SUPABASE = re.compile(r"(\d{1,20})_.*\.sql", re.ASCII)
_UNKNOWN_COMMIT = 128


@dataclass(frozen=True)
class Commit:
    """One commit of a log."""

    sha: str
    author: str
    subject: str


@dataclass(frozen=True)
class Branch:
    """A branch as its remote has it."""

    remote: str
    name: str
    head: str


@dataclass(frozen=True)
class Revert:
    """The parts of a commit that brings the tree of `target` back on top of `parent`."""

    parent: str
    target: str
    message: str
    identity: str
    """NAME <MAIL>, of author and committer."""
    at_s: int
    """Seconds since 1970, UTC."""
    keep: tuple[str, ...]
    """Directories, relative to the checkout's top, that stay as `parent` has them."""


def migrations_at(folder: Path, commit: str, *, directory: str, tool: str) -> frozenset[str] | None:
    """Return the versions of a tool's migrations as a commit has them; None without a directory.

    Raises OpsError `commit-not-here` (exit 3) where the checkout does not have the commit.
    """
    _require_commit(folder, commit)
    listed = _git(folder, "ls-tree", "-r", "--name-only", "-z", commit, "--", f"{directory}/")
    names = [Path(name) for name in listed.stdout.split("\0") if name]
    if not names:
        return None
    if tool == "prisma":
        return frozenset(path.parent.name for path in names if path.name == "migration.sql")
    depth = len(Path(directory).parts) + 1
    matches = (
        _SUPABASE.fullmatch(path.name)
        for path in names
        if len(path.parts) == depth and not path.name.endswith(".down.sql")
    )
    return frozenset(match[1] for match in matches if match)


def fetch_branch(folder: Path, *, remote: str, branch: str) -> Branch:
    """Fetch a branch and return it; only the remote-tracking ref is written.

    Raises OpsError `git-failed` (exit 3), the address without its credentials.
    """
    ref = f"refs/remotes/{remote}/{branch}"
    _git(
        folder, "fetch", "--quiet", "--no-tags", "--", remote, f"+refs/heads/{branch}:{ref}",
        timeout_s=_FETCH_TIMEOUT_S,
    )  # fmt: skip
    head = _git(folder, "rev-parse", "--verify", f"{ref}^{{commit}}").stdout.strip()
    return Branch(remote, branch, head)


def commits_between(folder: Path, old: str, new: str) -> tuple[Commit, ...]:
    """Return the commits of `new` that `old` does not have, newest first; at most 200."""
    done = _git(
        folder, "log", "-z", f"-{_LISTED}", "--format=%H%x1f%an%x1f%s", f"{old}..{new}", "--"
    )
    return tuple(
        Commit(*entry.split("\x1f", 2)) for entry in done.stdout.split("\0") if "\x1f" in entry
    )


def is_ancestor(folder: Path, old: str, new: str) -> bool:
    """Whether `new` was built on `old`."""
    return _git(folder, "merge-base", "--is-ancestor", old, new, codes=(0, 1)).exit_code == 0


def resolve(folder: Path, text: str) -> str | None:
    """Return the commit that a text means in the checkout, or None."""
    done = _git(
        folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{text}^{{commit}}",
        codes=(0, 1, _UNKNOWN_COMMIT),
    )  # fmt: skip
    return done.stdout.strip() if done.exit_code == 0 else None


def committer(folder: Path) -> str:
    """Return NAME <MAIL> as git would commit; raises OpsError `no-identity` (exit 2)."""
    done = _git(folder, "var", "GIT_COMMITTER_IDENT", codes=(0, 1, _UNKNOWN_COMMIT))
    match = re.fullmatch(r"(.* <[^<>]*>) \d+ [+-]\d{4}", done.stdout.strip())
    if done.exit_code != 0 or match is None:
        raise OpsError(
            "The commit would have no author",
            why=without_credentials(done.last_line) or "git knows no name and mail address",
            hint=f"git -C {folder} config user.email you@example.com",
            code="no-identity",
        )
    return match[1]


def top_of(folder: Path) -> str:
    """Return where a directory lies within its checkout: `web/`; empty at the top."""
    return _git(folder, "rev-parse", "--show-prefix").stdout.strip()


def same_tree(folder: Path, revert: Revert) -> bool:
    """Whether the commit would change nothing."""
    trees = _git(folder, "rev-parse", f"{revert.parent}^{{tree}}").stdout.strip()
    with _elsewhere(folder) as env:
        return _tree(folder, revert, env=env) == trees


def make_pair(folder: Path, revert: Revert, *, keep_it: bool) -> tuple[str, str]:
    """Return the full names of the commit and of the one that would take it back.

    They are only kept in the checkout if `keep_it`.
    """
    if keep_it:
        return _make_pair(folder, revert, env={})
    with _elsewhere(folder) as env:
        return _make_pair(folder, revert, env=env)


def push(folder: Path, commit: str, branch: Branch) -> Command:
    """Push a commit to a branch; never forced, so a branch that has moved refuses it."""
    argv = ("push", "--quiet", "--porcelain", "--", branch.remote, f"{commit}:{_ref(branch)}")
    return _command(folder, argv)


def pushed_probe(folder: Path, commit: str, branch: Branch) -> Probe:
    """Return a look that says applied while the remote's branch is at a commit."""
    argv = ("ls-remote", "--quiet", "--", branch.remote, _ref(branch))
    return Probe(
        _command(folder, argv),
        Expect(exit_code=0, contains=(f"{commit}\t",), unsure=(_UNKNOWN_COMMIT, 1)),
        attempts=3,
    )


def has_commits_probe(folder: Path, *commits: str) -> Probe:
    """Return a look that says applied once the checkout has all of these commits."""
    words = ("rev-parse", "--verify", "--quiet")
    # rev-parse verifies one name; the second is on top of the first.
    return Probe(_command(folder, (*words, f"{commits[-1]}^{{commit}}")), Expect(exit_code=0))


def delete_branch(folder: Path, branch: Branch) -> Command:
    """Delete a branch of the remote."""
    return _command(folder, ("push", "--quiet", "--", branch.remote, f":{_ref(branch)}"))


def gone_probe(folder: Path, branch: Branch) -> Probe:
    """Return a look that says applied once the remote has no such branch."""
    argv = ("ls-remote", "--quiet", "--", branch.remote, _ref(branch))
    return Probe(
        _command(folder, argv),
        Expect(exit_code=0, lacks=(_ref(branch),), unsure=(_UNKNOWN_COMMIT, 1)),
    )


def _ref(branch: Branch) -> str:
    return f"refs/heads/{branch.name}"


def _command(folder: Path, words: tuple[str, ...]) -> Command:
    program = find_program("git", hint="install git")
    env: Pairs = tuple(_ENV.items())
    return Command((program, *_HARMLESS, *words), env=env, cwd=str(folder), timeout_s=120.0)


@contextmanager
def _elsewhere(folder: Path) -> Iterator[dict[str, str]]:
    """Let git write objects into a throw-away directory, and read those of the checkout, too."""
    objects = _git(folder, "rev-parse", "--git-path", "objects").stdout.strip()
    real = str((folder / objects).resolve())
    with tempfile.TemporaryDirectory(prefix="opsctl-objects-") as temporary:
        yield {"GIT_OBJECT_DIRECTORY": temporary, "GIT_ALTERNATE_OBJECT_DIRECTORIES": real}


def _make_pair(folder: Path, revert: Revert, *, env: dict[str, str]) -> tuple[str, str]:
    who = f"{revert.identity} {revert.at_s} +0000"

    def commit(tree: str, parent: str, message: str) -> str:
        text = f"tree {tree}\nparent {parent}\nauthor {who}\ncommitter {who}\n\n{message}\n"
        done = _git(folder, "hash-object", "-t", "commit", "-w", "--stdin", env=env, stdin=text)
        return done.stdout.strip()

    there = commit(_tree(folder, revert, env=env), revert.parent, revert.message)
    before = _git(folder, "rev-parse", f"{revert.parent}^{{tree}}").stdout.strip()
    subject = revert.message.partition("\n")[0]
    return there, commit(before, there, f"Take back: {subject}")


def _tree(folder: Path, revert: Revert, *, env: dict[str, str]) -> str:
    """Return the tree of `target`, but for the directories that stay as `parent` has them."""
    if not revert.keep:
        return _git(folder, "rev-parse", f"{revert.target}^{{tree}}").stdout.strip()
    with tempfile.TemporaryDirectory(prefix="opsctl-index-") as temporary:
        within = {**env, "GIT_INDEX_FILE": str(Path(temporary) / "index")}
        top = Path(_git(folder, "rev-parse", "--show-toplevel").stdout.strip())
        _git(top, "read-tree", revert.target, env=within)
        for path in revert.keep:
            gone = ("rm", "-r", "-f", "--cached", "--quiet", "--ignore-unmatch", "--", path)
            _git(top, *gone, env=within)
            name = f"{revert.parent}:{path}"
            there = _git(top, "rev-parse", "--verify", "--quiet", name, codes=(0, 1, 128))
            if there.exit_code == 0:
                _git(top, "read-tree", f"--prefix={path}", name, env=within)
        return _git(top, "write-tree", env=within).stdout.strip()


def _require_commit(folder: Path, commit: str) -> None:
    there = _git(folder, "cat-file", "-e", f"{commit}^{{commit}}", codes=(0, 1, _UNKNOWN_COMMIT))
    if there.exit_code != 0:
        raise OpsError(
            f"The commit {commit[:12]} is not in the checkout {folder}",
            why=without_credentials(there.last_line) or "git does not know it",
            hint=f"git -C {folder} fetch --all",
            code="commit-not-here",
            exit=Exit.UNKNOWN,
        )


def _git(
    folder: Path,
    *words: str,
    env: dict[str, str] | None = None,
    codes: tuple[int, ...] = (0,),
    stdin: str | None = None,
    timeout_s: float = _TIMEOUT_S,
) -> Finished:
    program = find_program("git", hint="install git")
    argv = (program, *_HARMLESS, *words)
    done = run_program(
        argv, env={**_ENV, **(env or {})}, cwd=str(folder), stdin=stdin, timeout_s=timeout_s
    )
    if done.exit_code not in codes:
        raise OpsError(
            f"git {words[0]} failed in {folder}",
            why=without_credentials(done.last_line) or f"exit code {done.exit_code}",
            hint=f"git -C {folder} status",
            code="git-failed",
            exit=Exit.UNKNOWN,
        )
    return done
