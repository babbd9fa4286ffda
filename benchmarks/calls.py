"""The calls that benchmarks/instrumentation.py counts. It runs this once per variant, in the variant's environment.

    python benchmarks/calls.py VARIANT

Makes some calls for warm-up, forks one child for each kind and count of calls, then enables the variant and repeats it.
Callgrind counts only in the children (counting is ten times slower): every child writes the instructions of all
its threads to its own file, and its process id is printed. The transport is in the process, so that only the client and
its instrumentation are measured.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, Final

import httpx2
from openai import AsyncOpenAI, OpenAI
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

COUNTS: Final = {"chat": (20, 120), "stream": (5, 30), "async-stream": (5, 30)}
WARM: Final = 20
CHUNKS: Final = 101
USAGE: Final = {
    "prompt_tokens": 111,
    "completion_tokens": 37,
    "total_tokens": 148,
    "prompt_tokens_details": {"cached_tokens": 40},
    "completion_tokens_details": {"reasoning_tokens": 16},
}
RESPONSE: Final[dict[str, Any]] = {
    "id": "chatcmpl-1",
    "created": 1_750_000_000,
    "model": "gpt-4o-mini-2024-07-18",
    "service_tier": "default",
    "system_fingerprint": "fp_1",
}
# The attributes of such a call by the semantic conventions.
TWELVE_ATTRIBUTES: Final = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o-mini",
    "server.address": "api.openai.com",
    "server.port": 443,
    "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
    "gen_ai.response.id": "chatcmpl-1",
    "gen_ai.usage.input_tokens": 111,
    "gen_ai.usage.output_tokens": 37,
    "gen_ai.usage.cache_read.input_tokens": 40,
    "gen_ai.usage.reasoning.output_tokens": 16,
    "openai.response.service_tier": "default",
}


class Null(SpanExporter):
    """Discards spans."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:  # noqa: ARG002 - the name in the SDK
        return SpanExportResult.SUCCESS


def response_body() -> bytes:
    message = {"role": "assistant", "content": "All is well. " * 8, "refusal": None}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    return json.dumps({**RESPONSE, "object": "chat.completion", "choices": [choice], "usage": USAGE}).encode()


def chunks() -> Iterator[bytes]:
    shared = {**RESPONSE, "object": "chat.completion.chunk"}
    for number in range(CHUNKS - 1):
        delta = {"content": f" word{number}"} if number else {"role": "assistant", "content": ""}
        choice = {"index": 0, "delta": delta, "finish_reason": None, "logprobs": None}
        yield f"data: {json.dumps({**shared, 'choices': [choice], 'usage': None})}\n\n".encode()
    yield f"data: {json.dumps({**shared, 'choices': [], 'usage': USAGE})}\n\ndata: [DONE]\n\n".encode()


class Chunks(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """A response body in these chunks."""

    def __init__(self, body_chunks: Sequence[bytes]) -> None:
        self._body_chunks = body_chunks

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._body_chunks)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self._body_chunks:
            yield chunk


def transport(body_chunks: Sequence[bytes]) -> httpx2.MockTransport:
    """A transport that responds to every request; a stream has these chunks."""
    body = response_body()

    def respond(request: httpx2.Request) -> httpx2.Response:
        if b'"stream":true' in request.content:
            return httpx2.Response(200, headers={"content-type": "text/event-stream"}, stream=Chunks(body_chunks))
        return httpx2.Response(200, headers={"content-type": "application/json"}, content=body)

    return httpx2.MockTransport(respond)


def clients(body_chunks: Sequence[bytes]) -> tuple[OpenAI, AsyncOpenAI]:
    """A synchronous and an asynchronous client; a stream has these chunks."""
    mock_transport = transport(body_chunks)
    return (
        OpenAI(api_key="none", http_client=httpx2.Client(transport=mock_transport)),
        AsyncOpenAI(api_key="none", http_client=httpx2.AsyncClient(transport=mock_transport)),
    )


def batching() -> TracerProvider:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(Null()))
    return provider


