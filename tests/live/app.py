"""An application with several instrumentations at once: run as `python -m tests.live.app SOURCES`.

SOURCES are keys of `INSTRUMENTORS`, joined by commas, in the order in which they are enabled. `infraprism` enables our
own instrumentation; with `alone` the provider has our exporter and not our processor. Prints one JSON object: for each
scenario the number of calls, the usage that the provider reported for each, and the events. The session id of an event
is its scenario.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from typing import Any, Final

import anthropic
import openai
from langchain_anthropic import ChatAnthropic
from langchain_core.prompts import ChatPromptTemplate
from langchain_openai import AzureChatOpenAI, ChatOpenAI, OpenAIEmbeddings
from openinference.instrumentation.anthropic import AnthropicInstrumentor as OpenInferenceAnthropic
from openinference.instrumentation.langchain import LangChainInstrumentor as OpenInferenceLangChain
from openinference.instrumentation.openai import OpenAIInstrumentor as OpenInferenceOpenAI
from opentelemetry import trace
from opentelemetry.instrumentation.anthropic import AnthropicInstrumentor as OpenLLMetryAnthropic
from opentelemetry.instrumentation.genai.anthropic import AnthropicInstrumentor as OfficialAnthropic
from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor as OfficialOpenAI
from opentelemetry.instrumentation.langchain import LangchainInstrumentor as OpenLLMetryLangChain
from opentelemetry.instrumentation.openai import OpenAIInstrumentor as OpenLLMetryOpenAI
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tests.kit.spans import KeepsEvents

from infraprism.exporter import InfraPrismSpanExporter
from infraprism.instrumentation import attribution, instrument
from infraprism.local_provider import BillingRecord, LocalProvider
from infraprism.processor import AttributionRecorder, InfraPrismSpanProcessor
from infraprism.schema import Event
from infraprism.schema.call_context import INSTRUMENTATION_SCOPE

INSTRUMENTORS: Final[dict[str, tuple[type[Any], ...]]] = {
    "official": (OfficialOpenAI, OfficialAnthropic),
    "openllmetry": (OpenLLMetryOpenAI, OpenLLMetryAnthropic),
    "openllmetry-langchain": (OpenLLMetryLangChain,),
    "openinference": (OpenInferenceOpenAI, OpenInferenceAnthropic),
    "openinference-langchain": (OpenInferenceLangChain,),
}
MESSAGES: Final[list[Any]] = [{"role": "user", "content": "Say something, please."}]
OFFICIAL_SCOPES: Final = ("opentelemetry.instrumentation.genai.", "opentelemetry.util.genai.")
PROMPT: Final = "Say something, please."
CONCURRENT: Final = 6
LOOP: Final = asyncio.new_event_loop()
"""Shared by all scenarios: LangChain caches connections, which belong to an event loop."""


class RecordingExporter(InfraPrismSpanExporter):
    """Our exporter in a batch processor of the application. It records the events instead of sending them."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        super().__init__(endpoint="http://127.0.0.1:9", api_key="ip-not-used")

    def export_events(self, events: Sequence[Event]) -> None:
        self.events += events


Run = Callable[[LocalProvider], object]
SCENARIOS: Final[dict[str, tuple[int, Run]]] = {}


def scenario(calls: int = 1) -> Callable[[Run], Run]:
    """Register a scenario that makes this number of calls."""

    def register(run: Run) -> Run:
        SCENARIOS[run.__name__] = calls, run
        return run

    return register


def openai_client(provider: LocalProvider, **options: Any) -> openai.OpenAI:
    return openai.OpenAI(base_url=provider.openai_base_url, api_key="sk-proj-test", **options)


def chat_model(provider: LocalProvider, model: str = "gpt-4o-mini", **options: Any) -> ChatOpenAI:
    options = {"max_retries": 0, **options}
    return ChatOpenAI(model=model, base_url=provider.openai_base_url, api_key="sk-proj-test", **options)


def claude(provider: LocalProvider, model: str = "claude-sonnet-4-5", **options: Any) -> ChatAnthropic:
    return ChatAnthropic(model=model, base_url=provider.anthropic_base_url, api_key="sk-ant-test", **options)


@scenario()
def chat(provider: LocalProvider) -> None:
    openai_client(provider).chat.completions.create(model="gpt-4o-mini-cached", messages=MESSAGES)


@scenario()
def chat_stream(provider: LocalProvider) -> None:
    options: Any = {"include_usage": True}
    list(
        openai_client(provider).chat.completions.create(
            model="gpt-4o-mini", messages=MESSAGES, stream=True, stream_options=options
        )
    )


@scenario()
def chat_stream_without_usage(provider: LocalProvider) -> None:
    list(openai_client(provider).chat.completions.create(model="gpt-4o-mini", messages=MESSAGES, stream=True))


