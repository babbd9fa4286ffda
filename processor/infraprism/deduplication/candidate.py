"""A span that reports a billed call, before it is known which other spans report the same call."""

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
    """One span's report of a call. Times are in nanoseconds since 1970.

    `parent_id` is 0 if the span has no parent. `scope` is the name of the instrumentation scope.
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
