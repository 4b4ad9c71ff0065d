"""The settings as frozen models. Every key is described here once; unknown keys are errors.

How they are found and merged is in `opsctl.core.sources`. Secrets are references
(`opsctl.core.secrets`), never values.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from opsctl.core.maintenance import Freeze, Maintenance
from opsctl.core.rotation import Rotation
from opsctl.core.setting_types import EnvironmentName as EnvironmentName
from opsctl.core.setting_types import Model, Place, SecretRef, State, WebAddress, Weekday


class Database(Model):
    """The environment's PostgreSQL."""

    url: SecretRef = Field(description="Connection URL, by reference; session mode, not port 6543.")
    pooler_url: SecretRef | None = Field(
        None, description="What the application connects to, where that is a pooler; by reference."
    )
    lock_timeout_s: float = Field(3.0, gt=0, le=60, description="Wait for a lock, in seconds.")
    lock_attempts: int = Field(5, ge=1, le=50, description="Attempts in all when a lock is held.")
    statement_timeout_s: float = Field(
        300.0, gt=0, le=86400, description="Longest a single statement of a change may take, in s."
    )


class Supabase(Model):
    """The environment's Supabase project."""

    ref: str | None = Field(None, description="Project reference, twenty letters.")
    url: WebAddress | None = Field(None, description="Project URL, https://REF.supabase.co.")
    access_token: SecretRef | None = Field(None, description="Management API token, by reference.")
    publishable_key: SecretRef | None = Field(
        None, description="Publishable or anon key, by reference."
    )
    secret_key: SecretRef | None = Field(
        None, description="Secret or service_role key, by reference."
    )
    api: WebAddress = Field("https://api.supabase.com", description="The Management API.")
    status_page: WebAddress = Field(
        "https://status.supabase.com", description="The provider's status page."
    )


class SignIn(Model):
    """A test user whose sign-in proves that sign-in works."""

    name: str = Field(description="Shown in reports; unique within the environment.")
    email: str = Field(description="E-mail address.")
    password: SecretRef = Field(description="Password, by reference.")


class Auth(Model):
    """What Supabase Auth is expected to be."""

    site_url: WebAddress | None = Field(
        None, description="Where the application lives: its origin must pass CORS."
    )
    redirect_urls: tuple[str, ...] = Field(
        (), description="Where sign-in may lead back to; no others are expected."
    )
    sign_ins: tuple[SignIn, ...] = Field((), description="Test users that sign in.")


class Vercel(Model):
    """The environment's Vercel project."""

    project: str = Field(description="Project id or name.")
    team: str | None = Field(None, description="Team id, if the project belongs to one.")
    token: SecretRef | None = Field(None, description="Access token, by reference.")
    api: WebAddress = Field("https://api.vercel.com", description="The REST API.")
    status_page: WebAddress = Field(
        "https://www.vercel-status.com", description="The provider's status page."
    )


class Github(Model):
    """The application's repository on GitHub."""

    repository: str = Field(pattern=r"^[^/\s]+/[^/\s]+$", description="OWNER/NAME.")
    token: SecretRef | None = Field(None, description="Access token, by reference.")
    environment: str | None = Field(
        None, description="GitHub's name of this environment, if its secrets are kept by one."
    )
    api: WebAddress = Field("https://api.github.com", description="The REST API.")


class HealthEndpoint(Model):
    """One URL that tells whether the application is well."""

    name: str = Field(description="Shown in reports; unique within the environment.")
    url: WebAddress = Field(description="Absolute URL.")
    method: Literal["GET", "HEAD", "OPTIONS", "POST"] = Field("GET", description="Method.")
    status: int = Field(200, ge=100, le=599, description="Status code of a healthy answer.")
    timeout_s: float = Field(30.0, gt=0, le=300, description="Total time allowed, in seconds.")
    headers: dict[str, SecretRef] = Field(
        default_factory=dict, description="Headers to send, each value by reference."
    )
    redirects: int = Field(
        0, ge=0, le=10, description="How many redirects within the same origin are followed."
    )
    contains: tuple[str, ...] = Field((), description="Texts that a healthy body holds.")
    matches: str | None = Field(
        None, description="Regular expression (RE2) that is found in a healthy body."
    )
    expect: dict[str, bool | int | float | str | None] = Field(
        default_factory=dict,
        description="JSON Pointer -> what must stand there in a healthy JSON body.",
    )
    response_ms: float | None = Field(
        None, gt=0, description="Slowest healthy answer here, in ms; none: limits.response_ms."
    )


