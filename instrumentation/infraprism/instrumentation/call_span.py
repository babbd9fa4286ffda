"""A lightweight span for calls that only the InfraPrism processor receives.

An SDK span supports sampling, changes by several threads, any number of processors and any exporter. A provider that
has only the InfraPrism processor needs none of that, and it is half of the cost of measuring a call. The lightweight
span has the same ids, parent, times, resource and attributes, and is passed directly to the processor.
"""

from __future__ import annotations

from time import time_ns
from typing import Any, Final, NamedTuple, cast

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Span, TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, Status, StatusCode

from infraprism.instrumentation.usage_reader import Attribute
from infraprism.processor import InfraPrismSpanProcessor

_UNSET_STATUS: Final = Status(StatusCode.UNSET)


class SpanIds(NamedTuple):
    """The identity of a span: 128 and 64 bits."""

    trace_id: int
    span_id: int


class CallSpan:
    """A span with the fields that `LLMCall` and the InfraPrism processor use. Its one call ends it once."""

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
    """Exceptions are recorded as attributes only, not as span events."""

    def __init__(
        self,
        tracer: LightweightTracer,
        context: SpanIds,
        parent: SpanContext | None,
        attributes: dict[str, Attribute],
        start_ns: int,
    ) -> None:
        self._processor = tracer.processor
        self.instrumentation_scope = tracer.scope
        self.resource = tracer.resource
        self.context = context
        self.parent = parent
        self._attributes = attributes
        self.start_time = start_ns
        self.end_time: int | None = None
        self.status = _UNSET_STATUS

    @property
    def attributes(self) -> dict[str, Attribute]:
        """All attributes set so far."""
        return self._attributes

    def set_attributes(self, attributes: dict[str, Attribute]) -> None:
        """Add attributes. An existing one is replaced."""
        self._attributes.update(attributes)

    def set_status(self, status: Status) -> None:
        """Set the status of the call."""
        self.status = status

    def end(self, end_time: int | None = None) -> None:
        """End at `end_time`, in nanoseconds since 1970 (now by default), and pass the span to the processor."""
        self.end_time = time_ns() if end_time is None else end_time
        self._processor.on_call_end(cast("Span", self))


AnySpan = trace.Span | CallSpan
"""The span of a call: an SDK span or a lightweight one."""


class PrivateProvider:
    """What a lightweight span needs of a provider.

    A `TracerProvider` of the SDK starts threads in each forked child of the application, to detect its resource again.
    gevent reports an error in the child for them.
    """

    def __init__(self, resource: Resource) -> None:
        self.resource = resource
        self.id_generator = RandomIdGenerator()


class LightweightTracer:
    """Starts spans for `processor`, the only one in `provider`, with the resource and id generator of that."""

    def __init__(
        self,
        provider: TracerProvider | PrivateProvider,
        processor: InfraPrismSpanProcessor,
        scope: InstrumentationScope,
    ) -> None:
        self.processor = processor
        self.scope = scope
        self.resource: Resource = provider.resource
        self._ids: Any = provider.id_generator

    def start_span(self, attributes: dict[str, Attribute], start_ns: int) -> CallSpan:
        """Start a child of the current span. The span takes ownership of the attributes."""
        current = trace.get_current_span()
        parent = None if current is trace.INVALID_SPAN else current.get_span_context()
        if parent is not None and not parent.is_valid:
            parent = None
        trace_id = self._ids.generate_trace_id() if parent is None else parent.trace_id
        span = CallSpan(self, SpanIds(trace_id, self._ids.generate_span_id()), parent, attributes, start_ns)
        self.processor.on_start(cast("Span", span), None)
        return span
