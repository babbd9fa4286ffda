"""Whether an enclosing span repeats one of its nested calls, sums all of them up, or is a call of its own.

The rules, in order; the first one that decides ends the comparison:

1. Only calls of the same operation count that started before the enclosing span ended. Some instrumentations leave an
   ended span the current one, and the next call becomes its child.
2. The same response id: the enclosing span repeats that call. Another id of the same provider: it does not.
3. The sum of the counts of several calls: the span of an agent, which is no call.
4. One scope reports both spans: they are two calls, unless the nested calls take up the duration of the enclosing span,
   or the enclosing span names no operation and has the counts of the nested one.
5. Equal counts: it repeats the last such call.
6. No counts: it repeats the last call; not if it alone failed and the calls have other models.
7. Other counts: it repeats the last call of its model. Otherwise it is a call of its own.

The calls before the last one are attempts that failed.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from infraprism.deduplication.evidence import AFTER_NS, counts_equal, response_ids_differ, same_operation
from infraprism.deduplication.reported_call import ReportedCall
from infraprism.deduplication.span_report import MILLISECOND_NS, SpanReport


class Enclosing(Enum):
    """What an enclosing span reports, if not one of its nested calls."""

    OWN_CALL = "a call of its own"
    SUM = "the sum of its nested calls"


def match_enclosing(outer: SpanReport, nested: Sequence[ReportedCall]) -> ReportedCall | Enclosing:
    """Which of its nested calls an enclosing span repeats, if any. `nested`: in the order in which they ended."""
    response_id = outer.candidate.parsed.span_fields.response_id
    calls = [call for call in nested if any(_can_repeat(outer, r) for r in call.reports)]
    if response_id is not None:
        for call in calls:
            if any(r.candidate.parsed.span_fields.response_id == response_id for r in call.reports):
                return call
    calls = [call for call in calls if not any(response_ids_differ(outer.candidate, r.candidate) for r in call.reports)]
    if len(calls) > 1 and _is_sum(outer, calls):
        return Enclosing.SUM
    if not _is_filled_by(outer, calls):
        scope = outer.candidate.scope
        calls = [call for call in calls if scope not in call.scopes or _repeats_without_operation(outer, call)]
    return _match_by_counts(outer, calls) if calls else Enclosing.OWN_CALL


def only_counted(calls: Sequence[ReportedCall]) -> ReportedCall | None:
    """The one call that has counts; the others are failed attempts."""
    counted = [call for call in calls if not _is_uncounted(call)]
    return counted[0] if len(counted) == 1 else None


def _can_repeat(outer: SpanReport, inner: SpanReport) -> bool:
    a, b = inner.candidate, outer.candidate
    return same_operation(a, b) and a.start_ns <= b.end_ns + AFTER_NS


def _is_sum(outer: SpanReport, calls: Sequence[ReportedCall]) -> bool:
    if outer.counts_nothing:
        return False
    usages = [call.merged().parsed.usage for call in calls]
    return (sum(usage.input_tokens or 0 for usage in usages), sum(usage.output_tokens or 0 for usage in usages)) == (
        outer.input_tokens or 0,
        outer.output_tokens or 0,
    )


def _is_filled_by(outer: SpanReport, calls: Sequence[ReportedCall]) -> bool:
    """Whether the calls take up the duration of the enclosing span: at most 10 % or 3 ms are missing at either end.

    A stream that is still being read when another call is made does not end with that call.
    """
    if not calls:
        return True
    found = outer.candidate
    inner = [r.candidate for call in calls for r in call.reports]
    margin_ns = max(3 * MILLISECOND_NS, (found.end_ns - found.start_ns) // 10)
    if min(c.start_ns for c in inner) - found.start_ns > margin_ns:
        return False
    # A failure without counts may be passed on late.
    passes_failure_on = outer.counts_nothing and not found.outcome.success and all(map(_failed, calls))
    return passes_failure_on or found.end_ns - max(c.end_ns for c in inner) <= margin_ns


def _repeats_without_operation(outer: SpanReport, call: ReportedCall) -> bool:
    """Whether the enclosing span names no operation and has the counts of a call that does."""
    if outer.candidate.parsed.operation != "other" or outer.counts_nothing:
        return False
    return any(r.candidate.parsed.operation != "other" and counts_equal(outer, r) for r in call.reports)


def _match_by_counts(outer: SpanReport, calls: Sequence[ReportedCall]) -> ReportedCall | Enclosing:
    if outer.counts_nothing:
        failed_alone = not outer.candidate.outcome.success and not any(_failed(c) or _is_uncounted(c) for c in calls)
        if failed_alone and not _of_same_model(outer, calls):
            return Enclosing.OWN_CALL
        return calls[-1]
    equal = [call for call in calls if any(counts_equal(outer, r) for r in call.reports)]
    if equal:
        return equal[-1]
    same_model = _of_same_model(outer, calls)
    return same_model[-1] if same_model else Enclosing.OWN_CALL


def _of_same_model(outer: SpanReport, calls: Sequence[ReportedCall]) -> list[ReportedCall]:
    if not outer.models:
        return list(calls)
    return [call for call in calls if any(not r.models or r.models & outer.models for r in call.reports)]


def _failed(call: ReportedCall) -> bool:
    return not any(r.candidate.outcome.success for r in call.reports)


def _is_uncounted(call: ReportedCall) -> bool:
    """For example an abandoned stream, which the enclosing span may report as a failure (Langfuse)."""
    return all(r.counts_nothing for r in call.reports)
