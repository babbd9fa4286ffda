"""Spans turned into events, one for each call, and given to an exporter of either kind, with an account of each."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final, cast

from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from infraprism.processor.event_exporter import EventExporter, span_intake_of, takes_events
from infraprism.processor.event_span import event_span, usage_detail_wanted
from infraprism.processor.span_pipeline import Ended, Intake
from infraprism.schema import Event
from infraprism.schema.delivery_stats import DeliveryStats

SPANS_PER_EXPORT: Final = 512
"""As many as the SDK's batch processor gives an exporter at a time."""


class Delivery:
    """One exporter, called from one thread; nothing here raises.

    `tally` is the exporter's own where it takes events, since it says what becomes of them. Any other exporter's
    answer decides: delivered, or dropped as `exporter_failed`.
    """

    def __init__(self, exporter: SpanExporter | EventExporter) -> None:
        self._events: EventExporter | None = None
        self._spans: SpanExporter | None = None
        if takes_events(exporter):
            self._events = exporter
        else:
            self._spans = cast("SpanExporter", exporter)
        self._settle = span_intake_of(exporter)
        self.delivery_stats = self._events.delivery_stats if self._events is not None else DeliveryStats()
        self.restart()

    def restart(self) -> None:
        """Start with nothing held: in a forked child what is held is the parent's."""
        self._intake = Intake(self.delivery_stats)

    @property
    def flushes_anywhere(self) -> bool:
        """Whether the exporter may be flushed while it is given events; the SDK's may not be used from two threads."""
        return self._events is not None

    @property
    def next_due_s(self) -> float | None:
        """When the next event is to be handed on that is held for now, by the monotonic clock."""
        return self._intake.next_due_s

    def deliver(self, spans: Sequence[Ended] = ()) -> None:
        """Take in spans, and hand on the events that are due."""
        if spans and self._settle is not None:
            self._settle(spans)
            return
        now_s = time.monotonic()
        self._hand_on(self._intake.take(spans, now_s) if spans else self._intake.due(now_s))

    def deliver_all(self, *, at_last: bool = False) -> None:
        """Hand on the events that are held; `at_last` also those of calls of which only the beginning is known."""
        self._hand_on(self._intake.close() if at_last else self._intake.flush())

    def _hand_on(self, events: list[Event]) -> None:
        if not events:
            return
        if self._events is not None:
            self._export_events(self._events, events)
        elif self._spans is not None:
            for start in range(0, len(events), SPANS_PER_EXPORT):
                self._export_spans(self._spans, events[start : start + SPANS_PER_EXPORT])

    def drop(self, reason: str, count: int = 1) -> None:
        """Count what never became an event."""
        self.delivery_stats.accept(count)
        self.delivery_stats.end("dropped", reason, count)

    def flush(self, timeout_millis: int) -> bool:
        """Whether the exporter has sent all that it was given."""
        try:
            if self._events is not None:
                return self._events.force_flush(timeout_millis) is True
            flush = getattr(self._spans, "force_flush", None)
            return flush is None or flush(timeout_millis) is not False
        except Exception:  # noqa: BLE001 - no error of an exporter may reach the application
            self.delivery_stats.error("exporter.force_flush")
            return False

    def shutdown(self, timeout_millis: int) -> None:
        """Shut the exporter down."""
        try:
            if self._events is not None:
                self._events.shutdown(timeout_millis)
            elif self._spans is not None:
                self._spans.shutdown()
        except Exception:  # noqa: BLE001 - no error of an exporter may reach the application
            self.delivery_stats.error("exporter.shutdown")

    def _export_events(self, exporter: EventExporter, events: list[Event]) -> None:
        try:
            exporter.export_events(events)
        except Exception:  # noqa: BLE001 - no error of an exporter may reach the application
            self.delivery_stats.error("exporter.export_events")
            self.drop("exporter_failed", len(events))

    def _export_spans(self, exporter: SpanExporter, events: list[Event]) -> None:
        self.delivery_stats.accept(len(events))
        try:
            detail = usage_detail_wanted()
            result = exporter.export([event_span(event, usage_detail=detail) for event in events])
        except Exception:  # noqa: BLE001 - no error of an exporter may reach the application
            self.delivery_stats.error("exporter.export")
            result = SpanExportResult.FAILURE
        if result is SpanExportResult.SUCCESS:
            self.delivery_stats.end("delivered", count=len(events))
        else:
            self.delivery_stats.end("dropped", "exporter_failed", len(events))
