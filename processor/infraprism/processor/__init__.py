"""Converts spans of any dialect to events, one per LLM call, with cost; other spans are dropped."""

from typing import TYPE_CHECKING, Any

from infraprism.attribution.span_start_context import AttributionRecorder
from infraprism.processor.conversion import to_event
from infraprism.processor.event_exporter import EventExporter
from infraprism.processor.event_span import event_span
from infraprism.processor.span_processor import InfraPrismSpanProcessor
from infraprism.schema.delivery_stats import DeliveryStats
from infraprism.schema.usage import Usage

__all__ = [
    "AttributionRecorder",
    "ContentFreeSpanExporter",
    "DeliveryStats",
    "EventExporter",
    "InfraPrismSpanProcessor",
    "Usage",
    "event_span",
    "to_event",
]

if TYPE_CHECKING:
    from infraprism.redaction import ContentFreeSpanExporter


def __getattr__(name: str) -> Any:
    if name == "ContentFreeSpanExporter":
        # Imported on first use: most applications do not use it, and building its allow-lists takes time.
        from infraprism.redaction import ContentFreeSpanExporter  # noqa: PLC0415 - see above

        return ContentFreeSpanExporter
    raise AttributeError(name)
