"""Whether two spans of different instrumentations report the same call, and how well they match.

The rules, in order; the first one that decides ends the comparison:

1. Different operations are two calls: `chat` and `embeddings`. `chat` and `completion` are the same operation.
2. Different response ids of one provider are two calls: `chatcmpl-1` and `chatcmpl-2`.
3. The same response id is one call, if the spans are at most 10 s apart: some servers repeat their ids.
4. Different counts are two calls: 111 and 112 input tokens. Unknown counts differ from none. Input tokens with and
   without the tokens of the cache are equal.
5. Spans of two traces are two calls, unless one of them is the root of its trace.
6. An answered call and one that failed without counts are two calls.
7. Two models of providers are two calls: `gpt-4o` and `gpt-4o-mini`. An alias (`my-deployment`) is not another model.
8. The times decide. They match if one of these holds:
   - A span that ended at its first chunk (LlamaIndex): the first chunk came during the other span.
   - A span that ended when its stream began (Logfire, MLflow): both started together.
   - A record written after the call (AG2): it follows the call in the same trace, and the counts are equal.
   - One span contains the other, and one of: the counts are equal; the durations are similar; both failed with the same
     error (LiteLLM passes a failure on late). With an alias both start and end together in place of similar durations.
9. An event that our exporter sent has no parent on the wire. If the span is not its child, the counts are equal, or
   both failed with the same error. In another trace the model is the same as well, and both start and end together.

That two spans of one scope are two calls is the rule of the caller, who also matches each call only once.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from infraprism.deduplication.candidate import Candidate
from infraprism.deduplication.model_names import ModelMatch, compare_models
from infraprism.deduplication.span_report import MILLISECOND_NS, SpanReport
from infraprism.dialects.table import Layer

SECOND_NS: Final = 1_000_000_000
BEFORE_NS: Final = 2 * MILLISECOND_NS
"""How much earlier than the outer span the inner one may start: clocks are read one after the other, some in
milliseconds."""
AFTER_NS: Final = 5 * MILLISECOND_NS
"""How much later than the outer span the inner one may end."""
CALLBACK_GAP_NS: Final = SECOND_NS // 5
"""The same for two frameworks' spans: a framework runs their callbacks one after the other."""
RECORD_NS: Final = MILLISECOND_NS
"""The longest duration of a record that is written after the call."""
RECORD_GAP_NS: Final = SECOND_NS
"""How long after the call such a record may be written."""
SAME_ID_GAP_NS: Final = 10 * SECOND_NS

CONTAINED, NEARLY_CONTAINED, NOT_CONTAINED = range(3)
RELATED, SAME_TRACE, ROOT_OF_A_TRACE, OTHER_TRACE = range(4)
EQUAL, PARTLY_KNOWN, EXCLUDES_CACHED, DIFFERENT = range(4)


class Evidence(NamedTuple):
    """How well two spans match; the smaller is the better. The fields are compared in this order."""

    id_unconfirmed: bool
    """Whether no response id shows that the call is the same."""
    trace_distance: int
    """RELATED, SAME_TRACE or ROOT_OF_A_TRACE."""
    counts: int
    """EQUAL, PARTLY_KNOWN or EXCLUDES_CACHED."""
    containment: int
    """CONTAINED, NEARLY_CONTAINED or NOT_CONTAINED: by response id, at the start of a stream, or for a record."""
    gap_ns: int
    """The longer of the times between the starts and between the ends, or the time between the first chunks."""


def evidence(one: SpanReport, other: SpanReport) -> Evidence | None:
    """How well two spans of different scopes match; None if they report two calls."""
    a, b = one.candidate, other.candidate
    if not same_operation(a, b) or response_ids_differ(a, b):
        return None
    chunk_gap_ns = _first_chunk_gap_ns(one, other)
    if chunk_gap_ns is None:
        containment, gap_ns = _containment(a, b), max(abs(a.start_ns - b.start_ns), abs(a.end_ns - b.end_ns))
    else:
        containment, gap_ns = NEARLY_CONTAINED, chunk_gap_ns
    id_unconfirmed = not _same_response_id(a, b)
    found = Evidence(id_unconfirmed, _trace_distance(a, b), _compare_counts(one, other), containment, gap_ns)
    if not id_unconfirmed:
        apart_ns = max(a.start_ns, b.start_ns) - min(a.end_ns, b.end_ns)
        return found if apart_ns <= SAME_ID_GAP_NS else None
    if _contradict(one, other, found):
        return None
    return found if chunk_gap_ns is not None or _times_match(one, other, found) else None


