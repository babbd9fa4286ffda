"""One span's report of a call, with the values that deduplication compares."""

from __future__ import annotations

from typing import Final

from infraprism.deduplication.candidate import Candidate
from infraprism.deduplication.model_names import plain_model
from infraprism.schema.call_context import INSTRUMENTATION_SCOPE
from infraprism.schema.wire import SCOPE_NAME

MILLISECOND_NS: Final = 1_000_000
_TWO_PART_SCOPES: Final = "logfire."
"""Logfire reports a stream in two spans: one ends with the response headers, the other with the stream."""


class SpanReport:
    """A candidate and the values derived from it. A count of 0 tokens is unknown, and None here.

    `is_event`: an event that our exporter sent; its parent is unknown. `end_is_pending`: a span that will report the
    end of this stream is certain to follow. `is_stream_start`: this span ended when the stream began; its counts are
    reported by another span. `first_chunk_ns`: the end of a span of which only the first chunk is known.
    """

    __slots__ = (
        "candidate",
        "end_is_pending",
        "first_chunk_ns",
        "input_tokens",
        "is_event",
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
        self.is_event = candidate.scope == SCOPE_NAME
        self.input_tokens = usage.input_tokens or None
        self.output_tokens = usage.output_tokens or None
        self.models = frozenset(
            plain_model(name) for name in (span_fields.response_model, span_fields.request_model) if name
        )
        self.is_stream_end = span_fields.is_stream_end is True
        self.first_chunk_ns = _end_at_first_chunk(candidate)
        self.end_is_pending = has_open_children or candidate.scope.startswith(_TWO_PART_SCOPES)
        self.is_stream_start = not self.is_stream_end and self._starts_stream()

    def _starts_stream(self) -> bool:
        """Whether another span reports, or may report, the end of this stream.

        Some instrumentations end the span of a stream with its headers because another one has wrapped the stream,
        for example MLflow; such a span is streamed and has no response model.
        """
        found = self.candidate
        span_fields = found.parsed.span_fields
        saw_no_chunk = span_fields.streamed is True and span_fields.response_model is None
        return (
            not self.is_ours
            and (self.end_is_pending or saw_no_chunk)
            and found.outcome.success
            and self.counts_nothing
            and span_fields.response_id is None
            and found.parsed.operation in ("chat", "completion")
        )

    def merge_stream_start(self, start: SpanReport) -> None:
        """Extend this stream end by the span of its start.

        The attribution is the one at the start: an abandoned stream ends when it is garbage-collected, which may
        happen during the call of another customer.
        """
        begun = start.candidate
        start_ns = min(self.candidate.start_ns, begun.start_ns)
        self.candidate = self.candidate._replace(start_ns=start_ns, attribution=begun.attribution)

    @property
    def counts_nothing(self) -> bool:
        """Whether the span reports no tokens at all."""
        return self.input_tokens is None and self.output_tokens is None


def _end_at_first_chunk(found: Candidate) -> int | None:
    """The end of a span that `conversion` extended to its first chunk, because the span itself ended before that.

    A framework that returns a generator may end its span before the request is made, which happens when the generator
    is first iterated.
    """
    first_ms = found.parsed.span_fields.time_to_first_token_ms
    if first_ms is None or found.end_ns - found.start_ns != first_ms * MILLISECOND_NS:
        return None
    return found.end_ns
