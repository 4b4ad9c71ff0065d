"""Perform one action, or ask one probe. What cannot be known afterwards is said to be unknown."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from opsctl.core.action import Action, Command, Expect, Manual, Probe, Query, Request
from opsctl.core.errors import OpsError
from opsctl.core.lease import Held
from opsctl.core.process import run_on_terminal, run_program
from opsctl.core.secrets import resolve_secret, without_secrets
from opsctl.core.trust import trusted
from opsctl.engine.last_moment import begun_in_time, was_too_late

_LOCK_STATES = ("55P03", "40P01", "55006")
"""lock_not_available, deadlock_detected, object_in_use (a database with somebody in it): the
transaction was rolled back, try again."""


class OutcomeUnknown(Exception):
    """The action was under way when contact was lost; the text says what is known."""


class ActionFailed(Exception):
    """The action had no effect; the text says why, without secrets."""


@dataclass(frozen=True)
class Answer:
    """What an action gave back: an exit code or status, and text; or a query's last first row."""

    code: int
    text: str
    row: tuple[Any, ...] = ()


def perform(action: Action, *, waiting: Callable[[str], None], held: Held | None = None) -> Answer:
    """Perform an action. Raises ActionFailed or OutcomeUnknown; `waiting` hears of retries.

    What is `held` is looked at again at the last moment before there is an effect.

    A Command that exits with another code than it may has failed with an unknown effect,
    unless the code says that nothing was changed: programs do part of their work and then fail.
    """
    if isinstance(action, Query):
        return _query(action, waiting, held)
    if isinstance(action, Command):
        answer = _command(action, held)
        if answer.code not in action.accepts:
            said = ": ".join(part for part in (f"exit code {answer.code}", _end_of(answer.text))
                             if part)  # fmt: skip
            raise (ActionFailed if answer.code in action.refuses else OutcomeUnknown)(said)
        return answer
    if isinstance(action, Request):
        answer = _request(action, held)
        if answer.code >= 500:
            raise OutcomeUnknown(f"the server answered {answer.code}")
        if not 200 <= answer.code < 300:
            raise ActionFailed(f"the server answered {answer.code}")
        return answer
    raise TypeError("a manual action is a person's")


def ask(probe: Probe, *, once: bool = False) -> tuple[str, str]:
    """Return (word, detail): applied, absent, blocked or unknown.

    `once` leaves out the further attempts: before a step acts there is nothing to wait for.
    """
    word, detail = "unknown", ""
    for attempt in range(1 if once else max(probe.attempts, 1)):
        if attempt:
            time.sleep(probe.pause_s)
        word, detail = _ask_once(probe)
        if word in ("applied", "blocked"):
            break
    return word, detail


def _ask_once(probe: Probe) -> tuple[str, str]:
    action = probe.action
    if isinstance(action, Manual):
        return "unknown", "only a person can tell"
    try:
        if isinstance(action, Query):
            row = _query(action, lambda message: None).row
            word = str(row[0]) if row else "unknown"
            detail = str(row[1] or "") if len(row) > 1 else ""
            known = word in ("applied", "absent", "blocked")
            return (word, detail) if known else ("unknown", detail)
        answer = _command(action) if isinstance(action, Command) else _request(action)
    except (ActionFailed, OutcomeUnknown) as error:
        return "unknown", str(error)
    except OpsError as error:
        return "unknown", f"{error.what}: {error.why}"
    of_program = isinstance(action, Command)
    if answer.code in probe.expect.unsure or (of_program and answer.code < 0):  # by a signal
        said = _end_of(answer.text) if of_program else ""
        return "unknown", said or f"the answer was {answer.code}"
    said = _last_line(answer.text) if of_program and probe.tells else ""
    wrong = _mismatch(probe.expect, answer, of_program=of_program)
    return ("absent", said or wrong) if wrong else ("applied", said)


def _mismatch(expect: Expect, answer: Answer, *, of_program: bool) -> str:
    wanted = expect.exit_code if of_program else expect.status
    if wanted is not None and answer.code != wanted:
        word = "exit code" if of_program else "status"
        tail = _last_line(answer.text)
        return f"{word} {answer.code} instead of {wanted}" + (f": {tail}" if tail else "")
    text = answer.text.replace(": ", ":")
    for part in expect.contains:
        if part not in answer.text:
            return f"the answer lacks {part!r}"
    for part in expect.lacks:
        if part in answer.text or part in text:
            return f"the answer holds {part!r}"
    return ""


def _query(action: Query, waiting: Callable[[str], None], held: Held | None = None) -> Answer:
    url = resolve_secret(action.database)
    pause_s = action.lock_pause_s
    for attempt in range(1, max(action.lock_attempts, 1) + 1):
        try:
            return _transaction(action, url, held)
        except _LockBusy as error:
            if attempt >= action.lock_attempts:
                raise ActionFailed(
                    f"a lock was held by somebody else in each of {attempt} attempts: {error}"
                ) from None
            waiting(f"a lock is held by somebody else; attempt {attempt + 1} in {pause_s:g} s")
            time.sleep(pause_s)
            pause_s *= 2
    raise AssertionError("unreachable")


class _LockBusy(Exception):
    """The lock time-out was reached; the transaction was rolled back."""


