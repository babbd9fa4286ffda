"""The jobs of all accounts in the relational database."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from sqlalchemy import Connection, Row, Update, delete, insert, select, update

from infraprism.backend.accounts.tables import ACCOUNTS
from infraprism.backend.jobs.errors import ConflictError, LeaseLostError
from infraprism.backend.jobs.tables import JOBS
from infraprism.backend.relational.database import RelationalDatabase
from infraprism.schema import exact_json

State = Literal["queued", "running", "succeeded", "failed", "cancelled"]
FINAL_STATES: Final = ("succeeded", "failed", "cancelled")
KEPT_MS: Final = 30 * 24 * 3600 * 1000
"""How long a job is kept after its end."""
_MAX_LISTED: Final = 1000
_FIRST_RETRY_MS: Final = 1000
_MAX_RETRY_MS: Final = 300_000
_MAX_EXPONENT: Final = 20


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it is stored. Times are Unix milliseconds; what is not known yet is None."""

    id: str
    account_id: str
    kind: str
    parameters: Mapping[str, Any]
    state: State
    progress_done: int
    progress_total: int | None
    checkpoint: Any
    result: Mapping[str, Any] | None
    error_code: str | None
    error_message: str | None
    created_ms: int
    started_ms: int | None
    ended_ms: int | None
    expires_ms: int | None
    actor: str
    is_cancel_requested: bool
    attempts: int

    @property
    def is_final(self) -> bool:
        """Whether the job has ended."""
        return self.state in FINAL_STATES


