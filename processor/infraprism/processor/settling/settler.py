"""One call is one event, however many instrumentations report it: the state that this takes, online and bounded.

Candidates come as their spans end. Each is held for a moment, since the span of the same call that another
instrumentation makes ends right before or after it. What has been released is remembered, so that a span which comes
long after (an agent's, around many calls) is still known for what it is. Our own instrumentation's spans are never
held: no other knows a call better.

No clock and no thread: whoever uses it says what time it is. Used from one thread at a time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from infraprism.processor.attribution import NOTHING
from infraprism.processor.once import OUR_SCOPE
from infraprism.processor.settling.call import Call
from infraprism.processor.settling.candidate import Candidate
from infraprism.processor.settling.likeness import AFTER_NS, SAME_ID_GAP_NS, Evidence, Member, evidence, plain_model
from infraprism.processor.settling.nesting import Around, wrapped

HOLD_S: Final = 1.0
"""How long a call is held."""
STREAM_HOLD_S: Final = 600.0
"""How long the beginning of a stream waits for the span that says how it ended, before it counts as a call."""
MAX_CALLS: Final = 2048
"""Calls remembered; the oldest is released and forgotten for each further one."""
MAX_OURS: Final = 256
"""Calls of our own instrumentation that are remembered while no other instrumentation was seen."""
MAX_LINKS: Final = 8192
MAX_DEPTH: Final = 64
MAX_INSIDE: Final = 64
"""Calls inside one span that are told from it."""
MAX_COMPARED: Final = 1024
MAX_EXCHANGES: Final = 64
MAX_OUTSIDE: Final = 64
"""Calls that ended too early to be the same, after which none is looked for that ended still earlier."""

_Key = tuple[int, int]


class Settler:
    """Takes candidates and gives each call back once, with what all its spans say together.

    `hold_s`: how long a call is held. `max_calls`: how many are remembered. `on_release` is given what each of a
    call's spans says, once for each call that is given back and in their order.
    """

    def __init__(
        self,
        hold_s: float = HOLD_S,
        max_calls: int = MAX_CALLS,
        on_release: Callable[[Sequence[Candidate]], None] | None = None,
    ) -> None:
        self._hold_s = hold_s
        self._max_calls = max_calls
        self._on_release = on_release
        self._ours: deque[Candidate] = deque(maxlen=MAX_OURS)
        self._sees_others = False
        self._ready: list[Candidate] = []
        self._held: deque[Call] = deque()
        self._openings: deque[Call] = deque()
        self._recent: deque[Call] = deque()
        self._by_span: dict[_Key, Call] = {}
        self._by_response: dict[str, list[Call]] = {}
        self._inside: dict[_Key, list[Call]] = {}
        self._parents: dict[_Key, int] = {}

    @property
    def sees_others(self) -> bool:
        """Whether any instrumentation but our own was seen, so that links matter."""
        return self._sees_others

    @property
    def next_due_s(self) -> float | None:
        """When the next call is due; None where nothing is held."""
        if self._ready:
            return 0.0
        first = [calls[0].due_s for calls in (self._held, self._openings) if calls]
        return min(first) if first else None

    def add(self, found: Candidate, now_s: float, *, lasts: bool = False) -> None:
        """Take in what a span that has ended says about a call; `lasts` where spans inside it have not ended."""
        if not self._sees_others:
            if found.scope == OUR_SCOPE:
                self._ours.append(found)
                self._give_back(found, (found,))
                return
            self._see_others(now_s)
        self._settle(Member(found, lasts=lasts), now_s)

    def recall(self, calls: Iterable[Sequence[Candidate]]) -> None:
        """Take in calls that were given back before this settler was made, the oldest first."""
        for spans in calls:
            self._sees_others = True
            first, *others = map(Member, spans)
            call = Call(first, 0.0)
            call.released = True
            for other in others:
                call.join(other)
            self._remember(call)
            for found in spans:
                self._index(call, (found.trace_id, found.span_id), found)
                self._pass_up(found.trace_id, found.parent_id, [call])

    def link(self, trace_id: int, span_id: int, parent_id: int) -> None:
        """Take in a span that has ended and is no call, but may stand between two that are."""
        if not self._sees_others or not parent_id:
            return
        _forget_oldest(self._parents, MAX_LINKS)
        self._parents[trace_id, span_id] = parent_id
        calls = self._inside.pop((trace_id, span_id), None)
        if calls:
            self._pass_up(trace_id, parent_id, calls)

    def settled(self, now_s: float) -> list[Candidate]:
        """The calls that are due."""
        for held in (self._held, self._openings):
            while held and (held[0].due_s <= now_s or held[0].released):
                self._release(held.popleft(), now_s)
        return self._take_ready()

    def flush(self) -> list[Candidate]:
        """All calls; streams are still waited for whose end another span will tell."""
        while self._held:
            self._release(self._held.popleft(), None)
        return self._take_ready()

    def close(self) -> list[Candidate]:
        """All calls, those too of which only the beginning is known."""
        held = self.flush()
        while self._openings:
            self._release(self._openings.popleft(), None, at_last=True)
        return held + self._take_ready()

    # -- one candidate ------------------------------------------------------------------------------------------

    def _settle(self, member: Member, now_s: float) -> None:
        found = member.candidate
        key = found.trace_id, found.span_id
        inside = self._inside.pop(key, [])
        around = wrapped(member, inside) if inside else Around.A_CALL
        if around is Around.ALL:
            for each in inside:
                if not each.released:
                    each.wrappers.append(found)
            self._pass_up(found.trace_id, found.parent_id, inside)
            return
        call = around if isinstance(around, Call) else self._known(member, inside)
        if call is None:
            call = Call(member, now_s + (STREAM_HOLD_S if member.opens_stream else self._hold_s))
            self._remember(call)
            (self._openings if call.is_opening else self._held).append(call)
        else:
            self._join(call, member, now_s)
            self._unite(call, self._outer(member))
        self._index(call, key, found)
        self._pass_up(found.trace_id, found.parent_id, [*inside, call])
        if member.is_ours and not call.released and found.whose is not NOTHING:
            self._release(call, None)

    def _join(self, call: Call, member: Member, now_s: float) -> None:
        was_opening = call.is_opening
        call.join(member)
        if was_opening and not call.released:
            call.due_s = now_s + self._hold_s
            self._held.append(call)

    def _unite(self, call: Call, other: Call | None) -> None:
        """Two calls turn out to be one, by a span between them that ended after both."""
        if other is None or other is call or (call.released and other.released):
            return
        for member in other.members:
            call.join(member)
            found = member.candidate
            self._index(call, (found.trace_id, found.span_id), found)
        call.released = call.released or other.released
        other.released = True

    def _known(self, member: Member, inside: list[Call]) -> Call | None:
        """The call that another span reported already."""
        return (
            self._stream_begun(member)
            or self._outer(member)
            or self._alike(member, inside)
            or self._exchanged(member, inside)
        )

    def _stream_begun(self, member: Member) -> Call | None:
        if not member.ends_stream:
            return None
        found = member.candidate
        begun = [
            (abs(found.start_ns - opening.candidate.end_ns), number, call)
            for number, call in enumerate(reversed(self._recent))
            if found.scope in call.scopes and call.lacks_end
            for opening in call.members
            if opening.opens_stream
            and opening.candidate.scope == found.scope
            and opening.candidate.end_ns <= found.start_ns + AFTER_NS
            and (not opening.models or not member.models or opening.models & member.models)
        ]
        return min(begun)[2] if begun else None

    def _outer(self, member: Member) -> Call | None:
        """The call that a span around this one reported, which ended before it."""
        found = member.candidate
        parent_id = found.parent_id
        for _ in range(MAX_DEPTH):
            if not parent_id:
                break
            call = self._by_span.get((found.trace_id, parent_id))
            if call is not None and not self._has_another_of(found.scope, call, parent_id):
                outer = next(m for m in call.members if m.candidate.span_id == parent_id)
                if isinstance(wrapped(outer, [Call(member, 0.0)]), Call):
                    return call
            parent_id = self._parents.get(
                (found.trace_id, parent_id), call.members[0].candidate.parent_id if call else 0
            )
        return None

    @staticmethod
    def _has_another_of(scope: str, call: Call, span_id: int) -> bool:
        return any(m.candidate.scope == scope and m.candidate.span_id != span_id for m in call.members)

    def _alike(self, member: Member, inside: list[Call]) -> Call | None:
        """The call whose spans are most like this one, if there is any; those inside it were found to be others."""
        found = member.candidate
        best: tuple[Evidence, int] | None = None
        chosen = None
        for number, call in enumerate(self._near(member)):
            if found.scope in call.scopes or call in inside:
                continue
            seen = _evidence(member, call)
            if seen is not None and (best is None or (seen, number) < best):
                best, chosen = (seen, number), call
        return chosen

    def _exchanged(self, member: Member, inside: list[Call]) -> Call | None:
        """The call that another span of the same scope was taken for, which can be one of another call as well.

        Of equal calls at once the spans do not come in the order in which they ended, and the first found takes what
        only fits the next.
        """
        scope = member.candidate.scope
        for tried, call in enumerate(self._near(member)):
            if tried >= MAX_EXCHANGES:
                break
            if scope not in call.scopes or call.released or len(call.members) < 2 or call in inside:  # noqa: PLR2004 - it and another
                continue
            taken = next(m for m in call.members if m.candidate.scope == scope)
            rest = [_strongest(member, other) for other in call.members if other is not taken]
            other = self._alike(taken, [call]) if None not in rest else None
            if other is not None and not other.released:
                call.leave(taken)
                self._join(other, taken, other.due_s)
                self._index(other, (taken.candidate.trace_id, taken.candidate.span_id), taken.candidate)
                return call
        return None

    def _near(self, member: Member) -> Iterator[Call]:
        """Remembered calls that may be the same: those with its response id, then those near in time, newest first."""
        found = member.candidate
        response_id = found.reading.said.response_id
        if response_id is not None:
            yield from self._by_response.get(response_id, ())
        outside = compared = 0
        start_ns = found.start_ns - AFTER_NS
        for call in reversed(self._recent):
            if call.end_ns < start_ns:
                outside += 1
                if outside > MAX_OUTSIDE or call.end_ns < start_ns - SAME_ID_GAP_NS:
                    return
                continue
            compared += 1
            if compared > MAX_COMPARED:
                return
            yield call

    # -- what is remembered -------------------------------------------------------------------------------------

    def _see_others(self, now_s: float) -> None:
        self._sees_others = True
        for found in self._ours:
            call = Call(Member(found), now_s)
            call.released = True
            self._remember(call)
            self._index(call, (found.trace_id, found.span_id), found)
            self._pass_up(found.trace_id, found.parent_id, [call])
        self._ours.clear()

    def _remember(self, call: Call) -> None:
        self._recent.append(call)
        if len(self._recent) > self._max_calls:
            self._forget(self._recent.popleft())

    def _forget(self, call: Call) -> None:
        self._release(call, None, at_last=True)
        for member in call.members:
            found = member.candidate
            key = found.trace_id, found.span_id
            if self._by_span.get(key) is call:
                del self._by_span[key]
            response_id = found.reading.said.response_id
            if response_id is None:
                continue
            calls = self._by_response.get(response_id, [])
            if call in calls:
                calls.remove(call)
            if not calls:
                self._by_response.pop(response_id, None)

    def _index(self, call: Call, key: _Key, found: Candidate) -> None:
        self._by_span[key] = call
        response_id = found.reading.said.response_id
        if response_id is not None:
            calls = self._by_response.setdefault(response_id, [])
            if call not in calls and len(calls) < MAX_COMPARED:
                calls.append(call)

    def _pass_up(self, trace_id: int, parent_id: int, calls: list[Call]) -> None:
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

    # -- what is given back -------------------------------------------------------------------------------------

    def _release(self, call: Call, now_s: float | None, *, at_last: bool = False) -> None:
        if call.released:
            return
        if call.is_opening and not at_last and (now_s is None or now_s < call.due_s):
            self._openings.append(call)
            return
        call.released = True
        self._give_back(call.settled(), [member.candidate for member in call.members])

    def _give_back(self, settled: Candidate, spans: Sequence[Candidate]) -> None:
        self._ready.append(settled)
        if self._on_release is not None:
            self._on_release(spans)

    def _take_ready(self) -> list[Candidate]:
        ready, self._ready = self._ready, []
        return ready


def _strongest(member: Member, other: Member) -> Evidence | None:
    return evidence(member, other) if not other.ends_stream or member.ends_stream else None


def _evidence(member: Member, call: Call) -> Evidence | None:
    """The strongest evidence of all spans of a call; none of them may speak against it."""
    seen = [_strongest(member, other) for other in call.members]
    told = [each for each in seen if each is not None]
    return min(told) if told else None


def _forget_oldest(book: dict[_Key, object] | dict[_Key, int] | dict[_Key, list[Call]], limit: int) -> None:
    if len(book) >= limit:
        book.pop(next(iter(book)))


__all__ = ["HOLD_S", "MAX_CALLS", "Candidate", "Settler", "plain_model"]
