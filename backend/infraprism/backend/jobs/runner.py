"""Runs jobs on a thread."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from infraprism.backend.jobs.errors import JobFailedError, LeaseLostError, StoppedError
from infraprism.backend.jobs.jobs import Job, Jobs
from infraprism.backend.jobs.kind import JobContext, Kind
from infraprism.backend.relational import DatabaseUnavailableError
from infraprism.backend.store import StoreError

_log = logging.getLogger(__name__)
LEASE_S: Final = 30.0
_RENEWALS: Final = 6
"""In the time of a lease."""
_POLL_S: Final = 2.0
"""How often a server looks for jobs that another one added or lost."""
_MAINTENANCE_S: Final = 60.0
_STORE: Final = "store_unavailable"
_DATABASE: Final = "database_unavailable"
_DISK: Final = "disk_unavailable"
_INTERNAL: Final = "internal_error"


class JobRunner:
    """Runs one job at a time, oldest first, and at most one of an account on all servers.

    `clock` returns Unix seconds. A job has a lease while it runs: if the server is killed, another one takes the job
    when the lease has ended. Between jobs `Kind.maintain` is called once a minute.
    """

    def __init__(
        self,
        jobs: Jobs,
        kinds: Mapping[str, Kind],
        clock: Callable[[], float] = time.time,
        *,
        lease_s: float = LEASE_S,
    ) -> None:
        self.kinds: Final = kinds
        self._jobs = jobs
        self._clock = clock
        self._lease_s = lease_s
        self._owner = secrets.token_hex(8)
        self._runs = 0
        self._stopping = threading.Event()
        self._maintained = float("-inf")
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Run jobs on a thread of their own until `stop`."""
        self._thread = threading.Thread(target=self._run, name="infraprism-jobs", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the running job; it continues at the next start. Returns when it has ended."""
        self._stopping.set()
        self._jobs.added.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        failure = ""
        while not self._stopping.is_set():
            self._jobs.added.clear()
            try:
                if self._jobs.can_run:
                    self.maintain_when_due()
                    if self.run_next():
                        continue
                    failure = ""
            except Exception as error:  # noqa: BLE001  # the thread must go on
                found = str(error) if isinstance(error, DatabaseUnavailableError) else type(error).__name__
                if found != failure:  # not again in each round
                    _log.warning("jobs cannot be run: %s", found)
                failure = found
            if not self._stopping.is_set():
                self._jobs.added.wait(_POLL_S)

    def maintain_when_due(self) -> None:
        """Remove expired jobs and call `Kind.maintain` of each kind, if this is due."""
        if self._clock() - self._maintained < _MAINTENANCE_S:
            return
        self._maintained = self._clock()
        self._jobs.remove_expired()
        for name, kind in self.kinds.items():
            try:
                kind.maintain()
            except (StoreError, DatabaseUnavailableError, OSError) as error:
                _log.warning("the maintenance of %s jobs failed: %s", name, _cause(error))

    def run_next(self) -> bool:
        """Run the oldest job that can run now. Returns whether there was one. Raises DatabaseUnavailableError."""
        self._runs += 1
        # A number for each run: a run that was given up cannot save what a later one of this server has.
        owner = f"{self._owner}/{self._runs}"
        job = self._jobs.take(owner, self._lease_s, frozenset(self.kinds))
        if job is None:
            return False
        try:
            self._run_job(job, owner)
        except LeaseLostError:
            _log.warning("job %s is given up: another server runs it, or it was removed", job.id)
        except DatabaseUnavailableError as error:
            _log.warning(
                "the state of job %s cannot be stored (%s): it continues when its lease has ended", job.id, error
            )
        return True

    def _run_job(self, job: Job, owner: str) -> None:
        kind = self.kinds[job.kind]

        def save(checkpoint: Any, done: int, total: int | None) -> bool:
            return self._jobs.save(job.id, owner, self._lease_s, checkpoint, done=done, total=total)

        context = JobContext(job, save, self._stopping.is_set)
        try:
            context.raise_if_stopped()
            with self._renewed(context, owner):
                result = kind.run(context)
        except StoppedError:
            if not context.is_cancelled:
                self._jobs.give_back(job.id, owner)
                return
            kind.discard(job)
            self._jobs.end(job.id, owner, "cancelled")
        except JobFailedError as error:
            kind.discard(job)
            self._jobs.end(job.id, owner, "failed", error=(error.code, error.message))
        except (StoreError, DatabaseUnavailableError, OSError) as error:
            _log.warning("job %s (%s) is tried again later: %s", job.id, job.kind, _cause(error))
            self._jobs.give_back(job.id, owner, _code(error), attempts=0 if context.has_saved else job.attempts)
        except LeaseLostError:
            raise
        except Exception as error:  # noqa: BLE001  # a fault in one job must not end the others
            _log.warning("job %s (%s) failed because of an internal error (%s)", job.id, job.kind, type(error).__name__)
            kind.discard(job)
            self._jobs.end(job.id, owner, "failed", error=(_INTERNAL, "an internal error of the server: see its log"))
        else:
            self._jobs.end(job.id, owner, "succeeded", result=result)

    @contextmanager
    def _renewed(self, context: JobContext, owner: str) -> Iterator[None]:
        """Renew the lease from another thread within the block, and pass a cancellation to the context."""
        ended = threading.Event()

        def renew() -> None:
            while not ended.wait(self._lease_s / _RENEWALS):
                try:
                    if self._jobs.renew(context.job.id, owner, self._lease_s):
                        context.cancel()
                except LeaseLostError:
                    if not ended.is_set():
                        context.lose()
                    return
                except DatabaseUnavailableError as error:
                    _log.warning("the lease of job %s could not be renewed: %s", context.job.id, error)

        thread = threading.Thread(target=renew, name="infraprism-job-lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def _cause(error: Exception) -> str:
    return (error.strerror or type(error).__name__) if isinstance(error, OSError) else str(error)


def _code(error: Exception) -> str:
    if isinstance(error, StoreError):
        return _STORE
    return _DISK if isinstance(error, OSError) else _DATABASE
