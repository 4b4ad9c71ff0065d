"""Bring the production branch back to an older commit, push that, and watch it go live."""

from __future__ import annotations

import json
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from opsctl.adapters import git_revert
from opsctl.adapters.git_revert import Branch, Revert
from opsctl.adapters.github_pulls import GithubPulls
from opsctl.adapters.vercel import VercelApi
from opsctl.adapters.vercel_release import held_back
from opsctl.areas.rollback import app_schema
from opsctl.areas.rollback.app_facts import Scene, commit_of, read_scene
from opsctl.areas.rollback.app_steps import as_json, health_steps, own_probe, watch_steps
from opsctl.core.action import Command, Expect, Manual, Probe
from opsctl.core.errors import Exit, OpsError
from opsctl.core.plan import Irreversible, Plan, Step, Undo
from opsctl.core.report import Report

if TYPE_CHECKING:
    from opsctl.core.call import Call

_LISTED = 8
_BUILD_S = 1200.0
"""How long a build may take; Vercel ends one after 45 minutes, few take 10."""
_BRANCH = re.compile(r"(?!-)[A-Za-z0-9._/-]{1,200}")


@dataclass(frozen=True)
class _World:
    """The checkout, the branch at its remote, and the commits there and back."""

    branch: Branch
    target: str
    commit: str
    """The one that brings the branch back."""
    counter: str
    """The one that would take that back again."""
    revert: Revert
    undone: tuple[git_revert.Commit, ...]


def plan_code(
    call: Call,
    *,
    to: str,
    branch: str | None,
    remote: str,
    reason: str,
    pull_request: bool,
    keep_migrations: bool,
    accept_schema: bool,
    watch_s: float,
) -> Plan:
    """Return the plan that pushes one new commit with the tree of an older one.

    Never forced: its parent is the branch's head, so a branch that has moved refuses it. Where
    the branch takes no plain push, it becomes a pull request. Migrations stay as they are
    unless asked otherwise: the database has them.
    """
    if not re.fullmatch(r"(?!-)[A-Za-z0-9._-]{1,100}", remote):
        raise _usage(f"The remote {remote!r} is not a name", "git -C PROJECT remote")
    scene = _scene(call)
    name = branch or _production_branch(scene)
    if not _BRANCH.fullmatch(name) or ".." in name:
        raise _usage(f"The branch {name!r} is not a name", "git -C PROJECT branch --list")
    call.say(f"Fetching {remote}/{name}")
    at = git_revert.fetch_branch(call.project, remote=remote, branch=name)
    world = _world(call, at, to=to, reason=reason, keep=keep_migrations, scene=scene)
    if world is None:
        return _nothing(call, at, to, keep=keep_migrations)
    schema = app_schema.judge_schema(call, world.target)
    error = app_schema.refusal(schema, call)
    if error is not None and not accept_schema:
        raise error
    protection, unread = _protection(call, name)
    by_pull = pull_request or bool(protection)
    held = held_back(scene.project, scene.live.id) if scene else None
    steps = [_make(call, world)]
    steps += _by_pull(call, world, reason=reason) if by_pull else [_push(call, world)]
    if scene is not None:
        steps.append(_deployed(call, world, by_pull=by_pull))
        if held is None:
            steps += [*health_steps(call), *watch_steps(call, watch_s)]
    listed = [f"{each.sha[:8]} {each.subject} ({each.author})" for each in world.undone]
    more = f" and {len(listed) - _LISTED} more" if len(listed) > _LISTED else ""
    notes = [
        f"Taken back: {'; '.join(listed[:_LISTED])}{more}.",
        schema.said,
        *schema.breaks,
        f"Stays as it is: {', '.join(world.revert.keep)}." if world.revert.keep else "",
        f"{name} takes no plain push, for it has {protection}: a pull request is opened, and a "
        "person merges it." if protection else "",
        unread,
        f"{held.title}. This commit does not either, until: opsctl rollback app forward."
        if held else "",
        "" if scene else "The settings have no vercel, so nobody watches the deployment.",
        "The commit is not signed, and no hook of the checkout runs.",
    ]  # fmt: skip
    return Plan(
        command="rollback code",
        environment=call.name,
        protected=call.environment.protected,
        title=f"Bring {name} back to {world.target[:12]}",
        steps=tuple(steps),
        notes=tuple(note for note in notes if note),
        facts={
            "branch": as_json(at),
            "revert": as_json(world.revert),
            "commit": world.commit,
            "counter": world.counter,
            "undone": [each.sha for each in world.undone],
            "schema": as_json(schema),
            "protection": protection,
        },
        estimate_s=180.0 + (watch_s if call.environment.health else 0.0),
    )


