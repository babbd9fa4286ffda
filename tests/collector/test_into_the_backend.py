"""End to end: spans of an app, with prompts, through the real collector into the real backend."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, set_span_in_context
from tests.kit.backend import KEY, Backend
from tests.kit.collector import Collector, eventually
from tests.kit.otlp_canaries import export_request as otlp
from tests.kit.otlp_canaries import span
from tests.kit.search import files, find_canaries

from infraprism.backend.ingest.receiver import MAX_BODY_BYTES
from infraprism.schema import fields

CANARY = "canary-9b21-the-patient"
SECRETS = [CANARY, "secret-service-name", "sk-proj-KEYCANARY"]
SEMCONV = "opentelemetry.instrumentation.openai_v2"
OPENINFERENCE = "openinference.instrumentation.anthropic"
LANGCHAIN = "openinference.instrumentation.langchain"
SERVICE = {
    "service.name": "secret-service-name",
    "infraprism.entity_type": "team",
    "infraprism.entity_id": "search",
    "infraprism.tags.env": "prod",
}
_CONTENT = {"gen_ai.input.messages": f'[{{"content": "{CANARY}"}}]', "gen_ai.output.messages": CANARY}
_VALUES = {"input.value": CANARY, "output.value": CANARY, "llm.input_messages.0.message.content": CANARY}
CHAT: dict[str, Any] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o-mini",
    "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
    "gen_ai.response.id": "chatcmpl-1",
    "gen_ai.usage.input_tokens": 1000,
    "gen_ai.usage.output_tokens": 500,
    "gen_ai.usage.cache_read.input_tokens": 400,
    "server.address": "api.openai.com",
    "authorization": "Bearer sk-proj-KEYCANARY",
    **_CONTENT,
}
CLAUDE: dict[str, Any] = {
    "openinference.span.kind": "LLM",
    "llm.provider": "anthropic",
    "llm.model_name": "claude-sonnet-4-5-20250929",
    "llm.token_count.prompt": 2000,
    "llm.token_count.completion": 100,
    "session.id": CANARY,
    "infraprism.entity_type": "customer",
    "infraprism.entity_id": "acme-corp",
    "infraprism.session_id": "s-1",
    "infraprism.tags.feature": "chatbot",
    **_VALUES,
}
ENCLOSING: dict[str, Any] = {
    "openinference.span.kind": "LLM",
    "llm.provider": "openai",
    "llm.model_name": "gpt-4o-mini",
    "llm.token_count.prompt": 1000,
    "llm.token_count.completion": 500,
    **_VALUES,
}
_MS = 1_000_000
_START_NS = 1_790_000_000_000_000_000
CALLS = 40


def _app(exporter: SpanExporter) -> None:
    """What an instrumented app does: agents around calls, a call seen twice, one that fails."""
    provider = TracerProvider(resource=Resource(SERVICE), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))

    ends: dict[int, int] = {}

    def make(scope: str, attributes: dict[str, Any], at: int, parent: Span | None = None, ms: int = 1200) -> Span:
        context = None if parent is None else set_span_in_context(parent)
        made = provider.get_tracer(scope, schema_url="https://opentelemetry.io/schemas/1.30.0").start_span(
            f"chat {CANARY}", context, SpanKind.CLIENT, attributes, start_time=_START_NS + at * _MS
        )
        ends[made.get_span_context().span_id] = _START_NS + (at + ms) * _MS
        return made

    def end(made: Span) -> None:
        made.end(ends[made.get_span_context().span_id])

    for number in range(CALLS):
        at = number * 10_000
        agent = make(SEMCONV, {"gen_ai.operation.name": "invoke_agent", **_CONTENT}, at, ms=5000)
        chat = make(SEMCONV, CHAT, at + 10, agent)
        chat.add_event("gen_ai.content.prompt", {"gen_ai.prompt": CANARY})
        end(chat)
        enclosing = make(LANGCHAIN, ENCLOSING, at + 2000, agent, ms=1300)
        inner = make(SEMCONV, {**CHAT, "gen_ai.response.id": f"chatcmpl-{number}"}, at + 2010, enclosing)
        end(inner)
        end(enclosing)
        claude = make(OPENINFERENCE, CLAUDE, at + 4000, ms=700)
        end(claude)
        end(agent)
    failed = make(SEMCONV, {k: v for k, v in CHAT.items() if "usage" not in k and "response" not in k}, 900_000)
    failed.record_exception(ValueError(CANARY))
    failed.set_attribute("error.type", "openai.RateLimitError")
    failed.set_status(Status(StatusCode.ERROR, f"Error code: 429 - {{'message': '{CANARY}'}}"))
    end(failed)
    assert provider.force_flush()
    provider.shutdown()


@dataclass(frozen=True)
class Arrived:
    """Events, files and logs of one run of the app."""

    events: list[dict[str, Any]]
    folder: Path
    logs: str


@pytest.fixture(scope="module", params=["http", "grpc"])
def arrived(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Arrived:
    """The app's run, once for each protocol that an SDK sends by."""
    folder = tmp_path_factory.mktemp("end-to-end")
    with Backend(folder / "data", key=KEY) as backend:
        collector = Collector(folder / "collector", backend.url)
        collector.environment["INFRAPRISM_API_KEY"] = KEY
        with collector:
            if request.param == "http":
                _app(HttpExporter(endpoint=f"http://127.0.0.1:{collector.http_port}/v1/traces"))
            else:
                _app(GrpcExporter(endpoint=f"http://127.0.0.1:{collector.grpc_port}", insecure=True))
            assert eventually(lambda: len(backend.events()) >= 3 * CALLS + 1, timeout_s=60), len(backend.events())
            assert eventually(lambda: collector.metric("otelcol_exporter_queue_size") == 0)
            assert collector.metric("otelcol_exporter_send_failed_spans") == 0
        found = backend.events()
        status, errors = backend.stop()
        assert status == 0
    return Arrived(found, folder, collector.log() + errors + "\n".join(backend.lines))


