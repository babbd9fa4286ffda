"""Candidates for deduplication, with times in milliseconds after `EPOCH_NS`."""

from __future__ import annotations

from itertools import count
from typing import Any, Final

from infraprism.attribution.scope import NOTHING, Attribution
from infraprism.deduplication.candidate import SUCCESS, Candidate, Outcome
from infraprism.deduplication.deduplicator import Deduplicator
from infraprism.dialects.engine import ParsedSpan
from infraprism.dialects.table import Layer, SpanFields
from infraprism.schema.usage import Usage

EPOCH_NS: Final = 1_790_000_000_000_000_000
RATE_LIMITED: Final = Outcome(success=False, error_type="rate_limit", error_code="429")
_numbers = count(1000)
_NO_FIELDS: Final[dict[str, Any]] = dict.fromkeys(SpanFields._fields)


def candidate(
    scope: str,
    start_ms: float,
    end_ms: float,
    tokens: tuple[int | None, int | None] = (111, 37),
    *,
    span_id: int | None = None,
    parent_id: int = 0,
    trace_id: int | None = None,
    model: str | None = "gpt-4o-mini",
    response_id: str | None = None,
    operation: str = "chat",
    outcome: Outcome = SUCCESS,
    attribution: Attribution = NOTHING,
    layer: Layer = Layer.CLIENT,
    rank: int = 0,
    usage: dict[str, Any] | None = None,
    **fields: Any,
) -> Candidate:
    """A span, by default in a trace of its own. `fields`: further fields of `SpanFields`."""
    values = {**_NO_FIELDS, "request_model": model, "response_id": response_id, **fields}
    counted = Usage(*tokens)._replace(**(usage or {}))
    return Candidate(
        trace_id=trace_id or next(_numbers),
        span_id=span_id or next(_numbers),
        parent_id=parent_id,
        scope=scope,
        start_ns=EPOCH_NS + int(start_ms * 1_000_000),
        end_ns=EPOCH_NS + int(end_ms * 1_000_000),
        parsed=ParsedSpan(operation, SpanFields(**values), counted, {}, layer=layer, rank=rank),
        outcome=outcome,
        attribution=attribution,
    )


def deduplicate(*spans: Candidate) -> list[Candidate]:
    """The calls that these spans report; each span is added at its end."""
    deduplicator = Deduplicator()
    calls = []
    for each in sorted(spans, key=lambda c: c.end_ns):
        now_s = (each.end_ns - EPOCH_NS) / 1e9
        calls += deduplicator.due(now_s)
        deduplicator.add(each, now_s)
    return calls + deduplicator.close()