def repeats(one: SpanReport, other: SpanReport) -> bool:
    """Whether two spans of one scope in one trace report the same call: the same response id and counts, contained."""
    a, b = one.candidate, other.candidate
    return (
        a.scope == b.scope
        and a.trace_id == b.trace_id
        and a.parent_id != b.parent_id
        and _same_response_id(a, b)
        and same_operation(a, b)
        and _compare_counts(one, other) == EQUAL
        and _containment(a, b) != NOT_CONTAINED
    )


def _contradict(one: SpanReport, other: SpanReport, found: Evidence) -> bool:
    """Rules 4 to 7, and 9."""
    return (
        found.counts >= DIFFERENT
        or found.trace_distance >= OTHER_TRACE
        or _outcomes_contradict(one, other)
        or compare_models(one.models, other.models) is ModelMatch.DIFFERENT
        or ((one.is_event or other.is_event) and not _is_clear_for_event(one, other, found))
    )


def _is_clear_for_event(one: SpanReport, other: SpanReport, found: Evidence) -> bool:
    """Rule 9."""
    if found.trace_distance == RELATED:
        return True
    if found.trace_distance == SAME_TRACE:
        return found.counts == EQUAL or _fail_together(one, other)
    is_same_model = compare_models(one.models, other.models) is ModelMatch.SAME
    is_counted = found.counts == EQUAL and not one.counts_nothing
    return is_counted and is_same_model and _start_and_end_together(one.candidate, other.candidate)


def _times_match(one: SpanReport, other: SpanReport, found: Evidence) -> bool:
    """Rule 8, but for spans that ended at their first chunk."""
    a, b = one.candidate, other.candidate
    if one.is_stream_start or other.is_stream_start:
        return _start_together(a, b)
    if found.containment == NOT_CONTAINED:
        return _is_record_of_call(a, b, found) or _is_record_of_call(b, a, found)
    if found.counts == EQUAL or _fail_together(one, other):
        return True
    is_alias = compare_models(one.models, other.models) is ModelMatch.ALIAS
    return _start_and_end_together(a, b) if is_alias else _have_similar_durations(a, b)


def same_operation(a: Candidate, b: Candidate) -> bool:
    """Whether both report the same operation; `other` is unknown, and chat and completion are the same."""
    one, other = a.parsed.operation, b.parsed.operation
    return one == other or "other" in (one, other) or {one, other} == {"chat", "completion"}


def response_ids_differ(a: Candidate, b: Candidate) -> bool:
    """Whether both have a response id of the same provider, and not the same one.

    Frameworks generate ids of their own, with another prefix: `run--77` of LangChain and `chatcmpl-1`.
    """
    one, other = a.parsed.span_fields.response_id, b.parsed.span_fields.response_id
    if one is None or other is None or one == other:
        return False
    return _id_prefix(one) == _id_prefix(other)


def _id_prefix(response_id: str) -> str:
    return response_id.replace("_", "-").partition("-")[0]


def _same_response_id(a: Candidate, b: Candidate) -> bool:
    response_id = a.parsed.span_fields.response_id
    return response_id is not None and response_id == b.parsed.span_fields.response_id


def _trace_distance(a: Candidate, b: Candidate) -> int:
    """RELATED: the same parent, or one is the parent of the other. ROOT_OF_A_TRACE: one has a trace of its own.

    A client's span has a trace of its own if the framework does not make its span the current one.
    """
    if a.trace_id == b.trace_id:
        related = a.parent_id in (b.parent_id, b.span_id) or b.parent_id == a.span_id
        return RELATED if related else SAME_TRACE
    return ROOT_OF_A_TRACE if not a.parent_id or not b.parent_id else OTHER_TRACE


def counts_equal(one: SpanReport, other: SpanReport) -> bool:
    """Whether the input and output tokens of two spans are equal, or unknown to both."""
    return (one.input_tokens, one.output_tokens) == (other.input_tokens, other.output_tokens)


def _compare_counts(one: SpanReport, other: SpanReport) -> int:
    """EQUAL, PARTLY_KNOWN (those known to both are equal), EXCLUDES_CACHED or DIFFERENT."""
    if None not in (one.output_tokens, other.output_tokens) and one.output_tokens != other.output_tokens:
        return DIFFERENT
    if one.input_tokens is None or other.input_tokens is None:
        return PARTLY_KNOWN
    if one.input_tokens == other.input_tokens:
        return EQUAL if one.output_tokens == other.output_tokens else PARTLY_KNOWN
    return EXCLUDES_CACHED if _excludes_cached(one, other) or _excludes_cached(other, one) else DIFFERENT


