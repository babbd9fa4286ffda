"""Where the span of a call goes.

It must reach InfraPrism exactly once, whatever the application does with its own telemetry, and must not change that
telemetry where nobody asked for it. So it goes, in this order of preference:

- to the provider that `instrument()` was given;
- to the application's global provider, if that has an InfraPrism processor or exporter, since that is how an
  application says that it wants these spans among its own. If its sampler does not want this one, the span goes to a
  provider of ours that shares the processor: what a call costs is not sampled. It goes there as well while an official
  instrumentation has said, by the context key of opentelemetry-util-genai, that the call has its span already: the
  application's telemetry then has that one alone, and the processor knows the call by both. The same holds where
  somebody's processor stands before ours and may keep spans from it, as Logfire's does inside of its own calls;
- to a private provider of ours, which is never made the global one.

In zero-code use the application asked for nothing, and it is always the private one. Where a provider has our processor
alone, so that nobody else could see the span, it is none of the SDK: see `call_span`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from opentelemetry import trace
from opentelemetry.context import get_value
from opentelemetry.sdk.environment_variables import OTEL_SDK_DISABLED
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Span, SpanKind, Tracer

from infraprism.attribution.span_start_context import AttributionRecorder
from infraprism.instrumentation.call import delivery_stats, log
from infraprism.instrumentation.call_span import AnySpan, CallSpan, LightweightTracer
from infraprism.instrumentation.usage_reader import Attribute
from infraprism.processor import DeliveryStats, InfraPrismSpanProcessor
from infraprism.processor.event_exporter import EventExporter, takes_events
from infraprism.schema import Event
from infraprism.schema.distribution import version

SCOPE: Final = "infraprism.instrumentation"
ANNOUNCED: Final = ("opentelemetry.genai.client.inference.context", "opentelemetry.genai.client.embedding.context")
"""`CLIENT_INFERENCE_CONTEXT_KEY` and `CLIENT_EMBEDDING_CONTEXT_KEY` of opentelemetry-util-genai."""


MAX_WRAPPED: Final = 64
"""Processors looked at in one provider, with those inside of others."""


class Delivery(NamedTuple):
    """What InfraPrism has in a tracer provider: a processor, or an exporter in somebody's batch processor.

    `is_wrapped`: another processor stands before it, which may keep spans from it, as Logfire's does.
    """

    processor: InfraPrismSpanProcessor | None
    exporter: EventExporter | None
    is_wrapped: bool = False


def delivery_in(provider: object) -> Delivery | None:
    """What InfraPrism has in this provider, or None."""
    outermost = processors_of(provider)
    looked_at = list(outermost)
    for number, processor in enumerate(looked_at):  # what is found inside of one is appended
        is_wrapped = number >= len(outermost)
        if isinstance(processor, InfraPrismSpanProcessor):
            return Delivery(processor, None, is_wrapped)
        if isinstance(processor, Forwarding):
            return Delivery(processor.processor, None, is_wrapped)
        exporter = getattr(processor, "span_exporter", None)
        if takes_events(exporter):
            return Delivery(None, exporter, is_wrapped)
        if len(looked_at) < MAX_WRAPPED:
            looked_at += _inside(processor)
    return None


def _inside(processor: object) -> list[SpanProcessor]:
    """The processors that one passes its spans to: as the SDK's that has several, or as a wrapper has its one."""
    try:
        held = list(vars(processor).values())
    except TypeError:  # it has slots
        return []
    several = getattr(processor, "_span_processors", None)
    return [each for each in [*held, *(several or ())] if isinstance(each, SpanProcessor) and each is not processor]


def record_attributions(provider: Any, delivery: Delivery) -> None:
    """Note what holds when a span starts, for an exporter of ours that sees spans only when they are over."""
    if delivery.exporter is None or any(isinstance(p, AttributionRecorder) for p in processors_of(provider)):
        return
    provider.add_span_processor(AttributionRecorder())


