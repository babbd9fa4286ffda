"""What is remembered of calls: by their spans, by their response ids, and which of them were inside which span."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Final

from infraprism.deduplication.call import Call
from infraprism.deduplication.candidate import Candidate
from infraprism.deduplication.evidence import AFTER_NS, NOTE_GAP_NS, SAME_ID_GAP_NS, is_note

MAX_CALLS: Final = 2048
"""Calls remembered; the oldest is released and forgotten for each further one."""
MAX_LINKS: Final = 8192
MAX_INSIDE: Final = 64
"""Calls inside one span that are told from it."""
MAX_COMPARED: Final = 1024
MAX_OF_ID: Final = 64
"""Calls remembered by one response id, the latest of them: where more have it, it tells nothing."""
MAX_OUTSIDE: Final = 64
"""Calls that ended too early to be the same, after which none is looked for that ended still earlier."""

_Key = tuple[int, int]


class Memory:
    """Bounded books of calls. A span's key is its trace id and span id."""

    __slots__ = ("_by_response", "_by_scopes", "_by_span", "_inside", "_max_calls", "_parents", "_recent")

    def __init__(self, max_calls: int = MAX_CALLS) -> None:
        self._max_calls = max_calls
        self._recent: dict[Call, frozenset[str]] = {}
        self._by_scopes: dict[frozenset[str], dict[Call, None]] = {}
        self._by_span: dict[_Key, Call] = {}
        self._by_response: dict[str, list[Call]] = {}
        self._inside: dict[_Key, list[Call]] = {}
        self._parents: dict[_Key, int] = {}

    def __len__(self) -> int:
        return len(self._recent)

    def knows_other_than(self, scope: str) -> bool:
        """Whether any call is remembered that another instrumentation reports."""
        return any(scopes != {scope} for scopes in self._by_scopes)

    # -- calls and their spans

    def add(self, call: Call) -> Call | None:
        """Remember a call; the one that has to be forgotten for it."""
        self._recent[call] = frozenset()
        self.regroup(call)
        if len(self._recent) <= self._max_calls:
            return None
        oldest = next(iter(self._recent))
        self.remove(oldest)
        return oldest

    def remove(self, call: Call) -> None:
        """Forget a call."""
        scopes = self._recent.pop(call, None)
        if scopes is not None:
            self._leave_group(call, scopes)
        self._forget_spans(call)

    def regroup(self, call: Call) -> None:
        """Take note that other instrumentations report a call than did before."""
        before = self._recent.get(call)
        if before is None or before == call.scopes:
            return
        self._leave_group(call, before)
        scopes = self._recent[call] = frozenset(call.scopes)
        self._by_scopes.setdefault(scopes, {})[call] = None

    def _leave_group(self, call: Call, scopes: frozenset[str]) -> None:
        group = self._by_scopes.get(scopes)
        if group is not None:
            group.pop(call, None)
            if not group:
                del self._by_scopes[scopes]

    def index(self, call: Call, found: Candidate) -> None:
        """Remember that a span reports a call."""
        self._by_span[found.trace_id, found.span_id] = call
        response_id = found.parsed.span_fields.response_id
        if response_id is not None:
            calls = self._by_response.setdefault(response_id, [])
            if call not in calls:
                del calls[: 1 - MAX_OF_ID]
                calls.append(call)

    def of_span(self, trace_id: int, span_id: int) -> Call | None:
        """The call that a span reports."""
        return self._by_span.get((trace_id, span_id))

    def _forget_spans(self, call: Call) -> None:
        for member in call.members:
            found = member.candidate
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

    def of_scope(self, scope: str) -> Iterator[Call]:
        """The calls that an instrumentation reported, those first of which it did so last."""
        for scopes, calls in self._by_scopes.items():
            if scope in scopes:
                yield from reversed(calls)

    def near(self, found: Candidate, *, without: Collection[str] = (), having: str | None = None) -> Iterator[Call]:
        """Calls that a span may report: those with its response id, then those near in time.

        `without`: none that one of these scopes reports; `having`: only those that this one does.
        """
        response_id = found.parsed.span_fields.response_id
        if response_id is not None and having is None:
            yield from [c for c in self._by_response.get(response_id, ()) if c.scopes.isdisjoint(without)]
        start_ns = found.start_ns - (NOTE_GAP_NS if is_note(found) else AFTER_NS)
        compared = 0
        for scopes, calls in self._by_scopes.items():
            if not scopes.isdisjoint(without) or (having is not None and having not in scopes):
                continue
            outside = 0
            for call in reversed(calls):
                if call.end_ns < start_ns:
                    outside += 1
                    if outside > MAX_OUTSIDE or call.end_ns < start_ns - SAME_ID_GAP_NS:
                        break
                    continue
                compared += 1
                if compared > MAX_COMPARED:
                    return
                yield call

    # -- spans around calls

    def link(self, trace_id: int, span_id: int, parent_id: int) -> None:
        """Remember a span that is no call, but may stand between two that are."""
        _forget_oldest(self._parents, MAX_LINKS)
        self._parents[trace_id, span_id] = parent_id
        calls = self._inside.pop((trace_id, span_id), None)
        if calls:
            self.pass_up(trace_id, parent_id, calls)

    def parent_of(self, trace_id: int, span_id: int) -> int:
        """The parent of a span that is no call; 0 where it is not known."""
        return self._parents.get((trace_id, span_id), 0)

    def pass_up(self, trace_id: int, parent_id: int, calls: Iterable[Call]) -> None:
        """Remember for the parent which calls were inside it."""
        if not parent_id:
            return
        key = trace_id, parent_id
        known = self._inside.get(key)
        if known is None:
            _forget_oldest(self._inside, MAX_LINKS)
            known = self._inside[key] = []
        known.extend(call for call in calls if call not in known)
        del known[:-MAX_INSIDE]

    def take_inside(self, trace_id: int, span_id: int) -> list[Call]:
        """The calls inside a span, in the order in which they ended; they are forgotten as such."""
        calls = self._inside.pop((trace_id, span_id), ())
        return list(dict.fromkeys(call.itself for call in calls))


def _forget_oldest(book: dict[_Key, int] | dict[_Key, list[Call]], limit: int) -> None:
    if len(book) >= limit:
        book.pop(next(iter(book)))
