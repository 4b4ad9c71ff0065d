"""Bring the application back: point production to the deployment that a backup recorded."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from opsctl.adapters.app_backup import (
    AppBackup,
    StoredGithub,
    StoredVercel,
    choose_backup,
    fingerprint,
    read_backup,
    read_values,
)
from opsctl.adapters.github import GithubApi
from opsctl.adapters.health_watch import watch
from opsctl.adapters.http import Fetched, endpoint_probe
from opsctl.adapters.stores import open_store
from opsctl.adapters.vercel import Deployment, Production, Project, VercelApi
from opsctl.core.action import Command, Expect, Manual, Probe
from opsctl.core.errors import Exit, OpsError
from opsctl.core.plan import Irreversible, Plan, Step, Undo
from opsctl.core.progress import duration
from opsctl.core.report import Finding, Location, Report, Severity, Status

if TYPE_CHECKING:
    from opsctl.core.call import Call
    from opsctl.core.settings import HealthEndpoint, Vercel

_ATTEMPTS, _PAUSE_S = 60, 1.0
"""How long a promotion, and each domain after the first, is waited for."""

_WATCH_PAUSE_S = 5.0
_NAMED = 12

_COMMIT = re.compile(r"[0-9a-f]{7,64}")

Key = tuple[str, ...]
"""What tells a variable from others: name, target and branch."""


def plan_restore_app(
    call: Call, *, backup: str | None, watch_s: float, from_: str | None = None
) -> Plan:
    """Return the plan that brings the application of a backup, the newest one, back live.

    The deployment that was live is promoted: that builds nothing. If it is gone, the newest
    ready production deployment of the same commit is; if there is none, a person has to build
    the commit. What is missing or changed among variables and secrets is told, not changed:
    values of secrets are in no backup that could be read back. `watch_s` is how long the health
    endpoints are watched afterwards, in seconds; 0 leaves it out.

    Raises OpsError `no-vercel`, `no-such-backup`, `backup-damaged`, `backup-incomplete`,
    `no-production-domain`, and what the API raises.
    """
    settings = _settings(call)
    store = open_store(
        from_ or call.environment.backup.to,
        root=call.root,
        environment=f"{call.name}/app",
        storage=call.environment.backup.storage,
    )
    manifest = choose_backup(store, backup)
    found = read_backup(store, manifest, identity=call.environment.backup.identity)
    api = VercelApi(settings)
    call.say("Asking what is live now")
    project = api.project()
    production = api.production_by_domain(project)
    commit, chosen, why = _choose(api, project, found)
    call.say("Comparing variables and secrets")
    with ThreadPoolExecutor(max_workers=2) as pool:
        asked = (
            pool.submit(_compare_vercel, api, found),
            pool.submit(_compare_github, call, found.github),
        )
        differences = [*asked[0].result(), *asked[1].result()]
    steps = [
        *_promotion(call, api, project, production, chosen, commit),
        *_health(call.environment.health),
        *_watch(call, watch_s),
    ]
    notes = [why, *_warnings(found, project, production, chosen), *differences]
    if watch_s > 0 and not call.environment.health:
        notes.append("The settings have no health endpoint, so nobody watches it afterwards.")
    return Plan(
        command="restore app",
        environment=call.name,
        protected=call.environment.protected,
        title=f"Bring the application back to {_commit(commit)}, from the backup {found.id}",
        steps=tuple(steps),
        notes=tuple(note for note in notes if note),
        facts={
            "backup": found.id,
            "commit": commit,
            "chosen": asdict(chosen) if chosen else None,
            "live": asdict(production.deployment) if production.deployment else None,
            "domains": {domain.name: domain.deployment for domain in production.domains},
            "auto_assign": project.auto_assign,
            "differences": differences,
        },
        estimate_s=15.0 + (watch_s if call.environment.health else 0.0),
    )


def watch_health(call: Call, *, seconds: float, pause_s: float = _WATCH_PAUSE_S) -> Report:
    """Ask every health endpoint again and again, and fail at the second failure in a row of one.

    All are asked once at least; a single failure at the end is looked into once more. An
    endpoint that could not be asked twice in a row (no secret, no network) is unknown, exit 3.
    """
    endpoints = call.environment.health
    if not endpoints:
        raise OpsError(
            "There is nothing to watch",
            why="the environment has no health endpoint",
            hint="add one under `health` in the settings",
            code="no-health-endpoint",
            exit=Exit.UNKNOWN,
        )
    watched = watch(endpoints, seconds=seconds, pause_s=pause_s, say=call.say)
    findings = [_ill(each.endpoint, each.answer, each.wrong) for each in watched.ill]
    took = duration(watched.took_s)
    ill = {finding.location.object for finding in findings if finding.location}
    findings += [
        Finding(
            "health-flaky",
            f"{endpoint.name} failed {watched.failures[endpoint.name]} of {watched.polls} times",
            Status.FAILED,
            Severity.WARNING,
            location=Location(object=endpoint.url),
            hint="never twice in a row",
        )
        for endpoint in endpoints
        if endpoint.name in watched.failures and endpoint.url not in ill
    ]
    stopped = ", ".join(each.name for each in endpoints if each.url in ill)
    return Report(
        command="restore watch",
        title=f"Stopped watching after {took}: {stopped} failed twice in a row"
        if ill
        else f"Watched for {took}: all is well",
        environment=call.name,
        findings=tuple(findings),
        # The last line is what the run that called this shows.
        notes=tuple(
            f"{finding.title}: {finding.evidence}"
            for finding in findings
            if finding.rule == "health-watch"
        ),
        data={"polls": watched.polls, "failures": dict(watched.failures)},
    )


def check_serving(call: Call, *, commit: str) -> Report:
    """Check that every production domain serves a deployment of this commit.

    Exit 0 if so, 1 if another one is live, 3 if it could not be asked.
    """
    api = VercelApi(_settings(call))
    production = api.production(api.project())
    live = production.deployment
    wrong = ""
    if live is None:
        wrong = "nothing is live"
    elif live.commit != commit:
        wrong = f"{live.id} is live, of {_commit(live.commit)}"
    elif production.split:
        wrong = "the production domains serve different deployments"
    return Report(
        command="restore serving",
        title=f"Production serves {'ANOTHER commit than ' if wrong else ''}{_commit(commit)}",
        environment=call.name,
        findings=(
            Finding(
                "serves-commit",
                wrong or f"Production serves {_commit(commit)}",
                Status.FAILED if wrong else Status.OK,
                hint="vercel ls --environment production" if wrong else "",
            ),
        ),
        notes=(wrong,) if wrong else (),
        data={"commit": commit, "deployment": live.id if live else None},
    )


def _settings(call: Call) -> Vercel:
    settings = call.environment.vercel
    if settings is None:
        raise OpsError(
            "The application cannot be brought back from here",
            why="the environment has no vercel in the settings",
            hint="add vercel.project and vercel.token to the settings",
            code="no-vercel",
        )
    return settings


def _choose(
    api: VercelApi, project: Project, backup: AppBackup
) -> tuple[str, Deployment | None, str]:
    """Return the commit, the deployment to promote if there is one, and why it is that."""
    recorded = backup.vercel.production if backup.vercel else None
    commit = recorded.commit if recorded else (backup.git.commit if backup.git else "")
    if not _COMMIT.fullmatch(commit):
        commit = ""  # it becomes an argument: nothing else may
    if recorded is None and not commit:
        raise _incomplete(
            f"The backup {backup.id} does not say what was live",
            "; ".join(backup.unread) or "nothing was live when it was made",
        )
    if recorded is not None:
        there = api.deployment(recorded.id)
        if there is not None and _can_be_promoted(there):
            return commit, there, f"{there.id} was live when the backup was made, and is ready."
        gone = (
            f"{recorded.id}, which was live when the backup was made, "
            + ("is gone" if there is None else f"is {there.state} now")
        )  # fmt: skip
    else:
        gone = "The backup does not say what was live, only the commit"
    if commit:
        listed, _ = api.deployments(
            project, most=200, target="production", state="READY", sha=commit
        )
        for each in listed:
            if each.commit == commit and _can_be_promoted(each):
                return commit, each, f"{gone}; {each.id} is the newest ready one of that commit."
    else:
        raise _incomplete(
            f"What the backup {backup.id} recorded cannot be brought back",
            f"{gone}, and it was built from no commit",
        )
    return commit, None, f"{gone}, and no ready production deployment of that commit is left."


def _incomplete(what: str, why: str) -> OpsError:
    hint = "name another one: opsctl restore app BACKUP"
    return OpsError(what, why=why, hint=hint, code="backup-incomplete", exit=Exit.UNKNOWN)


def _can_be_promoted(deployment: Deployment) -> bool:
    # Promoting one that was built for something else builds anew, and answers before it is done.
    return deployment.state == "READY" and deployment.target == "production"


def _promotion(
    call: Call,
    api: VercelApi,
    project: Project,
    production: Production,
    chosen: Deployment | None,
    commit: str,
) -> list[Step]:
    live = production.deployment
    if chosen is None:
        return [_by_hand(call, project, commit)]
    behind = [each.name for each in production.domains if each.deployment != chosen.id]
    domain = behind[0] if behind else production.domains[0].name

    def serves(deployment: Deployment) -> Probe:
        return api.points_to_probe(domain, deployment.id, attempts=_ATTEMPTS, pause_s=_PAUSE_S)

    if not behind:
        step = Step(
            id="serving",
            title=f"{domain} serves {chosen.id} already",
            safety="idempotent",
            check=serves(chosen),
        )
        return [step, *_others_follow(api, production, chosen, domain)]
    undo: Undo | Irreversible = Irreversible("nothing was live before")
    if live is not None and live.id != chosen.id:
        undo = Undo(
            title=f"Promote {live.id} again ({_commit(live.commit)})",
            action=api.promote(project, live),
            check=serves(live),
        )
    elif live is not None:
        undo = Irreversible("it was live before, and only other domains are moved")
    step = Step(
        id="promote",
        title=f"Promote {chosen.id} to production ({_commit(commit)})",
        safety="verify",
        action=api.promote(project, chosen),
        check=serves(chosen),
        undo=undo,
        detail=(f"https://{chosen.url}", f"until {domain} points to it; nothing is built"),
    )
    return [step, *_others_follow(api, production, chosen, domain)]


def _by_hand(call: Call, project: Project, commit: str) -> Step:
    link = project.link
    where = f" of {link.repository}" if link else ""
    branch = f" {link.production_branch}" if link else ""
    return Step(
        id="deploy",
        title=f"Deploy the commit {commit[:12]} to production",
        safety="manual",
        action=Manual(
            f"Build and deploy the commit {commit}{where} to production: check it out, then "
            f"`vercel deploy --prod`, or push it to the production branch{branch}. Confirm when "
            "it is live.",
            link="https://vercel.com/dashboard",
        ),
        check=Probe(
            Command(
                _opsctl(call, "serving", commit),
                cwd=str(call.root),
                timeout_s=120.0,
            ),
            Expect(exit_code=0, unsure=(int(Exit.UNKNOWN),)),
        ),
        undo=Irreversible("a person built and deployed it"),
    )


def _others_follow(
    api: VercelApi, production: Production, chosen: Deployment, first: str
) -> list[Step]:
    return [
        Step(
            id=f"domain-{domain.name}",
            title=f"{domain.name} points to {chosen.id}, too",
            safety="idempotent",
            check=api.points_to_probe(domain.name, chosen.id, attempts=_ATTEMPTS, pause_s=_PAUSE_S),
        )
        for domain in production.domains
        if domain.name != first
    ]


def _health(endpoints: Iterable[HealthEndpoint]) -> list[Step]:
    return [
        Step(
            id=f"health-{endpoint.name}",
            title=f"{endpoint.name} answers {endpoint.status}",
            safety="idempotent",
            check=endpoint_probe(endpoint),
            detail=(endpoint.url,),
        )
        for endpoint in endpoints
    ]


def _watch(call: Call, watch_s: float) -> list[Step]:
    if watch_s <= 0 or not call.environment.health:
        return []
    names = ", ".join(each.name for each in call.environment.health)
    return [
        Step(
            id="watch",
            title=f"{names} stays well for {duration(watch_s)}",
            safety="idempotent",
            check=Probe(
                Command(
                    _opsctl(call, "watch", "--for", f"{watch_s:g}"),
                    cwd=str(call.root),
                    timeout_s=watch_s + 120.0,
                ),
                Expect(exit_code=0),
            ),
            detail=("it ends at the second failure in a row of one of them",),
        )
    ]


def _opsctl(call: Call, *words: str) -> tuple[str, ...]:
    return ("opsctl", "restore", *words, "--env", call.name, "--quiet")


def _warnings(
    backup: AppBackup, project: Project, production: Production, chosen: Deployment | None
) -> list[str]:
    """Return what to know before agreeing."""
    notes = []
    if backup.unread:
        notes.append(f"The backup is not complete: {'; '.join(backup.unread)}.")
    if production.split:
        notes.append("The production domains serve different deployments now.")
    if chosen is not None:
        notes.append(
            "The deployment runs with the variables it was built with; changed ones hold for new "
            "builds alone."
        )
    if project.auto_assign is False:
        notes.append(
            "New builds do not go live by themselves now, as after a rollback; promoting ends "
            "that, and undoing this does not bring it back."
        )
    branch = project.link.production_branch if project.link else ""
    if branch:
        notes.append(f"The next push to {branch} goes live in its place.")
    return notes


def _compare_vercel(api: VercelApi, backup: AppBackup) -> list[str]:
    """Return what is missing or different among Vercel's variables, in words, without values."""
    if backup.vercel is None or backup.vercel.variables is None:
        return ["The backup has no variables of Vercel to compare with."]
    try:
        found = api.variables()
    except OpsError as error:
        return [f"Variables on Vercel could not be compared: {error.why}."]
    values, errors = read_values(api, found.variables)
    key = backup.fingerprint_key
    # One record may hold for several targets, and be split up or joined meanwhile.
    now = {
        place: (
            each.updated_ms,
            fingerprint(values[each.id], key=key) if each.id in values else None,
        )
        for each in found.variables
        for place in _places(each.name, (*each.targets, *each.custom), each.branch)
    }
    then = _stored_places(backup.vercel)
    missing = [place for place in then if place not in now]
    changed, rewritten = [], []
    for place, (updated, mark) in then.items():
        if place not in now:
            continue
        updated_now, mark_now = now[place]
        if mark is not None and mark_now is not None:
            if mark != mark_now:
                changed.append(place)
        elif updated != updated_now:
            rewritten.append(place)
    notes = [
        _about("Missing on Vercel", missing),
        _about("Changed on Vercel since the backup", changed),
        _about("Written on Vercel since the backup, unreadable, so perhaps changed", rewritten),
        _about("New on Vercel since the backup", [place for place in now if place not in then]),
    ]
    if errors:
        notes.append(f"The values of {len(errors)} variables on Vercel could not be compared.")
    if found.hidden or backup.vercel.hidden_variables:
        notes.append("Vercel hides production variables from this token: they were not compared.")
    return [note for note in notes if note]


