"""Whether two spans, made by different instrumentations, report the same call: the evidence, and how strong it is.

Spans of one call lie one inside the other in time, name the same model, and agree in every count that both have. That
two spans of one scope are two calls is the caller's to hold to, and so is that each is matched once: the evidence is
the stronger the smaller its tuple.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from infraprism.deduplication.candidate import Candidate
from infraprism.dialects.table import Layer
from infraprism.pricing import table
from infraprism.providers.detection import provider_of
from infraprism.schema.call_context import INSTRUMENTATION_SCOPE
from infraprism.schema.patterns import compiled

Evidence = tuple[int, ...]
"""Same id; how the model is named; how near in the traces; how well the counts agree; same outcome; how well inside in
time; and the time between the starts or the ends, whichever is longer, in nanoseconds."""

MILLISECOND: Final = 1_000_000
SECOND: Final = 1_000_000_000
BEFORE_NS: Final = 2 * MILLISECOND
"""How much earlier the inner of two spans may start, and how much later than the outer ends: clocks are read one after
the other, some in milliseconds."""
AFTER_NS: Final = 5 * MILLISECOND
"""How much later it may end."""
IN_TURN_NS: Final = SECOND // 5
"""The same, of two that a framework tells of a call one after the other, both when it begins and when it ends."""
END_GAP_NS: Final = SECOND
"""How long after the call itself a span around it may end that is not related to it: it has only the answer to pass on.
Before the call it may have waited for its turn."""
NOTE_NS: Final = MILLISECOND
"""What took no longer is no call but a note of one, written when that was over."""
NOTE_GAP_NS: Final = SECOND
"""How long after."""
SAME_ID_GAP_NS: Final = 10 * SECOND
MAX_OUTPUT_SLIP: Final = 8
"""Some add the count that a stream begins with, a few tokens, to the one that it ends with."""

_DATE: Final = r"[-@](?:20\d\d-?\d\d-?\d\d|\d{4}|\d{3}|latest)$"
_BEDROCK: Final = r"^(?:[a-z-]{2,8}\.)?(?:anthropic|meta|amazon|mistral|cohere|ai21|deepseek|openai|qwen)\."
_BEDROCK_VERSION: Final = r"-v\d+(?::\d+)*$"


@lru_cache(maxsize=1024)
def plain_model(name: str) -> str:
    """A model's name without the provider before it and the date behind it."""
    plain = name.lower().rpartition("/")[2]
    plain = compiled(_BEDROCK_VERSION).sub("", compiled(_BEDROCK).sub("", plain))
    return compiled(_DATE).sub("", plain.partition(":")[0])


class Member:
    """A candidate with what it is compared by worked out. A count of 0 tokens tells nothing and is None here."""

    __slots__ = (
        "another_comes",
        "candidate",
        "first_chunk_ns",
        "input_tokens",
        "is_ours",
        "is_stream_end",
        "is_stream_start",
        "models",
        "output_tokens",
    )

    def __init__(self, candidate: Candidate, *, has_open_children: bool = False) -> None:
        parsed = candidate.parsed
        span_fields, usage = parsed.span_fields, parsed.usage
        self.candidate = candidate
        self.is_ours = candidate.scope == INSTRUMENTATION_SCOPE
        self.input_tokens = usage.input_tokens or None
        self.output_tokens = usage.output_tokens or None
        self.models = frozenset(
            plain_model(name) for name in (span_fields.response_model, span_fields.request_model) if name
        )
        self.is_stream_end = span_fields.is_stream_end is True
        self.first_chunk_ns = _end_at_first_chunk(candidate)
        self.another_comes = has_open_children or candidate.scope.startswith("logfire.")
        self.is_stream_start = not self.is_stream_end and self._opens_stream()

    def _opens_stream(self) -> bool:
        """Whether what counts is still to come, from another span: certainly (`another_comes`) or possibly.

        Logfire ends the span of a streamed call when the headers are there, and writes another one at its end. Others
        end it then where they do not know the stream, since another instrumentation has wrapped it, whose span lasts;
        and so they have seen no chunk of it.
        """
        found = self.candidate
        return (
            not self.is_ours
            and (self.another_comes or self._saw_no_chunk)
            and found.outcome.success
            and self.counts_nothing
            and found.parsed.span_fields.response_id is None
            and found.parsed.operation in ("chat", "completion")
        )

    @property
    def _saw_no_chunk(self) -> bool:
        span_fields = self.candidate.parsed.span_fields
        return span_fields.streamed is True and span_fields.response_model is None

    def merge_stream_start(self, opening: Member) -> None:
        """It ends the stream of which this is the beginning: the two are one span.

        Whose the call is was said when it was made. A stream that is just left ends when it is collected as garbage,
        which may be while somebody else's is made.
        """
        begun = opening.candidate
        start_ns = min(self.candidate.start_ns, begun.start_ns)
        self.candidate = self.candidate._replace(start_ns=start_ns, attribution=begun.attribution)

    @property
    def counts_nothing(self) -> bool:
        """Whether it has no tokens at all."""
        return self.input_tokens is None and self.output_tokens is None


