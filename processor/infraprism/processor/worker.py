"""The background thread that deduplicates spans, converts them to events and exports the events.

`InfraPrismSpanProcessor` and `InfraPrismSpanExporter` each have one. A thread that ends spans pays one queue put.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from queue import Empty
from typing import Final

from opentelemetry.instrumentation.utils import suppress_instrumentation

from infraprism.processor.conversion import may_be_call
from infraprism.processor.span_pipeline import EndedSpan, SpanPipeline
from infraprism.schema import Event
from infraprism.schema.delivery_stats import DeliveryStats
from infraprism.schema.native_threads import Event as ThreadEvent
from infraprism.schema.native_threads import Lock, SimpleQueue, Thread, deferred, run_deferred

MAX_QUEUE: Final = 4096
"""Spans in the queue; more are dropped and counted, so that memory stays bounded."""
WAKE_AT: Final = 512
"""Queue length at which the thread stops waiting for further spans."""
GATHER_S: Final = 0.15
"""How long the thread waits for further spans after the first."""
FULL_QUEUE_WAIT_S: Final = 5.0
"""How long `put_all` waits for a full queue before it drops spans."""


class _Flush:
    """Queue item: done when all spans in front of it are processed. `release` also exports the events that are held.

    `process_ends`: also those of responses made in the background that have no result yet.
    """

    def __init__(self, deadline_s: float, *, release: bool, process_ends: bool) -> None:
        self.deadline_s = deadline_s
        self.release = release
        self.process_ends = process_ends
        self.done = ThreadEvent()
        self.flushed = False


_Item = EndedSpan | _Flush | None
"""None is the last item: the thread shuts down."""


class Worker:
    """Queues ended spans, and processes them on one daemon thread, which starts with the first span.

    All callables run on the thread and must not raise:

    - `export` exports events.
    - `forward_spans`, if given, takes the spans, which are then neither deduplicated nor converted here.
    - `flush` and `shutdown` take a timeout in milliseconds. They are for exporters that must be used from one thread.

    `on_thread_start` runs when a process starts its thread, on the thread that puts the first span. Deadlines are
    monotonic times in seconds. Nothing raises. If the interpreter is ending and starts no thread, spans stay in the
    queue until `shutdown`, which processes them on the calling thread; `put_all` does so at once.
    """

    def __init__(
        self,
        name: str,
        delivery_stats: DeliveryStats,
        export: Callable[[list[Event]], None],
        *,
        forward_spans: Callable[[list[EndedSpan]], None] | None = None,
        flush: Callable[[int], bool] | None = None,
        shutdown: Callable[[int], None] | None = None,
        on_thread_start: Callable[[], None] | None = None,
    ) -> None:
        self._name = name
        self._delivery_stats = delivery_stats
        self._export = export
        self._forward_spans = forward_spans
        self._flush_exporter = flush
        self._shutdown_exporter = shutdown
        self._on_thread_start = on_thread_start
        self.is_shut_down = False
        self.restart()

    def restart(self) -> None:
        """Start with an empty queue and no thread. In a forked child, the spans in the queue belong to the parent."""
        self.pid = os.getpid()
        self._pipeline = SpanPipeline(self._delivery_stats)
        self._queue: SimpleQueue[_Item] = SimpleQueue()
        # No Event: a finalizer that ends a call while the same thread holds the Event's lock would deadlock.
        self._wake: SimpleQueue[None] = SimpleQueue()
        # Held by the thread that starts the worker thread, or that processes the queue instead of it.
        self._starting = Lock()
        self._thread: Thread | None = None
        self._shutdown_deadline_s = 0.0

    # -- on the threads that end spans --------------------------------------------------------------------------

    @property
    def has_room(self) -> bool:
        """Whether `put` would queue a span."""
        return not self.is_shut_down and self._queue.qsize() < MAX_QUEUE

    def put(self, span: EndedSpan) -> None:
        """Queue a span. If the queue is full, or after shutdown, drop and count it."""
        is_shut_down, waiting = self.is_shut_down, self._queue.qsize()
        if is_shut_down or waiting >= MAX_QUEUE:
            self._drop(span, "shut_down" if is_shut_down else "queue_full")
            return
        self._queue.put(span)
        if self._thread is None:
            self._start_unless_starting()
        elif waiting >= WAKE_AT and self._wake.empty():
            self._wake.put(None)
        if self.is_shut_down:
            self._drop_queue()  # shut down between the check and the put
        if deferred:
            run_deferred()

    def put_all(self, spans: Iterable[EndedSpan]) -> None:
        """Queue the spans of an export. Waits while the queue is full; after shutdown, processes the spans here."""
        for span in spans:
            if self.is_shut_down:
                self._queue.put(span)
                continue
            if not self.has_room:
                self._put_flush(time.monotonic() + FULL_QUEUE_WAIT_S, release=False)
            self.put(span)
        if self.is_shut_down or self._thread is None:
            self._process_here()

    def _start_unless_starting(self) -> None:
        # Another thread, or this one before a finalizer interrupted it, may be starting it: it will find the span.
        if self._starting.acquire(0):
            try:
                self._started_thread()
            finally:
                self._starting.release()

    def _started_thread(self) -> Thread | None:
        """The thread, None if the interpreter starts no more threads. The caller holds `_starting`."""
        if self._thread is None:
            thread = Thread(self._run, self._name)
            try:
                thread.start()
            except RuntimeError:
                return None
            self._thread = thread
            if self._on_thread_start is not None:
                self._on_thread_start()
        return self._thread

    def _process_here(self) -> None:
        """Process the queue on this thread, and hold no event: without a worker thread it would never be released."""
        thread = self._thread
        if self.is_shut_down and thread is not None and not thread.is_current:
            # It may be processing its last items; the pipeline must not be used by two threads.
            thread.join(max(0.0, self._shutdown_deadline_s - time.monotonic()))
        while not self._queue.empty() and self._starting.acquire(0):
            try:
                if thread is not None and thread.is_alive():
                    if self.is_shut_down:
                        self._drop_queue()  # the worker thread did not end in time
                    return
                with suppress_instrumentation(), suppress(Empty):
                    self._process(self._queue, self._queue.get_nowait())
                    self._export(self._pipeline.close())
            finally:
                self._starting.release()

    def _drop_queue(self) -> None:
        with suppress(Empty):
            while True:
                item = self._queue.get_nowait()
                if isinstance(item, tuple):
                    self._drop(item, "shut_down")

    def _drop(self, ended: EndedSpan, reason: str) -> None:
        if may_be_call(ended[0]):
            self._delivery_stats.accept()
            self._delivery_stats.end("dropped", reason)

    # -- on the worker thread -----------------------------------------------------------------------------------

    def _run(self) -> None:
        queue, wake = self._queue, self._wake
        with suppress_instrumentation():
            while True:
                item = self._next_item(queue)
                with suppress(Empty):
                    if isinstance(item, tuple):
                        wake.get(timeout=GATHER_S)
                    while True:
                        wake.get_nowait()
                if not self._process(queue, item):
                    return

    def _next_item(self, queue: SimpleQueue[_Item]) -> _Item:
        """The next item of the queue. While waiting for it, events that become due are exported."""
        while (due_s := self._pipeline.next_due_s) is not None:
            with suppress(Empty):
                return queue.get(timeout=max(0.0, due_s - time.monotonic()))
            self._export(self._pipeline.due(time.monotonic()))
        return queue.get()

    def _process(self, queue: SimpleQueue[_Item], item: _Item) -> bool:
        """Process an item and all that wait behind it; False after the last item."""
        spans: list[EndedSpan] = []
        while True:
            if isinstance(item, tuple):
                spans.append(item)
            else:
                self._process_spans(spans)
                spans = []
                if item is None:
                    self._export(self._pipeline.close())
                    if self._shutdown_exporter is not None:
                        self._shutdown_exporter(millis_until(self._shutdown_deadline_s))
                    return False
                self._process_flush(item)
            try:
                item = queue.get_nowait()
            except Empty:
                self._process_spans(spans)
                return True

    def _process_spans(self, spans: list[EndedSpan]) -> None:
        if spans and self._forward_spans is not None:
            self._forward_spans(spans)
            return
        now_s = time.monotonic()
        self._export(self._pipeline.add(spans, now_s) if spans else self._pipeline.due(now_s))

    def _process_flush(self, flush: _Flush) -> None:
        if flush.release:
            self._export(self._pipeline.flush(process_ends=flush.process_ends))
            flush.flushed = self._flush_exporter is None or self._flush_exporter(millis_until(flush.deadline_s))
        flush.done.set()

    # -- flush and shutdown -------------------------------------------------------------------------------------

    def flush(self, deadline_s: float, *, process_ends: bool = False) -> bool:
        """Wait until all spans queued so far are processed, the held events exported and the exporter flushed.

        Responses made in the background without a result are held, unless `process_ends`. False if the deadline passed
        before, if `flush` of the exporter returned False, or on the worker thread.
        """
        return self._put_flush(deadline_s, release=True, process_ends=process_ends)

    def _put_flush(self, deadline_s: float, *, release: bool, process_ends: bool = False) -> bool:
        thread = self._thread
        if self.pid != os.getpid() or thread is None:
            return True  # nothing was queued in this process
        if thread.is_current:
            return False  # an exporter that flushes its own processor would wait for itself
        if self.is_shut_down:
            return not thread.is_alive()
        flush = _Flush(deadline_s, release=release, process_ends=process_ends)
        self._queue.put(flush)
        self._wake.put(None)
        in_time = flush.done.wait(max(0.0, deadline_s - time.monotonic()))
        run_deferred()
        return in_time and flush.flushed

    def shutdown(self, deadline_s: float) -> None:
        """Process the queue, export all events and shut the exporter down. A second call does nothing.

        Spans that are still in the queue at the deadline are counted as dropped.
        """
        with self._starting:
            if self.is_shut_down:
                return
            self._shutdown_deadline_s = deadline_s
            self.is_shut_down = True
            self._queue.put(None)
            self._wake.put(None)
            thread = self._thread if self._shutdown_exporter is None else self._started_thread()
        if thread is None:
            self._process_here()
        elif not thread.is_current:
            thread.join(max(0.0, deadline_s - time.monotonic()))
            run_deferred()
            self._drop_queue()


def millis_until(deadline_s: float) -> int:
    """Milliseconds from now to a monotonic time in seconds, 0 if it has passed."""
    return max(0, int((deadline_s - time.monotonic()) * 1000))
