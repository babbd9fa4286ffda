"""Only events are sent. Neither the log nor the requests contain content or keys."""

from __future__ import annotations

import gzip
import logging
import re

import pytest
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from tests.exporter.conftest import Make
from tests.kit.events import events
from tests.kit.otlp_sink import OtlpSink, Reply

from infraprism.attribution import scope as attribution_scope
from infraprism.attribution.span_start_context import AttributionRecorder
from infraprism.processor import InfraPrismSpanProcessor

CANARY = "CANARY-7f3a"


def test_content_in_any_part_of_a_span_is_not_sent(sink: OtlpSink, make: Make) -> None:
    exporter = make(sink.endpoint)
    provider = TracerProvider(resource=Resource({"service.name": CANARY, "host.name": CANARY}))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer(CANARY, CANARY, attributes={"x": CANARY})
    call = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.usage.input_tokens": 5,
        "gen_ai.usage.output_tokens": 7,
    }
    content = {
        "gen_ai.input.messages": CANARY,
        "gen_ai.output.messages": CANARY,
        "gen_ai.system_instructions": CANARY,
        "gen_ai.prompt.variable.name": CANARY,
        "gen_ai.prompt.0.content": CANARY,
        "input.value": CANARY,
        "traceloop.entity.input": CANARY,
        "infraprism.unknown": CANARY,
        "error.type": f"{CANARY} is wrong",
        "http.request.header.authorization": CANARY,
    }
    linked = trace.Link(trace.SpanContext(1, 1, is_remote=True), {"y": CANARY})
    with tracer.start_as_current_span(f"chat {CANARY}", attributes={**call, **content}, links=[linked]) as span:
        span.add_event("gen_ai.user.message", {"content": CANARY})
        span.record_exception(ValueError(CANARY))
        span.set_status(trace.Status(trace.StatusCode.ERROR, CANARY))
    with tracer.start_as_current_span("GET /", attributes={"url.full": CANARY}):
        pass
    provider.shutdown()
    assert len(sink.spans()) == 1
    assert b"infraprism.model" in sink.seen()
    assert CANARY.encode() not in sink.seen()


def test_the_processor_passes_its_events_to_the_exporter(sink: OtlpSink, make: Make) -> None:
    exporter = make(sink.endpoint)
    provider = TracerProvider()
    provider.add_span_processor(InfraPrismSpanProcessor(exporter))
    call = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.usage.input_tokens": 5,
        "gen_ai.input.messages": CANARY,
    }
    with provider.get_tracer("app").start_as_current_span("chat", attributes=call) as span:
        identity = span.get_span_context()
    assert provider.force_flush(5000)
    [sent] = sink.spans()
    assert int.from_bytes(sent.span_id, "big") == identity.span_id
    provider.shutdown()
    assert exporter.delivery_stats.snapshot()["delivered"] == {"ok": 1}
    assert CANARY.encode() not in sink.seen()


def test_a_span_that_is_not_an_llm_call_is_neither_sent_nor_counted(sink: OtlpSink, make: Make) -> None:
    exporter = make(sink.endpoint)
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with provider.get_tracer("app").start_as_current_span("work"):
        pass
    provider.shutdown()
    assert sink.requests == []
    assert exporter.delivery_stats.accepted == 0


def test_an_exporter_without_the_processor_gets_attributions_from_the_recorder(sink: OtlpSink, make: Make) -> None:
    exporter = make(sink.endpoint)
    provider = TracerProvider()
    provider.add_span_processor(AttributionRecorder())
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    call = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o", "gen_ai.usage.input_tokens": 5}
    with attribution_scope.attribution(customer="acme-corp"):
        provider.get_tracer("app").start_span("chat gpt-4o", attributes=call).end()
    provider.shutdown()
    [span] = sink.spans()
    assert {p.key: p.value.string_value for p in span.attributes}["infraprism.entity_id"] == "acme-corp"


@pytest.mark.usefixtures("short_waits")
def test_the_log_contains_no_key_no_header_and_no_text_of_the_endpoint(
    sink: OtlpSink, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    sink.answer_with(
        Reply(status=503, message=CANARY),
        Reply(status=500, message=CANARY),
        Reply(body=CANARY.encode()),
        Reply(reset=True),
        Reply(rejected=1, message=CANARY),
        Reply(status=400, message=CANARY),
        Reply(status=401, message=CANARY),
    )
    exporter = make(sink.endpoint, headers={"x-token": "hunter2"})
    for first in range(1, 40, 10):
        exporter.export_events(events(10, first=first))
        exporter.force_flush(5000)
    exporter.shutdown()
    assert len(sink.requests) >= 7
    logged = "\n".join(f"{record.getMessage()} {record.args} {record.exc_info}" for record in caplog.records)
    ours = [record for record in caplog.records if record.name == "infraprism.exporter"]
    assert ours
    for secret in (CANARY, "ip-secret-key", "hunter2", "acme-corp"):
        assert secret not in logged


@pytest.mark.usefixtures("short_waits")
def test_each_kind_of_failure_is_logged_at_most_once_a_minute(
    sink: OtlpSink, make: Make, caplog: pytest.LogCaptureFixture, protocol: str
) -> None:
    sink.answer_with(*[Reply(status=503)] * 5, *[Reply(status=401)] * 3)
    exporter = make(sink.endpoint)
    for first in range(1, 40, 10):
        exporter.export_events(events(10, first=first))
        exporter.force_flush(5000)
    texts = [record.getMessage() for record in caplog.records]
    assert len(texts) == 2
    assert re.search(r"localhost:\d+: export failed; 10 events queued for retry", texts[0])
    assert "10 events were rejected" in texts[1]
    assert "check INFRAPRISM_API_KEY" in texts[1]


def test_compression_can_be_disabled(sink: OtlpSink, make: Make, protocol: str) -> None:
    for compression in ("gzip", "none"):
        exporter = make(sink.endpoint, compression=compression)
        exporter.export_events(events(50))
        assert exporter.force_flush(5000)
    if protocol == "http/protobuf":
        packed, plain = sink.requests
        assert packed.headers["content-encoding"] == "gzip"
        assert gzip.decompress(packed.raw) == plain.raw
        assert "content-encoding" not in plain.headers