def _stored_places(stored: StoredVercel) -> dict[Key, tuple[int | None, str | None]]:
    return {
        place: (each.updated_ms, each.fingerprint)
        for each in stored.variables or ()
        for place in _places(each.name, (*each.targets, *each.custom), each.branch)
    }


def _places(name: str, targets: Sequence[str], branch: str) -> list[Key]:
    return [(name, target, branch) for target in targets]


def _compare_github(call: Call, stored: StoredGithub | None) -> list[str]:
    """Return what is missing or different on GitHub, in words, without values."""
    settings = call.environment.github
    if stored is None or settings is None:
        return [] if settings is None else ["The backup has nothing of GitHub to compare with."]
    api, environment = GithubApi(settings), stored.environment
    notes: list[str] = []

    def compare(
        what: str, then: Mapping[str, str] | None, read: Callable[[], Mapping[str, str]]
    ) -> None:
        if then is None:
            return
        try:
            now = read()
        except OpsError as error:
            notes.append(f"The {what} could not be compared: {error.why}.")
            return
        changed = [(name,) for name, mark in then.items() if now.get(name, mark) != mark]
        notes.append(_about(f"Missing among the {what}", [(n,) for n in then if n not in now]))
        notes.append(_about(f"Written since the backup among the {what}", changed))

    def marks(kept: Iterable[Any]) -> dict[str, str]:
        return {each.name: each.updated_at for each in kept}

    def texts(kept: Iterable[Any]) -> dict[str, str]:
        return {each.name: each.value for each in kept}

    compare("secrets on GitHub", stored.secrets, lambda: marks(api.secrets()))
    compare(
        "variables on GitHub",
        None if stored.variables is None else texts(stored.variables),
        lambda: texts(api.variables()),
    )
    if environment is not None:
        of_it = f"of the environment {environment} on GitHub"
        compare(
            f"secrets {of_it}", stored.environment_secrets, lambda: marks(api.secrets(environment))
        )
        own = stored.environment_variables
        compare(
            f"variables {of_it}",
            None if own is None else texts(own),
            lambda: texts(api.variables(environment)),
        )
    return [note for note in notes if note]


