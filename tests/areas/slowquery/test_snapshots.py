"""Stored snapshots are refused whole where they are damaged, and the check says which."""

from __future__ import annotations

import gzip
import math
import random
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from opsctl.adapters.snapshots import SnapshotStore
from opsctl.adapters.statements import Costs, Counts, Moments, Snapshot
from opsctl.core.errors import Exit, OpsError

SNAPSHOT = Snapshot(
    Counts(1000.5, {(10, -7, True): Moments(3, 6.0, 1.0, 3.0, 2.0, 0.8, None, None)},
           1, 900.0, 2, 0.0),
    {(10, -7, True): Costs(rows=5, wal_bytes=12.5)},
    "server", "database", 800.0,
)  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> SnapshotStore:
    return SnapshotStore(tmp_path, "test")


def test_what_is_written_is_read_again(store: SnapshotStore) -> None:
    store.write(SNAPSHOT, keep=3)

    assert [SNAPSHOT] == [store.read(each) for each in store.list()]


def header(old: str, new: str) -> Callable[[bytes], bytes]:
    """Put a text in the place of another in the line that says what was counted."""

    def change(data: bytes) -> bytes:
        line, end, numbers = data.partition(b"\n")
        return line.replace(old.encode(), new.encode()) + end + numbers

    return change


def number(place: int, value: float) -> Callable[[bytes], bytes]:
    """Put a number in one place of the only statement's row."""

    def change(data: bytes) -> bytes:
        line, end, numbers = data.partition(b"\n")
        start = 8 * place
        return line + end + numbers[:start] + struct.pack("<d", value) + numbers[start + 8 :]

    return change


@pytest.mark.parametrize(
    "change",
    [
        number(4, math.inf),
        number(4, -math.inf),
        number(5, math.nan),
        number(9, math.inf),
        header('"format": 2', '"format": 99'),
        header('"at": 1000.5', '"at": null'),
        header('"at": 1000.5', '"at": "now"'),
        header('"at": 1000.5', '"at": NaN'),
        header('"at": 1000.5', '"at": 1e999'),
        header('"server": "server"', '"server": 5'),
        header('"calls"', '"colls"'),
        header('"dealloc": 1, ', ""),
        header('"dealloc": 1', '"dealloc": 1.5'),
        header('"statements": 1', '"statements": 2'),
        header('"statements": 1', '"statements": -1'),
        header('"statements": 1', '"statements": true'),
        header('"statements": 1', '"statements": 1e300'),
        lambda data: data[:-1],
        lambda data: data + b"x",
        lambda data: b"[]",
        lambda data: b"[" * 100_000 + b"\n",
        lambda data: b"",
    ],
)
def test_a_damaged_one_is_refused_by_name(
    store: SnapshotStore, change: Callable[[bytes], bytes]
) -> None:
    path = store.write(SNAPSHOT, keep=3)
    data = gzip.decompress(path.read_bytes())
    changed = change(data)
    path.write_bytes(gzip.compress(changed))

    with pytest.raises(OpsError) as error:
        store.read(store.list()[0])

    assert changed != data
    assert ("snapshot-damaged", Exit.UNKNOWN) == (error.value.code, error.value.exit)
    assert str(path) in error.value.why


def test_one_without_statements_is_read_again(store: SnapshotStore) -> None:
    none = replace(SNAPSHOT, counts=replace(SNAPSHOT.counts, moments={}), costs={})
    store.write(none, keep=3)

    assert [none] == [store.read(each) for each in store.list()]


def test_a_snapshot_of_the_former_format_is_removed(store: SnapshotStore) -> None:
    path = store.write(SNAPSHOT, keep=3)
    former = path.with_name("0000000900000.json.gz")
    former.write_bytes(b"")

    store.write(SNAPSHOT, keep=3)

    assert [path.name] == [each.name for each in path.parent.iterdir()]


def test_no_flipped_bit_is_half_believed(store: SnapshotStore) -> None:
    path = store.write(SNAPSHOT, keep=3)
    whole = path.read_bytes()
    chance = random.Random(4)
    for _ in range(200):
        data = bytearray(whole)
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        path.write_bytes(data[: chance.choice((len(data), chance.randrange(len(data))))])
        try:
            found = store.read(store.list()[0])
        except OpsError as error:
            assert error.code == "snapshot-damaged"  # noqa: PT017 - either is well
        else:
            assert found == SNAPSHOT


def test_the_check_passes_a_damaged_one_over_and_says_so(new_room: Any) -> None:
    new_room.execute("select 1 as one")
    new_room.report("--since", "start")
    new_room.execute("select 1 as one")
    new_room.report("--since", "last")
    folder = new_room.root / ".opsctl" / "slowquery" / "test"
    newest = max(folder.glob("*.snapshot.gz"))
    newest.write_bytes(newest.read_bytes()[:-30])
    new_room.execute("select 1 as one")

    document = new_room.report("--since", "last")

    (finding,) = [each for each in document["findings"] if each["rule"] == "snapshot-damaged"]
    assert str(newest) in finding["evidence"]
    one = next(each for each in document["data"]["statements"] if "one" in each["text"])
    assert 2 == one["calls"]
