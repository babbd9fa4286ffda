"""Events to test with: plain ones, and any that there can be."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from infraprism.schema import Event, fields

START_NS = 1_790_000_000_000_000_000


def event(number: int = 1, **changes: Any) -> Event:
    """A successful call with the common fields; `number` makes its identity."""
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
    """So many events, each its own call."""
    return [event(number) for number in range(first, first + count)]


def _maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


_counts = st.one_of(st.integers(0, 300), st.integers(0, fields.MAX_TOKENS))
_texts = st.text(max_size=300)


def any_event() -> st.SearchStrategy[Event]:
    """Every kind of event, with bounds, absences, and text of all scripts."""
    detail = {
        field.name: _maybe(
            st.sampled_from(field.values) if field.values else st.booleans() if field.kind == "bool" else _counts
        )
        for field in fields.USAGE_DETAIL
    }
    return st.builds(
        lambda **values: Event(**values),  # builds() would read the parameters off the base class
        trace_id=st.integers(0, (1 << 128) - 1),
        span_id=st.integers(0, (1 << 64) - 1),
        timestamp_ns=st.integers(0, (1 << 63) - 1),
        model=st.from_regex(fields.MODEL.regex, fullmatch=True) | _texts,
        provider=st.sampled_from(fields.PROVIDERS),
        operation=st.sampled_from(fields.OPERATIONS),
        latency_ms=st.integers(0, fields.MAX_LATENCY_MS),
        success=st.booleans(),
        input_tokens=_maybe(_counts),
        output_tokens=_maybe(_counts),
        cost_usd=_maybe(st.decimals(0, 10**6, allow_nan=False, allow_infinity=False, places=9)),
        cost_status=_maybe(st.sampled_from(fields.COST_STATUSES)),
        entity_type=_maybe(st.sampled_from(fields.ENTITY_TYPES)),
        entity_id=_maybe(_texts),
        session_id=_maybe(_texts),
        tags=st.dictionaries(st.from_regex(fields.TAG_KEY, fullmatch=True), _texts, max_size=5),
        error_type=_maybe(st.sampled_from(fields.ERROR_TYPES)),
        error_code=_maybe(st.from_regex(fields.ERROR_CODE.regex, fullmatch=True)),
        **detail,
    )