@scenario()
def responses(provider: LocalProvider) -> None:
    openai_client(provider).responses.create(model="gpt-5-mini", input=PROMPT)


@scenario()
def responses_stream(provider: LocalProvider) -> None:
    list(openai_client(provider).responses.create(model="gpt-5-mini", input=PROMPT, stream=True))


@scenario()
def embeddings(provider: LocalProvider) -> None:
    openai_client(provider).embeddings.create(model="text-embedding-3-small", input=[PROMPT])


@scenario()
def rejected(provider: LocalProvider) -> None:
    with suppress(openai.BadRequestError):
        openai_client(provider).chat.completions.create(model="gpt-4o-mini-err400", messages=MESSAGES)


@scenario()
def retried_by_the_client(provider: LocalProvider) -> None:
    openai_client(provider, max_retries=2).chat.completions.create(model="gpt-4o-mini-retry429", messages=MESSAGES)


@scenario(2)
def retried_by_the_application(provider: LocalProvider) -> None:
    client = openai_client(provider, max_retries=0)
    with suppress(openai.RateLimitError):
        client.chat.completions.create(model="gpt-4o-mini-err429", messages=MESSAGES)
    client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES)


@scenario(2)
def the_same_call_twice(provider: LocalProvider) -> None:
    for _ in range(2):
        openai_client(provider).chat.completions.create(model="gpt-4o-mini", messages=MESSAGES)


@scenario(CONCURRENT)
def the_same_call_concurrent_in_tasks(provider: LocalProvider) -> None:
    async def run() -> None:
        async with openai.AsyncOpenAI(base_url=provider.openai_base_url, api_key="sk-proj-test") as client:
            await concurrent(lambda: client.chat.completions.create(model="gpt-4o-mini-slow", messages=MESSAGES))

    LOOP.run_until_complete(run())


@scenario(CONCURRENT)
def the_same_call_concurrent_in_threads(provider: LocalProvider) -> None:
    client = openai_client(provider)
    with ThreadPoolExecutor(CONCURRENT) as pool:
        for _ in range(CONCURRENT):
            pool.submit(copy_context().run, client.chat.completions.create, model="gpt-4o-mini-slow", messages=MESSAGES)


@scenario()
def message(provider: LocalProvider) -> None:
    client = anthropic.Anthropic(base_url=provider.anthropic_base_url, api_key="sk-ant-test")
    client.messages.create(model="claude-sonnet-4-5-cached", max_tokens=100, messages=MESSAGES)


@scenario()
def message_stream(provider: LocalProvider) -> None:
    client = anthropic.Anthropic(base_url=provider.anthropic_base_url, api_key="sk-ant-test")
    list(client.messages.create(model="claude-sonnet-4-5", max_tokens=100, messages=MESSAGES, stream=True))


@scenario()
def message_stream_helper(provider: LocalProvider) -> None:
    client = anthropic.Anthropic(base_url=provider.anthropic_base_url, api_key="sk-ant-test")
    with client.messages.stream(model="claude-sonnet-4-5", max_tokens=100, messages=MESSAGES) as stream:
        stream.get_final_message()


@scenario()
def langchain(provider: LocalProvider) -> None:
    chat_model(provider).invoke(PROMPT)


@scenario()
def langchain_stream(provider: LocalProvider) -> None:
    list(chat_model(provider, stream_usage=True).stream(PROMPT))


@scenario()
def langchain_stream_without_usage(provider: LocalProvider) -> None:
    list(chat_model(provider, stream_usage=False).stream(PROMPT))


@scenario()
def langchain_responses(provider: LocalProvider) -> None:
    chat_model(provider, "gpt-5-mini", use_responses_api=True).invoke(PROMPT)


@scenario()
def langchain_responses_stream(provider: LocalProvider) -> None:
    list(chat_model(provider, "gpt-5-mini", use_responses_api=True).stream(PROMPT))


@scenario(2)
def langchain_chain(provider: LocalProvider) -> None:
    prompt = ChatPromptTemplate.from_messages([("user", "Say {what}.")])
    first = prompt | chat_model(provider) | (lambda message: {"what": message.content})
    (first | prompt | chat_model(provider)).invoke({"what": "something"})


@scenario(2)
def langchain_chain_in_a_span(provider: LocalProvider) -> None:
    with trace.get_tracer("app").start_as_current_span("request"):
        langchain_chain(provider)


@scenario()
def langchain_in_a_span(provider: LocalProvider) -> None:
    with trace.get_tracer("app").start_as_current_span("request"):
        chat_model(provider).invoke(PROMPT)


@scenario(CONCURRENT)
def langchain_concurrent_in_tasks(provider: LocalProvider) -> None:
    model = chat_model(provider, "gpt-4o-mini-slow")
    LOOP.run_until_complete(concurrent(lambda: model.ainvoke(PROMPT)))


