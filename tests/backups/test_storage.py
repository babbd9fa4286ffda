"""The storages of backups: objects are complete or do not exist."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from tests.kit.backups import CREDENTIALS, s3_server

from infraprism.backend.backups.errors import BackupError, StorageError
from infraprism.backend.backups.open_storage import open_storage
from infraprism.backend.backups.storage import Sink, Storage

LARGE = 40 * 2**20


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture(params=["directory", "bucket"])
def storage(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
    if request.param == "directory":
        return open_storage(str(tmp_path / "backups"))
    endpoint: str = request.getfixturevalue("endpoint")
    for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL_S3": endpoint}.items():
        monkeypatch.setenv(name, value)
    client: Any = boto3.client("s3")
    name = f"bucket-{os.getpid()}-{abs(hash(tmp_path))}"
    client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "us-west-2"})
    return open_storage(f"s3://{name}/some/prefix")


def write(content: bytes) -> Callable[[Sink], None]:
    return lambda sink: void(sink.write(content))


def void(_: object) -> None:
    pass


def read(storage: Storage, name: str) -> bytes:
    return b"".join(storage.read(name))


def test_an_object_is_read_as_it_was_written(storage: Storage) -> None:
    storage.put("objects/ab/one", write(b"content"))
    storage.put("backups/two", write(b""))
    assert read(storage, "objects/ab/one") == b"content"
    assert [(found.name, found.size_bytes) for found in storage.stored("objects/")] == [("objects/ab/one", 7)]
    assert [found.name for found in storage.stored("backups/")] == ["backups/two"]
    storage.delete("objects/ab/one")
    storage.delete("objects/ab/one")
    assert storage.stored("objects/") == []


def test_a_large_object_is_written_in_pieces(storage: Storage) -> None:
    piece = os.urandom(2**20)

    def produce(sink: Sink) -> None:
        for _ in range(LARGE // len(piece)):
            sink.write(piece)

    storage.put("objects/large", produce)
    assert storage.stored("objects/")[0].size_bytes == LARGE
    assert all(found == piece[: len(found)] for found in [next(iter(storage.read("objects/large")))])


@pytest.mark.parametrize("size", [10, 20 * 2**20])
def test_an_object_that_cannot_be_produced_does_not_exist(storage: Storage, size: int) -> None:
    class ProducerError(Exception):
        pass

    def produce(sink: Sink) -> None:
        sink.write(bytes(size))
        raise ProducerError

    with pytest.raises(ProducerError):
        storage.put("objects/failed", produce)
    assert storage.stored("objects/") == []
    storage.abandon(float("inf"))


def test_a_missing_object_is_an_error_of_the_storage(storage: Storage) -> None:
    with pytest.raises(StorageError, match="objects/missing of the backups"):
        read(storage, "objects/missing")


def test_a_storage_that_does_not_answer_is_an_error_without_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StorageError) as raised:
        open_storage("s3://bucket").put("objects/one", write(b"content"))
    assert not any(secret in str(raised.value) for secret in CREDENTIALS.values())


@pytest.mark.parametrize(
    "url", ["relative/path", "ftp://host/path", "s3://", "s3://key:secret@bucket/prefix", "s3://bucket/a?b=c", ""]
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(BackupError):
        open_storage(url)
