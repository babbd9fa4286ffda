"""An ordinary app that knows nothing of InfraPrism, and does the steps that it is told to, in their order.

    python shop.py STEP ...

`SHOP_ASKS` names the client packages that it calls: "openai", or "openai,anthropic", which is the default.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import openai
from opentelemetry import trace

ASKS_BOTH = os.environ.get("SHOP_ASKS", "openai,anthropic") == "openai,anthropic"
"""The anthropic package is slow to import, so an app that need not show it goes without."""
if ASKS_BOTH:
    import anthropic

MESSAGES: list[Any] = [{"role": "user", "content": "How do I return my order?"}]


def calls() -> None:
    """Three calls, or the two of openai alone, beneath a span of the app's own."""
    with trace.get_tracer("shop").start_as_current_span("order", attributes={"order.items": 3}):
        with openai.OpenAI() as client:
            client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
            stream = client.chat.completions.create(
                model="gpt-4o-mini", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
            )
            for _ in stream:
                pass
        if ASKS_BOTH:
            with anthropic.Anthropic() as client:
                client.messages.create(model="claude-haiku-4-5", messages=MESSAGES, max_tokens=5)


def provider() -> None:
    """The app sets a tracer provider of its own."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    own = TracerProvider(resource=Resource.create({"service.name": "shop", "service.instance.id": "1"}))
    own.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(own)
    print("the provider is the app's own:", trace.get_tracer_provider() is own)


def instrument() -> None:
    """The app switches InfraPrism on itself as well; without InfraPrism there is nothing to do."""
    try:
        from infraprism.instrumentation import instrument as switch_on
    except ImportError:
        return
    switch_on()


def fork() -> None:
    """A child that is forked makes the calls."""
    _in_child("fork")


def spawn() -> None:
    """A child that is started anew makes the calls."""
    _in_child("spawn")


def forkserver() -> None:
    """A child of a server that forks makes the calls."""
    _in_child("forkserver")


def pool() -> None:
    """A process of a pool makes the calls, and the pool is closed as its documentation says."""
    with multiprocessing.get_context("fork").Pool(1) as workers:
        workers.apply(calls)
        workers.close()
        workers.join()


def executor() -> None:
    """A process of an executor makes the calls."""
    with ProcessPoolExecutor(1) as workers:
        workers.submit(calls).result(60)


def os_fork() -> None:
    """A child that nobody wraps makes the calls, and leaves as a script does."""
    child = os.fork()
    if not child:
        calls()
        sys.exit(0)
    print("child ended with", os.waitpid(child, 0)[1])


def _in_child(method: str) -> None:
    child = multiprocessing.get_context(method).Process(target=calls)
    child.start()
    child.join(60)
    print("child ended with", child.exitcode)


if __name__ == "__main__":
    for step in sys.argv[1:]:
        globals()[step]()
    print("done")
