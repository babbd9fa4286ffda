"""`/v1/events` and `/v1/entities`."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from infraprism.backend.accounts import Account
from infraprism.backend.analytics.grouping import Grouping
from infraprism.backend.analytics.time_zones import milliseconds
from infraprism.backend.api.cursor import Cursor, fingerprint
from infraprism.backend.api.errors import ApiError
from infraprism.backend.api.filters import Filters, one_of
from infraprism.backend.api.periods import Reader
from infraprism.backend.retention.coverage import time_text
from infraprism.backend.store import event_columns
from infraprism.schema import fields

_EVENT_ID: Final = re.compile(r"evt_[0-9a-f]{32}")
Limit = Annotated[int, Field(ge=1, le=1000)]
Offset = Annotated[int, Field(ge=0, le=10**9)]


class EventQuery(Filters):
    """Parameters of a page of events, newest first: `offset`, or the `cursor` of the previous page."""

    limit: Limit = 100
    offset: Offset = 0
    cursor: Annotated[str, Field(max_length=500)] | None = None


class EntityQuery(BaseModel):
    """Parameters of a page of entities."""

    model_config = ConfigDict(extra="forbid")

    type: Annotated[str, one_of(fields.ENTITY_TYPES)] | None = None
    limit: Limit = 100
    offset: Offset = 0


def page(reader: Reader, account: Account, query: EventQuery, cursor_key: bytes) -> bytes:
    """A page of events as JSON.

    `pagination` is `{total, limit, offset, has_more, next_cursor}`. With a cursor, `total` is that of the first page.
    `cursor_key` signs cursors.
    """
    where, values = query.conditions(account.id)
    if reader.cutoff_ms is not None:
        where += " AND timestamp >= fromUnixTimestamp64Milli({retained_ms:Int64}, 'UTC')"
        values["retained_ms"] = reader.cutoff_ms
    of = fingerprint(account.id, query.model_dump_json(exclude={"limit", "offset", "cursor"}))
    after, offset = "", query.offset
    if query.cursor is not None:
        cursor = Cursor.read(query.cursor, of, cursor_key)
        total, offset = cursor.total, cursor.offset
        after = (
            " AND (timestamp, id) < (fromUnixTimestamp64Milli({after_ms:Int64}, 'UTC'),"
            " CAST(unhex({after_id:String}), 'FixedString(16)'))"
            " AND timestamp <= fromUnixTimestamp64Milli({after_ms:Int64}, 'UTC')"
        )
        values |= {"after_ms": cursor.timestamp_ms, "after_id": cursor.id_hex}
    else:
        counted = reader.of_events().rows(query, None, Grouping())
        (row,) = reader.database.read(f"SELECT sum(m.calls) AS total FROM {counted.sql} AS m", counted.parameters)
        total = json.loads(row)["total"]
    rows = reader.database.read(
        f"SELECT {event_columns.event(usage_detail=account.usage_detail)} FROM"
        f" (SELECT *, total_tokens FROM events WHERE {where}{after} ORDER BY timestamp DESC, id DESC"
        " LIMIT {count:UInt64} OFFSET {skipped:UInt64}) AS events ORDER BY events.timestamp DESC, events.id DESC",
        {**values, "count": query.limit + 1, "skipped": 0 if query.cursor is not None else query.offset},
    )
    more, rows = len(rows) > query.limit, rows[: query.limit]
    next_cursor = _cursor_after(rows[-1], offset + len(rows), total, of).text(cursor_key) if more else None
    pagination = {"total": total, "limit": query.limit, "offset": offset, "has_more": more, "next_cursor": next_cursor}
    first_ms, _ = query.bounds_ms()
    if reader.cutoff_ms is not None and (first_ms is None or first_ms < reader.cutoff_ms):
        pagination["events_since"] = time_text(reader.cutoff_ms)
    return b'{"data":[' + b",".join(rows) + b'],"pagination":' + json.dumps(pagination).encode() + b"}"


def _cursor_after(row: bytes, offset: int, total: int, of: str) -> Cursor:
    last = json.loads(row)
    return Cursor(
        milliseconds(datetime.fromisoformat(last["timestamp"])), last["id"].removeprefix("evt_"), offset, total, of
    )


def one(reader: Reader, account: Account, event_id: str) -> bytes:
    """One event as JSON. Raises ApiError."""
    if _EVENT_ID.fullmatch(event_id):
        rows = reader.database.read(
            f"SELECT {event_columns.event(usage_detail=account.usage_detail)} FROM (SELECT *, total_tokens FROM events"
            " WHERE account = {account:String} AND id = CAST(unhex({id:String}), 'FixedString(16)')"
            " AND timestamp >= fromUnixTimestamp64Milli({retained_ms:Int64}, 'UTC') LIMIT 1) AS events",
            {"account": account.id, "id": event_id.removeprefix("evt_"), "retained_ms": reader.cutoff_ms or 0},
        )
        if rows:
            return rows[0]
    raise ApiError(404, "not_found", "no event of this account has this id")


def entities(reader: Reader, query: EntityQuery) -> bytes:
    """A page of entities as JSON, highest cost first."""
    filters = Filters(entity_type=[query.type] if query.type else [])
    relation = reader.rows(filters, None, Grouping(("entity",)), with_times=True)
    measured = f"FROM {relation.sql} AS m WHERE m.entity_type != ''"
    (row,) = reader.database.read(
        f"SELECT uniqExact(m.entity_type, m.entity_id) AS total {measured}", relation.parameters
    )
    total = json.loads(row)["total"]
    rows = reader.database.read(
        "SELECT m.entity_type AS entity_type, m.entity_id AS entity_id, min(m.first_time) AS first_seen,"
        " max(m.last_time) AS last_seen, sum(m.calls) AS total_events, sum(m.total_cost) AS total_cost,"
        " sum(m.unpriced_calls) AS unpriced_events, sum(m.failed_calls) AS failed_events"
        f" {measured} GROUP BY ALL ORDER BY total_cost DESC NULLS LAST, entity_type, entity_id"
        " LIMIT {count:UInt64} OFFSET {skipped:UInt64}",
        {**relation.parameters, "count": query.limit, "skipped": query.offset},
    )
    more = query.offset + len(rows) < total
    pagination = {"total": total, "limit": query.limit, "offset": query.offset, "has_more": more}
    return b'{"data":[' + b",".join(rows) + b'],"pagination":' + json.dumps(pagination).encode() + b"}"
