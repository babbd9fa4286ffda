"""The OpenTelemetry span processor: receives spans, and passes events to an exporter.

On the application's thread, a span costs a read of two ContextVars at its start and a comparison of its attribute
keys at its end; a span that may be a call is put into a queue. A worker thread does the rest: it deduplicates the
spans, converts each call to an event and exports it. Spans of our own instrumentation are exported at once, others
after a second, in which other spans of the same call may end.
"""

from __future__ import annotations

import os
import time
import weakref
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter

from infraprism import pricing
from infraprism.attribution import scope as attribution_scope
from infraprism.attribution.generators import open_generators
from infraprism.attribution.span_start_context import SpanStartContexts, current_start_context
from infraprism.deduplication.open_spans import OpenSpans
from infraprism.processor.conversion import MARKER_KEYS, attributes_of
from infraprism.processor.event_exporter import EventExporter, registered_exporter, shared_span_receiver_of
from infraprism.processor.exporter_adapter import ExporterAdapter
from infraprism.processor.process_exit import run_at_process_exit
from infraprism.processor.sampler_check import warn_if_dropping, warn_if_dropping_all
from infraprism.processor.span_pipeline import EndedSpan
from infraprism.processor.worker import Worker, millis_until
from infraprism.schema.call_context import SUPPRESSED, call_in_progress
from infraprism.schema.delivery_stats import DeliveryStats
from infraprism.schema.settings import boolean

SHUTDOWN_MILLIS: Final = 5000
EXIT_MILLIS: Final = 2000
"""The longest that an endpoint which does not answer delays the exit of a child process."""

# Bound once: every span of the application pays for each lookup.
_active_scope: Final = attribution_scope.current.get
_open_generators: Final = open_generators
_call_in_progress: Final = call_in_progress.get
_no_marker_in: Final = MARKER_KEYS.isdisjoint
_SUPPRESSED: Final = SUPPRESSED


