"""The part of GitHub's API that opsctl uses for one repository.

Paths and shapes follow the vendor's OpenAPI description, its page sizes and Link headers too;
the vendor's own programs are driven against it in the tests. Secrets are opened with the key
pair of their scope, as GitHub does, and can never be read back.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlencode

from opsctl.sandbox.git_remote import read_head, update_head
from opsctl.sandbox.plane import Answered, Asked, ControlPlane
from opsctl.sandbox.sealed import NoLibrary, new_pair, open_box

_MADE = "2026-01-01T00:00:00Z"
_MOST = {"secrets": 100, "variables": 30}
_USUAL = {"secrets": 30, "variables": 10}
_ACTIONS, _DEPENDABOT = "actions", "dependabot"


class GithubPlane(ControlPlane):
    """One repository: branches, pull requests, secrets and variables, those of environments."""

    KIND = "github"
    KEPT: ClassVar[tuple[str, ...]] = (
        "repository", "default_branch", "head", "protected", "environments", "kept", "values",
        "pairs", "writes", "pulls", "remote",
    )  # fmt: skip

    def __init__(self, *, token: str, repository: str = "example/web", head: str = "") -> None:
        super().__init__(token=token)
        self.repository = repository
        self.default_branch = "main"
        self.scopes: str | None = "repo, workflow"
        """Of the token, where it is a classic one; None: a fine-grained one, which tells none."""
        self.may_push = True
        self.head = head
        """The default branch's, where there is no `remote`."""
        self.remote: str | None = None
        """A bare repository that is behind it."""
        self.protected: list[str] = []
        """Branches that take pull requests alone."""
        self.environments: list[str] = []
        self.pulls: list[dict[str, Any]] = []
        self.kept: dict[str, dict[str, dict[str, Any]]] = {}
        """By `KIND SCOPE`, then name: what can be listed."""
        self.values: dict[str, dict[str, str]] = {}
        """By `SCOPE`, then name: what the secrets are; the API never gives it out."""
        self.pairs: dict[str, dict[str, str]] = {}
        self.writes = 0

    def put_secret(self, name: str, *, environment: str | None = None) -> None:
        """Write a secret; its value is not kept, as nobody can read it."""
        self._put("secrets", name, self._scope(environment), {})

    def put_variable(self, name: str, value: str, *, environment: str | None = None) -> None:
        """Write a variable."""
        self._put("variables", name, self._scope(environment), {"value": value})

    def remove(self, kind: str, name: str, *, environment: str | None = None) -> None:
        """Remove one of the `secrets` or `variables`."""
        with self.lock:
            del self.kept[f"{kind} {self._scope(environment)}"][name]

    def secret(self, name: str, scope: str = _ACTIONS) -> str | None:
        """Return what a secret is that was written through the API, or None.

        The scope is `actions`, `dependabot` or an environment's name.
        """
        if scope not in (_ACTIONS, _DEPENDABOT):
            scope = f"environment:{scope}"
        return self.values.get(scope, {}).get(name)

    def refuse(self, asked: Asked) -> Answered:
        """Answer as GitHub does to a token that it does not know."""
        return _error(401, "Bad credentials")

    def shows_token(self, asked: Asked) -> bool:
        """Whether a request shows the token, after either word that GitHub takes."""
        return asked.headers.get("authorization", "").split(" ")[1:] == [self.token]

    def act(self, name: str, data: Mapping[str, Any]) -> Any:
        """Protect a branch, make an environment, or merge a pull request as a person would."""
        match name:
            case "protect":
                self.protected.append(str(data["branch"]))
                return {}
            case "environment":
                if data["name"] not in self.environments:
                    self.environments.append(str(data["name"]))
                return {}
            case "merge":
                return self._merge(int(data["number"])).data
        raise KeyError(name)

    def answer(self, asked: Asked) -> Answered:
        """Answer one request."""
        parts = asked.parts
        if parts[:1] == ("user",):
            return Answered(data={"login": "sandbox", "id": 1, "type": "User"})
        if parts[:3] != ("repos", *self.repository.split("/")):
            return _error(404, "Not Found")
        return self._of_repository(asked, parts[3:]) or _error(404, "Not Found")

    def _of_repository(self, asked: Asked, rest: tuple[str, ...]) -> Answered | None:
        match (asked.method, *rest):
            case ("GET",):
                said = {} if self.scopes is None else {"X-OAuth-Scopes": self.scopes}
                return Answered(data=self._repository(), headers=said)
            case ("GET", "branches", branch):
                return self._branch(branch)
            case ("GET", "rules", "branches", branch):
                rules = [{"type": "pull_request"}] if branch in self.protected else []
                return Answered(data=rules)
            case ("GET", "git", "ref", "heads", *names):
                return self._ref("/".join(names))
            case ("GET", "pulls"):
                return self._list_pulls(asked)
            case ("POST", "pulls"):
                return self._open_pull(asked.body)
            case ("GET", "pulls", number):
                return self._pull(number)
            case ("PUT", "pulls", number, "merge"):
                return self._merge(int(number))
            case ("GET", "environments"):
                listed = [{"name": each, "id": 1} for each in sorted(self.environments)]
                return Answered(data={"total_count": len(listed), "environments": listed})
            case ("GET" | "PUT" as method, "environments", environment):
                if method == "PUT" and environment not in self.environments:
                    self.environments.append(environment)
                if environment not in self.environments:
                    return None
                return Answered(data={"name": environment, "id": 1, "protection_rules": []})
            case (_, "environments", environment, ("secrets" | "variables") as kind, *more):
                if environment not in self.environments:
                    return None
                return self._settings(asked, kind, self._scope(environment), tuple(more))
            case (_, "actions", ("secrets" | "variables") as kind, *more):
                return self._settings(asked, kind, _ACTIONS, tuple(more))
            case (_, "dependabot", "secrets" as kind, *more):
                return self._settings(asked, kind, _DEPENDABOT, tuple(more))
        return None

    def _settings(
        self, asked: Asked, kind: str, scope: str, rest: tuple[str, ...]
    ) -> Answered | None:
        scoped = self.kept.setdefault(f"{kind} {scope}", {})
        body = asked.body if isinstance(asked.body, dict) else {}
        match (asked.method, kind, rest):
            case "GET", _, ():
                return self._list(asked, kind, scope)
            case "GET", "secrets", ("public-key",):
                pair = self._pair(scope)
                if isinstance(pair, Answered):
                    return pair
                return Answered(data={"key_id": pair["key_id"], "key": pair["key"]})
            case "PUT", "secrets", (name,):
                return self._seal(scope, name, body)
            case "POST", "variables", ():
                name = str(body.get("name"))
                if name in scoped:
                    return _error(409, "Already exists - Variable already exists")
                self._put(kind, name, scope, {"value": str(body.get("value"))})
                return Answered(201, {})
            case "PATCH", "variables", (name,) if name in scoped:
                new = str(body.get("value", scoped[name]["value"]))
                self._put(kind, name, scope, {"value": new})
                return Answered(204)
            case "GET", _, (name,) if name in scoped:
                return Answered(data=scoped[name])
            case "DELETE", _, (name,) if name in scoped:
                del scoped[name]
                self.values.get(scope, {}).pop(name, None)
                return Answered(204)
        return None

    def _seal(self, scope: str, name: str, body: Mapping[str, Any]) -> Answered:
        pair = self._pair(scope)
        if isinstance(pair, Answered):
            return pair
        value = open_box(pair, body.get("encrypted_value"))
        if body.get("key_id") != pair["key_id"] or value is None:
            # A box that was sealed for another scope's key cannot be opened.
            return _error(422, "Bad request - Unable to decrypt the secret value")
        known = name in self.kept.get(f"secrets {scope}", {})
        self._put("secrets", name, scope, {})
        self.values.setdefault(scope, {})[name] = value
        return Answered(204) if known else Answered(201, {})

    def _pair(self, scope: str) -> dict[str, str] | Answered:
        if scope not in self.pairs:
            try:
                self.pairs[scope] = new_pair()
            except NoLibrary as error:
                return _error(501, str(error))
        return self.pairs[scope]

    def _scope(self, environment: str | None) -> str:
        return _ACTIONS if environment is None else f"environment:{environment}"

    def _put(self, kind: str, name: str, scope: str, more: dict[str, Any]) -> None:
        with self.lock:
            environment = scope.removeprefix("environment:")
            if environment != scope and environment not in self.environments:
                self.environments.append(environment)
            self.writes += 1
            at = f"2026-01-02T{self.writes // 3600:02}:{self.writes // 60 % 60:02}:"
            scoped = self.kept.setdefault(f"{kind} {scope}", {})
            made = scoped.get(name, {}).get("created_at", _MADE)
            scoped[name] = {"name": name, **more, "created_at": made,
                            "updated_at": f"{at}{self.writes % 60:02}Z"}  # fmt: skip

    def _list(self, asked: Asked, kind: str, scope: str) -> Answered:
        everything = [record for _, record in sorted(self.kept[f"{kind} {scope}"].items())]
        size = min(max(int(asked.query.get("per_page", _USUAL[kind])), 1), _MOST[kind])
        number = max(int(asked.query.get("page", "1")), 1)
        pages = -(-len(everything) // size)
        headers = {}
        if number < pages:
            links = {"next": number + 1, "last": pages}
            headers["Link"] = ", ".join(
                f"<{self.url}{asked.path}?{urlencode({'per_page': size, 'page': page})}>; "
                f'rel="{word}"'
                for word, page in links.items()
            )
        page = everything[(number - 1) * size : number * size]
        return Answered(data={"total_count": len(everything), kind: page}, headers=headers)

    def _head_of(self, branch: str) -> str:
        if self.remote is not None:
            return read_head(Path(self.remote), branch)
        return self.head if branch == self.default_branch else ""

    def _branch(self, branch: str) -> Answered:
        head = self._head_of(branch)
        if not head:
            return _error(404, "Branch not found")
        return Answered(data={"name": branch, "commit": {"sha": head, "url": ""},
                              "protected": branch in self.protected})  # fmt: skip

    def _ref(self, branch: str) -> Answered:
        head = self._head_of(branch)
        if not head:
            return _error(404, "Not Found")
        return Answered(data={"ref": f"refs/heads/{branch}", "node_id": "R",
                              "object": {"type": "commit", "sha": head}})  # fmt: skip

    def _list_pulls(self, asked: Asked) -> Answered:
        state = asked.query.get("state", "open")
        head = asked.query.get("head", "").partition(":")[2]
        base = asked.query.get("base")
        return Answered(
            data=[
                each
                for each in reversed(self.pulls)
                if state in ("all", each["state"])
                and (not head or each["head"]["ref"] == head)
                and (not base or each["base"]["ref"] == base)
            ]
        )

    def _open_pull(self, body: Any) -> Answered:
        data = body if isinstance(body, dict) else {}
        head, base = str(data.get("head", "")).rpartition(":")[2], str(data.get("base", ""))
        if not self._head_of(head) or not self._head_of(base):
            return _error(422, "Validation Failed")
        if any(each["head"]["ref"] == head and each["state"] == "open" for each in self.pulls):
            return _error(422, f"A pull request already exists for {head}.")
        number = len(self.pulls) + 1
        pull = {
            "number": number,
            "state": "open",
            "merged": False,
            "merged_at": None,
            "merge_commit_sha": None,
            "title": str(data.get("title", "")),
            "body": data.get("body"),
            "html_url": f"https://github.com/{self.repository}/pull/{number}",
            "head": {"ref": head, "sha": self._head_of(head)},
            "base": {"ref": base, "sha": self._head_of(base)},
        }
        self.pulls.append(pull)
        return Answered(201, pull)

    def _pull(self, number: str) -> Answered:
        found = next((each for each in self.pulls if str(each["number"]) == number), None)
        return Answered(data=found) if found else _error(404, "Not Found")

    def _merge(self, number: int) -> Answered:
        pull = next((each for each in self.pulls if each["number"] == number), None)
        if pull is None or pull["state"] != "open" or self.remote is None:
            return _error(405, "Pull Request is not mergeable")
        commit = pull["head"]["sha"]
        update_head(Path(self.remote), pull["base"]["ref"], commit)
        pull.update(state="closed", merged=True, merged_at=_MADE, merge_commit_sha=commit)
        return Answered(data={"sha": commit, "merged": True, "message": "merged"})

    def _repository(self) -> dict[str, Any]:
        owner, name = self.repository.split("/")
        return {
            "id": 1,
            "name": name,
            "full_name": self.repository,
            "owner": {"login": owner, "id": 1, "type": "Organization"},
            "private": True,
            "default_branch": self.default_branch,
            "permissions": {"admin": False, "maintain": False, "push": self.may_push,
                            "triage": self.may_push, "pull": True},
        }  # fmt: skip


def _error(status: int, message: str) -> Answered:
    return Answered(status, {"message": message, "status": str(status)})
