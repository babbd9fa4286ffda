"""Makes a backup: by a job of the server that uses the data directory, or in this process if there is none."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Final

from infraprism.backend.accounts import ACCOUNTS_FILE
from infraprism.backend.audit.audit_log import OPERATOR, AuditLog
from infraprism.backend.backups.catalog import Catalog
from infraprism.backend.backups.creation import Creation
from infraprism.backend.backups.encryption import Recipients
from infraprism.backend.backups.errors import BackupError
from infraprism.backend.backups.job import result
from infraprism.backend.backups.open_storage import open_storage
from infraprism.backend.backups.requests import INSTALLATION, BackupRequest, kind_name
from infraprism.backend.jobs import Jobs
from infraprism.backend.preflight import DataDirectory, StartupError
from infraprism.backend.relational import DatabaseUnavailableError
from infraprism.backend.relational.database import RelationalDatabase
from infraprism.backend.store import StoreError
from infraprism.backend.store.embedded import EmbeddedDatabase
from infraprism.cli import backup_options as options
from infraprism.cli import region_options
from infraprism.cli.failure import Failure
from infraprism.cli.urls import ACCOUNTS, url

_POLL_S: Final = 0.5
_BEGIN_S: Final = 60.0
"""How long a server may take to begin."""
Progress = Callable[[int, int], None]


def create(args: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    """Make a backup, and return what is known of it. Raises Failure, BackupError, OSError."""
    directory = args.data_dir.resolve()
    request = BackupRequest(options.storage(args), options.recipients(args), options.kept_days(args))
    open_storage(request.to)
    Recipients(request.recipients)
    if not (directory / "store").is_dir():
        raise Failure(f"no store in {directory}: check --data-dir")
    location = url(args, ACCOUNTS) or directory / ACCOUNTS_FILE
    with ExitStack() as stack:
        try:
            stack.enter_context(closing(DataDirectory(directory))).keep()
        except StartupError as error:
            if "in use" not in str(error):
                raise Failure(str(error)) from None
            return _by_the_server(location, request, region_options.region(args), progress)
        return _here(directory, location, request, progress)


def _here(directory: Path, location: Path | str, request: BackupRequest, progress: Progress) -> dict[str, Any]:
    storage = open_storage(request.to)
    try:
        with closing(EmbeddedDatabase(directory / "store", computes_aggregates=False)) as database:
            creation = Creation(directory, database, storage, Recipients(request.recipients))
            made = creation.make(request.keep_days, progress)
        with closing(RelationalDatabase(location)) as accounts:
            AuditLog(accounts).append(INSTALLATION, OPERATOR, "backup.created", made.backup.id)
    except StoreError as error:
        raise Failure(f"the store in {directory} cannot be used (engine code {error.code}): check the disk") from None
    except DatabaseUnavailableError as error:
        raise Failure(f"the accounts cannot be used ({error}): check --accounts") from None
    return result(made, Catalog(storage).expire(time.time()))


def _by_the_server(
    location: Path | str, request: BackupRequest, region: str | None, progress: Progress
) -> dict[str, Any]:
    try:
        with closing(RelationalDatabase(location)) as accounts:
            jobs = Jobs(accounts, region=region)
            added = jobs.add(INSTALLATION, kind_name(region), request.parameters(), actor=OPERATOR)
            ends_s = time.monotonic() + _BEGIN_S
            while True:
                job = jobs.find(INSTALLATION, added.id)
                if job is None:
                    raise Failure("the job of the backup was removed: run the command again")
                if job.state == "succeeded":
                    return dict(job.result or {})
                if job.is_final:
                    raise BackupError(job.error_message or f"the backup was {job.state}")
                if job.started_ms is None and time.monotonic() > ends_s:
                    jobs.cancel(INSTALLATION, added.id)
                    raise Failure(
                        "the server does not begin the backup: pip install 'infraprism-opentelemetry[backup]' there,"
                        " and give its --accounts and --region here"
                    )
                if job.error_code is not None:
                    raise Failure(f"the backup is tried again by the server ({job.error_code}): see its log")
                progress(job.progress_done, job.progress_total or 0)
                time.sleep(_POLL_S)
    except DatabaseUnavailableError as error:
        raise Failure(f"the accounts cannot be used ({error}): check --accounts") from None
