"""What the commands of the room do: take, list, show, verify, judge, prune, remove."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import opsctl
from opsctl.adapters import backups, restores, scratch
from opsctl.adapters.backup_manifest import (
    MOST_BYTES,
    Manifest,
    Verification,
)
from opsctl.adapters.postgres import connect
from opsctl.adapters.stores import MANIFEST, VERIFIED, Store
from opsctl.areas.backup.checks import judge_ages, judge_verification
from opsctl.areas.backup.facts import (
    Known,
    age_h,
    choose,
    read_backups,
    store_of,
    utc_now,
)
from opsctl.areas.backup.plan import judge, prune_plan
from opsctl.core.errors import Exit, OpsError
from opsctl.core.progress import duration, size
from opsctl.core.report import Finding, Location, Report, Severity, Status, Table
from opsctl.core.secrets import resolve_secret

if TYPE_CHECKING:
    from opsctl.core.call import Call
    from opsctl.core.plan import Plan

_SHOWN_TABLES = 40


def create(
    call: Call,
    *,
    tables: Sequence[str],
    label: str,
    to: str | None,
    encrypt_to: Sequence[str],
    verify: bool,
) -> Report:
    """Take one backup, and verify it if that is asked for."""
    store = store_of(call, to=to)
    for each in store.interrupted():
        call.say(f"Removing {each}, which was cut off")
        store.delete(each)
    database = call.environment.database
    wait_s = database.lock_timeout_s * database.lock_attempts if database else 10.0
    wanted = backups.Wanted(
        lock_timeout_s=wait_s,
        environment=call.name,
        label=label,
        tables=tuple(tables),
        recipients=tuple(encrypt_to) or call.environment.backup.encrypt_to,
        jobs=call.environment.backup.jobs,
    )
    manifest = backups.take_backup(
        url_of(call), store, wanted, made_by=opsctl.__version__, say=call.say
    )
    findings: tuple[Finding, ...] = tuple(
        Finding("backup-incomplete", f"Table {name} was left out", Status.UNKNOWN,
                evidence="the role may not read it", location=Location(object=name),
                hint="grant SELECT on it to the role that makes backups")
        for name in manifest.left_out
    )  # fmt: skip
    notes = [f"It is not proven yet: opsctl backup verify {manifest.id}"]
    if verify:
        result = prove(call, store, manifest)
        findings += judge_verification(manifest, result, call.environment.limits)
        notes = []
    return Report(
        command="backup create",
        title=f"The backup {manifest.id} is made" + (" and verified" if verify else ""),
        environment=call.name,
        findings=findings,
        tables=(_summary(manifest),),
        notes=(f"In {store.where}", *notes),
        data=_data(manifest, store),
    )


def verify(call: Call, *, backup: str | None, every: bool, from_: str | None) -> Report:
    """Restore one backup, or every one, into a scratch server and compare everything."""
    store = store_of(call, to=from_)
    known = read_backups(store)
    chosen = [each for each in known if each.state == "whole"] if every else [choose(known, backup)]
    if not chosen:
        choose(known, None)
    findings: list[Finding] = []
    data = []
    for each in chosen:
        if each.manifest is None:
            continue
        call.say(f"Verifying {each.id}")
        try:
            result = prove(call, store, each.manifest)
        except OpsError as error:
            if error.exit is not Exit.FAILED:
                raise
            findings.append(
                Finding(error.code, error.what, Status.FAILED, evidence=error.why,
                        location=Location(object=each.id), hint=error.hint)
            )  # fmt: skip
            continue
        findings += judge_verification(each.manifest, result, call.environment.limits)
        data.append({"backup": each.id, **result.model_dump(mode="json")})
    if every:
        findings += [
            Finding("backup-damaged", f"The backup {each.id} is damaged", Status.FAILED,
                    evidence=each.why, location=Location(object=each.id))
            for each in known
            if each.state == "damaged"
        ]  # fmt: skip
    failed = any(
        each.status is Status.FAILED and each.severity is Severity.ERROR for each in findings
    )
    what = "every backup" if every else f"the backup {chosen[0].id}"
    return Report(
        command="backup verify",
        title=f"Verified {what}: {'NOT all is well' if failed else 'all is well'}",
        environment=call.name,
        findings=tuple(findings),
        tables=(_measured(call, data),) if data else (),
        notes=(f"In {store.where}",),
        data={"verifications": data},
    )


def _measured(call: Call, found: Sequence[Mapping[str, Any]]) -> Table:
    """Return what recovery took and how old the data are, beside the targets."""
    limits = call.environment.limits
    rows = tuple(
        (str(each["backup"]), str(each["server"]), duration(each["rto_s"]),
         duration(limits.recovery_time_s), duration(each["data_age_s"]),
         duration(limits.backup_age_h * 3600))
        for each in found
    )  # fmt: skip
    return Table("", ("backup", "restored on", "RTO", "target", "data age", "target"), rows)


def prove(call: Call, store: Store, manifest: Manifest) -> Verification:
    """Restore a backup into a scratch server, compare everything, and record the result.

    A backup that turns out damaged loses its earlier proof before the error goes on.
    """
    began = time.monotonic()
    settings = call.environment.backup
    identity = resolve_secret(settings.identity) if settings.identity else None
    written = store.read(manifest.id, MANIFEST, most=MOST_BYTES) or b""
    try:
        with (
            restores.opened(store, manifest, identity=identity, say=call.say) as folder,
            scratch.scratch_server(
                at_least=manifest.server_major,
                extensions=[each.name for each in manifest.extensions],
                nearest=True,
            ) as server,
        ):
            name = f"{server.provider.name} {server.provider.version}"
            call.say(f"Restoring into a scratch PostgreSQL, {name}")
            missing = restores.missing_extensions(manifest, server.provider.extensions)
            with connect(server.url("postgres"), read_only=False) as connection:
                restores.make_roles(connection, manifest, powerless=True)
                connection.execute(
                    restores.create_database_sql("restored", manifest, portable=True).encode()
                )
            url = server.url("restored")
            restoring = time.monotonic()
            complaints = restores.fill(
                folder, url, manifest, jobs=settings.jobs, missing=missing, say=call.say
            )
            restore_s = time.monotonic() - restoring
            compared = restores.compare(
                folder, url, manifest, jobs=settings.jobs, complaints=complaints,
                missing=missing, say=call.say,
            )  # fmt: skip
            asked = () if manifest.partial else restores.check_queries(
                url, [(each.name, each.query, each.expect) for each in settings.checks]
            )  # fmt: skip
            rto_s = time.monotonic() - began
    except OpsError as error:
        if error.exit is Exit.FAILED:
            _record(store, manifest, written, (f"{error.what}: {error.why}",))
        raise
    result = Verification(
        manifest_sha256=hashlib.sha256(written).hexdigest(),
        ok=not compared.differences and not asked,
        at=utc_now(),
        server=name,
        rto_s=round(rto_s, 2),
        restore_s=round(restore_s, 2),
        data_age_s=round(age_h(manifest, utc_now()) * 3600, 1),
        differences=(*compared.differences, *asked),
        unproven=compared.unproven,
    )
    store.write(manifest.id, VERIFIED, result.model_dump_json(indent=1).encode())
    return result


def report_list(call: Call, *, from_: str | None) -> Report:
    """List our backups, newest first, and the platform's beside them."""
    store = store_of(call, to=from_)
    known = read_backups(store)
    now = utc_now()
    rows = tuple(_row(each, now) for each in known)
    tables = [Table("", ("backup", "age", "rows", "size", "state", "label"), rows)]
    findings, platform, notes = _platform(call)
    return Report(
        command="backup list",
        title=f"{len(known)} backups in {store.where}",
        environment=call.name,
        findings=findings,
        tables=(*tables, *platform) if known else platform,
        notes=(*(() if known else ("None was made yet: opsctl backup create",)), *notes),
        data={
            "backups": [
                {"id": each.id, "state": each.state, "verified": each.verified,
                 **(_data(each.manifest, store) if each.manifest else {})}
                for each in known
            ]
        },
    )  # fmt: skip


