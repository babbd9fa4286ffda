"""Choose the tracer provider for the span of a call, and start the span.

The span must reach InfraPrism exactly once, whatever the application does with its own telemetry, and must not change
that telemetry unless the application asked for it. In this order of preference it goes to:

- the provider that `instrument()` was given;
- the application's global provider, if that has an InfraPrism processor or exporter: the application then wants these
  spans in its telemetry. In three cases the span goes to a private provider that shares the processor instead: if the
  sampler does not record it, since costs are not sampled; while an official instrumentation has announced its own span
  of the call, by a context key of opentelemetry-util-genai, so that the application's telemetry has only that one and
  InfraPrism deduplicates the two; and if the InfraPrism processor is nested in another one, which may not pass it the
  span, as Logfire's does not within Logfire's own calls;
- a private provider, which is never made the global one.

With zero-code instrumentation it is always the private provider. If a provider has only the InfraPrism processor, a
lightweight span is used instead of an SDK span: see `call_span`.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from opentelemetry import trace
from opentelemetry.context import get_value
from opentelemetry.sdk.environment_variables import OTEL_SDK_DISABLED
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Span, SpanKind, Tracer

from infraprism.instrumentation.call_span import AnySpan, CallSpan, LightweightTracer, PrivateProvider
from infraprism.instrumentation.installed_components import (
    Installed,
    SharedExporter,
    add_attribution_recorder,
    find_installed,
    processors_of,
    sdk_provider_of,
)
from infraprism.instrumentation.llm_call import delivery_stats, log
from infraprism.instrumentation.usage_reader import Attribute
from infraprism.processor import InfraPrismSpanProcessor
from infraprism.schema.call_context import INSTRUMENTATION_SCOPE
from infraprism.schema.distribution import version
from infraprism.schema.native_threads import Lock

GENAI_CONTEXT_KEYS: Final = (
    "opentelemetry.genai.client.inference.context",
    "opentelemetry.genai.client.embedding.context",
)
"""`CLIENT_INFERENCE_CONTEXT_KEY` and `CLIENT_EMBEDDING_CONTEXT_KEY` of opentelemetry-util-genai."""

StartSpan = Callable[[str, dict[str, Attribute], int], AnySpan | None]
"""Starts the span of a call, or returns None. Parameters: name, attributes (owned by the span), start time in ns."""


class _ApplicationStarts(NamedTuple):
    """How the spans of calls, and of results of earlier calls, are started at the application's provider."""

    call: StartSpan
    result: StartSpan


class CallTracer:
    """Starts the spans of calls, at the provider that the order of preference of this module gives.

    `provider` is the one that the application passed, if any; `private` is True for zero-code instrumentation.
    """

    def __init__(self, provider: trace.TracerProvider | None = None, *, private: bool = False) -> None:
        self._provider = provider
        self._always_private = private
        self._lock = Lock()
        self._start_private: StartSpan | None = None
        self._known_processors: tuple[object, ...] | None = None
        self._start_at_application: _ApplicationStarts | None = None

    def start_span(self, name: str, attributes: dict[str, Attribute], start_ns: int) -> AnySpan | None:
        """A recording span, or None if the SDK is disabled or the sampler of the given provider drops it.

        The span takes ownership of the attributes.
        """
        starts = None if self._always_private else self._application_starts()
        start = None if starts is None else starts.call
        return (start or self._start_private or self.prepare())(name, attributes, start_ns)

    def start_result_span(self, name: str, attributes: dict[str, Attribute], start_ns: int) -> AnySpan | None:
        """A span of the result of a call whose span has ended. The application's telemetry has no second span of it.

        The exception is a provider without an InfraPrism part: what receives its spans needs the usage.
        """
        starts = None if self._always_private else self._application_starts()
        start = None if starts is None else starts.result
        return (start or self._start_private or self.prepare())(name, attributes, start_ns)

    def prepare(self, processor: InfraPrismSpanProcessor | None = None, *, owned: bool = True) -> StartSpan:
        """Create the private provider now instead of at the first call; `owned` as in `start_private`.

        Raises nothing.
        """
        with self._lock:
            if self._start_private is None:
                try:
                    self._start_private = start_private(processor, owned=owned)
                except Exception:  # noqa: BLE001 - rule: no internal error reaches the application
                    # Not retried at every call: the settings that failed would fail again.
                    log.warning("InfraPrism cannot export events; calls are not recorded", exc_info=True)
                    delivery_stats.error("tracing.prepare")
                    self._start_private = _start_nothing
            return self._start_private

    def uses_application_provider(self) -> bool:
        """Whether the spans go to a provider of the application, so that no private provider is needed."""
        return not self._always_private and self._application_starts() is not None

    def _application_starts(self) -> _ApplicationStarts | None:
        provider = self._provider or trace.get_tracer_provider()
        processors = processors_of(provider)
        if processors is not self._known_processors:
            with self._lock:
                installed = find_installed(provider)
                if installed is not None:
                    add_attribution_recorder(provider, installed)
                    self._start_at_application = _start_with_installed(provider, installed)
                elif self._provider is not None:
                    recording = _start_recording(_tracer(provider))
                    self._start_at_application = _ApplicationStarts(recording, recording)
                else:
                    self._start_at_application = None
                self._known_processors = processors_of(provider)
        return self._start_at_application


