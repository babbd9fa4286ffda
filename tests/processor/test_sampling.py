"""A sampler that drops spans of other instrumentations is reported; one that records them costs no event."""

from __future__ import annotations

import logging
import sys
from types import ModuleType

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    DEFAULT_OFF,
    DEFAULT_ON,
    AlwaysRecordSampler,
    ParentBased,
    Sampler,
    TraceIdRatioBased,
)
from tests.kit.spans import KeepsEndedSpans, KeepsEvents, KeepsSpans, call

from infraprism.processor import InfraPrismSpanProcessor
from infraprism.schema.call_context import INSTRUMENTATION_SCOPE

LOGGER = "infraprism.processor"
CALLS = 50


def events_with(sampler: Sampler, exporter: KeepsSpans | None = None) -> int:
    """The number of events of calls of another instrumentation."""
    kept = KeepsEvents()
    processor = InfraPrismSpanProcessor(kept)
    provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
    provider.add_span_processor(processor)
    if exporter is not None:
        provider.add_span_processor(SimpleSpanProcessor(exporter))
    for _ in range(CALLS):
        call(provider)
    processor.shutdown()
    return len(kept.events)


@pytest.mark.parametrize(
    "sampler", [TraceIdRatioBased(0.5), ParentBased(TraceIdRatioBased(0.5))], ids=["ratio", "parent-based ratio"]
)
def test_a_sampler_that_drops_calls_is_reported_once(sampler: Sampler, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, LOGGER):
        assert events_with(sampler) < CALLS
    (record,) = [record for record in caplog.records if record.name == LOGGER]
    assert "AlwaysRecordSampler" in record.getMessage()


@pytest.mark.parametrize("sampler", [ALWAYS_ON, DEFAULT_ON], ids=["always on", "parent-based always on"])
def test_a_sampler_that_drops_no_calls_is_not_reported(sampler: Sampler, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, LOGGER):
        assert events_with(sampler) == CALLS
    assert not caplog.records


def test_a_sampler_that_records_all_spans_loses_no_call_and_exports_no_further_spans(
    caplog: pytest.LogCaptureFixture,
) -> None:
    exporter = KeepsSpans()
    with caplog.at_level(logging.WARNING, LOGGER):
        assert events_with(AlwaysRecordSampler(TraceIdRatioBased(0.5)), exporter) == CALLS
    assert len(exporter.spans) < CALLS
    assert not caplog.records


def test_our_own_spans_are_not_a_reason_for_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    provider = TracerProvider(sampler=TraceIdRatioBased(0.5), shutdown_on_exit=False)
    processor = InfraPrismSpanProcessor(KeepsEvents())
    provider.add_span_processor(processor)
    with caplog.at_level(logging.WARNING, LOGGER):
        for _ in range(CALLS):
            provider.get_tracer(INSTRUMENTATION_SCOPE).start_span(
                "chat", attributes={"gen_ai.operation.name": "chat"}
            ).end()
        processor.shutdown()
    assert not caplog.records


OFF = [ALWAYS_OFF, DEFAULT_OFF, TraceIdRatioBased(0), ParentBased(TraceIdRatioBased(0.0))]


@pytest.fixture(params=OFF, ids=["always off", "parent-based always off", "ratio", "parent-based ratio"])
def off(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> TracerProvider:
    """The application's provider, with a sampler that drops all spans and a processor that keeps none."""
    provider = TracerProvider(sampler=request.param, shutdown_on_exit=False)
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    for name in [name for name in sys.modules if name.startswith(INSTRUMENTATIONS)]:
        monkeypatch.delitem(sys.modules, name)
    return provider


INSTRUMENTATIONS = ("openinference.", "openlit.", "opentelemetry.instrumentation.")


@pytest.mark.parametrize(
    "module",
    [
        "openinference.instrumentation.langchain",
        "opentelemetry.instrumentation.genai.openai",
        "opentelemetry.instrumentation.google_genai",
    ],
)
def test_a_sampler_that_drops_all_spans_is_reported_once_if_another_instrumentation_is_loaded(
    off: TracerProvider, module: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, module, ModuleType(module))
    off.add_span_processor(InfraPrismSpanProcessor(KeepsEvents()))
    call(off)
    with caplog.at_level(logging.WARNING, LOGGER):
        off.force_flush()
        off.shutdown()
    (record,) = [record for record in caplog.records if record.name == LOGGER]
    assert "drops all spans" in record.getMessage()


def test_a_sampler_that_drops_all_spans_is_reported_at_the_first_call_of_our_own_instrumentation(
    off: TracerProvider, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "openinference.instrumentation.langchain", ModuleType("langchain"))
    processor = InfraPrismSpanProcessor(KeepsEvents())
    off.add_span_processor(processor)
    kept = KeepsEndedSpans()
    recording = TracerProvider(shutdown_on_exit=False)
    recording.add_span_processor(kept)
    recording.get_tracer(INSTRUMENTATION_SCOPE).start_span("chat").end()
    with caplog.at_level(logging.WARNING, LOGGER):
        for _ in range(2):
            processor.on_call_end(kept.spans[0])
    assert len(caplog.records) == 1
    processor.shutdown()


def test_a_sampler_that_drops_all_spans_is_not_reported_without_another_instrumentation(
    off: TracerProvider, caplog: pytest.LogCaptureFixture
) -> None:
    off.add_span_processor(InfraPrismSpanProcessor(KeepsEvents()))
    with caplog.at_level(logging.WARNING, LOGGER):
        off.force_flush()
        off.shutdown()
    assert not caplog.records


class BrokenSampler(TraceIdRatioBased):
    def get_description(self) -> str:
        raise ValueError


def test_a_sampler_that_cannot_describe_itself_does_not_prevent_a_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = TracerProvider(sampler=BrokenSampler(0), shutdown_on_exit=False)
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    processor = InfraPrismSpanProcessor(KeepsEvents())
    provider.add_span_processor(processor)
    assert processor.force_flush()
    processor.shutdown()
    assert processor.delivery_stats.snapshot()["errors"]["processor.sampler"] == 2


def test_a_disabled_processor_reports_no_sampler(
    off: TracerProvider, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "openinference.instrumentation.langchain", ModuleType("langchain"))
    monkeypatch.setenv("INFRAPRISM_DISABLED", "true")
    off.add_span_processor(InfraPrismSpanProcessor(KeepsEvents()))
    with caplog.at_level(logging.WARNING, LOGGER):
        off.shutdown()
    assert not caplog.records