class Limits(Model):
    """What is still well."""

    response_ms: float = Field(
        500.0, gt=0, description="Slowest healthy answer, in ms (runbook, 'Alerting Rules')."
    )
    database_connections: float = Field(
        0.8, gt=0, le=1, description="Highest healthy share of max_connections in use."
    )
    backup_age_h: float = Field(
        26.0, gt=0, description="Oldest acceptable newest backup, in hours: the target RPO."
    )
    verified_backup_age_h: float = Field(
        170.0, gt=0, description="Oldest acceptable newest backup that was verified, in hours."
    )
    recovery_time_s: float = Field(
        3600.0, gt=0, description="Longest acceptable recovery, in seconds: the target RTO."
    )
    query_p95_ms: float = Field(
        300.0, gt=0, description="Slowest acceptable P95 of a query, in ms (runbook, 'Database')."
    )
    database_size_gb: float | None = Field(
        None, gt=0, description="Size that the database may grow to, in GB; none: not judged."
    )
    disk_used: float = Field(0.85, gt=0, le=1, description="Highest healthy share of the disk.")
    memory_used: float = Field(
        0.9, gt=0, le=1, description="Highest healthy share of the database machine's memory."
    )
    transaction_s: float = Field(300.0, gt=0, description="Longest healthy transaction, in s.")
    idle_in_transaction_s: float = Field(
        60.0, gt=0, description="Longest healthy idle time within a transaction, in s."
    )
    blocked_s: float = Field(10.0, gt=0, description="Longest healthy wait for a lock, in s.")
    replication_lag_s: float = Field(30.0, gt=0, description="Longest healthy lag, in s.")
    certificate_days: float = Field(
        14.0, gt=0, description="Fewest healthy days until a certificate ends."
    )


class Migrations(Model):
    """Where the migrations lie, relative to `project`."""

    supabase: str = Field("supabase/migrations", description="Supabase's migrations directory.")
    prisma: str = Field("prisma/migrations", description="Prisma's migrations directory.")


class Rollback(Model):
    """How `rollback db` behaves here."""

    backup: Literal["none", "verified"] = Field(
        "none", description="verified: make a backup and verify it, first."
    )


class Keep(Model):
    """Which backups `backup prune` keeps: the newest of each of so many periods."""

    last: int = Field(7, ge=1, description="The newest ones.")
    daily: int = Field(14, ge=0, description="The newest of each day, in UTC.")
    weekly: int = Field(8, ge=0, description="The newest of each ISO week.")
    monthly: int = Field(12, ge=0, description="The newest of each month.")


class BackupQuery(Model):
    """One question that a restored backup must answer as expected."""

    name: str = Field(description="Shown in reports; unique within the environment.")
    query: str = Field(description="A SELECT; the first column of its first row is compared.")
    expect: str = Field("true", description="What it must be, as PostgreSQL prints it.")


class ObjectStorage(Model):
    """The S3-compatible storage of backups; without keys the usual AWS sources are asked."""

    endpoint: WebAddress | None = Field(None, description="Its address, where it is not AWS.")
    region: str = Field("us-east-1", description="Region.")
    access_key_id: SecretRef | None = Field(None, description="Key id, by reference.")
    secret_access_key: SecretRef | None = Field(None, description="Secret key, by reference.")


class Backup(Model):
    """Where backups go, which are kept, and what a restored one must answer."""

    to: str = Field(
        ".opsctl/backups", description="A directory beside this file, or s3://BUCKET/PREFIX."
    )
    encrypt_to: tuple[str, ...] = Field((), description="age recipients: public keys, age1...")
    identity: SecretRef | None = Field(
        None, description="age identity that decrypts them, by reference: AGE-SECRET-KEY-..."
    )
    jobs: int = Field(2, ge=1, le=32, description="Tables dumped, restored or hashed at once.")
    keep: Keep = Field(Keep(), description="Which backups `backup prune` keeps.")
    checks: tuple[BackupQuery, ...] = Field(
        (), description="What a restored backup must answer, too."
    )
    storage: ObjectStorage = Field(ObjectStorage(), description="The storage behind s3://.")


class Rls(Model):
    """Who may see and change which rows, and where that is written down."""

    policy: str = Field(
        "rls.yaml", description="The policy file: what each role may do, beside this file."
    )
    schemas: tuple[str, ...] = Field(("public",), description="Schemas that the API exposes.")
    accept: tuple[str, ...] = Field(
        (), description="Findings of `rls-smoke lint` that are meant: LINT OBJECT."
    )


