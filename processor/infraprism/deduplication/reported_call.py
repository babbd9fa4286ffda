"""One billed call and the spans that report it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from infraprism.deduplication.candidate import Candidate
from infraprism.deduplication.evidence import is_record
from infraprism.deduplication.span_report import SpanReport
from infraprism.dialects.table import SpanFields
from infraprism.providers.detection import provider_of
from infraprism.schema.usage import Usage

_COMPLETED: Final = (
    *("request_model", "response_model", "host", "http_status", "streamed", "time_to_first_token_ms"),
    *("service_tier", "response_id", "session_on_span", "region", "speed", "has_unpriced_usage"),
)
"""Fields that are completed from the other spans of the call. Counts and cost have rules of their own."""
_UNSPECIFIC_PROVIDERS: Final = ("openai", "other")
"""Reported by instrumentations of an OpenAI client for any provider with the same protocol."""


class ReportedCall:
    """The spans that report one call.

    `released`: its event has been emitted, and later spans do not change it. `merged_into`: the call that turned out to
    be the same. `enclosing`: spans that contain the sum of several calls. `due_s`: when it is released, in seconds of
    the caller's clock.
    """

    __slots__ = ("due_s", "enclosing", "end_ns", "merged_into", "released", "reports", "scopes")

    def __init__(self, report: SpanReport, due_s: float) -> None:
        self.reports = [report]
        self.scopes = {report.candidate.scope}
        self.enclosing: list[Candidate] = []
        self.end_ns = report.candidate.end_ns
        self.due_s = due_s
        self.released = False
        self.merged_into: ReportedCall | None = None

    @property
    def current(self) -> ReportedCall:
        """The call that this one was merged into, or itself."""
        call = self
        while call.merged_into is not None:
            call = call.merged_into
        return call

    def add(self, report: SpanReport) -> None:
        """Add a span that reports this call."""
        self.reports.append(report)
        self.scopes.add(report.candidate.scope)
        self.end_ns = max(self.end_ns, report.candidate.end_ns)

    def remove(self, report: SpanReport) -> None:
        """Remove a span that reports another call."""
        self.reports.remove(report)
        self.scopes = {other.candidate.scope for other in self.reports}

    @property
    def is_stream_start(self) -> bool:
        """Whether only the start of a stream is known of it."""
        return len(self.reports) == 1 and self.reports[0].is_stream_start

    @property
    def lacks_stream_end(self) -> bool:
        """Whether a span reports the start of a stream, and none reports an end."""
        return any(r.is_stream_start for r in self.reports) and not any(r.is_stream_end for r in self.reports)

    def merged(self) -> Candidate:
        """One candidate with what all spans report.

        The innermost span is the call; fields that it lacks are taken from the others. The counts are those of the
        most exact span that has any.
        """
        if len(self.reports) == 1 and not self.enclosing:
            return self.reports[0].candidate
        reports = sorted(self.reports, key=_innermost_first)
        best = reports[0].candidate
        exact = min(reports, key=_most_exact_first)
        attribution = best.attribution
        for outer in (*(r.candidate for r in reports[1:]), *self.enclosing):
            attribution = attribution.over(outer.attribution)
        parsed = best.parsed._replace(
            span_fields=_completed(
                best.parsed.span_fields, [r.candidate.parsed.span_fields for r in reports[1:]], exact
            ),
            usage=_completed_usage(exact, reports),
            contradicts=exact.candidate.parsed.contradicts,
        )
        start_ns, end_ns = _time(reports)
        return best._replace(
            parsed=parsed,
            attribution=attribution,
            start_ns=start_ns,
            end_ns=end_ns,
            outcome=_stream_failure(reports) or best.outcome,
        )


def _innermost_first(report: SpanReport) -> tuple[bool, int, bool, bool, int]:
    found = report.candidate
    return (
        not report.is_ours,
        found.parsed.layer,
        report.is_stream_start,
        is_record(found),
        -found.start_ns,
    )


def _most_exact_first(report: SpanReport) -> tuple[bool, bool, bool, bool, int]:
    return (
        not report.is_ours,
        report.counts_nothing,
        report.input_tokens is None or report.output_tokens is None,
        report.candidate.parsed.contradicts,
        report.candidate.parsed.rank,
    )


def _time(reports: Sequence[SpanReport]) -> tuple[int, int]:
    """Start and end of the innermost span; of a stream in two spans from the start of the first."""
    best = reports[0].candidate
    if not reports[0].is_stream_end:
        return best.start_ns, best.end_ns
    return min([best.start_ns, *(r.candidate.start_ns for r in reports if r.is_stream_start)]), best.end_ns


def _stream_failure(reports: Sequence[SpanReport]) -> Any:
    """The failure that an outer span reports, if the innermost one succeeded without output: the stream broke off."""
    best = reports[0]
    if best.is_ours or not best.candidate.outcome.success or best.output_tokens is not None:
        return None
    outcomes = (r.candidate.outcome for r in reports[1:] if r.output_tokens is None)
    return next((outcome for outcome in outcomes if outcome.error_type not in (None, "other", "cancelled")), None)


def _completed(best: SpanFields, others: Sequence[SpanFields], exact: SpanReport) -> SpanFields:
    added: dict[str, Any] = {}
    for name in _COMPLETED:
        if getattr(best, name) is None:
            added[name] = next(
                (value for span_fields in others if (value := getattr(span_fields, name)) is not None), None
            )
    if best.reported_cost_usd is None:
        added["reported_cost_usd"] = exact.candidate.parsed.span_fields.reported_cost_usd
    model = best.response_model or best.request_model
    providers = [fields.provider for fields in (best, *others) if fields.provider]
    specific = (name for name in providers if provider_of(None, name, model) not in _UNSPECIFIC_PROVIDERS)
    added["provider"] = next(specific, providers[0] if providers else None)
    return best._replace(**added)


def _completed_usage(exact: SpanReport, reports: Sequence[SpanReport]) -> Usage:
    """The usage of the most exact span, with the details of other spans that have the same input and output tokens."""
    usage = exact.candidate.parsed.usage
    if exact.is_ours:
        return usage
    for report in reports:
        other = report.candidate.parsed.usage
        if report is exact or (other.input_tokens, other.output_tokens) != (usage.input_tokens, usage.output_tokens):
            continue
        missing = {name: value for name, value in other._asdict().items() if getattr(usage, name) is None}
        usage = usage._replace(**missing)
    return usage


def add_enclosing(calls: Sequence[ReportedCall], outer: Candidate) -> None:
    """Add an enclosing span to the calls that are not released."""
    for call in calls:
        if not call.released:
            call.enclosing.append(outer)


def replace_sum(calls: Sequence[ReportedCall]) -> bool:
    """Count an event instead of the calls that it sums up. False if one of them was released before."""
    if any(call.released for call in calls):
        return False
    for call in calls:
        call.released = True
    return True


def has_other_span_of(scope: str, call: ReportedCall, span_id: int) -> bool:
    """Whether a span of the scope other than this one reports the call."""
    return any(r.candidate.scope == scope and r.candidate.span_id != span_id for r in call.reports)
