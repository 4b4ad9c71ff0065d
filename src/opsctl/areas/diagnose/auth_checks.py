"""Judge Supabase Auth, in the order an engineer would look; pure."""

from __future__ import annotations

from opsctl.adapters.supabase_auth import Answer
from opsctl.areas.diagnose.auth_facts import AuthFacts, SignedIn
from opsctl.areas.diagnose.auth_keys import judge_keys
from opsctl.areas.diagnose.auth_urls import judge_cors, judge_redirects
from opsctl.areas.diagnose.checks import overview_table, title_of
from opsctl.areas.diagnose.findings import (
    gravest,
    green,
    not_judged,
    note,
    red,
    several,
    unknown,
    yellow,
)
from opsctl.areas.diagnose.overview import judge_provider
from opsctl.core.report import Finding, Report

_NAMED = 10


def judge_auth(facts: AuthFacts, *, environment: str, protected: bool) -> Report:
    """Return the report on an environment's Auth."""
    parts = [
        ("provider", judge_provider(facts.provider)),
        ("reachable", _reachable(facts)),
        ("settings", _settings(facts, protected=protected)),
        ("keys", judge_keys(facts)),
        ("sign-in", _sign_ins(facts)),
        ("cors", judge_cors(facts)),
        ("redirects", judge_redirects(facts, protected=protected)),
        ("rls", _rls(facts)),
    ]
    findings = tuple(each for _, part in parts for each in part)
    return Report(
        command="diagnose auth",
        title=title_of(findings, well="Nothing is wrong with sign-in"),
        environment=environment,
        findings=findings,
        tables=(overview_table(parts),),
        data={
            "parts": [{"name": name, "colour": gravest(part)} for name, part in parts],
            "url": facts.url,
        },
    )


def _reachable(facts: AuthFacts) -> list[Finding]:
    health = facts.health
    if health.status == 200:
        version = health.data.get("version")
        shown = f" {version}" if isinstance(version, str) else ""
        return [green("auth-reachable", f"Auth answers{shown}", where=facts.url)]
    if health.status in (401, 403) and facts.settings.status in (401, 403):
        return [unknown("auth-reachable", "Auth: not known, the gateway wants another key",
                        saw=_saw(health), next="see the publishable key, below",
                        where=facts.url)]  # fmt: skip
    title = "Auth is not well" if health.status else "Auth was not reached"
    return [red("auth-reachable", title, saw=_saw(health),
                next=f"is the project paused? curl -i {facts.url}/auth/v1/health",
                where=facts.url)]  # fmt: skip


def _settings(facts: AuthFacts, *, protected: bool) -> list[Finding]:
    answer = facts.settings
    external = answer.data.get("external")
    if answer.status != 200 or not isinstance(external, dict):
        saw = _saw(answer) if answer.status != 200 else "the answer is of another form"
        return [unknown("auth-settings", "The settings of Auth: not known", saw=saw,
                        next="see above", where=facts.url)]  # fmt: skip
    on = sorted(str(name) for name, enabled in external.items() if enabled is True)
    found = [green("auth-settings", f"Ways to sign in: {', '.join(on) or 'none'}")]
    if not on:
        found = [red("auth-settings", "Nobody can sign in: no provider is enabled",
                     next="Authentication, Sign In / Providers")]  # fmt: skip
    if answer.data.get("mailer_autoconfirm") is True and "email" in on:
        colour = yellow if protected else note
        found.append(
            colour("auth-settings", "E-mail addresses are not confirmed: anybody can sign up as "
                   "anybody", saw="mailer_autoconfirm",
                   next="Authentication, Sign In / Providers: Confirm email")
        )  # fmt: skip
    if answer.data.get("disable_signup") is True:
        found.append(note("auth-settings", "New users cannot sign up", saw="disable_signup"))
    if "anonymous_users" in on:
        found.append(note("auth-settings", "Anonymous users may sign in: policies for "
                          "authenticated hold for them, too"))  # fmt: skip
    if answer.data.get("phone_autoconfirm") is True and "phone" in on:
        found.append(note("auth-settings", "Phone numbers are not confirmed",
                          saw="phone_autoconfirm"))  # fmt: skip
    return found


def _sign_ins(facts: AuthFacts) -> list[Finding]:
    if not facts.sign_ins:
        return [not_judged("test-sign-in", "No test user signed in",
                           next="set auth.sign_ins in the settings")]  # fmt: skip
    return [each for signed in facts.sign_ins for each in _sign_in(signed, facts)]