def evidence(one: Member, other: Member) -> Evidence | None:
    """How strongly two spans of different scopes look like one call; None where they cannot be."""
    a, b = one.candidate, other.candidate
    if not same_operation(a, b) or ids_differ(a, b):
        return None
    lazy_gap_ns = _lazy_gap(one, other)
    if lazy_gap_ns is None:
        inside, gap_ns = _inside(a, b), max(abs(a.start_ns - b.start_ns), abs(a.end_ns - b.end_ns))
    else:
        inside, gap_ns = 1, lazy_gap_ns
    if _same_id(a, b):
        apart = max(a.start_ns, b.start_ns) - min(a.end_ns, b.end_ns)
        return None if apart > SAME_ID_GAP_NS else (0, 0, _nearness(a, b), 0, 0, inside, gap_ns)
    nearness, counts = _nearness(a, b), _agreement(one, other)
    if inside > 1 and not counts and nearness <= _SAME_TRACE and (_is_note_of(a, b) or _is_note_of(b, a)):
        inside = 1
    opens = one.is_stream_start or other.is_stream_start
    if (inside > 1 and not opens) or counts > _SLIPPED or nearness > _ROOTED or _outcomes_contradict(one, other):
        return None
    other_name = _other_name(one.models, other.models)
    if other_name is None:
        return None
    if lazy_gap_ns is not None:
        fits = other_name != _ALIAS
    elif opens:
        fits = _start_together(a, b)
    else:
        fits = _fail_alike(one, other) or (
            not (nearness and abs(a.end_ns - b.end_ns) > END_GAP_NS)
            and (not counts or (_together(a, b) if other_name == _ALIAS else _of_one_length(a, b)))
        )
    differ = a.outcome.success is not b.outcome.success
    return (1, other_name, nearness, counts, differ, inside, gap_ns) if fits else None


def same_operation(a: Candidate, b: Candidate) -> bool:
    """Whether both do the same; chat and completion are one thing to some instrumentations."""
    one, other = a.parsed.operation, b.parsed.operation
    return one == other or "other" in (one, other) or {one, other} == {"chat", "completion"}


def ids_differ(a: Candidate, b: Candidate) -> bool:
    """Whether both have an id that the same provider gave, and not the same one.

    Frameworks make up ids of their own where they have none; those begin in another way.
    """
    one, other = a.parsed.span_fields.response_id, b.parsed.span_fields.response_id
    if one is None or other is None or one == other:
        return False
    return a.scope == b.scope or _kind_of(one) == _kind_of(other)


def _same_id(a: Candidate, b: Candidate) -> bool:
    return (
        a.parsed.span_fields.response_id is not None
        and a.parsed.span_fields.response_id == b.parsed.span_fields.response_id
    )


def _kind_of(response_id: str) -> str:
    return response_id.replace("_", "-").partition("-")[0]


_SAME_TRACE: Final = 1
_ROOTED: Final = 2


def _nearness(a: Candidate, b: Candidate) -> int:
    """0 with the same parent or one right below the other, 1 in one trace, 2 where one has a trace of its own, 3 else.

    A client's span has a trace of its own where a framework's span was not made the current one.
    """
    if a.trace_id == b.trace_id:
        related = a.parent_id in (b.parent_id, b.span_id) or b.parent_id == a.span_id
        return 0 if related else _SAME_TRACE
    return _ROOTED if not a.parent_id or not b.parent_id else _ROOTED + 1


def counts_equal(one: Member, other: Member) -> bool:
    """Whether two say the same of input and output."""
    return (one.input_tokens, one.output_tokens) == (other.input_tokens, other.output_tokens)


_SLIPPED: Final = 2


def _agreement(one: Member, other: Member) -> int:
    """0 where all counts are known and equal, 1 where some are unknown, 2 where the output slipped, 3 for others."""
    if one.output_tokens is None or other.output_tokens is None or one.output_tokens == other.output_tokens:
        if one.input_tokens is None or other.input_tokens is None:
            return 1
        if one.input_tokens == other.input_tokens:
            return 0 if one.output_tokens == other.output_tokens else 1
        return _SLIPPED if _cached_apart(one, other) or _cached_apart(other, one) else _SLIPPED + 1
    slip = abs(one.output_tokens - other.output_tokens)
    same_input = one.input_tokens is not None and one.input_tokens == other.input_tokens
    return _SLIPPED if same_input and slip <= MAX_OUTPUT_SLIP else _SLIPPED + 1


def _cached_apart(one: Member, other: Member) -> bool:
    """Whether one input leaves out what the other says was read from and written to the cache."""
    usage = other.candidate.parsed.usage
    cached = (usage.cache_read_tokens or 0) + (usage.cache_write_tokens or 0)
    return bool(cached) and (one.input_tokens or 0) + cached == other.input_tokens


