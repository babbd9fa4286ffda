"""The gate: an exporter in front of an exporter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from opentelemetry.sdk.trace import Event as SpanEvent
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status

from infraprism.redaction import allowed_attributes, genai_spans, http_spans
from infraprism.schema.delivery_stats import DeliveryStats

_OF_AN_EXCEPTION: Final = ("exception.type", "exception.escaped")
_ERROR_TEXTS: Final = ("exception.message", "exception.stacktrace", "error.message", "error.stack", "error.stacktrace")
_UNKNOWN: Final = Status()


class ContentFreeSpanExporter(SpanExporter):
    """Wraps any exporter, so that no content of generative AI leaves through it.

    Spans about generative AI, of any instrumentation (calls, agents, workflows, tools, retrievals), leave as a copy
    that has nothing but a closed list of metadata, each value behind a guard; a name made of operation and model; no
    events; links without attributes; a status without text. Their ids, parents, times, kind and resource stay, so that
    traces keep their shape.

    All other spans leave as they are, the same objects, but for what comes from a call: the text of a client package's
    exception, which repeats what the provider answered; bodies, headers and queries on the span of an HTTP request to a
    provider; and keys that tracing kits put on every span around a call. A copy leaves without those.

    A span that cannot be read does not leave: it is counted in `tally`, as an error and as dropped. Nothing here
    raises but what `inner` does.
    """

    def __init__(self, inner: SpanExporter) -> None:
        self._inner = inner
        self.delivery_stats = DeliveryStats()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Hand the spans on; the inner exporter's answer."""
        safe = [found for span in spans if (found := self._safe(span)) is not None]
        return self._inner.export(safe) if safe else SpanExportResult.SUCCESS

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Flush the inner exporter."""
        return self._inner.force_flush(timeout_millis)

    def shutdown(self) -> None:
        """Shut the inner exporter down."""
        self._inner.shutdown()

    def _safe(self, span: ReadableSpan) -> ReadableSpan | None:
        try:
            return content_free(span)
        except Exception:  # noqa: BLE001 - what cannot be read must neither leave nor stop the others
            self.delivery_stats.error("content_free")
            self.delivery_stats.accept()
            self.delivery_stats.end("dropped", "unreadable")
            return None


def content_free(span: ReadableSpan) -> ReadableSpan:
    """The span itself where it has no content of generative AI, else a copy without."""
    if genai_spans.is_genai(span):
        return _reduced(span)
    attributes = span.attributes or {}
    is_request = span.kind is SpanKind.CLIENT and http_spans.is_request(attributes)
    kept = (
        http_spans.kept(attributes) if is_request else {k: v for k, v in attributes.items() if not _is_left_out(k, v)}
    )
    repeats = [is_request or genai_spans.repeats_a_provider(event.attributes) for event in span.events]
    told = span.status.description if span.status is not None else None
    repeats_status = told is not None and (any(repeats) or is_request or genai_spans.repeats_an_answer(told))
    if kept == attributes and not any(repeats) and not repeats_status:
        return span
    return _copy(
        span,
        name=span.name,
        context=span.context,
        parent=span.parent,
        attributes=kept,
        events=[_without_text(e) if told_again else e for e, told_again in zip(span.events, repeats, strict=True)],
        links=span.links,
        status=Status(span.status.status_code) if repeats_status else span.status,
        instrumentation_scope=span.instrumentation_scope,
    )


def _is_left_out(key: str, value: object) -> bool:
    return genai_spans.is_carried(key) or (key in _ERROR_TEXTS and genai_spans.repeats_an_answer(value))


def _without_text(event: SpanEvent) -> SpanEvent:
    kept = {key: value for key, value in (event.attributes or {}).items() if key in _OF_AN_EXCEPTION}
    return SpanEvent(event.name, kept, event.timestamp)


def _reduced(span: ReadableSpan) -> ReadableSpan:
    attributes = allowed_attributes.kept(span.attributes)
    return _copy(
        span,
        name=allowed_attributes.name_of(attributes),
        context=_bare(span.context),
        parent=_bare(span.parent),
        attributes=attributes,
        links=[Link(context) for link in span.links if (context := _bare(link.context)) is not None],
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


def _bare(context: SpanContext | None) -> SpanContext | None:
    """A span's identity without its trace state, which may say anything."""
    if context is None:
        return None
    return SpanContext(context.trace_id, context.span_id, context.is_remote, context.trace_flags)


def _scope(scope: InstrumentationScope | None) -> InstrumentationScope | None:
    """Name and version; Langfuse writes keys into a scope's attributes."""
    return None if scope is None else InstrumentationScope(scope.name, scope.version)
