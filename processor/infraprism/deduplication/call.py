"""One billed call, and the spans that report it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from infraprism.deduplication.candidate import Candidate
from infraprism.deduplication.evidence import Member, is_note
from infraprism.dialects.table import SpanFields
from infraprism.providers.detection import provider_of
from infraprism.schema.usage import Usage

_TAKEN_OVER: Final = (
    *("request_model", "response_model", "host", "http_status", "streamed", "time_to_first_token_ms"),
    *("service_tier", "response_id", "session_on_span"),
)
"""Fields that the spans of a call complete each other in. Counts and cost go together, and have their own rule."""
_UNTOLD: Final = ("openai", "other")
"""What instrumentations of an OpenAI client say of any provider that speaks its protocol, or of none."""


class Call:
    """The spans that report one call. `released`: its event has been made, and spans that come later change nothing.

    `became`: the call that it turned out to be, for those who knew it before. `inside`: calls inside its first span,
    which were found to be others.
    """

    __slots__ = ("became", "due_s", "end_ns", "inside", "members", "released", "scopes", "wrappers")

    def __init__(self, member: Member, due_s: float, inside: Sequence[Call] = ()) -> None:
        self.members = [member]
        self.scopes = {member.candidate.scope}
        self.wrappers: list[Candidate] = []
        self.inside = inside
        self.end_ns = member.candidate.end_ns
        self.due_s = due_s
        self.released = False
        self.became: Call | None = None

    @property
    def itself(self) -> Call:
        """The call that this turned out to be."""
        call = self
        while call.became is not None:
            call = call.became
        return call

    def join(self, member: Member) -> None:
        """Another span reports this call."""
        self.members.append(member)
        self.scopes.add(member.candidate.scope)
        self.end_ns = max(self.end_ns, member.candidate.end_ns)

    def leave(self, member: Member) -> None:
        """It was another call that this span reports."""
        self.members.remove(member)
        self.scopes = {other.candidate.scope for other in self.members}

    @property
    def is_opening(self) -> bool:
        """Whether all that is known of it is that a stream began."""
        return len(self.members) == 1 and self.members[0].is_stream_start

    @property
    def lacks_end(self) -> bool:
        """Whether a span of it says that a stream began, and none of the same scope that it ended."""
        return any(m.is_stream_start for m in self.members) and not any(m.is_stream_end for m in self.members)

    def settled(self) -> Candidate:
        """What all its spans say together.

        The innermost span is the call; what it does not know it takes from those around it. The counts are those of
        the most exact span that has any.
        """
        if len(self.members) == 1 and not self.wrappers:
            return self.members[0].candidate
        members = sorted(self.members, key=_innermost_first)
        best = members[0].candidate
        exact = min(members, key=_most_exact)
        attribution = best.attribution
        for outer in (*(m.candidate for m in members[1:]), *self.wrappers):
            attribution = attribution.over(outer.attribution)
        parsed = best.parsed._replace(
            span_fields=_completed(
                best.parsed.span_fields, [m.candidate.parsed.span_fields for m in members[1:]], exact
            ),
            usage=_detailed(exact, members),
            contradicts=exact.candidate.parsed.contradicts,
        )
        start_ns, end_ns = _time(members)
        return best._replace(
            parsed=parsed,
            attribution=attribution,
            start_ns=start_ns,
            end_ns=end_ns,
            outcome=_failure(members) or best.outcome,
        )


def _innermost_first(member: Member) -> tuple[bool, bool, int, bool, bool, int]:
    found = member.candidate
    return (
        not member.is_ours,
        member.is_stream_start or member.is_stream_end,
        found.parsed.layer,
        member.is_stream_start,
        is_note(found),
        -found.start_ns,
    )


def _most_exact(member: Member) -> tuple[bool, bool, bool, bool, int]:
    return (
        not member.is_ours,
        member.counts_nothing,
        member.input_tokens is None or member.output_tokens is None,
        member.candidate.parsed.contradicts,
        member.candidate.parsed.rank,
    )


def _time(members: Sequence[Member]) -> tuple[int, int]:
    """Start and end: the innermost span's, but of a stream reported in two parts from the first to the second."""
    best = members[0].candidate
    if not members[0].is_stream_end:
        return best.start_ns, best.end_ns
    return min([best.start_ns, *(m.candidate.start_ns for m in members if m.is_stream_start)]), best.end_ns


def _failure(members: Sequence[Member]) -> Any:
    """How the call failed, where the innermost span did not see that a stream broke off."""
    best = members[0]
    if best.is_ours or not best.candidate.outcome.success or best.output_tokens is not None:
        return None
    seen = (m.candidate for m in members[1:] if m.output_tokens is None)
    return next((found.outcome for found in seen if found.outcome.error_type not in (None, "other", "cancelled")), None)


def _completed(best: SpanFields, others: Sequence[SpanFields], exact: Member) -> SpanFields:
    taken: dict[str, Any] = {}
    for name in _TAKEN_OVER:
        if getattr(best, name) is None:
            taken[name] = next(
                (value for span_fields in others if (value := getattr(span_fields, name)) is not None), None
            )
    if best.reported_cost_usd is None:
        taken["reported_cost_usd"] = exact.candidate.parsed.span_fields.reported_cost_usd
    model = best.response_model or best.request_model
    told = (s.provider for s in (best, *others) if s.provider and provider_of(None, s.provider, model) not in _UNTOLD)
    taken["provider"] = next(told, best.provider or next((s.provider for s in others if s.provider), None))
    return best._replace(**taken)


def _detailed(exact: Member, members: Sequence[Member]) -> Usage:
    """The usage of the most exact span, with details that only others have, if those count the same."""
    usage = exact.candidate.parsed.usage
    if exact.is_ours:
        return usage
    for member in members:
        other = member.candidate.parsed.usage
        if member is exact or (other.input_tokens, other.output_tokens) != (usage.input_tokens, usage.output_tokens):
            continue
        missing = {name: theirs for name, theirs in other._asdict().items() if getattr(usage, name) is None}
        usage = usage._replace(**missing)
    return usage