@scenario(CONCURRENT)
def langchain_concurrent_in_threads(provider: LocalProvider) -> None:
    chat_model(provider, "gpt-4o-mini-slow").batch([PROMPT] * CONCURRENT)


@scenario(CONCURRENT)
def langchain_streams_concurrent(provider: LocalProvider) -> None:
    async def stream() -> None:
        async for _ in chat_model(provider, "gpt-4o-mini-slow", stream_usage=False).astream(PROMPT):
            pass

    LOOP.run_until_complete(concurrent(stream))


@scenario()
def langchain_rejected(provider: LocalProvider) -> None:
    with suppress(openai.OpenAIError):
        chat_model(provider, "gpt-4o-mini-err400").invoke(PROMPT)


@scenario()
def langchain_embeddings(provider: LocalProvider) -> None:
    OpenAIEmbeddings(
        model="text-embedding-3-small",
        base_url=provider.openai_base_url,
        api_key="sk-proj-test",  # type: ignore[arg-type]  # the package takes a str as well
        check_embedding_ctx_length=False,
    ).embed_documents([PROMPT])


@scenario()
def langchain_azure(provider: LocalProvider) -> None:
    AzureChatOpenAI(
        azure_endpoint=provider.azure_endpoint,
        azure_deployment="gpt-4o-mini",
        api_version="2024-10-21",
        api_key="azure-test",  # type: ignore[arg-type]  # the package takes a str as well
    ).invoke(PROMPT)


@scenario()
def langchain_message(provider: LocalProvider) -> None:
    claude(provider).invoke(PROMPT)


@scenario()
def langchain_message_stream(provider: LocalProvider) -> None:
    list(claude(provider).stream(PROMPT))


async def concurrent(call: Callable[[], Awaitable[object]]) -> None:
    await asyncio.gather(*(call() for _ in range(CONCURRENT)))


def usage_of(record: BillingRecord) -> list[int | None]:
    reported = record.reported
    return [None, None] if reported is None else [reported.input_tokens, reported.output_tokens]


def _is_retried(record: BillingRecord, others: Sequence[BillingRecord]) -> bool:
    """Whether the client retried this request: all attempts are one call, and the last one counts."""
    return "retry" in record.request_model and any(other.attempt > record.attempt for other in others)


def row(event: Event) -> dict[str, Any]:
    names = ("model", "provider", "operation", "input_tokens", "output_tokens", "success", "error_type", "latency_ms")
    return {name: getattr(event, name) for name in names}


def ours_nested_in_official(spans: Sequence[ReadableSpan]) -> int:
    """The number of our spans in the application's telemetry with an official span as parent."""
    official = {span.context.span_id for span in spans if span.instrumentation_scope.name.startswith(OFFICIAL_SCOPES)}
    ours = [span for span in spans if span.instrumentation_scope.name == INSTRUMENTATION_SCOPE]
    return sum(span.parent is not None and span.parent.span_id in official for span in ours)


def main(sources: Sequence[str]) -> None:
    provider = TracerProvider()
    exporter: KeepsEvents | RecordingExporter
    if "alone" in sources:
        exporter = RecordingExporter()
        provider.add_span_processor(AttributionRecorder())
        provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=700))
    else:
        exporter = KeepsEvents()
        provider.add_span_processor(InfraPrismSpanProcessor(exporter))
    application_spans = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(application_spans))
    trace.set_tracer_provider(provider)
    os.environ["INFRAPRISM_STREAM_USAGE"] = str("stream_usage" in sources)
    for name in sources:
        if name == "infraprism":
            instrument()
        for kind in INSTRUMENTORS.get(name, ()):
            kind().instrument(tracer_provider=provider)
    records = {}
    with LocalProvider(slow_s=0.2) as local:
        for name, (_, run) in SCENARIOS.items():
            with attribution(session_id=name):
                run(local)
            records[name] = [record for record in local.calls if record.operation != "unknown"]
            local.clear()
    LOOP.close()
    provider.shutdown()
    found = {
        name: {
            "calls": calls,
            "reported": [usage_of(r) for r in records[name] if not _is_retried(r, records[name])],
            "events": [row(event) for event in exporter.events if event.session_id == name],
        }
        for name, (calls, _) in SCENARIOS.items()
    }
    found[""] = {
        "calls": 0,
        "reported": [],
        "events": [row(e) for e in exporter.events if e.session_id not in SCENARIOS],
    }
    output = {
        "scenarios": found,
        "errors": exporter.delivery_stats.snapshot()["errors"],
        "ours_nested_in_official": ours_nested_in_official(application_spans.get_finished_spans()),
    }
    json.dump(output, sys.stdout)
    assert threading.main_thread().is_alive()


if __name__ == "__main__":
    main(sys.argv[1].split(","))