def _reported(event: dict[str, Any]) -> tuple[Any, ...]:
    names = ("provider", "model", "input_tokens", "output_tokens", "latency_ms", "success", "error_type", "error_code")
    cost = None if event["cost_usd"] is None else Decimal(str(event["cost_usd"]))
    return (*(event[name] for name in names), cost, event["cost_status"])


def test_every_call_is_one_event_with_its_tokens_its_latency_and_its_cost(arrived: Arrived) -> None:
    mini = ("openai", "gpt-4o-mini-2024-07-18", 1000, 500, 1200, True, None, None, Decimal("0.00042"), "priced")
    claude = ("anthropic", "claude-sonnet-4-5-20250929", 2000, 100, 700, True, None, None, Decimal("0.0075"), "priced")
    failed = ("openai", "gpt-4o-mini", None, None, 1200, False, "rate_limit", "429", None, "no_usage")
    assert Counter(map(_reported, arrived.events)) == Counter({mini: 2 * CALLS, claude: CALLS, failed: 1})


def test_every_call_has_the_attribution_of_its_span_or_else_its_service(arrived: Arrived) -> None:
    attribution = Counter(
        (event["provider"], event["entity_type"], event["entity_id"], event["session_id"], tuple(event["tags"].items()))
        for event in arrived.events
    )
    assert attribution == Counter(
        {
            ("openai", "team", "search", None, (("env", "prod"),)): 2 * CALLS + 1,
            ("anthropic", "customer", "acme-corp", "s-1", (("env", "prod"), ("feature", "chatbot"))): CALLS,
        }
    )


def test_no_prompt_is_in_any_file_or_log_behind_the_app(arrived: Arrived) -> None:
    held = {str(path): data for path, data in files(arrived.folder)}
    assert any(find_canaries(["acme-corp"], data) for data in held.values()), "what may be stored is found"
    assert {path: found for path, data in held.items() if (found := find_canaries(SECRETS, data))} == {}
    assert find_canaries(SECRETS, arrived.logs.encode()) == []


def test_calls_with_as_many_and_as_long_tags_as_there_may_be_arrive_however_many_are_sent_at_once(
    tmp_path: Path,
) -> None:
    tags = {f"infraprism.tags.t{number}": "x" * 256 for number in range(fields.MAX_TAGS)}
    request = otlp([span({**CHAT, **tags, "gen_ai.response.id": f"chatcmpl-{number}"}) for number in range(2000)])
    assert request.ByteSize() > MAX_BODY_BYTES, "more than the backend takes at once"
    with Backend(tmp_path / "data", key=KEY) as backend:
        collector = Collector(tmp_path / "collector", backend.url)
        collector.environment["INFRAPRISM_API_KEY"] = KEY
        with collector:
            assert collector.send(request)[0]
            stored = lambda: _number(backend)  # noqa: E731
            assert eventually(lambda: stored() >= 2000, timeout_s=60), stored()
            assert collector.metric("otelcol_exporter_send_failed_spans") == 0
        assert stored() == 2000


def _number(backend: Backend) -> int:
    """How many events there are."""
    answer = backend.get("/v1/analytics/costs", start_date="2026-09-01", end_date="2026-10-31")
    number: int = answer.json["summary"]["total_events"]
    return number
