"""Stored snapshots are refused whole where they are damaged, and the check says which."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
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


def in_row(place: int, text: str) -> Callable[[str], str]:
    """Put a text in one place of the only statement's row."""

    def change(document: str) -> str:
        row = json.loads(document)["statements"][0]
        parts = [json.dumps(each) for each in row]
        parts[place] = text
        whole: dict[str, Any] = json.loads(document)
        whole["statements"] = ["ROW"]
        return json.dumps(whole).replace('"ROW"', f"[{', '.join(parts)}]")

    return change


@pytest.mark.parametrize(
    "change",
    [
        *(in_row(place, text) for place, text in (
            (4, "1e999"), (4, "-1e999"), (5, "NaN"), (6, "Infinity"), (4, '"6"'), (4, "null"),
            (3, "3.5"), (0, "true"), (2, "1"), (1, "null"), (4, "[6]"), (4, "{}"))),
        lambda text: text.replace('"format": 1', '"format": 99'),
        lambda text: text.replace('"at": 1000.5', '"at": null'),
        lambda text: text.replace('"at": 1000.5', '"at": "now"'),
        lambda text: text.replace('"server": "server"', '"server": 5'),
        lambda text: text.replace('"calls"', '"colls"'),
        lambda text: text.replace('"dealloc": 1, ', ""),
        lambda text: text[:-1],
        lambda text: "[]",
        lambda text: "[" * 100_000,
        lambda text: "",
    ],
)  # fmt: skip
def test_a_damaged_one_is_refused_by_name(
    store: SnapshotStore, change: Callable[[str], str]
) -> None:
    path = store.write(SNAPSHOT, keep=3)
    text = json.dumps(json.loads(gzip.decompress(path.read_bytes())))
    changed = change(text)
    path.write_bytes(gzip.compress(changed.encode()))

    with pytest.raises(OpsError) as error:
        store.read(store.list()[0])

    assert changed != text
    assert ("snapshot-damaged", Exit.UNKNOWN) == (error.value.code, error.value.exit)
    assert str(path) in error.value.why


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
    newest = max(folder.glob("*.json.gz"))
    newest.write_bytes(newest.read_bytes()[:-30])
    new_room.execute("select 1 as one")

    document = new_room.report("--since", "last")

    (finding,) = [each for each in document["findings"] if each["rule"] == "snapshot-damaged"]
    assert str(newest) in finding["evidence"]
    one = next(each for each in document["data"]["statements"] if "one" in each["text"])
    assert 2 == one["calls"]
