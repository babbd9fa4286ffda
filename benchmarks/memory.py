"""What a long-lived app's memory does over calls, and over streams that it drops half-way.

    python benchmarks/memory.py [CALLS [STREAMS]]

Every row is a process of its own: the client answers within the process, our processor has an exporter that forgets. A
third of the way in, when whatever is kept within bounds is full, the memory is looked at, and again at the end: the
blocks that Python has allocated (`sys.getallocatedblocks`, exact), and the resident set. `bare` is the client without
us; `beside` has a span of another instrumentation around each call, so that calls are held and settled. Calls are for
a different customer each.
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
VARIANTS: Final = ("bare", "ours", "beside")
KINDS: Final = ("call", "async call", "stream", "async stream", "unread stream")
FLUSH_EVERY: Final = 500
OTHERS: Final = "opentelemetry.instrumentation.openai.v1"
ASKED: Final[dict[str, Any]] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "How are you?"}]}
Work = Callable[[], Awaitable[None]]


def work(kind: str) -> Work:
    """One call, or one stream that is dropped."""
    create, create_async = (client.chat.completions.create for client in clients(list(chunks())[:10]))

    async def call() -> None:
        assert create(**ASKED).usage.total_tokens == USAGE["total_tokens"]

    async def async_call() -> None:
        assert (await create_async(**ASKED)).usage.total_tokens == USAGE["total_tokens"]

    async def stream() -> None:
        for _ in create(**ASKED, stream=True):
            break

    async def async_stream() -> None:
        async for _ in await create_async(**ASKED, stream=True):
            break

    async def unread_stream() -> None:
        create(**ASKED, stream=True)

    return dict(zip(KINDS, (call, async_call, stream, async_stream, unread_stream), strict=True))[kind]


def memory() -> tuple[int, int]:
    """Blocks, and bytes of the resident set."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return sys.getallocatedblocks(), pages * os.sysconf("SC_PAGESIZE")


async def measure(variant: str, kind: str, count: int) -> None:
    one, provider = work(kind), TracerProvider(shutdown_on_exit=False)
    attributed: Callable[[int], Any] = lambda _: nullcontext()  # noqa: E731 - one of two
    if variant != "bare":
        from infraprism.instrumentation import attribution, instrument  # noqa: PLC0415 - not in `bare`
        from infraprism.processor import InfraPrismSpanProcessor  # noqa: PLC0415

        provider.add_span_processor(InfraPrismSpanProcessor(Null()))
        instrument(provider)
        attributed = lambda number: attribution(customer=f"customer-{number}", tags={"n": str(number)})  # noqa: E731
    tracer = provider.get_tracer(OTHERS)
    seen = []
    for number in range(count):
        with attributed(number):
            if variant == "beside":
                with tracer.start_as_current_span("openai.chat") as span:
                    span.set_attributes({"gen_ai.system": "openai", "gen_ai.request.model": "gpt-4o-mini"})
                    await one()
            else:
                await one()
        await asyncio.sleep(0)  # the event loop closes what was dropped
        if number % FLUSH_EVERY == 0:
            provider.force_flush()  # on a thread of its own in an app; here no faster than it can be worked off
        if number + 1 in (count // 3, count):
            await asyncio.sleep(0)
            provider.force_flush()
            seen.append(memory())
    (blocks, resident), (last_blocks, last_resident) = seen
    calls = count - count // 3
    print(
        f"{kind:14} {variant:7} {count:8,} {resident / 2**20:8.1f} {last_resident / 2**20:8.1f} MiB"
        f" {(last_resident - resident) / calls:8.1f} bytes {(last_blocks - blocks) / calls:8.3f} blocks",
        flush=True,
    )


def main(arguments: list[str]) -> None:
    if arguments and arguments[0] in VARIANTS:
        variant, kind, count = arguments
        asyncio.run(measure(variant, kind, int(count)))
        return
    calls, streams = (int(each) for each in (arguments + [str(CALLS), str(STREAMS)][len(arguments) :]))
    print(f"{'':22} {'count':>8} {'a third':>8} {'the end':>12} {'a call since, resident':>14} {'and allocated':>14}")
    for kind in KINDS:
        for variant in VARIANTS:
            count = streams if "stream" in kind else calls
            subprocess.run([sys.executable, __file__, variant, kind, str(count)], check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
