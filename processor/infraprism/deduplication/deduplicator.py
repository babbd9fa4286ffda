"""Merges the spans that report the same call, as they end.

Each call is held for a moment, since the span of another instrumentation ends shortly before or after. Released calls
are remembered, so that a span which ends long after, such as that of an agent, is not counted again. The spans of our
own instrumentation are not held: they have the values of the response itself.

The rules, in order, for a span that has just ended:

1. Nested calls (`enclosing_spans`): it repeats one of them, or is the sum of several, which is no call.
2. The end of a stream: it belongs to the latest start of a stream by the same scope.
3. An enclosing span that ended before: it repeats the call that this span reports.
4. Another span of its scope has the same response id and counts, and one contains the other: the scope of two services.
   Otherwise the best match (`evidence`) among the calls that no span of its scope reports.
5. The place of another span of its scope, if that span matches another call as well (`_match_by_exchange`).
6. Otherwise it reports a new call.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import islice
from typing import Final

from infraprism.attribution.scope import NOTHING
from infraprism.deduplication.call_index import MAX_CALLS, CallIndex
from infraprism.deduplication.candidate import Candidate
from infraprism.deduplication.enclosing_spans import Enclosing, match_enclosing, only_counted
from infraprism.deduplication.evidence import AFTER_NS, Evidence, counts_equal, evidence, repeats, response_ids_differ
from infraprism.deduplication.reported_call import ReportedCall, add_enclosing, has_other_span_of, replace_sum
from infraprism.deduplication.span_report import SpanReport
from infraprism.schema.call_context import INSTRUMENTATION_SCOPE

HOLD_S: Final = 1.0
"""How long a call is held."""
STREAM_HOLD_S: Final = 600.0
"""How long the start of a stream waits for the span that reports its end, before it is released as a call."""
LONE_STREAM_HOLD_S: Final = 120.0
"""The same, if no other instrumentation has been seen that could report the end."""
MAX_OURS: Final = 256
"""Calls of our own instrumentation that are remembered until another instrumentation is seen."""
MAX_DEPTH: Final = 64
"""Enclosing spans that are looked up."""
MAX_EXCHANGES: Final = 64
"""Calls tried in one exchange."""
MAX_EXCHANGE_CANDIDATES: Final = 256
"""Calls compared in each step of an exchange."""


class Deduplicator:
    """Pure state machine: pass the monotonic time; not thread-safe.

    Takes candidates and returns each call once, with the merged values of its spans. `hold_s`: how long a call is held,
    in seconds. `max_calls`: how many calls are remembered. `on_release`: called with the candidates of a call, once for
    each call that is released, in the order in which they are returned.
    """

    def __init__(
        self,
        hold_s: float = HOLD_S,
        max_calls: int = MAX_CALLS,
        on_release: Callable[[Sequence[Candidate]], None] | None = None,
    ) -> None:
        self._hold_s = hold_s
        self._on_release = on_release
        self._calls = CallIndex(max_calls)
        self._ours: deque[Candidate] = deque(maxlen=MAX_OURS)
        self._sees_other_scopes = False
        self._released: list[Candidate] = []
        self._held: deque[ReportedCall] = deque()
        self._stream_starts: deque[ReportedCall] = deque()

    def __len__(self) -> int:
        """The number of calls that are remembered."""
        return len(self._calls)

    @property
    def sees_other_scopes(self) -> bool:
        """Whether another instrumentation than ours has been seen, so that `link` has an effect."""
        return self._sees_other_scopes

    @property
    def next_due_s(self) -> float | None:
        """When the next call is due; None if none is held."""
        if self._released:
            return 0.0
        first = [call.due_s for call in islice(self._held, 1)]
        return min([*first, *map(self._stream_start_due_s, self._stream_starts)], default=None)

    def add(self, found: Candidate, now_s: float, *, has_open_children: bool = False) -> None:
        """Add the candidate of a span that has ended. `has_open_children`: some of its child spans have not."""
        if not self._sees_other_scopes:
            if found.scope == INSTRUMENTATION_SCOPE:
                self._ours.append(found)
                self._emit(found, (found,))
                return
            self._see_other_scopes()
        self._add(SpanReport(found, has_open_children=has_open_children), now_s)

    def add_event(self, found: Candidate) -> bool:
        """Add a call of which an event of our exporter was received. It is not released: the event reports it.

        Returns False if the call was released before, so that the event must not count.
        """
        self._see_other_scopes()
        report = SpanReport(found)
        nested = self._calls.take_nested(found.trace_id, found.span_id)
        match = match_enclosing(report, nested) if nested else Enclosing.OWN_CALL
        if match is Enclosing.SUM:
            match = only_counted(nested) or match
        if match is Enclosing.SUM:
            return replace_sum(nested)
        call = match if isinstance(match, ReportedCall) else self._match(report, nested)
        counts = call is None or not call.released
        if call is None:
            call = ReportedCall(report, 0.0)
            call.released = True
            self._remember(call)
        else:
            self._join(call, report, call.due_s)
        self._calls.index(call, found)
        return counts

    def restore(self, calls: Iterable[Sequence[Candidate]]) -> None:
        """Remember calls that an earlier deduplicator released, the oldest first."""
        for spans in calls:
            self._sees_other_scopes = True
            self._remember_released(spans)

    def link(self, trace_id: int, span_id: int, parent_id: int) -> None:
        """Add a span that has ended and reports no call, but may be between two spans that do."""
        if self._sees_other_scopes and parent_id:
            self._calls.link(trace_id, span_id, parent_id)

    def due(self, now_s: float) -> list[Candidate]:
        """Release the calls that are due."""
        while self._held and (self._held[0].due_s <= now_s or self._held[0].released):
            self._release_first_held()
        self._release_stream_starts(lambda call: call.released or self._stream_start_due_s(call) <= now_s)
        return self._take_released()

    def flush(self) -> list[Candidate]:
        """Release all calls but the starts of streams of which another span will, or may, report the end."""
        while self._held:
            self._release_first_held()
        self._release_stream_starts(lambda call: self._is_lone(call.reports[0]))
        return self._take_released()

    def close(self) -> list[Candidate]:
        """Release all calls, including the starts of streams."""
        released = self.flush()
        self._release_stream_starts(lambda _: True)
        return released + self._take_released()

    def _release_first_held(self) -> None:
        call = self._held.popleft()
        if call.is_stream_start and not call.released:  # an exchange has moved its other span
            self._stream_starts.append(call)
        else:
            self._release(call)

    # -- starts of streams

    def _release_stream_starts(self, is_due: Callable[[ReportedCall], bool]) -> None:
        for call in [each for each in self._stream_starts if is_due(each)]:
            self._stream_starts.remove(call)
            self._release(call)

    def _stream_start_due_s(self, call: ReportedCall) -> float:
        if call.is_stream_start and self._is_lone(call.reports[0]):
            return call.due_s - STREAM_HOLD_S + LONE_STREAM_HOLD_S
        return call.due_s

    def _is_lone(self, start: SpanReport) -> bool:
        """Whether no other span is known that could report the end of this stream."""
        return not start.end_is_pending and not self._calls.has_other_scope_than(start.candidate.scope)

    # -- adding a span

    def _add(self, report: SpanReport, now_s: float) -> None:
        found = report.candidate
        nested = self._calls.take_nested(found.trace_id, found.span_id)
        match = match_enclosing(report, nested) if nested else Enclosing.OWN_CALL
        if match is Enclosing.SUM:
            add_enclosing(nested, found)
            self._calls.add_nested(found.trace_id, found.parent_id, nested)
            return
        call = match if isinstance(match, ReportedCall) else self._match_stream_start(report)
        if call is not None and report.is_stream_end:
            for other in call.reports:
                if other.is_stream_start and other.candidate.scope == found.scope:
                    report.merge_stream_start(other)
        if call is None:
            call = self._match(report, nested)
        if call is None:
            call = ReportedCall(report, now_s + (STREAM_HOLD_S if report.is_stream_start else self._hold_s))
            self._remember(call)
            (self._stream_starts if call.is_stream_start else self._held).append(call)
        else:
            self._join(call, report, now_s)
            call = self._merge(call, self._match_ended_parent(report))
            if report.is_stream_end:
                call = self._merge(call, self._best_match(report, [*nested, call], without=call.scopes))
        self._calls.index(call, found)
        self._calls.add_nested(found.trace_id, found.parent_id, [*nested, call])
        if report.is_ours and not call.released and found.attribution is not NOTHING:
            self._release(call)

    def _join(self, call: ReportedCall, report: SpanReport, now_s: float) -> None:
        was_stream_start = call.is_stream_start
        call.add(report)
        call.released = call.released or report.is_event
        self._calls.update_scopes(call)
        if was_stream_start and not call.released:
            call.due_s = now_s + self._hold_s
            self._held.append(call)

    def _merge(self, call: ReportedCall, other: ReportedCall | None) -> ReportedCall:
        """Merge two calls that a third span, which ended after both, shows to be one, unless one scope reports both."""
        if other is None or not call.scopes.isdisjoint(other.scopes):
            return call
        for report in other.reports:
            call.add(report)
        call.enclosing += other.enclosing
        call.released = call.released or other.released
        other.released = True
        other.merged_into = call
        self._calls.remove(other)
        self._calls.update_scopes(call)
        for report in call.reports:
            self._calls.index(call, report.candidate)
        return call

    # -- finding the call that a span reports

    def _match(self, report: SpanReport, nested: list[ReportedCall]) -> ReportedCall | None:
        call = self._match_ended_parent(report)
        if call is not None or report.is_stream_start:
            return call
        scopes = {report.candidate.scope}
        return (
            self._match_repeated_id(report)
            or self._best_match(report, nested, without=scopes)
            or self._match_by_exchange(report, nested, set())
        )

    def _match_repeated_id(self, report: SpanReport) -> ReportedCall | None:
        """The call of another span of the same scope with the same response id: the scope is that of two services.

        Some servers repeat their ids, so the counts are equal as well, and one span contains the other in one trace.
        """
        scope, response_id = report.candidate.scope, report.candidate.parsed.span_fields.response_id
        if response_id is None or report.counts_nothing:
            return None
        for call in self._calls.of_response_id(response_id):
            if scope in call.scopes and any(repeats(report, other) for other in call.reports):
                return call
        return None

    def _match_stream_start(self, report: SpanReport) -> ReportedCall | None:
        """The call of which this span reports the end of the stream; of several, that with the same parent first."""
        if not report.is_stream_end:
            return None
        found = report.candidate
        starts = [
            (not _is_sibling(found, start.candidate), abs(found.start_ns - start.candidate.end_ns), number, call)
            for number, call in enumerate(self._calls.of_scope(found.scope))
            if call.lacks_stream_end
            for start in call.reports
            if start.is_stream_start
            and start.candidate.scope == found.scope
            and start.candidate.end_ns <= found.start_ns + AFTER_NS
            and (not start.models or not report.models or start.models & report.models)
        ]
        return min(starts)[-1] if starts else None

    def _match_ended_parent(self, report: SpanReport) -> ReportedCall | None:
        """The call of an enclosing span that ended before this one, if it repeats what this span reports."""
        found = report.candidate
        parent_id = found.parent_id
        for _ in range(MAX_DEPTH):
            if not parent_id:
                break
            call = self._calls.of_span(found.trace_id, parent_id)
            if call is not None and not has_other_span_of(found.scope, call, parent_id):
                outer = next(r for r in call.reports if r.candidate.span_id == parent_id)
                if isinstance(match_enclosing(outer, [ReportedCall(report, 0.0)]), ReportedCall):
                    return call
            parent_id = self._calls.parent_of(found.trace_id, parent_id) or (
                call.reports[0].candidate.parent_id if call else 0
            )
        return None

    def _best_match(
        self, report: SpanReport, excluded: Sequence[ReportedCall], *, without: Collection[str]
    ) -> ReportedCall | None:
        """The call with the strongest evidence that none of these scopes reports; of equal ones the latest."""
        best: tuple[Evidence, int] | None = None
        chosen = None
        for number, call in enumerate(self._calls.candidates_for(report.candidate, without=without)):
            if call in excluded:
                continue
            found = _strongest_evidence(report, call)
            if found is not None and (best is None or (found, number) < best):
                best, chosen = (found, number), call
        return chosen

    def _match_by_exchange(
        self, report: SpanReport, excluded: Sequence[ReportedCall], tried: set[ReportedCall]
    ) -> ReportedCall | None:
        """The call of another span of this scope, which is moved to another call that it matches as well.

        Spans of equal concurrent calls do not end in the order of their calls: the first may match the call that only
        the next one can match. The call that the moved span matches may need an exchange itself. From a released call a
        span is only moved for one with equal counts, since those are in the event.
        """
        scope = report.candidate.scope
        if next(self._calls.candidates_for(report.candidate, without=[scope]), None) is None:
            return None  # no call is free
        for call in islice(self._calls.candidates_for(report.candidate, having=scope), MAX_EXCHANGE_CANDIDATES):
            if len(tried) >= MAX_EXCHANGES:
                break
            if call in excluded or call in tried:
                continue
            moved = next(r for r in call.reports if r.candidate.scope == scope)
            if call.released and not counts_equal(moved, report):
                continue
            if _strongest_evidence(report, call, ignored=moved) is None:
                continue
            tried.add(call)  # not before: another span may match where this one does not
            other = self._best_match(moved, [call], without={scope}) or self._match_by_exchange(moved, [call], tried)
            if other is not None:
                call.remove(moved)
                self._calls.update_scopes(call)
                self._join(other, moved, other.due_s)
                self._calls.index(other, moved.candidate)
                return call
        return None

    # -- remembering and releasing calls

    def _see_other_scopes(self) -> None:
        if self._sees_other_scopes:
            return
        self._sees_other_scopes = True
        for found in self._ours:
            self._remember_released((found,))
        self._ours.clear()

    def _remember_released(self, spans: Sequence[Candidate]) -> None:
        first, *others = map(SpanReport, spans)
        call = ReportedCall(first, 0.0)
        call.released = True
        for other in others:
            call.add(other)
        self._remember(call)
        for found in spans:
            self._calls.index(call, found)
            self._calls.add_nested(found.trace_id, found.parent_id, [call])

    def _remember(self, call: ReportedCall) -> None:
        forgotten = self._calls.add(call)
        if forgotten is not None:
            self._release(forgotten)

    def _release(self, call: ReportedCall) -> None:
        if call.released:
            return
        if call.is_stream_start:
            start = call.reports[0]
            known = self._best_match(start, [call], without={start.candidate.scope})
            if known is not None:
                self._merge(known, call)
                return
        call.released = True
        self._emit(call.merged(), [report.candidate for report in call.reports])

    def _emit(self, merged: Candidate, spans: Sequence[Candidate]) -> None:
        self._released.append(merged)
        if self._on_release is not None:
            self._on_release(spans)

    def _take_released(self) -> list[Candidate]:
        released, self._released = self._released, []
        return released


def _is_sibling(one: Candidate, other: Candidate) -> bool:
    return one.parent_id == other.parent_id and (one.trace_id == other.trace_id or not one.parent_id)


def _strongest_evidence(report: SpanReport, call: ReportedCall, ignored: SpanReport | None = None) -> Evidence | None:
    """The strongest evidence of the spans of a call but `ignored`; None if one of them has another response id."""
    others = [other for other in call.reports if other is not ignored]
    if any(response_ids_differ(report.candidate, other.candidate) for other in others):
        return None
    found = [evidence(report, other) for other in others if not other.is_stream_start]
    return min((each for each in found if each is not None), default=None)
