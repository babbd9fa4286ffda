"""Makes backups as jobs of a running server: on request, and regularly."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from infraprism.backend.audit.audit_log import SYSTEM, AuditLog
from infraprism.backend.backups.catalog import DAY_S, Catalog
from infraprism.backend.backups.creation import Creation, Made
from infraprism.backend.backups.encryption import Recipients
from infraprism.backend.backups.errors import BackupError
from infraprism.backend.backups.open_storage import open_storage
from infraprism.backend.backups.requests import INSTALLATION, BackupRequest, kind_name
from infraprism.backend.jobs import Job, JobContext, JobFailedError, Jobs, Kind
from infraprism.backend.relational import DatabaseUnavailableError
from infraprism.backend.relational.database import RelationalDatabase
from infraprism.backend.store.embedded import EmbeddedDatabase

FAILED: Final = "backup_failed"
_EXPIRE_EVERY_S: Final = 3600
_LATE: Final = 2
"""A backup is late after this multiple of the interval."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """What is made regularly, and how often."""

    request: BackupRequest
    every_s: float


class BackupKind(Kind):
    """Makes backups of the data directory of this server. With a schedule it adds jobs by itself.

    `region` is that of the server. `clock` returns Unix seconds. Raises BackupError if the schedule cannot be used.
    """

    def __init__(
        self,
        data_dir: Path,
        database: EmbeddedDatabase,
        accounts: RelationalDatabase,
        jobs: Jobs,
        schedule: Schedule | None = None,
        *,
        region: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._data_dir = data_dir
        self._database = database
        self._audit = AuditLog(accounts)
        self._jobs = jobs
        self._schedule = schedule
        self._clock = clock
        self.name: Final = kind_name(region)
        self._since_s = clock()
        self._expired_s = float("-inf")
        self._expiry_fault: str | None = None
        if schedule is not None:
            open_storage(schedule.request.to)
            Recipients(schedule.request.recipients)

    def run(self, context: JobContext) -> Mapping[str, Any]:
        """Make a backup, and delete the expired ones. A backup that was interrupted begins again."""

        def progress(done: int, total: int) -> None:
            context.raise_if_stopped()
            context.save(None, done, total)

        try:
            request = BackupRequest.parsed(context.job.parameters)
            storage = open_storage(request.to)
            recipients = Recipients(request.recipients)
            creation = Creation(self._data_dir, self._database, storage, recipients, self._clock)
            made = creation.make(request.keep_days, progress)
            self._audit.append(INSTALLATION, context.job.actor, "backup.created", made.backup.id)
            expired = Catalog(storage).expire(self._clock())
        except BackupError as error:
            raise JobFailedError(FAILED, str(error)) from None
        self._expiry_fault = None
        return result(made, expired)

    def maintain(self) -> None:
        """Add the job that is due, and delete expired backups once an hour."""
        if self._schedule is None:
            return
        now_s = self._clock()
        last = self._last()
        if last is None or (last.is_final and now_s * 1000 - last.created_ms >= self._schedule.every_s * 1000):
            self._jobs.add(INSTALLATION, self.name, self._schedule.request.parameters(), actor=SYSTEM)
        if now_s - self._expired_s >= _EXPIRE_EVERY_S:
            self._expired_s = now_s
            self._expiry_fault = "expired backups could not be deleted: see the log"
            try:
                Catalog(open_storage(self._schedule.request.to)).expire(now_s)
            except BackupError as error:
                raise OSError(None, str(error)) from None
            self._expiry_fault = None

    def fault(self) -> str | None:
        """Why the last backup failed, or is late, or expired ones are not deleted; None if all is well."""
        try:
            last = self._last()
        except DatabaseUnavailableError:
            return None  # reported by others
        if last is not None and last.error_code is not None:
            return f"the last backup failed ({last.error_message or last.error_code}): see docs/backups.md"
        if self._schedule is not None:
            newest_s = self._last_success_s() or self._since_s
            if self._clock() - newest_s > _LATE * self._schedule.every_s:
                return f"the last backup is more than {self._schedule.every_s * _LATE / DAY_S:.1f} days old"
        return self._expiry_fault

    def gauges(self) -> dict[str, tuple[str, Callable[[], int]]]:
        """The values for `/metrics`, by name: the description, and what returns the value."""
        return {
            "backup_last_success_seconds": (
                "When the newest backup began, in Unix seconds; 0 if there is none.",
                lambda: round(self._last_success_s() or 0),
            ),
            "backup_failed": (
                "1 if the last backup failed or is late, or expired ones are not deleted.",
                lambda: self.fault() is not None,
            ),
        }

    def _last(self) -> Job | None:
        return next(iter(self._jobs.list(INSTALLATION, self.name)), None)

    def _last_success_s(self) -> float | None:
        try:
            found = [job for job in self._jobs.list(INSTALLATION, self.name) if job.state == "succeeded"]
        except DatabaseUnavailableError:
            return None
        return found[0].created_ms / 1000 if found else None


def result(made: Made, expired: list[str]) -> dict[str, Any]:
    """What is known of a backup that was made, as JSON."""
    return {
        "id": made.backup.id,
        "expires_ms": round(made.backup.expires_s * 1000),
        "events_in_store": made.events,
        "size_bytes": made.backup.size_bytes,
        "new_bytes": made.backup.new_bytes,
        "pause_ms": round(made.pause_s * 1000),
        "duration_ms": round(made.duration_s * 1000),
        "expired": expired,
    }
