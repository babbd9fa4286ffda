"""Backups by the command, and a local server with the API of S3."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from moto.server import ThreadedMotoServer
from tests.kit.command import infraprism

from infraprism.backend.backups.encryption import new_identity

IDENTITY, RECIPIENT = new_identity()
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "the-id-of-the-tests",
    "AWS_SECRET_ACCESS_KEY": "the-secret-of-the-tests",
    "AWS_REGION": "us-west-2",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
}


def backup(
    action: str, storage: str | Path, *arguments: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `infraprism backup` with the identity and the recipient of the tests."""
    variables = {
        "INFRAPRISM_BACKUP_IDENTITY": IDENTITY,
        "INFRAPRISM_BACKUP_RECIPIENT": RECIPIENT,
        "INFRAPRISM_BACKUP_TO": str(storage),
        **(environment or {}),
    }
    return infraprism("backup", action, *arguments, environment=variables, timeout_s=120)


def created(data: Path, storage: str | Path, *arguments: str, **environment: str) -> dict[str, Any]:
    """Make a backup, and return what the command reports."""
    ran = backup("create", storage, "--data-dir", str(data), "--json", *arguments, environment=environment)
    assert (ran.returncode, ran.stderr) == (0, "")
    made: dict[str, Any] = json.loads(ran.stdout)
    return made


def restored(storage: str | Path, data: Path, *arguments: str, **environment: str) -> Path:
    """Restore the newest backup into a directory, and return it."""
    ran = backup("restore", storage, "--data-dir", str(data), *arguments, environment=environment)
    assert (ran.returncode, ran.stderr) == (0, "")
    return data


@contextmanager
def s3_server() -> Iterator[str]:
    """The URL of a local server with the API of S3 and the bucket `bucket`."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()
