from __future__ import annotations

import gc
from collections.abc import Iterator

import openai
import pytest
from tests.kit.provider import CANARY
from tests.kit.recorded_spans import RecordedSpans

from infraprism.instrumentation import instrument, uninstrument
from infraprism.instrumentation.llm_call import delivery_stats
from infraprism.local_provider import LocalProvider

# Older clients support only asyncio.
collect_ignore = ["test_other_event_loops.py"] if openai.__version__.startswith(("0.", "1.")) else []


@pytest.fixture(scope="session", autouse=True)
def _old_objects_are_excluded_from_garbage_collection() -> Iterator[None]:
    """Imported modules remain. Searching them takes most of the time when a test collects garbage."""
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
def recorded() -> Iterator[RecordedSpans]:
    """All packages are instrumented, and their spans recorded. Asserts that no internal error occurred meanwhile."""
    found = RecordedSpans()
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
