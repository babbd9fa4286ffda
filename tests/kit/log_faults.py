"""A disk and a store for the write-ahead log that fail, or end with the process, at a chosen step."""

from __future__ import annotations

import asyncio
import errno
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from infraprism.backend.ingest.otlp_requests import EncodedSpans
from infraprism.backend.ingest.rejections import STORE_FAILED, RejectedError
from infraprism.backend.ingest.write_ahead_log.log import Timing, WriteAheadLog
from infraprism.backend.ingest.write_ahead_log.records import Record
from infraprism.backend.ingest.write_ahead_log.segments import Files, Segments
from infraprism.schema import Event
from infraprism.schema.otlp_encoder import span_bytes

AT_ONCE = Timing(interval_s=0, retry_s=0.01, pause_s=0, read_timeout_s=10)
ON_DEMAND = Timing(interval_s=3600, retry_s=0.01, pause_s=0, read_timeout_s=10)
"""Applied only when a query waits, or at the end."""
IMPATIENT = Timing(interval_s=3600, retry_s=3600, pause_s=3600, read_timeout_s=0.05, close_timeout_s=0.05)


class Steps:
    """Counts the steps of a run. `fails` are single steps that fail; from `ends` on the process is dead."""

    def __init__(self, fails: frozenset[int] = frozenset(), ends: int | None = None) -> None:
        self._fails = fails
        self._ends = ends
        self.done = 0

    @property
    def is_dead(self) -> bool:
        """Whether the process has ended."""
        return self._ends is not None and self.done > self._ends

    def step(self) -> bool:
        """Count a step. Returns whether it succeeds."""
        number, self.done = self.done, self.done + 1
        return number not in self._fails and (self._ends is None or number < self._ends)


class FaultyFiles(Files):
    """The operations of the log. A write that fails has written half. `operations` are the names of all steps."""

    def __init__(self, steps: Steps) -> None:
        self.steps = steps
        self.operations: Counter[str] = Counter()
        self.durable: dict[Path, int] = {}
        """The size of each file when it was last synchronised."""
        self._paths: dict[int, Path] = {}

    def _check(self, operation: str) -> None:
        self.operations[operation] += 1
        if not self.steps.step():
            raise OSError(errno.EIO, "made to fail")

    def create(self, path: Path) -> int:
        self._check("create")
        file = super().create(path)
        self._paths[file] = path
        return file

    def write(self, file: int, data: bytes | memoryview) -> int:
        self.operations["write"] += 1
        was_dead = self.steps.is_dead
        if self.steps.step():
            return super().write(file, data)
        if not was_dead:
            super().write(file, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "made to fail")

    def synchronize(self, file: int) -> None:
        self._check("synchronize")
        path = self._paths[file]
        self.durable[path] = path.stat().st_size

    def synchronize_directory(self, path: Path) -> None:
        self._check("synchronize directory")

    def close(self, file: int) -> None:
        super().close(file)
        self._check("close")

    def rename(self, source: Path, target: Path) -> None:
        self._check("rename")
        super().rename(source, target)

    def delete(self, path: Path) -> None:
        self._check("delete")
        super().delete(path)

    def lose_power(self) -> None:
        """Remove what was not synchronised."""
        for path in self._paths.values():
            if path.exists():
                with path.open("r+b") as file:
                    file.truncate(self.durable.get(path, 0))


class StoreOfIds:
    """A store that has each event once. It stores event by event, so that a request can be stored in part."""

    def __init__(self, steps: Steps | None = None) -> None:
        self.steps = steps or Steps()
        self.stored: Counter[bytes] = Counter()
        self.requests = 0
        self.rejects: Callable[[bytes], bool] = lambda _: False
        """Whether an event with this trace id is rejected."""
        self.rejection: RejectedError | None = None
        """Raised for every request."""
        self.was_asked = asyncio.Event()
        self.is_open = asyncio.Event()
        self.is_open.set()

    async def store(self, account_id: str, spans: EncodedSpans, *, usage_detail: bool) -> Mapping[str, int]:
        """See BatchWriter."""
        self.requests += 1
        self.was_asked.set()
        await self.is_open.wait()
        if self.rejection is not None:
            raise self.rejection
        rejected: Counter[str] = Counter()
        for group in ExportTraceServiceRequest.FromString(spans.body).resource_spans:
            for scoped in group.scope_spans:
                for span in scoped.spans:
                    if not self.steps.step():
                        raise RejectedError(STORE_FAILED)
                    if self.rejects(span.trace_id):
                        rejected["bad_value"] += 1
                    elif not self.stored[span.trace_id]:
                        self.stored[span.trace_id] += 1
        return rejected


def record_of(*events: Event, account_id: str = "acc_1") -> Record:
    """The record of a request with these events."""
    return Record(account_id, usage_detail=False, number=len(events), spans=b"".join(map(span_bytes, events)))


def log_in(
    directory: Path,
    store: StoreOfIds,
    files: Files | None = None,
    timing: Timing = AT_ONCE,
    can_store: Callable[[], bool] = lambda: True,
    max_bytes: int = 2**20,
    clock_ms: Callable[[], int] | None = None,
) -> WriteAheadLog:
    """A log, not started."""
    more = {} if clock_ms is None else {"clock_ms": clock_ms}
    return WriteAheadLog(Segments(directory, files), store, can_store, timing=timing, max_bytes=max_bytes, **more)