def processors_of(provider: object) -> tuple[object, ...]:
    """The span processors of an SDK provider; a new tuple whenever one was added."""
    active = getattr(_of_the_sdk(provider), "_active_span_processor", None)
    processors = getattr(active, "_span_processors", ())
    return processors if isinstance(processors, tuple) else ()


def _of_the_sdk(provider: Any) -> Any:
    """The SDK's provider, which the global one may stand for, as Logfire's does."""
    if isinstance(provider, TracerProvider):
        return provider
    behind = getattr(provider, "provider", None)
    return behind if isinstance(behind, TracerProvider) else provider


class Borrowed:
    """An exporter that belongs to somebody else: they shut it down.

    It is given spans as they are, where it is one that settles them itself: their owner's provider gives it spans of
    the same calls, if another instrumentation is at work.
    """

    def __init__(self, exporter: EventExporter) -> None:
        self._exporter = exporter
        self.receive_ended_spans = getattr(exporter, "receive_ended_spans", None)

    @property
    def delivery_stats(self) -> DeliveryStats:
        """What became of the events."""
        return self._exporter.delivery_stats

    def export_events(self, events: Sequence[Event]) -> None:
        """Hand events on."""
        self._exporter.export_events(events)

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Wait until all are sent."""
        return self._exporter.force_flush(timeout_millis)

    def shutdown(self, timeout_millis: int = 5000) -> None:
        """Send what is left; the owner may have more."""
        self._exporter.force_flush(timeout_millis)


class Forwarding(SpanProcessor):
    """Passes spans to a processor that belongs to somebody else: they shut it down."""

    def __init__(self, processor: InfraPrismSpanProcessor) -> None:
        self.on_start = processor.on_start  # type: ignore[method-assign]  # bound once: it runs for every span
        self.on_end = processor.on_end  # type: ignore[method-assign]  # see above
        self.processor = processor

    def shutdown(self) -> None:
        """Send what is left; the owner may have more."""
        self.processor.force_flush()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Wait until all are sent."""
        return self.processor.force_flush(timeout_millis)


Starts = Callable[[str, dict[str, Attribute], int], AnySpan | None]
"""Starts the span of a call, of a name, attributes that become its own, and a time in nanoseconds; or None."""


class Tracing:
    """Starts the spans of calls, at the provider that the rule above says.

    `provider` is the one that the application gave, if any; `private` is True in zero-code use.
    """

    def __init__(self, provider: trace.TracerProvider | None = None, *, private: bool = False) -> None:
        self._given = provider
        self._always_private = private
        self._lock = threading.Lock()
        self._private: Starts | None = None
        self._seen: tuple[object, ...] | None = None
        self._theirs: Starts | None = None

    def start_span(self, name: str, attributes: dict[str, Attribute], start_ns: int) -> AnySpan | None:
        """A span that records, or None where the SDK is switched off or the given provider does not want it.

        The attributes become the span's own.
        """
        start = None if self._always_private else self._their_start()
        return (start or self._private or self.prepare())(name, attributes, start_ns)

    def prepare(self, processor: InfraPrismSpanProcessor | None = None, *, ours: bool = True) -> Starts:
        """Make the private provider now, rather than at the first call; `ours` as in `private_start`.

        Raises nothing.
        """
        with self._lock:
            if self._private is None:
                try:
                    self._private = private_start(processor, ours=ours)
                except Exception:  # noqa: BLE001 - rule: no error of ours reaches the application
                    # Once, not at every call: whatever it is that cannot be used will not be usable then either.
                    log.warning("InfraPrism cannot deliver events and records none", exc_info=True)
                    delivery_stats.error("tracing.prepare")
                    self._private = _nothing
            return self._private

    def is_ready(self) -> bool:
        """Whether the application's own provider takes the spans already, so that no private one is needed."""
        return not self._always_private and self._their_start() is not None

    def _their_start(self) -> Starts | None:
        provider = self._given or trace.get_tracer_provider()
        processors = processors_of(provider)
        if processors is not self._seen:
            with self._lock:
                delivery = delivery_in(provider)
                if delivery is not None:
                    record_attributions(provider, delivery)
                    self._theirs = _delivering(provider, delivery)
                else:
                    self._theirs = None if self._given is None else _recording(_tracer(provider))
                self._seen = processors_of(provider)
        return self._theirs


