"""How old the newest backup may be, and what a verification says: judged without looking."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from opsctl.adapters.backup_manifest import Manifest, Verification
from opsctl.areas.backup.facts import Known, age_h
from opsctl.core.progress import duration
from opsctl.core.report import Finding, Location, Severity, Status

if TYPE_CHECKING:
    from opsctl.core.settings import Limits

_SHOWN = 50


def judge_ages(backups: Sequence[Known], limits: Limits, now: datetime) -> tuple[Finding, ...]:
    """Return findings on the newest backup and the newest verified one.

    A partial backup does not count: it does not bring the database back.
    """
    whole = [each for each in backups if each.manifest and not each.manifest.partial]
    verified = [each for each in whole if each.verified]
    return (
        _judge_age("backup-age", "backup", whole, limits.backup_age_h, now,
                   "opsctl backup create"),
        _judge_age("verified-backup-age", "verified backup", verified,
                   limits.verified_backup_age_h, now, "opsctl backup verify --latest"),
        *_damaged(backups),
    )  # fmt: skip


def judge_verification(
    manifest: Manifest, result: Verification, limits: Limits
) -> tuple[Finding, ...]:
    """Return findings on one verification: every difference, what is unproven, RTO and RPO."""
    where = Location(object=manifest.id)
    found = [
        Finding("backup-differs", text, Status.FAILED, location=where)
        for text in result.differences[:_SHOWN]
    ]
    if len(result.differences) > _SHOWN:
        rest = len(result.differences) - _SHOWN
        found.append(
            Finding("backup-differs", f"and {rest} more differences", Status.FAILED,
                    location=where, hint=f"opsctl backup show {manifest.id}")
        )  # fmt: skip
    if not found:
        found.append(
            Finding(
                "backup-restores",
                f"{manifest.id} restores to what was backed up",
                Status.OK,
                evidence=f"{len(manifest.tables)} tables, {manifest.rows:,} rows and "
                f"{manifest.objects:,} objects agree",
                location=where,
            )
        )
    found += [
        Finding("backup-unproven", text, Status.UNKNOWN, Severity.WARNING, location=where)
        for text in (*result.unproven[:_SHOWN], *_left_out(manifest))
    ]
    slow = result.rto_s > limits.recovery_time_s
    found.append(
        Finding(
            "recovery-time",
            "Recovery takes too long" if slow else "Recovery is fast enough",
            Status.FAILED if slow else Status.OK,
            evidence=f"{duration(result.rto_s)} from the order to a compared database; the target "
            f"is {duration(limits.recovery_time_s)}",
            location=where,
            hint="raise backup.jobs, or look at which index takes long" if slow else "",
        )
    )
    late = result.data_age_s / 3600 > limits.backup_age_h
    found.append(
        Finding(
            "data-age",
            "The data are older than allowed" if late else "The data are young enough",
            Status.FAILED if late else Status.OK,
            Severity.WARNING,
            evidence=f"{duration(result.data_age_s)} of it; the target is "
            f"{duration(limits.backup_age_h * 3600)}",
            location=where,
        )
    )
    return tuple(found)


def _judge_age(
    rule: str, what: str, backups: Sequence[Known], limit_h: float, now: datetime, hint: str
) -> Finding:
    newest = next((each for each in backups if each.manifest is not None), None)
    if newest is None or newest.manifest is None:
        return Finding(rule, f"There is no {what}", Status.FAILED, hint=hint)
    age = age_h(newest.manifest, now)
    late = age > limit_h
    return Finding(
        rule,
        f"The newest {what} is {'overdue' if late else 'young enough'}",
        Status.FAILED if late else Status.OK,
        evidence=f"{newest.id} is {duration(age * 3600)} old; the limit is "
        f"{duration(limit_h * 3600)}",
        location=Location(object=newest.id),
        hint=hint if late else "",
    )


def _damaged(backups: Sequence[Known]) -> tuple[Finding, ...]:
    return tuple(
        Finding(
            "backup-damaged",
            f"The backup {each.id} is damaged",
            Status.FAILED,
            evidence=each.why,
            location=Location(object=each.id),
            hint="opsctl backup prune removes it",
        )
        for each in backups
        if each.state == "damaged"
    )


def _left_out(manifest: Manifest) -> tuple[str, ...]:
    return tuple(
        f"table {name} is NOT in the backup: the role that made it may not read it"
        for name in manifest.left_out
    )
