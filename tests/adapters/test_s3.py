"""Backups in a real S3-compatible server: rclone's, with its objects in memory."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from opsctl.adapters.s3 import S3Store
from opsctl.adapters.scratch import free_port
from opsctl.adapters.stores import MANIFEST
from opsctl.core.errors import OpsError
from opsctl.core.settings import ObjectStorage

BACKUP = "20260102T030405Z-ab12"
OLDER = "20260101T030405Z-ab12"
KEY, SECRET = "test" + "key", "test" + "secret" + "0123"


@dataclass
class Bucket:
    """One bucket of the server."""

    endpoint: str

    def client(self) -> Any:
        """Return boto3's own client."""
        return self.store()._client

    def store(self, *, to: str = "s3://bucket/pre/fix", secret: str = SECRET) -> S3Store:
        """Return the store, for the right or the wrong key."""
        os.environ["OPSCTL_TEST_S3_KEY"], os.environ["OPSCTL_TEST_S3_SECRET"] = KEY, secret
        storage = ObjectStorage(
            endpoint=self.endpoint,
            access_key_id="env:OPSCTL_TEST_S3_KEY",
            secret_access_key="env:OPSCTL_TEST_S3_SECRET",
        )
        return S3Store(to, environment="test", storage=storage)


@pytest.fixture(scope="module")
def server() -> Iterator[Bucket]:
    """The real server, with one bucket."""
    program = Path(sys.executable).with_name("rclone")
    port = free_port()
    argv = [str(program), "serve", "s3", "--addr", f"127.0.0.1:{port}",
            "--auth-key", f"{KEY},{SECRET}", "--vfs-cache-mode", "off", ":memory:"]  # fmt: skip
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        assert process.poll() is None, "rclone did not start"
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=2).close()
            break
        except urllib.error.HTTPError as error:
            error.close()
            break
        except OSError:
            time.sleep(0.1)
    bucket = Bucket(f"http://127.0.0.1:{port}")
    bucket.client().create_bucket(Bucket="bucket")
    yield bucket
    process.terminate()
    process.wait()


@pytest.fixture
def bucket(server: Bucket) -> Iterator[Bucket]:
    """The bucket, empty."""
    yield server
    client = server.client()
    for each in client.list_objects_v2(Bucket="bucket").get("Contents", ()):
        client.delete_object(Bucket="bucket", Key=each["Key"])


def put(store: S3Store, backup: str, files: dict[str, bytes]) -> None:
    with store.making(backup) as folder:
        for name, data in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)


def test_files_come_back_as_they_were(bucket: Bucket) -> None:
    store = bucket.store()
    files = {
        "data/1.dat": random.Random(1).randbytes(20_000_000),
        "data/empty.dat": b"",
        MANIFEST: b"{}",
    }
    put(store, BACKUP, files)
    heard: list[int] = []

    with store.files(BACKUP, tuple(files), progress=heard.append) as folder:
        found = {name: (folder / name).read_bytes() for name in files}

    assert files == found
    assert sum(map(len, files.values())) == sum(heard)
    assert not folder.exists()
    assert (BACKUP,) == store.ids()


def test_backups_are_listed_oldest_first_and_strangers_are_not(bucket: Bucket) -> None:
    store = bucket.store()
    for each in (BACKUP, OLDER):
        put(store, each, {MANIFEST: b"{}"})
    bucket.client().put_object(Bucket="bucket", Key="pre/fix/test/notes/readme", Body=b"mine")

    assert (OLDER, BACKUP) == store.ids()


def test_what_has_no_manifest_after_a_day_was_interrupted(bucket: Bucket) -> None:
    store = bucket.store()
    put(store, OLDER, {"data/1.dat": b"rows"})
    put(store, BACKUP, {MANIFEST: b"{}"})

    assert (OLDER,) == store.interrupted()


def test_a_block_that_fails_uploads_nothing(bucket: Bucket) -> None:
    store = bucket.store()

    def half() -> None:
        with store.making(BACKUP) as folder:
            (folder / "data").write_bytes(b"half")
            raise RuntimeError("the dump failed")

    with pytest.raises(RuntimeError):
        half()

    assert () == store.ids()


def test_small_files_are_read_written_and_limited(bucket: Bucket) -> None:
    store = bucket.store()
    put(store, BACKUP, {MANIFEST: b"{}"})
    store.write(BACKUP, "verified.json", b"x" * 100)

    assert None is store.read(BACKUP, "other", most=10)
    assert b"x" * 100 == store.read(BACKUP, "verified.json", most=100)
    with pytest.raises(OpsError) as caught:
        store.read(BACKUP, "verified.json", most=99)
    assert "backup-damaged" == caught.value.code


def test_a_missing_file_is_named(bucket: Bucket) -> None:
    store = bucket.store()
    put(store, BACKUP, {MANIFEST: b"{}"})

    with (
        pytest.raises(OpsError) as caught,
        store.files(BACKUP, ("data/1.dat",), progress=lambda count: None),
    ):
        raise AssertionError("it gave a folder")

    assert ("backup-damaged", "data/1.dat is missing") == (caught.value.code, caught.value.why)


def test_a_backup_is_deleted_whole_and_alone(bucket: Bucket) -> None:
    store = bucket.store()
    for each in (BACKUP, OLDER):
        put(store, each, {MANIFEST: b"{}", "data/1.dat": b"rows"})

    store.delete(BACKUP)
    store.delete(BACKUP)

    assert (OLDER,) == store.ids()


def test_refusals_say_what_to_check_and_hold_no_key(bucket: Bucket) -> None:
    wrong = "wrong" + SECRET
    errors = []
    for secret, to in ((wrong, "s3://bucket/x"), (SECRET, "s3://nosuch/x")):
        with pytest.raises(OpsError) as caught:
            put(bucket.store(secret=secret, to=to), BACKUP, {MANIFEST: b"{}"})
        errors.append(caught.value)

    assert ["storage-refused"] * 2 == [error.code for error in errors]
    for error in errors:
        text = f"{error.what} {error.why} {error.hint}"
        assert wrong not in text
        assert KEY not in text


def test_an_endpoint_that_is_not_there_is_unknown(bucket: Bucket) -> None:
    gone = Bucket(f"http://127.0.0.1:{free_port()}")

    with pytest.raises(OpsError) as caught:
        gone.store().ids()

    assert ("storage-unreachable", 3) == (caught.value.code, int(caught.value.exit))


def test_memory_stays_bounded(bucket: Bucket, soak: bool) -> None:
    size = 300_000_000 if soak else 60_000_000
    bucket.store()
    code = f"""
from opsctl.adapters.s3 import S3Store
from opsctl.core.settings import ObjectStorage
storage = ObjectStorage(endpoint={bucket.endpoint!r}, access_key_id="env:OPSCTL_TEST_S3_KEY",
                        secret_access_key="env:OPSCTL_TEST_S3_SECRET")
store = S3Store("s3://bucket/pre", environment="test", storage=storage)
with store.making({BACKUP!r}) as folder:
    with (folder / "big").open("wb") as file:
        for _ in range({size} // 1000000):
            file.write(bytes(1000000))
with store.files({BACKUP!r}, ("big",), progress=lambda count: None) as folder:
    assert (folder / "big").stat().st_size == {size}
# Not getrusage: it keeps the size of the process that forked this one.
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert int(done.stdout) < 150 * 1024