def _outcomes_contradict(one: Member, other: Member) -> bool:
    """Whether one was answered and the other failed without any count."""
    if one.candidate.outcome.success is other.candidate.outcome.success:
        return False
    answered, failed = (one, other) if one.candidate.outcome.success else (other, one)
    return answered.output_tokens is not None and failed.output_tokens is None


def _fail_alike(one: Member, other: Member) -> bool:
    """Whether both began together and failed in the same way without any count: that is passed on however late."""
    a, b = one.candidate, other.candidate
    same = not a.outcome.success and a.outcome == b.outcome and a.outcome.error_type != "other"
    return same and one.counts_nothing and other.counts_nothing and _start_together(a, b)


def _inside(a: Candidate, b: Candidate) -> int:
    """0 where one lies inside the other in time, 1 where it nearly does, 2 where not."""
    outer, inner = (a, b) if a.end_ns - a.start_ns >= b.end_ns - b.start_ns else (b, a)
    before, after = outer.start_ns - inner.start_ns, inner.end_ns - outer.end_ns
    if before <= 0 and after <= 0:
        return 0
    # However short it is: one that begins when the other is over is another call.
    nearly = before <= BEFORE_NS and after <= AFTER_NS and inner.start_ns - outer.end_ns <= BEFORE_NS
    apart_ns = max(abs(before), abs(after))
    in_turn = a.parsed.layer == b.parsed.layer == Layer.FRAMEWORK and apart_ns <= IN_TURN_NS
    return 1 if nearly or in_turn else 2


def is_note(found: Candidate) -> bool:
    """Whether a span is the note of a call, by how long it took."""
    return found.end_ns - found.start_ns <= NOTE_NS


def _is_note_of(note: Candidate, call: Candidate) -> bool:
    return is_note(note) and not is_note(call) and 0 <= note.start_ns - call.end_ns <= NOTE_GAP_NS


def _end_at_first_chunk(found: Candidate) -> int | None:
    """When the first chunk came, if that is all that is known of when the call ended, in nanoseconds.

    A framework that hands on a generator may end its span, by its clock, before the request is even made: that happens
    when the generator is first read. `convert` lets such a call last until its first chunk.
    """
    first_ms = found.parsed.span_fields.time_to_first_token_ms
    if first_ms is None or found.end_ns - found.start_ns != first_ms * MILLISECOND:
        return None
    return found.end_ns


def _lazy_gap(one: Member, other: Member) -> int | None:
    """How long between the first chunks of two spans, of which one is known up to that alone and the other saw it."""
    lazy, client = (one, other) if one.first_chunk_ns is not None else (other, one)
    if lazy.first_chunk_ns is None or client.first_chunk_ns is not None:
        return None
    read = client.candidate
    if read.start_ns < lazy.candidate.start_ns - BEFORE_NS or not (
        read.start_ns <= lazy.first_chunk_ns <= read.end_ns + AFTER_NS
    ):
        return None
    first_ms = read.parsed.span_fields.time_to_first_token_ms
    return abs(lazy.first_chunk_ns - read.start_ns - (first_ms or 0) * MILLISECOND)


_NAMED_AFTER: Final = 1
_ALIAS: Final = 2


def _other_name(one: frozenset[str], other: frozenset[str]) -> int | None:
    """0 where two name the same model, 1 where one's name is made of the other's, 2 for others; None for two models.

    What is asked for can be a name that the user gave, as on Azure, often after the model that it is.
    """
    if one & other:
        return 0
    if one and other and all(map(_is_of_table, one)) and all(map(_is_of_table, other)):
        return None
    named_after = any(a in b or b in a for a in one for b in other)
    return _NAMED_AFTER if named_after else _ALIAS


@lru_cache(maxsize=1024)
def _is_of_table(name: str) -> bool:
    """Whether a provider has a model of this name."""
    models = table.provider(provider_of(None, None, name))
    return models is not None and models.find(name) is not None


def _start_together(a: Candidate, b: Candidate) -> bool:
    longer = max(a.end_ns - a.start_ns, b.end_ns - b.start_ns)
    return abs(a.start_ns - b.start_ns) <= max(3 * SECOND // 10, longer * 3 // 10)


def _together(a: Candidate, b: Candidate) -> bool:
    longer = max(a.end_ns - a.start_ns, b.end_ns - b.start_ns)
    return _start_together(a, b) and abs(a.end_ns - b.end_ns) <= max(SECOND // 10, longer // 4)


def _of_one_length(a: Candidate, b: Candidate) -> bool:
    """Whether one takes not much longer than the other: asked for where counts alone do not show that they are one."""
    one, other = a.end_ns - a.start_ns, b.end_ns - b.start_ns
    return abs(one - other) <= max(one, other) // 2 + SECOND // 5
