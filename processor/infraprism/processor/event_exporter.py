"""The interface of exporters that take events instead of spans, and the lookup of the registered exporter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from typing import Final, Protocol, TypeGuard

from opentelemetry.sdk.trace.export import SpanExporter

from infraprism.processor.span_pipeline import EndedSpan
from infraprism.schema import Event
from infraprism.schema.delivery_stats import DeliveryStats

ENTRY_POINT_GROUP: Final = "opentelemetry_traces_exporter"
ENTRY_POINT_NAME: Final = "infraprism"


class EventExporter(Protocol):
    """An exporter that takes events.

    It counts every event in `delivery_stats`: as accepted, and later as exactly one of the outcomes.
    """

    @property
    def delivery_stats(self) -> DeliveryStats:
        """Counters of events by outcome and reason."""

    def export_events(self, events: Sequence[Event]) -> None:
        """Accept events. Never blocks and never raises."""

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Wait until every accepted event has an outcome; False after the timeout."""

    def shutdown(self, timeout_millis: int = 5000) -> None:
        """Send or spool the accepted events within the timeout, and drop later ones."""


def takes_events(exporter: object) -> TypeGuard[EventExporter]:
    """Whether an exporter takes events. Any other is given spans made from events."""
    return callable(getattr(exporter, "export_events", None))


def shared_span_receiver_of(exporter: object) -> Callable[[list[EndedSpan]], None] | None:
    """The `shared_span_receiver` of an exporter, None if it has none.

    Only an exporter that another provider gives spans of the same calls has it: that exporter deduplicates the spans of
    both. The function never raises.
    """
    receive: Callable[[list[EndedSpan]], None] | None = getattr(exporter, "shared_span_receiver", None)
    return receive


def registered_exporter() -> SpanExporter | EventExporter:
    """A new exporter of the entry point `infraprism`, configured by the environment.

    Raises LookupError if none is registered, and any error that the exporter raises for invalid settings.
    """
    for entry_point in entry_points(group=ENTRY_POINT_GROUP, name=ENTRY_POINT_NAME):
        exporter: SpanExporter | EventExporter = entry_point.load()()
        return exporter
    raise LookupError(f"no exporter named {ENTRY_POINT_NAME!r} is registered under {ENTRY_POINT_GROUP!r}")
