"""Asynchronous clients are instrumented on trio as on asyncio."""

from __future__ import annotations

import gc
import warnings

import pytest
import trio
from opentelemetry.trace import StatusCode
from tests.kit.client_calls import WAYS, Way, client
from tests.kit.recorded_spans import RecordedSpans

from infraprism.instrumentation import instrument
from infraprism.local_provider import LocalProvider

MODELS = {"openai": "gpt-4o-mini", "anthropic": "claude-haiku-4-5"}
PLAIN_AND_STREAMED = pytest.mark.parametrize(
    "way",
    [way for way in WAYS if way.name in ("chat", "stream", "messages", "messages stream")],
    ids=lambda way: way.name.replace(" ", "_"),
)


async def _concurrent_calls(way: Way, provider: LocalProvider) -> None:
    async with client(way.package, provider, asynchronous=True) as opened, trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(way.run, opened, MODELS[way.package])


def _warned(way: Way, provider: LocalProvider) -> list[str]:
    """Warnings of trio about unfinished generators of the client packages. Those of the connection pool vary."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        trio.run(_concurrent_calls, way, provider)
        gc.collect()
    return sorted(message for message in (str(each.message) for each in warned) if "connection_pool" not in message)


@PLAIN_AND_STREAMED
def test_concurrent_calls_on_trio_are_one_exact_span_each_and_cause_no_more_warnings(
    way: Way, provider: LocalProvider
) -> None:
    bare = _warned(way, provider)
    provider.clear()
    recorded = RecordedSpans()
    instrument(recorded.provider)
    assert _warned(way, provider) == bare
    billed = sorted(record.reported.output_tokens for record in provider.calls if record.reported)
    assert sorted(span.attributes["gen_ai.usage.output_tokens"] for span in recorded.spans) == billed
    assert len(billed) == 3


@PLAIN_AND_STREAMED
def test_a_call_that_trio_cancels_is_one_cancelled_span(
    way: Way, provider: LocalProvider, recorded: RecordedSpans
) -> None:
    async def cancel_when_received(scope: trio.CancelScope) -> None:
        while not provider.calls:  # noqa: ASYNC110 - another thread makes it true
            await trio.sleep(0.01)
        scope.cancel()

    async def run() -> bool:
        async with client(way.package, provider, asynchronous=True) as opened:
            async with trio.open_nursery() as nursery:
                with trio.CancelScope() as scope:
                    nursery.start_soon(cancel_when_received, scope)
                    await way.run(opened, MODELS[way.package] + "-hang")
            return scope.cancelled_caught

    assert trio.run(run)
    span = recorded.only()
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes["error.type"] == "trio.Cancelled"
