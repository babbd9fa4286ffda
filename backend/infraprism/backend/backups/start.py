"""The backups of a server that starts. They need the packages of the extra `backup`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infraprism.backend.accounts import Accounts
from infraprism.backend.backups.errors import BackupError
from infraprism.backend.backups.requests import BackupRequest
from infraprism.backend.cluster.database import ClusterDatabase
from infraprism.backend.jobs import Jobs
from infraprism.backend.preflight import StartupError
from infraprism.backend.settings import Settings
from infraprism.backend.store.embedded import EmbeddedDatabase

if TYPE_CHECKING:
    from infraprism.backend.backups.job import BackupKind


def backup_kind(
    settings: Settings, database: EmbeddedDatabase | ClusterDatabase, accounts: Accounts, jobs: Jobs
) -> BackupKind | None:
    """What makes backups, if the packages for it are installed. Raises StartupError."""
    if isinstance(database, ClusterDatabase):
        if settings.backup_to is not None:
            raise StartupError("--backup-to is for a data directory: back ClickHouse and PostgreSQL up by their tools")
        return None
    try:
        from infraprism.backend.backups.job import BackupKind, Schedule  # noqa: PLC0415  # an extra
    except ModuleNotFoundError as error:
        if settings.backup_to is None:
            return None
        raise StartupError(f"{error.name} is missing: pip install 'infraprism-opentelemetry[backup]'") from None
    schedule = settings.backup_to and Schedule(
        BackupRequest(settings.backup_to, tuple(settings.backup_recipients), settings.backup_keep_days),
        settings.backup_every_s,
    )
    try:
        return BackupKind(
            settings.data_dir,
            database,
            accounts.database,
            jobs,
            schedule or None,
            region=settings.region,
            clock=settings.clock,
        )
    except BackupError as error:
        raise StartupError(f"--backup-to: {error}") from None
