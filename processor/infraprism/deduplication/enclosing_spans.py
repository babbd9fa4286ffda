"""A span around others: a call of its own, or one that repeats what was called inside it."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from infraprism.deduplication.call import Call
from infraprism.deduplication.evidence import (
    AFTER_NS,
    MILLISECOND,
    Member,
    counts_equal,
    ids_differ,
    same_operation,
)


class Around(Enum):
    """What a span around others can be, beside another report of one of them."""

    A_CALL = "a call of its own"
    ALL = "the sum of all"


def wrapped(outer: Member, inside: Sequence[Call]) -> Call | Around:
    """Which of the calls inside a span it reports, if any: `inside` in the order in which they ended.

    It is a call of its own where it does something else, has another id of the same provider, or counts what fits
    none of them.
    """
    span_fields = outer.candidate.parsed.span_fields
    alike = [call for call in inside if any(_is_within(m, outer) for m in call.members)]
    if span_fields.response_id is not None:
        for call in alike:
            if any(m.candidate.parsed.span_fields.response_id == span_fields.response_id for m in call.members):
                return call
    alike = [call for call in alike if not any(ids_differ(outer.candidate, m.candidate) for m in call.members)]
    if len(alike) > 1 and _is_sum(outer, alike):
        return Around.ALL
    if not _fills(outer, alike):
        scope = outer.candidate.scope
        alike = [call for call in alike if scope not in call.scopes or _repeats_unnamed(outer, call)]
    return _by_counts(outer, alike) if alike else Around.A_CALL


def _repeats_unnamed(outer: Member, call: Call) -> bool:
    """Whether a span that does not say what it is counts what a call inside it does, which says it."""
    if outer.candidate.parsed.operation != "other" or outer.counts_nothing:
        return False
    return any(m.candidate.parsed.operation != "other" and counts_equal(outer, m) for m in call.members)


def _fills(outer: Member, calls: Sequence[Call]) -> bool:
    """Whether the calls inside a span fill it, from its start to its end, or it says nothing about a model.

    A stream that is still read when another call is made does not end with that call. Where one instrumentation made
    both spans, and no id tells, nothing else does.
    """
    found = outer.candidate
    if not outer.models or not calls:
        return True
    inside = [m.candidate for call in calls for m in call.members]
    margin_ns = max(3 * MILLISECOND, (found.end_ns - found.start_ns) // 10)
    if min(c.start_ns for c in inside) - found.start_ns > margin_ns:
        return False
    # What failed at once and counted nothing has only the error to pass on, however long that takes.
    passes_on = outer.counts_nothing and not found.outcome.success and all(map(_failed, calls))
    return passes_on or found.end_ns - max(c.end_ns for c in inside) <= margin_ns


def _is_within(inner: Member, outer: Member) -> bool:
    """Whether it does the same, and started while the span around it lasted.

    Some instrumentations leave their span the current one after its end, and what comes next is then below it.
    """
    a, b = inner.candidate, outer.candidate
    last_ns = a.end_ns if a.scope == b.scope else a.start_ns
    return same_operation(a, b) and last_ns <= b.end_ns + AFTER_NS


def _by_counts(outer: Member, alike: Sequence[Call]) -> Call | Around:
    if outer.counts_nothing:
        failed_alone = not outer.candidate.outcome.success and not any(_failed(c) or _counts_nothing(c) for c in alike)
        return Around.A_CALL if failed_alone and not _of_its_model(outer, alike) else _last(outer, alike)
    equal = [call for call in alike if any(counts_equal(outer, m) for m in call.members)]
    if equal:
        return _last(outer, equal)
    of_its_model = _of_its_model(outer, alike)
    uncounted = [call for call in of_its_model or alike if _could_have_counted(outer, call)]
    if uncounted and (of_its_model or len(alike) == 1):
        return _last(outer, uncounted)
    elsewhere = [call for call in of_its_model if outer.candidate.scope not in call.scopes]
    return _last(outer, elsewhere) if elsewhere else Around.A_CALL


def _of_its_model(outer: Member, calls: Sequence[Call]) -> list[Call]:
    if not outer.models:
        return list(calls)
    return [call for call in calls if any(not m.models or m.models & outer.models for m in call.members)]


def _last(outer: Member, calls: Sequence[Call]) -> Call:
    """The last of them that ended as the outer did: what came before were attempts that failed."""
    success = outer.candidate.outcome.success
    ended_alike = [call for call in calls if any(m.candidate.outcome.success is success for m in call.members)]
    return (ended_alike or calls)[-1]


def _failed(call: Call) -> bool:
    return not any(m.candidate.outcome.success for m in call.members)


def _could_have_counted(outer: Member, call: Call) -> bool:
    """Whether a call has no counts, but ended as the span around it did."""
    return _counts_nothing(call) and outer.candidate.outcome.success is not _failed(call)


def _counts_nothing(call: Call) -> bool:
    """As a stream that was left: whoever made the span around it may say that it failed."""
    return all(m.counts_nothing for m in call.members)


def _is_sum(outer: Member, calls: Sequence[Call]) -> bool:
    if outer.counts_nothing:
        return False
    counted = [call.settled().parsed.usage for call in calls]
    return (sum(usage.input_tokens or 0 for usage in counted), sum(usage.output_tokens or 0 for usage in counted)) == (
        outer.input_tokens or 0,
        outer.output_tokens or 0,
    )
