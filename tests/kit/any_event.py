"""A Hypothesis strategy of events."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from infraprism.schema import Event, fields


def _maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


_counts = st.one_of(st.integers(0, 300), st.integers(0, fields.MAX_TOKENS))
_texts = st.text(max_size=300)


def any_event() -> st.SearchStrategy[Event]:
    """Events with boundary values, absent values, and text in all scripts."""
    detail = {
        field.name: _maybe(
            st.sampled_from(field.values) if field.values else st.booleans() if field.kind == "bool" else _counts
        )
        for field in fields.USAGE_DETAIL
    }
    return st.builds(
        lambda **values: Event(**values),  # noqa: PLW0108  # builds() would ask the base class for its parameters
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
