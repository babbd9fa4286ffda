from __future__ import annotations

import gc
from collections.abc import Iterator

import openai
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tests.kit.provider import CANARY

from infraprism.instrumentation import instrument, uninstrument
from infraprism.instrumentation.call import delivery_stats
from infraprism.local_provider import LocalProvider

# Clients of before run on asyncio alone.
collect_ignore = ["test_other_event_loops.py"] if openai.__version__.startswith(("0.", "1.")) else []


class Recorded:
    """The spans of a provider that `instrument` was given."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())

    def only(self) -> ReadableSpan:
        """The one span there is."""
        (span,) = self.spans
        return span

    def clear(self) -> None:
        self._exporter.clear()


@pytest.fixture(scope="session", autouse=True)
def _old_objects_are_left_out_of_collections() -> Iterator[None]:
    """What is imported stays, and to look through it takes longer than all else when a test collects garbage."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="session")
def shared_provider() -> Iterator[LocalProvider]:
    with LocalProvider(canary=CANARY, slow_s=0.2) as local:
        yield local


@pytest.fixture
def provider(shared_provider: LocalProvider) -> LocalProvider:
    shared_provider.clear()
    return shared_provider


@pytest.fixture
def recorded() -> Iterator[Recorded]:
    """Everything instrumented, with the spans at hand; no error of ours may have been swallowed meanwhile."""
    found = Recorded()
    before = delivery_stats.snapshot()["errors"]
    instrument(found.provider)
    yield found
    uninstrument()
    found.provider.shutdown()
    assert delivery_stats.snapshot()["errors"] == before


@pytest.fixture(autouse=True)
def _nothing_stays_instrumented() -> Iterator[None]:
    yield
    uninstrument()
