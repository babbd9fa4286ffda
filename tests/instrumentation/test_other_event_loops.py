"""Asynchronous clients run on trio as well as on asyncio; nothing of ours asks which loop it is."""

from __future__ import annotations

import gc
import warnings

import pytest
import trio
from opentelemetry.trace import StatusCode
from tests.instrumentation.conftest import Recorded
from tests.kit.client_calls import WAYS, Way, client

from infraprism.instrumentation import instrument
from infraprism.local_provider import LocalProvider

MODELS = {"openai": "gpt-4o-mini", "anthropic": "claude-haiku-4-5"}
PLAIN_AND_STREAMED = pytest.mark.parametrize(
    "way",
    [way for way in WAYS if way.name in ("chat", "stream", "messages", "messages stream")],
    ids=lambda way: way.name.replace(" ", "_"),
)


async def _calls_side_by_side(way: Way, provider: LocalProvider) -> None:
    async with client(way.package, provider, asynchronous=True) as opened, trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(way.run, opened, MODELS[way.package])


def _warned(way: Way, provider: LocalProvider) -> list[str]:
    """What trio warns of: generators that the client packages leave behind; in the connection pool it is chance."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        trio.run(_calls_side_by_side, way, provider)
        gc.collect()
    return sorted(message for message in (str(each.message) for each in warned) if "connection_pool" not in message)


@PLAIN_AND_STREAMED
def test_calls_side_by_side_on_trio_are_one_exact_span_each_and_leave_no_more_behind(
    way: Way, provider: LocalProvider
) -> None:
    bare = _warned(way, provider)
    provider.clear()
    recorded = Recorded()
    instrument(recorded.provider)
    assert _warned(way, provider) == bare
    billed = sorted(truth.reported.output_tokens for truth in provider.calls if truth.reported)
    assert sorted(span.attributes["gen_ai.usage.output_tokens"] for span in recorded.spans) == billed
    assert len(billed) == 3


@PLAIN_AND_STREAMED
def test_a_call_that_trio_cancels_is_one_cancelled_span(way: Way, provider: LocalProvider, recorded: Recorded) -> None:
    async def run() -> bool:
        async with client(way.package, provider, asynchronous=True) as opened:
            with trio.move_on_after(0.3) as scope:
                await way.run(opened, MODELS[way.package] + "-hang")
            return scope.cancelled_caught

    assert trio.run(run)
    span = recorded.only()
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes["error.type"] == "trio.Cancelled"
