"""`opsctl rotate-keys`: replace keys everywhere they are kept, and end the old ones on proof."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from opsctl.core.call import Call, RunAgain
    from opsctl.core.plan import Plan
    from opsctl.core.report import Report

app = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True)

Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it is recorded.")]
Compromised = Annotated[
    bool, typer.Option("--compromised", help="Tell Supabase that the old key has leaked.")
]
Revoke = Annotated[
    bool,
    typer.Option("--revoke", help="Also end the old ones, once they were unused for long enough."),
]
Emergency = Annotated[
    bool,
    typer.Option("--emergency", help="End the old ones FIRST: what uses them is down until then."),
]
Source = Annotated[str, typer.Option("--source", help="Where the value is read.")]
Wait = Annotated[float, typer.Option("--wait", min=0, help="Longest that is waited, in seconds.")]


@app.command()
def plan(call: Call) -> Report:
    """Show the keys, their age, and what each place that keeps them holds."""
    from opsctl.areas.rotate_keys.status import report_status

    return report_status(call, places=True)


@app.command()
def status(call: Call) -> Report:
    """Say what is unfinished, what works that should not, and what is too old; else exit 0."""
    from opsctl.areas.rotate_keys.status import report_status

    return report_status(call, places=False)


@app.command()
def supabase(
    call: Call,
    only: Annotated[
        Literal["publishable", "secret"] | None,
        typer.Option("--only", metavar="publishable|secret", help="One kind alone."),
    ] = None,
    replace: Annotated[
        list[str] | None,
        typer.Option("--replace", metavar="NAME", help="Which key, where there are several."),
    ] = None,
    legacy: Annotated[
        bool, typer.Option("--legacy", help="Replace the legacy keys anon and service_role.")
    ] = False,
    revoke: Revoke = False,
    emergency: Emergency = False,
    compromised: Compromised = False,
    reason: Reason = "",
) -> Plan:
    """Replace the project's API keys everywhere they are kept, and see the new ones live."""
    from opsctl.areas.rotate_keys.facts import KINDS
    from opsctl.areas.rotate_keys.plan import plan_supabase

    return plan_supabase(
        call,
        kinds=(only,) if only is not None else KINDS,
        replace=tuple(replace or ()),
        legacy=legacy,
        revoke=revoke,
        emergency=emergency,
        compromised=compromised,
        reason=reason,
    )


@app.command()
def api(
    call: Call,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A key of rotation.keys.")],
) -> Plan:
    """Replace a key of another provider: made and ended there by you, kept and proven by opsctl."""
    from opsctl.areas.rotate_keys.others import plan_own

    return plan_own(call, name)


@app.command("db-password")
def db_password(
    call: Call,
    new: Annotated[
        str,
        typer.Option("--new", metavar="REF", help="The new password, by reference: cmd:..., env:X"),
    ],
) -> Plan:
    """Replace the database's password everywhere it is kept."""
    from opsctl.areas.rotate_keys.others import plan_password

    return plan_password(call, new)


@app.command()
def jwt(
    call: Call,
    algorithm: Annotated[
        Literal["ES256", "EdDSA", "RS256"],
        typer.Option("--algorithm", metavar="ES256|EdDSA|RS256", help="Of the new signing key."),
    ] = "ES256",
    revoke: Annotated[
        bool, typer.Option("--revoke", help="Also end the old one, once its tokens are.")
    ] = False,
) -> Plan:
    """Sign tokens with a new key; those that are out stay good until they end."""
    from opsctl.areas.rotate_keys.signing import plan_jwt

    return plan_jwt(call, algorithm=algorithm, revoke=revoke)


@app.command()
def revoke(call: Call, compromised: Compromised = False, reason: Reason = "") -> Plan:
    """End the keys that rotations have replaced, where the new ones are seen live."""
    from opsctl.areas.rotate_keys.revoke import plan_revoke

    return plan_revoke(call, compromised=compromised, reason=reason)


@app.command()
def abort(
    call: Call,
    run: Annotated[str, typer.Argument(metavar="[RUN]", help="Its run; else the newest.")] = "",
) -> RunAgain:
    """Take a rotation back: the old keys everywhere again, the new ones ended."""
    from opsctl.areas.rotate_keys.rotations import choose_stopped
    from opsctl.core.call import RunAgain

    return RunAgain(choose_stopped(call, run), "undo")