def _is_announced() -> bool:
    return get_value(ANNOUNCED[0]) is not None or get_value(ANNOUNCED[1]) is not None


def _nothing(name: str, attributes: dict[str, Attribute], start_ns: int) -> None:  # noqa: ARG001 - as all `Starts`
    return None


def _delivering(provider: Any, delivery: Delivery) -> Starts:
    """For a provider that has InfraPrism in it."""
    tracer = _tracer(provider)
    if not _records(tracer):
        return _nothing
    always_on = _always_on(_of_the_sdk(provider), delivery)
    kinds = [type(each) for each in processors_of(provider)]
    nobody_else = type(provider) is TracerProvider and kinds == [InfraPrismSpanProcessor]
    return always_on if nobody_else or delivery.is_wrapped else _seen_by_others(tracer, delivery, always_on)


def _start_unseen(provider: TracerProvider, processor: InfraPrismSpanProcessor) -> Starts:
    start_span = LightweightTracer(provider, processor, InstrumentationScope(SCOPE, version())).start_span

    def start(name: str, attributes: dict[str, Attribute], start_ns: int) -> CallSpan:  # noqa: ARG001 - as all `Starts`
        return start_span(attributes, start_ns)

    return start


def _records(tracer: Tracer) -> bool:
    """Whether a tracer makes spans at all: the SDK, or this scope, can be switched off."""
    is_enabled = getattr(tracer, "_is_enabled", None)
    return not isinstance(tracer, trace.NoOpTracer) and (is_enabled is None or is_enabled() is True)


def _recording(tracer: Tracer) -> Callable[[str, dict[str, Attribute], int], Span | None]:
    """Spans of the SDK, of those that the provider's sampler wants recorded."""

    def start(name: str, attributes: dict[str, Attribute], start_ns: int) -> Span | None:
        span = tracer.start_span(name, kind=SpanKind.CLIENT, attributes=attributes, start_time=start_ns)
        if not span.is_recording():
            return None
        if not getattr(span, "attributes", None):
            span.set_attributes(attributes)  # some samplers forget to hand on what they were shown
        return span

    return start


def _seen_by_others(tracer: Tracer, delivery: Delivery, always_on: Starts) -> Starts:
    """Spans of the SDK, and ones of ours where the sampler keeps them from us or another has made the call's span."""
    recording = _recording(tracer)
    counts_unsampled = delivery.processor is not None

    def start(name: str, attributes: dict[str, Attribute], start_ns: int) -> AnySpan | None:
        if _is_announced():
            return always_on(name, attributes, start_ns)
        span = recording(name, attributes, start_ns)
        if span is not None and (counts_unsampled or span.get_span_context().trace_flags.sampled):
            return span
        return always_on(name, attributes, start_ns)

    return start


def _always_on(provider: TracerProvider, delivery: Delivery) -> Starts:
    """Samples everything and delivers where the application's own provider does."""
    if delivery.processor is not None:
        return _start_unseen(provider, delivery.processor)
    assert delivery.exporter is not None
    return private_start(InfraPrismSpanProcessor(Borrowed(delivery.exporter)), ours=True, resource=provider.resource)


def private_start(processor: InfraPrismSpanProcessor | None, *, ours: bool, resource: Resource | None = None) -> Starts:
    """At a new provider that nobody else sees; `ours` if it is the one to shut the processor down.

    `resource` is that of the environment unless given.

    Raises what a processor with the default exporter raises.
    """
    if os.environ.get(OTEL_SDK_DISABLED, "").strip().lower() == "true":
        return _nothing
    provider = TracerProvider(resource=resource or Resource.create(), shutdown_on_exit=ours)
    processor = processor or InfraPrismSpanProcessor()
    provider.add_span_processor(processor)
    return _start_unseen(provider, processor)


def _tracer(provider: Any) -> Tracer:
    tracer: Tracer = provider.get_tracer(SCOPE, version())
    return tracer
