"""Makes one call of the two spans of a response made in the background: of its creation and of its result.

The creation is held until the result comes, which may be minutes later. The end of the process or an hour releases it
without usage. A flush does not: servers flush after each request, and the result would be a second call. The event of a
result has ids that follow from the response id, and the time at which the provider created the response. Therefore
several processes that retrieve the same response send the same event.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

from infraprism.deduplication.candidate import Candidate
from infraprism.schema.call_context import (
    BACKGROUND_PENDING,
    BACKGROUND_RESULT,
    BACKGROUND_STATE,
    COMPLETED_AT,
    CREATED_AT,
    INSTRUMENTATION_SCOPE,
)
from infraprism.schema.fields import EARLIEST_TIMESTAMP_MS

HOLD_S: Final = 3600.0
"""How long the creation of a response is held."""
MAX_RESPONSES: Final = 4096
"""Responses remembered, of those that are held and of those that were released without usage."""

_SECOND_NS: Final = 1_000_000_000
_EARLIEST_NS: Final = EARLIEST_TIMESTAMP_MS * 1_000_000
_LONGEST_NS: Final = 86_400 * _SECOND_NS
"""A time of the provider that differs more from ours is not used."""


@dataclass(eq=False, slots=True)
class _Held:
    """A creation, and spans without usage of other instrumentations that report the same response."""

    created: Candidate
    due_s: float
    others: list[Candidate] = field(default_factory=list)


class BackgroundResponses:
    """Pure state machine, in front of the deduplicator: pass the monotonic time in seconds. Not thread-safe."""

    def __init__(self) -> None:
        self._held: dict[str, _Held] = {}
        self._released: dict[str, Candidate] = {}
        self._reported: dict[str, Candidate] = {}

    @property
    def next_due_s(self) -> float | None:
        """When the next creation is due; None if none is held."""
        return next((held.due_s for held in self._held.values()), None)

    def add(self, found: Candidate, attributes: Mapping[str, Any], now_s: float) -> list[Candidate]:
        """The candidates to deduplicate now: none if this one is held."""
        response_id = found.parsed.span_fields.response_id
        state = attributes.get(BACKGROUND_STATE) if found.scope == INSTRUMENTATION_SCOPE else None
        if response_id is None or (state is None and response_id not in self._held):
            return [found]
        if state == BACKGROUND_PENDING:
            reported = self._reported.pop(response_id, None)
            if reported is not None and found.start_ns <= reported.end_ns:
                return []  # spans of the application's provider come in batches: the result came before
            replaced = self._take(response_id)
            self._held[response_id] = _Held(found, now_s + HOLD_S)
            return replaced + (self._take(next(iter(self._held))) if len(self._held) > MAX_RESPONSES else [])
        if state == BACKGROUND_RESULT:
            held = self._held.pop(response_id, None)
            created = self._released.pop(response_id, None) if held is None else held.created
            if created is None:
                _bound(self._reported)
                self._reported[response_id] = found
            return [_result(found, created, response_id, attributes), *(() if held is None else held.others)]
        if found.parsed.usage.input_tokens or found.parsed.usage.output_tokens:
            return [found]
        self._held[response_id].others.append(found)
        return []

    def due(self, now_s: float) -> list[Candidate]:
        """Release the creations that are due."""
        due = [response_id for response_id, held in self._held.items() if held.due_s <= now_s]
        return [found for response_id in due for found in self._take(response_id)]

    def close(self) -> list[Candidate]:
        """Release all creations. The process ends before their results come."""
        return [found for response_id in list(self._held) for found in self._take(response_id)]

    def _take(self, response_id: str) -> list[Candidate]:
        held = self._held.pop(response_id, None)
        if held is None:
            return []
        _bound(self._released)
        self._released[response_id] = held.created
        return [held.created, *held.others]


def _bound(responses: dict[str, Candidate]) -> None:
    if len(responses) >= MAX_RESPONSES:
        del responses[next(iter(responses))]


def _result(found: Candidate, created: Candidate | None, response_id: str, attributes: Mapping[str, Any]) -> Candidate:
    """The call of a result, with the attribution, the requested model and the start of its creation if it is known."""
    first = created or found
    created_ns, completed_ns = (_time_ns(attributes.get(name)) for name in (CREATED_AT, COMPLETED_AT))
    if created is not None and created_ns is not None and abs(created_ns - created.start_ns) > _LONGEST_NS:
        created_ns = None
    duration_ns = found.end_ns - first.start_ns
    if created_ns is not None and completed_ns is not None and completed_ns >= created_ns:
        duration_ns = completed_ns - created_ns
    elif created_ns is not None and created is None:
        duration_ns = found.end_ns - created_ns
    start_ns = first.start_ns if created_ns is None else created_ns
    digest = sha256(f"{response_id} {attributes.get(CREATED_AT)}".encode()).digest()
    span_fields = found.parsed.span_fields
    if span_fields.request_model is None:
        span_fields = span_fields._replace(request_model=first.parsed.span_fields.request_model)
    return found._replace(
        trace_id=int.from_bytes(digest[:16], "big"),
        span_id=int.from_bytes(digest[16:24], "big"),
        parent_id=0,
        start_ns=start_ns,
        end_ns=start_ns + max(0, duration_ns),
        parsed=found.parsed._replace(span_fields=span_fields),
        attribution=first.attribution,
    )


def _time_ns(seconds: object) -> int | None:
    """A time of the provider in nanoseconds since 1970; None if it is missing or implausible."""
    if type(seconds) is not str or not seconds.isdecimal():
        return None
    found = int(seconds) * _SECOND_NS
    return found if found >= _EARLIEST_NS else None
