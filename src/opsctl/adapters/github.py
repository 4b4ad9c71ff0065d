"""GitHub through its REST API: secrets, variables, the head of the default branch.

Secrets are write-only: their values can never be read back. Each scope seals with a key of its
own.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote

from opsctl.adapters.rest import MISFITS, PATIENCE, Patience, Rest
from opsctl.core.action import Pairs, Request
from opsctl.core.errors import OpsError
from opsctl.core.settings import Github

T = TypeVar("T")

DEPENDABOT = "dependabot"
"""The scope of secrets that workflows have which Dependabot starts."""

_SECRETS_PAGE = "100"
_VARIABLES_PAGE = "30"
"""The API gives no more variables at once, whatever is asked for."""


@dataclass(frozen=True)
class Secret:
    """The name of a secret, and when it was last written (RFC 3339)."""

    name: str
    updated_at: str


@dataclass(frozen=True)
class PublicKey:
    """What the secrets of one scope are sealed with: its id, and the key in base64."""

    id: str
    key: str


@dataclass(frozen=True)
class RepositoryVariable:
    """A variable, which is no secret."""

    name: str
    value: str
    updated_at: str


@dataclass(frozen=True)
class Repository:
    """A repository and the head of its default branch."""

    name: str
    """OWNER/NAME, as it is called now."""
    default_branch: str
    head: str
    """Empty for a repository without a commit."""


class GithubApi:
    """The API for one repository. What it raises is described at `opsctl.adapters.rest.Rest`."""

    def __init__(self, settings: Github, *, patience: Patience = PATIENCE) -> None:
        self._settings = settings
        self._path = "/repos/" + "/".join(
            quote(part, safe="") for part in settings.repository.split("/")
        )
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

    def repository(self) -> Repository:
        """Return the repository and the head of its default branch."""
        page = self._rest.get(self._path)
        name, branch = self._read(
            self._path,
            page.data,
            lambda data: (_needed(data["full_name"]), _needed(data["default_branch"])),
        )
        path = f"{self._path}/branches/{quote(branch, safe='')}"
        try:
            head = self._rest.get(path)
        except OpsError as error:
            if error.code != "github-not-found":
                raise
            return Repository(name, branch, "")
        sha = self._read(path, head.data, lambda data: _needed(data["commit"]["sha"]))
        return Repository(name, branch, sha)

    def secrets(self, environment: str | None = None) -> tuple[Secret, ...]:
        """Return the secrets of the repository's Actions, or of one environment, by name."""
        path = self._scope(environment) + "/secrets"
        return self._list(path, "secrets", _secret, _SECRETS_PAGE)

    def dependabot_secrets(self) -> tuple[Secret, ...]:
        """Return the secrets that workflows have which Dependabot starts, by name."""
        return self._list(f"{self._path}/dependabot/secrets", "secrets", _secret, _SECRETS_PAGE)

    def public_key(self, scope: str | None) -> PublicKey:
        """Return what a scope's secrets are sealed with: that of no other scope opens them.

        The scope is None for the repository's Actions, `dependabot`, or an environment's name.
        """
        path = f"{self._secrets_of(scope)}/public-key"
        return self._read(
            path,
            self._rest.get(path).data,
            lambda data: PublicKey(_needed(data["key_id"]), _needed(data["key"])),
        )

    def put_secret(self, scope: str | None, name: str, *, key_id: str, sealed: str) -> Request:
        """Write a secret: PUT .../secrets/NAME. `sealed` is a reference to the sealed value."""
        body = {"encrypted_value": "{{sealed}}", "key_id": key_id}
        return self._send("PUT", self._secret_path(scope, name), body, (("sealed", sealed),))

    def delete_secret(self, scope: str | None, name: str) -> Request:
        """Take a secret away: DELETE .../secrets/NAME."""
        return self._send("DELETE", self._secret_path(scope, name), None, ())

    def variables(self, environment: str | None = None) -> tuple[RepositoryVariable, ...]:
        """Return the variables of the repository's Actions, or of one environment, by name."""
        path = self._scope(environment) + "/variables"
        return self._list(path, "variables", _variable, _VARIABLES_PAGE)

    def _scope(self, environment: str | None) -> str:
        if environment is None:
            return f"{self._path}/actions"
        return f"{self._path}/environments/{quote(environment, safe='')}"

    def _secrets_of(self, scope: str | None) -> str:
        if scope == DEPENDABOT:
            return f"{self._path}/dependabot/secrets"
        return f"{self._scope(scope)}/secrets"

    def _secret_path(self, scope: str | None, name: str) -> str:
        return f"{self._secrets_of(scope)}/{quote(name, safe='')}"

    def _send(self, method: str, path: str, body: object, fill: Pairs) -> Request:
        if self._settings.token is None:
            raise self._rest.failed("refused", "the settings have no github.token")
        return Request(
            method,
            self._settings.api.rstrip("/") + path,
            headers=(*self._rest.headers.items(), ("Content-Type", "application/json")),
            secret_headers=(("Authorization", f"bearer:{self._settings.token}"),),
            body=None if body is None else json.dumps(body, sort_keys=True),
            fill=fill,
        )

    def _list(self, path: str, key: str, parse: Callable[[Any], T], size: str) -> tuple[T, ...]:
        """Return every item of a list; refuses one that is shorter than it says itself."""
        found: list[tuple[str, T]] = []
        total = 0

        def items(data: Any) -> tuple[list[tuple[str, T]], int]:
            named = [(_needed(each["name"]), parse(each)) for each in data[key]]
            return named, int(data["total_count"])

        for page in self._rest.linked_pages(path, {"per_page": size}):
            listed, total = self._read(path, page.data, items)
            found += listed
        if len({name for name, _ in found}) < total:
            raise self._rest.failed("answer", f"{path}: it has {total}, and listed {len(found)}")
        return tuple(item for _, item in sorted(found, key=lambda pair: pair[0]))

    def _read(self, path: str, data: Any, parse: Callable[[Any], T]) -> T:
        try:
            return parse(data)
        except MISFITS:
            raise self._rest.not_understood(path) from None


def _secret(data: Any) -> Secret:
    return Secret(_needed(data["name"]), _needed(data["updated_at"]))


def _variable(data: Any) -> RepositoryVariable:
    value = data["value"]
    if not isinstance(value, str):
        raise TypeError("a value is text")
    value.encode()
    return RepositoryVariable(_needed(data["name"]), value, _needed(data["updated_at"]))


def _needed(data: Any) -> str:
    if not isinstance(data, str) or not data:
        raise TypeError("text was expected")
    data.encode()  # half a surrogate pair, which JSON can name, is a ValueError
    return data
