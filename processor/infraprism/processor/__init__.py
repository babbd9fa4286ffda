"""Spans of any dialect in, events out: what is no LLM call is dropped, what is one is priced and counted once."""

from typing import TYPE_CHECKING, Any

from infraprism.processor.convert import to_event
from infraprism.processor.notes import AttributionRecorder
from infraprism.processor.sink import EventExporter
from infraprism.processor.span_processor import InfraPrismSpanProcessor
from infraprism.processor.spans import event_span
from infraprism.processor.tally import Tally
from infraprism.processor.usage import Usage

__all__ = [
    "AttributionRecorder",
    "ContentFreeSpanExporter",
    "EventExporter",
    "InfraPrismSpanProcessor",
    "Tally",
    "Usage",
    "event_span",
    "to_event",
]

if TYPE_CHECKING:
    from infraprism.processor.content_free import ContentFreeSpanExporter


def __getattr__(name: str) -> Any:
    if name == "ContentFreeSpanExporter":
        # Most applications never use it, and its lists take time to build.
        from infraprism.processor.content_free import ContentFreeSpanExporter  # noqa: PLC0415 - see above

        return ContentFreeSpanExporter
    raise AttributeError(name)