def report_show(call: Call, *, backup: str | None, from_: str | None) -> Report:
    """Show one backup: where it comes from, what is in it, whether it is proven."""
    store = store_of(call, to=from_)
    known = choose(read_backups(store), backup)
    manifest = known.manifest
    if manifest is None:
        raise TypeError("a whole backup has a manifest")
    largest = sorted(manifest.tables, key=lambda table: -table.bytes)[:_SHOWN_TABLES]
    rows = tuple(
        (f"{each.schema_name}.{each.name}", f"{each.rows:,}", size(each.bytes)) for each in largest
    )
    proof = known.verification
    said = "never" if proof is None else (
        f"{proof.at:%Y-%m-%d %H:%M} UTC on {proof.server}: "
        + ("all agreed" if proof.ok else f"{len(proof.differences)} differences")
        + f"; recovery took {duration(proof.rto_s)}"
    )  # fmt: skip
    about = (
        ("database", f"{manifest.database.name} on PostgreSQL {manifest.server_version}"),
        ("snapshot", f"{manifest.snapshot_at:%Y-%m-%d %H:%M:%S} UTC, LSN {manifest.lsn}"),
        ("made by", f"opsctl {manifest.made_by}, pg_dump {manifest.tool.version}, "
                    f"{manifest.tool.compression}"),
        ("took", f"{duration(manifest.took_s)}: dump {duration(manifest.dump_s)}, "
                 f"hashes {duration(manifest.hash_s)}"),
        ("size", f"{size(manifest.bytes)} of {size(manifest.database_bytes)}"),
        ("encrypted", ", ".join(manifest.recipients) if manifest.encrypted else "no"),
        ("migrations", "; ".join(f"{tool}: {len(each)}, newest {each[-1]}"
                                 for tool, each in manifest.migrations.items() if each) or "none"),
        ("verified", said),
    )  # fmt: skip
    differences = proof.differences if proof is not None else ()
    return Report(
        command="backup show",
        title=f"Backup {manifest.id}" + (f" ({manifest.label})" if manifest.label else ""),
        environment=call.name,
        findings=tuple(
            Finding("backup-differs", text, Status.FAILED, Severity.WARNING)
            for text in differences[:_SHOWN_TABLES]
        ),
        tables=(Table("", ("what", "value"), about),
                Table("Largest tables", ("table", "rows", "size"), rows)),
        notes=(f"In {store.where}/{manifest.id}",),
        data={**_data(manifest, store),
              "verification": proof.model_dump(mode="json") if proof else None},
    )  # fmt: skip


