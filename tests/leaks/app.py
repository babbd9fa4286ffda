"""An application that puts a canary into every field that can contain content, and calls both client packages.

Run as `python app.py ROUTE`. ROUTE is how InfraPrism is installed: `processor`, `exporter`, `zero_code` (then it runs
under opentelemetry-instrument and does not import InfraPrism) or `without`.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import anthropic
import openai
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SimpleSpanProcessor
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
)

# It has characters that no identifier may have, so no field for identifiers accepts it.
CANARY = "CANARY content: the patient's name"
# For fields in which a client package accepts only a token (header names, trace state).
WORD = "CANARYWORD"

MESSAGES: list[Any] = [
    {"role": "system", "content": f"{CANARY} system"},
    {"role": "user", "content": f"{CANARY} user", "name": WORD},
]
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "description": CANARY}},
    "additionalProperties": False,
    "required": ["city"],
}
TOOLS: list[Any] = [
    {"type": "function", "function": {"name": WORD, "description": CANARY, "parameters": SCHEMA, "strict": True}}
]
EXTRA: dict[str, Any] = {
    "extra_headers": {f"X-{WORD}": CANARY},
    "extra_query": {WORD: CANARY},
    "extra_body": {"note": CANARY},
}
CHAT: dict[str, Any] = {
    "messages": MESSAGES,
    "tools": TOOLS,
    "stop": [CANARY],
    "user": CANARY,
    "metadata": {"note": CANARY},
    "safety_identifier": CANARY,
    **EXTRA,
}
MESSAGE: dict[str, Any] = {
    "max_tokens": 100,
    "system": f"{CANARY} system",
    "messages": [{"role": "user", "content": f"{CANARY} user"}],
    "tools": [{"name": WORD, "description": CANARY, "input_schema": SCHEMA}],
    "stop_sequences": [CANARY],
    "metadata": {"user_id": CANARY},
    **EXTRA,
}
KNOWN_KEYS = (
    "gen_ai.provider.name",
    "gen_ai.request.model",
    "gen_ai.response.model",
    "gen_ai.response.id",
    "gen_ai.usage.input_tokens",
    "error.type",
    "server.address",
    "infraprism.entity_type",
    "infraprism.usage.web_searches",
    "infraprism.reported_cost_usd",
    "openai.response.service_tier",
    "http.response.status_code",
)
FAILING = ("err400", "err401", "err403", "err404", "err429", "err500", "context-length", "content-filter")


def ignore_errors(call: Callable[[], Any]) -> None:
    """The application handles its errors."""
    with suppress(Exception):  # also errors of the HTTP library when a connection is closed
        call()


def call_openai(client: openai.OpenAI) -> None:
    chat, responses = client.chat.completions, client.responses
    chat.create(model="gpt-4o-cached", **CHAT)
    list(chat.create(model="gpt-4o", stream=True, stream_options={"include_usage": True}, **CHAT))
    list(chat.create(model="gpt-4o", stream=True, **CHAT))
    with chat.stream(model="gpt-4o", stream_options={"include_usage": True}, **CHAT) as stream:
        list(stream)
    chat.parse(model="gpt-4o", **{**CHAT, "tools": openai.omit})
    chat.with_raw_response.create(model="gpt-4o", **CHAT).parse()
    with chat.with_streaming_response.create(model="gpt-4o", **CHAT) as response:
        response.read()
    responses.create(model="gpt-5-mini", input=CANARY, instructions=CANARY, user=CANARY, **EXTRA)
    list(responses.create(model="gpt-5-mini", input=CANARY, stream=True, **EXTRA))
    client.embeddings.create(model="text-embedding-3-small", input=[CANARY], user=CANARY, **EXTRA)
    chat.create(model=f"gpt-4o {CANARY}", **CHAT)
    for failure in FAILING:
        ignore_errors(lambda failure=failure: chat.create(model=f"gpt-4o-{failure}", **CHAT))
        ignore_errors(lambda failure=failure: responses.create(model=f"gpt-5-{failure}", input=CANARY))
    for failure in ("stream-error", "drop"):
        ignore_errors(lambda failure=failure: list(chat.create(model=f"gpt-4o-{failure}", stream=True, **CHAT)))


def call_anthropic(client: anthropic.Anthropic) -> None:
    messages = client.messages
    messages.create(model="claude-haiku-4-5-cached", **MESSAGE)
    list(messages.create(model="claude-haiku-4-5", stream=True, **MESSAGE))
    with messages.stream(model="claude-haiku-4-5", **MESSAGE) as stream:
        stream.get_final_message()
    messages.with_raw_response.create(model="claude-haiku-4-5", **MESSAGE).parse()
    client.beta.messages.create(model="claude-haiku-4-5", **MESSAGE)
    messages.create(model=f"claude {CANARY}", **MESSAGE)
    for failure in (*FAILING, "err529"):
        ignore_errors(lambda failure=failure: messages.create(model=f"claude-haiku-4-5-{failure}", **MESSAGE))
    for failure in ("stream-error", "drop"):
        ignore_errors(
            lambda failure=failure: list(messages.create(model=f"claude-haiku-4-5-{failure}", stream=True, **MESSAGE))
        )


async def call_async(openai_client: openai.AsyncOpenAI, anthropic_client: anthropic.AsyncAnthropic) -> None:
    await openai_client.chat.completions.create(model="gpt-4o", **CHAT)
    async for _ in await openai_client.chat.completions.create(model="gpt-4o", stream=True, **CHAT):
        pass
    await anthropic_client.messages.create(model="claude-haiku-4-5", **MESSAGE)


def foreign_spans(provider: TracerProvider) -> int:
    """Spans as other instrumentations make them, with a canary in every place a span has; how many are LLM calls."""
    tracer = provider.get_tracer(f"scope {CANARY}", CANARY, f"http://{WORD}/{CANARY}", {"public_key": CANARY})
    trace_state = TraceState([(WORD.lower(), WORD)])
    parent = SpanContext(1 << 100, 1 << 40, is_remote=True, trace_flags=TraceFlags(1), trace_state=trace_state)
    linked = SpanContext(1 << 101, 1 << 41, is_remote=True, trace_state=trace_state)
    values: list[Any] = [CANARY, [CANARY], {"deep": {"deeper": [CANARY]}}, CANARY.encode(), [[CANARY], [1]], None]
    content = {
        "gen_ai.input.messages": values[0],
        "gen_ai.output.messages": values[2],
        "gen_ai.system_instructions": values[3],
        "gen_ai.tool.definitions": values[4],
        "gen_ai.request.stop_sequences": values[1],
        "gen_ai.prompt.variable.name": CANARY,
        "gen_ai.headers": f"Authorization: Bearer {CANARY}",
        "url.full": f"https://example.com/?{WORD}={CANARY}",
        "http.request.header.authorization": [CANARY],
        "infraprism.prompt": CANARY,
        f"infraprism.{WORD}": CANARY,
        f"{WORD}.key": CANARY,
        CANARY: CANARY,
    }
    calls = 0
    for value in values:
        misplaced = dict.fromkeys(KNOWN_KEYS, value)
        span = tracer.start_span(
            f"chat {CANARY}",
            context=trace.set_span_in_context(NonRecordingSpan(parent)),
            kind=SpanKind.CLIENT,
            attributes={"gen_ai.operation.name": "chat", **content, **misplaced},
            links=[Link(linked, {"note": CANARY})],
        )
        span.add_event(CANARY, {"exception.message": CANARY, "exception.type": CANARY, "deep": values[2]})
        span.record_exception(ValueError(f"Error code: 429 - {CANARY}"))
        span.set_status(Status(StatusCode.ERROR, f"Error code: 429 - {CANARY}"))
        span.end()
        calls += 1
    tracer.start_span(f"tool {CANARY}", attributes={"gen_ai.operation.name": "execute_tool", **content}).end()
    tracer.start_span(f"GET {CANARY}", attributes={"url.full": CANARY}).end()
    return calls


def call_everything() -> None:
    with openai.OpenAI(max_retries=0) as client:
        call_openai(client)
    with anthropic.Anthropic(max_retries=0) as client:
        call_anthropic(client)

    async def both() -> None:
        async with openai.AsyncOpenAI(max_retries=0) as first, anthropic.AsyncAnthropic(max_retries=0) as second:
            await call_async(first, second)

    asyncio.run(both())


def own_provider() -> TracerProvider:
    """The tracer provider of the application, with an exporter of its own."""
    provider = TracerProvider(resource=Resource.create({"service.name": CANARY, f"{WORD}.attribute": CANARY}))
    file = os.environ.get("USERS_OWN_EXPORT")
    if file:
        out = Path(file).open("w")  # noqa: SIM115 - open until the process ends
        provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(out=out)))
    return provider


def accept_any_model() -> None:
    """Disable the validation of the model in events and spans, to show that the search finds a leak."""
    from infraprism import schema  # noqa: PLC0415 - not in the other runs
    from infraprism.schema import event, fields  # noqa: PLC0415

    fields.MODEL = replace(fields.MODEL, pattern="(?s:.*)")
    schema.Event = importlib.reload(event).Event  # type: ignore[misc]


def main(route: str) -> None:
    logging.basicConfig(stream=sys.stderr)
    logging.getLogger("infraprism").setLevel(logging.DEBUG)
    if os.environ.get("LEAK_A_CANARY"):
        accept_any_model()
        logging.getLogger("infraprism").debug(CANARY)
    from_code: TracerProvider | None = None
    if route == "processor":
        from infraprism.instrumentation import instrument  # noqa: PLC0415 - the other routes do not import it
        from infraprism.processor import InfraPrismSpanProcessor  # noqa: PLC0415

        from_code = own_provider()
        from_code.add_span_processor(InfraPrismSpanProcessor())
        trace.set_tracer_provider(from_code)
        instrument()
    elif route == "exporter":
        from infraprism.exporter import InfraPrismSpanExporter  # noqa: PLC0415
        from infraprism.instrumentation import instrument  # noqa: PLC0415

        from_code = own_provider()
        from_code.add_span_processor(BatchSpanProcessor(InfraPrismSpanExporter()))
        trace.set_tracer_provider(from_code)
        instrument(tracer_provider=from_code)
    elif route == "without":
        from_code = own_provider()
        trace.set_tracer_provider(from_code)
    call_everything()
    foreign = foreign_spans(from_code) if from_code is not None else 0
    sys.stdout.write(json.dumps({"foreign": foreign}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
