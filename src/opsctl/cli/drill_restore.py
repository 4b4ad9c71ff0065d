"""The restore drill: destroy the sandbox's data, restore it, and measure RTO and RPO."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opsctl.core.call import Call
    from opsctl.core.report import Report


def restore_and_measure(call: Call) -> Report:
    """Back the sandbox up, destroy its data, restore it, and measure RTO and RPO."""
    from opsctl.adapters.backup_manifest import Manifest
    from opsctl.adapters.restores import read_backup
    from opsctl.areas.backup.facts import store_of
    from opsctl.areas.backup.work import create
    from opsctl.areas.restore.work import plan_drop, plan_restore
    from opsctl.cli.change import open_engine
    from opsctl.cli.drill_guards import refuse_outside_the_sandbox, refuse_without_sandbox
    from opsctl.core.report import Status
    from opsctl.sandbox.world import World

    world = World(call.root)
    refuse_outside_the_sandbox(call)
    refuse_without_sandbox(running=world.state().running)
    made = create(call, tables=(), label="drill", to=None, encrypt_to=(), verify=False)
    manifest: Manifest = read_backup(store_of(call), str(made.data["backup"]))
    before = world.contents()
    call.say("Writing rows that the backup does not have")
    written = world.write_rows()
    call.say("Destroying tables and rows")
    world.destroy()
    struck_at, struck = time.time(), time.monotonic()
    plan = plan_restore(call, backup=manifest.id, into=None, swap=False, from_=None)
    # The sandbox's application is ill before its rollback; this drill is about the data.
    plan = replace(plan, steps=tuple(step for step in plan.steps if step.action is not None))
    engine = open_engine(call)
    outcome = engine.start(plan, approval={"how": "drill", "plan_hash": plan.hash})
    rto_s = time.monotonic() - struck
    if outcome.error is not None:
        raise outcome.error
    equal = world.contents() == before
    kept = str(plan.facts["kept"])
    dropped = engine.start(plan_drop(call, kept), approval={"how": "drill"})
    return _report(
        call,
        manifest,
        run=outcome.run,
        rto_s=rto_s,
        data_age_s=struck_at - manifest.snapshot_at.timestamp(),
        written=written,
        equal=equal,
        cleaned=dropped.status is Status.OK,
    )


def _report(
    call: Call,
    manifest: object,
    *,
    run: str,
    rto_s: float,
    data_age_s: float,
    written: int,
    equal: bool,
    cleaned: bool,
) -> Report:
    from opsctl.adapters.backup_manifest import Manifest
    from opsctl.core.progress import duration
    from opsctl.core.report import Finding, Report, Severity, Status, Table

    if not isinstance(manifest, Manifest):
        raise TypeError("a drill is about a backup")
    limits = call.environment.limits
    rpo_s = limits.backup_age_h * 3600
    slow, late = rto_s > limits.recovery_time_s, data_age_s > rpo_s
    findings = (
        Finding(
            "drill-contents",
            "Every row and object is back" if equal else "Something is not back",
            Status.OK if equal else Status.FAILED,
            evidence=f"{manifest.rows:,} rows in {len(manifest.tables)} tables",
        ),
        Finding(
            "recovery-time",
            "Recovery took too long" if slow else "Recovery was fast enough",
            Status.FAILED if slow else Status.OK,
            evidence=f"{duration(rto_s)}; the target is {duration(limits.recovery_time_s)}",
        ),
        Finding(
            "data-age",
            "Too much was lost" if late else "No more was lost than allowed",
            Status.FAILED if late else Status.OK,
            evidence=f"{written} rows of {duration(data_age_s)}; the target is {duration(rpo_s)}",
        ),
        Finding(
            "drill-cleaned",
            "The destroyed database was dropped",
            Status.OK if cleaned else Status.FAILED,
            Severity.WARNING,
            hint="" if cleaned else "opsctl restore status --env sandbox",
        ),
    )
    failed = any(each.status is Status.FAILED for each in findings)
    table = Table(
        "",
        ("", "measured", "target"),
        (
            ("RTO: from the disaster to the restored database", duration(rto_s),
             duration(limits.recovery_time_s)),
            ("RPO: age of the data that came back", duration(data_age_s), duration(rpo_s)),
            ("rows written since the backup, and lost", str(written), ""),
        ),
    )  # fmt: skip
    return Report(
        command="drill restore",
        title="The drill " + ("FAILED" if failed else "succeeded"),
        environment=call.name,
        findings=findings,
        tables=(table,),
        notes=(f"Run {run}. The record: opsctl runs show {run}",),
        data={
            "rto_s": round(rto_s, 2),
            "rto_target_s": limits.recovery_time_s,
            "rpo_s": round(data_age_s, 2),
            "rpo_target_s": rpo_s,
            "rows_lost": written,
            "backup": manifest.id,
            "run": run,
        },
    )
