"""Replace what opsctl cannot make itself: a key of another provider, the database's password.

The new value is read by reference whenever it is needed, so it is kept nowhere. The old one
cannot be read again, so writing over it cannot be undone.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from opsctl.adapters.pg_password import try_password
from opsctl.adapters.supabase_management import Management
from opsctl.areas.rotate_keys.facts import new_token, read_release, require_programs
from opsctl.areas.rotate_keys.looks import Word, looked, own_probe, word_for
from opsctl.areas.rotate_keys.sinks import Held, Place, places_of, read_place
from opsctl.areas.rotate_keys.sources import (
    DATABASE_PASSWORD,
    own_key,
    own_source,
    read_source,
    reference_source,
    supabase_of,
    value_reference,
)
from opsctl.areas.rotate_keys.steps import deploy_steps, health_steps, ill_now, keep_steps
from opsctl.core.action import Command, Expect, Manual, Probe
from opsctl.core.errors import Exit, OpsError
from opsctl.core.plan import Irreversible, Plan, Step
from opsctl.core.secrets import resolve_secret

if TYPE_CHECKING:
    from opsctl.core.call import Call
    from opsctl.core.report import Report

_VALUE = "OPSCTL_VALUE"
_LEAST_LENGTH = 16


def plan_own(call: Call, name: str) -> Plan:
    """Return the plan that replaces a key of another provider."""
    key = own_key(call, name)
    places, token, source = _read_places(call, name), new_token(), own_source(name)
    release = read_release(call, [place for place, _ in places])
    steps = [
        Step(
            id="make",
            title=f"Make the new key {name}",
            safety="manual",
            action=Manual(key.create, key.create_link),
            undo=Irreversible("end the new key where it was made"),
        ),
        _readable(call, source, least=1),
    ]
    if key.test:
        steps.append(
            Step(
                id="try",
                title="Try the new key",
                safety="idempotent",
                check=_by_program(call, key.test, source),
            )
        )
    steps += keep_steps(call, places, new=source, old=None, token=token)
    steps += deploy_steps(call, release, token)
    if key.proof_command:
        steps.append(
            Step(
                id="live",
                title="See the new key live",
                safety="idempotent",
                check=_by_program(call, key.proof_command, source, attempts=5),
            )
        )
    else:
        steps.append(
            Step(
                id="live",
                title="See the new key live",
                safety="manual",
                action=Manual(key.proof),
                undo=Irreversible("it is only looked at"),
            )
        )
    steps += health_steps(call, ill_now(call))
    steps.append(
        Step(
            id="end",
            title=f"End the old key {name}",
            safety="manual",
            action=Manual(key.revoke, key.revoke_link),
            undo=Irreversible("an ended key cannot be made again"),
        )
    )
    return Plan(
        command=f"rotate-keys api {name}",
        environment=call.name,
        protected=call.environment.protected,
        title=f"Replace the key {name} in {len(places)} places",
        steps=tuple(steps),
        notes=("The old key is ended last, by you, once the new one was seen live.",),
        facts={"token": token, "since": time.time(), "old": []},
        estimate_s=30.0 + 3.0 * len(steps),
    )


def plan_password(call: Call, reference: str) -> Plan:
    """Return the plan that gives the database another password.

    Raises OpsError `no-database` (exit 2), `bad-password` (exit 2).
    """
    api = Management(supabase_of(call))
    if call.environment.database is None:
        raise OpsError(
            f"The environment {call.name} has no database",
            why="whether the new password works could not be tried",
            hint=f"add environments.{call.name}.database.url",
            code="no-database",
        )
    _refuse_bad_password(read_source(call, reference_source(reference)))
    places, token = _read_places(call, DATABASE_PASSWORD), new_token()
    source = reference_source(reference)
    release = read_release(call, [place for place, _ in places])
    change = Step(
        id="change",
        title="Give the database the new password",
        safety="verify",
        action=api.request(
            "PATCH",
            f"{api.path}/database/password",
            body={"password": "{{value}}"},
            fill=(("value", value_reference(call, source)),),
        ),
        check=own_probe(call, "password-works", "--source", source, attempts=10),
        undo=Irreversible("the old password is kept nowhere"),
        detail=("from here until the build is live, new connections with the old one fail",),
    )
    steps = [
        _readable(call, source, least=_LEAST_LENGTH),
        *keep_steps(call, places, new=source, old=None, token=token),
        change,
        *deploy_steps(call, release, token),
        *health_steps(call, ill_now(call)),
    ]
    return Plan(
        command="rotate-keys db-password",
        environment=call.name,
        protected=call.environment.protected,
        title=f"Replace the database's password in {len(places)} places",
        steps=tuple(steps),
        notes=(
            "There is one password: between its change and the new build the application opens no "
            "new connection. Do it when that hurts least.",
            f"Afterwards {call.environment.database.url} must give the new one, too: opsctl itself "
            "signs in with it.",
        ),
        facts={"token": token, "since": time.time(), "old": []},
        estimate_s=120.0,
    )


def check_readable(call: Call, *, source: str, least: int) -> Report:
    """Say whether a new value can be read, and is so long."""
    size = len(read_source(call, source))
    return looked(
        call, "readable", word_for(size >= least), f"the new value is there, {size} signs long"
    )


def check_password(call: Call, *, source: str) -> Report:
    """Say whether the database lets in who shows a password."""
    database = call.environment.database
    if database is None:
        return looked(call, "password-works", "unknown", "the environment has no database")
    found = try_password(resolve_secret(database.url), read_source(call, source))
    words: dict[str, Word] = {"taken": "applied", "refused": "absent", "unknown": "unknown"}
    word = words[found]
    said = {"taken": "takes", "refused": "refuses"}.get(found, "does not say whether it takes")
    return looked(call, "password-works", word, f"the database {said} the new password")


def _read_places(call: Call, key: str) -> list[tuple[Place, Held]]:
    places = places_of(call, key)
    require_programs(places)
    return [(place, read_place(call, place)) for place in places]


def _readable(call: Call, source: str, *, least: int) -> Step:
    return Step(
        id="readable",
        title="Read the new value by its reference",
        safety="idempotent",
        check=own_probe(call, "readable", "--source", source, "--least", str(least), attempts=1),
    )


def _by_program(call: Call, argv: tuple[str, ...], source: str, *, attempts: int = 1) -> Probe:
    command = Command(
        argv, secrets=((_VALUE, value_reference(call, source)),), cwd=str(call.project)
    )
    return Probe(command, Expect(exit_code=0), attempts=attempts, pause_s=5.0)


def _refuse_bad_password(password: str) -> None:
    plain = password.isascii() and all(sign.isalnum() or sign in "-._~" for sign in password)
    if len(password) >= _LEAST_LENGTH and plain:
        return
    raise OpsError(
        "The new password was not taken",
        why=f"it needs {_LEAST_LENGTH} signs or more, of letters, digits, and - . _ ~, so that it "
        "stands in a connection URL as it is",
        hint="for example: --new 'cmd:openssl rand -hex 24' prints another one each time; keep it "
        "first, in a password manager, and name it there",
        code="bad-password",
        exit=Exit.USAGE,
    )
