"""Sign tokens with another key: published first, then used, and the old one ended last.

Waiting times are the vendor's: public keys are kept ten minutes at the edge and ten by clients;
a token stays good until it ends, and a quarter of an hour is added.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from opsctl.adapters.supabase_keys import SupabaseKeys
from opsctl.adapters.supabase_signing import SigningKey, SigningKeys
from opsctl.areas.rotate_keys.facts import new_token
from opsctl.areas.rotate_keys.looks import looked, own_probe, word_for
from opsctl.areas.rotate_keys.sources import supabase_of
from opsctl.core.errors import Exit, OpsError
from opsctl.core.plan import Irreversible, Plan, Step, Undo
from opsctl.core.progress import duration

if TYPE_CHECKING:
    from opsctl.core.call import Call
    from opsctl.core.report import Report

_POLL_S = 1.0
_LONGEST_WAIT_S = 3600.0


def plan_jwt(call: Call, *, algorithm: str, revoke: bool) -> Plan:
    """Return the plan that signs tokens with a new key. Raises OpsError `no-signing-key`, ..."""
    api = SigningKeys(supabase_of(call))
    keys = api.keys()
    old = next((each for each in keys if each.status == "in_use"), None)
    if old is None:
        raise OpsError(
            "The project signs with no key that is listed",
            why=f"it has {len(keys)} signing keys, and none is in use",
            hint="move it to signing keys first: Authentication, JWT keys in the dashboard",
            code="no-signing-key",
            exit=Exit.UNKNOWN,
        )
    jwks_s = call.environment.rotation.jwks_s
    known = ",".join(each.id for each in keys)
    words = ["rotate-keys", "signing-id", "--env", call.name, "--quiet", "--known", known]
    fill = (("id", f"own:{shlex.join(words)}"),)
    wait_s = jwks_s + 30.0 if jwks_s <= _LONGEST_WAIT_S else 0.0
    steps = [
        Step(
            id="make-signing",
            title=f"Make a new {algorithm} signing key on standby",
            safety="verify",
            action=api.create(algorithm),
            check=own_probe(call, "signing", "--known", known, "--expect", "standby,in_use"),
            undo=Undo(
                title="Take the new signing key away",
                action=api.delete("{{id}}", fill=fill),
                check=own_probe(call, "signing", "--known", known, "--expect", "none"),
            ),
        ),
        Step(
            id="published",
            title=f"Wait {duration(jwks_s)} until everybody has its public half",
            safety="idempotent",
            check=own_probe(
                call, "signing-age", "--known", known, "--least", f"{jwks_s:g}",
                "--wait", f"{wait_s:g}", attempts=1, timeout_s=wait_s + 120.0,
            ),
        ),
        Step(
            id="use-signing",
            title="Sign with the new key",
            safety="verify",
            action=api.set_status("{{id}}", "in_use", fill=fill),
            check=own_probe(call, "signing", "--known", known, "--expect", "in_use"),
            undo=Undo(
                title="Sign with the old key again",
                action=api.set_status(old.id, "in_use"),
                check=own_probe(call, "signing", "--id", old.id, "--expect", "in_use"),
            ),
        ),
        *(end_signing_steps(call, old, known=known) if revoke else ()),
    ]  # fmt: skip
    return Plan(
        command="rotate-keys jwt",
        environment=call.name,
        protected=call.environment.protected,
        title=f"Sign tokens with a new {algorithm} key",
        steps=tuple(steps),
        notes=tuple(_notes(call, old, revoke=revoke)),
        facts={
            "token": new_token(),
            "since": time.time(),
            "old": [],
            "signing": {"old": old.id, "known": known},
        },
        estimate_s=20.0 + jwks_s,
    )


def end_signing_steps(call: Call, old: SigningKey, *, known: str) -> list[Step]:
    """Return the steps that end a signing key once no token of its can be good any more.

    Raises OpsError `legacy-keys-work` (exit 5): the legacy secret signs the legacy keys.
    """
    settings = supabase_of(call)
    if old.algorithm == "HS256" and SupabaseKeys(settings).legacy_enabled():
        raise OpsError(
            "The legacy JWT secret cannot be ended yet",
            why="the legacy keys anon and service_role are signed with it, and they work",
            hint="opsctl rotate-keys supabase --legacy --revoke",
            code="legacy-keys-work",
            exit=Exit.REFUSED,
        )
    api = SigningKeys(settings)
    least_s = api.token_lifetime_s() + call.environment.rotation.token_grace_s
    wait_s = least_s + 30.0 if least_s <= _LONGEST_WAIT_S else 0.0
    return [
        Step(
            id="tokens-over",
            title=f"See that the new key has signed for {duration(least_s)}: older tokens are over",
            safety="idempotent",
            check=own_probe(
                call, "signing-age", "--known", known, "--least", f"{least_s:g}", "--in-use",
                "--wait", f"{wait_s:g}", attempts=1, timeout_s=wait_s + 120.0,
            ),
        ),
        Step(
            id="end-signing",
            title="End the old signing key",
            safety="verify",
            action=api.set_status(old.id, "revoked"),
            check=own_probe(call, "signing", "--id", old.id, "--expect", "revoked,none"),
            undo=Irreversible("tokens that it signed are refused from then on"),
        ),
    ]  # fmt: skip


def unended_signing(call: Call, facts: dict[str, str]) -> SigningKey | None:
    """Return the signing key that a rotation replaced, where it still makes tokens good."""
    keys = SigningKeys(supabase_of(call)).keys()
    for each in keys:
        if each.id == facts.get("old") and each.status == "previously_used":
            return each
    return None


def check_signing(call: Call, *, id: str, known: str, expect: Sequence[str]) -> Report:
    """Say whether a signing key has one of these states; `none`: it is not there."""
    found = _find(call, id, known)
    state = found.status if found is not None else "none"
    said = f"the signing key {found.id} is {state}" if found else "there is no such signing key"
    return looked(call, "signing", word_for(state in expect), said)


def check_signing_age(
    call: Call, *, known: str, least_s: float, in_use: bool, wait_s: float
) -> Report:
    """Say whether the new signing key is so old, or signs for so long; it is waited for that."""
    deadline = time.monotonic() + wait_s
    while True:
        found = _find(call, "", known)
        if found is None:
            return looked(call, "signing-age", "absent", "there is no new signing key")
        if in_use and found.status != "in_use":
            return looked(call, "signing-age", "absent", f"the new signing key is {found.status}")
        begin = found.updated_at if in_use else found.created_at
        age_s = (datetime.now(UTC) - begin).total_seconds()
        what = "signs" if in_use else "is published"
        said = f"the new signing key {what} for {duration(max(age_s, 0.0))}"
        if age_s >= least_s or time.monotonic() + _POLL_S > deadline:
            return looked(call, "signing-age", word_for(age_s >= least_s), said)
        time.sleep(min(_POLL_S, least_s - age_s))


def signing_id(call: Call, known: str) -> str:
    """Return the id of the key that is not known yet; raises OpsError `no-such-key` (exit 3)."""
    found = _find(call, "", known)
    if found is None:
        raise OpsError(
            "The new signing key is not there",
            why="the project lists none beside those of before",
            hint="opsctl rotate-keys status",
            code="no-such-key",
            exit=Exit.UNKNOWN,
        )
    return found.id


def _find(call: Call, id: str, known: str) -> SigningKey | None:
    keys = SigningKeys(supabase_of(call)).keys()
    if id:
        return next((each for each in keys if each.id == id), None)
    return next((each for each in reversed(keys) if each.id not in known.split(",")), None)


def _notes(call: Call, old: SigningKey, *, revoke: bool) -> list[str]:
    notes = ["Tokens that are out stay good until they end: nobody is signed out by this."]
    if not revoke:
        notes.append(
            f"The old key goes on making its tokens good. End it later: opsctl rotate-keys revoke "
            f"--env {call.name}"
        )
    if old.algorithm == "HS256":
        notes.append(
            "Whoever checks tokens with the shared secret must check by the public keys from now "
            "on: /auth/v1/.well-known/jwks.json"
        )
    return notes