def _transaction(action: Query, url: str, held: Held | None) -> Answer:
    import psycopg

    if ":6543/" in url:
        raise ActionFailed("port 6543 is the transaction pooler, which has no session features")
    try:
        connection = psycopg.connect(
            url, autocommit=True, connect_timeout=10, application_name="opsctl"
        )
    except psycopg.Error:
        # libpq repeats the URL, password and all.
        raise ActionFailed("the database was not reached") from None
    committing = False
    try:
        connection.prepare_threshold = None
        row: Sequence[Any] = ()
        if not action.transaction:
            for statement in action.statements:
                _still(held)
                committing = True
                row = _first_row(connection.execute(statement.encode()))
            return Answer(0, "", tuple(row))
        connection.execute("BEGIN READ ONLY" if action.read_only else "BEGIN")
        lock_ms, statement_ms = action.lock_timeout_s * 1000, action.statement_timeout_s * 1000
        connection.execute(f"SET LOCAL lock_timeout = {lock_ms:.0f}".encode())
        connection.execute(f"SET LOCAL statement_timeout = {statement_ms:.0f}".encode())
        for statement in action.statements:
            row = _first_row(connection.execute(statement.encode()))
        _still(held)
        committing = not action.read_only
        connection.execute("COMMIT")
    except psycopg.Error as error:
        if error.sqlstate in _LOCK_STATES:
            raise _LockBusy(error.diag.message_primary or "") from None
        text = _safe_message(error, url)
        lost = error.sqlstate is None or error.sqlstate.startswith(("08", "57P"))
        if lost and committing:
            raise OutcomeUnknown(f"the connection was lost during COMMIT: {text}") from None
        raise ActionFailed(text) from None
    finally:
        connection.close()
    return Answer(0, "", tuple(row))


def _still(held: Held | None) -> None:
    """Raise OpsError `lease-lost` where another may be at work by now."""
    if held is not None:
        held.check()


def _first_row(cursor: Any) -> Sequence[Any]:
    while cursor.nextset():
        pass
    return (cursor.fetchone() or ()) if cursor.description else ()


def _safe_message(error: Any, url: str) -> str:
    primary = error.diag.message_primary
    if not primary:
        return "the connection was lost"
    parts = [primary]
    if error.diag.message_hint:
        parts.append(f"({error.diag.message_hint})")
    text = " ".join(parts)
    return without_secrets(f"{text} [{error.sqlstate}]", [url])


def _command(action: Command, held: Held | None = None) -> Answer:
    env = dict(action.env)
    values = []
    for variable, reference in action.secrets:
        env[variable] = resolve_secret(reference)
        values.append(env[variable])
    _still(held)
    try:
        if action.terminal:
            code = run_on_terminal(
                action.argv, env=env, cwd=_folder(action), timeout_s=action.timeout_s
            )
            return Answer(code, "")
        done = run_program(
            begun_in_time(action.argv, held.latest_start if held is not None else None),
            env=env,
            cwd=_folder(action),
            stdin=action.stdin,
            timeout_s=action.timeout_s,
        )
    except OpsError as error:
        if error.code == "tool-timeout":
            raise OutcomeUnknown(error.why) from None
        raise ActionFailed(f"{error.what}: {error.why}") from None
    if was_too_late(done):
        raise ActionFailed("the lease was over before the program began")
    text = "\n".join(part for part in (done.stdout, done.stderr) if part)
    return Answer(done.exit_code, without_secrets(text, values))


def _folder(action: Command) -> str | None:
    """Return where a command is started.

    On the machine of a colleague who resumes a run the project lies elsewhere: opsctl's own
    commands find the settings as this one did.
    """
    if action.cwd is not None and action.argv[0] == "opsctl" and not Path(action.cwd).is_dir():
        return None
    return action.cwd


def _request(action: Request, held: Held | None = None) -> Answer:
    import httpx

    def trace(event: str, info: object) -> None:
        # Once connected, which may take its time.
        if event.endswith("send_request_headers.started"):
            _still(held)

    headers = dict(action.headers)
    values = []
    for header, reference in action.secret_headers:
        headers[header] = resolve_secret(reference)
        values.append(headers[header])
    url, body, filled = _filled(action)
    values += filled
    try:
        with httpx.Client(
            follow_redirects=False, timeout=action.timeout_s, verify=trusted()
        ) as client:
            response = client.request(
                action.method, url, headers=headers, content=body, extensions={"trace": trace}
            )
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol) as error:
        raise ActionFailed(f"{action.url} was not reached: {type(error).__name__}") from None
    except httpx.HTTPError as error:
        raise OutcomeUnknown(f"{action.url} gave no answer: {type(error).__name__}") from None
    text = without_secrets(response.text[:65536], values)
    return Answer(response.status_code, text)


def _filled(action: Request) -> tuple[str, str | None, list[str]]:
    """Return the address and the body with what stands for each name, and what that is."""
    url, body, values = action.url, action.body, []
    for name, reference in action.fill:
        value, mark = resolve_secret(reference), "{{" + name + "}}"
        url = url.replace(mark, quote(value, safe=""))
        if body is not None:
            # Between the quotes of a JSON string.
            body = body.replace(mark, json.dumps(value)[1:-1])
        values.append(value)
    return url, body, values


def _end_of(text: str) -> str:
    """Return the last lines of what a program said: the last one alone rarely says why."""
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    return "; ".join(lines[-4:])[:400]


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""
