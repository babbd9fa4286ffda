"""Opens the storage of a URL."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from infraprism.backend.backups.errors import BackupError
from infraprism.backend.backups.storage import DirectoryStorage, Storage

_S3_SCHEME: Final = "s3"
_FILE_SCHEME: Final = "file"


def open_storage(url: str) -> Storage:
    """The storage of a URL: a path, `file:///path`, or `s3://bucket/prefix`. Raises BackupError."""
    parsed = urlsplit(url)
    if parsed.scheme == _S3_SCHEME:
        if not parsed.netloc or parsed.query or parsed.username is not None:
            raise BackupError("the URL of a bucket is s3://bucket/prefix; credentials are those of the AWS tools")
        try:
            from infraprism.backend.backups.s3 import S3Storage  # noqa: PLC0415  # not everyone uses it
        except ModuleNotFoundError as error:
            raise BackupError(f"{error.name} is missing: pip install 'infraprism-opentelemetry[backup]'") from None
        return S3Storage(parsed.netloc, parsed.path.strip("/"))
    path = parsed.path if parsed.scheme == _FILE_SCHEME else url
    if "://" in path or not path.startswith("/"):
        raise BackupError("backups go to an absolute path, file:///path, or s3://bucket/prefix")
    return DirectoryStorage(Path(path))