class InfraPrismSpanProcessor(SpanProcessor):
    """Converts the spans of LLM calls to events, and exports the events.

    `exporter` may be any SpanExporter. It is given finished event spans (see `event_span`) on a worker thread. An
    exporter with `export_events` is given the events. None means the exporter registered as `infraprism`, configured
    by the environment; raises LookupError if there is none, and any error that it raises for invalid settings.

    After construction nothing raises: errors are counted in `delivery_stats`. A price file (`INFRAPRISM_PRICES`) that
    cannot be used is logged once and counted as the error `prices`; calls then have no cost.

    With `INFRAPRISM_DISABLED=true` at construction the processor ignores all spans.

    Spans are read, never changed. Spans that are recorded but not sampled are converted as well. If the sampler of the
    provider drops spans, a warning is logged once when another instrumentation reports calls, or is loaded if all spans
    are dropped. Thread-safe, and safe across fork: a child starts with an empty queue, and the parent exports what was
    in it.
    """

    delivery_stats: DeliveryStats
    """Counters of events by outcome and reason, and of errors."""

    _live: Final[weakref.WeakSet[InfraPrismSpanProcessor]] = weakref.WeakSet()

    def __init__(self, exporter: SpanExporter | EventExporter | None = None) -> None:
        exporter = registered_exporter() if exporter is None else exporter
        self._checks_sampler = True
        self._has_own_call = False
        self._exporter = ExporterAdapter(exporter)
        self.delivery_stats = self._exporter.delivery_stats
        self._start_contexts = SpanStartContexts(self.delivery_stats)
        self._start_context_by_id = self._start_contexts.by_id
        if boolean("INFRAPRISM_DISABLED"):
            self.on_start = self.on_end = self.on_call_end = _ignore  # type: ignore[method-assign]
            self._checks_sampler = False
        elif not pricing.usable():
            self.delivery_stats.error("prices")
        self._worker = Worker(
            "infraprism-processor",
            self.delivery_stats,
            self._exporter.export,
            forward_spans=shared_span_receiver_of(exporter),
            flush=None if self._exporter.flushes_from_any_thread else self._exporter.flush,
            shutdown=self._exporter.shutdown,
            on_thread_start=_flush_at_process_exit,
        )
        self._forget_open_spans()
        self._live.add(self)

    @property
    def tally(self) -> DeliveryStats:
        """The former name of `delivery_stats`."""
        return self.delivery_stats

    @classmethod
    def live(cls) -> list[InfraPrismSpanProcessor]:
        """All processors of this process that are not shut down."""
        return [processor for processor in cls._live if not processor._worker.is_shut_down]  # noqa: SLF001 - own class

    def _forget_open_spans(self) -> None:
        self._open_spans = OpenSpans()
        self._scopes, self._awaited = self._open_spans.scopes, self._open_spans.awaited

    def _restart(self) -> None:
        """Start again in a forked child. The spans in the queue belong to the parent."""
        self._worker.restart()
        self._forget_open_spans()

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002 - the SDK's signature
        """Record the start context of a span."""
        try:
            suppressed = _call_in_progress()
            if suppressed or _active_scope() is not None or _open_generators:
                self._start_contexts.record(span)
            if self._scopes and not suppressed:
                if self._checks_sampler:
                    self._checks_sampler = False
                    warn_if_dropping(span)
                try:
                    # Half of the time of `span.instrumentation_scope.name`.
                    scope = span._instrumentation_scope._name  # type: ignore[union-attr]  # noqa: SLF001
                except AttributeError:
                    scope = getattr(span.instrumentation_scope, "name", None)
                if scope in self._scopes:
                    self._open_spans.started(span)
        except Exception:  # noqa: BLE001 - no error of ours may reach the application
            self.delivery_stats.error("processor.on_start")

    def on_end(self, span: ReadableSpan) -> None:
        """Queue a span that may be a call, or that encloses one."""
        try:
            start_context = None
            if self._start_context_by_id:
                start_context = self._start_contexts.pop(span)
                if start_context is _SUPPRESSED:
                    return
            try:
                # A third of the time of `span.attributes`, which every span of the application would pay.
                attributes = span._attributes._dict  # type: ignore[union-attr]  # noqa: SLF001
            except AttributeError:
                attributes = attributes_of(span)
                if start_context is None:  # made without a tracer, so it never started
                    start_context = current_start_context()
                if start_context is _SUPPRESSED:
                    return
            if not _no_marker_in(attributes):
                self._put((span, start_context, self._open_spans.reported(span)))
            elif self._awaited and (context := span.context) is not None and context.span_id in self._awaited:
                self._open_spans.passed(span)
                if self._worker.has_room:
                    self._put((span, None, False))
        except Exception:  # noqa: BLE001 - no error of ours may reach the application
            self.delivery_stats.error("processor.on_end")

    def on_call_end(self, span: ReadableSpan) -> None:
        """Queue a span of our own instrumentation, which is always a call."""
        try:
            start_context = self._start_contexts.pop(span) if self._start_context_by_id else None
            self._put((span, start_context, self._open_spans.reported(span)))
            if not self._has_own_call:
                self._has_own_call = True
                self._check_provider()
        except Exception:  # noqa: BLE001 - no error of ours may reach the application
            self.delivery_stats.error("processor.on_call_end")

    def _check_provider(self) -> None:
        """Warn once of a sampler that drops all spans, so that `on_start` is not called."""
        try:
            if self._checks_sampler and warn_if_dropping_all(trace.get_tracer_provider()):
                self._checks_sampler = False
        except Exception:  # noqa: BLE001 - the sampler may be one of the application
            self.delivery_stats.error("processor.sampler")

    def _put(self, ended: EndedSpan) -> None:
        if self._worker.pid != os.getpid():
            self._restart()  # forked by C code that does not run Python's fork hooks
        self._worker.put(ended)

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Export the events of all spans that have ended, and flush the exporter.

        A response made in the background is held until its result comes, `shutdown`, or an hour. False if
        that took longer than `timeout_millis`, or if the exporter returned False.
        """
        return self._flush(timeout_millis, process_ends=False)

    def flush_at_process_exit(self) -> None:
        """Export all events, also of responses made in the background that have no result."""
        self._flush(EXIT_MILLIS, process_ends=True)

    def _flush(self, timeout_millis: int, *, process_ends: bool) -> bool:
        deadline_s = time.monotonic() + timeout_millis / 1000
        self._check_provider()
        try:
            return self._worker.flush(deadline_s, process_ends=process_ends) and (
                not self._exporter.flushes_from_any_thread or self._exporter.flush(millis_until(deadline_s))
            )
        except Exception:  # noqa: BLE001 - no error of ours may reach the application
            self.delivery_stats.error("processor.force_flush")
            return False

    def shutdown(self, timeout_millis: int = SHUTDOWN_MILLIS) -> None:
        """Export all events and shut the exporter down, within `timeout_millis`. A second call does nothing.

        Spans that were not processed in time are counted as dropped.
        """
        self._check_provider()
        try:
            self._worker.shutdown(time.monotonic() + timeout_millis / 1000)
        except Exception:  # noqa: BLE001 - no error of ours may reach the application
            self.delivery_stats.error("processor.shutdown")


def _ignore(*_: object, **__: object) -> None:
    """Replaces the methods that are called for each span."""


def _flush_at_process_exit() -> None:
    run_at_process_exit(_flush_all)


def _flush_all() -> None:
    for processor in InfraPrismSpanProcessor.live():
        processor.flush_at_process_exit()


def _after_fork() -> None:
    for processor in list(InfraPrismSpanProcessor._live):  # noqa: SLF001 - its own module
        processor._restart()  # noqa: SLF001 - its own module


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
