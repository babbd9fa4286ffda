"""Which requests are calls; their attribution; nested and concurrent calls."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest
from opentelemetry import trace
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.trace import TracerProvider
from tests.kit.client_calls import MESSAGES, client, httpx
from tests.kit.recorded_spans import RecordedSpans
from tests.kit.spans import KeepsEvents

from infraprism.instrumentation import attribution, instrument
from infraprism.local_provider import LocalProvider
from infraprism.processor import InfraPrismSpanProcessor
from infraprism.schema.call_context import call_in_progress


@pytest.fixture
def exported_events() -> Any:
    """Everything is instrumented. Returns a function that flushes and returns the events."""
    exporter = KeepsEvents()
    provider = TracerProvider()
    provider.add_span_processor(InfraPrismSpanProcessor(exporter))
    instrument(provider)
    yield lambda: provider.force_flush(5000) and exporter.events
    provider.shutdown()


def test_requests_that_are_not_billed_are_not_calls(provider: LocalProvider, recorded: RecordedSpans) -> None:
    opened = client("openai", provider, asynchronous=False)
    opened.models.list()
    opened.close()
    opened = client("anthropic", provider, asynchronous=False)
    opened.messages.count_tokens(model="claude-haiku-4-5", messages=MESSAGES)
    opened.close()
    assert not recorded.spans
    assert len(provider.calls) == 2


def test_calls_with_suppressed_instrumentation_are_not_recorded(
    provider: LocalProvider, recorded: RecordedSpans
) -> None:
    opened = client("openai", provider, asynchronous=False)
    with suppress_instrumentation():
        opened.chat.completions.create(model="gpt-4o", messages=MESSAGES)
    opened.close()
    assert not recorded.spans


def test_azure_calls_have_the_azure_provider_name(provider: LocalProvider, recorded: RecordedSpans) -> None:
    opened = openai.AzureOpenAI(
        api_key="azure-key", api_version="2024-10-21", azure_endpoint=provider.azure_endpoint, max_retries=0
    )
    opened.chat.completions.create(model="my-deployment", messages=MESSAGES)
    list(opened.chat.completions.create(model="my-deployment", messages=MESSAGES, stream=True))
    opened.close()
    for span, record in zip(recorded.spans, provider.calls, strict=True):
        attributes = span.attributes or {}
        assert attributes["gen_ai.provider.name"] == "azure.ai.openai"
        assert attributes["gen_ai.request.model"] == "my-deployment"
        assert attributes["gen_ai.response.id"] == record.response_id
        assert attributes["gen_ai.response.model"] == record.response_model


def test_a_call_nested_in_a_recorded_call_is_not_recorded(provider: LocalProvider, recorded: RecordedSpans) -> None:
    inner = client("openai", provider, asynchronous=False)

    def gateway(request: Any) -> Any:
        response = inner.chat.completions.create(model="gpt-4o", messages=MESSAGES)
        return httpx.Response(200, json=response.model_dump())

    outer = client(
        "openai", provider, asynchronous=False, http_client=httpx.Client(transport=httpx.MockTransport(gateway))
    )
    outer.chat.completions.create(model="gpt-4o", messages=MESSAGES)
    assert len(recorded.spans) == 1
    inner.chat.completions.create(model="gpt-4o", messages=MESSAGES)
    assert len(recorded.spans) == 2
    assert not call_in_progress.get()
    inner.close()


@pytest.mark.parametrize("streamed", [False, True])
def test_calls_of_a_task_that_a_hook_started_during_a_call_are_recorded_after_that_call(
    streamed: bool, provider: LocalProvider, exported_events: Any
) -> None:
    async def run() -> None:
        finished, tasks = asyncio.Event(), []

        async def background() -> None:
            await finished.wait()
            async with client("anthropic", provider, asynchronous=True) as other:
                await other.messages.create(model="claude-haiku-4-5", messages=MESSAGES, max_tokens=5)

        async def hook(request: Any) -> None:
            tasks.append(asyncio.create_task(background()))

        hooked = httpx.AsyncClient(event_hooks={"request": [hook]})
        async with client("openai", provider, asynchronous=True, http_client=hooked) as opened:
            stream = await opened.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=streamed)
            finished.set()
            await tasks[0]  # before the stream is read
            if streamed:
                assert [chunk async for chunk in stream]

    asyncio.run(run())
    assert sorted(event.provider for event in exported_events()) == ["anthropic", "openai"]


def test_spans_of_the_client_package_itself_are_not_events(
    provider: LocalProvider, exported_events: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    application = RecordedSpans()
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: application.provider)
    application.provider.add_span_processor(InfraPrismSpanProcessor(exporter := KeepsEvents()))
    opened = client("anthropic", provider, asynchronous=False)
    opened.messages.create(model="claude-haiku-4-5", messages=MESSAGES, max_tokens=5)
    list(opened.messages.create(model="claude-haiku-4-5", messages=MESSAGES, max_tokens=5, stream=True))
    opened.close()
    application.provider.force_flush()
    # Our spans went to the provider that instrument() was given. No span of the application became an event as well.
    assert len(exported_events()) == 2
    assert not exporter.events
    application.provider.shutdown()


def test_our_span_is_a_child_of_the_applications_span_and_never_the_current_span(
    provider: LocalProvider, recorded: RecordedSpans
) -> None:
    current = []

    def record_current_span(request: Any) -> Any:
        current.append(trace.get_current_span().get_span_context().span_id)
        return httpx.Response(400, json={})

    opened = client(
        "openai",
        provider,
        asynchronous=False,
        http_client=httpx.Client(transport=httpx.MockTransport(record_current_span)),
    )
    with (
        TracerProvider().get_tracer("app").start_as_current_span("work") as work,
        pytest.raises(openai.BadRequestError),
    ):
        opened.chat.completions.create(model="gpt-4o", messages=MESSAGES)
    span = recorded.only()
    assert span.parent is not None
    assert span.parent.span_id == work.get_span_context().span_id == current[0]
    assert span.context.trace_id == work.get_span_context().trace_id


def test_each_call_has_the_attribution_of_its_context_across_tasks(
    provider: LocalProvider, exported_events: Any
) -> None:
    async def work(opened: Any, customer: str) -> None:
        with attribution(customer=customer, session_id=f"session of {customer}"):
            await asyncio.sleep(0)
            stream = await opened.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True)
        async for _ in stream:  # read after the block in which the call was made
            await asyncio.sleep(0)

    async def run() -> None:
        async with client("openai", provider, asynchronous=True) as opened:
            await asyncio.gather(*(work(opened, f"customer-{n}") for n in range(20)))
            await opened.chat.completions.create(model="gpt-4o", messages=MESSAGES)

    asyncio.run(run())
    entities = sorted((event.entity_id or "", event.session_id or "") for event in exported_events())
    assert entities == sorted([("", ""), *((f"customer-{n}", f"session of customer-{n}") for n in range(20))])


def test_each_call_of_concurrent_threads_is_one_event(provider: LocalProvider, exported_events: Any) -> None:
    opened = client("anthropic", provider, asynchronous=False)
    barrier = threading.Barrier(4)

    def work(team: str) -> None:
        barrier.wait(10)
        with attribution(team=team):
            for _ in range(5):
                opened.messages.create(model="claude-haiku-4-5", messages=MESSAGES, max_tokens=5)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, ["a", "b", "c", "d"]))
    opened.close()
    assert sorted(event.entity_id or "" for event in exported_events()) == sorted("abcd" * 5)


def test_a_model_that_is_not_an_identifier_is_not_recorded(provider: LocalProvider, recorded: RecordedSpans) -> None:
    opened = client("openai", provider, asynchronous=False)
    opened.chat.completions.create(model="tell me a secret, please", messages=MESSAGES)
    opened.close()
    span = recorded.only()
    assert span.name == "chat"
    assert "secret" not in span.to_json()


def test_the_model_of_an_extra_body_is_recorded(provider: LocalProvider, recorded: RecordedSpans) -> None:
    opened = client("openai", provider, asynchronous=False)
    opened.chat.completions.create(model="gpt-4o", messages=MESSAGES, extra_body={"model": "gpt-4.1"})
    opened.close()
    assert (recorded.only().attributes or {})["gen_ai.request.model"] == "gpt-4.1"
    assert provider.calls[0].request_model == "gpt-4.1"
