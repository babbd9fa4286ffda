"""The kind of jobs that write exports."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from infraprism.backend.analytics.source import Source, measured_rows
from infraprism.backend.exports.archive import write
from infraprism.backend.exports.chunks import Selection
from infraprism.backend.exports.events_file import CONVERTED, EventsFile
from infraprism.backend.exports.export_files import ExportFiles, publish, sha256_of
from infraprism.backend.exports.formats import FORMATS
from infraprism.backend.jobs import Job, JobContext, Jobs, Kind
from infraprism.backend.relational.database import RelationalDatabase
from infraprism.backend.store import Database
from infraprism.backend.store.database import Parameter
from infraprism.schema.fields import EARLIEST_TIMESTAMP_MS, MAX_CLOCK_SKEW_MS

EXPORT: Final = "export"
ARCHIVE: Final = "archive"
Conditions = Callable[[str, Mapping[str, Any]], tuple[str, dict[str, Parameter]]]
KEPT_MS: Final = 7 * 24 * 3600 * 1000
"""How long a file is kept after its job has ended."""


class ExportKind(Kind):
    """Writes the files of exports.

    `conditions` returns the SQL condition of an account's events that filters select, and its bound parameters.
    `accounts` and `source`, the measured rows, are read for archives. `cutoff_ms` returns the start time before which
    an account's events are expired, or None. `clock` returns Unix seconds.
    """

    def __init__(
        self,
        jobs: Jobs,
        database: Database,
        files: ExportFiles,
        conditions: Conditions,
        cutoff_ms: Callable[[str], int | None],
        *,
        accounts: RelationalDatabase,
        source: Source = measured_rows,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._jobs = jobs
        self._database = database
        self._accounts = accounts
        self._source = source
        self._files = files
        self._conditions = conditions
        self._cutoff_ms = cutoff_ms
        self._clock = clock

    def run(self, context: JobContext) -> Mapping[str, Any]:
        """See Kind. The result is `{extension, bytes, sha256, totals}`."""
        job = context.job
        state = context.checkpoint or {}
        if "complete" not in state:
            source, result = self._write(context)
            state = {"complete": {**result, "bytes": source.stat().st_size, "source": source.name}}
            state["complete"]["sha256"] = sha256_of(source, context.raise_if_stopped)
            events = result["totals"]["total_events"]
            context.save(state, events, events)
        complete = state["complete"]
        final = self._files.path(job.account_id, job.id, complete["extension"])
        source = final.with_name(complete["source"])
        if source.exists():
            publish(source, final)
        elif not final.exists():  # of another server
            context.save({}, 0)
            return self.run(context)
        for other in final.parent.glob(f"{job.id}.*"):
            if other != final:
                other.unlink(missing_ok=True)
        return {name: complete[name] for name in ("extension", "bytes", "sha256", "totals")}

    def _write(self, context: JobContext) -> tuple[Any, dict[str, Any]]:
        job = context.job
        parameters = job.parameters
        is_archive = parameters["kind"] == ARCHIVE
        form = FORMATS[("json", "gzip") if is_archive else (parameters["format"], parameters["compression"])]
        file = EventsFile(self._database, self._files, form, context, lambda: self._cutoff_ms(job.account_id))
        source, totals = file.write(self._selection(job), first_ms(job))
        if is_archive:
            file.require_space(source.stat().st_size)
            archive = self._files.path(job.account_id, job.id, CONVERTED)
            write(
                archive,
                source,
                job,
                totals,
                context.raise_if_stopped,
                accounts=self._accounts,
                database=self._database,
                source=self._source,
            )
            return archive, {"extension": "zip", "totals": totals.values}
        return source, {"extension": form.extension, "totals": totals.values}

    def _selection(self, job: Job) -> Selection:
        """The events of an export. Without an end it has all that can be stored when the job was created."""
        conditions, values = self._conditions(job.account_id, job.parameters["filters"])
        end_ms = job.parameters["end_ms"] or job.created_ms + MAX_CLOCK_SKEW_MS
        return Selection(conditions, values, end_ms, job.parameters["usage_detail"])

    def discard(self, job: Job) -> None:
        """See Kind."""
        self._files.remove(job.account_id, job.id)

    def maintain(self) -> None:
        """Remove the files that are expired, and those of jobs that were removed."""
        self._files.remove_others(self._kept)

    def _kept(self) -> frozenset[str]:
        return frozenset(job.id for job in self._jobs.of_kind(EXPORT) if not job.is_final or self.has_file(job))

    def has_file(self, job: Job) -> bool:
        """Whether the file of a job can be downloaded."""
        return job.state == "succeeded" and round(self._clock() * 1000) < file_expires_ms(job)


def file_expires_ms(job: Job) -> int:
    """When the file of a job that has ended is removed."""
    return (job.ended_ms or 0) + KEPT_MS


def first_ms(job: Job) -> int:
    """The first millisecond of an export."""
    return max(job.parameters["first_ms"] or 0, EARLIEST_TIMESTAMP_MS)
