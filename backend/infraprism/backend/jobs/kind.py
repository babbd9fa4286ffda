"""What a kind of jobs implements, and what it gets to run one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from infraprism.backend.jobs.errors import LeaseLostError, StoppedError
from infraprism.backend.jobs.jobs import Job


class JobContext:
    """One run of a job. `checkpoint` is the last saved one, or None; `has_saved`: whether this run has saved one."""

    def __init__(self, job: Job, save: Callable[[Any, int, int | None], bool], is_stopping: Callable[[], bool]) -> None:
        self.job = job
        self.checkpoint: Any = job.checkpoint
        self.has_saved = False
        self._save = save
        self._is_stopping = is_stopping
        self._is_cancelled = job.is_cancel_requested
        self._is_lost = False

    def save(self, checkpoint: Any, done: int, total: int | None = None) -> None:
        """Store a checkpoint durably: JSON, with which the job continues after a restart or on another server.

        `done` of `total` is the progress in a unit of the kind. Raises LeaseLostError, and DatabaseUnavailableError.
        """
        if self._is_lost:
            raise LeaseLostError
        try:
            is_cancelled = self._save(checkpoint, done, total)
        except LeaseLostError:
            self._is_lost = True
            raise
        self._is_cancelled = self._is_cancelled or is_cancelled
        self.checkpoint = checkpoint
        self.has_saved = True

    def should_stop(self) -> bool:
        """Whether the job is to end now: raise StoppedError, or call `raise_if_stopped`. Runs no statement."""
        return self._is_lost or self._is_cancelled or self._is_stopping()

    def raise_if_stopped(self) -> None:
        """Raises LeaseLostError or StoppedError if the job is to end now."""
        if self._is_lost:
            raise LeaseLostError
        if self.should_stop():
            raise StoppedError

    @property
    def is_cancelled(self) -> bool:
        """Whether the account has cancelled the job."""
        return self._is_cancelled

    def cancel(self) -> None:
        """Note that the account has cancelled the job."""
        self._is_cancelled = True

    def lose(self) -> None:
        """Note that another server has the job."""
        self._is_lost = True


class Kind:
    """A kind of jobs. `is_cancellable`: whether an account can cancel one."""

    is_cancellable: bool = True

    def run(self, context: JobContext) -> Mapping[str, Any]:
        """Run a job from its checkpoint to the end, and return its result, which is stored as JSON.

        Raises JobFailedError if it cannot succeed, StoppedError if it ends for now. After StoreError,
        DatabaseUnavailableError and OSError it is tried again, with pauses of up to five minutes.
        """
        raise NotImplementedError

    def discard(self, job: Job) -> None:
        """Remove what a job that was cancelled or failed has left. May be called again. By default nothing."""

    def maintain(self) -> None:
        """Work that is due from time to time. Called once a minute between jobs. By default nothing."""
