"""A span that says it is a billed call, before it is known whether other spans say the same of that call."""

from typing import NamedTuple

from infraprism.attribution.scope import Attribution
from infraprism.dialects.engine import ParsedSpan


class Outcome(NamedTuple):
    """How the call ended: the event's `success`, `error_type` and `error_code`."""

    success: bool = True
    error_type: str | None = None
    error_code: str | None = None


SUCCESS = Outcome()


class Candidate(NamedTuple):
    """What one span says about a call. Times are in nanoseconds since 1970.

    `parent_id` is 0 where the span has no parent; `scope` is the name of the instrumentation scope.
    """

    trace_id: int
    span_id: int
    parent_id: int
    scope: str
    start_ns: int
    end_ns: int
    parsed: ParsedSpan
    outcome: Outcome
    attribution: Attribution
