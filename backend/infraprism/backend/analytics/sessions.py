"""Sessions and models: sums of events with the times of the first and the last one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from infraprism.backend.analytics.sums import select
from infraprism.backend.store import Database
from infraprism.backend.store.measured_rows import Relation
from infraprism.schema import exact_json

_SUMS: Final = {
    "total_events": "count()",
    "total_cost": "sum(toDecimal256(e.cost_usd, 18))",
    "total_input_tokens": "sum(toUInt64(e.input_tokens))",
    "total_output_tokens": "sum(toUInt64(e.output_tokens))",
    "avg_latency_ms": "accurateCastOrNull(round(avg(e.latency_ms)), 'UInt64')",
    "unpriced_events": "countIf(e.cost_usd IS NULL)",
    "failed_events": "countIf(NOT e.success)",
    "unpriced_failed_events": "countIf(NOT e.success AND e.cost_usd IS NULL)",
}
# Of a session with events of several entities no entity is the one.
_ONE_ENTITY: Final = "if(uniqExact(e.entity_type, e.entity_id) = 1, nullIf(toString(any(e.{0})), ''), NULL)"
SESSION: Final = {
    "session_id": "e.session_id",
    "first_event": "min(e.timestamp)",
    "last_event": "max(e.timestamp)",
    **_SUMS,
    "entity_type": _ONE_ENTITY.format("entity_type"),
    "entity_id": _ONE_ENTITY.format("entity_id"),
    "models": "arraySort(groupUniqArray(toString(e.model)))",
}
MODEL: Final = {
    "model": "toString(e.model)",
    "provider": "toString(e.provider)",
    "first_seen": "min(e.timestamp)",
    "last_seen": "max(e.timestamp)",
    **_SUMS,
}
SESSION_SORTS: Final = ("last_event", "first_event", "total_cost", "total_events", "failed_events", "unpriced_events")
MODEL_SORTS: Final = ("total_cost", "total_events", "failed_events", "unpriced_events", "first_seen", "last_seen")
_SESSION_KEYS: Final = ("session_id",)
_MODEL_KEYS: Final = ("model", "provider")


@dataclass(frozen=True)
class Page:
    """Which rows are returned: `limit` of them after `offset`, sorted by a column, unknown values last."""

    sort: str
    direction: str
    limit: int
    offset: int


Rows = tuple[list[bytes], dict[str, Any]]
"""The rows of a page as JSON, and its `pagination`."""


def sessions(database: Database, events: Relation, page: Page) -> Rows:
    """A page of sessions. Events without a session belong to none."""
    return _page(database, events, SESSION, _SESSION_KEYS, page)


def models(database: Database, events: Relation, page: Page) -> Rows:
    """A page of models and their providers."""
    return _page(database, events, MODEL, _MODEL_KEYS, page)


def session(database: Database, events: Relation) -> dict[str, Any] | None:
    """One session with the sums of its models as `by_model`; None without events. `events` are those of the session."""
    rows = database.read(f"SELECT {select(SESSION)} FROM {events.sql} AS e GROUP BY e.session_id", events.parameters)
    if not rows:
        return None
    by_model = database.read(
        f"SELECT {select(MODEL)} FROM {events.sql} AS e GROUP BY model, provider"
        " ORDER BY total_cost DESC NULLS LAST, model, provider",
        events.parameters,
    )
    found: dict[str, Any] = exact_json.loads(rows[0])
    return {**found, "by_model": [exact_json.loads(row) for row in by_model]}


def _page(database: Database, events: Relation, columns: dict[str, str], keys: tuple[str, ...], page: Page) -> Rows:
    named = ", ".join(f"e.{key}" for key in keys)
    present = " AND ".join(f"e.{key} != ''" for key in keys)
    (counted,) = database.read(
        f"SELECT uniqExact({named}) AS total FROM {events.sql} AS e WHERE {present}", events.parameters
    )
    total = json.loads(counted)["total"]
    rows = database.read(
        f"SELECT {select(columns)} FROM {events.sql} AS e WHERE {present} GROUP BY {named}"
        f" ORDER BY {page.sort} {page.direction.upper()} NULLS LAST, {', '.join(keys)}"
        " LIMIT {page_limit:UInt64} OFFSET {page_offset:UInt64}",
        {**events.parameters, "page_limit": page.limit, "page_offset": page.offset},
    )
    more = page.offset + len(rows) < total
    return rows, {"total": total, "limit": page.limit, "offset": page.offset, "has_more": more}
