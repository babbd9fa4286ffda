"""What spans say about calls, made by hand: times in milliseconds after an arbitrary moment."""

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
_NOTHING_SAID: Final[dict[str, Any]] = dict.fromkeys(SpanFields._fields)


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
    **said: Any,
) -> Candidate:
    """A span of a trace of its own, unless said otherwise. `said` are further fields of `SpanFields`."""
    values = {**_NOTHING_SAID, "request_model": model, "response_id": response_id, **said}
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


def settle(*found: Candidate, deduplicator: Deduplicator | None = None) -> list[Candidate]:
    """The calls that these are, given in the order in which they end."""
    deduplicator = deduplicator or Deduplicator()
    calls = []
    for each in sorted(found, key=lambda c: c.end_ns):
        now_s = (each.end_ns - EPOCH_NS) / 1e9
        calls += deduplicator.due(now_s)
        deduplicator.add(each, now_s)
    return calls + deduplicator.close()
