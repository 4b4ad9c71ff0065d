"""Ask the database and the platforms' APIs, each in a thread with a time-out of its own."""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import psycopg

from opsctl.adapters import postgres
from opsctl.adapters.http_request import Ask
from opsctl.adapters.rest import Patience
from opsctl.adapters.supabase_health import METRICS_PATH, read_machine, read_services
from opsctl.adapters.vercel import VercelApi
from opsctl.adapters.vercel_release import held_back
from opsctl.areas.healthcheck.platform import (
    DatabaseFacts,
    judge_database,
    judge_deployment,
    judge_error,
    judge_machine,
    judge_services,
)
from opsctl.areas.healthcheck.verdict import Moment, Verdict
from opsctl.core.errors import Exit, OpsError
from opsctl.core.secrets import resolve_secret

if TYPE_CHECKING:
    from opsctl.adapters.probed import Answer
    from opsctl.adapters.prober import Prober
    from opsctl.areas.healthcheck.facts import Check, Done
    from opsctl.areas.healthcheck.surroundings import Surroundings
    from opsctl.core.call import Call
    from opsctl.core.settings import Database, Limits, Supabase, Vercel

_TIMEOUT_S = 30.0
_PATIENCE = Patience(attempts=2)
_MOST_METRICS_BYTES = 4 << 20

Judge = Callable[[Moment], Verdict]
"""Facts that are in already, to be judged once it is known when they came."""


class ThreadCheck:
    """Asks in a thread: libraries that wait are not for the loop."""

    gap_s = 0.0

    def __init__(
        self,
        prober: Prober,
        surroundings: Surroundings,
        name: str,
        *,
        work: Callable[[], Judge],
        what: str,
        ill: bool,
    ) -> None:
        self.name = name
        self._loop = prober.loop
        self._surroundings = surroundings
        self._work = work
        self._what = what
        self._ill = ill

    def look(self, due: float, done: Done) -> None:
        """Begin; a thread that hangs is left behind, it keeps nobody from ending."""
        began = time.monotonic()
        due = min(due, began)
        open_: list[Done] = [done]

        def finish(judge: Judge, ended: float) -> None:
            if open_:
                timer.cancel()
                verdict = judge(Moment(due, began, ended))
                self._surroundings.heard(verdict.reached)
                open_.pop()(verdict)

        def failed(error: OpsError, ended: float) -> None:
            def decide(offline: bool) -> None:
                finish(self._failed(error, ill=self._ill and not offline), ended)

            if self._ill:
                self._surroundings.ask(decide)
            else:
                decide(False)

        def work() -> None:
            try:
                judge = self._work()
            except OpsError as error:
                ended, said = time.monotonic(), error
                self._loop.from_thread(lambda: failed(said, ended))
            except Exception as error:  # noqa: BLE001 - a thread has nobody to raise to
                ended, said = time.monotonic(), _unexpected(self._what, error)
                self._loop.from_thread(lambda: failed(said, ended))
            else:
                ended = time.monotonic()
                self._loop.from_thread(lambda: finish(judge, ended))

        timer = self._loop.at(
            began + _TIMEOUT_S, lambda: failed(_late(self._what), time.monotonic())
        )
        self._loop.in_thread(work)

    def _failed(self, error: OpsError, *, ill: bool) -> Judge:
        return lambda moment: judge_error(self.name, error, moment, ill=ill, what=self._what)


