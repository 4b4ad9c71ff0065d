"""Vercel through its REST API: the project, what production serves, deployments, variables.

Shapes are those of the vendor's OpenAPI description. Reading methods ask now; `promote`,
`rollback` and `redeploy` return a Request. Which deployment is live is asked of the production
domain itself (GET /v4/aliases/DOMAIN): the project's own record may be older.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlencode

from opsctl.adapters.rest import MISFITS, PATIENCE, Patience, Rest
from opsctl.adapters.vercel_shapes import Deployment as Deployment
from opsctl.adapters.vercel_shapes import Domain as Domain
from opsctl.adapters.vercel_shapes import GitLink as GitLink
from opsctl.adapters.vercel_shapes import Move as Move
from opsctl.adapters.vercel_shapes import Production as Production
from opsctl.adapters.vercel_shapes import Project as Project
from opsctl.adapters.vercel_shapes import Variable as Variable
from opsctl.adapters.vercel_shapes import Variables as Variables
from opsctl.adapters.vercel_shapes import (
    deployment_of,
    domain_of,
    project_of,
    text_of,
    value_of,
    variable_of,
)
from opsctl.core.action import Expect, Pairs, Probe, Request
from opsctl.core.errors import Exit, OpsError

if TYPE_CHECKING:
    from opsctl.core.settings import Vercel

T = TypeVar("T")

_PAGE = 100
_MOST_PAGES = 500
_TELL_NOTHING = (401, 403, 429, 500, 502, 503, 504)
"""Statuses of an answer that does not say where a domain points."""


class VercelApi:
    """The API for one project. What it raises is described at `opsctl.adapters.rest.Rest`."""

    def __init__(self, settings: Vercel, *, patience: Patience = PATIENCE) -> None:
        self._settings = settings
        self._rest = Rest(
            name="Vercel",
            code="vercel",
            api=settings.api,
            token=settings.token,
            setting="vercel",
            headers={},
            patience=patience,
        )

    def project(self) -> Project:
        """Return the project."""
        path = self._project_path(9)
        return self._read(path, self._get(path), project_of)

    def production(self, project: Project) -> Production:
        """Return what production serves, domain by domain."""
        names = self._domains()
        domains = tuple(Domain(name, self._points_to(name)) for name in names)
        live = domains[0].deployment if domains else project.live
        return Production(domains, self.deployment(live) if live else None)

    def deployment(self, id: str) -> Deployment | None:
        """Return one deployment, or None where it is gone."""
        path = f"/v13/deployments/{quote(id, safe='')}"
        try:
            data = self._get(path)
        except OpsError as error:
            if error.code == "vercel-not-found":
                return None
            raise
        return self._read(path, data, deployment_of)

    def deployments(
        self, project: Project, *, most: int, **filters: str
    ) -> tuple[tuple[Deployment, ...], bool]:
        """Return the newest deployments, newest first, and whether these are all.

        `filters` are the API's own: target, state, sha, branch.
        """
        found: list[Deployment] = []
        query = {"projectId": project.id, **filters}
        for deployment in self._pages("/v6/deployments", "deployments", deployment_of, query):
            if len(found) == most:
                return tuple(found), False
            found.append(deployment)
        return tuple(found), True

    def variables(self) -> Variables:
        """Return every environment variable, without values."""
        path, hidden = self._project_path(10) + "/env", 0

        def count(data: Any) -> None:
            nonlocal hidden
            hidden = max(hidden, int(data.get("hiddenProductionEnvCount") or 0))

        found = list(self._pages(path, "envs", variable_of, {}, look=count, limited=False))
        found.sort(key=lambda each: (each.name, each.targets, each.branch, each.id))
        return Variables(tuple(found), hidden)

    def value(self, variable: Variable) -> str | None:
        """Return a variable's value, or None where the API does not decrypt it or it is gone."""
        if not variable.readable:
            return None
        path = f"{self._project_path(1)}/env/{quote(variable.id, safe='')}"
        try:
            data = self._get(path)
        except OpsError as error:
            if error.code == "vercel-not-found":
                return None
            raise
        return self._read(path, data, value_of)

    def put_variable(
        self, name: str, target: str, value: str, *, sensitive: bool, fill: Pairs
    ) -> Request:
        """Write the record of a variable that is for one target: POST .../env?upsert=true.

        `value` holds names of `fill` for what is secret. It fails where the target shares a
        record with others: see `set_targets`. A sensitive one cannot be read again, and there
        is none for development.
        """
        body = {"key": name, "value": value, "target": [target],
                "type": "sensitive" if sensitive else "encrypted"}  # fmt: skip
        path = self._project_path(10) + "/env"
        return self._send("POST", path, {"upsert": "true"}, body=body, fill=fill)

    def set_targets(self, variable: Variable, targets: tuple[str, ...]) -> Request:
        """Let a record hold for these targets alone: PATCH .../env/ID; its value stays."""
        return self._send("PATCH", self._variable_path(variable.id), {}, body={"target": targets})

    def delete_variable(self, id: str, *, fill: Pairs = ()) -> Request:
        """Take a record away: DELETE .../env/ID. `id` may be a name of `fill`."""
        path = self._variable_path(id)
        return self._send("DELETE", path, {}, body=None, fill=fill)

    def promote(self, project: Project, deployment: Deployment) -> Request:
        """Point production's domains to a deployment that was built for production; no build.

        POST /v10/projects/PROJECT/promote/DEPLOYMENT. Where releases roll out in stages it is
        queued behind them (202).
        """
        return self._post(f"/v10/projects/{_id(project.id)}/promote/{_id(deployment.id)}", {})

    def rollback(self, project: Project, deployment: Deployment, *, reason: str = "") -> Request:
        """Point production's domains to an earlier deployment; later builds do not go live.

        POST /v1/projects/PROJECT/rollback/DEPLOYMENT, which stores the reason. On the smallest
        plan only the one before may be named.
        """
        query = {"description": reason} if reason else {}
        return self._post(f"/v1/projects/{_id(project.id)}/rollback/{_id(deployment.id)}", query)

    def auto_assign(self, project: Project, *, on: bool) -> Request:
        """Let production builds go live by themselves, or not: PATCH /v9/projects/PROJECT."""
        path = f"/v9/projects/{_id(project.id)}"
        return self._send("PATCH", path, {}, body={"autoAssignCustomDomains": on})

    def redeploy(self, deployment: Deployment, *, mark: Mapping[str, str] | None = None) -> Request:
        """Build a deployment again, with today's variables, for the same target.

        POST /v13/deployments?forceNew=1. An Ignored Build Step may cancel it. `mark` is kept
        with the new one, which `deployments` finds by it: `{"meta-NAME": VALUE}`.
        """
        body: dict[str, Any] = {
            "deploymentId": deployment.id,
            "meta": {"action": "redeploy", **(mark or {})},
            "name": deployment.name,
        }
        if deployment.target:
            body["target"] = deployment.target
        return self._post("/v13/deployments", {"forceNew": "1"}, body=body)

    def points_to_probe(
        self, domain: str, deployment: str, *, attempts: int, pause_s: float
    ) -> Probe:
        """Return a look that says applied once a domain points to a deployment."""
        request = Request("GET", self._url(_alias_path(domain), {}), secret_headers=self._auth())
        # The answer is the server's own compact JSON, and small: it is matched as text.
        return Probe(
            request,
            Expect(status=200, contains=(f'"deploymentId":"{deployment}"',), unsure=_TELL_NOTHING),
            attempts=attempts,
            pause_s=pause_s,
        )

    def production_by_domain(self, project: Project) -> Production:
        """Return what production serves; raises OpsError `no-production-domain` (exit 3).

        Without a domain nobody can tell what is live.
        """
        production = self.production(project)
        if not production.domains:
            raise OpsError(
                f"The project {project.name} has no production domain",
                why="Vercel lists none that is verified and does not redirect, so nobody could "
                "tell what is live",
                hint="add a domain to the project: vercel domains add",
                code="no-production-domain",
                exit=Exit.UNKNOWN,
            )
        return production

    def _domains(self) -> tuple[str, ...]:
        path = self._project_path(9) + "/domains"
        query = {"production": "true", "redirects": "false"}
        found = self._pages(path, "domains", domain_of, query)
        return tuple(name for name in found if name)

    def _points_to(self, domain: str) -> str | None:
        path = _alias_path(domain)
        try:
            data = self._get(path)
        except OpsError as error:
            if error.code == "vercel-not-found":
                return None
            raise
        return self._read(path, data, lambda found: text_of(found["deploymentId"]) or None)

    def _pages(
        self,
        path: str,
        key: str,
        parse: Callable[[Any], T],
        query: Mapping[str, str],
        *,
        look: Callable[[Any], None] | None = None,
        limited: bool = True,
    ) -> Iterator[T]:
        """GET every page of a list: each names the time from which the next one goes back."""
        until: str | None = None
        seen: set[str] = set()
        while True:
            more = {"limit": str(_PAGE)} if limited else {}
            data = self._get(path, {**query, **more, **({"until": until} if until else {})})

            def items(data: Any) -> tuple[list[T], str | None]:
                if look is not None:
                    look(data)
                following = (data.get("pagination") or {}).get("next")
                return [parse(each) for each in data[key]], str(following) if following else None

            found, until = self._read(path, data, items)
            yield from found
            if until is None:
                return
            if until in seen or len(seen) >= _MOST_PAGES:
                raise self._rest.endless(path)
            seen.add(until)

    def _get(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        return self._rest.get(path, {**(query or {}), **self._team()}).data

    def _read(self, path: str, data: Any, parse: Callable[[Any], T]) -> T:
        try:
            return parse(data)
        except MISFITS:
            raise self._rest.not_understood(path) from None

    def _post(
        self, path: str, query: Mapping[str, str], *, body: Mapping[str, Any] | None = None
    ) -> Request:
        return self._send("POST", path, query, body=body or {})

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        *,
        body: Mapping[str, Any] | None,
        fill: Pairs = (),
    ) -> Request:
        return Request(
            method,
            self._url(path, query),
            headers=(("Content-Type", "application/json"),) if body is not None else (),
            secret_headers=self._auth(),
            body=None if body is None else json.dumps(dict(body), sort_keys=True),
            fill=fill,
        )

    def _url(self, path: str, query: Mapping[str, str]) -> str:
        everything = {**query, **self._team()}
        address = self._settings.api.rstrip("/") + path
        return f"{address}?{urlencode(everything)}" if everything else address

    def _auth(self) -> Pairs:
        if self._settings.token is None:
            raise self._rest.failed("refused", "the settings have no vercel.token")
        return (("Authorization", f"bearer:{self._settings.token}"),)

    def _team(self) -> dict[str, str]:
        return {"teamId": self._settings.team} if self._settings.team else {}

    def _variable_path(self, id: str) -> str:
        return f"{self._project_path(9)}/env/{quote(id, safe='{}')}"

    def _project_path(self, version: int) -> str:
        return f"/v{version}/projects/{_id(self._settings.project)}"


def _id(text: str) -> str:
    return quote(text, safe="")


def _alias_path(domain: str) -> str:
    return f"/v4/aliases/{_id(domain)}"
