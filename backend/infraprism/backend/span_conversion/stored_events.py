"""Reads recent events of the store as candidates, to recognise cleaned spans of their calls after a restart.

The store has no trace id, only a hash of trace id and span id. Two relations can be shown without it:

- The event's span is the parent of a cleaned span: the hash of the parent's ids is the event's id.
- The cleaned span is the root of its trace. Then the two traces are not compared, only model, counts and times.

A cleaned span in the trace of an event with another parent remains a call of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

from infraprism.attribution.scope import NOTHING
from infraprism.backend.span_conversion.cleaned_spans import CleanedSpan
from infraprism.backend.span_conversion.event_candidates import UNKNOWN_PARENT
from infraprism.backend.store import Database
from infraprism.deduplication.candidate import SUCCESS, Candidate, Outcome
from infraprism.dialects.engine import ParsedSpan
from infraprism.dialects.table import SpanFields
from infraprism.schema.event import event_id
from infraprism.schema.usage import Usage
from infraprism.schema.wire import SCOPE_NAME

MAX_EVENTS: Final = 16_384
"""The latest events of an account that are read."""
MAX_AGE_S: Final = 900.0
"""Of the events that are read, and how long they are compared."""

_MILLISECOND_NS: Final = 1_000_000
_ROOT_MARGIN_NS: Final = 1_000_000_000
_NO_SPAN_FIELDS: Final = SpanFields(**dict.fromkeys(SpanFields._fields))
_SELECT: Final = (
    "SELECT lower(hex(id)) AS event, toUnixTimestamp64Milli(timestamp) AS start_ms, latency_ms, model, operation,"
    " input_tokens, output_tokens, success, error_type, error_code FROM events"
    " WHERE account = {account:String} AND timestamp >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC')"
    f" ORDER BY timestamp DESC LIMIT {MAX_EVENTS}"
)


def read_events(database: Database, account_id: str, since_ms: int) -> dict[str, Candidate]:
    """The candidates of the events since a time in milliseconds since 1970, by event id. Raises StoreError.

    Their trace ids and span ids are not those of the calls.
    """
    rows = map(json.loads, database.read(_SELECT, {"account": account_id, "since_ms": since_ms}))
    return {f"evt_{row['event']}": _candidate(row) for row in rows}


def _candidate(row: dict[str, Any]) -> Candidate:
    number, start_ns = int(row["event"], 16), int(row["start_ms"]) * _MILLISECOND_NS
    return Candidate(
        number,
        number & (2**64 - 1),
        UNKNOWN_PARENT,
        SCOPE_NAME,
        start_ns,
        start_ns + int(row["latency_ms"]) * _MILLISECOND_NS,
        ParsedSpan(
            operation=row["operation"],
            span_fields=_NO_SPAN_FIELDS._replace(response_model=row["model"]),
            usage=Usage(_count(row["input_tokens"]), _count(row["output_tokens"])),
            tags={},
        ),
        SUCCESS if row["success"] else Outcome(False, row["error_type"] or None, row["error_code"] or None),  # noqa: FBT003 - a field
        NOTHING,
    )


def _count(value: Any) -> int | None:
    return None if value is None else int(value)


class StoredEvents:
    """Events that were stored before the calls of an account were loaded. Each is taken when it is first needed.

    `calls`: the candidates of calls that were stored as events of cleaned spans. Their events are left out.
    """

    def __init__(self, events: dict[str, Candidate] | None = None, calls: Iterable[Sequence[Candidate]] = ()) -> None:
        self._events = dict(events or {})
        if self._events:
            for found in (candidate for candidates in calls for candidate in candidates):
                self._events.pop(event_id(found.trace_id, found.span_id), None)
        self._ids: Final = frozenset(self._events)
        self._expires_s: float | None = None

    def take(self, spans: Sequence[CleanedSpan], now_s: float) -> list[Candidate]:
        """The events to compare with these spans, in the order of their end."""
        if not self._events:
            return []
        if self._expires_s is None:
            self._expires_s = now_s + MAX_AGE_S
        if now_s > self._expires_s:
            self._events.clear()
        parents = (span.parent for span in spans if span.parent is not None)
        taken = [
            event._replace(trace_id=parent.trace_id, span_id=parent.span_id)
            for parent in parents
            if (event := self._events.pop(event_id(parent.trace_id, parent.span_id), None)) is not None
        ]
        roots = [span for span in spans if span.parent is None]
        if roots:
            first_ns = min(span.start_time for span in roots) - _ROOT_MARGIN_NS
            last_ns = max(span.end_time for span in roots) + _ROOT_MARGIN_NS
            near = [key for key, one in self._events.items() if one.start_ns <= last_ns and first_ns <= one.end_ns]
            taken += [self._events.pop(key) for key in near]
        return sorted(taken, key=lambda event: event.end_ns)

    def is_known(self, found: Candidate) -> bool:
        """Whether this event is stored and was taken before. If it was not taken, it is not taken later."""
        if not self._ids:
            return False
        key = event_id(found.trace_id, found.span_id)
        return key in self._ids and self._events.pop(key, None) is None