def ours() -> TracerProvider:
    from infraprism.instrumentation import instrument  # noqa: PLC0415 - not installed in the other environments
    from infraprism.processor import InfraPrismSpanProcessor  # noqa: PLC0415

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(InfraPrismSpanProcessor(Null()))
    instrument(provider)
    return provider


def official() -> TracerProvider:
    from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor  # noqa: PLC0415

    return _instrumented(OpenAIInstrumentor())


def openinference() -> TracerProvider:
    from openinference.instrumentation.openai import OpenAIInstrumentor  # noqa: PLC0415

    return _instrumented(OpenAIInstrumentor())


def openllmetry() -> TracerProvider:
    from opentelemetry.instrumentation.openai import OpenAIInstrumentor  # noqa: PLC0415

    return _instrumented(OpenAIInstrumentor())


def _instrumented(instrumentor: Any) -> TracerProvider:
    provider = batching()
    instrumentor.instrument(tracer_provider=provider)
    return provider


VARIANTS: Final[dict[str, Callable[[], TracerProvider]]] = {
    "span": batching,
    "ours": ours,
    "official": official,
    "openinference": openinference,
    "openllmetry": openllmetry,
}


def callers() -> dict[str, Callable[[], None]]:
    """One call of each kind. Methods are looked up at each call, since a variant replaces them."""
    client, async_client = clients(list(chunks()))
    parameters = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "How are you?"}]}
    streamed = {**parameters, "stream": True, "stream_options": {"include_usage": True}}

    def chat() -> None:
        assert client.chat.completions.create(**parameters).usage.total_tokens == 148

    def stream() -> None:
        assert sum(1 for _ in client.chat.completions.create(**streamed)) == CHUNKS

    async def read() -> None:
        count = 0
        async for _ in await async_client.chat.completions.create(**streamed):
            count += 1
        assert count == CHUNKS

    loop = asyncio.new_event_loop()

    def async_stream() -> None:
        loop.run_until_complete(read())

    return {"chat": chat, "stream": stream, "async-stream": async_stream}


def spanned(call: Callable[[], None], tracer: trace.Tracer) -> Callable[[], None]:
    def run() -> None:
        span = tracer.start_span("chat gpt-4o-mini", kind=trace.SpanKind.CLIENT)
        call()
        span.set_attributes(TWELVE_ATTRIBUTES)
        span.end()

    return run


def switch_counting(wanted: str) -> None:
    """Switch the counting of callgrind `on` or `off`, and check that it was switched."""
    vgdb = ("vgdb", f"--pid={os.getpid()}")
    for _ in range(10):
        subprocess.run([*vgdb, f"instrumentation {wanted}"], check=True, capture_output=True)
        status = subprocess.run([*vgdb, "instrumentation"], check=True, capture_output=True, text=True).stdout
        if wanted in status.split():
            return
    sys.exit(f"callgrind does not switch its counting {wanted}")


def measure(state: str, calls: dict[str, Callable[[], None]], provider: TracerProvider) -> None:
    """Fork a child for each kind and count of calls, and print a line for each: `on stream 30 4711`."""
    for call in calls.values():
        for _ in range(WARM):
            call()
    provider.force_flush()
    gc.collect()
    switch_counting("on")
    gc.disable()  # it runs at unpredictable times, and one run costs more than the instrumentation
    for kind, counts in COUNTS.items():
        for number in counts:
            child = os.fork()
            if not child:
                for _ in range(number):
                    calls[kind]()
                provider.force_flush()
                os._exit(0)
            _, status = os.waitpid(child, 0)
            if status:
                sys.exit(f"{kind} calls failed, variant {state}")
            print(state, kind, number, child, flush=True)
    gc.enable()
    switch_counting("off")


def main(variant: str) -> None:
    calls = callers()
    measure("off", calls, TracerProvider(shutdown_on_exit=False))
    provider = VARIANTS[variant]()
    if variant == "span":
        tracer = provider.get_tracer("benchmark")
        calls = {kind: spanned(call, tracer) for kind, call in calls.items()}
    measure("on", calls, provider)
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
