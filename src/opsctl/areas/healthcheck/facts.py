"""Look at everything at once: endpoints on one loop, what has no such way in threads."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Protocol

from opsctl.adapters.event_loop import EventLoop
from opsctl.adapters.http_request import Ask
from opsctl.adapters.probed import Answer
from opsctl.adapters.prober import Prober
from opsctl.areas.healthcheck.checks import OF_THE_WAY, Judging, judge_endpoint, was_reached
from opsctl.areas.healthcheck.surroundings import Surroundings
from opsctl.areas.healthcheck.verdict import Verdict
from opsctl.core.errors import OpsError

if TYPE_CHECKING:
    from opsctl.areas.healthcheck.checks import Pattern
    from opsctl.core.call import Call
    from opsctl.core.settings import HealthEndpoint

_GAP_S = {"http": 0.002, "https": 0.004}
"""Between two starts: as many at once would measure this machine's queue, not the servers."""
_RETRY_PAUSE_S = 1.0

Done = Callable[[Verdict], None]


class Check(Protocol):
    """One check; `look` may be called again before the last look has ended."""

    @property
    def name(self) -> str:
        """Unique within the environment."""

    @property
    def gap_s(self) -> float:
        """How long after its start the next check may start."""

    def look(self, due: float, done: Done) -> None:
        """Begin to look; `done` hears of it once, in the loop."""


class EndpointCheck:
    """Asks one endpoint."""

    def __init__(
        self,
        prober: Prober,
        surroundings: Surroundings,
        judging: Judging,
        *,
        ask: Ask | OpsError,
        retries: int,
    ) -> None:
        self.name = judging.endpoint.name
        self.gap_s = _GAP_S[judging.endpoint.url.partition(":")[0].lower()]
        self._prober = prober
        self._surroundings = surroundings
        self._judging = judging
        self._ask = ask
        self._retries = retries
        if isinstance(ask, Ask):
            prober.prepare(ask)

    def look(self, due: float, done: Done) -> None:
        """Ask, and again where that is wanted and it failed."""
        self._attempt(due, done, attempt=1)

    def _attempt(self, due: float, done: Done, *, attempt: int) -> None:
        ask = self._ask
        if isinstance(ask, OpsError):
            done(self._judge(_unasked(self._judging.endpoint, ask, due=due), attempt=1))
            return

        def answered(answer: Answer) -> None:
            self._surroundings.heard(was_reached(answer))
            if answer.failure is not None and answer.failure.reason in OF_THE_WAY:
                self._surroundings.ask(lambda offline: judged(answer, offline=offline))
            else:
                judged(answer, offline=False)

        def judged(answer: Answer, *, offline: bool) -> None:
            verdict = self._judge(answer, attempt=attempt, offline=offline)
            if verdict.sample.status != "fail" or attempt > self._retries:
                done(verdict)
                return
            again = time.monotonic() + _RETRY_PAUSE_S
            self._prober.loop.at(again, lambda: self._attempt(again, done, attempt=attempt + 1))

        self._prober.send(ask, due=due, done=answered)

    def _judge(self, answer: Answer, *, attempt: int, offline: bool = False) -> Verdict:
        return judge_endpoint(
            self._judging, answer, now=time.time(), attempts=attempt, offline=offline
        )


def checks_of(
    call: Call, prober: Prober, *, retries: int = 0, only: Sequence[str] = ()
) -> tuple[Check, ...]:
    """Return the checks of an environment in the order of the settings.

    `only` are the names of those wanted, all of them where it is empty. Raises OpsError
    `no-such-check`, `check-name-taken` or `bad-pattern` (exit 2), `re2-missing` (exit 3).
    """
    surroundings = Surroundings(prober.loop, witnesses=call.environment.witnesses)
    found: list[Check] = []
    for endpoint in call.environment.health:
        if only and endpoint.name not in only:
            continue
        ask, secrets = _prepared(endpoint)
        judging = Judging(endpoint, call.environment.limits, _pattern(endpoint), secrets)
        found.append(EndpointCheck(prober, surroundings, judging, ask=ask, retries=retries))
    environment = call.environment
    platforms = environment.database or environment.supabase or environment.vercel
    if platforms and (not only or len(found) < len(only)):
        # What these import is not to be imported while a probe is timed.
        from opsctl.areas.healthcheck.platform_checks import platform_checks

        found += platform_checks(call, prober, surroundings, only=only)
    names: set[str] = set()
    for each in found:
        if each.name in names:
            raise OpsError(
                f"Two checks are named {each.name!r}",
                why="an endpoint of the settings has the name of a platform's check",
                hint=f"give the endpoint another name: environments.{call.name}.health",
                code="check-name-taken",
            )
        names.add(each.name)
    if missing := [each for each in only if each not in names]:
        raise OpsError(
            f"There is no check named {missing[0]!r}",
            why=f"{call.name} has {', '.join(sorted(names)) or 'no others'}",
            hint="opsctl healthcheck run, without --only, names them all",
            code="no-such-check",
        )
    return tuple(found)


def gather(call: Call, *, retries: int = 0, only: Sequence[str] = ()) -> tuple[Verdict, ...]:
    """Look at everything once, and return the verdicts in the order of the settings."""
    loop = EventLoop()
    try:
        prober = Prober(loop)
        checks = checks_of(call, prober, retries=retries, only=only)
        verdicts: dict[int, Verdict] = {}
        # All imports are done by now; what follows is timed.
        at = time.monotonic()
        for index, check in enumerate(checks):
            _begin(loop, check, at, partial(verdicts.__setitem__, index))
            at += check.gap_s
        loop.run(lambda: len(verdicts) == len(checks))
        return tuple(verdicts[index] for index in range(len(checks)))
    finally:
        loop.close()


def _begin(loop: EventLoop, check: Check, at: float, done: Done) -> None:
    loop.at(at, lambda: check.look(at, done))


def _prepared(endpoint: HealthEndpoint) -> tuple[Ask | OpsError, tuple[str, ...]]:
    """Return the request, or why there is none, and the secrets in it."""
    headers: dict[str, str] = {}
    if endpoint.headers:
        from opsctl.core.secrets import resolve_secret

        try:
            headers = {name: resolve_secret(value) for name, value in endpoint.headers.items()}
        except OpsError as error:
            return error, ()
    ask = Ask(
        endpoint.name,
        endpoint.url,
        method=endpoint.method,
        headers=headers,
        timeout_s=endpoint.timeout_s,
        redirects=endpoint.redirects,
    )
    return ask, tuple(headers.values())


def _unasked(endpoint: HealthEndpoint, error: OpsError, *, due: float) -> Answer:
    from opsctl.adapters.dialing import Failed

    now = time.monotonic()
    return Answer(
        ask=Ask(endpoint.name, endpoint.url),
        due=min(due, now),
        began=now,
        ended=now,
        failure=Failed("secret", f"{error.what}: {error.why}"),
    )


def _pattern(endpoint: HealthEndpoint) -> Pattern | None:
    if endpoint.matches is None:
        return None
    from opsctl.adapters.patterns import compile_pattern

    pattern: Pattern = compile_pattern(endpoint.matches, where=f"health endpoint {endpoint.name}")
    return pattern
