"""The real collector and the real backend, killed again and again with the queue full: each call is stored once."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from tests.kit.backend import KEY, Backend
from tests.kit.collector import Collector, Config, eventually
from tests.kit.otlp_canaries import export_request, span
from tests.kit.ports import free_port

from infraprism.schema.event import event_id

SEMCONV = "opentelemetry.instrumentation.openai_v2"
LANGCHAIN = "openinference.instrumentation.langchain"
CHAT: dict[str, Any] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o-mini",
    "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
    "gen_ai.usage.input_tokens": 1000,
    "gen_ai.usage.output_tokens": 500,
}
ENCLOSING: dict[str, Any] = {
    "openinference.span.kind": "LLM",
    "llm.provider": "openai",
    "llm.model_name": "gpt-4o-mini",
    "llm.token_count.prompt": 1000,
    "llm.token_count.completion": 500,
}
APPS = 12
CALLS_PER_APP = 40
# Small batches: many requests are under way, and the spans of one call are cut apart in other ways after each start.
SMALL: Config = {
    "exporters": {
        "otlp_http/infraprism": {
            "timeout": "5s",
            "sending_queue": {"batch": {"flush_timeout": "20ms", "min_size": 1, "max_size": 6000}},
            "retry_on_failure": {"initial_interval": "50ms", "max_interval": "500ms"},
        }
    }
}
_MS = 1_000_000


def _calls(number: int) -> Iterator[tuple[Span, Span | None]]:
    """The calls of one app: every second one is reported by a enclosing span of a framework as well."""
    for at in range(CALLS_PER_APP):
        inner = span(CHAT)
        inner.start_time_unix_nano += (number * CALLS_PER_APP + at) * 3000 * _MS
        inner.end_time_unix_nano = inner.start_time_unix_nano + 700 * _MS
        if at % 2:
            yield inner, None
            continue
        outer = span(ENCLOSING)
        outer.trace_id, inner.parent_span_id = inner.trace_id, outer.span_id
        outer.start_time_unix_nano = inner.start_time_unix_nano - _MS
        outer.end_time_unix_nano = inner.end_time_unix_nano + _MS
        yield inner, outer


def _requests() -> tuple[list[ExportTraceServiceRequest], list[set[str]]]:
    """What the apps send, and for each call the ids that its event may have: its inner span's or its outer's."""
    requests, calls = [], []
    for number in range(APPS):
        made = list(_calls(number))
        # The frameworks' spans leave with the next batch: they reach the collector apart.
        requests.append(export_request([inner for inner, _ in made], SEMCONV))
        requests.append(export_request([outer for _, outer in made if outer is not None], LANGCHAIN))
        calls += [{_id(one) for one in pair if one is not None} for pair in made]
    return requests, calls


def _spans(request: ExportTraceServiceRequest) -> list[Span]:
    return [one for whole in request.resource_spans for scoped in whole.scope_spans for one in scoped.spans]


def _id(one: Span) -> str:
    return event_id(int.from_bytes(one.trace_id, "big"), int.from_bytes(one.span_id, "big"))


def _stored(backend: Backend) -> Counter[str]:
    """How many rows there are of each event."""
    return Counter(event["id"] for event in backend.events())


def test_backend_and_collector_killed_with_the_queue_full_store_every_accepted_call_exactly_once(
    tmp_path: Path,
) -> None:
    port = free_port()
    collector = Collector(tmp_path / "collector", f"http://127.0.0.1:{port}", overlay=SMALL)
    collector.environment["INFRAPRISM_API_KEY"] = KEY
    requests, calls = _requests()
    collector.start()
    for place, request in enumerate(requests):  # no backend: all of it is queued
        assert collector.send(request)[0]
        if place == len(requests) // 2:
            collector.kill()
            collector.start()
    choose = random.Random(11)
    for number in range(6):
        backend = Backend(tmp_path / "data", key=KEY, port=port)
        # While it receives requests, while it holds them for deduplication, while it stores and answers them.
        time.sleep(choose.uniform(0.1, 2.5))
        if number % 2:
            collector.kill()
            backend.stop(signal.SIGKILL)
            collector.start()
        else:
            backend.stop(signal.SIGKILL)
    with Backend(tmp_path / "data", key=KEY, port=port) as backend:
        assert eventually(lambda: collector.metric("otelcol_exporter_queue_size") == 0, timeout_s=120)
        assert eventually(lambda: sum(_stored(backend).values()) >= len(calls), timeout_s=60)
        sent = collector.metric("otelcol_exporter_sent_spans")
        for request in requests:  # as apps do that got no answer
            assert collector.send(request)[0]
        again = sum(len(_spans(request)) for request in requests)
        assert eventually(lambda: collector.metric("otelcol_exporter_sent_spans") >= sent + again, timeout_s=120)
        collector.stop()
        found = _stored(backend)
    assert set(found.values()) == {1}
    unstored = [ids for ids in calls if not ids & found.keys()]
    doubled = [ids for ids in calls if len(ids & found.keys()) > 1]
    assert (unstored, doubled) == ([], [])
    assert sum(found.values()) == len(calls)
