"""The settings as frozen models. Every key is described here once; unknown keys are errors.

How they are found and merged is in `opsctl.core.sources`. Secrets are references
(`opsctl.core.secrets`), never values.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
)

_REFERENCE = r"(env:[A-Za-z_][A-Za-z0-9_]*|file:.+|keyring:[^/]+/.+|cmd:.+)"


def _reference(text: str, info: ValidationInfo) -> str:
    if not re.fullmatch(_REFERENCE, text, re.DOTALL):
        # The value is not repeated: it may be the secret itself.
        raise ValueError(
            "a secret is named by reference: env:NAME, file:PATH, "
            "keyring:SERVICE/NAME or cmd:COMMAND"
        )
    root = (info.context or {}).get("root")
    if text.startswith("file:") and root is not None:
        # A secret is read from anywhere, so its path may not depend on where that is.
        return f"file:{Path(root) / os.path.expanduser(text.removeprefix('file:'))}"  # noqa: PTH111
    return text


def _web_address(text: str) -> str:
    if not re.match(r"https?://[^/?#@\s]+([/?#]|$)", text):
        # Not repeated either: a name and a password may stand before its @.
        raise ValueError("an address begins with http:// or https:// and holds no password")
    return text


def _file(text: str) -> str:
    if not text or "://" in text:
        raise ValueError("the state is kept in a file: a path, not an address")
    return text


SecretRef = Annotated[
    str,
    AfterValidator(_reference),
    WithJsonSchema({"type": "string", "pattern": f"^{_REFERENCE}$"}),
]
"""A reference to a secret: `env:NAME`, `file:PATH`, `keyring:SERVICE/NAME`, `cmd:COMMAND`.

A relative `file:` path starts at the root, when the settings are validated with one.
"""

WebAddress = Annotated[
    str,
    AfterValidator(_web_address),
    WithJsonSchema({"type": "string", "pattern": "^https?://[^/?#@\\s]+([/?#]|$)"}),
]
"""An absolute URL without a password: what the settings hold is shown to everybody."""

EnvironmentName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$")]
"""Letters, digits, - and _: the name is typed to agree and stands in file names."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class Database(_Model):
    """The environment's PostgreSQL."""

    url: SecretRef = Field(description="Connection URL, by reference; session mode, not port 6543.")
    lock_timeout_s: float = Field(3.0, gt=0, le=60, description="Wait for a lock, in seconds.")
    lock_attempts: int = Field(5, ge=1, le=50, description="Attempts in all when a lock is held.")
    statement_timeout_s: float = Field(
        300.0, gt=0, le=86400, description="Longest a single statement of a change may take, in s."
    )


class Supabase(_Model):
    """The environment's Supabase project."""

    ref: str | None = Field(None, description="Project reference, twenty letters.")
    url: WebAddress | None = Field(None, description="Project URL, https://REF.supabase.co.")
    access_token: SecretRef | None = Field(None, description="Management API token, by reference.")


class Vercel(_Model):
    """The environment's Vercel project."""

    project: str = Field(description="Project id or name.")
    team: str | None = Field(None, description="Team id, if the project belongs to one.")
    token: SecretRef | None = Field(None, description="Access token, by reference.")


class HealthEndpoint(_Model):
    """One URL that tells whether the application is well."""

    name: str = Field(description="Shown in reports; unique within the environment.")
    url: WebAddress = Field(description="Absolute URL; redirects are not followed.")
    status: int = Field(200, ge=100, le=599, description="Status code of a healthy answer.")
    timeout_s: float = Field(30.0, gt=0, le=300, description="Total time allowed, in seconds.")
    headers: dict[str, SecretRef] = Field(
        default_factory=dict, description="Headers to send, each value by reference."
    )


class Limits(_Model):
    """What is still well."""

    response_ms: float = Field(
        500.0, gt=0, description="Slowest healthy answer, in ms (runbook, 'Alerting Rules')."
    )
    database_connections: float = Field(
        0.8, gt=0, le=1, description="Highest healthy share of max_connections in use."
    )
    backup_age_h: float = Field(26.0, gt=0, description="Oldest acceptable newest backup, hours.")


class Migrations(_Model):
    """Where the migrations lie, relative to `project`."""

    supabase: str = Field("supabase/migrations", description="Supabase's migrations directory.")
    prisma: str = Field("prisma/migrations", description="Prisma's migrations directory.")


class Rollback(_Model):
    """How `rollback db` behaves here."""

    backup: Literal["none", "verified"] = Field(
        "none", description="verified: dump, restore into a scratch server and compare, first."
    )
    backup_dir: str = Field(".opsctl/backups", description="Where such dumps go, beside the file.")


class Channels(_Model):
    """Whom to tell."""

    slack: SecretRef | None = Field(None, description="Slack bot token, by reference.")
    slack_channel: str = Field("#incidents", description="Slack channel.")
    email: tuple[str, ...] = Field((), description="E-mail addresses.")


class Environment(_Model):
    """One environment: production, staging, sandbox, ..."""

    protected: bool = Field(
        False, description="An irreversible plan needs the environment's name typed."
    )
    project: str = Field(".", description="The application's directory, beside this file.")
    database: Database | None = Field(None, description="Its PostgreSQL.")
    supabase: Supabase | None = Field(None, description="Its Supabase project.")
    vercel: Vercel | None = Field(None, description="Its Vercel project.")
    health: tuple[HealthEndpoint, ...] = Field((), description="Its health endpoints.")
    limits: Limits = Field(Limits(), description="What is still well.")
    migrations: Migrations = Field(Migrations(), description="Where its migrations lie.")
    rollback: Rollback = Field(Rollback(), description="How `rollback db` behaves.")
    channels: Channels = Field(Channels(), description="Whom to tell.")


class Settings(_Model):
    """The whole settings file."""

    version: Literal[1] = Field(1, description="Version of this file's format.")
    default_environment: str | None = Field(
        None, description="Used without --env; not needed when there is one environment."
    )
    state: Annotated[str, AfterValidator(_file)] = Field(
        ".opsctl/state.db",
        description="Journal, locks and history: a file, relative to this one.",
    )
    environments: dict[EnvironmentName, Environment] = Field(
        default_factory=dict, description="The environments by name."
    )
