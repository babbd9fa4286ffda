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
from infraprism.backend.api.problems import MEDIA_TYPE
from infraprism.schema.fields import COST_USD, FIELDS, SUCCESS, TAGS, USAGE_DETAIL

Schema = dict[str, Any]

_STATUSES: Final = {
    "400": "Invalid or unknown parameter, or an invalid body; the detail names it",
    "401": "No valid key",
    "403": "The key does not have the scope that the operation needs",
    "405": "The path does not support the method",
    "421": "The account is in another region; the message has its URL",
    "429": "Too many requests a minute, or too many queries in progress",
    "431": "The headers are too large",
    "500": "The server has failed",
    "503": "The query needs too much time or memory, or the store is unavailable",
}
"""The errors of every operation under /v1/."""
_NOT_FOUND: Final = "No such object in this account"
_TOO_LARGE: Final = "The body is too large"
_MORE_ERRORS: Final = {
    404: _NOT_FOUND,
    409: "It conflicts with another request or job; the message names it",
    501: "This server cannot do it; the message says why",
    507: "The disk has no space for it",
}
_JSON: Final = "application/json"
_PROTOBUF: Final = "application/x-protobuf"
_EXPORT_PATH: Final = "/v1/traces"
_SECURITY: Final = "api_key"
_OPEN: Final = ("/healthz", "/readyz", "/metrics")


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

_RETAINED: Final = {
    "events_since": _TIME,
    "earlier": {"enum": ["sums", "whole_days", "excluded"], "type": "string"},
    "incomplete": _FLAG,
}
"""Only of a period that begins before the events of the account."""
_PERIOD: Final = _object(start=_MAYBE_TEXT, end=_TEXT, **_RETAINED)
_PROBLEM: Final = {
    **_object(
        type={"type": "string", "format": "uri-reference"},
        **_all(_TEXT, "title", "detail"),
        status=_COUNT,
        error={**_object(code=_TEXT, message=_TEXT), "required": ["code", "message"]},
    ),
    "required": ["type", "title", "status", "detail", "error"],
}
"""RFC 9457. `error` is the form of earlier versions."""
_ERROR_CONTENT: Final = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
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
        {**_KEYS, **_SUMS, "total_sessions": _COUNT, "previous": _PREVIOUS},
        {**_SUMMED, "total_sessions": _COUNT, "previous": _object(**_SERIES, period=_PERIOD), "models": _array(_TEXT)},
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
    "/v1/usage-data": _object(
        data=_array(_object(**_all(_TEXT, "table", "what"), **_all(_COUNT, "period_days", "rows"), oldest=_MAYBE_TEXT)),
        counts_page_views_and_features=_FLAG,
        lost_records=_COUNT,
    ),
    "/v1/usage-data/requests": _object(
        data=_array(
            _object(
                **_all(_TEXT, "key_id", "method", "route"),
                **_all(_COUNT, "number", "status", "duration_ms"),
                time=_TIME,
            )
        ),
        pagination=_object(limit=_COUNT, has_more=_FLAG, next_before=_MAYBE_COUNT),
    ),
    "/v1/retention": _object(
        days=_MAYBE_COUNT,
        events_since=_nullable(_TIME),
        data=_array(_object(**_all(_TEXT, "table", "what", "period"))),
    ),
    "/v1/tags": _object(data=_array(_object(key=_TEXT, values=_COUNT, total_events=_COUNT)), has_more=_FLAG, **_ZONED),
}
"""The schema of the body of each path. A group also has the keys of its tags, `tags.KEY`."""
OPTIONAL: Final = frozenset(
    {*_KEYS, *_RETAINED, "total_sessions", "previous", "models", "groups", *(field.name for field in USAGE_DETAIL)}
)
"""Properties that a body has only with the parameters or the account that they depend on."""


def responses(status: int, schema: Schema, *errors: int) -> dict[int | str, dict[str, Any]]:
    """The documented responses of a route with these errors, apart from those that every route has."""
    return {
        status: {"description": "OK", "content": {_JSON: {"schema": schema}}},
        **{code: {"description": _MORE_ERRORS[code]} for code in errors},
    }


