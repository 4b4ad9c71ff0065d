"""Judge replication slots, replicas and the archive of the write-ahead log."""

from __future__ import annotations

from opsctl.adapters.vitals import Vitals
from opsctl.areas.diagnose.findings import green, red, unknown, yellow
from opsctl.areas.diagnose.sessions import Row, seconds, unread
from opsctl.core.report import Finding
from opsctl.core.settings import Limits

_MUCH_WAL = 1 << 30
"""Bytes that an abandoned slot keeps on the disk before that alone is an error."""


def judge_replication(vitals: Vitals, *, limits: Limits) -> list[Finding]:
    """Return the findings, in the order they are looked at."""
    return [
        *_slots(vitals),
        *_replicas(vitals, limits),
        *_standby(vitals, limits),
        *_archiver(vitals),
    ]


def size(count: float) -> str:
    """Return a number of bytes for a person."""
    for unit, least in (("GB", 1 << 30), ("MB", 1 << 20), ("kB", 1 << 10)):
        if abs(count) >= least:
            return f"{count / least:.1f} {unit}"
    return f"{count:.0f} B"


def _slots(vitals: Vitals) -> list[Finding]:
    if found := unread(vitals, "slots", "replication-slot", "Replication slots"):
        return found
    rows = vitals.rows("slots")
    limited = int(vitals.one("slot_limit").get("bytes", -1)) >= 0
    for row in rows:
        name, kept = row["name"], row["retained_bytes"] or 0
        idle = f", for {seconds(row['inactive_s'])}" if row["inactive_s"] is not None else ""
        saw = f"{row['type']}, wal_status {row['wal']}, keeps {size(kept)}{idle}"
        drop = f"is its reader gone for good? select pg_drop_replication_slot('{name}')"
        if row["wal"] == "lost" or row["reason"]:
            reason = f", {row['reason']}" if row["reason"] else ""
            found.append(
                red(
                    "replication-slot",
                    f"The replication slot {name} is lost",
                    saw=saw + reason,
                    next="its reader must be made anew; then " + drop,
                )
            )
        elif row["wal"] == "unreserved":
            found.append(red("replication-slot", f"The replication slot {name} is about to be lost",
                             saw=saw, next="start its reader now, or raise "
                             "max_slot_wal_keep_size"))  # fmt: skip
        elif not row["active"] and kept >= _MUCH_WAL and not limited:
            found.append(red("replication-slot", f"The abandoned replication slot {name} fills "
                             "the disk", saw=f"{saw}; max_slot_wal_keep_size is not set",
                             next=drop))  # fmt: skip
        elif not row["active"]:
            found.append(yellow("replication-slot", f"Nobody reads the replication slot {name}",
                                saw=saw, next=drop))  # fmt: skip
    return found or [green("replication-slot", f"Replication slots: {len(rows)}")]


def _replicas(vitals: Vitals, limits: Limits) -> list[Finding]:
    if found := unread(vitals, "replicas", "replica", "Replicas"):
        return found
    rows = vitals.rows("replicas")
    awaited = _setting(vitals, "synchronous_standby_names")
    hidden = [row for row in rows if row["state"] is None]
    if hidden:
        return [unknown("replica", "Replicas: not known",
                        saw=f"the role may not see the state of {len(hidden)}",
                        next="grant pg_monitor to the role")]  # fmt: skip
    if awaited and not any(row["sync_state"] in ("sync", "quorum") for row in rows):
        found.append(red("replica", "The replica that every commit waits for is lost",
                         saw=f"synchronous_standby_names = {awaited}; {len(rows)} connected",
                         next="start it; or alter system set synchronous_standby_names = '' and "
                         "select pg_reload_conf()"))  # fmt: skip
    for row in rows:
        name = f"{row['name']} at {row['address']}"
        saw = f"{row['state']}, {size(row['lag_bytes'] or 0)} and {seconds(row['lag_s'])} behind"
        if (row["lag_s"] or 0) > limits.replication_lag_s:
            found.append(
                red(
                    "replica",
                    f"The replica {name} lags",
                    saw=saw,
                    next="is it busy with long queries? Is its disk or network slow?",
                )
            )
        elif row["state"] != "streaming":
            found.append(yellow("replica", f"The replica {name} does not stream", saw=saw,
                                next="run it again: is it catching up?"))  # fmt: skip
    return found or [green("replica", f"Replicas: {len(rows)}")]


def _standby(vitals: Vitals, limits: Limits) -> list[Finding]:
    if found := unread(vitals, "standby", "standby-lag", "The standby's lag"):
        return found
    row = vitals.one("standby")
    if not row:
        return []
    lag, saw = row["lag_s"] or 0.0, f"{seconds(row['lag_s'])} behind"
    if not row["receivers"]:
        found.append(
            red(
                "standby-lag",
                "This standby receives nothing from its primary",
                saw=saw,
                next="is the primary up? Look at this server's log",
            )
        )
    if row["paused"]:
        found.append(red("standby-lag", "This standby does not replay: it is paused", saw=saw,
                         next="select pg_wal_replay_resume()"))  # fmt: skip
    elif lag > limits.replication_lag_s:
        found.append(red("standby-lag", "This standby lags behind its primary", saw=saw,
                         next="is it busy with long queries?"))  # fmt: skip
    return found or [green("standby-lag", f"Standby: {saw}")]


def _archiver(vitals: Vitals) -> list[Finding]:
    if found := unread(vitals, "archiver", "archiver", "The archive of the write-ahead log"):
        return found
    row: Row = vitals.one("archiver")
    if row and row["mode"] != "off" and row["failing"]:
        saw = f"{row['failed']} failures, the last with {row['failed_file']}"
        return [red("archiver", "The write-ahead log cannot be archived: it fills the disk, and "
                    "point-in-time recovery ends there", saw=saw,
                    next="look at the server's log for archive_command")]  # fmt: skip
    return []


def _setting(vitals: Vitals, name: str) -> str:
    return next((str(row["setting"]) for row in vitals.rows("settings") if row["name"] == name), "")
