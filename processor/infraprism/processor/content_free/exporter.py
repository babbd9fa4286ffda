"""The gate: an exporter in front of an exporter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from opentelemetry.sdk.trace import Event as SpanEvent
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, Status

from infraprism.processor.content_free import metadata, recognition
from infraprism.processor.tally import Tally

_TEXTS: Final = ("exception.message", "exception.stacktrace")
_UNKNOWN: Final = Status()


class ContentFreeSpanExporter(SpanExporter):
    """Wraps any exporter, so that no content of generative AI leaves through it.

    Spans about generative AI, of any instrumentation (calls, agents, workflows, tools, retrievals), leave as a copy
    that has nothing but a closed list of metadata, each value behind a guard; a name made of operation and model; no
    events; links without attributes; a status without text. Their ids, parents, times, kind and resource stay, so that
    traces keep their shape.

    All other spans leave as they are, the same objects. Where one recorded the exception of a client package, which
    repeats what the provider answered, a copy leaves without that exception's text; and keys that tracing kits put on
    every span around a call are taken out.

    A span that cannot be read does not leave: it is counted in `tally`, as an error and as dropped. Nothing here
    raises but what `inner` does.
    """

    def __init__(self, inner: SpanExporter) -> None:
        self._inner = inner
        self.tally = Tally()

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
            self.tally.error("content_free")
            self.tally.accept()
            self.tally.end("dropped", "unreadable")
            return None


def content_free(span: ReadableSpan) -> ReadableSpan:
    """The span itself where it has no content of generative AI, else a copy without."""
    if recognition.is_genai(span):
        return _reduced(span)
    carries = any(map(recognition.is_carried, span.attributes or ()))
    repeats = any(recognition.repeats_a_provider(event.attributes) for event in span.events)
    return _cleaned(span) if carries or repeats else span


def _reduced(span: ReadableSpan) -> ReadableSpan:
    attributes = metadata.kept(span.attributes)
    return _copy(
        span,
        name=metadata.name_of(attributes),
        context=_bare(span.context),
        attributes=attributes,
        links=[Link(context) for link in span.links if (context := _bare(link.context)) is not None],
        status=Status(span.status.status_code) if span.status is not None else _UNKNOWN,
        instrumentation_scope=_scope(span.instrumentation_scope),
    )


def _cleaned(span: ReadableSpan) -> ReadableSpan:
    repeats = False
    events = []
    for event in span.events:
        if recognition.repeats_a_provider(event.attributes):
            repeats = True
            kept = {key: value for key, value in (event.attributes or {}).items() if key not in _TEXTS}
            events.append(SpanEvent(event.name, kept, event.timestamp))
        else:
            events.append(event)
    return _copy(
        span,
        name=span.name,
        context=span.context,
        attributes={key: value for key, value in (span.attributes or {}).items() if not recognition.is_carried(key)},
        events=events,
        links=span.links,
        status=Status(span.status.status_code) if repeats else span.status,
        instrumentation_scope=span.instrumentation_scope,
    )


def _copy(span: ReadableSpan, **changed: Any) -> ReadableSpan:
    return ReadableSpan(
        parent=span.parent,
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
