"""Spans with unusual values, which the cleaning tests send through the Collector and through the process."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from tests.collector.conftest import CALL
from tests.kit.error_texts import CLASSIFIED, UNCLASSIFIED
from tests.kit.otlp_canaries import pairs, span

from infraprism.dialects.values import TIERS
from infraprism.providers import detection, error_names


def _errors() -> Iterator[dict[str, Any]]:
    names_of_errors = {
        *error_names.CODES,
        *(end for end, _ in error_names.CLASSES),
        "_OTHER",
        "429",
        "503",
        "200",
        "timeout",
    }
    for name in sorted(names_of_errors):
        yield {"error.type": name}
        yield {"error.type": f"some_client.errors.{name.title().replace('_', '')}Error"}
        yield {"error.type": f"{name.upper()}_Exception"}
    yield from (
        {"http.response.status_code": status, "error.type": "openai.APIStatusError"} for status in (200, 429, 599)
    )
    yield {"http.status_code": "503", "error.type": "Some Text That Is No Name"}


CLAUDE = {"gen_ai.provider.name": "anthropic", "gen_ai.response.model": "claude-opus-4-6"}


def _values() -> Iterator[dict[str, Any]]:
    for hint in sorted(
        {*detection.SPELLINGS, "openai.chat", "OpenAI", " azure ", "my-gateway.chat", "google.vertex.chat", ""}
    ):
        yield {"gen_ai.provider.name": hint}
        yield {"gen_ai.system": hint, "gen_ai.provider.name": None}
    for host in sorted(detection.HOSTS):
        yield {"server.address": f"my-resource.{host}"}
        yield {"server.address": f"https://user@{host.upper()}:443/v1/chat?key=1"}
    for host in (
        "127.0.0.1",
        "llm.corp.example",
        "notopenai.com",
        "openai.com.evil.example",
        "bedrock-runtime.us-east-1.amazonaws.com",
        "us-central1-aiplatform.googleapis.com",
        "api.openai.com.",
    ):
        yield {"server.address": host}
    for host, model in (
        ("eu.api.openai.com", "gpt-5.4"),
        ("https://AE.api.openai.com:443/v1", "gpt-5.4"),
        ("xx.api.openai.com", "gpt-5.4"),
        ("europe-west1-aiplatform.googleapis.com", "claude-sonnet-4-5@20250929"),
        ("aiplatform.eu.rep.googleapis.com", "gemini-3.5-flash"),
        ("aiplatform.googleapis.com", "gemini-3.5-flash"),
        ("bedrock-runtime.us-gov-west-1.amazonaws.com", "anthropic.claude-sonnet-4-5-20250929-v1:0"),
        ("bedrock-runtime.eu-central-1.amazonaws.com", "mistral.mistral-large-2402-v1:0"),
        ("bedrock-runtime.eu-west-3.amazonaws.com", "mistral.mistral-large-2402-v1:0"),
        ("bedrock-runtime.us-east-1.amazonaws.com", "mistral.mistral-large-2402-v1:0"),
        ("vpce-1.bedrock-runtime.eu-north-1.vpce.amazonaws.com", "eu.amazon.nova-lite-v1:0"),
        ("bedrock-runtime.eu-central-1.amazonaws.com", "eu.anthropic.claude-sonnet-4-6"),
        ("my-resource.openai.azure.us", "gpt-4o"),
        ("api.eu.mistral.ai", "mistral-large-latest"),
        ("api.mistral.ai", "mistral-large-latest"),
        ("api.jp.mistral.ai", "mistral-large-latest"),
    ):
        yield {"server.address": host, "gen_ai.response.model": model}
    for modifier in ("us", "Global", "not_available", "standard", "fast", "eu", "some text", ""):
        yield {"infraprism.usage.inference_geo": modifier, **CLAUDE}
        yield {"infraprism.usage.speed": modifier, **CLAUDE}
    for parts in ("_/11:7:0:0:0//claude-opus-4-6/100:30:0:0:0", "_/11:7:0:0:0", "x" * 200):
        yield {"infraprism.usage.parts": parts, **CLAUDE}
    turn = {"type": "message", "input_tokens": 11, "output_tokens": 7}
    for usage in (
        {"inference_geo": "us", "speed": "fast"},
        {"inference_geo": "mars"},
        {"iterations": [turn]},
        {"iterations": [{**turn, "type": "compaction"}, turn]},
        {"server_tool_use": {"web_search_requests": 2, "code_execution_requests": 1}},
        {"some_new_tokens": 7},
        {"some_new_tokens": 0, "some_new_text": "7", "some_new_flag": True, "some_new_list": [{"tokens": 7}]},
        {"some_new": {"tokens": 0.5}},
        {"cache_creation": {"ephemeral_9d_input_tokens": 3}},
        {"cache_creation": {"ephemeral_1h_input_tokens": 3, "ephemeral_5m_input_tokens": 2}},
        {"cost_details": {"upstream_inference_cost": 1.5}, "video_tokens": 3, "total_time": 0.25},
        {"input_tokens_details": {"cached_tokens": 2, "text_tokens": 9}, "output_tokens_details": {"new_tokens": 1}},
    ):
        yield {
            "langfuse.observation.type": "generation",
            "langfuse.observation.model.name": "claude-opus-4-6",
            "langfuse.observation.usage_details": json.dumps({**turn, **usage}),
        }
    for unpriced in (True, False, 3, "3", "0", None):
        yield {"infraprism.usage.unpriced": unpriced}
    for tier in sorted({*TIERS, "scale", "Default"}):
        yield {"openai.response.service_tier": tier}
    yield from _numbers()
    yield from _attributions()


def _numbers() -> Iterator[dict[str, Any]]:
    for number in (0, 1, 12.0, 12.5, "12", "0012", "twelve", 10**12, 10**12 + 1, -1, True, float("nan"), None, [1]):
        yield {"gen_ai.usage.input_tokens": number}
        yield {"gen_ai.usage.cache_read.input_tokens": number}
        yield {"gen_ai.response.time_to_first_chunk": number}
        yield {"http.response.status_code": number, "error.type": "x"}
        yield {"infraprism.reported_cost_usd": number}
        yield {"infraprism.reported_cost_usd": number, "gen_ai.response.time_to_first_chunk": float("nan")}
    for cost in ("0.00012", "1e-05", "1E-5", "-1", "NaN", "0." + "0" * 19 + "1"):
        yield {"infraprism.reported_cost_usd": cost}
    for flag in (True, False, "True", "false", "yes", 1):
        yield {"gen_ai.request.stream": flag}
    for model in (
        *("gpt-4o", "x" * 128, "x" * 129, "a model", "Models/x@1+2", "", 5),
        *("@cf/meta/llama-3.1-8b-instruct", "~moonshotai/kimi-latest", "/models/llama", "llama#2", "a~b", "@ you"),
    ):
        yield {"gen_ai.response.model": model}
        yield {"gen_ai.request.model": model, "gen_ai.response.model": None}
    for operation in ("chat", "generate_content", "text_completion", "embeddings", "invoke_agent", "", 7, None):
        yield {"gen_ai.operation.name": operation}
        yield {"gen_ai.operation.name": operation, "gen_ai.usage.prompt_tokens": 5}


def _attributions() -> Iterator[dict[str, Any]]:
    for value in (
        "acme",
        "a\nb",
        "x" * 256,
        "x" * 257,
        "",
        1.5,
        -12,
        "Ünïcödé 客户",
        "zero\u200bwidth",
        None,
        "नमस्\u200cते",
        "👩\u200d💻",
    ):
        yield {"infraprism.entity_type": "customer", "infraprism.entity_id": value}
        yield {"infraprism.session_id": value}
        yield {"infraprism.tags.key": value, "infraprism.tags.other": "1"}
        yield {"infraprism.tags." + str(value): "1"}
    yield {"infraprism.entity_type": "cat", "infraprism.entity_id": "tom"}
    yield {"infraprism.entity_id": "alone"}
    yield {"infraprism.tags.Team": "search", "infraprism.tags.ENV": "prod", "infraprism.tags.TEAM NAME": "x"}


def variations() -> Iterator[Span]:
    for change in (*_values(), *_errors()):
        yield span({key: value for key, value in {**CALL, **change}.items() if value is not None})
    for message in (
        "Error code: 429 - {'error': 'a prompt'}",
        "openai.RateLimitError: Error code: 429 - text",
        "Error code: 4299",
        "Error code: 200 - fine",
        "429 Error code:",
        "no code",
        "x" * 195 + " Error code: 500",
        "line\nError code: 503",
        *CLASSIFIED,
        *UNCLASSIFIED,
    ):
        for code in (Status.STATUS_CODE_ERROR, Status.STATUS_CODE_OK, Status.STATUS_CODE_UNSET):
            yield span(CALL, status=Status(code=code, message=message))
    for message in (*CLASSIFIED, *UNCLASSIFIED, "429"):
        generation = {"langfuse.observation.type": "generation", "langfuse.observation.model.name": "gpt-4o-mini"}
        yield span(
            {**generation, "langfuse.observation.level": "ERROR", "langfuse.observation.status_message": message}
        )
    for kinds in (
        ["openai.RateLimitError"],
        ["ValueError", "x.APITimeoutError"],
        ["TimeoutError", "ValueError"],
        ["?"],
    ):
        for code in (Status.STATUS_CODE_ERROR, Status.STATUS_CODE_UNSET):
            failed = span(CALL, status=Status(code=code))
            for kind in kinds:
                failed.events.add(name="exception").attributes.extend(pairs({"exception.type": kind}))
            yield failed
    for message in ("Error code: 429 - a prompt", "a prompt"):
        failed = span(CALL, status=Status(code=Status.STATUS_CODE_ERROR))
        for text in (message, "Error code: 400 - a prompt"):
            failed.events.add(name="exception").attributes.extend(pairs({"exception.message": text}))
        yield failed


def mixed(count: int, seed: int) -> Iterator[Span]:
    """Spans with several odd values at once."""
    choose = random.Random(seed)
    changes = [*_values(), *_errors()]
    for _ in range(count):
        made: dict[str, Any] = dict(CALL)
        for change in choose.sample(changes, 4):
            made.update(change)
        items = [item for item in made.items() if item[1] is not None]
        choose.shuffle(items)
        yield span(dict(items))