def report_status(call: Call, *, from_: str | None, max_age_h: float | None) -> Report:
    """Judge the newest backup and the newest verified one against the limits."""
    store = store_of(call, to=from_)
    known = read_backups(store)
    limits = call.environment.limits
    if max_age_h is not None:
        limits = limits.model_copy(
            update={"backup_age_h": max_age_h, "verified_backup_age_h": max_age_h}
        )
    findings = judge_ages(known, limits, utc_now())
    asked, platform, notes = _platform(call)
    failed = any(each.status is Status.FAILED for each in findings)
    return Report(
        command="backup status",
        title="The backups are " + ("NOT well" if failed else "well"),
        environment=call.name,
        findings=(*findings, *asked),
        tables=platform,
        notes=(f"In {store.where}", *notes),
        data={"backups": len(known)},
    )


def plan_prune(call: Call, *, from_: str | None, keep: dict[str, int | None]) -> Plan:
    """Return the plan that removes what the rules do not keep."""
    store = store_of(call, to=from_)
    rules = call.environment.backup.keep.model_copy(
        update={name: value for name, value in keep.items() if value is not None}
    )
    return prune_plan(
        judge(read_backups(store), rules),
        environment=call.name,
        protected=call.environment.protected,
        root=str(call.root),
        where=store.where,
        from_=from_,
    )


