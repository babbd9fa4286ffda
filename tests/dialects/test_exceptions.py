"""One reader of recorded exceptions, for the processor and for the functions of dialects."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from infraprism.dialects.exceptions import MAX_EVENTS_READ, recorded_exceptions
from infraprism.dialects.table import RawSpan
from infraprism.processor.span_events import exceptions


def _span(*events: tuple[str, Any]) -> Any:
    return SimpleNamespace(events=[SimpleNamespace(name=name, attributes=attributes) for name, attributes in events])


def _both(span: Any) -> list[str]:
    types = exceptions(span)[0]
    assert RawSpan("", None, {}, span).exception_types() == types
    return types


def test_the_last_exception_is_first_and_only_short_texts_are_types() -> None:
    events = [("exception", {"exception.type": kind}) for kind in ("A", 5, "x" * 100_000, "B")]
    assert _both(_span(*events, ("log", {"exception.type": "C"}), ("exception", None))) == ["B", "A"]


def test_only_the_last_events_are_read() -> None:
    events = [("exception", {"exception.type": str(number)}) for number in range(MAX_EVENTS_READ + 2)]
    assert _both(_span(*events)) == [str(number) for number in range(MAX_EVENTS_READ + 1, 1, -1)]


def test_the_message_is_that_of_the_first_exception() -> None:
    span = _span(*(("exception", {"exception.type": "A", "exception.message": text}) for text in ("one", "two")))
    assert recorded_exceptions(span) == (["A", "A"], "one")


def test_events_that_cannot_be_read_lose_no_call() -> None:
    assert _both(SimpleNamespace(events=None)) == []