@app.command(hidden=True)
def value(
    call: Call,
    source: Source,
    template: Annotated[
        str, typer.Option("--in", help="What is written, with {value}.")
    ] = "{value}",
    seal_for: Annotated[
        str | None, typer.Option("--seal-for", help="Scope of GitHub; empty: the repository.")
    ] = None,
) -> Report:
    """Print what a step of a plan writes, for the engine alone."""
    from opsctl.areas.rotate_keys.sources import print_value
    from opsctl.core.report import Report

    text = print_value(call, source, template=template, seal_for=seal_for)
    return Report(command="rotate-keys value", title="The value", text=text)


@app.command(hidden=True)
def key_id(
    call: Call,
    kind: Annotated[str, typer.Option("--kind", help="publishable, secret or legacy.")],
    name: Annotated[str, typer.Option("--name", help="Its name.")],
) -> Report:
    """Print the id of a key, for the engine."""
    from opsctl.areas.rotate_keys import proofs
    from opsctl.core.report import Report

    return Report("rotate-keys key-id", "The id", text=proofs.key_id(call, kind, name))


@app.command(hidden=True)
def record(call: Call, sink: Annotated[str, typer.Option("--sink", help="Which place.")]) -> Report:
    """Print the id of a place's record at Vercel, for the engine."""
    from opsctl.areas.rotate_keys.staging import record_of
    from opsctl.core.report import Report

    return Report("rotate-keys record", "The id", text=record_of(call, sink))


@app.command(hidden=True)
def write_env(
    call: Call,
    sink: Annotated[str, typer.Option("--sink", help="Which place.")],
    source: Annotated[str | None, typer.Option("--source", help="Where the value is read.")] = None,
) -> Report:
    """Write a key into a .env file, as a step of a plan."""
    from opsctl.areas.rotate_keys.staging import write_env_file
    from opsctl.core.report import Report

    title = write_env_file(call, sink=sink, source=source)
    return Report("rotate-keys write-env", f"{title} is written", environment=call.name)


@app.command(hidden=True)
def staged(
    call: Call,
    sink: Annotated[str, typer.Option("--sink", help="Which place.")],
    token: Annotated[str, typer.Option("--token", help="The rotation.")],
    source: Annotated[str | None, typer.Option("--source", help="Where the value is read.")] = None,
    before: Annotated[
        str, typer.Option("--before", help="When it was written as the plan saw it.")
    ] = "",
    after: Annotated[
        list[str] | None, typer.Option("--after", help="A step whose writing does not count.")
    ] = None,
) -> Report:
    """Say whether a place holds a key."""
    from opsctl.areas.rotate_keys.staging import check_staged

    return check_staged(
        call, sink=sink, source=source, before=before, token=token, after=tuple(after or ())
    )


@app.command(hidden=True)
def targets(
    call: Call,
    record: Annotated[str, typer.Option("--record", help="Id of the record.")],
    targets: Annotated[str, typer.Option("--targets", help="Its targets, parted by commas.")],
) -> Report:
    """Say which targets a record of Vercel holds for."""
    from opsctl.areas.rotate_keys.staging import check_targets

    return check_targets(call, record=record, targets=targets)


@app.command(hidden=True)
def key(
    call: Call,
    kind: Annotated[str, typer.Option("--kind", help="publishable, secret or legacy.")],
    name: Annotated[str, typer.Option("--name", help="Its name.")],
    expect: Annotated[Literal["there", "gone"], typer.Option("--expect", help="What is expected.")],
) -> Report:
    """Say whether the project has a key."""
    from opsctl.areas.rotate_keys.proofs import check_key

    return check_key(call, kind=kind, name=name, expect=expect)


@app.command(hidden=True)
def legacy(
    call: Call,
    expect: Annotated[Literal["on", "off"], typer.Option("--expect", help="What is expected.")],
) -> Report:
    """Say whether the legacy keys work."""
    from opsctl.areas.rotate_keys.proofs import check_legacy

    return check_legacy(call, expect=expect)


