"""The dialects' fixtures: spans as each instrumentation writes them, and the events that they are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, Status, StatusCode
from tests.kit.spans import START_NS, KeepsEndedSpans, provider_with

from infraprism.schema import Event

FOLDER = Path(__file__).resolve().parents[1] / "dialects" / "fixtures"
CANARY = "CANARY"
"""Stands in each place of a fixture where content does."""
COUNTS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
_NS_PER_MS = 1_000_000


@dataclass(frozen=True, eq=False)
class Case:
    """One span. `event` are fields of the event it is, None if it is none; `billed` what the provider reported."""

    dialect: str
    number: int
    scenario: str
    span: dict[str, Any]
    event: dict[str, Any] | None
    billed: dict[str, int] | None = None
    note: str = ""

    def __str__(self) -> str:
        return f"{self.dialect}: {self.number} {self.scenario}"


def cases() -> list[Case]:
    """Every case of every fixture file."""
    return list(_cases())


def _cases() -> Iterator[Case]:
    for path in sorted(FOLDER.glob("*.json")):
        file = json.loads(path.read_text(encoding="utf-8"))
        for number, case in enumerate(file["cases"]):
            yield Case(file["dialect"], number, **case)


def ended(span: dict[str, Any]) -> ReadableSpan:
    """The span, started and ended through the SDK."""
    kept = KeepsEndedSpans()
    tracer = provider_with(kept).get_tracer(span["scope"])
    made = tracer.start_span(span["name"], kind=SpanKind[span["kind"]], start_time=START_NS)
    for key, value in span["attributes"].items():
        made.set_attribute(key, value)
    for event in span.get("events", ()):
        made.add_event(event["name"], event["attributes"], START_NS + event.get("at_ms", 0) * _NS_PER_MS)
    if "status" in span:
        made.set_status(Status(StatusCode[span["status"]], span.get("status_text")))
    made.end(end_time=START_NS + span["duration_ms"] * _NS_PER_MS)
    return kept.spans[0]


def said(event: Event, expected: dict[str, Any]) -> dict[str, Any]:
    """Of an event what a fixture speaks of: the counts and the error always, other fields where it names them."""
    always = ("operation", "provider", "model", "error_type", "error_code", *COUNTS)
    values = {name: getattr(event, name) for name in dict.fromkeys((*always, *expected))}
    parts = COUNTS[2:]
    return {name: value for name, value in values.items() if value is not None and not (name in parts and value == 0)}