def _world(
    call: Call, at: Branch, *, to: str, reason: str, keep: bool, scene: Scene | None
) -> _World | None:
    """Work the commits out; None where the branch has that tree already."""
    folder = call.project
    target = _target(call, at, to, scene)
    if target == at.head:
        return None
    undone = git_revert.commits_between(folder, target, at.head)
    top = git_revert.top_of(folder)
    environment = call.environment.migrations
    kept = tuple(
        dict.fromkeys(
            str(PurePosixPath(top) / directory)
            for directory in (environment.supabase, environment.prisma)
        )
    )
    revert = Revert(
        parent=at.head,
        target=target,
        message=_message(at, target, undone, reason),
        identity=git_revert.committer(folder),
        at_s=int(time.time()),
        keep=kept if keep else (),
    )
    if git_revert.same_tree(folder, revert):
        return None
    commit, counter = git_revert.make_pair(folder, revert, keep_it=False)
    return _World(at, target, commit, counter, revert, undone)


def make_commits(call: Call, parts: str) -> Report:
    """Write the commits that a plan names into the checkout; they are the same every time.

    `parts` is a file of JSON, or `-` for standard input.
    """
    try:
        text = sys.stdin.read() if parts == "-" else Path(parts).read_text(encoding="utf-8")
        given = json.loads(text)
        revert = Revert(**{**given, "keep": tuple(given["keep"])})
    except (OSError, ValueError, TypeError, KeyError):
        raise _usage(
            "The parts of the commit were not understood", "opsctl rollback code"
        ) from None
    commit, _ = git_revert.make_pair(call.project, revert, keep_it=True)
    return Report(
        command="rollback code-commit",
        title=f"The checkout has {commit[:12]}",
        data={"commit": commit},
    )


def _make(call: Call, world: _World) -> Step:
    folder = call.project
    argv = ("opsctl", "rollback", "code-commit", "--env", call.name,
            "--quiet", "--parts", "-")  # fmt: skip
    return Step(
        id="commit",
        title=f"Make the commit {world.commit[:12]}: the tree of {world.target[:12]}",
        safety="idempotent",
        action=Command(
            argv, cwd=str(call.root), stdin=json.dumps(as_json(world.revert), sort_keys=True)
        ),
        check=git_revert.has_commits_probe(folder, world.commit, world.counter),
        detail=(f"on top of {world.branch.head[:12]}; nothing is checked out",),
    )


def _push(call: Call, world: _World) -> Step:
    folder, at = call.project, world.branch
    return Step(
        id="push",
        title=f"Push it to {at.remote}/{at.name}",
        safety="verify",
        action=git_revert.push(folder, world.commit, at),
        check=git_revert.pushed_probe(folder, world.commit, at),
        undo=Undo(
            title=f"Push the commit {world.counter[:12]}, which takes it back",
            action=git_revert.push(folder, world.counter, at),
            check=git_revert.pushed_probe(folder, world.counter, at),
        ),
        detail=("never forced: refused if the branch has moved meanwhile",),
    )


def _by_pull(call: Call, world: _World, *, reason: str) -> list[Step]:
    settings = call.environment.github
    if settings is None:
        raise _usage(
            "A pull request needs the repository",
            "add github.repository and github.token to the settings",
        )
    api, folder, at = GithubPulls(settings), call.project, world.branch
    head = Branch(at.remote, f"opsctl/rollback-{world.commit[:12]}", "")
    title = world.revert.message.partition("\n")[0]
    cwd = str(call.root)
    return [
        Step(
            id="push",
            title=f"Push it to {at.remote}/{head.name}",
            safety="verify",
            action=git_revert.push(folder, world.commit, head),
            check=git_revert.pushed_probe(folder, world.commit, head),
            undo=Undo(
                title=f"Delete {at.remote}/{head.name}",
                action=git_revert.delete_branch(folder, head),
                check=git_revert.gone_probe(folder, head),
            ),
        ),
        Step(
            id="pull-request",
            title=f"Open a pull request for {at.name}",
            safety="verify",
            action=api.open_pull(
                head=head.name, base=at.name, title=title, body=world.revert.message, cwd=cwd
            ),
            check=Probe(
                api.list_command(head.name, cwd=cwd),
                Expect(exit_code=0, contains=('"html_url"',), unsure=(1, 2, 4)),
            ),
            undo=Undo(
                title=f"Delete {at.remote}/{head.name}, which closes the pull request",
                action=git_revert.delete_branch(folder, head),
                check=git_revert.gone_probe(folder, head),
            ),
        ),
        Step(
            id="merge",
            title=f"Have the pull request for {at.name} merged",
            safety="manual",
            action=Manual(
                f"Review and merge the pull request of {head.name} into {at.name}. Confirm when "
                "it is merged.",
                link=f"https://github.com/{settings.repository}/pulls",
            ),
            check=own_probe(call, "code-merged", head.name, attempts=3),
            undo=Irreversible("a person merged it: revert it on GitHub"),
        ),
    ]