class MachineCheck:
    """Reads the metrics of the machine that a Supabase database runs on."""

    name = "machine"
    gap_s = 0.0

    def __init__(self, prober: Prober, project: Supabase, *, limits: Limits) -> None:
        self._prober = prober
        self._project = project
        self._limits = limits
        prober.trust()

    def look(self, due: float, done: Done) -> None:
        """Begin to ask."""
        try:
            ask = self._ask()
        except OpsError as error:
            done(self._error(error, Moment(due, due, due)))
            return
        self._prober.send(ask, due=due, done=lambda answer: done(self._judge(answer)))

    def _ask(self) -> Ask:
        pair = f"service_role:{resolve_secret(self._project.secret_key or '')}"
        return Ask(
            self.name,
            (self._project.url or "").rstrip("/") + METRICS_PATH,
            headers={"Authorization": f"Basic {b64encode(pair.encode()).decode()}"},
            timeout_s=_TIMEOUT_S,
            keep=_MOST_METRICS_BYTES,
        )

    def _judge(self, answer: Answer) -> Verdict:
        moment = Moment(answer.due, answer.began, answer.ended)
        if answer.failure is None and answer.status == 200:
            shares = read_machine(answer.body.decode("utf-8", "replace"))
            return judge_machine(shares, moment, limits=self._limits)
        why = answer.failure.said if answer.failure else f"it answered {answer.status}"
        error = OpsError(
            "The metrics of the database's machine could not be read",
            why=why,
            hint="check supabase.url and supabase.secret_key in the settings",
            code="metrics-unreachable",
            exit=Exit.UNKNOWN,
        )
        return self._error(error, moment)

    def _error(self, error: OpsError, moment: Moment) -> Verdict:
        # That it cannot be measured says nothing of the application.
        return judge_error(self.name, error, moment, ill=False, what="The database's machine")


def platform_checks(
    call: Call, prober: Prober, surroundings: Surroundings, *, only: Sequence[str]
) -> list[Check]:
    """Return a check for each platform that the settings describe well enough to be asked."""
    environment, limits = call.environment, call.environment.limits
    found: list[Check] = []

    def add(name: str, what: str, work: Callable[[], Judge], *, ill: bool) -> None:
        found.append(ThreadCheck(prober, surroundings, name, work=work, what=what, ill=ill))

    database, supabase, vercel = environment.database, environment.supabase, environment.vercel
    if database is not None:
        add("database", "The database", lambda: _ask_database(database, limits), ill=True)
    if supabase is not None and supabase.ref and supabase.access_token:
        add("supabase", "Supabase's API", lambda: _ask_services(supabase), ill=False)
    if supabase is not None and supabase.url and supabase.secret_key:
        found.append(MachineCheck(prober, supabase, limits=limits))
    if vercel is not None and vercel.token:
        add("vercel", "Vercel's API", lambda: _ask_vercel(vercel), ill=False)
    return [each for each in found if not only or each.name in only]


def _ask_database(database: Database, limits: Limits) -> Judge:
    with postgres.connect(resolve_secret(database.url)) as connection:
        try:
            connection.execute("SET statement_timeout = '10s'")
            row = connection.execute(_QUESTION).fetchone()
        except psycopg.Error as error:
            raise OpsError(
                "The database was reached and did not answer",
                why=error.diag.message_primary or type(error).__name__,
                hint="opsctl diagnose db",
                code="database-failing",
                exit=Exit.UNKNOWN,
            ) from None
        where = f"{connection.info.host}:{connection.info.port}"
    version, connections, most, read_only, size = row if row else ("", 0, 0, False, 0)
    facts = DatabaseFacts(where, version, connections, most, read_only, size)
    return lambda moment: judge_database(facts, moment, limits=limits)


def _ask_services(supabase: Supabase) -> Judge:
    services = read_services(supabase)
    return lambda moment: judge_services(services, moment)


def _ask_vercel(vercel: Vercel) -> Judge:
    api = VercelApi(vercel, patience=_PATIENCE)
    project = api.project()
    production = api.production(project)
    newest, _ = api.deployments(project, most=1, target="production")
    held = held_back(project, production.deployment.id if production.deployment else None)
    return lambda moment: judge_deployment(
        production, newest[0] if newest else None, moment, held=held
    )


def _late(what: str) -> OpsError:
    return OpsError(
        f"{what} did not answer in time",
        why=f"no answer within {_TIMEOUT_S:g} s",
        hint="look at the platform's status page",
        code="timeout",
        exit=Exit.UNKNOWN,
    )


def _unexpected(what: str, error: Exception) -> OpsError:
    return OpsError(
        f"{what} could not be asked",
        why=f"{type(error).__name__}, which was not expected",
        hint="run it again with --verbose and report what it prints",
        code="unexpected",
        exit=Exit.UNKNOWN,
    )


_QUESTION = """
SELECT current_setting('server_version'),
       (SELECT count(*)::int FROM pg_stat_activity WHERE backend_type = 'client backend'),
       current_setting('max_connections')::int,
       pg_is_in_recovery(),
       pg_database_size(current_database())
"""