def install(app: FastAPI) -> None:
    """Describe the responses in the OpenAPI document of the application."""
    generate: Callable[[], Schema] = app.openapi
    described: Schema = {}

    def openapi() -> Schema:
        if not described:
            described.update(_described(generate()))
        return described

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI documents it


def _described(document: Schema) -> Schema:
    paths = document["paths"]
    for path, methods in paths.items():
        for method, operation in methods.items():
            if path.startswith("/v1/"):
                _describe(operation, path, RESPONSES.get(path) if method == "get" else None)
            operation["responses"].pop("422", None)  # FastAPI's own; an invalid parameter is a 400
            for status, response in operation["responses"].items():
                if int(status) >= _FIRST_ERROR and path not in _OPEN:
                    response.setdefault("content", _ERROR_CONTENT)
    paths[_EXPORT_PATH] = {"post": _EXPORT}
    for path in ("/healthz", "/readyz"):
        for status in ("200", "503"):
            paths[path]["get"]["responses"][status] = {
                "description": _HEALTH[status],
                "content": {_JSON: {"schema": _STATE}},
            }
    components = document.setdefault("components", {})
    components.setdefault("schemas", {})["Problem"] = _PROBLEM
    components["securitySchemes"] = {_SECURITY: {"type": "http", "scheme": "bearer", "bearerFormat": "ip-..."}}
    return document


def _describe(operation: Schema, path: str, schema: Schema | None) -> None:
    """Add the key, the body of a success, and the errors that every operation has. Descriptions of a route are kept."""
    operation["security"] = [{_SECURITY: []}]
    responses = operation["responses"]
    if schema is not None:
        responses["200"] = {"description": "OK", "content": {_JSON: {"schema": schema}}}
    errors = dict(_STATUSES)
    if "{" in path:
        errors["404"] = _NOT_FOUND
    if "requestBody" in operation:
        errors["413"] = _TOO_LARGE
    for status, description in sorted(errors.items()):
        responses.setdefault(status, {"description": description})


_FIRST_ERROR: Final = 400
_HEALTH: Final = {"200": "It works", "503": "It does not"}
_STATE: Final = {**_object(status=_TEXT, reason=_MAYBE_TEXT), "required": ["status"]}
_STATUS_CONTENT: Final = {
    _JSON: {"schema": _object(code=_COUNT, message=_TEXT, details=_array({"type": "object"}))},
    _PROTOBUF: {"schema": {"type": "string", "format": "binary"}},
}
_EXPORT: Final = {
    "summary": "Export Spans",
    "description": "OTLP/HTTP: an ExportTraceServiceRequest. An error is a google.rpc.Status in the same encoding.",
    "operationId": "export_spans",
    "security": [{_SECURITY: []}],
    "requestBody": {
        "required": True,
        "content": {
            _JSON: {"schema": _object(resourceSpans=_array({"type": "object"}))},
            _PROTOBUF: {"schema": {"type": "string", "format": "binary"}},
        },
    },
    "responses": {
        "200": {
            "description": "Acknowledged, or a partial success with reasons",
            "content": {
                _JSON: {"schema": _object(partialSuccess=_object(rejectedSpans=_TEXT, errorMessage=_TEXT))},
                _PROTOBUF: {"schema": {"type": "string", "format": "binary"}},
            },
        },
        **{
            status: {"description": description, "content": _STATUS_CONTENT}
            for status, description in {
                "400": "Not OTLP in the declared encoding",
                "401": "No valid key",
                "413": _TOO_LARGE,
                "415": "Another content type or encoding",
                "429": "The server is overloaded: retry",
                "503": "The store is unavailable: retry",
            }.items()
        },
        "405": {"description": _STATUSES["405"], "content": _ERROR_CONTENT},
        "431": {"description": _STATUSES["431"], "content": _ERROR_CONTENT},
    },
}