class Jobs:
    """The jobs of all accounts. Thread-safe, also across servers. `clock` returns Unix seconds.

    `region` is that of the server: it takes jobs of the accounts of its region only.

    `added` is set whenever this object adds a job. Every method raises DatabaseUnavailableError.
    """

    def __init__(
        self, database: RelationalDatabase, clock: Callable[[], float] = time.time, *, region: str | None = None
    ) -> None:
        self._database = database
        self._region = region
        self._clock = clock
        self.added: Final = threading.Event()

    @property
    def can_run(self) -> bool:
        """Whether jobs can be taken now: not while the first key is created, in a transaction of the whole database."""
        return not self._database.in_transaction

    def add(
        self,
        account_id: str,
        kind: str,
        parameters: Mapping[str, Any],
        *,
        actor: str,
        idempotency_key: str | None = None,
        on_new: Callable[[Connection, Job], None] | None = None,
    ) -> Job:
        """Add a job, or return the one that was added with this key and the same parameters.

        `on_new` runs in the transaction of a new job, and can refuse the job by raising. Raises ConflictError if the
        key belongs to a job with other parameters.
        """
        with self._database.transaction() as connection:
            self._database.lock(connection, f"jobs {account_id}")
            if idempotency_key is not None and (job := self._with_key(connection, account_id, idempotency_key)):
                if (job.kind, dict(job.parameters)) != (kind, exact_json.loads(exact_json.dumps(parameters))):
                    raise ConflictError("the Idempotency-Key was sent with another request: send a new key")
                return job
            values = {
                "id": f"job_{secrets.token_hex(12)}",
                "account_id": account_id,
                "kind": kind,
                "parameters": exact_json.dumps(parameters),
                "state": "queued",
                "progress_done": 0,
                "created_ms": self._now_ms(),
                "actor": actor,
                "idempotency_key": idempotency_key,
                "is_cancel_requested": 0,
                "attempts": 0,
                "retry_ms": 0,
                "lease_until_ms": 0,
                "region": self._region_of(connection, account_id),
            }
            connection.execute(insert(JOBS).values(values))
            job = _job(connection.execute(select(JOBS).where(JOBS.c.id == values["id"])).one())
            if on_new is not None:
                on_new(connection, job)
        self.added.set()
        return job

    def _region_of(self, connection: Connection, account_id: str) -> str | None:
        """The region of an account. Of the installation it is that of this object."""
        row = connection.execute(select(ACCOUNTS.c.region).where(ACCOUNTS.c.id == account_id)).first()
        if row is None or row.region is None:
            return self._region if row is None else None
        return str(row.region).partition(">")[0]  # of an account that is being moved, the one that has its data

    @staticmethod
    def _with_key(connection: Connection, account_id: str, idempotency_key: str) -> Job | None:
        row = connection.execute(
            select(JOBS).where(JOBS.c.account_id == account_id, JOBS.c.idempotency_key == idempotency_key)
        ).first()
        return _job(row) if row else None

    def find(self, account_id: str, job_id: str) -> Job | None:
        """A job of an account."""
        rows = self._database.rows(select(JOBS).where(JOBS.c.id == job_id, JOBS.c.account_id == account_id))
        return _job(rows[0]) if rows else None

    def list(self, account_id: str, kind: str | None = None, *, connection: Connection | None = None) -> Sequence[Job]:
        """The jobs of an account, newest first, at most 1000. With `connection` they are read in its transaction."""
        query = select(JOBS).where(JOBS.c.account_id == account_id)
        if kind is not None:
            query = query.where(JOBS.c.kind == kind)
        query = query.order_by(JOBS.c.created_ms.desc(), JOBS.c.id).limit(_MAX_LISTED)
        rows = connection.execute(query).all() if connection is not None else self._database.rows(query)
        return [_job(row) for row in rows]

    def of_kind(self, kind: str) -> Sequence[Job]:
        """The jobs of a kind of all accounts."""
        return [_job(row) for row in self._database.rows(select(JOBS).where(JOBS.c.kind == kind))]

    def cancel(self, account_id: str, job_id: str) -> Job | None:
        """Cancel a job: at once if it has not begun, otherwise as soon as its server notices it.

        Returns None if the account has no such job. Raises ConflictError if the job has ended.
        """
        with self._database.transaction() as connection:
            self._database.lock(connection, f"jobs {account_id}")
            row = connection.execute(select(JOBS).where(JOBS.c.id == job_id, JOBS.c.account_id == account_id)).first()
            if row is None:
                return None
            job = _job(row)
            if job.is_final:
                raise ConflictError(f"the job has {job.state}: it cannot be cancelled")
            values: dict[str, Any] = {"is_cancel_requested": 1, "retry_ms": 0}
            if job.state == "queued" and job.started_ms is None:
                values |= self._ended("cancelled")
            connection.execute(update(JOBS).where(JOBS.c.id == job_id).values(values))
            job = _job(connection.execute(select(JOBS).where(JOBS.c.id == job_id)).one())
        self.added.set()
        return job

    def remove(self, account_id: str, kind: str) -> None:
        """Remove the jobs of a kind of an account, as if there had been none. One that runs loses its lease."""
        self._database.run(delete(JOBS).where(JOBS.c.account_id == account_id, JOBS.c.kind == kind))

    def remove_job(self, account_id: str, job_id: str) -> None:
        """Remove a job. If it runs, it loses its lease."""
        self._database.run(delete(JOBS).where(JOBS.c.account_id == account_id, JOBS.c.id == job_id))

    def remove_expired(self) -> None:
        """Remove the jobs that ended more than 30 days ago."""
        self._database.run(delete(JOBS).where(JOBS.c.state.in_(FINAL_STATES), JOBS.c.expires_ms <= self._now_ms()))

    def release_leases(self) -> None:
        """End all leases. Only for a server that knows that no other one runs jobs of this database."""
        self._database.run(update(JOBS).values(lease_owner=None, lease_until_ms=0))

    def take(self, owner: str, lease_s: float, kinds: frozenset[str]) -> Job | None:
        """The oldest job that can run now, with a lease; None if there is none. An account has at most one lease."""
        now_ms = self._now_ms()
        with self._database.transaction() as connection:
            self._database.lock(connection, "jobs")
            busy = select(JOBS.c.account_id).where(JOBS.c.state == "running", JOBS.c.lease_until_ms > now_ms)
            row = connection.execute(
                select(JOBS)
                .where(
                    JOBS.c.state.not_in(FINAL_STATES),
                    JOBS.c.lease_until_ms <= now_ms,
                    JOBS.c.retry_ms <= now_ms,
                    JOBS.c.kind.in_(kinds),
                    JOBS.c.region.is_not_distinct_from(self._region),
                    JOBS.c.account_id.not_in(busy),
                )
                .order_by(JOBS.c.created_ms, JOBS.c.id)
                .limit(1)
            ).first()
            if row is None:
                return None
            connection.execute(
                update(JOBS)
                .where(JOBS.c.id == row.id)
                .values(
                    state="running",
                    started_ms=row.started_ms or now_ms,
                    lease_owner=owner,
                    lease_until_ms=now_ms + round(lease_s * 1000),
                    attempts=row.attempts + 1,
                )
            )
            return _job(connection.execute(select(JOBS).where(JOBS.c.id == row.id)).one())

    def renew(self, job_id: str, owner: str, lease_s: float) -> bool:
        """Renew a lease. Returns whether the job is to be cancelled. Raises LeaseLostError."""
        return self._update(job_id, owner, lease_until_ms=self._now_ms() + round(lease_s * 1000))

    def save(self, job_id: str, owner: str, lease_s: float, checkpoint: Any, *, done: int, total: int | None) -> bool:
        """Store a checkpoint and renew the lease. Returns whether the job is to be cancelled. Raises LeaseLostError."""
        return self._update(
            job_id,
            owner,
            checkpoint=exact_json.dumps(checkpoint),
            progress_done=done,
            progress_total=total,
            attempts=0,
            error_code=None,
            error_message=None,
            lease_until_ms=self._now_ms() + round(lease_s * 1000),
        )

    def end(
        self,
        job_id: str,
        owner: str,
        state: State,
        *,
        result: Mapping[str, Any] | None = None,
        error: tuple[str, str] | None = None,
    ) -> None:
        """Give a job its final state. `error` is its code and message. Raises LeaseLostError."""
        code, message = error or (None, None)
        self._update(
            job_id,
            owner,
            **self._ended(state),
            result=None if result is None else exact_json.dumps(result),
            error_code=code,
            error_message=message,
        )

    def give_back(self, job_id: str, owner: str, cause: str | None = None, *, attempts: int = 0) -> None:
        """Let the job continue later: at once, or with a `cause` after a pause that grows with the attempts.

        Raises LeaseLostError.
        """
        pause_ms = min(_FIRST_RETRY_MS * 2 ** min(attempts, _MAX_EXPONENT), _MAX_RETRY_MS) if cause else 0
        self._update(
            job_id,
            owner,
            state="queued",
            lease_owner=None,
            lease_until_ms=0,
            retry_ms=self._now_ms() + pause_ms,
            **({"error_code": cause, "error_message": "it will be tried again"} if cause else {}),
        )

    def _ended(self, state: State) -> dict[str, Any]:
        now_ms = self._now_ms()
        return {
            "state": state,
            "ended_ms": now_ms,
            "expires_ms": now_ms + KEPT_MS,
            "lease_owner": None,
            "lease_until_ms": 0,
        }

    def _update(self, job_id: str, owner: str, **values: Any) -> bool:
        """Change a job that this owner has. Returns whether the job is to be cancelled. Raises LeaseLostError.

        A lease that has ended still counts as long as no other server took the job.
        """
        own: Update = update(JOBS).where(JOBS.c.id == job_id, JOBS.c.lease_owner == owner, JOBS.c.state == "running")
        with self._database.transaction() as connection:
            if connection.execute(own.values(values)).rowcount != 1:
                raise LeaseLostError
            return bool(connection.execute(select(JOBS.c.is_cancel_requested).where(JOBS.c.id == job_id)).scalar_one())

    def _now_ms(self) -> int:
        return round(self._clock() * 1000)


def _job(row: Row[Any]) -> Job:
    values = {name: getattr(row, name) for name in Job.__slots__}
    for name in ("parameters", "checkpoint", "result"):
        values[name] = None if values[name] is None else exact_json.loads(values[name])
    return Job(**{**values, "is_cancel_requested": bool(row.is_cancel_requested)})
