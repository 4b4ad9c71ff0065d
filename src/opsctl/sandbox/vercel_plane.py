"""The part of Vercel's API that opsctl and the vercel program use for one project.

Paths and shapes follow the vendor's OpenAPI description; the real vercel program is driven
against it in the tests. Promoting and rolling back move the production domains at once, or
after `takes_s`; a rollback turns the automatic assignment of domains off, promoting turns it on.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from opsctl.sandbox.git_remote import read_head
from opsctl.sandbox.plane import Answered, Asked, ControlPlane
from opsctl.sandbox.vercel_variables import answer_variables, new_record
from opsctl.sandbox.vercel_variables import error as _error

_USER = "usr_sandbox"
_LONGEST_REASON = 250
_OWN = ("promoted", "env")
"""What is kept of a deployment and not shown in this form."""


class VercelPlane(ControlPlane):
    """One project of one team with its deployments, domains and environment variables."""

    KIND = "vercel"
    KEPT: ClassVar[tuple[str, ...]] = (
        "takes_s", "queues_promotions", "fails_promotions", "builds_end", "auto_assign",
        "deployments", "variables", "domains", "aliases", "last_request", "moves_at", "reason",
        "repository", "clock_ms", "remote", "seen", "host",
    )  # fmt: skip

    def __init__(self, *, token: str, project: str = "web", team: str = "team_sandbox") -> None:
        super().__init__(token=token)
        self.team = team
        self.project_id = f"prj_{project}"
        self.project_name = project
        self.takes_s = 0.0
        """How long it takes until a promotion has moved the domains."""
        self.queues_promotions = False
        """Whether promotions wait behind a rolling release, for good."""
        self.fails_promotions = False
        """Whether the job that moves the domains fails."""
        self.builds_end = "READY"
        """How the next builds end: READY, ERROR or CANCELED."""
        self.role = "OWNER"
        """In the team, of whose token it is."""
        self.token_ends_ms: int | None = None
        """When the token ends, in ms since 1970; None: never."""
        self.repository = f"example/{project}"
        self.remote: str | None = None
        """A bare repository whose pushes are built; looked at when something is asked."""
        self.seen = ""
        self.host = ""
        """The address of every deployment, HOST:PORT; empty: one of its own each."""
        self.hidden_variables = 0
        self.auto_assign = True
        self.deployments: dict[str, dict[str, Any]] = {}
        self.variables: list[dict[str, Any]] = []
        self.domains: list[dict[str, Any]] = []
        self.aliases: dict[str, str] = {}
        self.add_domain(f"{project}.example.com")
        self.add_domain(f"{project}.vercel.example")
        self.last_request: dict[str, Any] | None = None
        self.moves_at: float | None = None
        """When the domains move, in seconds since 1970."""
        self.reason: dict[str, Any] | None = None
        self.clock_ms = 0

    def add_domain(self, name: str, **fields: Any) -> None:
        """Add a production domain; `fields` as in the API: redirect, gitBranch, verified."""
        self.domains.append(
            {"name": name, "apexName": name, "projectId": self.project_id, "redirect": None,
             "gitBranch": None, "verified": True, **fields}
        )  # fmt: skip

    def add_deployment(
        self,
        commit: str,
        *,
        live: bool = False,
        target: str | None = "production",
        state: str = "READY",
        ref: str = "main",
        message: str = "Change something",
        author: str = "Sam Example",
        promoted: bool = False,
        at_ms: int | None = None,
        url: str | None = None,
    ) -> str:
        """Add a deployment, the newest now, and return its id.

        `promoted`: it was live once. `at_ms` is when it was made, in ms since 1970.
        """
        with self.lock:
            now_ms = self.tick() if at_ms is None else at_ms
            token = secrets.token_hex(10)
            id = f"dpl_{token}"
            meta = {"githubCommitSha": commit, "githubCommitRef": ref,
                    "githubCommitMessage": message,
                    "githubCommitAuthorName": author} if commit else {}  # fmt: skip
            self.deployments[id] = {
                "id": id,
                "name": self.project_name,
                "url": url or self.host or f"{self.project_name}-{token[:9]}.vercel.example",
                "readyState": state,
                "target": target,
                "createdAt": now_ms,
                "promoted": promoted,
                "meta": meta,
                "env": self._env_of(target),
            }
            if live:
                self._point_to(id)
            return id

    def add_variable(
        self,
        name: str,
        value: str,
        *targets: str,
        type: str = "encrypted",
        branch: str | None = None,
    ) -> str:
        """Add one record of a variable for these targets, and return its id."""
        with self.lock:
            record = new_record(name, value, list(targets or ("production",)), type=type,
                                branch=branch, at_ms=self.tick())  # fmt: skip
            self.variables.append(record)
            return str(record["id"])

    def _env_of(self, target: str | None) -> dict[str, str]:
        """Return the variables that a build for a target has in it, from now on."""
        return {
            each["key"]: each["value"]
            for each in self.variables
            if (target or "preview") in each["target"] and not each.get("gitBranch")
        }

    def push(self, commit: str, *, ref: str = "main", **how: Any) -> str:
        """Build a commit for production as a push does; it goes live unless that is turned off."""
        with self.lock:
            id = self.add_deployment(commit, ref=ref, state=self.builds_end, **how)
            if self.auto_assign and self.builds_end == "READY":
                self._point_to(id)
            return id

    def look_at_remote(self) -> None:
        """Build what was pushed to the production branch since the last look."""
        if self.remote is None:
            return
        head = read_head(Path(self.remote), "main")
        if head and head != self.seen:
            first, self.seen = not self.seen, head
            if not first:
                self.push(head)

    def tick(self) -> int:
        """Return the time in ms since 1970, later than the last time it was asked for."""
        self.clock_ms = max(self.clock_ms + 1, int(time.time() * 1000))
        return self.clock_ms

    def change_variable(self, id: str, value: str) -> None:
        """Give a variable another value."""
        with self.lock:
            record = next(each for each in self.variables if each["id"] == id)
            record.update(value=value, updatedAt=self.tick())

    @property
    def live(self) -> str | None:
        """The deployment that the first production domain points to."""
        with self.lock:
            self._move()
            return self.aliases.get(self.domains[0]["name"]) if self.domains else None

    def refuse(self, asked: Asked) -> Answered:
        """Answer as Vercel does to a token that it does not know."""
        return _error(403, "forbidden", "Not authorized")

    def too_many(self, asked: Asked) -> Answered:
        """Answer as Vercel does to too many requests."""
        return _error(429, "rate_limited", "Too many requests")

    def act(self, name: str, data: Mapping[str, Any]) -> Any:
        """Push a commit, or set how promotions and builds go."""
        match name:
            case "push":
                return {"id": self.push(str(data["commit"]), message=str(data.get("message", "")))}
            case "look":
                self.look_at_remote()
                return {}
            case "set":
                for key in ("takes_s", "queues_promotions", "fails_promotions", "builds_end"):
                    if key in data:
                        setattr(self, key, data[key])
                return {}
            case "change-variable":
                found = next(each for each in self.variables if each["key"] == data["name"])
                self.change_variable(found["id"], str(data["value"]))
                return {}
        raise KeyError(name)

    def answer(self, asked: Asked) -> Answered:
        """Answer one request."""
        self.look_at_remote()
        self._move()
        match (asked.method, asked.parts):
            case "GET", ("v2", "user"):
                return Answered(data={"user": _user()})
            case "GET", ("v5", "user", "tokens", "current"):
                return Answered(data={"token": self._token()})
            case "GET", ("v1" | "v2", "teams"):
                return Answered(data={"teams": [self._team()], "pagination": _pagination([])})
            case "GET", ("teams", team) | ("v2", "teams", team) if team == self.team:
                return Answered(data=self._team())
        if asked.query.get("teamId", self.team) != self.team:
            return _error(403, "forbidden", "Not authorized")
        match (asked.method, asked.parts):
            case method, (_, "projects", project, *rest) | ("projects", project, *rest):
                if project not in (self.project_id, self.project_name):
                    return _error(404, "not_found", "Project not found")
                return self._of_project(method, tuple(rest), asked)
            case "GET", ("v6" | "v7", "deployments"):
                return self._list(asked)
            case "POST", ("v13", "deployments"):
                return self._redeploy(asked)
            case "GET", ("v13", "deployments", name):
                id = self._find(name)
                if id is None:
                    return _error(404, "not_found", f"Can't find the deployment {name!r}")
                return Answered(data=self._one(id))
            case "GET", ("v11", "deployments", _, "builds"):
                return Answered(data={"builds": []})
            case "GET", ("v4", "aliases", name):
                if name not in self.aliases:
                    return _error(404, "not_found", "The alias was not found")
                return Answered(data=self._alias(name))
        return _error(404, "not_found", f"no such path: {asked.method} {asked.path}")

    def _of_project(self, method: str, rest: tuple[str, ...], asked: Asked) -> Answered:
        match (method, rest):
            case "GET", ():
                return Answered(data=self._project())
            case "GET", ("domains",):
                kept = [
                    each
                    for each in self.domains
                    if not (asked.query.get("redirects") == "false" and each["redirect"])
                ]
                return Answered(data={"domains": kept, "pagination": _pagination(kept)})
            case "PATCH", ():
                body = asked.body if isinstance(asked.body, dict) else {}
                if isinstance(body.get("autoAssignCustomDomains"), bool):
                    self.auto_assign = body["autoAssignCustomDomains"]
                return Answered(data=self._project())
            case _, ("env", *_):
                found = answer_variables(
                    self.variables, asked, rest, hidden=self.hidden_variables, tick=self.tick
                )
                if found is not None:
                    return found
            case "POST", ("promote" | "rollback" as kind, id):
                return self._request(kind, id, asked.query.get("description", ""))
            case "PATCH", ("rollback", id, "update-description"):
                body = asked.body if isinstance(asked.body, dict) else {}
                self._explain(str(body.get("description", "")))
                return Answered(data={})
            case "GET", ("promote" | "rollback", "aliases"):
                return Answered(data={"aliases": [], "pagination": _pagination([])})
            case "GET", ("custom-environments",):
                return Answered(data={"environments": []})
        return _error(404, "not_found", f"no such path: {asked.method} {asked.path}")

    def _request(self, kind: str, id: str, description: str) -> Answered:
        deployment = self.deployments.get(id)
        if deployment is None:
            return _error(404, "not_found", "Deployment not found")
        if deployment["readyState"] != "READY" or deployment["target"] != "production":
            return _error(400, "bad_request", "Deployment is not a ready production deployment")
        if self.live == id:
            return _error(409, "conflict", "Deployment is already the current production one")
        self.last_request = {
            "fromDeploymentId": self.live,
            "toDeploymentId": id,
            "jobStatus": "pending" if self.queues_promotions else "in-progress",
            "requestedAt": self.tick(),
            "type": kind,
        }
        self.auto_assign = kind == "promote"
        self._explain(description if kind == "rollback" else "")
        if self.queues_promotions:
            return Answered(202, {})
        self.moves_at = time.time() + self.takes_s
        self._move()
        return Answered(201, {})

    def _explain(self, description: str) -> None:
        self.reason = (
            {
                "description": description[:_LONGEST_REASON],
                "createdAt": int(time.time() * 1000),
                "userId": _USER,
                "username": "sandbox",
            }
            if description
            else None
        )

    def _move(self) -> None:
        if self.last_request is None or self.moves_at is None:
            return
        if time.time() >= self.moves_at:
            self.moves_at = None
            if self.fails_promotions:
                self.last_request["jobStatus"] = "failed"
                return
            self.last_request["jobStatus"] = "succeeded"
            self._point_to(self.last_request["toDeploymentId"])

    def _point_to(self, id: str) -> None:
        self.deployments[id]["promoted"] = True
        for domain in self.domains:
            if not domain["redirect"] and not domain["gitBranch"] and domain["verified"]:
                self.aliases[domain["name"]] = id

    def _redeploy(self, asked: Asked) -> Answered:
        body = asked.body if isinstance(asked.body, dict) else {}
        old = self.deployments.get(str(body.get("deploymentId")))
        if old is None:
            return _error(404, "not_found", "The deployment to build again was not found")
        meta = old["meta"]
        id = self.add_deployment(
            meta.get("githubCommitSha", ""),
            target=body.get("target"),
            ref=meta.get("githubCommitRef", ""),
            message=meta.get("githubCommitMessage", ""),
            state=self.builds_end,
        )
        self.deployments[id]["meta"] = {**meta, **body.get("meta", {}),
                                        "originalDeploymentId": old["id"]}  # fmt: skip
        live = self.auto_assign and body.get("target") == "production"
        if live and self.builds_end == "READY":
            self._point_to(id)
        return Answered(data=self._one(id))

    def _find(self, name: str) -> str | None:
        if name in self.deployments:
            return name
        if name in self.aliases:
            return self.aliases[name]
        return next((id for id, each in self.deployments.items() if each["url"] == name), None)

    def _list(self, asked: Asked) -> Answered:
        query = asked.query
        states = query.get("state", "").split(",") if query.get("state") else None
        meta = {
            name.removeprefix("meta-"): value
            for name, value in query.items()
            if name.startswith("meta-")
        }
        found = [
            each
            for each in sorted(self.deployments.values(), key=lambda each: -each["createdAt"])
            if query.get("projectId", self.project_id) in (self.project_id, self.project_name)
            and (query.get("target") is None or (each["target"] or "preview") == query["target"])
            and (states is None or each["readyState"] in states)
            and query.get("sha", each["meta"].get("githubCommitSha"))
            == each["meta"].get("githubCommitSha")
            and all(each["meta"].get(name) == value for name, value in meta.items())
            and each["createdAt"] < int(query.get("until") or 1 << 60)
        ]
        size = int(query.get("limit", "20"))
        page = found[:size]
        following = page[-1]["createdAt"] if len(found) > size else None
        pagination = {**_pagination(page), "next": following}
        return Answered(
            data={"deployments": [self._row(each) for each in page], "pagination": pagination}
        )

    def _row(self, deployment: dict[str, Any]) -> dict[str, Any]:
        return {
            "uid": deployment["id"],
            "name": deployment["name"],
            "projectId": self.project_id,
            "url": deployment["url"],
            "created": deployment["createdAt"],
            "createdAt": deployment["createdAt"],
            "ready": deployment["createdAt"],
            "buildingAt": deployment["createdAt"],
            "state": deployment["readyState"],
            "readyState": deployment["readyState"],
            "type": "LAMBDAS",
            "creator": {"uid": _USER, "username": "sandbox"},
            "target": deployment["target"],
            "aliasAssigned": deployment["id"] in self.aliases.values(),
            "isRollbackCandidate": deployment["promoted"] and deployment["readyState"] == "READY",
            **_substate(deployment),
            "inspectorUrl": None,
            "meta": deployment["meta"],
        }

    def _one(self, id: str) -> dict[str, Any]:
        deployment = self.deployments[id]
        return {
            **{key: value for key, value in deployment.items() if key not in _OWN},
            **_substate(deployment),
            "ready": deployment["createdAt"],
            "projectId": self.project_id,
            "ownerId": self.team,
            "version": 2,
            "type": "LAMBDAS",
            "status": deployment["readyState"],
            "alias": sorted(name for name, to in self.aliases.items() if to == id),
            "creator": {"uid": _USER, "username": "sandbox"},
            "inspectorUrl": None,
            "routes": [],
            "regions": ["iad1"],
            "contextName": "sandbox",
        }

    def _alias(self, name: str) -> dict[str, Any]:
        id = self.aliases[name]
        return {
            "uid": f"als_{name}",
            "alias": name,
            "created": "2026-01-01T00:00:00.000Z",
            "deploymentId": id,
            "deployment": {"id": id, "url": self.deployments[id]["url"], "meta": "{}"},
            "projectId": self.project_id,
        }

    def _project(self) -> dict[str, Any]:
        live = self.live
        production = {**self._one(live), "readyState": "READY", "plan": "pro"} if live else None
        return {
            "id": self.project_id,
            "name": self.project_name,
            "accountId": self.team,
            "autoAssignCustomDomains": self.auto_assign,
            "createdAt": 1_700_000_000_000,
            "updatedAt": 1_700_000_000_000,
            "framework": "nextjs",
            "nodeVersion": "22.x",
            "link": {"type": "github", "org": self.repository.split("/")[0],
                     "repo": self.repository.split("/")[1],
                     "productionBranch": "main", "deployHooks": []},
            "targets": {"production": production},
            "latestDeployments": [],
            "alias": [],
            "defaultResourceConfig": {"functionDefaultRegions": ["iad1"]},
            "resourceConfig": {"functionDefaultRegions": ["iad1"]},
            "deploymentExpiration": {},
            "lastAliasRequest": self.last_request,
            **({"rollbackDescription": self.reason} if self.reason else {}),
        }  # fmt: skip

    def _token(self) -> dict[str, Any]:
        ends = {} if self.token_ends_ms is None else {"expiresAt": self.token_ends_ms}
        scope = {"type": "team", "teamId": self.team, "origin": "manual", "createdAt": 1}
        return {"id": "token_sandbox", "name": "sandbox", "type": "token", "origin": "manual",
                "scopes": [{**scope, **ends}], "createdAt": 1, "activeAt": 1, **ends}  # fmt: skip

    def _team(self) -> dict[str, Any]:
        return {
            "id": self.team,
            "slug": "sandbox",
            "name": "Sandbox",
            "creatorId": _USER,
            "membership": {"role": self.role, "confirmed": True, "uid": _USER},
            "billing": {"plan": "pro"},
            "createdAt": 1_700_000_000_000,
        }


def _user() -> dict[str, Any]:
    return {
        "id": _USER,
        "uid": _USER,
        "email": "sandbox@example.com",
        "name": "Sandbox",
        "username": "sandbox",
        "version": "northstar",
        "defaultTeamId": None,
    }


def _substate(deployment: dict[str, Any]) -> dict[str, Any]:
    if deployment["readyState"] != "READY":
        return {}
    return {"readySubstate": "PROMOTED" if deployment["promoted"] else "STAGED"}


def _pagination(items: list[Any]) -> dict[str, Any]:
    return {"count": len(items), "next": None, "prev": None}
