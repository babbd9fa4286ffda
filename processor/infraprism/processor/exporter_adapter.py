"""Calls an exporter of either kind: one that takes events, or any SpanExporter of the OpenTelemetry SDK."""

from __future__ import annotations

from typing import Final, cast

from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from infraprism.processor.event_exporter import EventExporter, takes_events
from infraprism.processor.event_span import event_span, usage_detail_wanted
from infraprism.schema import Event
from infraprism.schema.delivery_stats import DeliveryStats

MAX_SPANS_PER_EXPORT: Final = 512
"""The default batch size of the SDK's batch processor."""


class ExporterAdapter:
    """Exports events, and counts the outcome of each. Never raises. Not thread-safe.

    `delivery_stats` is the exporter's own if it takes events, since only it knows their outcome. For any other
    exporter, the result of `export` decides: delivered, or dropped with the reason `exporter_failed`.
    """

    def __init__(self, exporter: SpanExporter | EventExporter) -> None:
        self._events: EventExporter | None = None
        self._spans: SpanExporter | None = None
        if takes_events(exporter):
            self._events = exporter
        else:
            self._spans = cast("SpanExporter", exporter)
        self.delivery_stats = self._events.delivery_stats if self._events is not None else DeliveryStats()

    @property
    def flushes_from_any_thread(self) -> bool:
        """Whether `flush` may run while another thread exports. The SDK's exporters are not thread-safe."""
        return self._events is not None

    def export(self, events: list[Event]) -> None:
        """Export events."""
        if not events:
            return
        if self._events is not None:
            self._export_events(self._events, events)
        elif self._spans is not None:
            for start in range(0, len(events), MAX_SPANS_PER_EXPORT):
                self._export_spans(self._spans, events[start : start + MAX_SPANS_PER_EXPORT])

    def flush(self, timeout_millis: int) -> bool:
        """Flush the exporter; False if it failed."""
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
            self.delivery_stats.accept(len(events))
            self.delivery_stats.end("dropped", "exporter_failed", len(events))

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