def _about(what: str, places: Sequence[Key]) -> str:
    """Return a sentence that names variables with the targets of each; empty for none."""
    if not places:
        return ""
    grouped: dict[tuple[str, str], list[str]] = {}
    for name, *rest in places:
        branch = rest[1] if len(rest) > 1 else ""
        grouped.setdefault((name, branch), []).extend(rest[:1])
    words = []
    for (name, branch), targets in sorted(grouped.items()):
        inside = ", ".join(sorted(targets)) + (f" of {branch}" if branch else "")
        words.append(f"{name} ({inside})" if inside else name)
    rest_of = len(words) - _NAMED
    return f"{what}: {', '.join(words[:_NAMED])}" + (
        f" and {rest_of} more." if rest_of > 0 else "."
    )


def _ill(endpoint: HealthEndpoint, answer: Fetched, wrong: str) -> Finding:
    not_asked = answer.failure in ("secret", "network")
    return Finding(
        "health-watch",
        f"{endpoint.name} failed twice in a row",
        Status.UNKNOWN if not_asked else Status.FAILED,
        evidence=wrong,
        location=Location(object=endpoint.url),
        hint=f"curl -i {endpoint.url}",
        took_ms=answer.took_ms,
    )


def _commit(commit: str) -> str:
    return f"commit {commit[:12]}" if commit else "an unknown commit"
