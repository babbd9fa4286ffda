"""The deletions that accounts have asked for."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, cast

from sqlalchemy import Connection, Row, insert, select, update

from infraprism.backend.audit.audit_log import AuditLog
from infraprism.backend.deletions.refusals import Refusals
from infraprism.backend.deletions.scope import Kind, Scope
from infraprism.backend.deletions.tables import DELETIONS
from infraprism.backend.jobs import Job, Jobs
from infraprism.backend.relational.database import RelationalDatabase

JOB_KIND: Final = "deletion"


FOR_EVER_MS: Final = 7_258_118_400_000
"""The time of the request for the deletion of an account: nothing of it is accepted any more."""


@dataclass(frozen=True)
class Deletion:
    """A deletion. `scope` is None when it is complete."""

    id: str
    account_id: str
    kind: Kind
    scope: Scope | None
    hash: bytes
    first_ms: int | None
    end_ms: int | None
    requested_ms: int

    @property
    def last_end_ms(self) -> int:
        """Events of the scope are deleted, and refused, that start before it."""
        return self.requested_ms if self.end_ms is None else min(self.end_ms, self.requested_ms)


class Deletions:
    """The deletions of all accounts, and their jobs. `clock` returns Unix seconds.

    Every method raises DatabaseUnavailableError.
    """

    def __init__(
        self, database: RelationalDatabase, jobs: Jobs, refusals: Refusals, clock: Callable[[], float] = time.time
    ) -> None:
        self._database = database
        self._jobs = jobs
        self._refusals = refusals
        self._audit_log = AuditLog(database, clock)
        self._clock = clock

    def request(self, account_id: str, scope: Scope, *, actor: str, idempotency_key: str | None = None) -> Job:
        """Record a deletion durably, and add its job. From now on late events of the scope are refused.

        The same scope while its job has not ended is the same job. Raises ConflictError.
        """
        hashed = scope.hash(self._refusals.key, account_id)
        parameters = {"kind": scope.kind, "hash": hashed.hex(), "first_ms": scope.first_ms, "end_ms": scope.end_ms}
        if idempotency_key is None:
            for job in self._jobs.list(account_id, JOB_KIND):
                if not job.is_final and dict(job.parameters) == parameters:
                    return job
        requested_ms = round(self._clock() * 1000)

        def record(connection: Connection, job: Job) -> None:
            values = {
                "id": _id_of(job),
                "account_id": account_id,
                "kind": scope.kind,
                "scope": scope.as_text(),
                "hash": hashed,
                "first_ms": scope.first_ms,
                "end_ms": scope.end_ms,
                "requested_ms": requested_ms,
            }
            connection.execute(insert(DELETIONS).values(values))
            self._audit_log.append(account_id, actor, "deletion.requested", _id_of(job), connection=connection)

        job = self._jobs.add(
            account_id, JOB_KIND, parameters, actor=actor, idempotency_key=idempotency_key, on_new=record
        )
        self._refusals.reload()
        return job

    def of(self, job: Job) -> Deletion:
        """The deletion of a job."""
        (row,) = self._database.rows(select(DELETIONS).where(DELETIONS.c.id == _id_of(job)))
        return _deletion(row)

    @staticmethod
    def forget_scope(connection: Connection, deletion: Deletion) -> None:
        """Remove the scope in clear, within a transaction."""
        connection.execute(update(DELETIONS).where(DELETIONS.c.id == deletion.id).values(scope=None))


def _id_of(job: Job) -> str:
    return f"del_{job.id.removeprefix('job_')}"


def _deletion(row: Row[Any]) -> Deletion:
    return Deletion(
        row.id,
        row.account_id,
        cast(Kind, row.kind),
        None if row.scope is None else Scope.from_text(row.scope),
        bytes(row.hash),
        row.first_ms,
        row.end_ms,
        row.requested_ms,
    )
