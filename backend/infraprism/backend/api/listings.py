"""`/v1/sessions`, `/v1/models`, `/v1/values` and `/v1/tags`."""

from __future__ import annotations

import json
import time
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from infraprism.backend.analytics import list_prices, sessions, values
from infraprism.backend.analytics.grouping import Grouping, tag_of
from infraprism.backend.analytics.periods import Period
from infraprism.backend.api.errors import ApiError
from infraprism.backend.api.events import Limit
from infraprism.backend.api.filters import Filters, Text, one_of
from infraprism.backend.api.periods import Offset, Order, PeriodQuery, Reader
from infraprism.backend.store.measured_rows import Relation
from infraprism.schema import exact_json
from infraprism.schema.fields import SESSION_ID, TAG_KEY

_DAY_S: Final = 86_400


class SessionQuery(PeriodQuery):
    """The filters and the order of sessions; the sums cover the events that the filters select."""

    sort: Annotated[str, one_of(sessions.SESSION_SORTS)] = "last_event"
    order: Order = "desc"
    limit: Limit = 100
    offset: Offset = 0


class ModelQuery(Filters):
    """The filters and the order of models. Without dates all events count."""

    sort: Annotated[str, one_of(sessions.MODEL_SORTS)] = "total_cost"
    order: Order = "desc"
    limit: Limit = 100
    offset: Offset = 0


def _field(value: str) -> str:
    if value not in values.FIELDS and not TAG_KEY.fullmatch(tag_of(value) or ""):
        raise ValueError(f"one of {', '.join(values.FIELDS)}, tags.KEY")
    return value


class ValueQuery(PeriodQuery):
    """The filters, and the field with the wanted values: those that begin with `prefix`."""

    field: Annotated[str, AfterValidator(_field)]
    prefix: Text = ""
    limit: Limit = 20


class TagQuery(PeriodQuery):
    """The filters of the events with the wanted keys of tags."""

    limit: Limit = 100


class NoParameters(BaseModel):
    """No parameters."""

    model_config = ConfigDict(extra="forbid")


SessionId = Annotated[str, Field(max_length=256)]


def list_sessions(reader: Reader, query: SessionQuery) -> bytes:
    """A page of sessions as JSON: `{data, pagination, period, time_zone}`. Raises ApiError."""
    period = query.covered()
    page = sessions.Page(query.sort, query.order, query.limit, query.offset)
    by_session = reader.rows(query, period, Grouping(("session",)), with_times=True)
    rows, pagination = sessions.sessions(reader.database, by_session, _session_rows(reader, query, period), page)
    return _listed(rows, pagination=pagination, period=reader.described(period), time_zone=query.time_zone)


def one_session(reader: Reader, session_id: str) -> bytes:
    """A session as JSON. Raises ApiError if it has no events."""
    found = None
    if SESSION_ID.regex.fullmatch(session_id):
        rows = _session_rows(reader, Filters(session_id=[session_id]), None, "provider")
        found = sessions.session(reader.database, rows)
    if found is None:
        raise ApiError(404, "not_found", "no session of this account has this id")
    return exact_json.dumps(found).encode()


def list_models(reader: Reader, query: ModelQuery) -> bytes:
    """A page of models as JSON: `{data, pagination, period, time_zone}`. Raises ApiError."""
    start, end = query.period()
    relation = reader.rows(query, None, Grouping(("model", "provider")), with_times=True)
    page = sessions.Page(query.sort, query.order, query.limit, query.offset)
    rows, pagination = sessions.models(reader.database, relation, page)
    period = {"start": start and start.text, "end": end and end.text, **reader.note(*query.bounds_ms())}
    today = int(time.time()) // _DAY_S
    priced = []
    for row in map(exact_json.loads, rows):
        price = list_prices.per_million(row["provider"], row["model"], today)
        priced.append(exact_json.dumps({**row, "price": price}).encode())
    return _listed(priced, pagination=pagination, period=period, time_zone=query.time_zone)


def list_values(reader: Reader, query: ValueQuery) -> bytes:
    """The values of a field as JSON: `{data, has_more, period, time_zone}`. Raises ApiError."""
    period = query.covered()
    by = values.grouping_of(query.field)
    tag = tag_of(query.field)
    rows = reader.rows(query, period, by)
    column = by.columns[query.field if tag is None else f"tags.{tag}"]
    found = values.values(reader.database, rows, column, query.prefix, query.limit)
    return _cut(found, query.limit, period=reader.described(period), time_zone=query.time_zone)


def list_tags(reader: Reader, query: TagQuery) -> bytes:
    """The keys of tags as JSON: `{data, has_more, period, time_zone}`. Raises ApiError."""
    period = query.covered()
    found = values.tags(reader.database, reader.rows(query, period, Grouping(), every_tag=True), query.limit)
    return _cut(found, query.limit, period=reader.described(period), time_zone=query.time_zone)


def _session_rows(reader: Reader, query: Filters, period: Period | None, *more: str) -> Relation:
    dimensions = ("entity_type", "entity_id", "model", *more)
    return reader.rows(query, period, Grouping(("session",)), more=dimensions, with_times=True)


def _cut(rows: list[bytes], limit: int, **more: object) -> bytes:
    return _listed(rows[:limit], has_more=len(rows) > limit, **more)


def _listed(rows: list[bytes], **more: object) -> bytes:
    """Rows as the store wrote them, and more properties."""
    return b'{"data":[' + b",".join(rows) + b"]," + json.dumps(more).encode()[1:]
