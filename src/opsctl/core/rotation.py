"""The settings of `rotate-keys`: which keys there are, where each is kept, how it is proven."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from opsctl.core.setting_types import Model, SecretRef, WebAddress

KeyName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,40}$")]
VariableName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")]

Target = Literal["production", "preview", "development"]


class Sink(Model):
    """One place that a key is kept in."""

    kind: Literal[
        "vercel", "github", "github-environment", "dependabot", "edge-functions", "env-file",
        "command",
    ] = Field(description="What keeps it.")  # fmt: skip
    key: KeyName = Field(
        description="publishable, secret, database-password, or the name of one of `keys`."
    )
    variable: VariableName = Field(description="What it is called there.")
    targets: tuple[Target, ...] = Field(
        ("production",), min_length=1, description="Of Vercel: one record is written for each."
    )
    sensitive: bool | None = Field(
        None, description="Of Vercel: never to be read again; none: where that can be."
    )
    path: str | None = Field(None, description="Of env-file: the file, within the project.")
    command: tuple[str, ...] = Field(
        (), description="Of command: a program; it has the value in OPSCTL_VALUE."
    )
    check: tuple[str, ...] = Field(
        (), description="Of command: exits 0 where what is in OPSCTL_VALUE is kept there, else 1."
    )
    value: str = Field(
        "{value}", pattern=r"\{value\}", description="What is written, with {value} for the key."
    )


class Fingerprint(Model):
    """Where the application says which secret key it has: a SHA-256's beginning, hexadecimal."""

    url: WebAddress = Field(description="A health endpoint that answers with JSON.")
    pointer: str = Field(pattern="^/", description="JSON Pointer to the fingerprint.")


class OwnKey(Model):
    """A key of another provider: a person or a program makes it and ends it there."""

    name: KeyName = Field(description="Its name here.")
    new: SecretRef = Field(description="Where the new key is read once it is made, by reference.")
    create: str = Field("Make a new key", description="What to do to make it.")
    create_link: WebAddress | None = Field(None, description="Where.")
    test: tuple[str, ...] = Field(
        (), description="A program that exits 0 where the key in OPSCTL_VALUE works."
    )
    proof: str = Field(
        "See that the application works with the new key", description="How it is seen live."
    )
    proof_command: tuple[str, ...] = Field(
        (), description="A program that exits 0 once the application has the key in OPSCTL_VALUE."
    )
    revoke: str = Field("End the old key", description="What to do to end the old one.")
    revoke_link: WebAddress | None = Field(None, description="Where.")


class Rotation(Model):
    """Where keys are kept, how they are proven to be live, and how old they may become."""

    max_age_days: float = Field(90.0, gt=0, description="Oldest acceptable key, in days.")
    drain_h: float = Field(
        24.0, ge=0, description="So long an old key must be unused before it is ended, in hours."
    )
    page: WebAddress | None = Field(
        None, description="A page of the application whose scripts hold the publishable key."
    )
    fingerprint: Fingerprint | None = Field(
        None, description="Where the application says which secret key it has."
    )
    sinks: tuple[Sink, ...] = Field((), description="Where keys are kept.")
    keys: tuple[OwnKey, ...] = Field((), description="Keys of other providers.")
    build_s: float = Field(900.0, gt=0, description="Longest that a build may take, in seconds.")
    jwks_s: float = Field(
        1200.0, ge=0, description="How long others keep public keys: 10 min. edge, 10 min. client."
    )
    token_grace_s: float = Field(
        900.0, ge=0, description="Beside a token's lifetime, until a signing key is ended, in s."
    )
