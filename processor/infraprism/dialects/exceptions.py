"""Reads the exceptions that a span recorded. The processor and the tables of dialects use this one reader."""

from __future__ import annotations

from typing import Any, Final

from infraprism.dialects.values import MAX_TEXT

MAX_EVENTS_READ: Final = 8
"""The events read of a span, the last ones."""


def recorded_exceptions(span: Any) -> tuple[list[str], object]:
    """The types of the recorded exceptions, last first, and the message of the first. No stack trace is read.

    Raises anything for a span with events that cannot be read.
    """
    recorded = [event.attributes for event in span.events[-MAX_EVENTS_READ:] if event.name == "exception"]
    types = [attributes.get("exception.type") for attributes in reversed(recorded) if attributes]
    message = next((attributes.get("exception.message") for attributes in recorded if attributes), None)
    return [name for name in types if type(name) is str and len(name) <= MAX_TEXT], message
