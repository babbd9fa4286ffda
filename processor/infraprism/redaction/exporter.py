"""An exporter that wraps another exporter and removes the content of generative AI from its spans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from opentelemetry.sdk.trace import Event as SpanEvent
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status

from infraprism.redaction import allowed_attributes, genai_spans, http_spans
from infraprism.schema.delivery_stats import DeliveryStats

_EXCEPTION_KEYS: Final = ("exception.type", "exception.escaped")
_ERROR_TEXT_KEYS: Final = (
    "exception.message",
    "exception.stacktrace",
    "error.message",
    "error.stack",
    "error.stacktrace",
)
_UNKNOWN: Final = Status()


class ContentFreeSpanExporter(SpanExporter):
    """Wraps any span exporter so that no content of generative AI is exported by it.

    Spans of generative AI, of any instrumentation (calls, agents, workflows, tools, retrievals), are exported as a copy
    with an allow-list of metadata, where each value has to match the guard of its key. The copy has a name made of
    operation and model, no events, links without attributes and a status without a description. Ids, parents, times,
    kind and resource are the span's, so that traces keep their structure.

    All other spans are exported unchanged, as the same objects, unless they have data of a call. A copy of these has no
    text of a client package's exception, which can repeat the provider's response; no bodies, headers and query of an
    HTTP request to a provider; and none of the keys that products write on all spans that enclose a call.

    A span that cannot be read is not exported. It is counted in `delivery_stats`, as an error and as dropped. Raises
    only what `inner` raises.
    """

    def __init__(self, inner: SpanExporter) -> None:
        self._inner = inner
        self.delivery_stats = DeliveryStats()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export the spans without content; the result is the inner exporter's."""
        redacted = [found for span in spans if (found := self._redacted(span)) is not None]
        return self._inner.export(redacted) if redacted else SpanExportResult.SUCCESS

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Flush the inner exporter."""
        return self._inner.force_flush(timeout_millis)

    def shutdown(self) -> None:
        """Shut the inner exporter down."""
        self._inner.shutdown()

    def _redacted(self, span: ReadableSpan) -> ReadableSpan | None:
        try:
            return content_free(span)
        except Exception:  # noqa: BLE001 - an unreadable span must not be exported and must not stop the others
            self.delivery_stats.error("content_free")
            self.delivery_stats.accept()
            self.delivery_stats.end("dropped", "unreadable")
            return None


def content_free(span: ReadableSpan) -> ReadableSpan:
    """The span itself if it has no content of generative AI, else a copy without content."""
    if genai_spans.is_genai(span):
        return _reduced(span)
    attributes = span.attributes or {}
    is_request = span.kind is SpanKind.CLIENT and http_spans.is_request(attributes)
    kept = http_spans.kept(attributes) if is_request else _without_call_data(attributes)
    redact_event = [is_request or genai_spans.is_provider_exception(event.attributes) for event in span.events]
    description = span.status.description if span.status is not None else None
    redact_status = description is not None and (
        any(redact_event) or is_request or genai_spans.repeats_response(description)
    )
    if kept == attributes and not any(redact_event) and not redact_status:
        return span
    return _copy(
        span,
        name=span.name,
        context=span.context,
        parent=span.parent,
        attributes=kept,
        events=[_without_text(e) if redact else e for e, redact in zip(span.events, redact_event, strict=True)],
        links=span.links,
        status=Status(span.status.status_code) if redact_status else span.status,
        instrumentation_scope=span.instrumentation_scope,
    )


def _without_call_data(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: value
        for key, value in attributes.items()
        if not genai_spans.is_propagated(key) and not (key in _ERROR_TEXT_KEYS and genai_spans.repeats_response(value))
    }


def _without_text(event: SpanEvent) -> SpanEvent:
    kept = {key: value for key, value in (event.attributes or {}).items() if key in _EXCEPTION_KEYS}
    return SpanEvent(event.name, kept, event.timestamp)


def _reduced(span: ReadableSpan) -> ReadableSpan:
    attributes = allowed_attributes.kept(span.attributes)
    return _copy(
        span,
        name=allowed_attributes.name_of(attributes),
        context=_without_state(span.context),
        parent=_without_state(span.parent),
        attributes=attributes,
        links=[Link(context) for link in span.links if (context := _without_state(link.context)) is not None],
        status=Status(span.status.status_code) if span.status is not None else _UNKNOWN,
        instrumentation_scope=_scope(span.instrumentation_scope),
    )


def _copy(span: ReadableSpan, **changed: Any) -> ReadableSpan:
    return ReadableSpan(
        resource=span.resource,
        kind=span.kind,
        start_time=span.start_time,
        end_time=span.end_time,
        **changed,
    )


def _without_state(context: SpanContext | None) -> SpanContext | None:
    """The span context without its trace state, which can contain any text."""
    if context is None:
        return None
    return SpanContext(context.trace_id, context.span_id, context.is_remote, context.trace_flags)


def _scope(scope: InstrumentationScope | None) -> InstrumentationScope | None:
    """Name and version. Langfuse writes attributes on its scope, which are removed."""
    return None if scope is None else InstrumentationScope(scope.name, scope.version)
