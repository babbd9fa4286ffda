"""The responses of the REST API in its OpenAPI document.

Bodies are assembled from rows of the store, without response models; their schemas are the tables here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from fastapi import FastAPI

from infraprism.backend.analytics.bridge import PARTS
from infraprism.backend.analytics.distribution import QUANTILES
from infraprism.backend.analytics.latency import QUANTILES as LATENCIES
from infraprism.backend.analytics.list_prices import CLASSES
from infraprism.schema.fields import COST_USD, FIELDS, SUCCESS, TAGS, USAGE_DETAIL

Schema = dict[str, Any]

_STATUSES: Final = {
    "400": "Invalid or unknown parameter; the message names it",
    "401": "No valid key",
    "403": "The key lacks the scope that the message names",
    "404": "No such object in this account",
    "409": "It conflicts with another request or job; the message names it",
    "501": "This server cannot do it; the message says why",
    "507": "The disk has no space for it",
    "421": "The account is in another region; the message has its URL",
    "429": "Too many requests a minute, or too many queries in progress",
    "503": "The query needs too much time or memory, or the store is unavailable",
}
_BY_ID: Final = ("/v1/events/{event_id}", "/v1/sessions/{session_id}")
_JSON: Final = "application/json"


def _object(**properties: Schema) -> Schema:
    return {"type": "object", "properties": properties}


def _array(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _nullable(schema: Schema) -> Schema:
    return {**schema, "type": [schema["type"], "null"]}


def _all(schema: Schema, *names: str) -> dict[str, Schema]:
    return dict.fromkeys(names, schema)


_TEXT: Final[Schema] = {"type": "string"}
_COUNT: Final[Schema] = {"type": "integer"}
_FLAG: Final[Schema] = {"type": "boolean"}
_TIME: Final[Schema] = {"type": "string", "format": "date-time"}
_MAYBE_TEXT: Final = _nullable(_TEXT)
_MAYBE_COUNT: Final = _nullable(_COUNT)
_MAYBE_NUMBER: Final = _nullable({"type": "number"})
_COST: Final = _nullable({"type": "number", "description": "US dollars, exact decimal digits; null if unknown"})
_EXACT: Final[Schema] = {"type": "number", "description": "US dollars, exact decimal digits"}

_ERROR: Final = _object(error=_object(code=_TEXT, message=_TEXT))
_RETAINED: Final = {
    "events_since": _TIME,
    "earlier": {"enum": ["sums", "whole_days", "excluded"], "type": "string"},
    "incomplete": _FLAG,
}
"""Only of a period that begins before the events of the account."""
_PERIOD: Final = _object(start=_MAYBE_TEXT, end=_TEXT, **_RETAINED)
_ZONED: Final = {"period": _PERIOD, "time_zone": _TEXT}
_ENTITY: Final = {"entity_type": _MAYBE_TEXT, "entity_id": _MAYBE_TEXT}
_KEYS: Final = {
    **_ENTITY,
    **_all(_MAYBE_TEXT, "model", "provider", "operation", "cost_status", "error_type", "service_tier", "session_id"),
    **_all(_TEXT, "day", "week", "month"),
}
"""The keys that a group can have, apart from those of tags."""
_SERIES: Final = {
    "total_cost": _COST,
    **_all(_COUNT, "total_events", "unpriced_events", "failed_events", "unpriced_failed_events"),
}
_SUMMED: Final = {**_SERIES, "error_rate": _MAYBE_NUMBER}
_SUMS: Final = {**_SUMMED, **_all(_MAYBE_COUNT, "total_input_tokens", "total_output_tokens", "avg_latency_ms")}
_LISTED: Final = {name: schema for name, schema in _SUMS.items() if name != "error_rate"}
_PREVIOUS: Final = _object(**_SERIES)
_PAGINATION: Final = {**_all(_COUNT, "total", "limit", "offset"), "has_more": _FLAG}
_GROUP: Final = _object(**_KEYS, kind={"enum": ["named", "other", "none"], "type": "string"}, **_SERIES)
_LATENCY: Final = {"total_events": _COUNT, "avg_latency_ms": _MAYBE_COUNT, **_all(_MAYBE_NUMBER, *LATENCIES)}
_FAILURES: Final = {
    **_all(_COUNT, "total_events", "failed_events"),
    "error_rate": _MAYBE_NUMBER,
    "error_types": _array(_object(error_type=_MAYBE_TEXT, failed_events=_COUNT)),
}
_SIDE: Final = _object(total_cost=_COST, total_events=_COUNT, unpriced_events=_COUNT)
_CHANGE: Final = {
    "now": _SIDE,
    "before": _SIDE,
    "change": _EXACT,
    "parts": _object(**{**_all(_EXACT, *PARTS), "cache": _COST}),
}
_BINS: Final = _array(_object(**{"from": {"type": "number"}, "to": _MAYBE_NUMBER, "count": _COUNT}))
_DISTRIBUTION: Final = {
    **_all(_COUNT, "count", "without_value", "incomplete", "unassigned_events"),
    **_all(_MAYBE_NUMBER, "total", "min", "max"),
    "quantiles": _object(**_all(_MAYBE_NUMBER, *QUANTILES)),
    "bins": _BINS,
}
_MODEL: Final = {"model": _TEXT, "provider": _TEXT, "first_seen": _TIME, "last_seen": _TIME, **_LISTED}
_PRICE: Final = {
    **_all(_MAYBE_NUMBER, *(f"{name}_per_million" for name in CLASSES)),
    **_all(_MAYBE_TEXT, "since", "source"),
}
_SESSION: Final = {
    "session_id": _TEXT,
    "first_event": _TIME,
    "last_event": _TIME,
    **_LISTED,
    **_ENTITY,
    "models": _array(_TEXT),
}
_KINDS: Final = {"int": _COUNT, "bool": _FLAG, "decimal": _EXACT, "string": _TEXT}
_EVENT: Final = _object(
    id=_TEXT,
    timestamp=_TIME,
    **{field.name: _nullable(_KINDS[field.kind]) for field in FIELDS if field not in (SUCCESS, TAGS, COST_USD)},
    cost_usd=_COST,
    success=_FLAG,
    tags={"type": "object", "additionalProperties": _TEXT},
)


def _rows(row: dict[str, Schema], summary: dict[str, Schema]) -> Schema:
    return _object(data=_array(_object(**row)), summary=_object(**summary, **_ZONED), has_more=_FLAG)


def _page(row: Schema, pagination: Schema | None = None, **more: Schema) -> Schema:
    return _object(data=_array(row), pagination=_object(**_PAGINATION, **(pagination or {})), **more)


RESPONSES: Final[dict[str, Schema]] = {
    "/v1/me": _object(
        **_all(_MAYBE_TEXT, "email", "name", "company"), **_all(_TEXT, "id", "plan", "created_at"), usage_detail=_FLAG
    ),
    "/v1/events": _page(_EVENT, {"next_cursor": _MAYBE_TEXT, "events_since": _TIME}),
    "/v1/events/{event_id}": _EVENT,
    "/v1/entities": _page(
        _object(
            **_all(_TEXT, "entity_type", "entity_id"),
            **_all(_TIME, "first_seen", "last_seen"),
            **{name: _SERIES[name] for name in ("total_events", "total_cost", "unpriced_events", "failed_events")},
        )
    ),
    "/v1/analytics/costs": _rows(
        {**_KEYS, **_SUMS, "previous": _PREVIOUS},
        {**_SUMMED, "previous": _object(**_SERIES, period=_PERIOD), "models": _array(_TEXT)},
    ),
    "/v1/analytics/costs/timeseries": _object(
        data=_array(_object(start=_TEXT, **_SERIES, complete=_FLAG, groups=_array(_GROUP))),
        groups=_array(_GROUP),
        summary=_object(**_SERIES, **_ZONED, interval=_TEXT),
    ),
    "/v1/analytics/latency": _rows({**_KEYS, **_LATENCY}, _LATENCY),
    "/v1/analytics/errors": _rows({**_KEYS, **_FAILURES}, _FAILURES),
    "/v1/analytics/changes": _rows({**_KEYS, **_CHANGE}, {**_CHANGE, "previous_period": _PERIOD}),
    "/v1/analytics/distribution": _rows({**_KEYS, **_DISTRIBUTION}, {**_DISTRIBUTION, **_all(_TEXT, "of", "per")}),
    "/v1/analytics/forecast": _object(
        **_all(_COST, "so_far", "expected", "low", "high"),
        **_all(_COUNT, "total_events", "unpriced_events", "days_left", "days_of_history"),
        confidence=_MAYBE_NUMBER,
        **_all(_MAYBE_TEXT, "method", "reason"),
        **_ZONED,
    ),
    "/v1/sessions": _page(_object(**_SESSION), **_ZONED),
    "/v1/sessions/{session_id}": _object(**_SESSION, by_model=_array(_object(**_MODEL))),
    "/v1/models": _page(
        _object(**_MODEL, price=_nullable(_object(**_PRICE))),
        period=_object(start=_MAYBE_TEXT, end=_MAYBE_TEXT, **_RETAINED),
        time_zone=_TEXT,
    ),
    "/v1/values": _object(data=_array(_object(value=_TEXT, total_events=_COUNT)), has_more=_FLAG, **_ZONED),
    "/v1/audit": _object(
        data=_array(
            _object(**_all(_TEXT, "account_id", "actor", "action", "object", "hash"), number=_COUNT, time=_TIME)
        ),
        pagination=_object(limit=_COUNT, has_more=_FLAG, next_after=_MAYBE_COUNT),
        head=_nullable(_object(number=_COUNT, hash=_TEXT)),
    ),
    "/v1/tags": _object(data=_array(_object(key=_TEXT, values=_COUNT, total_events=_COUNT)), has_more=_FLAG, **_ZONED),
}
"""The schema of the body of each path. A group also has the keys of its tags, `tags.KEY`."""
OPTIONAL: Final = frozenset(
    {*_KEYS, *_RETAINED, "previous", "models", "groups", *(field.name for field in USAGE_DETAIL)}
)
"""Properties that a body has only with the parameters or the account that they depend on."""


def responses(status: int, schema: Schema, *errors: int) -> dict[int | str, dict[str, Any]]:
    """The documented responses of a route with these errors. Every route has 400, 401, 403, 421, 429 and 503."""
    return {
        status: {"description": "OK", "content": {_JSON: {"schema": schema}}},
        **{
            code: {"description": _STATUSES[str(code)], "content": {_JSON: {"schema": _ERROR}}}
            for code in sorted({400, 401, 403, 421, 429, 503, *errors})
        },
    }


def install(app: FastAPI) -> None:
    """Describe the responses in the OpenAPI document of the application."""
    generate: Callable[[], Schema] = app.openapi

    def described() -> Schema:
        document = generate()
        for methods in document["paths"].values():
            for operation in methods.values():
                operation["responses"].pop("422", None)  # FastAPI's own; an invalid parameter is a 400
        for path, schema in RESPONSES.items():
            errors = (404,) if path in _BY_ID else ()
            documented = document["paths"][path]["get"]["responses"]
            documented.update({str(status): one for status, one in responses(200, schema, *errors).items()})
        return document

    app.openapi = described  # type: ignore[method-assign]  # as FastAPI documents it
