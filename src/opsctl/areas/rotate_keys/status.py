"""Look at keys and rotations: what is unfinished, what works that should not, what is old."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from opsctl.adapters.supabase_keys import ApiKey, SupabaseKeys
from opsctl.areas.rotate_keys.rotations import Rotation, read_rotations, unended
from opsctl.areas.rotate_keys.signing import unended_signing
from opsctl.areas.rotate_keys.sinks import Held, places_of, read_place
from opsctl.areas.rotate_keys.sources import supabase_of
from opsctl.core.errors import OpsError
from opsctl.core.progress import duration
from opsctl.core.report import Finding, Location, Report, Severity, Status, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opsctl.core.call import Call

_DAY_S = 86_400.0


def report_status(call: Call, *, places: bool) -> Report:
    """Return what is to be done about keys; exit 1 while there is anything.

    With `places`, what each place holds, as far as it can be read.
    """
    now = datetime.now(UTC)
    rotations = read_rotations(call)
    findings: list[Finding] = []
    notes: list[str] = []
    keys: tuple[ApiKey, ...] = ()
    known: dict[str, ApiKey] = {}
    legacy: bool | None = None
    if call.environment.supabase is not None:
        api = SupabaseKeys(supabase_of(call))
        keys, legacy = api.keys(), api.legacy_enabled()
        known = api.hashes() if places else {}
        findings += [_aged(call, each, now) for each in keys if each.kind != "legacy"]
        if legacy:
            notes.append(
                "The legacy keys anon and service_role work; the way out of them: "
                "opsctl rotate-keys supabase --legacy"
            )
    for each in rotations:
        findings += _unfinished(each, keys, legacy)
        findings += _signing(call, each)
    findings += [_own_age(call, name.name, rotations, now)
                 for name in call.environment.rotation.keys]  # fmt: skip
    tables = [_key_table(keys, legacy, now)] if keys else []
    if places:
        tables.append(_place_table(call, known, findings))
    if not findings:
        notes.append("The settings name no keys.")
    return Report(
        command="rotate-keys status",
        title="Keys and their rotation",
        environment=call.name,
        findings=tuple(findings),
        tables=tuple(tables),
        notes=tuple(notes),
        data={
            "keys": [
                {"kind": each.kind, "name": each.name, "prefix": each.prefix,
                 "inserted_at": each.inserted_at} for each in keys
            ],
            "legacy_enabled": legacy,
            "rotations": [
                {"run": each.run.id, "command": each.run.command, "stopped": each.stopped,
                 "unended": [old["name"] for old in unended(each, keys, legacy)]}
                for each in rotations
            ],
        },
    )  # fmt: skip


def _unfinished(each: Rotation, keys: Sequence[ApiKey], legacy: bool | None) -> list[Finding]:
    if each.stopped:
        return [
            Finding(
                "rotation-unfinished",
                f"A rotation has stopped: {each.run.title}",
                Status.FAILED,
                evidence=f"run {each.stopped_run}, begun by {each.run.actor}",
                hint=f"opsctl runs resume {each.stopped_run}, or opsctl rotate-keys abort",
            )
        ]
    left = unended(each, keys, legacy)
    return [
        Finding(
            "old-key-works",
            f"The old {old['kind']} key {old['name']} was replaced and works still",
            Status.FAILED,
            evidence=f"{old.get('prefix') or old['name']}..., replaced by run {each.run.id}",
            hint="opsctl rotate-keys revoke",
        )
        for old in left
    ]


def _signing(call: Call, each: Rotation) -> list[Finding]:
    facts = each.run.facts.get("signing")
    old = unended_signing(call, facts) if facts and not each.stopped else None
    if old is None:
        return []
    return [
        Finding(
            "old-key-works",
            f"The old {old.algorithm} signing key was replaced and makes tokens good still",
            Status.FAILED,
            evidence=f"{old.id}, replaced by run {each.run.id}",
            hint="opsctl rotate-keys revoke, once its tokens are over",
        )
    ]


def _aged(call: Call, key: ApiKey, now: datetime) -> Finding:
    most = call.environment.rotation.max_age_days
    age_s = _age_s(key, now)
    title = f"The {key.kind} key {key.name} is of unknown age"
    if age_s is None:
        return Finding("key-age", title, Status.UNKNOWN, Severity.WARNING)
    old = age_s > most * _DAY_S
    return Finding(
        "key-age",
        f"The {key.kind} key {key.name} is {duration(age_s)} old",
        Status.FAILED if old else Status.OK,
        evidence=f"the settings allow {most:g} days" if old else "",
        location=Location(object=key.prefix) if key.prefix else None,
        hint=f"opsctl rotate-keys supabase --only {key.kind}" if old else "",
    )


def _own_age(call: Call, name: str, rotations: Sequence[Rotation], now: datetime) -> Finding:
    done = [each for each in rotations
            if each.run.command == f"rotate-keys api {name}" and not each.stopped]  # fmt: skip
    if not done or done[-1].run.ended_at is None:
        return Finding(
            "key-age", f"The key {name} was never rotated by opsctl", Status.UNKNOWN,
            Severity.WARNING, hint=f"opsctl rotate-keys api {name}",
        )  # fmt: skip
    age_s = now.timestamp() - done[-1].run.ended_at
    old = age_s > call.environment.rotation.max_age_days * _DAY_S
    return Finding(
        "key-age",
        f"The key {name} was rotated {duration(age_s)} ago",
        Status.FAILED if old else Status.OK,
        hint=f"opsctl rotate-keys api {name}" if old else "",
    )


def _age_s(key: ApiKey, now: datetime) -> float | None:
    try:
        made = datetime.fromisoformat(key.inserted_at)
    except ValueError:
        return None
    made = made if made.tzinfo is not None else made.replace(tzinfo=UTC)
    return (now - made).total_seconds()


def _key_table(keys: Sequence[ApiKey], legacy: bool | None, now: datetime) -> Table:
    rows = []
    for each in keys:
        age_s = _age_s(each, now)
        state = "works" if each.kind != "legacy" or legacy else "off"
        age = duration(age_s) if age_s is not None else "-"
        rows.append((each.kind, each.name, each.prefix or "-", age, state))
    return Table("Keys", ("kind", "name", "prefix", "age", "state"), tuple(rows))


def _place_table(call: Call, known: dict[str, ApiKey], findings: list[Finding]) -> Table:
    rows = []
    for key in dict.fromkeys(sink.key for sink in call.environment.rotation.sinks):
        for place in places_of(call, key):
            try:
                holds = _said(read_place(call, place), known)
            except OpsError as error:
                holds = f"unknown: {error.why}"
                findings.append(
                    Finding("place-unread", f"{place.title} could not be asked", Status.UNKNOWN,
                            evidence=f"{error.what}: {error.why}", hint=error.hint)
                )  # fmt: skip
            rows.append((key, place.title, holds))
    return Table("Where they are kept", ("key", "place", "holds"), tuple(rows))


def _said(held: Held, known: dict[str, ApiKey]) -> str:
    if not held.there:
        return "nothing"
    if not held.digest:
        return "something that cannot be read"
    key = known.get(held.digest)
    return f"{key.kind} key {key.name}" if key is not None else "something else"
