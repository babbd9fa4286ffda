"""Reads the few span events that report a call: usage, the first chunk of a stream, and exceptions.

Only the last, or first, events of a span are read, and only attributes that hold metadata. An unreadable event is
counted as an error, and the call is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from opentelemetry.sdk.trace import ReadableSpan

from infraprism.dialects.exceptions import MAX_EVENTS_READ, recorded_exceptions
from infraprism.dialects.semconv import USAGE_EVENT, USAGE_EVENT_KEYS
from infraprism.schema.delivery_stats import DeliveryStats

delivery_stats: Final = DeliveryStats()
"""Counts, as errors, the spans that `to_event` could not convert, the span events it could not read and the prices it
could not calculate."""


def usage_event(span: ReadableSpan) -> Mapping[str, Any]:
    """The token counts of the usage event, empty if the span has no such event."""
    try:
        for event in span.events[-MAX_EVENTS_READ:]:
            if event.name == USAGE_EVENT:
                attributes = event.attributes or {}
                return {key: attributes[key] for key in USAGE_EVENT_KEYS if key in attributes}
    except Exception:  # noqa: BLE001 - an unreadable event must not lose the call
        delivery_stats.error("usage_event")
    return {}


def first_event_ns(span: ReadableSpan, names: Iterable[str]) -> int | None:
    """The timestamp of the first event with one of the names."""
    try:
        first = next((event.timestamp for event in span.events[:MAX_EVENTS_READ] if event.name in names), None)
    except Exception:  # noqa: BLE001 - an unreadable event must not lose the call
        delivery_stats.error("first_chunk")
        return None
    return first if type(first) is int else None


def exceptions(span: ReadableSpan) -> tuple[list[str], object]:
    """The types of the recorded exceptions, last first, and the message of the first. No stack trace is read."""
    try:
        return recorded_exceptions(span)
    except Exception:  # noqa: BLE001 - an unreadable event must not lose the call
        delivery_stats.error("exceptions")
        return [], None
