"""One collector with the committed configuration for all tests that need no special one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans
from tests.kit.collector import Collector, Config, eventually
from tests.kit.otlp_canaries import export_request, span
from tests.kit.otlp_sink import OtlpSink

CALL = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o-mini",
    "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
    "gen_ai.usage.input_tokens": 111,
    "gen_ai.usage.output_tokens": 37,
}
# One sender and short waits: what was accepted first arrives first, and soon.
QUICK: Config = {
    "exporters": {
        "otlp_http/infraprism": {
            "sending_queue": {"num_consumers": 1, "batch": {"flush_timeout": "50ms", "min_size": 1}},
            "retry_on_failure": {"initial_interval": "50ms", "max_interval": "200ms"},
        }
    }
}


@dataclass(frozen=True)
class Route:
    """A collector and the backend behind it."""

    collector: Collector
    sink: OtlpSink

    def through(
        self, *requests: ExportTraceServiceRequest | bytes, protocol: str = "http/protobuf"
    ) -> list[ScopeSpans]:
        """What comes out of these requests: groups of spans of one scope, in the order of arrival."""
        before = len(self.sink.requests)
        for request in requests:
            if isinstance(request, bytes):
                taken, answer = self.collector.post("/v1/traces", request, "application/x-protobuf")
            else:
                taken, answer = self.collector.send(request, protocol)
            assert taken, answer
        last = span(CALL)
        assert self.collector.send(export_request([last]))[0]
        assert eventually(
            lambda: any(s.span_id == last.span_id for r in self.sink.requests[before:] for s in r.spans())
        )
        groups = [
            group
            for arrived in self.sink.requests[before:]
            for whole in ExportTraceServiceRequest.FromString(arrived.body).resource_spans
            for group in whole.scope_spans
        ]
        for group in groups:
            kept = [one for one in group.spans if one.span_id != last.span_id]
            del group.spans[:]
            group.spans.extend(kept)
        return [group for group in groups if group.spans]


@pytest.fixture(scope="session")
def route(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Route]:
    with OtlpSink() as sink, Collector(tmp_path_factory.mktemp("collector"), sink.endpoint, overlay=QUICK) as collector:
        yield Route(collector, sink)
