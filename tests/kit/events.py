"""Events for tests."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from infraprism.schema import Event

START_NS = 1_790_000_000_000_000_000


def event(number: int = 1, **changes: Any) -> Event:
    """The event of a successful call with the common fields. `number` is its trace id and span id."""
    values: dict[str, Any] = {
        "trace_id": number,
        "span_id": number,
        "timestamp_ns": START_NS + number,
        "model": "gpt-4o",
        "provider": "openai",
        "operation": "chat",
        "latency_ms": 1200,
        "success": True,
        "input_tokens": 150,
        "output_tokens": 500,
        "cost_usd": Decimal("0.0065"),
        "cost_status": "priced",
        "entity_type": "customer",
        "entity_id": "acme-corp",
    }
    return Event(**{**values, **changes})


def events(count: int, first: int = 1) -> list[Event]:
    """As many events of different calls, numbered from `first`."""
    return [event(number) for number in range(first, first + count)]