@app.command(hidden=True)
def works(
    call: Call,
    source: Source,
    secret: Annotated[bool, typer.Option("--secret", help="It is a secret one.")] = False,
) -> Report:
    """Say whether the project's gateway takes a key."""
    from opsctl.areas.rotate_keys.proofs import check_works

    return check_works(call, source=source, secret=secret)


@app.command(hidden=True)
def deployed(
    call: Call,
    token: Annotated[str, typer.Option("--token", help="The rotation.")],
    wait: Wait = 0.0,
) -> Report:
    """Say whether the build of a rotation is live."""
    from opsctl.areas.rotate_keys.proofs import check_deployed

    return check_deployed(call, token=token, wait_s=wait)


@app.command(hidden=True)
def serves(
    call: Call,
    deployment: Annotated[str, typer.Option("--deployment", help="Its id.")],
    wait: Wait = 0.0,
) -> Report:
    """Say whether production serves a deployment."""
    from opsctl.areas.rotate_keys.proofs import check_serves

    return check_serves(call, deployment, wait_s=wait)


@app.command(hidden=True)
def live(
    call: Call,
    source: Source,
    key: Annotated[str, typer.Option("--key", help="Which key.")],
    since: Annotated[float, typer.Option("--since", help="Seconds since 1970.")],
    wait: Wait = 0.0,
) -> Report:
    """Say whether the application runs with a key."""
    from opsctl.areas.rotate_keys.proofs import check_live

    return check_live(call, source=source, key=key, since=since, wait_s=wait)


@app.command(hidden=True)
def drained(
    call: Call,
    old: Annotated[list[str], typer.Option("--old", help="A prefix, or legacy.")],
    hours: Annotated[float, typer.Option("--hours", min=0, help="So long unused.")],
    wait: Wait = 0.0,
) -> Report:
    """Say whether old keys are unused."""
    from opsctl.areas.rotate_keys.proofs import check_drained

    return check_drained(call, old=tuple(old), hours=hours, wait_s=wait)


@app.command(hidden=True)
def signing(
    call: Call,
    expect: Annotated[str, typer.Option("--expect", help="What is expected.")],
    known: Annotated[str, typer.Option("--known", help="Ids of before, parted by commas.")] = "",
    id: Annotated[str, typer.Option("--id", help="Its id.")] = "",
) -> Report:
    """Say what state a signing key is in."""
    from opsctl.areas.rotate_keys.signing import check_signing

    return check_signing(call, id=id, known=known, expect=expect.split(","))


@app.command(hidden=True)
def signing_age(
    call: Call,
    known: Annotated[str, typer.Option("--known", help="Ids of before, parted by commas.")],
    least: Annotated[float, typer.Option("--least", min=0, help="At least so much.")],
    in_use: Annotated[bool, typer.Option("--in-use", help="Since it signs.")] = False,
    wait: Wait = 0.0,
) -> Report:
    """Say how long the new signing key is published, or signs."""
    from opsctl.areas.rotate_keys.signing import check_signing_age

    return check_signing_age(call, known=known, least_s=least, in_use=in_use, wait_s=wait)


@app.command(hidden=True)
def signing_id(
    call: Call,
    known: Annotated[str, typer.Option("--known", help="Ids of before, parted by commas.")],
) -> Report:
    """Print the id of the new signing key, for the engine."""
    from opsctl.areas.rotate_keys import signing as keys
    from opsctl.core.report import Report

    return Report("rotate-keys signing-id", "The id", text=keys.signing_id(call, known))


@app.command(hidden=True)
def readable(
    call: Call,
    source: Source,
    least: Annotated[int, typer.Option("--least", min=1, help="At least so much.")] = 1,
) -> Report:
    """Say whether a new value can be read."""
    from opsctl.areas.rotate_keys.others import check_readable

    return check_readable(call, source=source, least=least)


@app.command(hidden=True)
def password_works(call: Call, source: Source) -> Report:
    """Say whether the database takes a password."""
    from opsctl.areas.rotate_keys.others import check_password

    return check_password(call, source=source)


@app.command(hidden=True)
def old_keys(
    call: Call, key: Annotated[list[str], typer.Option("--key", help="KIND:NAME of a key.")]
) -> Report:
    """Say whether the keys that were replaced are there still."""
    from opsctl.areas.rotate_keys.proofs import check_old_keys

    return check_old_keys(call, tuple(key))
