"""Sessions and models: sums of events with the times of the first and the last one."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from infraprism.backend.analytics.sums import select
from infraprism.backend.store.database import Parameter, Readable
from infraprism.backend.store.measured_rows import Relation
from infraprism.schema import exact_json

_SUMS: Final = {
    "total_events": "sum(m.calls)",
    "total_cost": "sum(m.total_cost)",
    "total_input_tokens": "sum(m.input_tokens)",
    "total_output_tokens": "sum(m.output_tokens)",
    "avg_latency_ms": "accurateCastOrNull(round(sum(m.latency_ms) / sum(m.calls)), 'UInt64')",
    "unpriced_events": "sum(m.unpriced_calls)",
    "failed_events": "sum(m.failed_calls)",
    "unpriced_failed_events": "sum(m.unpriced_failed_calls)",
}
"""On measured rows `m` with times."""
# Of a session with events of several entities no entity is the one.
_ONE_ENTITY: Final = "if(uniqExact(m.entity_type, m.entity_id) = 1, nullIf(toString(any(m.{0})), ''), NULL)"
SESSION: Final = {
    "session_id": "m.session_id",
    "first_event": "min(m.first_time)",
    "last_event": "max(m.last_time)",
    **_SUMS,
    "entity_type": _ONE_ENTITY.format("entity_type"),
    "entity_id": _ONE_ENTITY.format("entity_id"),
    "models": "arraySort(groupUniqArray(toString(m.model)))",
}
MODEL: Final = {
    "model": "toString(m.model)",
    "provider": "toString(m.provider)",
    "first_seen": "min(m.first_time)",
    "last_seen": "max(m.last_time)",
    **_SUMS,
}
SESSION_SORTS: Final = ("last_event", "first_event", "total_cost", "total_events", "failed_events", "unpriced_events")
MODEL_SORTS: Final = ("total_cost", "total_events", "failed_events", "unpriced_events", "first_seen", "last_seen")
_QUARTER_HOUR_MS: Final = 900_000
_MAX_QUARTER_HOURS: Final = 3_000
"""In one statement: beyond it all events of the period are read."""
_LIMIT: Final = "LIMIT {page_limit:UInt64} OFFSET {page_offset:UInt64}"


@dataclass(frozen=True)
class Page:
    """Which rows are returned: `limit` of them after `offset`, sorted by a column, unknown values last."""

    sort: str
    direction: str
    limit: int
    offset: int

    @property
    def parameters(self) -> dict[str, Parameter]:
        """The parameters of a LIMIT."""
        return {"page_limit": self.limit, "page_offset": self.offset}

    def pagination(self, rows: int, total: int) -> dict[str, Any]:
        """The `pagination` of a page with `rows` of `total`."""
        return {"total": total, "limit": self.limit, "offset": self.offset, "has_more": self.offset + rows < total}


Rows = tuple[list[bytes], dict[str, Any]]
"""The rows of a page as JSON, and its `pagination`."""


def sessions(database: Readable, by_session: Relation, relation: Relation, page: Page) -> Rows:
    """A page of sessions. Events without a session belong to none.

    The sessions of the page are found first, in `by_session`, which needs no other dimension. The other columns are
    read from `relation`, within the times of these sessions.
    """
    found = database.read(
        f"SELECT m.session_id AS session_id, {SESSION[page.sort]} AS sorted, count() OVER () AS total,"
        " toUnixTimestamp64Milli(min(m.first_time)) AS first_ms, toUnixTimestamp64Milli(max(m.last_time)) AS last_ms"
        f" FROM {by_session.sql} AS m WHERE m.session_id != '' GROUP BY session_id"
        f" ORDER BY sorted {page.direction.upper()} NULLS LAST, session_id {_LIMIT}",
        {**by_session.parameters, **page.parameters},
    )
    listed = [json.loads(row) for row in found]
    if not listed:
        return [], page.pagination(0, _total(database, by_session, ("session_id",)) if page.offset else 0)
    rows = database.read(
        f"SELECT {select(SESSION)} FROM {relation.sql} AS m"
        f" WHERE m.session_id IN {{page_sessions:Array(String)}}{_within(listed)}"
        f" GROUP BY m.session_id ORDER BY {page.sort} {page.direction.upper()} NULLS LAST, session_id",
        {**relation.parameters, "page_sessions": [row["session_id"] for row in listed]},
    )
    return rows, page.pagination(len(rows), listed[0]["total"])


def models(database: Readable, relation: Relation, page: Page) -> Rows:
    """A page of models and their providers."""
    keys = ("model", "provider")
    rows = database.read(
        f"SELECT {select(MODEL)} FROM {relation.sql} AS m WHERE m.model != '' AND m.provider != ''"
        " GROUP BY m.model, m.provider"
        f" ORDER BY {page.sort} {page.direction.upper()} NULLS LAST, {', '.join(keys)} {_LIMIT}",
        {**relation.parameters, **page.parameters},
    )
    return rows, page.pagination(len(rows), _total(database, relation, keys))


def session(database: Readable, relation: Relation) -> dict[str, Any] | None:
    """The one session of a relation with the sums of its models as `by_model`; None without events."""
    rows = database.read(
        f"SELECT {select(SESSION)} FROM {relation.sql} AS m GROUP BY m.session_id", relation.parameters
    )
    if not rows:
        return None
    by_model = database.read(
        f"SELECT {select(MODEL)} FROM {relation.sql} AS m GROUP BY model, provider"
        " ORDER BY total_cost DESC NULLS LAST, model, provider",
        relation.parameters,
    )
    found: dict[str, Any] = exact_json.loads(rows[0])
    return {**found, "by_model": [exact_json.loads(row) for row in by_model]}


def _within(sessions: Iterable[dict[str, Any]]) -> str:
    """The condition that the primary key of events needs, to read only the times of these sessions."""
    found: set[int] = set()
    for row in sessions:
        found.update(range(row["first_ms"] // _QUARTER_HOUR_MS, row["last_ms"] // _QUARTER_HOUR_MS + 1))
        if len(found) > _MAX_QUARTER_HOURS:
            return ""
    times = ", ".join(f"toDateTime({place * _QUARTER_HOUR_MS // 1000}, 'UTC')" for place in sorted(found))
    return f" AND toStartOfFifteenMinutes(m.first_time) IN ({times})"


def _total(database: Readable, relation: Relation, keys: tuple[str, ...]) -> int:
    """The number of sessions or models."""
    named = ", ".join(f"m.{key}" for key in keys)
    present = " AND ".join(f"m.{key} != ''" for key in keys)
    (row,) = database.read(
        f"SELECT uniqExact({named}) AS total FROM {relation.sql} AS m WHERE {present}", relation.parameters
    )
    return int(json.loads(row)["total"])
