"""What a step can do, as plain data: a Command, a Request, a Query, or a Manual act.

Nothing here runs. Actions are frozen, hold no secrets (only references such as
`env:DATABASE_URL`), and survive the trip through the journal's JSON unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

Pairs = tuple[tuple[str, str], ...]
"""A frozen mapping: (name, value) in the order given."""


@dataclass(frozen=True)
class Command:
    """Start a program. `argv` is never a shell string and never holds a secret.

    A program called `opsctl` is this opsctl, whatever the machine that carries it out; one
    called `opsctl-look` is so as well, and may be done without a process of its own.
    """

    argv: tuple[str, ...]
    env: Pairs = ()
    """Added to the child's environment alone."""
    secrets: Pairs = ()
    """(variable, secret reference): resolved just before the start, in the child alone."""
    cwd: str | None = None
    stdin: str | None = None
    timeout_s: float = 120.0
    terminal: bool = False
    """Whether it has the person's terminal: it asks there, and what it says goes to stderr."""
    accepts: tuple[int, ...] = (0,)
    """Exit codes by which it has done what it should; by one that is not 0 it found something."""
    refuses: tuple[int, ...] = ()
    """Exit codes by which it says that it changed nothing."""


@dataclass(frozen=True)
class Request:
    """Send one HTTP request. Redirects are never followed."""

    method: str
    url: str
    headers: Pairs = ()
    secret_headers: Pairs = ()
    """(header, secret reference)."""
    body: str | None = None
    timeout_s: float = 30.0
    fill: Pairs = ()
    """(name, secret reference): `{{name}}` in the address and in the JSON body stands for it.

    It is read just before the request is sent, so what is secret, or not known before the
    steps before it were done, stands in no plan.
    """


@dataclass(frozen=True)
class Query:
    """Run SQL against one database.

    `database` is a secret reference that resolves to a connection URL. With `transaction` all
    statements succeed or none does. The lock time-out is retried `lock_attempts` times in all;
    each attempt starts the transaction anew, so a retry repeats nothing.
    """

    database: str
    statements: tuple[str, ...]
    transaction: bool = True
    read_only: bool = False
    lock_timeout_s: float = 3.0
    statement_timeout_s: float = 60.0
    lock_attempts: int = 1
    lock_pause_s: float = 2.0
    """Pause after a lock time-out; doubled after each."""


@dataclass(frozen=True)
class Manual:
    """A person does it: shown with a link, confirmed, recorded with name and time."""

    instruction: str
    link: str | None = None


Action = Command | Request | Query | Manual

_KINDS: dict[str, type[Command] | type[Request] | type[Query] | type[Manual]] = {
    "command": Command,
    "request": Request,
    "query": Query,
    "manual": Manual,
}


@dataclass(frozen=True)
class Expect:
    """What the answer of an action must look like; every given part must hold.

    A Query answers one row instead: its first column is a word of `Answer`, its second, if
    there is one, the detail. `contains` and `lacks` look at stdout or the body as text.
    """

    exit_code: int | None = None
    status: int | None = None
    contains: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    unsure: tuple[int, ...] = ()
    """Exit codes or statuses that tell nothing: it could not look."""


@dataclass(frozen=True)
class Probe:
    """Ask the world whether a step has taken effect. The action must only read.

    The answer is `applied`, `absent` (not applied, may run), `blocked` (must not run; the
    detail says why) or `unknown`. A Command or Request that meets `expect` is applied, one
    that answers otherwise is absent, one that cannot be asked or answers with one of
    `expect.unsure` is unknown. Up to `attempts` are made, `pause_s` apart, until it says applied.
    """

    action: Action
    expect: Expect = Expect()
    attempts: int = 1
    pause_s: float = 1.0
    tells: bool = False
    """Whether the last line that a program says is kept as the detail, applied or not."""


def action_to_json(action: Action) -> dict[str, Any]:
    """Return the action as JSON data with its `kind`."""
    kind = next(name for name, cls in _KINDS.items() if isinstance(action, cls))
    data = {"kind": kind, **asdict(action)}
    if isinstance(action, Request) and not action.fill:
        del data["fill"]  # added later: the hash of a plan that was journalled must stay
    if isinstance(action, Command):
        usual = Command(action.argv)
        for name in ("terminal", "accepts", "refuses"):  # added later, as well
            if getattr(action, name) == getattr(usual, name):
                del data[name]
    return data


def action_from_json(data: Mapping[str, Any]) -> Action:
    """Return the action that `action_to_json` wrote; raises KeyError for an unknown kind."""
    fields = {name: _frozen(value) for name, value in data.items() if name != "kind"}
    return _KINDS[data["kind"]](**fields)


def probe_to_json(probe: Probe) -> dict[str, Any]:
    """Return the probe as JSON data.

    What was added to probes later is left out where it says nothing: the hash of a plan that
    was journalled before must stay what it was.
    """
    data = {**asdict(probe), "action": action_to_json(probe.action)}
    if not probe.tells:
        del data["tells"]
    if not probe.expect.unsure:
        del data["expect"]["unsure"]
    return data


def probe_from_json(data: Mapping[str, Any]) -> Probe:
    """Return the probe that `probe_to_json` wrote."""
    expect = Expect(**{name: _frozen(value) for name, value in data["expect"].items()})
    rest = {name: value for name, value in data.items() if name not in ("action", "expect")}
    return Probe(action=action_from_json(data["action"]), expect=expect, **rest)


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value