class SlowQueries(Model):
    """What `slowquery` leaves out and how much it remembers."""

    ignore: tuple[str, ...] = Field(
        (), description="Statements that are expected to be slow: regular expressions, whole text."
    )
    snapshots: int = Field(200, ge=2, le=10000, description="Snapshots kept of each environment.")


AlertMetric = Literal["failure", "error_rate", "p95_ms", "database_connections", "memory", "disk"]


class AlertRule(Model):
    """When somebody is to be told, and how often."""

    name: str = Field(description="Shown in messages; unique within the environment.")
    metric: AlertMetric = Field(
        description="failure: whether a check fails now, 1 or 0; error_rate and p95_ms: over "
        "`over_s`; the others: shares in use."
    )
    above: float = Field(ge=0, description="It is told when the metric is above this.")
    for_s: float = Field(0.0, ge=0, description="And has been for so long, in seconds.")
    over_s: float = Field(
        21600.0, gt=0, description="Span that error_rate and p95_ms are taken over, in seconds."
    )
    samples: int = Field(
        1, ge=1, description="Fewest samples that carry the claim; with fewer it is unknown."
    )
    repeat_s: float = Field(
        14400.0, ge=0, description="Told again after so long while it lasts, in s; 0: never."
    )
    checks: tuple[str, ...] = Field((), description="Checks that it holds for; none named: all.")


_ALERTS = (
    AlertRule(name="health-check-failing", metric="failure", above=0.0, for_s=60.0),
    AlertRule(name="high-error-rate", metric="error_rate", above=0.01, over_s=86400.0, samples=100),
    # 59 samples carry a P95 at 95 % confidence.
    AlertRule(name="slow-responses", metric="p95_ms", above=500.0, samples=59),
    AlertRule(name="database-connections", metric="database_connections", above=0.8, for_s=60.0),
    AlertRule(name="high-memory", metric="memory", above=0.9, for_s=300.0),
    AlertRule(name="disk-space", metric="disk", above=0.85),
)
"""The runbook's 'Alerting Rules'."""


class Objectives(Model):
    """What the health history is held against (runbook, 'Key Metrics')."""

    uptime: float = Field(0.999, gt=0, lt=1, description="Least share of the time well.")
    p95_ms: float = Field(300.0, gt=0, description="Slowest P95 of the answers, in ms.")
    error_rate: float = Field(
        0.001, gt=0, lt=1, description="Share of failed checks that must not be reached."
    )
    coverage: float = Field(
        0.9, ge=0, le=1, description="Least share of the time that was looked at: a warning."
    )


class History(Model):
    """How dense the health history is meant to be, and how long."""

    every_s: float = Field(
        300.0, gt=0, le=86400, description="How often a check is due, in s (runbook: 5 minutes)."
    )
    retention_days: int = Field(400, ge=1, le=36500, description="Days that are kept.")


class MonthlyWindow(Model):
    """Maintenance that comes back every month; what happens in it is no downtime."""

    name: str = Field(description="Shown in reports.")
    on: str = Field(
        pattern=r"^((first|second|third|fourth|last) "
        r"(monday|tuesday|wednesday|thursday|friday|saturday|sunday)|[1-9]|[12][0-9]|3[01])$",
        description="first sunday, last friday, ...; or a day of the month: 1 to 31.",
    )
    at: str = Field(
        pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$", description="When it begins, HH:MM."
    )
    hours: float = Field(gt=0, le=24, description="How long it takes (runbook: 2 to 4 hours).")
    timezone: str = Field("UTC", description="Time zone of `at`, such as Europe/Berlin.")


class Channels(Model):
    """Whom to tell."""

    slack: SecretRef | None = Field(None, description="Slack bot token, by reference.")
    slack_channel: str = Field("#incidents", description="Slack channel.")
    slack_api: WebAddress = Field("https://slack.com/api", description="Slack's Web API.")
    email: tuple[str, ...] = Field((), description="E-mail addresses.")
    smtp: SecretRef | None = Field(
        None, description="Mail server as an Apprise address, mailtos://..., by reference."
    )
    urls: tuple[SecretRef, ...] = Field(
        (), description="Apprise addresses of further channels, each by reference."
    )
    statuspage: SecretRef | None = Field(None, description="Statuspage API key, by reference.")
    statuspage_page: str | None = Field(None, description="The page's id at Statuspage.")
    statuspage_api: WebAddress = Field("https://api.statuspage.io", description="Statuspage's API.")
    statuspage_components: tuple[str, ...] = Field(
        (), description="Ids of the page's components that an incident concerns."
    )
    status_file: str | None = Field(
        None, description="A page of HTML that says how it is, for those without Statuspage."
    )


