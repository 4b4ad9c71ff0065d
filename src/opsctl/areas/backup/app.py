"""Back up the application: its commit, deployments, variables and the names of its secrets."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import opsctl
from opsctl.adapters import git
from opsctl.adapters.app_backup import (
    AppBackup,
    AppManifest,
    StoredDeployment,
    StoredGit,
    StoredGithub,
    StoredGithubVariable,
    StoredVariable,
    StoredVercel,
    fingerprint,
    need_encryption,
    read_values,
    write_backup,
)
from opsctl.adapters.backup_list import utc_now
from opsctl.adapters.github import GithubApi
from opsctl.adapters.stores import Store, new_id, open_store
from opsctl.adapters.vercel import Deployment, Variables, VercelApi
from opsctl.core.errors import Exit, OpsError
from opsctl.core.report import Finding, Location, Report, Severity, Status, Table

if TYPE_CHECKING:
    from opsctl.core.call import Call
    from opsctl.core.settings import Github, Vercel

T = TypeVar("T")

_DEPLOYMENTS = 100
_NAMED = 30


@dataclass
class _Heard:
    """What one source said besides its data."""

    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def unread(self, what: str, error: OpsError) -> None:
        """Record something that could not be read."""
        self.findings.append(
            Finding(
                "app-unread",
                f"{what} could not be read",
                Status.UNKNOWN,
                evidence=f"{error.what}: {error.why}",
                location=Location(object=what),
                hint=error.hint,
            )
        )

    def attempt(self, what: str, read: Callable[[], T]) -> T | None:
        """Return what was read, or None and a finding."""
        try:
            return read()
        except OpsError as error:
            self.unread(what, error)
            return None


def back_up_app(call: Call, *, values: bool, to: str | None) -> Report:
    """Back up what the application is made of, beside its database.

    Git, Vercel and GitHub are read at the same time. What could not be read is a finding that
    is unknown (exit 3), and the rest is kept. With `values` the readable values of variables go
    into a file of their own, which is always encrypted. Raises OpsError
    `values-need-encryption` (exit 2), and `age-recipient` before anything is asked.
    """
    recipients = call.environment.backup.encrypt_to
    if values and not recipients:
        raise need_encryption()
    if recipients:
        from opsctl.adapters.age import check_recipients

        check_recipients(recipients)
    store = _store(call, to)
    for each in store.interrupted():
        call.say(f"Removing {each}, which was cut off")
        store.delete(each)
    key = secrets.token_hex(32)
    heard = (_Heard(), _Heard(), _Heard())
    call.say("Asking git, Vercel and GitHub")
    with ThreadPoolExecutor(max_workers=3) as pool:
        asked: tuple[Future[StoredGit | None], Future[_OfVercel], Future[StoredGithub | None]] = (
            pool.submit(_git, call.project, heard[0]),
            pool.submit(_vercel, call.environment.vercel, heard[1], key),
            pool.submit(_github, call.environment.github, heard[2]),
        )
        checkout, of_vercel, repository = (asked[0].result(), asked[1].result(), asked[2].result())
    findings = [finding for each in heard for finding in each.findings]
    notes = [note for each in heard for note in each.notes]
    if checkout is None and of_vercel.stored is None and repository is None:
        return _nothing(call, findings, notes)
    now = utc_now()
    backup = AppBackup(
        id=new_id(now),
        environment=call.name,
        made_at=now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        fingerprint_key=key,
        git=checkout,
        vercel=of_vercel.stored,
        github=repository,
        unread=tuple(
            f"{each.title}: {each.evidence}" for each in findings if each.rule == "app-unread"
        ),
    )
    live = of_vercel.stored.production if of_vercel.stored else None
    commit = (live.commit if live else "") or (checkout.commit if checkout else "")
    findings += _judge_commit(checkout, live)
    manifest = write_backup(
        store,
        backup,
        values=of_vercel.values if values else None,
        recipients=recipients,
        made_by=opsctl.__version__,
        commit=commit,
    )
    return _report(call, store, backup, manifest, findings=findings, notes=notes)


@dataclass(frozen=True)
class _OfVercel:
    """What Vercel said; `values` are by record id, and never shown."""

    stored: StoredVercel | None = None
    values: dict[str, str] = field(default_factory=dict, repr=False)


def _store(call: Call, to: str | None) -> Store:
    settings = call.environment.backup
    return open_store(
        to or settings.to,
        root=call.root,
        environment=f"{call.name}/app",
        storage=settings.storage,
    )


def _git(folder: Path, heard: _Heard) -> StoredGit | None:
    if not any((each / ".git").exists() for each in (folder, *folder.parents)):
        heard.notes.append(f"{folder} is no git checkout; nothing of git is in the backup.")
        return None
    found = heard.attempt("The git checkout", lambda: git.read_checkout(folder))
    if found is None:
        return None
    return StoredGit(
        commit=found.commit,
        branch=found.branch,
        dirty=found.dirty,
        on_remote=found.on_remote,
        tags=found.tags,
        remotes={remote.name: remote.url for remote in found.remotes},
    )


def _vercel(settings: Vercel | None, heard: _Heard, key: str) -> _OfVercel:
    if settings is None:
        heard.notes.append("The settings have no vercel; nothing of Vercel is in the backup.")
        return _OfVercel()
    api = VercelApi(settings)
    project = heard.attempt("The project on Vercel", api.project)
    if project is None:
        return _OfVercel()
    production = heard.attempt("What production on Vercel serves", lambda: api.production(project))
    listed = heard.attempt(
        "The deployments on Vercel",
        lambda: api.deployments(project, most=_DEPLOYMENTS, target="production"),
    )
    variables = heard.attempt("The environment variables on Vercel", api.variables)
    if production is not None and production.split:
        heard.findings.append(
            Finding(
                "production-split",
                "The production domains serve different deployments",
                Status.FAILED,
                Severity.WARNING,
                evidence=", ".join(
                    f"{each.name}: {each.deployment}" for each in production.domains
                ),
                hint="vercel promote status",
            )
        )
    if production is not None and production.deployment is None:
        heard.notes.append("Nothing is live in production on Vercel.")
    stored, values = (None, {}) if variables is None else _variables(api, variables, heard, key)
    return _OfVercel(
        StoredVercel(
            project=project.id,
            name=project.name,
            repository=project.link.repository if project.link else "",
            production_branch=project.link.production_branch if project.link else "",
            auto_assign=project.auto_assign,
            domains=None
            if production is None
            else {domain.name: domain.deployment for domain in production.domains},
            production=_stored(production.deployment)
            if production is not None and production.deployment is not None
            else None,
            deployments=None if listed is None else tuple(_stored(each) for each in listed[0]),
            deployments_complete=listed is not None and listed[1],
            variables=stored,
            hidden_variables=variables.hidden if variables is not None else 0,
        ),
        values,
    )


def _variables(
    api: VercelApi, found: Variables, heard: _Heard, key: str
) -> tuple[tuple[StoredVariable, ...], dict[str, str]]:
    if found.hidden:
        heard.findings.append(
            Finding(
                "app-unread",
                f"{found.hidden} production variables on Vercel are hidden",
                Status.UNKNOWN,
                evidence="the API says that it keeps them from this token",
                hint="use a token of somebody who may read production's variables",
            )
        )
    values, errors = read_values(api, found.variables)
    for each in found.variables:
        if each.id in errors:
            heard.unread(f"The value of {each.name} on Vercel", errors[each.id])
    unreadable = [
        each.name for each in found.variables if each.id not in values and each.id not in errors
    ]
    if unreadable:
        heard.notes.append(
            "Vercel never gives these values out, so the backup has their names alone: "
            f"{_names(unreadable)}. Keep them where you can read them."
        )
    stored = tuple(
        StoredVariable(
            id=each.id,
            name=each.name,
            targets=each.targets,
            custom=each.custom,
            type=each.type,
            branch=each.branch,
            updated_ms=each.updated_ms,
            fingerprint=fingerprint(values[each.id], key=key) if each.id in values else None,
        )
        for each in found.variables
    )
    return stored, values


def _github(settings: Github | None, heard: _Heard) -> StoredGithub | None:
    if settings is None:
        heard.notes.append("The settings have no github; nothing of GitHub is in the backup.")
        return None
    api, environment = GithubApi(settings), settings.environment
    of_it = f"of the environment {environment} on GitHub"
    repository = heard.attempt("The repository on GitHub", api.repository)
    if repository is None:
        return None
    kept = heard.attempt("The secrets on GitHub", api.secrets)
    variables = heard.attempt("The variables on GitHub", api.variables)
    own_secrets = own_variables = None
    if environment is not None:
        own_secrets = heard.attempt(f"The secrets {of_it}", lambda: api.secrets(environment))
        own_variables = heard.attempt(f"The variables {of_it}", lambda: api.variables(environment))
    names = [each.name for each in (*(kept or ()), *(own_secrets or ()))]
    if names:
        heard.notes.append(
            f"GitHub never gives the values of secrets out; the backup has {len(names)} names."
        )
    return StoredGithub(
        repository=repository.name,
        environment=environment,
        default_branch=repository.default_branch,
        head=repository.head,
        secrets=None if kept is None else {each.name: each.updated_at for each in kept},
        environment_secrets=None
        if own_secrets is None
        else {each.name: each.updated_at for each in own_secrets},
        variables=None
        if variables is None
        else tuple(StoredGithubVariable(**vars(each)) for each in variables),
        environment_variables=None
        if own_variables is None
        else tuple(StoredGithubVariable(**vars(each)) for each in own_variables),
    )


def _judge_commit(checkout: StoredGit | None, live: StoredDeployment | None) -> list[Finding]:
    """Warn of a commit that nobody could build again."""
    if checkout is None:
        return []
    found = []
    if checkout.dirty:
        found.append(
            Finding(
                "git-dirty",
                f"The checkout differs from its commit in {_count(checkout.dirty, 'file')}",
                Status.FAILED,
                Severity.WARNING,
                hint="git status; what is not committed is in no backup",
            )
        )
    if checkout.commit and not checkout.on_remote:
        found.append(
            Finding(
                "git-not-pushed",
                f"The commit {checkout.commit[:12]} is on no remote branch",
                Status.FAILED,
                Severity.WARNING,
                hint="git push; a commit that is only here is in no backup",
            )
        )
    if live is not None and live.commit and checkout.commit != live.commit:
        found.append(
            Finding(
                "git-not-live",
                "Production was built from another commit than the one checked out",
                Status.FAILED,
                Severity.NOTE,
                evidence=f"production: {live.commit[:12]}; here: {checkout.commit[:12] or 'none'}",
            )
        )
    return found


def _nothing(call: Call, findings: Sequence[Finding], notes: Sequence[str]) -> Report:
    if not findings:
        raise OpsError(
            "There is nothing of the application to back up",
            why=" ".join(notes),
            hint="add vercel or github to the environment's settings",
            code="nothing-to-back-up",
            exit=Exit.USAGE,
        )
    return Report(
        command="backup app",
        title="No backup of the application was made: nothing could be read",
        environment=call.name,
        findings=tuple(findings),
        notes=tuple(notes),
        data={"backup": None},
    )


def _report(
    call: Call,
    store: Store,
    backup: AppBackup,
    manifest: AppManifest,
    *,
    findings: Sequence[Finding],
    notes: Sequence[str],
) -> Report:
    live = backup.vercel.production if backup.vercel else None
    variables = (backup.vercel.variables if backup.vercel else None) or ()
    rows = [
        ("commit", manifest.commit[:12] or "not known"),
        ("live deployment", f"{live.id} ({live.url})" if live else "not known"),
        ("variables on Vercel", _read_of(variables)),
    ]
    if backup.github:
        kept = len(backup.github.secrets or ()) + len(backup.github.environment_secrets or ())
        rows.append(("secrets on GitHub", f"{kept}, names alone"))
        count = len(backup.github.variables or ()) + len(backup.github.environment_variables or ())
        rows.append(("variables on GitHub", str(count)))
    words = "is made" if manifest.complete else "is made, and something is missing in it"
    settled = [*notes, f"In {store.where}"]
    if manifest.holds_values:
        settled.append("It holds values, encrypted, in a file of their own.")
    return Report(
        command="backup app",
        title=f"The application's backup {backup.id} {words}",
        environment=call.name,
        findings=tuple(findings),
        tables=(Table("", ("what", "in it"), tuple(rows)),),
        notes=tuple(settled),
        data={
            "backup": backup.id,
            "where": store.where,
            "commit": manifest.commit,
            "deployment": live.id if live else None,
            "complete": manifest.complete,
            "encrypted": manifest.encrypted,
            "holds_values": manifest.holds_values,
            "variables": [
                {
                    "name": each.name,
                    "targets": list(each.targets),
                    "type": each.type,
                    "read": each.fingerprint is not None,
                }
                for each in variables
            ],
        },
    )


def _read_of(variables: Sequence[StoredVariable]) -> str:
    read = sum(each.fingerprint is not None for each in variables)
    return f"{len(variables)}, {read} of them read"


def _stored(deployment: Deployment) -> StoredDeployment:
    return StoredDeployment(
        **{name: getattr(deployment, name) for name in StoredDeployment.model_fields}
    )


def _names(names: Sequence[str]) -> str:
    unique = sorted(set(names))
    rest = len(unique) - _NAMED
    return ", ".join(unique[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
