"""Writes the file of an export of events, chunk by chunk, with a checkpoint after each."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from infraprism.backend.exports import chunks
from infraprism.backend.exports.chunks import ChunkReader, Position, Selection, Totals
from infraprism.backend.exports.export_files import PART, ExportFiles, PartFile
from infraprism.backend.exports.formats import Format, header, structure
from infraprism.backend.jobs import JobContext, JobFailedError, StoppedError
from infraprism.backend.store import Database

CONVERTED: Final = "converted"
"""The extension of a Parquet file that is not complete."""
_NO_SPACE: Final = "the disk has no space for the file: export a shorter period, or free space"
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class EventsFile:
    """The file of one job. `cutoff_ms` returns the start time before which events are expired, or None.

    The checkpoint has the length of the part file, the position of the next chunk, and the sums of the chunks. After a
    kill the part file is cut to the checkpoint. Without the part file, as on another server, the export begins again.
    """

    def __init__(
        self,
        database: Database,
        files: ExportFiles,
        form: Format,
        context: JobContext,
        cutoff_ms: Callable[[], int | None],
        *,
        name: str = "",
    ) -> None:
        self._database = database
        self._files = files
        self._form = form
        self._context = context
        self._cutoff_ms = cutoff_ms
        job = context.job
        self.part: Path = files.path(job.account_id, job.id, f"{name}{PART}")
        self._converted = files.path(job.account_id, job.id, f"{name}{CONVERTED}")

    def write(self, selection: Selection, first_ms: int) -> tuple[Path, Totals]:
        """Write the events from a start time, or continue. Returns the complete file, which has no name yet.

        Raises JobFailedError, StoppedError and the errors of the store and the disk.
        """
        self._files.create_directory(self._context.job.account_id)
        try:
            totals = self._write(selection, first_ms)
            if self._form.is_converted:
                self._convert(selection.usage_detail)
        except OSError as error:
            if error.errno in _FULL:
                raise JobFailedError("no_space", _NO_SPACE) from None
            raise
        return (self._converted if self._form.is_converted else self.part), totals

    def _write(self, selection: Selection, first_ms: int) -> Totals:
        state = self._context.checkpoint or {}
        position: Position | None = Position(first_ms)
        totals = Totals.none()
        if "bytes" in state and PartFile.has(self.part, state["bytes"]):
            position = Position(*state["position"]) if state["position"] else None
            totals, total = Totals(state["totals"]), state["total"]
            part = PartFile(self.part, state["bytes"])
        else:  # of another server, or new
            part = PartFile(self.part, 0)
            total = chunks.count(self._database, chunks.retained_only(selection, self._cutoff_ms()), first_ms)
        reader = ChunkReader(self._database, self._form)
        try:
            while position is not None:
                self._context.raise_if_stopped()
                chunk = reader.read(chunks.retained_only(selection, self._cutoff_ms()), position)
                text = chunk.text
                if not part.length and self._form.has_header:
                    text = header(usage_detail=selection.usage_detail) + text
                if self._form.compress is not None and (text or not part.length):
                    text = self._form.compress(text)
                self.require_space(len(text))
                part.append(text)
                totals, position = (
                    totals.plus(chunk.totals) if chunk.totals["total_events"] else totals,
                    chunk.following,
                )
                self._save(part.length, position, totals, total)
        finally:
            part.close()
        return totals

    def _save(self, length: int, position: Position | None, totals: Totals, total: int | None) -> None:
        state: dict[str, Any] = {"bytes": length, "position": position, "totals": totals.values, "total": total}
        self._context.save(state, totals.values["total_events"], total)

    def _convert(self, usage_detail: bool) -> None:  # noqa: FBT001  # of the format
        self.require_space(self.part.stat().st_size)
        columns = structure(usage_detail=usage_detail)
        if not self._database.convert(self.part, columns, self._converted, self._context.should_stop):
            raise StoppedError

    def require_space(self, size: int) -> None:
        """Raises JobFailedError if a file of this size would use the space that the store keeps free."""
        if self._files.free_bytes() - size < self._database.status().reserve_bytes:
            raise JobFailedError("no_space", _NO_SPACE)