def _deployed(call: Call, world: _World, *, by_pull: bool) -> Step:
    which = ("--pull", f"opsctl/rollback-{world.commit[:12]}") if by_pull else (world.commit,)
    return Step(
        id="deployed",
        title="The deployment of that commit is ready, and live unless releases are held back",
        safety="idempotent",
        check=own_probe(
            call,
            "code-deployed",
            *which,
            "--wait",
            f"{_BUILD_S:g}",
            timeout_s=_BUILD_S + 120.0,
            tells=True,
        ),
        detail=("a build that fails or is cancelled ends it at once",),
    )


def _target(call: Call, at: Branch, to: str, scene: Scene | None) -> str:
    """Return the commit that is meant: `previous` is that of the release before."""
    if to == "previous":
        if scene is None:
            raise _usage(
                "There is nobody to ask what was live before",
                "name the commit: opsctl rollback code --to COMMIT",
            )
        before = [
            commit_of(each)
            for each in scene.targets
            if each.created_ms < scene.live.created_ms and commit_of(each) != scene.live.commit
        ]
        to = next((each for each in before if each), "")
        if not to:
            raise OpsError(
                "There is no release before that names a commit",
                why="Vercel lists none that was live",
                hint="name the commit: opsctl rollback code --to COMMIT",
                code="nothing-before",
            )
    found = git_revert.resolve(call.project, to)
    if found is None or not git_revert.is_ancestor(call.project, found, at.head):
        why = "the checkout does not know it" if found is None else "the branch was not built on it"
        raise OpsError(
            f"{to!r} is no commit of {at.remote}/{at.name}",
            why=why,
            hint=f"git -C {call.project} log --oneline {at.remote}/{at.name}",
            code="no-such-commit",
        )
    return found


def _protection(call: Call, branch: str) -> tuple[str, str]:
    """Return what keeps a plain push away, and a note where nobody could be asked.

    A branch that is protected all the same refuses the push: then nothing was changed.
    """
    if call.environment.github is None:
        return "", ""
    try:
        return GithubPulls(call.environment.github).protection(branch), ""
    except OpsError as error:
        return "", f"Whether {branch} is protected is not known: {error.why}."


def _message(at: Branch, target: str, undone: tuple[git_revert.Commit, ...], reason: str) -> str:
    lines = [f"Roll {at.name} back to {target[:12]}", ""]
    if reason:
        lines += [reason, ""]
    lines.append("This takes back, in one commit with the old tree:")
    lines += [f"- {each.sha[:12]} {each.subject}" for each in undone]
    return "\n".join(lines)


def _scene(call: Call) -> Scene | None:
    if call.environment.vercel is None:
        return None
    call.say("Asking what is live now")
    return read_scene(VercelApi(call.environment.vercel))


def _production_branch(scene: Scene | None) -> str:
    link = scene.project.link if scene else None
    return link.production_branch if link and link.production_branch else "main"


def _nothing(call: Call, at: Branch, to: str, *, keep: bool) -> Plan:
    return Plan(
        command="rollback code",
        environment=call.name,
        protected=call.environment.protected,
        title="Push nothing",
        steps=(),
        notes=(
            f"{at.remote}/{at.name} has the tree of {to} already"
            + (", but for the migrations, which stay." if keep else "."),
        ),
    )


def _usage(what: str, hint: str) -> OpsError:
    return OpsError(what, why="the call does not fit", hint=hint, code="usage", exit=Exit.USAGE)
