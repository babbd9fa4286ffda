"""The calls that benchmarks/instrumentation.py counts: run by it, once per variant, in that variant's environment.

    python benchmarks/calls.py VARIANT

Makes some calls to be warm, then forks one child after the other for each kind and count of calls; then puts the
variant on, and does the same. Under callgrind, which is told to count only then (counting is ten times slower), every
child writes the instructions of all its threads into a file of its own, and says on standard output which one that is.
The transport answers in the process, so that nothing but the client and its instrumentation costs anything.
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
ANSWER: Final[dict[str, Any]] = {
    "id": "chatcmpl-1",
    "created": 1_750_000_000,
    "model": "gpt-4o-mini-2024-07-18",
    "service_tier": "default",
    "system_fingerprint": "fp_1",
}
# What a careful instrumentation would write about such a call, by hand.
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
    """Takes spans and forgets them."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:  # noqa: ARG002 - the SDK names it
        return SpanExportResult.SUCCESS


def answer() -> bytes:
    message = {"role": "assistant", "content": "All is well. " * 8, "refusal": None}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    return json.dumps({**ANSWER, "object": "chat.completion", "choices": [choice], "usage": USAGE}).encode()


def chunks() -> Iterator[bytes]:
    shared = {**ANSWER, "object": "chat.completion.chunk"}
    for number in range(CHUNKS - 1):
        delta = {"content": f" word{number}"} if number else {"role": "assistant", "content": ""}
        choice = {"index": 0, "delta": delta, "finish_reason": None, "logprobs": None}
        yield f"data: {json.dumps({**shared, 'choices': [choice], 'usage': None})}\n\n".encode()
    yield f"data: {json.dumps({**shared, 'choices': [], 'usage': USAGE})}\n\ndata: [DONE]\n\n".encode()


class Pieces(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """An answer that comes in these pieces."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._pieces)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece


def transport(pieces: Sequence[bytes]) -> httpx2.MockTransport:
    """Answers every request, and a stream in these pieces."""
    whole = answer()

    def respond(request: httpx2.Request) -> httpx2.Response:
        if b'"stream":true' in request.content:
            return httpx2.Response(200, headers={"content-type": "text/event-stream"}, stream=Pieces(pieces))
        return httpx2.Response(200, headers={"content-type": "application/json"}, content=whole)

    return httpx2.MockTransport(respond)


def clients(pieces: Sequence[bytes]) -> tuple[OpenAI, AsyncOpenAI]:
    """A client of each kind, synchronous and asynchronous; a stream comes in these pieces."""
    answering = transport(pieces)
    return (
        OpenAI(api_key="none", http_client=httpx2.Client(transport=answering)),
        AsyncOpenAI(api_key="none", http_client=httpx2.AsyncClient(transport=answering)),
    )


def batching() -> TracerProvider:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(Null()))
    return provider


def ours() -> TracerProvider:
    from infraprism.instrumentation import instrument  # noqa: PLC0415 - not installed beside the others
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
    """One call of each kind. Methods are looked up anew for each, since a variant replaces them in between."""
    client, async_client = clients(list(chunks()))
    asked = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "How are you?"}]}
    streamed = {**asked, "stream": True, "stream_options": {"include_usage": True}}

    def chat() -> None:
        assert client.chat.completions.create(**asked).usage.total_tokens == 148

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
    """Tell callgrind to count, "on", or to stop, "off", and see that it does."""
    vgdb = ("vgdb", f"--pid={os.getpid()}")
    for _ in range(10):
        subprocess.run([*vgdb, f"instrumentation {wanted}"], check=True, capture_output=True)
        said = subprocess.run([*vgdb, "instrumentation"], check=True, capture_output=True, text=True).stdout
        if wanted in said.split():
            return
    sys.exit(f"callgrind does not switch its counting {wanted}")


def measure(state: str, calls: dict[str, Callable[[], None]], provider: TracerProvider) -> None:
    """Fork a child for each kind and count of calls, and say which one counted what: "on stream 30 4711"."""
    for call in calls.values():
        for _ in range(WARM):
            call()
    provider.force_flush()
    gc.collect()
    switch_counting("on")
    gc.disable()  # when it runs is chance, and one run of it costs more than what is looked for
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
