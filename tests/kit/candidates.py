"""What spans say about calls, made by hand: times in milliseconds after an arbitrary moment."""

from __future__ import annotations

from itertools import count
from typing import Any, Final

from infraprism.processor.attribution import NOTHING, Attribution
from infraprism.processor.dialects.engine import Reading
from infraprism.processor.dialects.table import Layer, Said
from infraprism.processor.settling.candidate import SUCCESS, Candidate, Outcome
from infraprism.processor.settling.settler import Settler
from infraprism.processor.usage import Usage

EPOCH_NS: Final = 1_790_000_000_000_000_000
RATE_LIMITED: Final = Outcome(success=False, error_type="rate_limit", error_code="429")
_numbers = count(1000)
_NOTHING_SAID: Final[dict[str, Any]] = dict.fromkeys(Said._fields)


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
    whose: Attribution = NOTHING,
    layer: Layer = Layer.CLIENT,
    rank: int = 0,
    usage: dict[str, Any] | None = None,
    **said: Any,
) -> Candidate:
    """A span of a trace of its own, unless said otherwise. `said` are further fields of `Said`."""
    values = {**_NOTHING_SAID, "request_model": model, "response_id": response_id, **said}
    counted = Usage(*tokens)._replace(**(usage or {}))
    return Candidate(
        trace_id=trace_id or next(_numbers),
        span_id=span_id or next(_numbers),
        parent_id=parent_id,
        scope=scope,
        start_ns=EPOCH_NS + int(start_ms * 1_000_000),
        end_ns=EPOCH_NS + int(end_ms * 1_000_000),
        reading=Reading(operation, Said(**values), counted, {}, layer=layer, rank=rank),
        outcome=outcome,
        whose=whose,
    )


def settle(*found: Candidate, settler: Settler | None = None) -> list[Candidate]:
    """The calls that these are, given in the order in which they end."""
    settler = settler or Settler()
    calls = []
    for each in sorted(found, key=lambda c: c.end_ns):
        now_s = (each.end_ns - EPOCH_NS) / 1e9
        calls += settler.settled(now_s)
        settler.add(each, now_s)
    return calls + settler.close()
