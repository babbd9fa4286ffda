"""What a restored data directory needs before a server may start: its accounts, and no backup that still runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

from sqlalchemy import update

from infraprism.backend.accounts import ACCOUNTS_FILE, Accounts
from infraprism.backend.audit.audit_log import OPERATOR, AuditLog
from infraprism.backend.backups import deleted_since
from infraprism.backend.backups.deleted_since import Applied
from infraprism.backend.backups.errors import BackupError
from infraprism.backend.backups.requests import INSTALLATION, kind_name
from infraprism.backend.backups.snapshot import copy_sqlite
from infraprism.backend.jobs.jobs import FINAL_STATES
from infraprism.backend.jobs.tables import JOBS
from infraprism.backend.relational import DatabaseUnavailableError
from infraprism.backend.relational.database import RelationalDatabase

_HASHES: Final = "deletions"
"""The name of the key of the hashes of deleted scopes."""


def keep_accounts(directory: Path, surviving: Path) -> None:
    """Use the accounts of a file that survived instead of those of the backup. Raises BackupError."""
    target = directory / ACCOUNTS_FILE
    target.unlink(missing_ok=True)
    try:
        copy_sqlite(surviving, target)
    except OSError as error:
        raise BackupError(f"{surviving} cannot be used as accounts ({error.strerror})") from None
    target.chmod(0o600)


def delete_again(directory: Path, location: Path | str, region: str | None) -> Applied:
    """Delete what accounts that survived record as deleted since. Raises BackupError, OSError."""
    try:
        with closing(Accounts(location)) as accounts:
            key = accounts.secret(_HASHES)
            return deleted_since.apply(directory, accounts.database, key, region)
    except DatabaseUnavailableError as error:
        raise BackupError(f"the accounts cannot be used ({error})") from None


def complete(directory: Path, backup_id: str, location: Path | str, clock: Callable[[], float] = time.time) -> None:
    """Cancel the backup that was running when the accounts were copied, and record the restore. Raises BackupError."""
    try:
        with closing(RelationalDatabase(location)) as accounts:
            if isinstance(location, Path):
                accounts.run(
                    update(JOBS)
                    .where(
                        JOBS.c.account_id == INSTALLATION,
                        JOBS.c.kind.startswith(kind_name(None)),
                        JOBS.c.state.not_in(FINAL_STATES),
                    )
                    .values(state="cancelled", ended_ms=round(clock() * 1000), expires_ms=round(clock() * 1000))
                )
            AuditLog(accounts, clock).append(INSTALLATION, OPERATOR, "backup.restored", backup_id)
    except DatabaseUnavailableError as error:
        raise BackupError(f"the accounts of {directory} cannot be used ({error})") from None