def remove(call: Call, *, ids: Sequence[str], from_: str | None) -> Report:
    """Remove backups at once; what is gone already is no error."""
    store = store_of(call, to=from_)
    there = set(store.ids())
    for each in ids:
        if each in there:
            store.delete(each)
            call.say(f"Removed {each}")
    return Report(
        command="backup remove",
        title=f"{len(ids)} backups are gone",
        environment=call.name,
        data={"removed": [each for each in ids if each in there]},
    )


def url_of(call: Call) -> str:
    """Return the database's URL; raises OpsError `no-database` where none is set."""
    database = call.environment.database
    if database is None:
        raise OpsError(
            f"The environment {call.name} has no database",
            why="its settings have no database.url",
            hint=f"set environments.{call.name}.database.url in the settings",
            code="no-database",
        )
    return resolve_secret(database.url)


def _record(store: Store, manifest: Manifest, written: bytes, differences: tuple[str, ...]) -> None:
    """Record that a backup cannot be restored: an earlier proof of it no longer counts."""
    result = Verification(
        manifest_sha256=hashlib.sha256(written).hexdigest(),
        ok=False,
        at=utc_now(),
        server="",
        rto_s=0.0,
        restore_s=0.0,
        data_age_s=round(age_h(manifest, utc_now()) * 3600, 1),
        differences=differences,
        unproven=(),
    )
    store.write(manifest.id, VERIFIED, result.model_dump_json(indent=1).encode())


def _platform(call: Call) -> tuple[tuple[Finding, ...], tuple[Table, ...], tuple[str, ...]]:
    """Return Supabase's own backups and recovery window, where the project is known."""
    supabase = call.environment.supabase
    if supabase is None or supabase.ref is None or supabase.access_token is None:
        return (), (), ()
    from opsctl.adapters.supabase_platform import read_platform_backups

    try:
        found = read_platform_backups(supabase)
    except OpsError as error:
        finding = Finding("platform-backups", error.what, Status.UNKNOWN, Severity.WARNING,
                          evidence=error.why, hint=error.hint)  # fmt: skip
        return (finding,), (), ()
    rows = tuple((each.at, each.kind, each.status) for each in found.backups)
    table = Table("Supabase's own", ("taken", "kind", "status"), rows)
    window = (
        f"Point-in-time recovery: {found.earliest} to {found.latest}."
        if found.pitr
        else "Point-in-time recovery is off."
    )
    return (), (table,) if rows else (), (window,)


def _row(known: Known, now: object) -> tuple[str, ...]:
    manifest = known.manifest
    if manifest is None:
        return (known.id, "-", "-", "-", known.state, "")
    proof = known.verification
    state = "not verified" if proof is None else "verified" if proof.ok else "DIFFERS"
    if manifest.partial:
        state += f", {len(manifest.partial)} tables"
    return (
        manifest.id,
        duration(age_h(manifest, utc_now()) * 3600),
        f"{manifest.rows:,}",
        size(manifest.bytes),
        state + (", encrypted" if manifest.encrypted else ""),
        manifest.label,
    )


def _summary(manifest: Manifest) -> Table:
    return Table(
        "",
        ("tables", "rows", "database", "backup", "dump", "hashes", "in all"),
        ((f"{len(manifest.tables):,}", f"{manifest.rows:,}", size(manifest.database_bytes),
          size(manifest.bytes), duration(manifest.dump_s), duration(manifest.hash_s),
          duration(manifest.took_s)),),
    )  # fmt: skip


def _data(manifest: Manifest, store: Store) -> dict[str, object]:
    return {
        "backup": manifest.id,
        "store": store.where,
        "label": manifest.label,
        "snapshot_at": manifest.snapshot_at.isoformat(),
        "lsn": manifest.lsn,
        "server": manifest.server_version,
        "tables": len(manifest.tables),
        "rows": manifest.rows,
        "bytes": manifest.bytes,
        "database_bytes": manifest.database_bytes,
        "took_s": manifest.took_s,
        "dump_s": manifest.dump_s,
        "hash_s": manifest.hash_s,
        "encrypted": manifest.encrypted,
        "partial": list(manifest.partial),
        "left_out": list(manifest.left_out),
    }
