"""One call is one event, however many instrumentations report it: the state that this takes, online and bounded.

Candidates come as their spans end. Each is held for a moment, since the span of the same call that another
instrumentation makes ends right before or after it. What has been released is remembered, so that a span which comes
long after (an agent's, around many calls) is still known for what it is. Our own instrumentation's spans are never
held: no other knows a call better.

No clock and no thread: whoever uses it says what time it is. Used from one thread at a time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Final

from infraprism.attribution.scope import NOTHING
from infraprism.deduplication.call import Call
from infraprism.deduplication.call_index import MAX_CALLS, Memory
from infraprism.deduplication.candidate import Candidate
from infraprism.deduplication.enclosing_spans import Around, wrapped
from infraprism.deduplication.evidence import (
    AFTER_NS,
    Evidence,
    Member,
    counts_equal,
    evidence,
    ids_differ,
    plain_model,
)
from infraprism.schema.call_context import INSTRUMENTATION_SCOPE

HOLD_S: Final = 1.0
"""How long a call is held."""
STREAM_HOLD_S: Final = 600.0
"""How long the beginning of a stream waits for the span that says how it ended, before it counts as a call."""
UNREAD_HOLD_S: Final = 120.0
"""The same, where nobody was seen to report calls who could tell the end."""
MAX_OURS: Final = 256
"""Calls of our own instrumentation that are remembered while no other instrumentation was seen."""
MAX_DEPTH: Final = 64
MAX_EXCHANGES: Final = 64
MAX_LOOKED_AT: Final = 256
"""Calls looked at for each exchange."""


class Deduplicator:
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
        self._on_release = on_release
        self._memory = Memory(max_calls)
        self._ours: deque[Candidate] = deque(maxlen=MAX_OURS)
        self._sees_others = False
        self._ready: list[Candidate] = []
        self._held: deque[Call] = deque()
        self._openings: deque[Call] = deque()

    @property
    def sees_others(self) -> bool:
        """Whether any instrumentation but our own was seen, so that links matter."""
        return self._sees_others

    @property
    def next_due_s(self) -> float | None:
        """When the next call is due; None where nothing is held."""
        if self._ready:
            return 0.0
        first = [call.due_s for call in islice(self._held, 1)] + [self._due_s(opening) for opening in self._openings]
        return min(first, default=None)

    def add(self, found: Candidate, now_s: float, *, has_open_children: bool = False) -> None:
        """Take in what a span that has ended says about a call; `lasts` where spans inside it have not ended."""
        if not self._sees_others:
            if found.scope == INSTRUMENTATION_SCOPE:
                self._ours.append(found)
                self._give_back(found, (found,))
                return
            self._see_others(now_s)
        self._settle(Member(found, has_open_children=has_open_children), now_s)

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
                self._memory.index(call, found)
                self._memory.pass_up(found.trace_id, found.parent_id, [call])

    def link(self, trace_id: int, span_id: int, parent_id: int) -> None:
        """Take in a span that has ended and is no call, but may stand between two that are."""
        if self._sees_others and parent_id:
            self._memory.link(trace_id, span_id, parent_id)

    def settled(self, now_s: float) -> list[Candidate]:
        """The calls that are due."""
        while self._held and (self._held[0].due_s <= now_s or self._held[0].released):
            self._release(self._held.popleft(), now_s)
        for opening in [each for each in self._openings if each.released or self._due_s(each) <= now_s]:
            self._openings.remove(opening)
            self._release(opening, now_s, at_last=True)
        return self._take_ready()

    def flush(self) -> list[Candidate]:
        """All calls; streams are still waited for whose end another span will tell, or can have told."""
        while self._held:
            self._release(self._held.popleft(), None)
        for opening in [each for each in self._openings if self._may_be_all(each.members[0])]:
            self._openings.remove(opening)
            self._release(opening, None, at_last=True)
        return self._take_ready()

    def _due_s(self, opening: Call) -> float:
        if opening.is_opening and self._may_be_all(opening.members[0]):
            return opening.due_s - STREAM_HOLD_S + UNREAD_HOLD_S
        return opening.due_s

    def _may_be_all(self, opening: Member) -> bool:
        return not opening.another_comes and not self._memory.knows_other_than(opening.candidate.scope)

    def close(self) -> list[Candidate]:
        """All calls, those too of which only the beginning is known."""
        held = self.flush()
        while self._openings:
            self._release(self._openings.popleft(), None, at_last=True)
        return held + self._take_ready()

    # -- one candidate ------------------------------------------------------------------------------------------

    def _settle(self, member: Member, now_s: float) -> None:
        found = member.candidate
        inside = self._memory.take_inside(found.trace_id, found.span_id)
        around = wrapped(member, inside) if inside else Around.A_CALL
        if around is Around.ALL:
            _wrap(inside, found)
            self._memory.pass_up(found.trace_id, found.parent_id, inside)
            return
        call = around if isinstance(around, Call) else self._stream_begun(member)
        if call is not None and member.is_stream_end:
            for opening in call.members:
                if opening.is_stream_start and opening.candidate.scope == found.scope:
                    member.merge_stream_start(opening)
        if call is None:
            call = self._known(member, inside)
        if call is None:
            call = Call(member, now_s + (STREAM_HOLD_S if member.is_stream_start else self._hold_s), inside)
            self._remember(call)
            (self._openings if call.is_opening else self._held).append(call)
        else:
            self._join(call, member, now_s)
            call = self._united(call, self._outer(member))
            if member.is_stream_end:
                call = self._united(call, self._alike(member, [*inside, call], other_scopes_than=call))
        self._memory.index(call, found)
        self._memory.pass_up(found.trace_id, found.parent_id, [*inside, call])
        if member.is_ours and not call.released and found.attribution is not NOTHING:
            self._release(call, None)

    def _join(self, call: Call, member: Member, now_s: float) -> None:
        was_opening = call.is_opening
        call.join(member)
        self._memory.regroup(call)
        if was_opening and not call.released:
            call.due_s = now_s + self._hold_s
            self._held.append(call)

    def _united(self, call: Call, other: Call | None) -> Call:
        """Two calls turn out to be one, by a span between them that ended after both.

        Those that one instrumentation reports both are two, of which some spans were taken for the other's.
        """
        if other is None or (call.released and other.released) or not call.scopes.isdisjoint(other.scopes):
            return call
        for member in other.members:
            call.join(member)
        call.wrappers += other.wrappers
        call.released = call.released or other.released
        other.released = True
        other.became = call
        self._memory.remove(other)
        self._memory.regroup(call)
        for member in call.members:
            self._memory.index(call, member.candidate)
        return call

    def _known(self, member: Member, inside: list[Call]) -> Call | None:
        """The call that another span reported already."""
        call = self._outer(member)
        if call is not None or member.is_stream_start:
            return call
        return self._alike(member, inside) or self._exchanged(member, inside, set())

    def _stream_begun(self, member: Member) -> Call | None:
        """The call of which the beginning of this stream was reported."""
        if not member.is_stream_end:
            return None
        found = member.candidate
        begun = [
            (not _beside(found, opening.candidate), abs(found.start_ns - opening.candidate.end_ns), number, call)
            for number, call in enumerate(self._memory.of_scope(found.scope))
            if call.lacks_end
            for opening in call.members
            if opening.is_stream_start
            and opening.candidate.scope == found.scope
            and opening.candidate.end_ns <= found.start_ns + AFTER_NS
            and (not opening.models or not member.models or opening.models & member.models)
        ]
        return min(begun)[-1] if begun else None

    def _outer(self, member: Member) -> Call | None:
        """The call that a span around this one reported, which ended before it."""
        found = member.candidate
        parent_id = found.parent_id
        for _ in range(MAX_DEPTH):
            if not parent_id:
                break
            call = self._memory.of_span(found.trace_id, parent_id)
            if call is not None and not self._has_another_of(found.scope, call, parent_id):
                outer = next(m for m in call.members if m.candidate.span_id == parent_id)
                if isinstance(wrapped(outer, [Call(member, 0.0)]), Call):
                    return call
            parent_id = self._memory.parent_of(found.trace_id, parent_id) or (
                call.members[0].candidate.parent_id if call else 0
            )
        return None

    @staticmethod
    def _has_another_of(scope: str, call: Call, span_id: int) -> bool:
        return any(m.candidate.scope == scope and m.candidate.span_id != span_id for m in call.members)

    def _alike(self, member: Member, but: Sequence[Call], other_scopes_than: Call | None = None) -> Call | None:
        """The call whose spans are most like this one, if there is any; `but` were found to be others.

        `other_scopes_than`: a call that this span was found to report, and all of it is asked for.
        """
        scopes = {member.candidate.scope} if other_scopes_than is None else other_scopes_than.scopes
        best: tuple[Evidence, int] | None = None
        chosen = None
        for number, call in enumerate(self._memory.near(member.candidate, without=scopes)):
            if call in but:
                continue
            seen = _evidence(member, call)
            if seen is not None and (best is None or (seen, number) < best):
                best, chosen = (seen, number), call
        return chosen

    def _exchanged(self, member: Member, but: Sequence[Call], tried: set[Call]) -> Call | None:
        """The call that another span of the same scope was taken for, which can be one of another call as well.

        Of equal calls at once the spans do not come in the order in which they ended, and the first found takes what
        only fits the next; and the one that it could be of may be taken in the same way. Of a call that was given back
        nothing is taken but for a span that says the same: its counts are given away already.
        """
        scope = member.candidate.scope
        if next(self._memory.near(member.candidate, without=[scope]), None) is None:
            return None  # nobody is without
        for call in islice(self._memory.near(member.candidate, having=scope), MAX_LOOKED_AT):
            if len(tried) >= MAX_EXCHANGES:
                break
            if len(call.members) < 2 or call in but or call in tried:  # noqa: PLR2004 - it and another
                continue
            taken = next(m for m in call.members if m.candidate.scope == scope)
            if call.released and not counts_equal(taken, member):
                continue
            if _evidence(member, call, besides=taken) is None:
                continue
            tried.add(call)  # and not before: another span may fit where this one does not
            other = self._alike(taken, [call]) or self._exchanged(taken, [call], tried)
            if other is not None:
                call.leave(taken)
                self._memory.regroup(call)
                self._join(other, taken, other.due_s)
                self._memory.index(other, taken.candidate)
                return call
        return None

    # -- what is remembered and given back ----------------------------------------------------------------------

    def _see_others(self, now_s: float) -> None:
        self._sees_others = True
        for found in self._ours:
            call = Call(Member(found), now_s)
            call.released = True
            self._remember(call)
            self._memory.index(call, found)
            self._memory.pass_up(found.trace_id, found.parent_id, [call])
        self._ours.clear()

    def _remember(self, call: Call) -> None:
        forgotten = self._memory.add(call)
        if forgotten is not None:
            self._release(forgotten, None, at_last=True)

    def _release(self, call: Call, now_s: float | None, *, at_last: bool = False) -> None:
        if call.released:
            return
        if call.is_opening:
            if not at_last and (now_s is None or now_s < call.due_s):
                self._openings.append(call)
                return
            known = self._alike(call.members[0], [call])
            if known is not None:
                self._united(known, call)
                return
        if len(call.members) > 1 or not self._repeats_later(call):
            call.released = True
            self._give_back(call.settled(), [member.candidate for member in call.members])

    def _give_back(self, settled: Candidate, spans: Sequence[Candidate]) -> None:
        self._ready.append(settled)
        if self._on_release is not None:
            self._on_release(spans)

    def _repeats_later(self, call: Call) -> bool:
        """Whether a span that came before some of the calls inside it is none of its own: then it is given to those."""
        member = call.members[0]
        found = member.candidate
        later = self._memory.take_inside(found.trace_id, found.span_id)
        if not later:
            return False
        inside = sorted([*call.inside, *later], key=lambda each: each.end_ns)
        around = wrapped(member, inside)
        if around is Around.A_CALL:
            return False
        if isinstance(around, Call):
            self._united(around, call)
        else:
            call.released = True
            _wrap(inside, found)
        return True

    def _take_ready(self) -> list[Candidate]:
        ready, self._ready = self._ready, []
        return ready


def _wrap(calls: Sequence[Call], around: Candidate) -> None:
    for each in calls:
        if not each.released:
            each.wrappers.append(around)


def _beside(one: Candidate, other: Candidate) -> bool:
    return one.parent_id == other.parent_id and (one.trace_id == other.trace_id or not one.parent_id)


def _evidence(member: Member, call: Call, besides: Member | None = None) -> Evidence | None:
    """The strongest evidence of the spans of a call, `besides` one; none of them may have another id."""
    others = [other for other in call.members if other is not besides]
    if any(ids_differ(member.candidate, other.candidate) for other in others):
        return None
    seen = [evidence(member, other) for other in others if not other.is_stream_start]
    told = [each for each in seen if each is not None]
    return min(told) if told else None


__all__ = ["HOLD_S", "MAX_CALLS", "Candidate", "Deduplicator", "plain_model"]
