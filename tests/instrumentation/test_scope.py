"""Which requests are calls, whose calls they are, and what happens to calls inside calls and side by side."""

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
from tests.instrumentation.conftest import Recorded
from tests.kit.client_calls import MESSAGES, client, httpx
from tests.kit.spans import KeepsEvents

from infraprism.instrumentation import attribution, instrument
from infraprism.local_provider import LocalProvider
from infraprism.processor import InfraPrismSpanProcessor
from infraprism.schema.call_context import call_in_progress


@pytest.fixture
def delivered() -> Any:
    """A provider with our processor, instrumented, and the events that come out of it."""
    exporter = KeepsEvents()
    provider = TracerProvider()
    provider.add_span_processor(InfraPrismSpanProcessor(exporter))
    instrument(provider)
    yield lambda: provider.force_flush(5000) and exporter.events
    provider.shutdown()


def test_requests_that_are_not_billed_are_no_calls(provider: LocalProvider, recorded: Recorded) -> None:
    opened = client("openai", provider, asynchronous=False)
    opened.models.list()
    opened.close()
    opened = client("anthropic", provider, asynchronous=False)
    opened.messages.count_tokens(model="claude-haiku-4-5", messages=MESSAGES)
    opened.close()
    assert not recorded.spans
    assert len(provider.calls) == 2


def test_calls_while_instrumentation_is_suppressed_are_not_measured(
    provider: LocalProvider, recorded: Recorded
) -> None:
    opened = client("openai", provider, asynchronous=False)
    with suppress_instrumentation():
        opened.chat.completions.create(model="gpt-4o", messages=MESSAGES)
    opened.close()
    assert not recorded.spans


def test_azure_calls_say_so(provider: LocalProvider, recorded: Recorded) -> None:
    opened = openai.AzureOpenAI(
        api_key="azure-key", api_version="2024-10-21", azure_endpoint=provider.azure_endpoint, max_retries=0
    )
    opened.chat.completions.create(model="my-deployment", messages=MESSAGES)
    list(opened.chat.completions.create(model="my-deployment", messages=MESSAGES, stream=True))
    opened.close()
    for span, truth in zip(recorded.spans, provider.calls, strict=True):
        attributes = span.attributes or {}
        assert attributes["gen_ai.provider.name"] == "azure.ai.openai"
        assert attributes["gen_ai.request.model"] == "my-deployment"
        assert attributes["gen_ai.response.id"] == truth.response_id
        assert attributes["gen_ai.response.model"] == truth.model_answered


def test_a_call_inside_a_measured_call_is_not_measured_again(provider: LocalProvider, recorded: Recorded) -> None:
    inner = client("openai", provider, asynchronous=False)

    def gateway(request: Any) -> Any:
        answer = inner.chat.completions.create(model="gpt-4o", messages=MESSAGES)
        return httpx.Response(200, json=answer.model_dump())

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
def test_a_task_that_a_hook_started_during_a_call_has_its_own_calls_measured_afterwards(
    streamed: bool, provider: LocalProvider, delivered: Any
) -> None:
    async def run() -> None:
        over, tasks = asyncio.Event(), []

        async def background() -> None:
            await over.wait()
            async with client("anthropic", provider, asynchronous=True) as other:
                await other.messages.create(model="claude-haiku-4-5", messages=MESSAGES, max_tokens=5)

        async def hook(request: Any) -> None:
            tasks.append(asyncio.create_task(background()))

        hooked = httpx.AsyncClient(event_hooks={"request": [hook]})
        async with client("openai", provider, asynchronous=True, http_client=hooked) as opened:
            stream = await opened.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=streamed)
            over.set()
            await tasks[0]  # before the stream is read
            if streamed:
                assert [chunk async for chunk in stream]

    asyncio.run(run())
    assert sorted(event.provider for event in delivered()) == ["anthropic", "openai"]


def test_spans_that_the_client_package_makes_itself_are_no_second_event(
    provider: LocalProvider, delivered: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = Recorded()
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: theirs.provider)
    theirs.provider.add_span_processor(InfraPrismSpanProcessor(exporter := KeepsEvents()))
    opened = client("anthropic", provider, asynchronous=False)
    opened.messages.create(model="claude-haiku-4-5", messages=MESSAGES, max_tokens=5)
    list(opened.messages.create(model="claude-haiku-4-5", messages=MESSAGES, max_tokens=5, stream=True))
    opened.close()
    theirs.provider.force_flush()
    # Ours went to the provider that instrument() was given; nothing of theirs became an event beside it.
    assert len(delivered()) == 2
    assert not exporter.events
    theirs.provider.shutdown()


def test_our_span_is_a_child_of_the_applications_and_parent_of_nothing(
    provider: LocalProvider, recorded: Recorded
) -> None:
    seen = []

    def look(request: Any) -> Any:
        seen.append(trace.get_current_span().get_span_context().span_id)
        return httpx.Response(400, json={})

    opened = client(
        "openai", provider, asynchronous=False, http_client=httpx.Client(transport=httpx.MockTransport(look))
    )
    with (
        TracerProvider().get_tracer("app").start_as_current_span("work") as work,
        pytest.raises(openai.BadRequestError),
    ):
        opened.chat.completions.create(model="gpt-4o", messages=MESSAGES)
    span = recorded.only()
    assert span.parent is not None
    assert span.parent.span_id == work.get_span_context().span_id == seen[0]
    assert span.context.trace_id == work.get_span_context().trace_id


def test_each_call_belongs_to_the_attribution_it_was_made_in_across_tasks(
    provider: LocalProvider, delivered: Any
) -> None:
    async def work(opened: Any, customer: str) -> None:
        with attribution(customer=customer, session_id=f"session of {customer}"):
            await asyncio.sleep(0)
            stream = await opened.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True)
        async for _ in stream:  # read outside: the call was made inside
            await asyncio.sleep(0)

    async def run() -> None:
        async with client("openai", provider, asynchronous=True) as opened:
            await asyncio.gather(*(work(opened, f"customer-{n}") for n in range(20)))
            await opened.chat.completions.create(model="gpt-4o", messages=MESSAGES)

    asyncio.run(run())
    entities = sorted((event.entity_id or "", event.session_id or "") for event in delivered())
    assert entities == sorted([("", ""), *((f"customer-{n}", f"session of customer-{n}") for n in range(20))])


def test_calls_in_threads_are_counted_one_by_one(provider: LocalProvider, delivered: Any) -> None:
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
    assert sorted(event.entity_id or "" for event in delivered()) == sorted("abcd" * 5)


def test_a_model_that_is_no_model_name_is_not_repeated(provider: LocalProvider, recorded: Recorded) -> None:
    opened = client("openai", provider, asynchronous=False)
    opened.chat.completions.create(model="tell me a secret, please", messages=MESSAGES)
    opened.close()
    span = recorded.only()
    assert span.name == "chat"
    assert "secret" not in span.to_json()


def test_an_extra_body_that_names_the_model_counts(provider: LocalProvider, recorded: Recorded) -> None:
    opened = client("openai", provider, asynchronous=False)
    opened.chat.completions.create(model="gpt-4o", messages=MESSAGES, extra_body={"model": "gpt-4.1"})
    opened.close()
    assert (recorded.only().attributes or {})["gen_ai.request.model"] == "gpt-4.1"
    assert provider.calls[0].model_asked == "gpt-4.1"
