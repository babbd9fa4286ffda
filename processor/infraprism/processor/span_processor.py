"""The face that OpenTelemetry sees: spans in, events handed to an exporter.

On the application's thread a span costs a look at two ContextVars when it starts and one at its keys when it ends; a
span that may be a call is put into a queue. All else happens on a worker thread: it sleeps until the first span
comes, lets others gather for a moment, then settles which of them are one call, turns each call into an event and
hands it on: those of our own instrumentation at once, others after a second, in which other spans of the same call
may end.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Final

from opentelemetry.context import Context
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter

from infraprism import pricing
from infraprism.attribution import scope as attribution_scope
from infraprism.attribution.span_start_context import SpanStartContext, SpanStartContexts, here
from infraprism.deduplication.open_spans import OpenSpans
from infraprism.processor.conversion import MARKER_KEYS, attributes_of
from infraprism.processor.event_delivery import Delivery
from infraprism.processor.event_exporter import EventExporter, registered_exporter
from infraprism.processor.process_exit import before_end
from infraprism.processor.span_pipeline import Ended
from infraprism.schema.call_context import SUPPRESSED, call_in_progress
from infraprism.schema.settings import boolean

MAX_QUEUE: Final = 4096
"""Spans waiting for the worker; more are dropped and counted, so that memory stays bounded."""
HURRY_AT: Final = 512
"""Spans waiting at which the worker stops letting others gather."""
GATHER_SECONDS: Final = 0.15
SHUTDOWN_MILLIS: Final = 5000
END_MILLIS: Final = 2000
"""How long a worker process that ends is held up at most by an endpoint that does not answer."""

# Bound once: a span that is not ours pays for each look-up.
_frame: Final = attribution_scope.current.get
_is_inside: Final = call_in_progress.get
_no_marker_in: Final = MARKER_KEYS.isdisjoint
_OF_A_CALL: Final = SUPPRESSED


class _Flush:
    """Stands in the queue behind all spans that a flush waits for."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.done = threading.Event()
        self.flushed = False