IncidentSeverity = Literal["P0", "P1", "P2", "P3"]


class Contact(Model):
    """Somebody who is called in an incident (runbook, 'Emergency Contacts')."""

    role: Literal["on-call", "escalation", "security", "communication", "vendor"] = Field(
        description="on-call, escalation, security, communication or vendor."
    )
    name: str = Field(description="A person, a rota or a company.")
    reach: str = Field("", description="How to reach them: a number, a handle, a link.")
    slack: str | None = Field(
        None, pattern=r"^[UW][A-Z0-9]{6,20}$", description="Slack member id, to be mentioned."
    )


class BusinessHours(Model):
    """When P2 and P3 are seen to."""

    days: tuple[Weekday, ...] = Field(
        ("monday", "tuesday", "wednesday", "thursday", "friday"), description="Days of work."
    )
    begin: str = Field(
        "09:00", pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$", description="From, HH:MM."
    )
    end: str = Field("17:00", pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$", description="To, HH:MM.")
    timezone: str = Field("UTC", description="Time zone of both, such as Europe/Berlin.")


class Incidents(Model):
    """Who answers for incidents, and by when."""

    contacts: tuple[Contact, ...] = Field((), description="Who is called, in this order.")
    respond_min: float = Field(
        5.0, gt=0, description="Minutes until somebody is on a P0 or P1 (runbook: immediate)."
    )
    business_hours: BusinessHours = Field(
        BusinessHours(), description="When P2 and P3 are seen to."
    )
    update_every_min: float = Field(
        15.0, gt=0, le=1440, description="Minutes between updates (runbook, 'Status Page')."
    )
    update_for: tuple[IncidentSeverity, ...] = Field(
        ("P0", "P1"), description="Severities that are kept updated."
    )
    postmortem_h: float = Field(
        24.0, gt=0, description="Hours until the post-mortem is written (runbook, 'Status Page')."
    )
    postmortem_for: tuple[IncidentSeverity, ...] = Field(
        ("P0", "P1"), description="Severities that get one; security incidents always do."
    )
    public: dict[Literal["investigating", "identified", "monitoring", "resolved"], str] = Field(
        default_factory=dict,
        description="What the public is told in each state; $title and $systems are put in.",
    )


class SecretRule(Model):
    """One more kind of secret to look for."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$", description="Its name, in kebab-case.")
    description: str = Field(description="What it finds; the title of a finding.")
    pattern: str = Field(
        min_length=1,
        max_length=1000,
        description="Regular expression of RE2; a group named secret is the secret.",
    )
    keywords: tuple[str, ...] = Field(
        (), description="A match holds one of these; needed only where Hyperscan is missing."
    )
    severity: Literal["critical", "high", "medium"] = Field("high", description="How grave.")
    entropy: float = Field(0.0, ge=0, le=8, description="Least entropy of it, in bits a sign.")
    next: str = Field("replace it where it was issued", description="What to do about it.")


class SecretsScan(Model):
    """What `secrets-scan` also looks for, and what may stay."""

    allow_paths: tuple[str, ...] = Field(
        (), description="Files in which secrets may stay: globs as in .gitignore."
    )
    allow_values: tuple[str, ...] = Field(
        (), description="Values that are none: globs, or sha256:HEX of the value."
    )
    baseline: str | None = Field(
        None, description="File of known findings, beside this one: secrets-scan baseline create."
    )
    rules: tuple[SecretRule, ...] = Field((), description="More kinds of secrets to look for.")


class Environment(Model):
    """One environment: production, staging, sandbox, ..."""

    protected: bool = Field(
        False, description="An irreversible plan needs the environment's name typed."
    )
    approvals: int = Field(
        0,
        ge=0,
        le=5,
        description="How many others approve a change, where a team's state demands fewer.",
    )
    project: str = Field(".", description="The application's directory, beside this file.")
    database: Database | None = Field(None, description="Its PostgreSQL.")
    supabase: Supabase | None = Field(None, description="Its Supabase project.")
    vercel: Vercel | None = Field(None, description="Its Vercel project.")
    github: Github | None = Field(None, description="Its repository.")
    auth: Auth = Field(Auth(), description="What Supabase Auth is expected to be.")
    health: tuple[HealthEndpoint, ...] = Field((), description="Its health endpoints.")
    limits: Limits = Field(Limits(), description="What is still well.")
    migrations: Migrations = Field(Migrations(), description="Where its migrations lie.")
    rollback: Rollback = Field(Rollback(), description="How `rollback db` behaves.")
    backup: Backup = Field(Backup(), description="Where its backups go and which are kept.")
    rls: Rls = Field(Rls(), description="Who may see and change which rows.")
    slowquery: SlowQueries = Field(SlowQueries(), description="What `slowquery` leaves out.")
    objectives: Objectives = Field(Objectives(), description="What its history is held against.")
    history: History = Field(History(), description="How dense its health history is.")
    maintenance_windows: tuple[MonthlyWindow, ...] = Field(
        (), description="Maintenance that comes back every month."
    )
    maintenance: Maintenance = Field(Maintenance(), description="How maintenance is planned.")
    freezes: tuple[Freeze, ...] = Field((), description="When nothing is changed.")
    alerts: tuple[AlertRule, ...] = Field(_ALERTS, description="When to tell somebody.")
    witnesses: tuple[Place, ...] = Field(
        (), description="HOST:PORT of others: when they do not answer either, it is this machine."
    )
    channels: Channels = Field(Channels(), description="Whom to tell.")
    rotation: Rotation = Field(Rotation(), description="Where keys are kept, and how they age.")
    incidents: Incidents = Field(Incidents(), description="Who answers for incidents, and by when.")


class BundleBudget(Model):
    """How much the routes that fit a pattern may load first; 1 kB is 1000 bytes."""

    routes: str = Field("*", description="A route, or a pattern of routes; * is any signs.")
    js_kb: float | None = Field(None, gt=0, description="Most JavaScript of one of them, in kB.")
    css_kb: float | None = Field(None, gt=0, description="Most CSS of one of them, in kB.")
    growth_kb: float | None = Field(
        None, gt=0, description="Most JavaScript that one of them may gain on the base, in kB."
    )


class Bundle(Model):
    """What browsers download: where the build lies, and its budgets."""

    build: str | None = Field(
        None, description="The build's directory within the project, where it is no usual one."
    )
    files: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="Globs by name, for bundlers that leave no pages; each name is a route.",
    )
    stats: str | None = Field(
        None, description="webpack's stats or esbuild's metafile, where there are no source maps."
    )
    baseline: str = Field(
        "bundle-baseline.json", description="The committed JSON that --base REF reads."
    )
    compression: Literal["raw", "gzip", "brotli", "zstd"] = Field(
        "gzip", description="What the budgets mean."
    )
    compressions: tuple[Literal["gzip", "brotli", "zstd"], ...] = Field(
        ("gzip", "brotli", "zstd"), description="What is measured beside raw sizes."
    )
    gzip_engine: Literal["auto", "zlib", "libdeflate"] = Field(
        "auto", description="The library behind gzip; auto: libdeflate where it is installed."
    )
    gzip_level: int = Field(6, ge=1, le=9, description="Level of gzip.")
    brotli_level: int = Field(5, ge=0, le=11, description="Level of brotli.")
    zstd_level: int = Field(3, ge=1, le=22, description="Level of zstd.")
    budgets: tuple[BundleBudget, ...] = Field(
        (), description="Budgets of routes; of those that fit a route the first counts."
    )
    total_js_kb: float | None = Field(
        None, gt=0, description="Most JavaScript of the whole build, in kB."
    )
    total_css_kb: float | None = Field(None, gt=0, description="Most CSS of it, in kB.")
    run_timeout_s: float = Field(
        1800.0, gt=0, le=86400, description="Longest that --run may take, in seconds."
    )


class Settings(Model):
    """The whole settings file."""

    version: Literal[1] = Field(1, description="Version of this file's format.")
    default_environment: str | None = Field(
        None, description="Used without --env; not needed when there is one environment."
    )
    state: State = Field(
        ".opsctl/state.db",
        description="Journal, locks and history: a file, relative to this one; or a team's "
        "PostgreSQL, postgresql://USER@HOST/NAME without a password, or by secret reference.",
    )
    bundle: Bundle = Field(Bundle(), description="What browsers download, and its budgets.")
    secrets_scan: SecretsScan = Field(
        SecretsScan(), description="What `secrets-scan` looks for and what may stay."
    )
    environments: dict[EnvironmentName, Environment] = Field(
        default_factory=dict, description="The environments by name."
    )
