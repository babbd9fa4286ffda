"""The span of a call that nobody but InfraPrism sees.

A span of the SDK can be sampled, changed by several threads, shown to any processor and exported by anybody. Where a
provider has our processor and nothing else, nobody uses that, and it is half of what it costs to measure a call. What
stands here has the ids, the parent, the times, the resource and the attributes that such a span would have, and goes
straight to the processor.
"""

from __future__ import annotations

from time import time_ns
from typing import Any, Final, NamedTuple, cast

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Span, TracerProvider
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, Status, StatusCode

from infraprism.instrumentation.usage_reader import Attribute
from infraprism.processor import InfraPrismSpanProcessor

_OPEN: Final = Status(StatusCode.UNSET)


class Ids(NamedTuple):
    """What makes a span known: 128 and 64 bits."""

    trace_id: int
    span_id: int


class CallSpan:
    """A span with what the call that it is of and our processor use. It belongs to one call, which ends it once."""

    __slots__ = (
        "_attributes",
        "_processor",
        "context",
        "end_time",
        "instrumentation_scope",
        "parent",
        "resource",
        "start_time",
        "status",
    )

    events: Final = ()
    """Nothing is recorded of a call's exceptions beyond its attributes."""

    def __init__(
        self,
        source: LightweightTracer,
        context: Ids,
        parent: SpanContext | None,
        attributes: dict[str, Attribute],
        start_ns: int,
    ) -> None:
        self._processor = source.processor
        self.instrumentation_scope = source.scope
        self.resource = source.resource
        self.context = context
        self.parent = parent
        self._attributes = attributes
        self.start_time = start_ns
        self.end_time: int | None = None
        self.status = _OPEN

    @property
    def attributes(self) -> dict[str, Attribute]:
        """All that were set so far."""
        return self._attributes

    def set_attributes(self, attributes: dict[str, Attribute]) -> None:
        """Add attributes; one that was there is replaced."""
        self._attributes.update(attributes)

    def set_status(self, status: Status) -> None:
        """Say how the call ended."""
        self.status = status

    def end(self, end_time: int | None = None) -> None:
        """End, at a time in nanoseconds since 1970 or now, and hand the span over."""
        self.end_time = time_ns() if end_time is None else end_time
        self._processor.on_call_end(cast("Span", self))


AnySpan = trace.Span | CallSpan
"""What a call is measured on."""


class LightweightTracer:
    """Starts spans for `processor`, which must be alone in `provider`: they have its resource and kind of ids."""

    def __init__(
        self, provider: TracerProvider, processor: InfraPrismSpanProcessor, scope: InstrumentationScope
    ) -> None:
        self.processor = processor
        self.scope = scope
        self.resource: Resource = provider.resource
        self._ids: Any = provider.id_generator

    def start_span(self, attributes: dict[str, Attribute], start_ns: int) -> CallSpan:
        """A span below the one that is current in this context; the attributes become its own."""
        current = trace.get_current_span()
        parent = None if current is trace.INVALID_SPAN else current.get_span_context()
        if parent is not None and not parent.is_valid:
            parent = None
        trace_id = self._ids.generate_trace_id() if parent is None else parent.trace_id
        span = CallSpan(self, Ids(trace_id, self._ids.generate_span_id()), parent, attributes, start_ns)
        self.processor.on_start(cast("Span", span), None)
        return span
