"""An application that does not use InfraPrism itself. It runs the steps in the order of its arguments.

    python shop.py STEP ...

`SHOP_PACKAGES` names the client packages that it calls: "openai", or "openai,anthropic", which is the default.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import openai
from opentelemetry import trace

CALLS_BOTH = os.environ.get("SHOP_PACKAGES", "openai,anthropic") == "openai,anthropic"
"""The anthropic package is slow to import, so most tests do not use it."""
if CALLS_BOTH:
    import anthropic

MESSAGES: list[Any] = [{"role": "user", "content": "How do I return my order?"}]


def calls() -> None:
    """Three calls, or only the two of openai, in a span of the application."""
    with trace.get_tracer("shop").start_as_current_span("order", attributes={"order.items": 3}):
        with openai.OpenAI() as client:
            client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
            stream = client.chat.completions.create(
                model="gpt-4o-mini", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
            )
            for _ in stream:
                pass
        if CALLS_BOTH:
            with anthropic.Anthropic() as client:
                client.messages.create(model="claude-haiku-4-5", messages=MESSAGES, max_tokens=5)


def provider() -> None:
    """Set a tracer provider."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    own = TracerProvider(resource=Resource.create({"service.name": "shop", "service.instance.id": "1"}))
    own.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(own)
    print("the provider is the app's own:", trace.get_tracer_provider() is own)


def instrument() -> None:
    """Call `instrument` in the application, if InfraPrism is installed."""
    try:
        from infraprism.instrumentation import instrument as instrument_packages
    except ImportError:
        return
    instrument_packages()


def fork() -> None:
    """Make the calls in a forked child."""
    _in_child("fork")


def spawn() -> None:
    """Make the calls in a spawned child."""
    _in_child("spawn")


def forkserver() -> None:
    """Make the calls in a child of a fork server."""
    _in_child("forkserver")


def pool() -> None:
    """Make the calls in a process pool, which is closed as its documentation recommends."""
    with multiprocessing.get_context("fork").Pool(1) as workers:
        workers.apply(calls)
        workers.close()
        workers.join()


def executor() -> None:
    """Make the calls in a process of an executor."""
    with ProcessPoolExecutor(1) as workers:
        workers.submit(calls).result(60)


def os_fork() -> None:
    """Make the calls in a child of `os.fork`, which exits as a script does."""
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
