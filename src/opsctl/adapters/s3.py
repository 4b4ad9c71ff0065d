"""Backups in an S3-compatible object storage, through boto3."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any

from opsctl.adapters.stores import MANIFEST, damaged, is_id
from opsctl.core.errors import Exit, OpsError
from opsctl.core.secrets import resolve_secret
from opsctl.core.settings import ObjectStorage

_ABANDONED = timedelta(days=1)
"""Nobody makes one backup for longer: without a manifest by then, it was cut off."""

_CONNECT_TIMEOUT_S = 10
_READ_TIMEOUT_S = 60
_ATTEMPTS = 4
_PART_BYTES = 16 << 20
_PARALLEL = 2
"""16 MB times 2 is what an upload holds in memory."""


class S3Store:
    """Backups under PREFIX/ENVIRONMENT/ of a bucket; the manifest is uploaded last."""

    def __init__(self, to: str, *, environment: str, storage: ObjectStorage) -> None:
        bucket, _, prefix = to.removeprefix("s3://").partition("/")
        if not bucket:
            raise OpsError(
                f"The address {to!r} has no bucket",
                why="it looks like s3://BUCKET/PREFIX",
                hint="set backup.to in the settings",
                code="unknown-store",
            )
        self._bucket = bucket
        self._prefix = "/".join(part for part in (prefix.strip("/"), environment) if part) + "/"
        self._storage = storage
        self._made: Any = None
        self.where = f"s3://{bucket}/{self._prefix.rstrip('/')}"

    def ids(self) -> tuple[str, ...]:
        """Return the names of the backups, oldest first, whole or not."""
        found: set[str] = set()
        with self._errors():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix, Delimiter="/"
            )
            for page in pages:
                for each in page.get("CommonPrefixes", ()):
                    found.add(each["Prefix"].removeprefix(self._prefix).rstrip("/"))
        return tuple(sorted(name for name in found if is_id(name)))

    def interrupted(self) -> tuple[str, ...]:
        """Return what has no manifest a day after it was begun."""
        now = datetime.now(UTC)
        return tuple(
            each
            for each in self.ids()
            if now - datetime.strptime(each[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC) > _ABANDONED
            and self.read(each, MANIFEST, most=1 << 30) is None
        )

    def read(self, backup: str, name: str, *, most: int) -> bytes | None:
        """Return a small file of a backup; None where it is not there."""
        with self._errors():
            try:
                answer = self._client.get_object(Bucket=self._bucket, Key=self._key(backup, name))
            except self._client.exceptions.NoSuchKey:
                return None
            data = bytes(answer["Body"].read(most + 1))
        if len(data) > most:
            raise damaged(backup, f"{name} is larger than {most} bytes")
        return data

    def write(self, backup: str, name: str, data: bytes) -> None:
        """Write a small file of a backup: an object is there whole or not at all."""
        with self._errors():
            self._client.put_object(Bucket=self._bucket, Key=self._key(backup, name), Body=data)

    @contextmanager
    def making(self, backup: str) -> Iterator[Path]:
        """Give a private folder to fill; upload it when the block ends well.

        An upload that fails is taken back, as far as the storage can be reached.
        """
        # Found out before an hour's dump is thrown away.
        self.ids()
        with tempfile.TemporaryDirectory(prefix="opsctl-upload-") as name:
            folder = Path(name)
            yield folder
            files = sorted(
                (path for path in folder.rglob("*") if path.is_file()),
                key=lambda path: (path == folder / MANIFEST, path),
            )
            try:
                with self._errors():
                    for path in files:
                        self._client.upload_file(
                            str(path),
                            self._bucket,
                            self._key(backup, path.relative_to(folder).as_posix()),
                            Config=self._transfer(),
                        )
            except BaseException:
                with contextlib.suppress(OpsError):
                    self.delete(backup)
                raise

    @contextmanager
    def files(
        self, backup: str, names: tuple[str, ...], *, progress: Callable[[int], None]
    ) -> Iterator[Path]:
        """Give a private folder with the files, downloaded; it is removed afterwards."""
        with tempfile.TemporaryDirectory(prefix="opsctl-download-") as name:
            folder = Path(name)
            for each in names:
                path = PurePosixPath(each)
                if path.is_absolute() or ".." in path.parts:
                    raise damaged(backup, f"its manifest names the file {each[:80]!r}")
                (folder / path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                with self._errors(missing=(backup, each)):
                    self._client.download_file(
                        self._bucket,
                        self._key(backup, each),
                        str(folder / path),
                        Config=self._transfer(),
                        Callback=progress,
                    )
            yield folder

    def delete(self, backup: str) -> None:
        """Remove a backup, its manifest first: what is cut off is no backup any more."""
        with self._errors():
            self._client.delete_object(Bucket=self._bucket, Key=self._key(backup, MANIFEST))
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._key(backup, "")
            )
            for page in pages:
                for each in page.get("Contents", ()):
                    self._client.delete_object(Bucket=self._bucket, Key=each["Key"])

    def _key(self, backup: str, name: str) -> str:
        return f"{self._prefix}{backup}/{name}"

    @property
    def _client(self) -> Any:
        if self._made is None:
            self._made = self._connect()
        return self._made

    def _connect(self) -> Any:
        try:
            import boto3
            from botocore.config import Config
        except ImportError:
            raise OpsError(
                "Object storage is not installed",
                why="the library boto3 is an extra of opsctl",
                hint="pip install 'opsctl[s3]'",
                code="extra-missing",
                exit=Exit.UNKNOWN,
            ) from None
        keys = {}
        if self._storage.access_key_id and self._storage.secret_access_key:
            keys = {
                "aws_access_key_id": resolve_secret(self._storage.access_key_id),
                "aws_secret_access_key": resolve_secret(self._storage.secret_access_key),
            }
        return boto3.client(
            "s3",
            endpoint_url=self._storage.endpoint,
            region_name=self._storage.region,
            config=Config(
                connect_timeout=_CONNECT_TIMEOUT_S,
                read_timeout=_READ_TIMEOUT_S,
                retries={"max_attempts": _ATTEMPTS, "mode": "standard"},
                # Not every S3-compatible storage knows the newer checksums.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                s3={"addressing_style": "path"} if self._storage.endpoint else {},
            ),
            **keys,
        )

    @staticmethod
    def _transfer() -> Any:
        from boto3.s3.transfer import TransferConfig

        return TransferConfig(
            multipart_threshold=_PART_BYTES,
            multipart_chunksize=_PART_BYTES,
            max_concurrency=_PARALLEL,
        )

    @contextmanager
    def _errors(self, *, missing: tuple[str, str] | None = None) -> Iterator[None]:
        """Turn the library's errors into ours; none of them repeats a key."""
        self._client  # noqa: B018 - made here, because its absence has an error of its own
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            if missing is not None and (code in ("404", "NoSuchKey") or status == 404):
                raise damaged(missing[0], f"{missing[1]} is missing") from None
            raise self._failed("refused", f"it answered {code or status}") from None
        except (Boto3Error, BotoCoreError) as error:
            raise self._failed("unreachable", type(error).__name__) from None

    def _failed(self, how: str, why: str) -> OpsError:
        return OpsError(
            f"The object storage {'refused' if how == 'refused' else 'was not reached'}: "
            f"{self.where}",
            why=why,
            hint="check backup.to and backup.storage in the settings: bucket, endpoint, keys",
            code=f"storage-{how}",
            exit=Exit.UNKNOWN,
        )
