"""Streams of LiteLLM and LangChain: run as `python -m tests.live.stream_usage_app`.

No stream has options of the application, so the provider reports usage only if we request it. Prints one JSON object:
the chunks that the application received, the counts of the events, and those that the provider reported.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Iterable
from typing import Any, Final

import litellm
from langchain_openai import ChatOpenAI
from opentelemetry.sdk.trace import TracerProvider
from tests.kit.spans import KeepsEvents

from infraprism.instrumentation import instrument
from infraprism.local_provider import LocalProvider
from infraprism.processor import InfraPrismSpanProcessor

PROMPT: Final = "Say something, please."
KEY: Final = "sk-proj-test"
RANDOM: Final = ("id", "created", "obfuscation")
"""Fields that differ in each stream."""


def streams(base_url: str) -> Iterable[tuple[str, Callable[[], Iterable[Any]]]]:
    """The name of each stream, and the call that reads it."""
    request = {"api_base": base_url, "api_key": KEY, "messages": [{"role": "user", "content": PROMPT}], "stream": True}

    async def read(opened: Any) -> list[Any]:
        return [chunk async for chunk in opened]

    async def litellm_async() -> list[Any]:
        return await read(await litellm.acompletion(model="openai/gpt-4o-mini", **request))

    def model() -> ChatOpenAI:
        return ChatOpenAI(model="gpt-4o-mini", base_url=base_url, api_key=KEY, max_retries=0)  # type: ignore[arg-type]  # the package takes a str as well

    yield "litellm", lambda: litellm.completion(model="openai/gpt-4o-mini", **request)
    yield "litellm_async", lambda: asyncio.run(litellm_async())
    yield "langchain", lambda: model().stream(PROMPT)
    yield "langchain_async", lambda: asyncio.run(read(model().astream(PROMPT)))


def chunk_of(chunk: Any) -> dict[str, Any]:
    """A chunk without the fields that differ in each stream."""
    return {name: value for name, value in chunk.model_dump(mode="json").items() if name not in RANDOM}


def main() -> None:
    provider = TracerProvider()
    exporter = KeepsEvents()
    provider.add_span_processor(InfraPrismSpanProcessor(exporter))
    instrument(provider)
    with LocalProvider() as local:
        received = {name: [chunk_of(chunk) for chunk in read()] for name, read in streams(local.openai_base_url)}
        reported = [call.reported and [call.reported.input_tokens, call.reported.output_tokens] for call in local.calls]
    provider.shutdown()
    counts = [[event.input_tokens, event.output_tokens] for event in exporter.events]
    errors = exporter.delivery_stats.snapshot()["errors"]
    json.dump({"received": received, "counts": counts, "reported": reported, "errors": errors}, sys.stdout)


if __name__ == "__main__":
    main()
