"""An event as a finished span, for exporters that only know spans."""

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
    """Whether the user lets the opt-in fields leave the process: `INFRAPRISM_USAGE_DETAIL=true`."""
    return boolean("INFRAPRISM_USAGE_DETAIL")


def event_span(event: Event, *, usage_detail: bool = False) -> ReadableSpan:
    """The one span that an event travels as: `{operation} {model}`, kind CLIENT, and the event's own attributes.

    Parent, events, links, trace state, resource and status text are empty. Times are in nanoseconds; the end is the
    start plus the latency in whole milliseconds. `usage_detail` adds the opt-in fields.
    """
    return _EventSpan(event, usage_detail=usage_detail)


class _EventSpan(ReadableSpan):
    """Becomes a span when it is looked at: most of what it holds is not, by exporters that drop or count."""

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
