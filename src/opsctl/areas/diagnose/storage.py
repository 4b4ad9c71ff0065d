"""Judge space: the disk, wraparound, the cache, checkpoints, checksums."""

from __future__ import annotations

from opsctl.adapters.supabase_project import Disk
from opsctl.adapters.vitals import Vitals
from opsctl.areas.diagnose.findings import green, not_judged, red, unknown, yellow
from opsctl.areas.diagnose.replication import size
from opsctl.areas.diagnose.sessions import unread
from opsctl.core.errors import OpsError
from opsctl.core.report import Finding
from opsctl.core.settings import Limits

_XIDS = 1 << 31
_LEAST_READS = 100_000
"""Block reads below which a cache hit ratio says nothing."""
_CACHE_HIT = 0.95
_LEAST_CHECKPOINTS_S, _OFTEN_S = 3600.0, 300.0
_GB = 1 << 30


def judge_disk(
    vitals: Vitals, disk: Disk | None, error: OpsError | None, *, limits: Limits
) -> list[Finding]:
    """Judge the database's size against its limit, and the disk where the provider tells it."""
    found = unread(vitals, "size", "database-size", "The database's size")
    used = int(vitals.one("size").get("bytes", 0))
    limit = limits.database_size_gb
    if limit is not None and not found:
        share, saw = used / (limit * _GB), f"{size(used)} of {limit:g} GB"
        hint = "opsctl slowquery; which tables grow? Then delete, archive or enlarge"
        if share > 1:
            found.append(red("database-size", "The database is larger than its limit", saw=saw,
                             next=hint))  # fmt: skip
        elif share > limits.disk_used:
            found.append(yellow("database-size", "The database is nearly as large as its limit",
                                saw=saw, next=hint))  # fmt: skip
        else:
            found.append(green("database-size", f"Size: {saw}"))
    elif not found:
        found.append(green("database-size", f"Size: {size(used)}"))
    return [*found, *_disk(disk, error, limits)]


def _disk(disk: Disk | None, error: OpsError | None, limits: Limits) -> list[Finding]:
    if error is not None:
        return [unknown("disk", "The disk: not known", saw=f"{error.what}: {error.why}",
                        next=error.hint)]  # fmt: skip
    if disk is None:
        if limits.database_size_gb is not None:
            return []
        return [
            not_judged(
                "disk",
                "The disk was not looked at: no server says how full it is",
                next="set supabase.access_token, or limits.database_size_gb",
            )
        ]
    share = disk.used / disk.size if disk.size > 0 else 1.0
    saw = f"{size(disk.used)} of {size(disk.size)}, {share:.0%}"
    if share > limits.disk_used:
        return [
            red(
                "disk",
                "The disk is nearly full",
                saw=saw,
                next="enlarge it (Project Settings, Database), or free some: replication "
                "slots, old partitions, VACUUM; a full one makes the database read-only",
            )
        ]
    return [green("disk", f"Disk: {saw}")]


def judge_wraparound(vitals: Vitals) -> list[Finding]:
    """Judge how far transaction ids are from running out."""
    if found := unread(vitals, "wraparound", "wraparound", "Wraparound"):
        return found
    rows = vitals.rows("wraparound")
    oldest = vitals.rows("oldest_tables")
    # (kind, column, when autovacuum forces itself, when the server gives up being polite)
    for kind, column, start, give_up in (
        ("transaction", "xids", "autovacuum_freeze_max_age", "vacuum_failsafe_age"),
        ("multixact", "multixacts", "autovacuum_multixact_freeze_max_age",
         "vacuum_multixact_failsafe_age"),
    ):  # fmt: skip
        row = max(rows, key=lambda each: each[column], default=None)
        if row is None:
            continue
        forced = _number(vitals, start, 200_000_000)
        # The server takes no less than that for its own fail-safe.
        urgent = max(_number(vitals, give_up, 1_600_000_000), forced * 21 // 20)
        age = int(row[column])
        tables = ", ".join(f"{each['name']} ({each[column]:,})" for each in oldest)
        saw = f"{row['name']}: {age:,} of {_XIDS:,} {kind} ids" + (
            f"; oldest here: {tables}" if row["own"] and tables else ""
        )
        hint = "vacuum (freeze, verbose) on the oldest tables; what holds vacuum back? Long "
        hint += "transactions, replication slots, prepared transactions: above"
        if age >= urgent:
            found.append(red("wraparound", f"The {kind} ids run out soon: then the server takes "
                             "no writes", saw=saw, next=hint))  # fmt: skip
        elif age > forced * 5 // 4:
            # Autovacuum freezes by itself at `forced`; beyond it, it does not keep up.
            found.append(yellow("wraparound", f"Vacuum does not keep up with the {kind} ids",
                                saw=saw, next=hint))  # fmt: skip
    age = max((int(row["xids"]) for row in rows), default=0)
    return found or [green("wraparound", f"Wraparound: {age / _XIDS:.1%} of the ids are used")]


def judge_memory(vitals: Vitals) -> list[Finding]:
    """Judge the cache hit ratio, checkpoints and checksum failures."""
    found = [
        *unread(vitals, "traffic", "cache-hit", "The cache hit ratio"),
        *unread(vitals, "checkpoints", "checkpoints", "Checkpoints"),
        *unread(vitals, "checksums", "checksums", "Checksum failures"),
    ]
    traffic = vitals.one("traffic")
    if traffic:
        reads = traffic["hits"] + traffic["reads"]
        share = traffic["hits"] / reads if reads else 1.0
        if reads < _LEAST_READS:
            found.append(green("cache-hit", "Cache: too few reads to tell", saw=f"{reads:,}"))
        elif share < _CACHE_HIT:
            found.append(yellow("cache-hit", f"Only {share:.1%} of reads are answered by the cache",
                                saw=f"{traffic['reads']:,} of {reads:,} blocks were read",
                                next="opsctl slowquery --sort blocks; is an index missing, or "
                                "memory?"))  # fmt: skip
        else:
            found.append(green("cache-hit", f"Cache: {share:.1%} of reads"))
    found += _checkpoints(vitals)
    for row in vitals.rows("checksums"):
        found.append(
            red(
                "checksums",
                f"Pages of {row['name']} are damaged",
                saw=f"{row['failures']} checksum failures",
                next="stop writing; opsctl backup list, and restore beside it",
            )
        )
    return found


def _checkpoints(vitals: Vitals) -> list[Finding]:
    row = vitals.one("checkpoints")
    if not row:
        return []
    if (row["over_s"] or 0) < _LEAST_CHECKPOINTS_S:
        return [green("checkpoints", "Checkpoints: the statistics are too young to tell")]
    # Also a CREATE DATABASE or a backup asks for one, so some on request are usual.
    often = row["requested"] > row["over_s"] / _OFTEN_S
    if often and row["requested"] > row["timed"]:
        saw = f"{row['requested']} on request, {row['timed']} by time"
        return [yellow("checkpoints", "Checkpoints come too often: the log fills too fast",
                       saw=saw, next="raise max_wal_size")]  # fmt: skip
    return [green("checkpoints", "Checkpoints: mostly by time, or few")]


def _number(vitals: Vitals, name: str, otherwise: int) -> int:
    rows = vitals.rows("settings")
    return next((int(row["setting"]) for row in rows if row["name"] == name), otherwise)