def _excludes_cached(one: SpanReport, other: SpanReport) -> bool:
    """Whether the input of one excludes the tokens that the other reports as read from or written to the cache."""
    usage = other.candidate.parsed.usage
    cached = (usage.cache_read_tokens or 0) + (usage.cache_write_tokens or 0)
    return bool(cached) and (one.input_tokens or 0) + cached == other.input_tokens


def _outcomes_contradict(one: SpanReport, other: SpanReport) -> bool:
    """Whether one span reports an answer with counts, and the other a failure without."""
    if one.candidate.outcome.success is other.candidate.outcome.success:
        return False
    answered, failed = (one, other) if one.candidate.outcome.success else (other, one)
    return answered.output_tokens is not None and failed.output_tokens is None


def _fail_together(one: SpanReport, other: SpanReport) -> bool:
    """Whether both started together and failed with the same error, without counts."""
    a, b = one.candidate, other.candidate
    same = not a.outcome.success and a.outcome == b.outcome and a.outcome.error_type != "other"
    return same and one.counts_nothing and other.counts_nothing and _start_together(a, b)


def _containment(a: Candidate, b: Candidate) -> int:
    """CONTAINED: one span lies within the other in time. NEARLY_CONTAINED: within the tolerances of the clocks."""
    outer, inner = (a, b) if a.end_ns - a.start_ns >= b.end_ns - b.start_ns else (b, a)
    before_ns, after_ns = outer.start_ns - inner.start_ns, inner.end_ns - outer.end_ns
    if before_ns <= 0 and after_ns <= 0:
        return CONTAINED
    # However short the inner one is: if it starts after the end of the outer one, it is another call.
    nearly = before_ns <= BEFORE_NS and after_ns <= AFTER_NS and inner.start_ns - outer.end_ns <= BEFORE_NS
    apart_ns = max(abs(before_ns), abs(after_ns))
    are_callbacks = a.parsed.layer == b.parsed.layer == Layer.FRAMEWORK and apart_ns <= CALLBACK_GAP_NS
    return NEARLY_CONTAINED if nearly or are_callbacks else NOT_CONTAINED


def is_record(found: Candidate) -> bool:
    """Whether a span is so short that it can be a record written after the call."""
    return found.end_ns - found.start_ns <= RECORD_NS


def _is_record_of_call(record: Candidate, call: Candidate, found: Evidence) -> bool:
    if found.counts != EQUAL or found.trace_distance > SAME_TRACE or not is_record(record) or is_record(call):
        return False
    return 0 <= record.start_ns - call.end_ns <= RECORD_GAP_NS


def _first_chunk_gap_ns(one: SpanReport, other: SpanReport) -> int | None:
    """The time between the first chunks, if one span ended at its first chunk and the other received it."""
    ended, read = (one, other.candidate) if one.first_chunk_ns is not None else (other, one.candidate)
    if ended.first_chunk_ns is None or (one.first_chunk_ns is not None and other.first_chunk_ns is not None):
        return None
    if read.start_ns < ended.candidate.start_ns - BEFORE_NS or not (
        read.start_ns <= ended.first_chunk_ns <= read.end_ns + AFTER_NS
    ):
        return None
    first_ms = read.parsed.span_fields.time_to_first_token_ms
    return abs(ended.first_chunk_ns - read.start_ns - (first_ms or 0) * MILLISECOND_NS)


def _start_together(a: Candidate, b: Candidate) -> bool:
    """At most 0.3 s, or 30 % of the longer duration, between the starts."""
    longer_ns = max(a.end_ns - a.start_ns, b.end_ns - b.start_ns)
    return abs(a.start_ns - b.start_ns) <= max(3 * SECOND_NS // 10, longer_ns * 3 // 10)


def _start_and_end_together(a: Candidate, b: Candidate) -> bool:
    """The same, and at most 0.1 s, or 25 % of the longer duration, between the ends."""
    longer_ns = max(a.end_ns - a.start_ns, b.end_ns - b.start_ns)
    return _start_together(a, b) and abs(a.end_ns - b.end_ns) <= max(SECOND_NS // 10, longer_ns // 4)


def _have_similar_durations(a: Candidate, b: Candidate) -> bool:
    """The durations differ by at most 0.2 s plus half of the longer one."""
    one_ns, other_ns = a.end_ns - a.start_ns, b.end_ns - b.start_ns
    return abs(one_ns - other_ns) <= max(one_ns, other_ns) // 2 + SECOND_NS // 5