class InfraPrismSpanProcessor(SpanProcessor):
    """Turns the spans of LLM calls into events and gives them to an exporter, beside whatever else is in the provider.

    `exporter` may be any SpanExporter: it is given finished event spans (see `infraprism.processor.event_span`), off
    the application's thread. One that has `export_events` is given the events. None means the exporter registered as
    `infraprism`, configured by the environment; raises LookupError if there is none, and what it raises for settings
    it cannot use. After construction nothing raises: errors are counted in `tally`, beside what became of each event. A
    file of prices (`INFRAPRISM_PRICES`) that cannot be used is said here, in one line of the log, and counted as
    `prices`; calls then have no cost.

    `INFRAPRISM_DISABLED=true` at construction: the processor ignores all spans.

    Spans are read, never changed. Spans that were recorded but not sampled count as well. Safe in threads, and across
    fork: the child starts with an empty queue, and what was waiting is the parent's.
    """

    _live: Final[weakref.WeakSet[InfraPrismSpanProcessor]] = weakref.WeakSet()

    def __init__(self, exporter: SpanExporter | EventExporter | None = None) -> None:
        self._delivery = Delivery(registered_exporter() if exporter is None else exporter)
        self.delivery_stats = self._delivery.delivery_stats
        self._notes = SpanStartContexts(self.delivery_stats)
        self._noted = self._notes.by_id
        self._closed = False
        if boolean("INFRAPRISM_DISABLED"):
            self.on_start = self.on_end = self.on_call_end = _ignore  # type: ignore[method-assign]
        elif not pricing.usable():
            self.delivery_stats.error("prices")
        self._begin()
        self._live.add(self)

    @classmethod
    def live(cls) -> list[InfraPrismSpanProcessor]:
        """All processors of this process that were not shut down."""
        return [processor for processor in cls._live if not processor._closed]  # noqa: SLF001 - its own class

    def _begin(self) -> None:
        """Start empty; the worker starts with the first span."""
        self._pid = os.getpid()
        self._delivery.restart()
        self._queue: SimpleQueue[Ended | _Flush | None] = SimpleQueue()
        # No Event: a finalizer that ends a call while the Event's lock is held by the same thread would wait for ever.
        self._hurry: SimpleQueue[None] = SimpleQueue()
        self._starting = threading.Lock()
        self._worker: threading.Thread | None = None
        self._shutdown_deadline = 0.0
        self._nearby = OpenSpans()
        self._scopes, self._awaited = self._nearby.scopes, self._nearby.awaited

    # -- on the application's thread ----------------------------------------------------------------------------

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002 - the SDK's signature
        """Note what holds in the context that the span starts in."""
        try:
            inside = _is_inside()
            if inside or _frame() is not None:
                self._notes.start(span)
            if self._scopes and not inside:
                try:
                    # Half of the time of `span.instrumentation_scope.name`.
                    scope = span._instrumentation_scope._name  # type: ignore[union-attr]  # noqa: SLF001
                except AttributeError:
                    scope = getattr(span.instrumentation_scope, "name", None)
                if scope in self._scopes:
                    self._nearby.started(span)
        except Exception:  # noqa: BLE001 - no error of ours may reach the application
            self.delivery_stats.error("processor.on_start")

    def on_end(self, span: ReadableSpan) -> None:
        """Queue the span if it may be a call."""
        try:
            note = None
            if self._noted:
                note = self._notes.take(span)
                if note is _OF_A_CALL:
                    return
            try:
                # A third of the time of `span.attributes`, which most spans of an application would pay for nothing.
                keys = span._attributes._dict  # type: ignore[union-attr]  # noqa: SLF001
            except AttributeError:
                keys = attributes_of(span)
                note = here() if note is None else note  # no tracer made it: nobody saw it start
                if note is _OF_A_CALL:
                    return
            if not _no_marker_in(keys):
                self._put(span, note, has_open_children=self._nearby.reported(span))
            elif self._awaited and (context := span.context) is not None and context.span_id in self._awaited:
                self._nearby.passed(span)
                if not self._closed and self._queue.qsize() < MAX_QUEUE:
                    self._put(span, None)
        except Exception:  # noqa: BLE001 - no error of ours may reach the application
            self.delivery_stats.error("processor.on_end")

    def on_call_end(self, span: ReadableSpan) -> None:
        """The same for a span of which it is known that it is a call, from our own instrumentation."""
        try:
            self._put(
                span, self._notes.take(span) if self._noted else None, has_open_children=self._nearby.reported(span)
            )
        except Exception:  # noqa: BLE001 - no error of ours may reach the application
            self.delivery_stats.error("processor.on_call_end")

    def _put(self, span: ReadableSpan, note: SpanStartContext | None, *, has_open_children: bool = False) -> None:
        if self._pid != os.getpid():
            self._begin()  # forked by C code that does not tell Python
        closed, waiting = self._closed, self._queue.qsize()
        if closed or waiting >= MAX_QUEUE:
            self._delivery.drop("shut_down" if closed else "queue_full")
            return
        self._queue.put((span, note, has_open_children))
        if self._worker is None:
            self._start_worker_unless_starting()
        elif waiting >= HURRY_AT and self._hurry.empty():
            self._hurry.put(None)
        if self._closed:
            self._drop_waiting()  # shut down between the look and the put

    def _start_worker_unless_starting(self) -> None:
        # Whoever is starting it, another thread or this one before a finalizer interrupted it: it will find the span.
        if self._starting.acquire(blocking=False):
            try:
                self._started()
            finally:
                self._starting.release()

    def _start_worker(self) -> threading.Thread:
        with self._starting:
            return self._started()

    def _started(self) -> threading.Thread:
        if self._worker is None:
            worker = threading.Thread(target=self._work, name="infraprism-processor", daemon=True)
            worker.start()
            self._worker = worker
            before_end(_flush_all)
        return self._worker

    def _drop_waiting(self) -> None:
        with suppress(Empty):
            while True:
                item = self._queue.get_nowait()
                if isinstance(item, tuple) and not _no_marker_in(attributes_of(item[0])):
                    self._delivery.drop("shut_down")

    # -- on the worker's thread ---------------------------------------------------------------------------------

    def _work(self) -> None:
        queue, hurry = self._queue, self._hurry
        with suppress_instrumentation():
            while True:
                item = self._next(queue)
                with suppress(Empty):
                    if isinstance(item, tuple):
                        hurry.get(timeout=GATHER_SECONDS)
                    while True:
                        hurry.get_nowait()
                if not self._drain(queue, item):
                    return

    def _next(self, queue: SimpleQueue[Ended | _Flush | None]) -> Ended | _Flush | None:
        """What is put into the queue next; meanwhile events are handed on as they become due."""
        while (due_s := self._delivery.next_due_s) is not None:
            with suppress(Empty):
                return queue.get(timeout=max(0.0, due_s - time.monotonic()))
            self._delivery.deliver()
        return queue.get()

    def _drain(self, queue: SimpleQueue[Ended | _Flush | None], item: Ended | _Flush | None) -> bool:
        """Hand on the item and all that waits behind it; False when that was the end."""
        spans: list[Ended] = []
        while True:
            if isinstance(item, tuple):
                spans.append(item)
            else:
                self._delivery.deliver(spans)
                spans = []
                if item is None:
                    self._delivery.deliver_all(at_last=True)
                    self._delivery.shutdown(_millis_until(self._shutdown_deadline))
                    return False
                self._flush(item)
            try:
                item = queue.get_nowait()
            except Empty:
                self._delivery.deliver(spans)
                return True

    def _flush(self, item: _Flush) -> None:
        self._delivery.deliver_all()
        item.flushed = self._delivery.flushes_anywhere or self._delivery.flush(_millis_until(item.deadline))
        item.done.set()

    # -- the end ------------------------------------------------------------------------------------------------

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Wait until every span ended so far was turned into an event and the exporter has flushed.

        False where that took longer than `timeout_millis`, or where the exporter says so.
        """
        deadline = time.monotonic() + timeout_millis / 1000
        try:
            return self._queue_flushed(deadline) and (
                not self._delivery.flushes_anywhere or self._delivery.flush(_millis_until(deadline))
            )
        except Exception:  # noqa: BLE001 - no error of ours may reach the application
            self.delivery_stats.error("processor.force_flush")
            return False

    def _queue_flushed(self, deadline: float) -> bool:
        worker = self._worker
        if self._pid != os.getpid() or worker is None:
            return True  # nothing was ever queued in this process
        if worker is threading.current_thread():
            return False  # an exporter that flushes its own processor would wait for itself
        if self._closed:
            return not worker.is_alive()
        flush = _Flush(deadline)
        self._queue.put(flush)
        self._hurry.put(None)
        return flush.done.wait(max(0.0, deadline - time.monotonic())) and flush.flushed

    def shutdown(self, timeout_millis: int = SHUTDOWN_MILLIS) -> None:
        """Hand on what is left and shut the exporter down, within `timeout_millis`; a second call does nothing.

        What could not be handed on in time is counted as dropped.
        """
        with self._starting:
            if self._closed:
                return
            self._shutdown_deadline = time.monotonic() + timeout_millis / 1000
            self._closed = True
        try:
            self._finish()
        except Exception:  # noqa: BLE001 - no error of ours may reach the application
            self.delivery_stats.error("processor.shutdown")

    def _finish(self) -> None:
        self._queue.put(None)
        self._hurry.put(None)
        try:
            worker = self._start_worker()
        except RuntimeError:
            self._work()  # the interpreter is ending and starts no more threads
            return
        if worker is not threading.current_thread():
            worker.join(max(0.0, self._shutdown_deadline - time.monotonic()))
            self._drop_waiting()


def _ignore(*_: object, **__: object) -> None:
    """Take the place of the methods that are called for each span."""


def _millis_until(deadline: float) -> int:
    return max(0, int((deadline - time.monotonic()) * 1000))


def _flush_all() -> None:
    for processor in InfraPrismSpanProcessor.live():
        processor.force_flush(END_MILLIS)


def _after_fork() -> None:
    for processor in list(InfraPrismSpanProcessor._live):  # noqa: SLF001 - its own module
        processor._begin()  # noqa: SLF001 - its own module


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
