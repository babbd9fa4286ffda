"""Finds recent calls by span, by response id, by scope and time, and by the span that they are nested in."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final

from infraprism.deduplication.candidate import Candidate
from infraprism.deduplication.evidence import AFTER_NS, RECORD_GAP_NS, SAME_ID_GAP_NS, is_record
from infraprism.deduplication.reported_call import ReportedCall

MAX_CALLS: Final = 2048
"""Calls remembered; for each further one the oldest is released and removed."""
MAX_LINKS: Final = 8192
"""Parents of other spans that are remembered, and spans with nested calls."""
MAX_NESTED: Final = 64
"""Calls remembered as nested in one span: the latest."""
MAX_COMPARED: Final = 1024
"""Calls that one span is compared with."""
MAX_OF_ID: Final = 64
"""Calls remembered by one response id, the latest: if more have it, it identifies none."""
MAX_TOO_EARLY: Final = 64
"""The search of one scope stops after so many calls that ended too early."""

_Key = tuple[int, int]
"""Trace id and span id."""


class CallIndex:
    """Calls and the keys that find them. Bounded."""

    __slots__ = ("_by_response", "_by_scopes", "_by_span", "_max_calls", "_nested", "_parents", "_scopes_of")

    def __init__(self, max_calls: int = MAX_CALLS) -> None:
        self._max_calls = max_calls
        self._scopes_of: dict[ReportedCall, frozenset[str]] = {}
        self._by_scopes: dict[frozenset[str], dict[ReportedCall, None]] = {}
        self._by_span: dict[_Key, ReportedCall] = {}
        self._by_response: dict[str, list[ReportedCall]] = {}
        self._nested: dict[_Key, list[ReportedCall]] = {}
        self._parents: dict[_Key, int] = {}

    def __len__(self) -> int:
        """The number of calls."""
        return len(self._scopes_of)

    def has_other_scope_than(self, scope: str) -> bool:
        """Whether another scope reports any of the calls."""
        return any(scopes != {scope} for scopes in self._by_scopes)

    # -- calls and their spans

    def add(self, call: ReportedCall) -> ReportedCall | None:
        """Add a call. Returns the one that was removed for it, if any."""
        self._scopes_of[call] = frozenset()
        self.update_scopes(call)
        if len(self._scopes_of) <= self._max_calls:
            return None
        oldest = next(iter(self._scopes_of))
        self.remove(oldest)
        return oldest

    def remove(self, call: ReportedCall) -> None:
        """Remove a call and the keys of its spans."""
        scopes = self._scopes_of.pop(call, None)
        if scopes is not None:
            self._remove_from_group(call, scopes)
        self._remove_keys(call)

    def update_scopes(self, call: ReportedCall) -> None:
        """Move a call to the group of its current scopes."""
        before = self._scopes_of.get(call)
        if before is None or before == call.scopes:
            return
        self._remove_from_group(call, before)
        scopes = self._scopes_of[call] = frozenset(call.scopes)
        self._by_scopes.setdefault(scopes, {})[call] = None

    def _remove_from_group(self, call: ReportedCall, scopes: frozenset[str]) -> None:
        group = self._by_scopes.get(scopes)
        if group is not None:
            group.pop(call, None)
            if not group:
                del self._by_scopes[scopes]

    def index(self, call: ReportedCall, found: Candidate) -> None:
        """Make a call findable by a span that reports it, and by its response id."""
        self._by_span[found.trace_id, found.span_id] = call
        response_id = found.parsed.span_fields.response_id
        if response_id is not None:
            calls = self._by_response.setdefault(response_id, [])
            if call not in calls:
                del calls[: 1 - MAX_OF_ID]
                calls.append(call)

    def of_span(self, trace_id: int, span_id: int) -> ReportedCall | None:
        """The call that a span reports."""
        return self._by_span.get((trace_id, span_id))

    def _remove_keys(self, call: ReportedCall) -> None:
        for report in call.reports:
            found = report.candidate
            key = found.trace_id, found.span_id
            if self._by_span.get(key) is call:
                del self._by_span[key]
            response_id = found.parsed.span_fields.response_id
            if response_id is None:
                continue
            calls = self._by_response.get(response_id, [])
            if call in calls:
                calls.remove(call)
            if not calls:
                self._by_response.pop(response_id, None)

    # -- calls that may be the same

    def of_response_id(self, response_id: str) -> Sequence[ReportedCall]:
        """The calls with a response id."""
        return self._by_response.get(response_id, ())

    def of_scope(self, scope: str) -> Iterator[ReportedCall]:
        """The calls that a scope reports, of each combination of scopes the latest first."""
        for scopes, calls in self._by_scopes.items():
            if scope in scopes:
                yield from reversed(calls)

    def candidates_for(
        self, found: Candidate, *, without: Collection[str] = (), having: str | None = None
    ) -> Iterator[ReportedCall]:
        """Calls that a span may report: those with its response id, then those that end late enough.

        `without`: no call that one of these scopes reports. `having`: only calls that this scope reports.
        """
        response_id = found.parsed.span_fields.response_id
        of_id: Collection[ReportedCall] = ()
        if response_id is not None and having is None:
            of_id = {c: None for c in self._by_response.get(response_id, ()) if c.scopes.isdisjoint(without)}
            yield from of_id
        start_ns = found.start_ns - (RECORD_GAP_NS if is_record(found) else AFTER_NS)
        compared = 0
        for scopes, calls in self._by_scopes.items():
            if not scopes.isdisjoint(without) or (having is not None and having not in scopes):
                continue
            too_early = 0
            for call in reversed(calls):
                if call.end_ns < start_ns:
                    too_early += 1
                    if too_early > MAX_TOO_EARLY or call.end_ns < start_ns - SAME_ID_GAP_NS:
                        break
                    continue
                compared += 1
                if compared > MAX_COMPARED:
                    return
                if call not in of_id:
                    yield call

    # -- nested calls

    def link(self, trace_id: int, span_id: int, parent_id: int) -> None:
        """Add a span that reports no call; its nested calls are nested in its parent as well."""
        _remove_oldest(self._parents, MAX_LINKS)
        self._parents[trace_id, span_id] = parent_id
        calls = self._nested.pop((trace_id, span_id), None)
        if calls:
            self.add_nested(trace_id, parent_id, calls)

    def parent_of(self, trace_id: int, span_id: int) -> int:
        """The parent of a span that reports no call; 0 if it is unknown."""
        return self._parents.get((trace_id, span_id), 0)

    def add_nested(self, trace_id: int, parent_id: int, calls: Iterable[ReportedCall]) -> None:
        """Add calls that are nested in a span, which has not ended yet."""
        if not parent_id:
            return
        key = trace_id, parent_id
        known = self._nested.get(key)
        if known is None:
            _remove_oldest(self._nested, MAX_LINKS)
            known = self._nested[key] = []
        known.extend(call for call in calls if call not in known)
        del known[:-MAX_NESTED]

    def take_nested(self, trace_id: int, span_id: int) -> list[ReportedCall]:
        """Remove and return the calls nested in a span, in the order in which they ended."""
        calls = self._nested.pop((trace_id, span_id), ())
        return list(dict.fromkeys(call.current for call in calls))


def _remove_oldest(entries: dict[_Key, int] | dict[_Key, list[ReportedCall]], limit: int) -> None:
    if len(entries) >= limit:
        entries.pop(next(iter(entries)))
