"""Makes a finished span of an event, for exporters that take spans."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from infraprism.schema import Event, wire
from infraprism.schema.distribution import version
from infraprism.schema.settings import boolean

_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_NO_RESOURCE: Final = Resource({})
_OK: Final = Status(StatusCode.UNSET)
_FAILED: Final = Status(StatusCode.ERROR)


@cache
def _scope() -> InstrumentationScope:
    return InstrumentationScope(wire.SCOPE_NAME, version())


def usage_detail_wanted() -> bool:
    """Whether the opt-in fields are exported: `INFRAPRISM_USAGE_DETAIL=true`."""
    return boolean("INFRAPRISM_USAGE_DETAIL")


def event_span(event: Event, *, usage_detail: bool = False) -> ReadableSpan:
    """The span of an event: name `{operation} {model}`, kind CLIENT, and the attributes of the wire format.

    Parent, events, links, trace state, resource and status description are empty. Times are in nanoseconds since
    1970; the end is the start plus the latency in milliseconds. `usage_detail` adds the opt-in fields.
    """
    return _EventSpan(event, usage_detail=usage_detail)


class _EventSpan(ReadableSpan):
    """Builds the span when an attribute is first read: exporters that drop or count events read few of them."""

    def __init__(self, event: Event, *, usage_detail: bool) -> None:
        self._event = event
        self._usage_detail = usage_detail

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "_context" in self.__dict__:
            raise AttributeError(name)
        event = self._event
        super().__init__(
            name=event.name,
            context=SpanContext(event.trace_id, event.span_id, is_remote=False, trace_flags=_SAMPLED),
            kind=SpanKind.CLIENT,
            resource=_NO_RESOURCE,
            attributes=wire.attributes(event, usage_detail=self._usage_detail),
            status=_OK if event.success else _FAILED,
            start_time=event.timestamp_ns,
            end_time=event.timestamp_ns + event.latency_ms * 1_000_000,
            instrumentation_scope=_scope(),
        )
        return getattr(self, name)
