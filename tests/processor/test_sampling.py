"""A sampler that drops spans of other instrumentations is reported; one that records them costs no event."""

from __future__ import annotations

import logging

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_ON,
    DEFAULT_ON,
    AlwaysRecordSampler,
    ParentBased,
    Sampler,
    TraceIdRatioBased,
)
from tests.kit.spans import KeepsEvents, KeepsSpans, call

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