def _sign_in(signed: SignedIn, facts: AuthFacts) -> list[Finding]:
    name, answer, token = signed.settings.name, signed.answer, signed.token
    rule, took = "test-sign-in", f"{answer.took_ms:.0f} ms"
    if signed.error is not None:
        return [unknown(rule, f"{name} did not sign in", saw=signed.error.why,
                        next=signed.error.hint)]  # fmt: skip
    if answer.status in (0, 401):
        # Neither Auth nor the user says that, but the way there, or the gateway.
        return [unknown(rule, f"{name} could not be tried", saw=_saw(answer), next="see above")]
    if answer.status == 429 or answer.code in ("captcha_failed", "over_request_rate_limit"):
        return [unknown(rule, f"{name} could not be tried", saw=_saw(answer),
                        next="sign-in is guarded: wait, or let the test user past it")]  # fmt: skip
    if answer.status != 200:
        hint = {
            "invalid_credentials": "does the test user exist, with this password?",
            "email_not_confirmed": "confirm the test user's address",
            "email_provider_disabled": "Authentication, Sign In / Providers: Email",
            "user_banned": "the test user is banned",
        }.get(answer.code, "look at Auth's logs in the dashboard")
        return [red(rule, f"{name} cannot sign in", saw=f"{_saw(answer)}, {took}", next=hint)]
    if token is None:
        return [red(rule, f"{name} signed in and got no token", saw="the answer is of another form",
                    next=f"is {facts.url} Supabase Auth?")]  # fmt: skip
    found: list[Finding] = []
    if signed.accepted.status != 200:
        found.append(
            red(
                rule,
                f"{name} signed in, and the token is not accepted",
                saw=_saw(signed.accepted),
                next="were signing keys just rotated?",
            )
        )
    if token.ends is not None and token.ends <= facts.at:
        found.append(
            red(
                rule,
                f"{name} got a token that has ended already",
                saw=f"{token.ends:%Y-%m-%d %H:%M} UTC",
                next="is this clock right?",
            )
        )
    if token.role != "authenticated":
        found.append(
            yellow(
                rule,
                f"{name} has the role {token.role or 'none'}",
                saw="usual is authenticated",
                next="is that meant? A hook may set it",
            )
        )
    keys = facts.signing_keys.data.get("keys")
    known = {each.get("kid") for each in keys if isinstance(each, dict)} if keys else set()
    if not token.algorithm.startswith("HS") and known and token.key_id not in known:
        found.append(red(rule, f"The token of {name} is signed by a key that is not published",
                         saw=f"{token.algorithm}, kid {token.key_id}",
                         next="others cannot check it: wait ten minutes for caches, then look "
                         "at the signing keys"))  # fmt: skip
    if signed.signed_out.status not in (200, 204):
        found.append(yellow(rule, f"{name} could not sign out", saw=_saw(signed.signed_out),
                            next="its session stays until it ends by itself"))  # fmt: skip
    return found or [green(rule, f"{name} signs in and out, {took}")]


def _rls(facts: AuthFacts) -> list[Finding]:
    if facts.exposed_error is not None:
        error = facts.exposed_error
        return [unknown("rls", "Row-level security: not known", saw=f"{error.what}: {error.why}",
                        next=error.hint)]  # fmt: skip
    vitals = facts.exposed
    if vitals is None:
        return [not_judged("rls", "Row-level security was not looked at",
                           next="set database.url in the settings")]  # fmt: skip
    if why := vitals.why("exposed") or vitals.why("api_roles"):
        return [unknown("rls", "Row-level security: not known", saw=why, next="opsctl diagnose db")]
    if not vitals.rows("api_roles"):
        return [unknown("rls", "Row-level security: not known",
                        saw="the database has no roles anon and authenticated",
                        next="is database.url the project's?")]  # fmt: skip
    rows = vitals.rows("exposed")
    reachable = [row for row in rows if row["roles"]]
    bare = [row for row in reachable if not row["secured"]]
    if bare:
        saw = ", ".join(f"{row['name']} ({', '.join(row['roles'])})" for row in bare[:_NAMED])
        more = f", {len(bare) - _NAMED} more" if len(bare) > _NAMED else ""
        return [red("rls", f"{several(len(bare), 'table')} of the API without row-level security",
                    saw=saw + more, next=f"alter table {bare[0]['name']} enable row level "
                    "security; then policies; opsctl rls-smoke")]  # fmt: skip
    found = [green("rls", f"Row-level security: on for all {len(reachable)} tables of the API")]
    mute = [str(row["name"]) for row in reachable if not row["policies"]]
    if mute:
        title = f"{several(len(mute), 'table')} without a policy: nobody sees the rows"
        found.append(note("rls", title, saw=", ".join(mute[:_NAMED])))
    return found


def _saw(answer: Answer) -> str:
    parts = [f"status {answer.status}"] if answer.status else []
    return ", ".join([*parts, *(each for each in (answer.code, answer.why) if each)])
