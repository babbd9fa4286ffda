"""Jobs: work that takes longer than a request, and continues after a restart or on another server."""

from infraprism.backend.jobs.errors import ConflictError, JobFailedError, LeaseLostError, StoppedError
from infraprism.backend.jobs.jobs import Job, Jobs, State
from infraprism.backend.jobs.kind import JobContext, Kind
from infraprism.backend.jobs.runner import JobRunner

__all__ = [
    "ConflictError",
    "Job",
    "JobContext",
    "JobFailedError",
    "JobRunner",
    "Jobs",
    "Kind",
    "LeaseLostError",
    "State",
    "StoppedError",
]
