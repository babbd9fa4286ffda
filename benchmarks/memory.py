"""Measures memory growth of a long-lived application over many calls, and over streams that it abandons.

    python benchmarks/memory.py [CALLS [STREAMS]]

Each row is one process: the client's transport responds in the process, and the exporter drops events. Memory is
measured after a third of the calls, when bounded caches are full, and at the end: the blocks that Python has allocated
(`sys.getallocatedblocks`, exact), and the resident set size. `bare` is the client without InfraPrism. In `with others`
each call has a parent span of another instrumentation, so that calls are held and deduplicated. Each call has its own
customer.
"""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Final

from calls import USAGE, Null, chunks, clients
from opentelemetry.sdk.trace import TracerProvider

CALLS: Final = 200_000
STREAMS: Final = 10_000
VARIANTS: Final = ("bare", "ours", "with others")
KINDS: Final = ("call", "async call", "stream", "async stream", "unused stream")
FLUSH_EVERY: Final = 500
OTHERS: Final = "opentelemetry.instrumentation.openai.v1"
REQUEST: Final[dict[str, Any]] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "How are you?"}]}
Work = Callable[[], Awaitable[None]]


def work(kind: str) -> Work:
    """A function that makes one call, or opens one stream and abandons it."""
    create, create_async = (client.chat.completions.create for client in clients(list(chunks())[:10]))

    async def call() -> None:
        assert create(**REQUEST).usage.total_tokens == USAGE["total_tokens"]

    async def async_call() -> None:
        assert (await create_async(**REQUEST)).usage.total_tokens == USAGE["total_tokens"]

    async def stream() -> None:
        for _ in create(**REQUEST, stream=True):
            break

    async def async_stream() -> None:
        async for _ in await create_async(**REQUEST, stream=True):
            break

    async def unused_stream() -> None:
        create(**REQUEST, stream=True)

    return dict(zip(KINDS, (call, async_call, stream, async_stream, unused_stream), strict=True))[kind]


def memory() -> tuple[int, int]:
    """Allocated blocks, and the resident set size in bytes."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return sys.getallocatedblocks(), pages * os.sysconf("SC_PAGESIZE")


async def measure(variant: str, kind: str, count: int) -> None:
    make_call, provider = work(kind), TracerProvider(shutdown_on_exit=False)
    attributed: Callable[[int], Any] = lambda _: nullcontext()  # noqa: E731 - one of two variants
    if variant != "bare":
        from infraprism.instrumentation import attribution, instrument  # noqa: PLC0415 - not imported in `bare`
        from infraprism.processor import InfraPrismSpanProcessor  # noqa: PLC0415

        provider.add_span_processor(InfraPrismSpanProcessor(Null()))
        instrument(provider)
        attributed = lambda number: attribution(customer=f"customer-{number}", tags={"n": str(number)})  # noqa: E731
    tracer = provider.get_tracer(OTHERS)
    samples = []
    for number in range(count):
        with attributed(number):
            if variant == "with others":
                with tracer.start_as_current_span("openai.chat") as span:
                    span.set_attributes({"gen_ai.system": "openai", "gen_ai.request.model": "gpt-4o-mini"})
                    await make_call()
            else:
                await make_call()
        await asyncio.sleep(0)  # the event loop closes the abandoned streams
        if number % FLUSH_EVERY == 0:
            provider.force_flush()  # the loop is faster than the worker thread, and must not fill its queue
        if number + 1 in (count // 3, count):
            await asyncio.sleep(0)
            provider.force_flush()
            samples.append(memory())
    (blocks, resident), (last_blocks, last_resident) = samples
    calls = count - count // 3
    print(
        f"{kind:14} {variant:11} {count:8,} {resident / 2**20:8.1f} {last_resident / 2**20:8.1f} MiB"
        f" {(last_resident - resident) / calls:8.1f} bytes {(last_blocks - blocks) / calls:8.3f} blocks",
        flush=True,
    )


def main(arguments: list[str]) -> None:
    if arguments and arguments[0] in VARIANTS:
        variant, kind, count = arguments
        asyncio.run(measure(variant, kind, int(count)))
        return
    calls, streams = (int(each) for each in (arguments + [str(CALLS), str(STREAMS)][len(arguments) :]))
    print(f"{'':26} {'calls':>8} {'a third':>8} {'end':>12} {'per call: resident':>14} {'allocated':>14}")
    for kind in KINDS:
        for variant in VARIANTS:
            count = streams if "stream" in kind else calls
            subprocess.run([sys.executable, __file__, variant, kind, str(count)], check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
