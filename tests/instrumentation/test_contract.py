"""Each call is one exact span, for every way to make a call."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pydantic
import pytest
from opentelemetry.trace import SpanKind, StatusCode
from tests.kit.client_calls import WAYS, Way, client, used
from tests.kit.provider import CANARY
from tests.kit.recorded_spans import RecordedSpans

from infraprism.local_provider import LocalProvider

SIDES = pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
ALL_WAYS = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name.replace(" ", "_"))
MODELS = {"openai": "gpt-4o-mini", "anthropic": "claude-haiku-4-5"}
USAGE_KEYS = {
    "input_tokens": "gen_ai.usage.input_tokens",
    "output_tokens": "gen_ai.usage.output_tokens",
    "cache_read_tokens": "gen_ai.usage.cache_read.input_tokens",
    "cache_write_tokens": "gen_ai.usage.cache_write.input_tokens",
    "cache_write_1h_tokens": "anthropic.usage.cache_creation.ephemeral_1h_input_tokens",
    "reasoning_tokens": "gen_ai.usage.reasoning.output_tokens",
    "audio_input_tokens": "gen_ai.usage.audio.input_tokens",
    "audio_output_tokens": "gen_ai.usage.audio.output_tokens",
    "web_searches": "infraprism.usage.web_searches",
}
OPERATIONS = {"chat": "chat", "responses": "chat", "completion": "text_completion", "embeddings": "embeddings"}


@SIDES
@ALL_WAYS
@pytest.mark.parametrize("marker", ["-cached", "-no-usage"])
def test_a_successful_call_is_one_exact_span(
    way: Way, asynchronous: bool, marker: str, provider: LocalProvider, recorded: RecordedSpans
) -> None:
    model = MODELS[way.package] + marker

    async def run() -> None:
        async with used(client(way.package, provider, asynchronous=asynchronous)) as opened:
            with suppress(TypeError, AttributeError, pydantic.ValidationError):  # of helpers that require the usage
                await way.run(opened, model)

    asyncio.run(run())
    span, (record,) = recorded.only(), provider.calls
    attributes = dict(span.attributes or {})

    assert span.kind is SpanKind.CLIENT
    assert span.status.status_code is StatusCode.UNSET
    assert span.name == f"{OPERATIONS[way.operation]} {model}"
    assert attributes["gen_ai.operation.name"] == OPERATIONS[way.operation]
    assert attributes["gen_ai.request.model"] == model
    assert attributes["gen_ai.provider.name"] == way.package
    assert (attributes["server.address"], attributes["server.port"]) == ("127.0.0.1", provider.port)
    assert attributes.get("gen_ai.request.stream", False) == way.streamed == record.streamed
    assert attributes.get("gen_ai.response.model") == record.response_model
    if way.operation != "embeddings":
        assert attributes.get("gen_ai.response.id") == record.response_id
    reported = record.reported._asdict() if record.reported else {}
    for bucket, key in USAGE_KEYS.items():
        assert attributes.get(key) == reported.get(bucket), bucket
    assert (record.reported is not None) == (way.reports_usage and marker != "-no-usage")
    if way.sees_chunks:
        first_chunk = attributes["gen_ai.response.time_to_first_chunk"]
        assert 0 < first_chunk <= (span.end_time - span.start_time) / 1e9
    assert CANARY not in span.to_json()
    assert not span.events
    assert not span.links