def start_private(
    processor: InfraPrismSpanProcessor | None, *, owned: bool, resource: Resource | None = None
) -> StartSpan:
    """Start spans at a new private provider. If `owned`, the provider shuts the processor down at exit.

    `resource` defaults to that of the environment.

    Raises what a processor with the default exporter raises.
    """
    if os.environ.get(OTEL_SDK_DISABLED, "").strip().lower() == "true":
        return _start_nothing
    processor = processor or InfraPrismSpanProcessor()
    if owned:
        atexit.register(processor.shutdown)
    return _start_lightweight(PrivateProvider(resource or Resource.create()), processor)


def _start_with_installed(provider: Any, installed: Installed) -> _ApplicationStarts:
    """For a provider that has an InfraPrism processor or exporter."""
    tracer = _tracer(provider)
    if not _is_enabled(tracer):
        return _ApplicationStarts(_start_nothing, _start_nothing)
    unsampled = _start_unsampled(sdk_provider_of(provider), installed)
    processor_types = [type(each) for each in processors_of(provider)]
    is_alone = type(provider) is TracerProvider and processor_types == [InfraPrismSpanProcessor]
    is_direct = is_alone or installed.is_nested
    return _ApplicationStarts(unsampled if is_direct else _start_sampled(tracer, installed, unsampled), unsampled)


def _start_sampled(tracer: Tracer, installed: Installed, unsampled: StartSpan) -> StartSpan:
    """SDK spans; `unsampled` ones if the sampler drops the SDK span, or another instrumentation announced its own."""
    recording = _start_recording(tracer)
    receives_unsampled = installed.processor is not None

    def start(name: str, attributes: dict[str, Attribute], start_ns: int) -> AnySpan | None:
        if _is_announced():
            return unsampled(name, attributes, start_ns)
        span = recording(name, attributes, start_ns)
        if span is not None and (receives_unsampled or span.get_span_context().trace_flags.sampled):
            return span
        return unsampled(name, attributes, start_ns)

    return start


def _start_unsampled(provider: TracerProvider, installed: Installed) -> StartSpan:
    """Spans of all calls, exported by the InfraPrism part of the application's provider."""
    if installed.processor is not None:
        return _start_lightweight(provider, installed.processor)
    assert installed.exporter is not None
    processor = InfraPrismSpanProcessor(SharedExporter(installed.exporter))
    return start_private(processor, owned=True, resource=provider.resource)


def _start_recording(tracer: Tracer) -> Callable[[str, dict[str, Attribute], int], Span | None]:
    """SDK spans that the sampler of the provider records."""

    def start(name: str, attributes: dict[str, Attribute], start_ns: int) -> Span | None:
        span = tracer.start_span(name, kind=SpanKind.CLIENT, attributes=attributes, start_time=start_ns)
        if not span.is_recording():
            return None
        if not getattr(span, "attributes", None):
            span.set_attributes(attributes)  # some samplers drop the attributes that they were passed
        return span

    return start


def _start_lightweight(provider: TracerProvider | PrivateProvider, processor: InfraPrismSpanProcessor) -> StartSpan:
    start_span = LightweightTracer(
        provider, processor, InstrumentationScope(INSTRUMENTATION_SCOPE, version())
    ).start_span

    def start(name: str, attributes: dict[str, Attribute], start_ns: int) -> CallSpan:  # noqa: ARG001 - see `StartSpan`
        return start_span(attributes, start_ns)

    return start


def _start_nothing(name: str, attributes: dict[str, Attribute], start_ns: int) -> None:  # noqa: ARG001 - see `StartSpan`
    return None


def _is_announced() -> bool:
    return get_value(GENAI_CONTEXT_KEYS[0]) is not None or get_value(GENAI_CONTEXT_KEYS[1]) is not None


def _is_enabled(tracer: Tracer) -> bool:
    """Whether a tracer creates spans: the SDK, or this instrumentation scope, can be disabled."""
    is_enabled = getattr(tracer, "_is_enabled", None)
    return not isinstance(tracer, trace.NoOpTracer) and (is_enabled is None or is_enabled() is True)


def _tracer(provider: Any) -> Tracer:
    tracer: Tracer = provider.get_tracer(INSTRUMENTATION_SCOPE, version())
    return tracer
