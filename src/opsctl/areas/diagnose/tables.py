"""Judge tables, sequences and indexes by what the catalog and the statistics say of them."""

from __future__ import annotations

from opsctl.adapters.vitals import Vitals
from opsctl.areas.diagnose.findings import green, note, red, several, unknown, yellow
from opsctl.areas.diagnose.replication import size
from opsctl.areas.diagnose.sessions import Row, unread
from opsctl.core.report import Finding

_NAMED = 5
_FIX = "opsctl diagnose db --fix"
_NEAR_ITS_END, _NEARING = 0.9, 0.75
_LEAST_DEAD = 1000
_DEAD_SHARE = 0.2
_LEAST_WASTE = 64 << 20
_WASTED_SHARE = 0.4


def judge_tables(vitals: Vitals) -> list[Finding]:
    """Return the findings, in the order they are looked at."""
    return [
        *_dead(vitals),
        *_bloat(vitals),
        *_sequences(vitals),
        *_indexes(vitals),
        *_unvalidated(vitals),
    ]


def overdue(vitals: Vitals) -> list[Row]:
    """Return the tables whose dead rows nobody clears away, the most first."""
    return [
        row
        for row in vitals.rows("dead_tuples")
        if row["dead"] >= _LEAST_DEAD and row["dead"] > _DEAD_SHARE * max(row["live"], 0)
    ]


def _dead(vitals: Vitals) -> list[Finding]:
    found = [
        *unread(vitals, "dead_tuples", "dead-tuples", "Dead rows"),
        *unread(vitals, "autovacuum_off", "autovacuum-off", "Tables without autovacuum"),
    ]
    rows = overdue(vitals)
    if rows:
        saw = ", ".join(
            f"{row['name']}: {row['dead']:,} dead beside {row['live']:,} live, "
            + (f"vacuumed {row['vacuumed'][:16]}" if row["vacuumed"] else "never vacuumed")
            + ("" if row["autovacuum"] else ", autovacuum is off there")
            for row in rows[:_NAMED]
        )
        title = f"{several(len(rows), 'table')} full of dead rows: vacuum is due"
        found.append(yellow("dead-tuples", title, saw=saw, next=_FIX))
    off = vitals.rows("autovacuum_off")
    if off:
        saw = ", ".join(str(row["name"]) for row in off[:_NAMED])
        title = f"{several(len(off), 'table')} without autovacuum"
        hint = f"alter table {off[0]['name']} reset (autovacuum_enabled)"
        found.append(yellow("autovacuum-off", title, saw=saw, next=hint))
    return found or [green("dead-tuples", "Dead rows: vacuum keeps up")]


def _bloat(vitals: Vitals) -> list[Finding]:
    if found := unread(vitals, "bloat", "bloat", "Bloat"):
        return found
    rows = [
        row
        for row in vitals.rows("bloat")
        if row["wasted"] >= _LEAST_WASTE and row["wasted"] > _WASTED_SHARE * row["bytes"]
    ]
    unseen = vitals.one("bloat_unseen").get("count", 0)
    if unseen:
        title = "Bloat: not known of every table"
        saw = f"the role may not read {several(unseen, 'large table').lower()}"
        found.append(unknown("bloat", title, saw=saw, next="grant pg_read_all_data to the role"))
    if not rows:
        return found or [green("bloat", "Bloat: little, by estimate")]
    saw = ", ".join(
        f"{row['name']}: about {size(row['wasted'])} of {size(row['bytes'])}"
        for row in rows[:_NAMED]
    )
    title = f"{several(len(rows), 'table')} bloated, by estimate"
    hint = "pg_repack, or VACUUM FULL while nobody uses them"
    return [*found, yellow("bloat", title, saw=saw, next=hint)]


def _sequences(vitals: Vitals) -> list[Finding]:
    if found := unread(vitals, "sequences", "sequence", "Sequences"):
        return found
    rows = vitals.rows("sequences")
    for row in rows:
        if row["used"] < _NEARING:
            continue
        of = f" of {row['relation']}.{row['column']} ({row['type']})" if row["relation"] else ""
        saw = f"{row['value']:,} of {row['ends']:,}, {row['used']:.1%}{of}"
        hint = "alter the column to bigint in a migration; on a large table step by step"
        if row["type"] in (None, "bigint"):
            hint = f"alter sequence {row['name']} maxvalue N, or cycle"
        title = f"The sequence {row['name']} is near its end"
        colour = red if row["used"] >= _NEAR_ITS_END else yellow
        found.append(colour("sequence", title, saw=saw, next=hint))
    unseen = rows[0]["unseen"] if rows else 0
    if unseen:
        saw = f"the role may not read {unseen} of {rows[0]['all_of_them']}"
        found.append(unknown("sequence", "Sequences: not all known", saw=saw,
                             next="grant pg_read_all_data to the role"))  # fmt: skip
    return found or [green("sequence", "Sequences: none near its end")]


def _indexes(vitals: Vitals) -> list[Finding]:
    if found := unread(vitals, "invalid_indexes", "invalid-index", "Invalid indexes"):
        return found
    for row in vitals.rows("invalid_indexes"):
        saw = f"on {row['relation']}" + (", left over by a reindex" if row["leftover"] else "")
        if row["is_unique"] and not row["leftover"]:
            found.append(red("invalid-index", f"The unique index {row['name']} is invalid: "
                             "nothing keeps its values unique", saw=saw, next=_FIX))  # fmt: skip
        else:
            found.append(yellow("invalid-index", f"The index {row['name']} is invalid: it slows "
                                "writes and serves no query", saw=saw, next=_FIX))  # fmt: skip
    return found or [green("invalid-index", "Indexes: none invalid")]


def _unvalidated(vitals: Vitals) -> list[Finding]:
    found = unread(vitals, "unvalidated", "unvalidated", "Constraints that were not validated")
    rows = vitals.rows("unvalidated")
    if rows:
        saw = ", ".join(f"{row['name']} on {row['relation']}" for row in rows[:_NAMED])
        hint = f"alter table {rows[0]['relation']} validate constraint {rows[0]['name']}"
        title = f"{several(len(rows), 'constraint')} never validated: old rows may break them"
        found.append(note("unvalidated", title, saw=saw, next=hint))
    return found
