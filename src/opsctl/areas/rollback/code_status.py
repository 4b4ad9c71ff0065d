"""Look whether a commit was merged, built and is live, as the plan of `rollback code` does."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from opsctl.adapters.github_pulls import GithubPulls
from opsctl.adapters.vercel import Deployment, VercelApi
from opsctl.adapters.vercel_release import held_back
from opsctl.areas.rollback.app_facts import settings_of
from opsctl.core.errors import Exit, OpsError
from opsctl.core.report import Finding, Report, Status

if TYPE_CHECKING:
    from opsctl.core.call import Call

_PAUSE_S = 3.0
_FAILED = frozenset({"ERROR", "CANCELED", "BLOCKED"})


def check_merged(call: Call, head: str) -> Report:
    """Check that the pull request of a branch was merged: exit 0 or 1."""
    commit = _merged_as(call, head)
    said = f"It was merged as {commit[:12]}" if commit else f"No pull request of {head} is merged"
    return _report("code-merged", said, Status.OK if commit else Status.FAILED)


def check_deployed(call: Call, *, commit: str, pull: str | None, wait_s: float) -> Report:
    """Wait until a commit's production deployment is ready and live.

    Exit 1 where its build failed or was cancelled, 3 where it is not known within `wait_s`.
    """
    if pull is not None:
        commit = _merged_as(call, pull)
    if not commit:
        return _report("code-deployed", "Nothing is merged yet", Status.FAILED)
    api = VercelApi(settings_of(call))
    deadline = time.monotonic() + wait_s
    said = ""
    while True:
        now, status = _look(api, commit)
        if status is not Status.UNKNOWN or time.monotonic() + _PAUSE_S > deadline:
            return _report("code-deployed", now, status)
        if now != said:
            said = now
            call.say(said)
        time.sleep(_PAUSE_S)


def _look(api: VercelApi, commit: str) -> tuple[str, Status]:
    project = api.project()
    found, _ = api.deployments(project, most=20, target="production", sha=commit)
    own = [each for each in found if each.commit == commit]
    if not own:
        return f"Vercel has no production build of {commit[:12]} yet", Status.UNKNOWN
    newest: Deployment = max(own, key=lambda each: each.created_ms)
    if newest.state in _FAILED:
        return f"The build {newest.id} ended as {newest.state}: production stays", Status.FAILED
    if newest.state != "READY":
        return f"The build {newest.id} is {newest.state}", Status.UNKNOWN
    production = api.production(project)
    live = production.deployment
    if live is not None and live.commit == commit and not production.split:
        return f"{live.id} is built of {commit[:12]} and live", Status.OK
    held = held_back(project, live.id if live else None)
    if held is not None:
        return f"{newest.id} is built. {held.title}: opsctl rollback app forward", Status.OK
    return f"{newest.id} is built and not live yet", Status.UNKNOWN


def _merged_as(call: Call, head: str) -> str:
    settings = call.environment.github
    if settings is None:
        raise OpsError(
            "The pull request could not be looked at",
            why="the environment has no github in the settings",
            hint="add github.repository and github.token to the settings",
            code="no-github",
            exit=Exit.UNKNOWN,
        )
    pulls = GithubPulls(settings).pulls_from(head)
    return next((each.merged_as for each in pulls if each.merged_as), "")


def _report(command: str, said: str, status: Status) -> Report:
    return Report(
        command=f"rollback {command}",
        title=said,
        findings=(Finding(command, said, status),),
        text=said,  # a plan quotes the last line, unfolded
        data={"said": said},
    )
