"""Objects in a bucket of S3 or of a service with its API.

Credentials, region and endpoint are those of the AWS tools: `AWS_ACCESS_KEY_ID`, `AWS_PROFILE`, the role of the
machine, `AWS_REGION`, `AWS_ENDPOINT_URL_S3`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO, Final

import boto3  # type: ignore[import-untyped]  # the package has no types
from boto3.exceptions import Boto3Error  # type: ignore[import-untyped]  # the package has no types
from boto3.s3.transfer import TransferConfig  # type: ignore[import-untyped]  # the package has no types
from botocore.config import Config  # type: ignore[import-untyped]  # the package has no types
from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]  # the package has no types

from infraprism.backend.backups.errors import StorageError
from infraprism.backend.backups.storage import Produce, Stored, pieces

_PART_BYTES: Final = 16 * 2**20
"""Of a multipart upload. 10,000 parts are allowed: an object has at most 156 GiB."""
_UPLOADS: Final = 2
_RETRIES: Final = 5
_TIMEOUT_S: Final = 60


class S3Storage:
    """The objects of a bucket with a prefix."""

    def __init__(self, bucket: str, prefix: str) -> None:
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        with _errors(bucket):
            self._client: Any = boto3.client(
                "s3",
                config=Config(
                    # Other services do not know the newest checksums. The index has a hash of each object.
                    request_checksum_calculation="when_required",
                    response_checksum_validation="when_required",
                    retries={"mode": "standard", "max_attempts": _RETRIES},
                    connect_timeout=_TIMEOUT_S,
                    read_timeout=_TIMEOUT_S,
                ),
            )

    def put(self, name: str, produce: Produce) -> None:
        """See Storage."""
        reading, writing = os.pipe()
        failed: list[BaseException] = []

        def run() -> None:
            try:
                with os.fdopen(writing, "wb") as sink:
                    produce(sink)
            except BaseException as error:  # noqa: BLE001  # it is raised by the caller
                failed.append(error)

        producing = threading.Thread(target=run, name="infraprism-backup", daemon=True)
        transfer = TransferConfig(
            multipart_threshold=_PART_BYTES, multipart_chunksize=_PART_BYTES, max_concurrency=_UPLOADS
        )
        transfer.max_in_memory_upload_chunks = _UPLOADS  # a pipe is read into memory; the default is 10
        try:
            with os.fdopen(reading, "rb") as source:
                producing.start()
                with _errors(name):
                    # An upload of which the source raises is aborted.
                    self._client.upload_fileobj(
                        _Complete(source, producing, failed), self._bucket, self._prefix + name, Config=transfer
                    )
        except StorageError:
            if failed and not isinstance(failed[0], BrokenPipeError):
                raise failed[0] from None
            raise

    def read(self, name: str) -> Iterator[bytes]:
        """See Storage."""
        with _errors(name):
            body = self._client.get_object(Bucket=self._bucket, Key=self._prefix + name)["Body"]
            try:
                yield from pieces(body)
            finally:
                body.close()

    def stored(self, prefix: str) -> list[Stored]:
        """See Storage."""
        with _errors(prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix + prefix
            )
            return sorted(
                Stored(found["Key"].removeprefix(self._prefix), found["Size"], found["LastModified"].timestamp())
                for page in pages
                for found in page.get("Contents", ())
            )

    def delete(self, name: str) -> None:
        """See Storage."""
        with _errors(name):
            self._client.delete_object(Bucket=self._bucket, Key=self._prefix + name)

    def abandon(self, before_s: float) -> None:
        """See Storage."""
        with _errors(self._bucket):
            pages = self._client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self._bucket, Prefix=self._prefix
            )
            old = [
                (found["Key"], found["UploadId"])
                for page in pages
                for found in page.get("Uploads", ())
                if found["Initiated"].timestamp() < before_s
            ]
            for key, upload in old:
                self._client.abort_multipart_upload(Bucket=self._bucket, Key=key, UploadId=upload)


class _Complete:
    """A pipe that ends with an error if its producer failed."""

    def __init__(self, source: BinaryIO, producing: threading.Thread, failed: list[BaseException]) -> None:
        self._source = source
        self._producing = producing
        self._failed = failed

    def read(self, size: int = -1) -> bytes:
        """Read up to `size` bytes. Raises StorageError."""
        data = self._source.read(size)
        if size < 0 or len(data) < size:
            self._producing.join()
            if self._failed:
                raise StorageError(None, "the content could not be produced")
        return data


@contextmanager
def _errors(name: str) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        code = "unknown"
        with suppress(KeyError, TypeError):
            code = str(error.response["Error"]["Code"])
        raise StorageError(None, f"{name} of the backups: the storage responds with {code}") from None
    except StorageError:
        raise
    except (BotoCoreError, Boto3Error, OSError) as error:
        raise StorageError(None, f"{name} of the backups: {type(error).__name__}") from None
